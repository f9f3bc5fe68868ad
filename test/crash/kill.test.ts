/**
 * The real process under load, killed with SIGKILL at seeded instants, while it works and while it starts; after
 * every restart what it acknowledged is read back.
 *
 *   CRASHES=500 npx vitest run test/crash     more of them
 *   SEED=7 npx vitest run test/crash          other instants
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { GatewayProcess } from "../../device-sim/gateway-process.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { type Client, connect } from "../../src/native/client/client.ts";
import { MqttPublisher } from "./mqtt-publisher.ts";
import { NativeProducer } from "./native-producer.ts";
import { ReadBack, TOPIC } from "./read-back.ts";

const CRASHES = Number(process.env.CRASHES ?? 30);
const SEED = process.env.SEED ?? "1";
/** Of the kills, this part while the gateway starts. */
const WHILE_STARTING = 0.3;

const folder = mkdtempSync(join(tmpdir(), "headwater-crash-"));
let gateway: GatewayProcess;

beforeAll(async () => {
	// Small files: checkpoints, rolled segments and recycled journal files happen within a second of load.
	const settings = [
		"journal.file.bytes=4194304",
		"log.segment.bytes=262144",
		"message.max.bytes=131072",
		"mqtt.max.packet.bytes=65536",
	];
	gateway = await GatewayProcess.create({
		dataDirectory: join(folder, "data"),
		arguments: settings.flatMap((setting) => ["--set", setting]),
	});
});

afterAll(async () => {
	await gateway.kill();
	rmSync(folder, { recursive: true, force: true });
});

it(`loses nothing acknowledged in ${CRASHES} kills`, { timeout: 60_000 + CRASHES * 5000 }, async () => {
	const random = new SimulatedRandom(SEED);
	const publishers = [
		...Array.from({ length: 3 }, (_, i) => publisher(`one${i}`, 1)),
		...Array.from({ length: 3 }, (_, i) => publisher(`two${i}`, 2)),
	];
	const producers: NativeProducer[] = [];
	await gateway.start();
	await withClient(async (client) => {
		await client.topics.create({ name: TOPIC, partitions: 3 });
	});
	// One client for the whole test: what it sends again after a restart must not be stored twice.
	for (const name of ["native0", "native1"]) {
		const client = await connect({ host: gateway.host, port: gateway.nativePort, clientId: name, timeoutMs: 60_000 });
		producers.push(new NativeProducer(client, name));
	}
	const readBack = new ReadBack([...publishers, ...producers]);
	let kills = 0;
	try {
		for (const producer of producers) producer.start();
		while (kills < CRASHES) {
			for (const one of publishers) one.start(gateway.mqttPort);
			await pause(random.between(5, 250));
			await gateway.kill();
			kills++;
			for (const one of publishers) one.stop();
			while (kills < CRASHES && random.chance(WHILE_STARTING)) {
				gateway.spawn();
				await pause(random.between(0, 400));
				await gateway.kill();
				kills++;
			}
			await gateway.start();
			await withClient((client) => readBack.goOn(client));
		}
		for (const one of publishers) one.start(gateway.mqttPort);
		await Promise.all([...publishers, ...producers].map((one) => one.drain()));
		await withClient((client) => readBack.goOn(client));
	} finally {
		for (const one of publishers) one.stop();
		for (const one of producers) await one.close();
	}
	readBack.finish();
	// From the start again: what was read while it grew is still what is stored.
	const again = new ReadBack([...publishers, ...producers]);
	await withClient((client) => again.goOn(client));
	again.finish();
	expect(again.records).toBe(readBack.records);
	for (const one of publishers) {
		expect(one.protocolErrors, one.clientId).toEqual([]);
		expect(one.acked.size, one.clientId).toBeGreaterThan(0);
		if (one.qos === 2) expect(one.lostSession, `${one.clientId}'s session`).toBe(false);
	}
	for (const one of producers) expect(one.acked.size, one.clientId).toBeGreaterThan(0);
	// Kills between which nothing is acknowledged prove nothing.
	const acked = [...publishers, ...producers].reduce((sum, one) => sum + one.acked.size, 0);
	expect(acked).toBeGreaterThan(kills);
});

function publisher(name: string, qos: 1 | 2): MqttPublisher {
	return new MqttPublisher(name, qos, `sensors/site1/${name}/telemetry`, qos === 1 ? 20 : 8);
}

async function withClient(task: (client: Client) => Promise<void>): Promise<void> {
	const client = await connect({ host: gateway.host, port: gateway.nativePort });
	try {
		await task(client);
	} finally {
		await client.close();
	}
}

/** Load runs meanwhile; nothing depends on how much. */
function pause(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}

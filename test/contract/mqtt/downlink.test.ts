/** Topics of a central cluster, here another gateway behind its Kafka door, come to MQTT clients of this one. */
import type { IPublishPacket, MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { retainsRecords } from "../../../bridge/mqtt/retain-record.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { tcpDial } from "../../../bridge/upstream/client/tcp.ts";
import { Downlink } from "../../../bridge/upstream/downlink/downlink.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../../src/record/builder.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { TestDoor } from "./door.ts";

const ROUTES = { routes: [{ filter: "commands/{device}", topic: "commands", key: "{device}" }] };
const RULE: DownlinkRule = { topic: "commands", to: "commands", from: "earliest", retain: false };

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const close of closers.splice(0).toReversed()) await close();
});

async function openHub(): Promise<KafkaGateway> {
	const hub = await KafkaGateway.start();
	closers.push(() => hub.stop());
	hub.broker.topics.create({ name: "commands", partitions: 3 });
	return hub;
}

async function openDoor(): Promise<TestDoor> {
	const door = await TestDoor.open(ROUTES);
	closers.push(() => door.close());
	return door;
}

/** Returns how to end it. */
function downlink(door: TestDoor, hub: KafkaGateway, rule: Partial<DownlinkRule> = {}): () => Promise<void> {
	const end = new AbortController();
	const cluster = () =>
		new Cluster({
			...{ bootstrap: [{ host: "127.0.0.1", port: hub.port }], clientId: "gateway", sasl: undefined },
			dial: tcpDial({}, new NodeDisk()),
			...{ clock: systemClock, random: systemRandom, logger: silentLogger },
			...{ requestTimeoutMs: 5000, connectTimeoutMs: 5000, metadataMaxAgeMs: 300_000 },
		});
	const { broker } = door;
	const retain = retainsRecords(door.door.engine);
	const ended = new Downlink({ broker, cluster, rules: [{ ...RULE, ...rule }], gatewayId: "gw-1", retain })
		.run(end.signal)
		.catch(() => {});
	const stop = async () => {
		end.abort();
		await ended;
	};
	closers.push(stop);
	return stop;
}

function partitionOf(hub: KafkaGateway): Partition {
	return hub.broker.topics.get("commands")?.partitions[0] as Partition;
}

async function command(
	hub: KafkaGateway,
	key: string,
	value: string | null,
	headers: readonly (readonly [string, string])[] = [],
): Promise<void> {
	const bytes = Buffer.from(value ?? "");
	const block = encodeHeadersBlock(headers.map(([name, text]) => ({ key: name, value: Buffer.from(text) })));
	const start = value === null ? -1 : 0;
	partitionOf(hub).appendRecord(Date.now(), encodeKeyBlock(Buffer.from(key)), bytes, start, bytes.length, block);
	await hub.broker.log.whenCommitted();
}

async function subscriber(door: TestDoor, filter: string): Promise<{ client: MqttClient; packets: IPublishPacket[] }> {
	const client = await door.client({ protocolVersion: 5 });
	const packets: IPublishPacket[] = [];
	client.on("message", (_topic, _payload, each) => packets.push(each));
	await client.subscribeAsync(filter, { qos: 1 });
	return { client, packets };
}

const textsOf = (packets: readonly IPublishPacket[]) => packets.map(({ topic, payload }) => `${topic}=${payload}`);
const POLL = { timeout: 10_000 };

describe("a downlink's records", () => {
	it("reach the subscribers of the MQTT topic that the route says, with their headers as user properties", async () => {
		const [hub, door] = [await openHub(), await openDoor()];
		const { packets } = await subscriber(door, "commands/dev1");
		downlink(door, hub);
		await command(hub, "dev2", "for another");
		await command(hub, "dev1", "on", [["by", "operator"]]);
		await expect.poll(() => textsOf(packets), POLL).toEqual(["commands/dev1=on"]);
		expect(packets[0]).toMatchObject({ qos: 1, retain: false, properties: { userProperties: { by: "operator" } } });
	});

	it("come once, whatever is killed, and only if they are wanted and committed", async () => {
		const hub = await openHub();
		const first = await openDoor();
		const rule = { key: "gw-1/*" };
		await command(hub, "gw-1/a", "1");
		await command(hub, "gw-2/a", "not mine");
		const stop = downlink(first, hub, rule);
		await expect.poll(async () => (await first.records("commands")).length, POLL).toBe(1);
		const door = await first.killed(ROUTES);
		closers.push(() => door.close());
		await stop();
		await hub.kill();
		await hub.start();
		downlink(door, hub, rule);
		for (const outcome of ["abort", "commit"] as const) {
			const writer = new TransactionalWriter(hub.broker, outcome);
			await writer.write(partitionOf(hub), "gw-1/a", outcome);
			await writer.end(outcome);
		}
		await command(hub, "gw-1/a", "2");
		const values = async () => (await door.records("commands")).map(({ value }) => String(value));
		await expect.poll(values, POLL).toEqual(["1", "commit", "2"]);
	});

	it("are those of the cluster's new history where it has lost some that were here, and it is asked once", async () => {
		const [hub, door] = [await openHub(), await openDoor()];
		const values = async () => (await door.records("commands")).map(({ value }) => String(value));
		const stop = downlink(door, hub);
		for (const value of ["a", "b", "c"]) await command(hub, "k", value);
		await expect.poll(values, POLL).toEqual(["a", "b", "c"]);
		await stop();
		// As after a restore; but what it says of its records does not agree with what stands in them.
		const partition = partitionOf(hub);
		Object.assign(partition, { epochs: partition.epochs.begin(1, 2) });
		downlink(door, hub);
		await command(hub, "k", "d");
		await expect.poll(values, POLL).toEqual(["a", "b", "c", "c", "d"]);
		await command(hub, "k", "e");
		await expect.poll(values, POLL).toEqual(["a", "b", "c", "c", "d", "e"]);
	});

	it("are retained where the rule says so, and a record without a value removes what is", async () => {
		const [hub, door] = [await openHub(), await openDoor()];
		downlink(door, hub, { retain: true });
		await command(hub, "dev1", "old");
		await command(hub, "dev1", "new", [["mqtt.content-type", "text"]]);
		await command(hub, "dev2", "gone");
		await command(hub, "dev2", null);
		await command(hub, "dev3", "under its own name", [["mqtt.topic", "commands/dev3"]]);
		await command(hub, "dev4", "under a name of others", [["mqtt.topic", "elsewhere/dev4"]]);
		await expect.poll(async () => (await door.records("commands")).length, POLL).toBe(6);
		for (const each of [door, await door.killed(ROUTES)]) {
			if (each !== door) closers.push(() => each.close());
			const { packets } = await subscriber(each, "#");
			await expect.poll(() => packets.length, POLL).toBe(2);
			expect(each.door.engine.retained.count).toBe(2);
			expect(textsOf(packets)).toEqual(["commands/dev1=new", "commands/dev3=under its own name"]);
			expect(packets.every(({ retain }) => retain)).toBe(true);
			expect(packets[0]?.properties).toMatchObject({ contentType: "text" });
		}
	});

	it("are stored where there may be no more retained messages", async () => {
		const hub = await openHub();
		const door = await TestDoor.open({ ...ROUTES, maxRetainedMessages: 1 });
		closers.push(() => door.close());
		downlink(door, hub, { retain: true });
		for (const key of ["dev1", "dev2"]) await command(hub, key, "x");
		await expect.poll(async () => (await door.records("commands")).length, POLL).toBe(2);
		expect(door.door.engine.retained.count).toBe(1);
	});
});

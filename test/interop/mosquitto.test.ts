/** mosquitto's command-line clients against the gateway: every QoS of both versions, and what an acknowledgement is worth. */
import { spawn } from "node:child_process";
import fs from "node:fs";
import readline from "node:readline";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { consumeAll, type Gateway, run, startGateway, temporaryFolder, until } from "../support/gateway.ts";

const { mosquitto } = inject("runtimes");
// Into a pipe these programs would write only when they end, hence stdbuf -oL.
const HOST = ["-h", "127.0.0.1"];

describe.skipIf(!mosquitto)("mosquitto's clients", () => {
	const folder = temporaryFolder("mosquitto");
	let gateway: Gateway;
	beforeAll(async () => {
		gateway = await startGateway({ dataDirectory: folder });
	});
	afterAll(async () => {
		await gateway.kill();
		fs.rmSync(folder, { recursive: true });
	});

	for (const version of ["mqttv311", "mqttv5"]) {
		for (const qos of ["0", "1", "2"]) {
			it(`publish and receive at QoS ${qos}, ${version}`, async () => {
				const topic = `sensors/${version}/qos${qos}/telemetry`;
				const value = JSON.stringify({ t: 21.5, version, qos });
				const at = [...HOST, "-p", String(gateway.mqttPort), "-V", version, "-q", qos, "-t", topic];
				const subscriber = spawn("stdbuf", [
					"-oL",
					"mosquitto_sub",
					...at,
					"-C",
					"1",
					"-W",
					"60",
					"-d",
					"-F",
					"got %q %t %p",
				]);
				const received = until(subscriber, /^got .*$/m);
				await until(subscriber, /Subscribed \(mid/);
				expect(await run("mosquitto_pub", [...at, "-m", value])).toMatchObject({ code: 0 });
				expect((await received)[0]).toBe(`got ${qos} ${topic} ${value}`);
				const stored = (await consumeAll(gateway, "telemetry")).filter((record) => record.value === value);
				expect(stored).toHaveLength(1);
				expect(stored[0]).toMatchObject({ topic: "telemetry", key: `qos${qos}` });
			});
		}
	}

	it("a kill -9 right after the PUBACK loses nothing", async () => {
		const data = temporaryFolder("kill");
		try {
			const acknowledged: string[] = [];
			for (let round = 0; round < 3; round++) {
				const victim = await startGateway({ dataDirectory: data });
				const at = [...HOST, "-p", String(victim.mqttPort), "-q", "1", "-t", `sensors/site/round${round}/telemetry`];
				for (let i = 0; i < 3; i++) {
					const value = `${round}.${i}`;
					// mosquitto_pub ends with 0 once it has its PUBACK.
					expect(await run("mosquitto_pub", [...at, "-m", value])).toMatchObject({ code: 0 });
					acknowledged.push(value);
				}
				await victim.kill();
			}
			const survivor = await startGateway({ dataDirectory: data });
			const values = (await consumeAll(survivor, "telemetry")).map((record) => record.value);
			await survivor.kill();
			expect(values.toSorted()).toEqual(acknowledged.toSorted());
		} finally {
			fs.rmSync(data, { recursive: true });
		}
	});

	it("a kill -9 in the middle of a stream loses nothing that was acknowledged", async () => {
		const data = temporaryFolder("stream");
		try {
			const victim = await startGateway({ dataDirectory: data });
			const at = [...HOST, "-p", String(victim.mqttPort), "-q", "1", "-t", "sensors/site/stream/telemetry"];
			const publisher = spawn("stdbuf", ["-oL", "mosquitto_pub", ...at, "-d", "-l"]);
			publisher.stdin.on("error", () => undefined);
			for (let i = 1; i <= 20_000; i++) publisher.stdin.write(`line ${i}\n`);
			// Packet identifiers count up from 1 with the lines.
			const acknowledged: string[] = [];
			for await (const line of readline.createInterface({ input: publisher.stdout })) {
				const match = /received PUBACK \(Mid: (\d+), RC:0\)/.exec(line);
				if (match !== null) acknowledged.push(`line ${match[1]}`);
				// What was acknowledged up to the kill is still read: the output ends with the publisher.
				if (acknowledged.length === 500) victim.kill().then(() => publisher.kill("SIGKILL"));
			}
			expect(acknowledged.length).toBeGreaterThanOrEqual(500);
			const survivor = await startGateway({ dataDirectory: data });
			const stored = new Set((await consumeAll(survivor, "telemetry")).map((record) => record.value));
			await survivor.kill();
			expect(acknowledged.filter((line) => !stored.has(line))).toEqual([]);
		} finally {
			fs.rmSync(data, { recursive: true });
		}
	});
});

/** A Connection over a scripted transport and a broker on a simulated disk: what leaves, when, and that no bytes harm it. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Connection } from "../../../bridge/mqtt/connection.ts";
import { Engine } from "../../../bridge/mqtt/engine.ts";
import type { Transport } from "../../../bridge/mqtt/transport.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";

class ScriptedTransport implements Transport {
	readonly peer = "test";
	written = "";
	unsentBytes = 0;
	paused = false;
	open = true;

	write(bytes: Buffer): boolean {
		this.written += bytes.toString("hex");
		return true;
	}
	pause(): void {
		this.paused = true;
	}
	resume(): void {
		this.paused = false;
	}
	end(): void {
		this.open = false;
	}
	destroy(): void {
		this.open = false;
	}
	/** What was written since the last look. */
	take(): string {
		const { written } = this;
		this.written = "";
		return written;
	}
}

let clock: SimulatedClock;
let broker: Broker;
let engine: Engine;

beforeEach(() => {
	clock = new SimulatedClock();
	const disk = new SimulatedDisk();
	disk.makeDirectory("/data");
	broker = Broker.open(
		{
			dataFolder: "/data",
			catalogLocation: { image: undefined, onCommit: () => {} },
			journal: { fileBytes: 1_048_576, filesMax: 4 },
			lingerMs: 0,
			memoryBudgetBytes: 1_000_000,
			retentionCheckMs: 3_600_000,
			defaultPartitions: 1,
			topicDefaults: {},
			onFailure: (error) => {
				throw error;
			},
		},
		{ disk, clock, random: new SimulatedRandom("broker"), logger: silentLogger },
	);
	engine = new Engine(broker, {
		listen: "",
		routes: [{ filter: "#", topic: "mqtt" }],
		maxPacketBytes: 10_000,
		receiveMaximum: 10,
		maxConnections: 1000,
		connectTimeoutMs: 10_000,
		maxKeepAliveSeconds: 0,
		maxSessionExpirySeconds: 100,
		maxInflight: 10,
		maxSubscriptionsPerSession: 10,
		topicAliasMaximum: 0,
		maxRetainedMessages: 10,
		sysIntervalSeconds: 0,
		version: "0.0.0",
		shareExpirySeconds: 0,
		redirectTo: "",
		redirectWhen: "full",
	});
	engine.start();
});

afterEach(async () => {
	const stopped = engine.stop().then(() => broker.stop());
	await clock.settle();
	await stopped;
});

function accept(): { connection: Connection; transport: ScriptedTransport } {
	const transport = new ScriptedTransport();
	return { connection: engine.accept(transport)!, transport };
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const CONNECT = "10 0d 0004 4d515454 04 02 0000 0001 63";
const PUBLISH = "32 06 0001 61 0001 70";

describe("a connection", () => {
	it("answers a QoS 1 publish when its commit is durable, not before", async () => {
		const { connection, transport } = accept();
		connection.received(hex(CONNECT + PUBLISH));
		await Promise.resolve();
		expect(transport.take()).toBe("20020000");
		await clock.settle();
		expect(transport.take()).toBe("40020001");
		expect(connection.unanswered).toBe(0);
	});

	it("reads the same from bytes that come one at a time, in halves, or with others", async () => {
		const all = hex(`${CONNECT} ${PUBLISH} 34 06 0001 61 0002 71 62 02 0002 c0 00 ${PUBLISH}`);
		for (const size of [1, 2, 3, 7, all.length]) {
			const { connection, transport } = accept();
			for (let at = 0; at < all.length; at += size) {
				connection.received(Buffer.from(all.subarray(at, at + size)));
				await clock.settle();
			}
			const answers = transport.take();
			expect(answers.startsWith("20020000")).toBe(true);
			expect(answers.replace("d000", "")).toBe("20020000400200015002000270020002" + "40020001");
			connection.closed();
		}
	});

	it("leaves nothing behind when it closes with a publish under way", async () => {
		const { connection, transport } = accept();
		connection.received(hex(`${CONNECT}${PUBLISH}3010`));
		connection.closed();
		await clock.settle();
		expect(transport.take()).toBe("");
		expect([engine.connections.size, engine.clients.size, engine.deliveries.trie.size]).toEqual([0, 0, 0]);
		expect(broker.topics.get("mqtt")?.partitions[0]?.highWatermark).toBe(1);
	});

	it("stops reading while its output does not drain, and goes on when it has", () => {
		const { connection, transport } = accept();
		connection.received(hex(CONNECT));
		transport.unsentBytes = 20_000;
		connection.received(hex("c000"));
		expect(transport.paused).toBe(true);
		transport.unsentBytes = 0;
		connection.drained();
		expect(transport.paused).toBe(false);
	});

	it("takes any bytes, in any pieces, without ever throwing, and others go on", async () => {
		const valid = [
			CONNECT,
			"10 0f 0004 4d515454 05 02 0000 00 0001 64 00",
			PUBLISH,
			"30 07 0001 61 00 70 71 72",
			"34 06 0001 61 0002 71",
			"62 02 0002",
			"50 02 0001",
			"40 02 0001",
			"70 02 0001",
			"82 06 0001 0001 61 02",
			"82 07 0001 00 0001 61 01",
			"a2 05 0001 0001 61",
			"c0 00",
			"e0 00",
			"e0 02 04 00",
			"f0 02 18 00",
		].map(hex);
		const piece = fc.oneof(
			{ weight: 4, arbitrary: fc.constantFrom(...valid) },
			{ weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }) },
		);
		const damage = fc.option(fc.tuple(fc.nat(200), fc.nat(255)), { freq: 3 });
		const good = accept();
		good.connection.received(hex("10 0e 0004 4d515454 04 02 0000 0002 6767"));
		await fc.assert(
			fc.asyncProperty(fc.array(piece, { maxLength: 12 }), damage, fc.nat(40), async (pieces, change, cut) => {
				const { connection, transport } = accept();
				const bytes = Buffer.concat([valid[cut % 2]!, ...pieces]);
				if (change !== null) bytes[change[0] % bytes.length] = change[1];
				connection.received(Buffer.from(bytes.subarray(0, cut)));
				await clock.settle();
				connection.received(Buffer.from(bytes.subarray(cut)));
				await clock.settle();
				if (!transport.open) expect(connection.ended).toBe(true);
				connection.closed();
				expect(engine.connections.size).toBe(1);
			}),
			{ numRuns: 300 },
		);
		good.transport.take();
		good.connection.received(hex("c000"));
		await clock.settle();
		expect(good.transport.take()).toBe("d000");
	});

	it("of MQTT 5 that sends a second CONNECT of an unknown version hears of a protocol error", async () => {
		const { connection, transport } = accept();
		connection.received(hex("10 0e 0004 4d515454 05 02 0000 00 0001 63"));
		await clock.settle();
		transport.take();
		connection.received(hex("10 0e 0004 4d515454 09 02 0000 00 0001 63"));
		expect(transport.take()).toMatch(/^e0..82/);
		expect(transport.open).toBe(false);
	});
});

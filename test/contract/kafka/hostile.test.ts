/** Peers of the Kafka door that mean harm, or are broken: they get an error or lose their connection; the gateway goes on in bounded memory. */
import { afterEach, describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { APIS } from "../../../src/kafka/api-table.ts";
import { produce } from "../../../src/kafka/handlers/00-produce.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { metadata } from "../../../src/kafka/handlers/03-metadata.ts";
import { FindCoordinatorRequest } from "../../../src/kafka/protocol/messages/10-find-coordinator.ts";
import { KafkaGateway, type KafkaGatewayOptions } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf } from "../../support/producer-batches.ts";
import { HandClock } from "../mqtt/door.ts";
import { fetchFrom, fetchValue, produceValue, valuesIn } from "./records.ts";

const MIB = 1024 * 1024;
const gateways: KafkaGateway[] = [];

async function start(options: KafkaGatewayOptions = {}): Promise<KafkaGateway> {
	const gateway = await KafkaGateway.start(options);
	gateways.push(gateway);
	return gateway;
}

afterEach(async () => {
	for (const gateway of gateways.splice(0)) await gateway.stop();
});

async function stillServes(gateway: KafkaGateway): Promise<void> {
	const wire = await gateway.connect();
	expect((await wire.request(metadata, 1, { topics: [] })).controllerId).toBe(1);
	wire.destroy();
}

async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A request of `bytes` bytes that any version of the codec passes over: a key that nobody reads. */
function large(wire: KafkaWire, bytes: number): Buffer {
	const request = wire.encode(FindCoordinatorRequest, 0, { key: "k" });
	const padded = Buffer.alloc(bytes + 4);
	request.copy(padded);
	padded.writeInt32BE(bytes, 0);
	return padded;
}

describe("frames", () => {
	it("that are nonsense end their connection at the latest when it ends, and nothing else", async () => {
		const gateway = await start();
		const random = new SimulatedRandom(1);
		const wires: KafkaWire[] = [];
		for (let i = 0; i < 60; i++) {
			const wire = await gateway.connect();
			const body = random.bytes(1 + (random.u32() % 200));
			const size = Buffer.alloc(4);
			size.writeInt32BE(body.length, 0);
			wire.socket.end(Buffer.concat([size, body]));
			wires.push(wire);
		}
		await Promise.all(wires.map(({ closed }) => closed));
		expect(gateway.broker.pressure.bytes).toBe(0);
		await stillServes(gateway);
	});

	it("that claim every API and version, with a body of random bytes, harm nobody", async () => {
		const gateway = await start({ kafka: { autoCreateTopics: false } });
		const random = new SimulatedRandom(2);
		for (const { request } of APIS) {
			for (let version = request.minVersion; version <= request.maxVersion; version++) {
				const wire = await gateway.connect();
				const head = Buffer.from("0000000000000000000000070000", "hex");
				const body = random.bytes(40);
				head.writeInt32BE(10 + body.length, 0);
				head.writeInt16BE(request.apiKey, 4);
				head.writeInt16BE(version, 6);
				wire.socket.end(Buffer.concat([head, body]));
				await wire.closed;
			}
		}
		expect(gateway.broker.pressure.bytes).toBe(0);
		await stillServes(gateway);
	});

	it("of a Produce that are cut off or damaged anywhere store nothing that was not sent", async () => {
		const gateway = await start({ kafka: { autoCreateTopics: false } });
		const [partition] = gateway.broker.topics.create({ name: "t", partitions: 1 }).partitions;
		const sender = await gateway.connect();
		const value = produceValue("t", [[0, batchOf(["sound"], { producerId: 1, producerEpoch: 0, baseSequence: 0 })]]);
		const frame = sender.encode(produce.request, 11, value);
		const send = async (bytes: Buffer) => {
			const wire = await gateway.connect();
			wire.socket.end(bytes);
			await wire.closed;
		};
		for (let end = 0; end < frame.length; end += 3) await send(frame.subarray(0, end));
		expect(partition?.endOffset).toBe(0);
		for (let at = 4; at < frame.length; at++) {
			const damaged = Buffer.from(frame);
			damaged.writeUInt8((damaged[at] ?? 0) ^ (1 << (at % 8)), at);
			await send(damaged);
		}
		// Behind its head, which may be another request now, every bit of the batch counts: it is stored once, as it was.
		const [answer] = await fetchFrom(sender, "t", [{ partition: 0, fetchOffset: 0 }]);
		expect(valuesIn(answer?.records ?? null)).toEqual(["0 sound"]);
		expect(gateway.broker.pressure.bytes).toBe(0);
	});

	it("that claim much and bring little hold little", async () => {
		const gateway = await start();
		for (let i = 0; i < 50; i++) (await gateway.connect()).raw(Buffer.from("01000000", "hex"));
		for (let i = 0; i < 20; i++) (await gateway.connect()).raw(Buffer.from("0100000000030001", "hex"));
		await until(() => gateway.door.stats().connections === 70);
		await stillServes(gateway);
		expect(gateway.broker.pressure.bytes).toBeLessThan(MIB);
	});
});

describe("requests that arrive slowly", () => {
	it("hold no more than the room there is, and who takes too long loses it to those who wait", async () => {
		const clock = new HandClock();
		const gateway = await start({ clock, broker: { memoryBudgetBytes: 8 * MIB } });
		// Three of 3 MiB do not fit into half of the budget: the second and third wait with what came at first.
		const slow = [await gateway.connect(), await gateway.connect(), await gateway.connect()];
		for (const wire of slow) {
			wire.raw(large(wire, 3 * MIB).subarray(0, 2 * MIB));
			const before = gateway.broker.pressure.bytes;
			await until(() => gateway.broker.pressure.bytes > before);
		}
		await stillServes(gateway);
		const honest = await gateway.connect();
		honest.raw(large(honest, 3 * MIB));
		await until(() => gateway.broker.pressure.bytes >= 2 * MIB);
		expect(gateway.broker.pressure.bytes).toBeLessThan(4 * MIB);
		// One after the other is cut off, which the honest one is not.
		const answered = honest.frame();
		let open = slow.length;
		for (const { closed } of slow) void closed.then(() => open--);
		while (open > 0) {
			clock.advance(5_000);
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
		await answered;
		await until(() => gateway.broker.pressure.bytes === 0);
		expect(gateway.door.stats().connections).toBe(1);
	});

	it("hand their room on when they are whole", async () => {
		const gateway = await start({ broker: { memoryBudgetBytes: 8 * MIB } });
		const wires = await Promise.all(Array.from({ length: 5 }, () => gateway.connect()));
		for (let round = 0; round < 2; round++) {
			for (const wire of wires) wire.raw(large(wire, 3 * MIB));
			for (const wire of wires) await wire.frame();
		}
	});

	it("are waited for as long as nobody else needs the room", async () => {
		const clock = new HandClock();
		const gateway = await start({ clock });
		const wire = await gateway.connect();
		const request = large(wire, MIB);
		wire.raw(request.subarray(0, MIB / 2));
		await until(() => gateway.broker.pressure.bytes >= MIB / 2);
		clock.advance(300_000);
		wire.raw(request.subarray(MIB / 2));
		await wire.frame();
	});
});

describe("connections", () => {
	it("that never send are closed, as are those that stopped in the middle of a request", async () => {
		const clock = new HandClock();
		const gateway = await start({ clock, kafka: { idleTimeoutMs: 60_000 } });
		const [silent, stuck] = [await gateway.connect(), await gateway.connect()];
		stuck.raw(Buffer.from("00000100", "hex"));
		await until(() => gateway.door.stats().connections === 2);
		clock.advance(50_000);
		expect(gateway.door.stats().connections).toBe(2);
		clock.advance(15_000);
		await Promise.all([silent.closed, stuck.closed]);
		expect(gateway.broker.pressure.bytes).toBe(0);
	});

	it("that are reset in the middle of a request leave nothing behind", async () => {
		const gateway = await start();
		for (let i = 0; i < 20; i++) {
			const wire = await gateway.connect();
			wire.raw(large(wire, MIB).subarray(0, 300_000));
			if (i % 2 === 0) await until(() => gateway.broker.pressure.bytes > 0);
			wire.socket.resetAndDestroy();
			await wire.closed;
		}
		await until(() => gateway.door.stats().connections === 0);
		expect(gateway.broker.pressure.bytes).toBe(0);
		await stillServes(gateway);
	});
});

describe("many at once", () => {
	it("10,000 topics in one request are answered, one by one", async () => {
		const gateway = await start({ kafka: { autoCreateTopics: false } });
		const wire = await gateway.connect();
		const topics = Array.from({ length: 10_000 }, (_, i) => ({ name: `t${i}` }));
		const answer = await wire.request(metadata, 12, { topics });
		expect(answer.topics.length).toBe(10_000);
		expect(new Set(answer.topics.map(({ errorCode }) => errorCode))).toEqual(new Set([3]));
	});

	it("more elements than one request may have end the connection before they are made", async () => {
		const gateway = await start();
		const wire = await gateway.connect();
		// Three million names of no bytes, in six million.
		const body = Buffer.alloc(6_000_000);
		const head = wire.encode(metadata.request, 1, { topics: [] });
		const frame = Buffer.concat([head, body]);
		frame.writeInt32BE(frame.length - 4, 0);
		frame.writeInt32BE(3_000_000, head.length - 4);
		wire.raw(frame);
		await wire.closed;
		await stillServes(gateway);
	});

	it("elements of a request that waits are counted by what they take here, until it is answered", async () => {
		const gateway = await start();
		const topics = [1000, 1000].map((count, i) => gateway.broker.topics.create({ name: `t${i}`, partitions: count }));
		const wires = [await gateway.connect(), await gateway.connect()];
		for (const [i, wire] of wires.entries()) {
			const partitions = Array.from({ length: 1000 }, (_, partition) => ({ partition }));
			wire.send(fetch.request, 12, fetchValue(`t${i}`, partitions, { maxWaitMs: 600_000 }));
			await until(() => gateway.broker.pressure.bytes > (i + 1) * 1000 * 150);
		}
		expect(gateway.broker.pressure.bytes).toBeLessThan(MIB);
		wires[0]?.socket.resetAndDestroy();
		await until(() => gateway.broker.pressure.bytes < 1000 * 300);
		gateway.broker.topics.delete(topics[1]?.name ?? "");
		await wires[1]?.frame();
		await until(() => gateway.broker.pressure.bytes === 0);
	});

	it("a long poll that would hold much of the memory budget is answered at once, with nothing", async () => {
		const gateway = await start({ broker: { memoryBudgetBytes: MIB } });
		gateway.broker.topics.create({ name: "t", partitions: 1000 });
		const wire = await gateway.connect();
		const partitions = Array.from({ length: 1000 }, (_, partition) => ({ partition }));
		const [topic] = (await wire.request(fetch, 12, fetchValue("t", partitions, { maxWaitMs: 600_000 }))).responses;
		expect(new Set(topic?.partitions.map(({ errorCode, records }) => `${errorCode} ${records?.length}`))).toEqual(
			new Set(["0 0"]),
		);
		wire.send(fetch.request, 12, fetchValue("t", partitions.slice(0, 500), { maxWaitMs: 600_000 }));
		await until(() => gateway.broker.pressure.bytes > 500 * 100);
		expect(wire.answered).toBe(0);
	});

	it("thousands of pipelined requests are answered in order, in bounded memory", async () => {
		const gateway = await start();
		const wire = await gateway.connect();
		wire.socket.pause();
		const count = 20_000;
		const requests: Buffer[] = [];
		for (let i = 1; i <= count; i++) requests.push(wire.encode(metadata.request, 12, { topics: [{ name: "none" }] }));
		wire.raw(Buffer.concat(requests));
		let most = 0;
		const watch = setInterval(() => {
			most = Math.max(most, gateway.broker.pressure.bytes);
		}, 1);
		await stillServes(gateway);
		wire.socket.resume();
		for (let i = 1; i <= count; i++) expect((await wire.frame()).readInt32BE(0)).toBe(i);
		clearInterval(watch);
		expect(most).toBeLessThan(2 * MIB);
	});
});

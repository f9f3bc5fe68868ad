/** What the upstream benchmarks are made of: their backlog, their reader, their count of bytes, their delays. Against a Kafka door of our own. */
import { once } from "node:events";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { decodeRecords } from "../../../src/record/batch.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { CountedLink } from "../../bench/counted-link.ts";
import { PacedPublisher } from "../../bench/paced-publisher.ts";
import { DelayMeter } from "../../bench/upstream-delay.ts";
import { fillBacklog, telemetryBatches, telemetryValue } from "../../bench/upstream-events.ts";
import { countCommitted, followValues } from "../../bench/upstream-reader.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
	for (const close of closers.splice(0).reverse()) await close();
});

async function gateway(partitions: number): Promise<{ port: number; bootstrap: string }> {
	const started = await KafkaGateway.start();
	closers.push(() => started.stop());
	await started.broker.topics.create({ name: "telemetry", partitions });
	return { port: started.port, bootstrap: `127.0.0.1:${started.port}` };
}

describe("the backlog", () => {
	it.each([100, 200, 1000])("has events of %i bytes that are JSON and differ", (bytes) => {
		const values = Array.from({ length: 50 }, () => telemetryValue(bytes));
		expect(new Set(values.map((value) => value.length))).toEqual(new Set([bytes]));
		expect(new Set(values.map(String)).size).toBe(50);
		for (const value of values) expect(JSON.parse(value.toString())).toHaveProperty("celsius");
	});

	it("has each device in the partition of its key", () => {
		for (const [partition, batches] of telemetryBatches(3, 100).entries()) {
			const keys = new Set(batches.flatMap((batch) => decodeRecords(batch).map(({ key }) => key?.toString() ?? "")));
			expect(keys.size).toBeGreaterThan(1);
			for (const key of keys) expect(partitionForKey(Buffer.from(key), 3)).toBe(partition);
		}
	});
});

describe("the reader of the central cluster", () => {
	it("counts what a backlog has, through a link that counts its bytes", async () => {
		const { port, bootstrap } = await gateway(3);
		const link = await CountedLink.open(port);
		closers.push(() => link.close());
		const fill = { topic: "telemetry", partitions: 3, valueBytes: 100 };
		const { records, bytes } = await fillBacklog(link.bootstrap, fill, (sent) => sent >= 1000);
		expect(records).toBeGreaterThanOrEqual(1000);
		expect(await countCommitted(bootstrap, "telemetry", 3)).toBe(records);
		expect(link.bytes).toBeGreaterThan(bytes);
		expect(link.bytes).toBeLessThan(bytes * 1.1);
		expect(await countCommitted(bootstrap, "missing", 3)).toBe(0);
	});

	it("follows from the end on", async () => {
		const { bootstrap } = await gateway(2);
		const fill = { topic: "telemetry", partitions: 2, valueBytes: 100 };
		await fillBacklog(bootstrap, fill, (sent) => sent >= 100);
		const seen: Buffer[] = [];
		const reader = await followValues(bootstrap, "telemetry", 2, (value) => seen.push(value));
		const { records } = await fillBacklog(bootstrap, fill, (sent) => sent >= 200);
		while (seen.length < records) await new Promise((resolve) => setTimeout(resolve, 10));
		await reader.stop();
		expect(seen.length).toBe(records);
		expect(new Set(seen.map(({ length }) => length))).toEqual(new Set([100]));
	});
});

describe("the meter of delays", () => {
	it("counts each event once, from its acknowledgement, whichever comes first", () => {
		const meter = new DelayMeter(1);
		meter.acknowledged(0, 10);
		meter.seen(0, 500);
		meter.acknowledged(1, 100);
		meter.seen(1, 130);
		// Its acknowledgement is read behind its record.
		meter.seen(2, 200);
		meter.acknowledged(2, 201);
		expect(meter.whole).toBe(3);
		expect(meter.delays.count).toBe(2);
		expect(meter.delays.max).toBe(30);
		expect(() => meter.seen(1, 140)).toThrow("event 1 came twice");
	});
});

describe("the publisher at a pace", () => {
	it("numbers events over its connections, and hears of each in whatever pieces", async () => {
		const numbers: number[] = [];
		const server = net.createServer({ noDelay: true }, (socket) => {
			let rest = Buffer.alloc(0);
			socket.on("error", () => undefined);
			socket.on("data", (chunk) => {
				rest = Buffer.concat([rest, chunk]);
				// Every packet here has a remaining length of one byte.
				while (rest.length >= 2 && rest.length >= 2 + (rest[1] as number)) {
					const packet = rest.subarray(0, 2 + (rest[1] as number));
					rest = rest.subarray(packet.length);
					if (packet[0] === 0x10) {
						socket.write(Buffer.of(0x20, 2, 0, 0));
						continue;
					}
					const at = 4 + packet.readUInt16BE(2);
					numbers.push(packet.readUInt32BE(at + 2 + 4));
					socket.write(Buffer.of(0x40, 2));
					socket.write(packet.subarray(at, at + 2));
				}
			});
		});
		server.listen(0, "127.0.0.1");
		await once(server, "listening");
		closers.push(() => server.close());
		const acknowledged: number[] = [];
		const publisher = await PacedPublisher.open({
			port: (server.address() as net.AddressInfo).port,
			connections: 3,
			topic: "dev#",
			bytes: 20,
			acknowledged: (number) => acknowledged.push(number),
		});
		await publisher.run(60, 600);
		while (acknowledged.length < 60) await new Promise((resolve) => setTimeout(resolve, 5));
		publisher.close();
		const all = Array.from({ length: 60 }, (_, i) => i);
		const inOrder = (list: readonly number[]): number[] => list.toSorted((a, b) => a - b);
		expect([inOrder(numbers), inOrder(acknowledged)]).toEqual([all, all]);
	});
});

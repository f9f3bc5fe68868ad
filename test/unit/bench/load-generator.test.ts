/** The load generator counts what a broker answered, whatever the pieces in which the answers come. */
import { once } from "node:events";
import net from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { Histogram } from "../../bench/histogram.ts";
import { Publisher } from "../../bench/publisher.ts";

const servers: net.Server[] = [];
afterEach(() => {
	for (const server of servers.splice(0)) server.close();
});

/** Takes connections, answers each packet type of `answers` with the packet's identifier, `pieceBytes` a write. */
async function broker(
	answers: ReadonlyMap<number, number>,
	pieceBytes: number,
): Promise<{ port: number; published(): number }> {
	let published = 0;
	const server = net.createServer({ noDelay: true }, (socket) => {
		let rest = Buffer.alloc(0);
		let output: Promise<void> = Promise.resolve();
		const send = (bytes: Buffer): void => {
			for (let at = 0; at < bytes.length; at += pieceBytes) {
				output = output.then(async () => {
					socket.write(bytes.subarray(at, at + pieceBytes));
					await new Promise((resolve) => setImmediate(resolve));
				});
			}
		};
		socket.on("error", () => undefined);
		socket.on("data", (chunk) => {
			rest = Buffer.concat([rest, chunk]);
			// Every packet of these tests has a remaining length of one byte.
			while (rest.length >= 2 && rest.length >= 2 + (rest[1] as number)) {
				const packet = rest.subarray(0, 2 + (rest[1] as number));
				rest = rest.subarray(packet.length);
				const type = (packet[0] as number) & 0xf0;
				if (type === 0x10) socket.write(Buffer.of(0x20, 2, 0, 0));
				if (type === 0xc0) send(Buffer.of(0xd0, 0));
				if (type === 0x30) published += 1;
				const answer = answers.get(type);
				const at = type === 0x30 ? 4 + packet.readUInt16BE(2) : 2;
				if (answer !== undefined) send(Buffer.of(answer, 2, packet[at] as number, packet[at + 1] as number));
			}
		});
	});
	servers.push(server);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	return { port: (server.address() as net.AddressInfo).port, published: () => published };
}

const open = (port: number, qos: 0 | 1 | 2, latencies = new Histogram()): Promise<Publisher> =>
	Publisher.open(0, { port, qos, window: 8, bytes: 10, latencies, failed: () => undefined });

/** Until that many are acknowledged; then no more are sent. */
async function publishUntil(publisher: Publisher, count: number): Promise<void> {
	publisher.begin();
	while (publisher.acknowledged < count) await new Promise((resolve) => setImmediate(resolve));
	await publisher.stop();
}

describe("a publisher of the load generator", () => {
	it.each([1, 3, 4, 5, 64])("counts PUBACKs that come %i bytes at a time", async (pieceBytes) => {
		const { port, published } = await broker(new Map([[0x30, 0x40]]), pieceBytes);
		const latencies = new Histogram();
		const publisher = await open(port, 1, latencies);
		await publishUntil(publisher, 100);
		expect(publisher.acknowledged).toBe(published());
		expect(publisher.sent).toBe(published());
		expect(latencies.count).toBe(Math.ceil(publisher.acknowledged / 8));
	});

	it.each([1, 3, 4, 5])("releases QoS 2 and counts PUBCOMPs that come %i bytes at a time", async (pieceBytes) => {
		const { port, published } = await broker(
			new Map([
				[0x30, 0x50],
				[0x60, 0x70],
			]),
			pieceBytes,
		);
		const publisher = await open(port, 2);
		await publishUntil(publisher, 50);
		expect(publisher.acknowledged).toBe(published());
		expect(publisher.sent).toBe(published());
	});

	it("knows what the broker has read at QoS 0 when it stops", async () => {
		const { port, published } = await broker(new Map(), 64);
		const publisher = await open(port, 0);
		publisher.begin();
		await publisher.barrier();
		await publisher.stop();
		expect(publisher.sent).toBeGreaterThan(0);
		expect(published()).toBe(publisher.sent);
	});
});

describe("a histogram", () => {
	it("finds percentiles to 2 %", () => {
		const latencies = fc.array(fc.double({ min: 0.01, max: 5000, noNaN: true }), { minLength: 1, maxLength: 200 });
		fc.assert(
			fc.property(latencies, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, part) => {
				const histogram = new Histogram();
				for (const value of values) histogram.add(value);
				const exact = values.toSorted((a, b) => a - b)[Math.ceil(values.length * part) - 1] as number;
				const found = histogram.percentile(part) as number;
				expect(found).toBeGreaterThanOrEqual(exact * 0.9999);
				expect(found).toBeLessThanOrEqual(exact * 1.0201);
			}),
		);
	});
});

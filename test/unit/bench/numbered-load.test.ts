/** Numbered publishers and counting subscribers of the load generators: what they count and check, in whatever pieces it comes. */
import { once } from "node:events";
import net from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { filtersOf, mixedFilter } from "../../bench/hold-load.ts";
import { NumberedPublisher } from "../../bench/numbered-publisher.ts";
import { publishPacket, publishPackets } from "../../bench/packets.ts";
import { Subscriber } from "../../bench/subscriber.ts";

const servers: net.Server[] = [];
afterEach(() => {
	for (const server of servers.splice(0)) server.close();
});

/** The whole of what a connection sent behind its CONNECT, which is answered. */
async function broker(onPacket: (packet: Buffer, socket: net.Socket) => void): Promise<number> {
	const server = net.createServer({ noDelay: true }, (socket) => {
		let rest = Buffer.alloc(0);
		socket.on("error", () => undefined);
		socket.on("data", (chunk) => {
			rest = Buffer.concat([rest, chunk]);
			// Every packet of these tests has a remaining length of one byte.
			while (rest.length >= 2 && rest.length >= 2 + (rest[1] as number)) {
				const packet = rest.subarray(0, 2 + (rest[1] as number));
				rest = rest.subarray(packet.length);
				if (packet[0] === 0x10) socket.write(Buffer.of(0x20, 2, 0, 0));
				else onPacket(packet, socket);
			}
		});
	});
	servers.push(server);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	return (server.address() as net.AddressInfo).port;
}

function numbered(publisher: number, sequence: number, bytes: number): Buffer {
	const payload = Buffer.alloc(Math.max(8, bytes));
	payload.writeUInt32BE(publisher, 0);
	payload.writeUInt32BE(sequence, 4);
	return payload;
}

/** What a subscriber makes of `stream`, cut into pieces of these sizes in turn; and the acknowledgements that it writes. */
function feed(stream: Buffer, pieces: readonly number[]): { subscriber: Subscriber; acks: Buffer; failures: Error[] } {
	const failures: Error[] = [];
	const subscriber = new Subscriber({
		port: 0,
		number: 0,
		clientId: "s",
		publishers: 3,
		failed: (error) => failures.push(error),
	});
	const written: Buffer[] = [];
	const socket = { write: (bytes: Buffer) => written.push(Buffer.from(bytes)), writableLength: 0 };
	// As the socket's reads do: all into one buffer.
	const shared = Buffer.alloc(Math.max(...pieces));
	for (let at = 0, i = 0; at < stream.length; i++) {
		const length = Math.min(pieces[i % pieces.length] as number, stream.length - at);
		stream.copy(shared, 0, at, at + length);
		subscriber.received(shared, length, socket as unknown as net.Socket);
		at += length;
	}
	return { subscriber, acks: Buffer.concat(written), failures };
}

describe("a subscriber of the load generators", () => {
	it("counts and acknowledges each event once, in whatever pieces they come", () => {
		const events = fc.array(
			fc.record({ publisher: fc.nat(2), qos: fc.nat(1), bytes: fc.integer({ min: 8, max: 400 }) }),
			{
				minLength: 1,
				maxLength: 40,
			},
		);
		const pieces = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 });
		fc.assert(
			fc.property(events, pieces, (each, sizes) => {
				const next = [0, 0, 0];
				const packets = each.map(({ publisher, qos, bytes }, i) => {
					const sequence = next[publisher] as number;
					next[publisher] = sequence + 1;
					return publishPacket(`t/${publisher}`, qos, false, i + 1, numbered(publisher, sequence, bytes));
				});
				const { subscriber, acks, failures } = feed(Buffer.concat(packets), sizes);
				expect(failures).toEqual([]);
				expect(subscriber.events).toBe(each.length);
				expect([...subscriber.expected]).toEqual(next);
				const due = each.flatMap(({ qos }, i) => (qos === 1 ? [0x40, 2, 0, i + 1] : []));
				expect([...acks]).toEqual(due);
			}),
		);
	});

	it.each([
		["missing", [0, 2], "event 2 of publisher 1 came, 1 was expected"],
		["repeated without DUP", [0, 0], "event 0 of publisher 1 came again without DUP"],
		["out of order", [0, 2, 1], "event 2 of publisher 1 came, 1 was expected"],
	])("finds an event that is %s", (_what, sequences, message) => {
		const packets = sequences.map((sequence, i) => publishPacket("t", 1, false, i + 1, numbered(1, sequence, 8)));
		const { failures } = feed(Buffer.concat(packets), [1000]);
		expect(failures.map((error) => error.message)).toEqual([expect.stringContaining(message)]);
	});

	it("takes an event again that says so, and counts it apart", () => {
		const again = publishPacket("t", 1, false, 2, numbered(1, 0, 8));
		again[0] = (again[0] as number) | 8;
		const { subscriber, failures } = feed(
			Buffer.concat([publishPacket("t", 1, false, 1, numbered(1, 0, 8)), again]),
			[7],
		);
		expect(failures).toEqual([]);
		expect(subscriber.duplicates).toBe(1);
		expect(subscriber.expected[1]).toBe(1);
	});

	it("rejects when a subscription is refused", async () => {
		const port = await broker((packet, socket) => {
			if (packet[0] === 0x82) socket.write(Buffer.of(0x90, 3, packet[2] as number, packet[3] as number, 0x80));
		});
		const subscriber = await Subscriber.open({ port, number: 0, clientId: "s", failed: () => undefined });
		await expect(subscriber.subscribe(["t"], 1)).rejects.toThrow("refused");
		await subscriber.leave();
	});
});

describe("a numbered publisher of the load generators", () => {
	it("numbers topics and payloads anew while its ring goes round", async () => {
		const received: Buffer[] = [];
		const port = await broker((packet, socket) => {
			received.push(Buffer.from(packet));
			const at = 4 + packet.readUInt16BE(2);
			socket.write(Buffer.of(0x40, 2, packet[at] as number, packet[at + 1] as number));
		});
		const publisher = await NumberedPublisher.open({
			port,
			number: 0,
			clientId: "p",
			publisher: 7,
			firstSequence: 95,
			topic: "r/#/##",
			qos: 1,
			retain: true,
			bytes: 12,
			window: 4,
			failed: (error) => expect.unreachable(error.message),
		});
		await publisher.run(10);
		publisher.close();
		const expected = Array.from({ length: 10 }, (_, i) => {
			const digits = String(95 + i).padStart(3, "0");
			const payload = Buffer.alloc(12, "t=21.5;");
			numbered(7, 95 + i, 8).copy(payload);
			return publishPacket(`r/${digits[0]}/${digits.slice(1)}`, 1, true, (i % 4) + 1, payload).toString("hex");
		});
		expect(received.map((packet) => packet.toString("hex"))).toEqual(expected);
		expect(publisher.acknowledged).toBe(10);
	});
});

describe("what the load generators publish and subscribe to", () => {
	it("has packets of one size in a window, however many topics they go to", () => {
		const packets = publishPackets(3, 1, 120, 20, 12);
		const bytes = packets.length / 120;
		const topics = Array.from({ length: 120 }, (_, i) => {
			const packet = packets.subarray(i * bytes, (i + 1) * bytes);
			return packet.toString("utf8", 4, 4 + packet.readUInt16BE(2));
		});
		expect(new Set(topics).size).toBe(12);
		expect(topics.every((topic) => /^sensors\/site3\/dev3-\d\d\/telemetry$/.test(topic))).toBe(true);
	});

	it("shares out as many filters as are wanted, no two the same", () => {
		const spec = {
			kind: "hold",
			port: 0,
			name: "n",
			connections: 7,
			client: "clean",
			subscriptions: { shape: "mixed", count: 1000 },
			qos: 0,
			leave: false,
		} as const;
		const filters = Array.from({ length: 7 }, (_, i) => filtersOf(spec, i)).flat();
		expect(filters).toEqual(Array.from({ length: 1000 }, (_, i) => mixedFilter(i)));
		expect(new Set(filters).size).toBe(1000);
	});
});

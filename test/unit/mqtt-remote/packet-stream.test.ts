/** Packets from chunks, however these are cut, and events that are too large for us. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodePacket } from "../../../bridge/mqtt/codec/encode.ts";
import { PacketStream } from "../../../bridge/mqtt/remote/packet-stream.ts";
import { Pressure } from "../../../src/base/pressure.ts";

const MAX = 300;

function publish(topic: string, payloadBytes: number, packetId: number): Buffer {
	const payload = Buffer.alloc(payloadBytes, packetId & 0xff);
	const head = { type: "publish" as const, topic, payload, retain: false, dup: false, properties: {} };
	return encodePacket(packetId === 0 ? { ...head, qos: 0 } : { ...head, qos: 1, packetId }, 4);
}

/** What the handler is told, as text. */
function fed(chunks: readonly Buffer[], passOver: boolean): { told: string[]; pressure: Pressure } {
	const pressure = new Pressure(1_000_000);
	const stream = new PacketStream(pressure, MAX, passOver, () => {});
	const told: string[] = [];
	const handler = {
		packet: (bytes: Buffer, start: number, end: number) => told.push(bytes.toString("hex", start, end)),
		oversized: (head: Buffer, sizeBytes: number) => told.push(`${sizeBytes}: ${head.toString("hex")}`),
	};
	for (const chunk of chunks) stream.feed(chunk, handler);
	return { told, pressure };
}

const anyPacket = fc.oneof(
	fc
		.record({
			topic: fc.stringMatching(/^[a-z]{1,40}$/),
			bytes: fc.integer({ min: 0, max: 900 }),
			id: fc.integer({ min: 0, max: 65_535 }),
		})
		.map(({ topic, bytes, id }) => publish(topic, bytes, id)),
	fc.constant(Buffer.of(0xd0, 0)),
	fc.constant(Buffer.of(0x40, 2, 0, 7)),
);

describe("the stream", () => {
	it("tells the same packets in the same order wherever the chunks are cut", () => {
		fc.assert(
			fc.property(
				fc.array(anyPacket, { maxLength: 8 }),
				fc.array(fc.integer({ min: 1, max: 200 })),
				(packets, cuts) => {
					const whole = Buffer.concat(packets);
					const chunks: Buffer[] = [];
					for (let at = 0, i = 0; at < whole.length; i++) {
						const size = cuts.length === 0 ? 7 : cuts[i % cuts.length]!;
						chunks.push(whole.subarray(at, at + size));
						at += size;
					}
					const expected = packets.map((bytes) => {
						if (bytes.length <= MAX) return bytes.toString("hex");
						// Topic and identifier, without the payload.
						const topicAt = bytes[1]! >= 0x80 ? 3 : 2;
						const identifier = (bytes[0]! & 6) === 0 ? 0 : 2;
						const head = topicAt + 2 + bytes.readUInt16BE(topicAt) + identifier;
						return `${bytes.length}: ${bytes.toString("hex", 0, head)}`;
					});
					const { told, pressure } = fed(chunks, true);
					expect(told).toEqual(expected);
					expect(pressure.bytes).toBe(0);
				},
			),
		);
	});

	it("refuses what is too large where the other broker was told the limit", () => {
		expect(() => fed([publish("a", 400, 1)], false)).toThrow(/the largest accepted here is 300/);
	});

	it("refuses what is too large and no PUBLISH, and what is no packet", () => {
		expect(() => fed([Buffer.of(0x90, 0xff, 0x7f, 0)], true)).toThrow(/largest accepted/);
		expect(() => fed([Buffer.of(0x00, 0)], true)).toThrow(/reserved/);
		expect(() => fed([Buffer.of(0x30), Buffer.of(0xff, 0xff, 0xff, 0xff)], true)).toThrow(/four bytes/);
	});
});

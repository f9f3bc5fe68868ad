/**
 * Packets cut off at every length: as the codec sees them, and live. Where the Remaining Length was made to fit, what is left
 * must be refused unless it happens to be a packet; where it was not, the rest is waited for, and nothing is answered before.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodePacket } from "../../../bridge/mqtt/codec/decode.ts";
import { MqttError } from "../../../bridge/mqtt/codec/packets.ts";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, type Level, packet, subscribe } from "../support/packets.ts";
import { Peer, until } from "../support/peer.ts";
import { type WrongPacket, wholePackets, wronglyTaken } from "./matrix.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

/** The packet with `length` bytes of its body, and a Remaining Length that says so. */
function cut(whole: Buffer, length: number): Buffer {
	return packet(whole[0]!, whole.subarray(2, 2 + length));
}

/** Lengths of the body that leave a packet: one without its payload, its reason code or its properties. */
function stillWhole(name: string, level: Level, body: number): (length: number) => boolean {
	const payload = "payload".length;
	if (name.startsWith("publish")) return (length) => length >= body - payload;
	if (level === 4) return (length) => length === body;
	if (name.startsWith("pub")) return (length) => length === 2 || length === 3 || length === body;
	if (name === "disconnect") return (length) => length <= 1 || length === body;
	return (length) => length === body;
}

for (const level of [4, 5] as const) {
	test(`level ${level}: the codec refuses every packet that is cut off, and takes it whole`, () => {
		for (const [name, whole] of Object.entries(wholePackets(level))) {
			const body = whole.length - 2;
			const fits = stillWhole(name, level, body);
			for (let length = 0; length <= body; length++) {
				const bytes = cut(whole, length);
				const decode = () => decodePacket(bytes, 0, bytes.length, level, "client");
				if (fits(length)) expect(decode, `${name}, ${length} of ${body}`).not.toThrow();
				else expect(decode, `${name}, ${length} of ${body}`).toThrow(MqttError);
			}
			for (let length = 1; length < whole.length; length++) {
				expect(() => decodePacket(whole, 0, length, level, "client"), `${name}, ${length} bytes`).toThrow(MqttError);
			}
		}
	});

	test(`level ${level}: what is cut off ends its connection`, async () => {
		const table: WrongPacket[] = [];
		for (const [name, whole] of Object.entries(wholePackets(level))) {
			const body = whole.length - 2;
			const fits = stillWhole(name, level, body);
			for (let length = 0; length < body; length++) {
				if (fits(length)) continue;
				const first = name === "connect";
				// A CONNECT cut off before its level is of no version, and one without room for its name is not MQTT's.
				const codes = level === 4 || (first && length < 7) ? [] : first ? [0x81] : [0x81, 0x82];
				table.push({ what: `${name}, ${length} of ${body}`, bytes: cut(whole, length), codes, first });
			}
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: half a packet is answered by nothing, and its memory is given back`, async () => {
		const bystander = await Peer.connected(door, { level, clientId: `half-bystander${level}` });
		for (const [name, whole] of Object.entries(wholePackets(level))) {
			for (const length of [1, 2, 3, whole.length >> 1, whole.length - 1]) {
				if (length >= whole.length) continue;
				const first = name === "connect";
				const peer = first
					? await Peer.silent(door, level)
					: await Peer.connected(door, { level, clientId: `half${level}` });
				const before = door.door.engine.connections.size;
				peer.send(whole.subarray(0, length));
				await bystander.publish("half/bystander", "x");
				peer.raw.socket.end();
				expect(await peer.untilClosed(), `${name}, ${length} bytes`).toEqual([]);
				await until(() => door.door.engine.connections.size === before - 1);
			}
		}
		await door.broker.log.whenCommitted();
		await until(() => door.broker.pressure.bytes === 0);
	});

	test(`level ${level}: a packet in pieces is the same packet`, async () => {
		const filters = [["pieces/+", 1] as const];
		for (const [clientId, whole] of [
			["in-pieces", connect({ level, clientId: `in-pieces${level}`, userName: "user" })],
			["in-two", subscribe(filters, { level })],
		] as const) {
			for (let at = 1; at < whole.length; at++) {
				const peer = await Peer.silent(door, level);
				peer.raw.socket.setNoDelay(true);
				if (clientId === "in-two") {
					peer.send(connect({ level, clientId: `in-two${level}` }));
					await peer.expect("CONNACK");
				}
				peer.send(whole.subarray(0, at));
				await new Promise((resolve) => setImmediate(resolve));
				peer.send(whole.subarray(at));
				expect((await peer.next()).name).toBe(clientId === "in-two" ? "SUBACK" : "CONNACK");
				peer.vanish();
			}
		}
	});
}

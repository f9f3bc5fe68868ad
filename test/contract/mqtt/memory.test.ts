/** Packets that arrive in parts, together larger than the memory budget: each is read to its end, in its turn. */
import { describe, expect, it } from "vitest";
import { connect, type RawSocket, type TestDoor, text } from "./door.ts";
import { open } from "./open-doors.ts";

const BUDGET_BYTES = 256 * 1024;

/** PUBLISH of QoS 1 with the packet identifier 7, above 16,383 bytes. */
function largePublish(payloadBytes: number): Buffer {
	const body = Buffer.concat([text("a/b"), Buffer.of(0, 7), Buffer.alloc(payloadBytes, "x")]);
	const { length } = body;
	return Buffer.concat([Buffer.of(0x32, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14), body]);
}

async function connected(door: TestDoor, count: number): Promise<RawSocket[]> {
	const sockets: RawSocket[] = [];
	for (let i = 0; i < count; i++) {
		const socket = await door.socket();
		socket.send(connect(`client ${i}`));
		await socket.packet();
		sockets.push(socket);
	}
	return sockets;
}

const rounds = async (): Promise<void> => {
	for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
};
const until = async (condition: () => boolean): Promise<void> => {
	while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

describe("packets that have arrived in part", () => {
	it.each([40_000, 95_000])("are all acknowledged in the end: of %d bytes, most of each first", async (bytes) => {
		const door = await open({}, BUDGET_BYTES);
		const { pressure } = door.broker;
		const sockets = await connected(door, 40);
		const packet = largePublish(bytes);
		const most = packet.length - 5000;
		for (const socket of sockets) socket.send(packet.subarray(0, most));
		await until(() => pressure.bytes > BUDGET_BYTES / 2);
		await rounds();
		for (const socket of sockets) socket.send(packet.subarray(most));
		for (const socket of sockets) expect([...(await socket.packet())]).toEqual([0x40, 2, 0, 7]);
		await until(() => pressure.bytes === 0);
	});
});

/** Frames that arrive in parts, together larger than the memory budget: each is read to its end, in its turn. */
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { groupsOf, NativeGateway, type NativeGatewayOptions, NativePeer } from "./native-gateway.ts";

const MIB = 1024 * 1024;
const gateways: NativeGateway[] = [];
afterEach(async () => {
	for (const gateway of gateways.splice(0)) await gateway.stop();
});

async function start(options: NativeGatewayOptions = {}): Promise<NativeGateway> {
	const gateway = await NativeGateway.start({ memoryBudgetBytes: MIB, ...options });
	gateway.broker.topics.create({ name: "t", partitions: 1 });
	gateways.push(gateway);
	return gateway;
}

const frameOf = (bytes: number): Buffer =>
	NativePeer.frame(MESSAGE.PRODUCE, 2, [[0, groupsOf("t", ["x".repeat(bytes)])]]);
const rounds = async (): Promise<void> => {
	for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
};
const until = async (condition: () => boolean): Promise<void> => {
	while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

describe("frames that have arrived in part", () => {
	it.each([40_000, 600_000])("are all answered in the end: of %d bytes, half of each first", async (bytes) => {
		const { broker } = await start();
		const [gateway] = gateways as [NativeGateway];
		const peers = await Promise.all(Array.from({ length: 60 }, () => gateway.peer([])));
		const frame = frameOf(bytes);
		const half = frame.length >> 1;
		for (const peer of peers) peer.socket.write(frame.subarray(0, half));
		await until(() => broker.pressure.bytes > MIB / 2);
		await rounds();
		// What is granted to frames that arrive, and a chunk of each that waits.
		expect(broker.pressure.bytes).toBeLessThan(MIB / 2 + 60 * 128 * 1024);
		for (const peer of peers) peer.socket.write(frame.subarray(half));
		for (const peer of peers) expect((await peer.message())[0]).toBe(MESSAGE.PRODUCE);
		await until(() => broker.pressure.bytes === 0);
	});

	it("end their connection when they take longer than half a minute while others wait for memory, not before", async () => {
		// Only timers are moved by hand.
		const clock = Object.assign(new SimulatedClock(), { soon: systemClock.soon });
		const gateway = await start({ clock, idleTimeoutMs: 3_600_000 });
		const [slow, waiting] = [await gateway.peer([]), await gateway.peer([])];
		const frame = frameOf(600_000);
		slow.socket.write(frame.subarray(0, 300_000));
		await until(() => gateway.broker.pressure.bytes > 299_000);
		await clock.advance(60_000);
		await rounds();
		waiting.socket.write(frame);
		await until(() => gateway.broker.pressure.room.short);
		await clock.advance(5_000);
		const [type, id, body] = await slow.message();
		expect([type, id, body.get(1)]).toEqual([MESSAGE.ERROR, 0, "REQUEST_TIMED_OUT"]);
		await slow.closed;
		expect((await waiting.message())[0]).toBe(MESSAGE.PRODUCE);
	});
});

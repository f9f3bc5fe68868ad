import { describe, expect, it } from "vitest";
import { MqttError } from "../../../bridge/mqtt/codec/packets.ts";
import { Output, OutputBudget } from "../../../bridge/mqtt/output.ts";
import { PartialPacket } from "../../../bridge/mqtt/partial-packet.ts";
import type { Transport } from "../../../bridge/mqtt/transport.ts";
import { Pressure } from "../../../src/base/pressure.ts";

/** Takes everything at once, or nothing, as told; a taken buffer may be overwritten, so it keeps a copy then only. */
class ScriptedTransport implements Transport {
	readonly peer = "test";
	readonly written: Buffer[] = [];
	takes = true;
	unsentBytes = 0;

	write(bytes: Buffer): boolean {
		this.written.push(this.takes ? Buffer.from(bytes) : bytes);
		if (!this.takes) this.unsentBytes += bytes.length;
		return this.takes;
	}
	pause(): void {}
	resume(): void {}
	end(): void {}
	destroy(): void {}
}

function make() {
	const pressure = new Pressure(1_000_000);
	const transport = new ScriptedTransport();
	return { pressure, transport, output: new Output(transport, new OutputBudget(pressure, 100_000)) };
}

describe("acknowledgements", () => {
	it.each([true, false])(
		"leave only when their commit is durable, in one write each commit (socket takes them: %s)",
		(takes) => {
			const { transport, output } = make();
			transport.takes = takes;
			const ids: number[] = [];
			let next = 1;
			const commit = (count: number): void => {
				for (let i = 0; i < count; i++) output.responseOnCommit(0x40, next++);
				output.mark();
			};
			commit(3);
			commit(50);
			output.flushAcks();
			expect(transport.written).toEqual([]);
			for (let round = 0; round < 20; round++) {
				output.release();
				output.flushAcks();
				expect(transport.written.length).toBe(round + 1);
				commit(round + 1);
			}
			output.release();
			output.release();
			output.flushAcks();
			for (const written of transport.written) {
				for (let at = 0; at < written.length; at += 4) ids.push(written.readUInt16BE(at + 2));
			}
			expect(ids).toEqual(Array.from({ length: next - 1 }, (_, i) => i + 1));
		},
	);

	it("of two commits that become durable together leave in one write", () => {
		const { transport, output } = make();
		output.responseOnCommit(0x40, 1);
		output.answeredOnCommit();
		output.mark();
		output.responseOnCommit(0x40, 2);
		output.responseOnCommit(0x40, 3);
		output.answeredOnCommit();
		output.answeredOnCommit();
		output.mark();
		expect([output.release(), output.release(), output.release()]).toEqual([1, 2, 0]);
		output.flushAcks();
		expect(transport.written.map((each) => each.length)).toEqual([12]);
	});
});

describe("output", () => {
	it("is one write a turn, counts in the budget while unsent, and is let go of at the end", () => {
		const { pressure, transport, output } = make();
		transport.takes = false;
		for (let i = 0; i < 10; i++) output.packet(Buffer.alloc(100, i));
		output.flush();
		expect(transport.written.map((each) => each.length)).toEqual([1000]);
		expect(pressure.bytes).toBe(1000);
		output.packet(Buffer.alloc(100, 99));
		expect(transport.written[0]![999]).toBe(9); // what the socket still holds was not written over
		output.discard();
		expect(pressure.bytes).toBe(0);
	});

	it("is blocked when a socket does not drain, and not before", () => {
		const { transport, output } = make();
		expect(output.blocked).toBe(false);
		transport.unsentBytes = 16_383;
		expect(output.blocked).toBe(false);
		transport.unsentBytes = 16_384;
		expect(output.blocked).toBe(true);
	});
});

describe("a packet that comes in pieces", () => {
	it("is whole whatever the pieces are, takes nothing of the next, and grows with what came only", () => {
		const pressure = new Pressure(1_000_000);
		const packet = Buffer.concat([Buffer.of(0x30, 0xe8, 0x07), Buffer.alloc(1000, 7)]);
		for (const size of [1, 2, 3, 10, 999, 1003, 2000]) {
			const partial = new PartialPacket(pressure, 0, () => {});
			const stream = Buffer.concat([packet, Buffer.from("next")]);
			let at = 0;
			while (partial.whole() === undefined) {
				at += partial.take(stream.subarray(at, at + size), 5000);
				expect(pressure.bytes).toBeLessThanOrEqual(Math.max(5, 2 * at));
			}
			expect(at).toBe(packet.length);
			expect(partial.whole()).toEqual(packet);
			partial.discard();
			expect(pressure.bytes).toBe(0);
		}
	});

	it("is refused from its fixed header when it is too large", () => {
		const partial = new PartialPacket(new Pressure(1000), 0, () => {});
		expect(() => partial.take(Buffer.of(0x30, 0xff, 0xff, 0x03), 5000)).toThrow(MqttError);
	});
});

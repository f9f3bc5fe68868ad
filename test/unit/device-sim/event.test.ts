import { describe, expect, it } from "vitest";
import { encodeEvent, readEvent } from "../../../device-sim/event.ts";

const IDENTITY = { run: "abc123", device: "temp-0001", seq: 7, timeMs: 1_732_180_000_000 };
const encoded = () => encodeEvent(IDENTITY, { temperature_c: 21.53 });

describe("an event's JSON", () => {
	it("is JSON with the run, the device, the number, the time and the values, and reads back", () => {
		expect(JSON.parse(encoded().toString())).toEqual({
			run: "abc123",
			device: "temp-0001",
			seq: 7,
			t: 1_732_180_000_000,
			temperature_c: 21.53,
			crc: expect.stringMatching(/^[0-9a-f]{8}$/),
		});
		expect(readEvent(encoded(), "abc123")).toEqual({ kind: "event", ...IDENTITY });
	});

	it("never passes for a whole one when any byte of it is another", () => {
		for (let i = 0; i < encoded().length; i++) {
			const bytes = encoded();
			bytes[i] = bytes[i]! ^ 1;
			expect(readEvent(bytes, "abc123").kind).not.toBe("event");
		}
		for (let end = 0; end < encoded().length; end++) {
			expect(readEvent(encoded().subarray(0, end), "abc123").kind).not.toBe("event");
		}
	});

	it("is foreign in another run, as is everything else", () => {
		expect(readEvent(encoded(), "other1")).toEqual({ kind: "foreign" });
		expect(readEvent(null, "abc123")).toEqual({ kind: "foreign" });
		expect(readEvent(Buffer.from("21.5"), "abc123")).toEqual({ kind: "foreign" });
		expect(readEvent(Buffer.from([0xff, 0xfe]), "abc123")).toEqual({ kind: "foreign" });
	});
});

/** Which fields are times, and which of these are believed. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonFields } from "../../../bridge/mqtt/route-json.ts";
import { FUTURE_MAX_MS, PAST_MAX_MS, timestampOf } from "../../../bridge/mqtt/route-timestamp.ts";

const NOW = Date.UTC(2025, 5, 15, 12);

function stamp(value: string | number): number | undefined {
	const fields = new JsonFields();
	const slot = fields.add(["ts"]);
	const payload = Buffer.from(JSON.stringify({ ts: value }));
	fields.read(payload, 0, payload.length);
	return timestampOf(fields, slot, fields.text(slot)!, NOW);
}

describe("a timestamp out of a payload", () => {
	const wanted = Date.UTC(2025, 5, 14, 10, 20, 30, 456);
	it.each([
		[wanted, wanted],
		[wanted + 0.9, wanted],
		[Math.floor(wanted / 1000), wanted - 456],
		[wanted / 1000, wanted],
		["2025-06-14T10:20:30.456Z", wanted],
		["2025-06-14T10:20:30.456789Z", wanted],
		["2025-06-14t10:20:30,456z", wanted],
		["2025-06-14 10:20:30.456", wanted],
		["2025-06-14T12:20:30.456+02:00", wanted],
		["2025-06-14T06:50:30.456-0330", wanted],
		["2025-06-14T12:20:30.456+02", wanted],
		["2025-06-14T10:20:30Z", wanted - 456],
		["2025-06-14T10:20Z", wanted - 30_456],
		["2024-02-29T00:00Z", Date.UTC(2024, 1, 29)],
	])("%s is %i", (value, ms) => {
		expect(stamp(value)).toBe(ms);
	});

	it.each([
		"",
		"yesterday",
		"2025-06-14",
		"2025-06-14T10:20:30.Z",
		"2025-06-31T10:20Z",
		"2025-02-29T10:20Z",
		"2025-00-14T10:20Z",
		"2025-06-14T24:00Z",
		"2025-06-14T10:60Z",
		"2025-06-14T10:20:60Z",
		"2025-06-14T10:20Z ",
		"2025-06-14T10:20+24:00",
		String(wanted),
		0,
		-1,
		1e300,
		wanted * 1000,
	])("%s is none", (value) => {
		expect(stamp(value)).toBeUndefined();
	});

	it("is believed within ten years before the arrival and one day after", () => {
		for (const ms of [NOW - PAST_MAX_MS, NOW + FUTURE_MAX_MS]) expect(stamp(ms)).toBe(ms);
		for (const ms of [NOW - PAST_MAX_MS - 1, NOW + FUTURE_MAX_MS + 1]) expect(stamp(ms)).toBeUndefined();
	});

	it("is the moment that was written, in any of the forms", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: NOW - PAST_MAX_MS, max: NOW }),
				fc.integer({ min: -1439, max: 1439 }),
				(ms, offset) => {
					expect(stamp(ms)).toBe(ms);
					const two = (value: number) => String(value).padStart(2, "0");
					const away = Math.abs(offset);
					const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(away / 60))}:${two(away % 60)}`;
					expect(stamp(new Date(ms + offset * 60_000).toISOString().replace("Z", zone))).toBe(ms);
				},
			),
		);
	});
});

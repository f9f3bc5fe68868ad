import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RecordFilter } from "../../../bridge/upstream/downlink/record-filter.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import { encodeBatch, forEachRecord } from "../../../src/record/batch.ts";

type Wants = Pick<DownlinkRule, "key" | "header">;

function takes(
	rule: Wants,
	record: { key?: string | null; headers?: readonly (readonly [string, string | null])[] },
	gatewayId = "gw-7",
): boolean {
	const filter = new RecordFilter(rule, gatewayId);
	const bytes = (text: string | null) => (text === null ? null : Buffer.from(text));
	const batch = encodeBatch([
		{
			timestamp: 1,
			key: bytes(record.key ?? null),
			value: Buffer.from("gw-7"),
			headers: (record.headers ?? []).map(([key, value]) => ({ key, value: bytes(value) })),
		},
	]);
	let taken: boolean | undefined;
	forEachRecord(batch, 0, (view) => {
		taken = filter.takes(view);
	});
	return taken as boolean;
}

describe("a downlink rule's filter", () => {
	it("takes everything where it says nothing", () => {
		expect(takes({}, { key: null })).toBe(true);
		expect(takes({}, { key: "a" })).toBe(true);
	});

	it.each<[pattern: string, key: string, fits: boolean]>([
		["dev1", "dev1", true],
		["dev1", "dev10", false],
		["dev1", "adev1", false],
		["dev*", "dev", true],
		["dev*", "dev/1/2", true],
		["*", "", true],
		["*/on", "lamp/on", true],
		["*/on", "lamp/onward", false],
		["a*a", "a", false],
		["a*a", "aa", true],
		["a*b*c", "axxbyyc", true],
		["a*b*c", "acbc", true],
		["a*bc*bc", "abc", false],
		["a*b*c", "axxcyyb", false],
		["**", "x", true],
		["{gateway}", "gw-7", true],
		["{gateway}", "gw-8", false],
		["site/{gateway}/*", "site/gw-7/door", true],
		["site/{gateway}/*", "site/gw-70/door", false],
		["", "", true],
		["", "a", false],
		["günther", "günther", true],
	])("%j for the key %j: %s", (pattern, key, fits) => {
		expect(takes({ key: pattern }, { key })).toBe(fits);
	});

	it("takes a star in the gateway's name for a star", () => {
		expect(takes({ key: "{gateway}" }, { key: "a*b" }, "a*b")).toBe(true);
		expect(takes({ key: "{gateway}" }, { key: "axb" }, "a*b")).toBe(false);
	});

	it("does not take a record without a key where there is to be one", () => {
		expect(takes({ key: "*" }, { key: null })).toBe(false);
	});

	it("takes by a header, any of several of its name", () => {
		const rule = { header: { name: "to", value: "{gateway}" } };
		expect(takes(rule, { headers: [["to", "gw-7"]] })).toBe(true);
		expect(takes(rule, { headers: [["to", "gw-8"]] })).toBe(false);
		expect(takes(rule, { headers: [["from", "gw-7"]] })).toBe(false);
		expect(takes(rule, { headers: [["to", null]] })).toBe(false);
		expect(takes(rule, {})).toBe(false);
		const several = [
			["x", "gw-7"],
			["to", "gw-1"],
			["to", "gw-7"],
		] as const;
		expect(takes(rule, { headers: several })).toBe(true);
	});

	it("wants key and header where it names both", () => {
		const rule = { key: "dev*", header: { name: "to", value: "*" } };
		expect(takes(rule, { key: "dev1", headers: [["to", "x"]] })).toBe(true);
		expect(takes(rule, { key: "dev1" })).toBe(false);
		expect(takes(rule, { key: "other", headers: [["to", "x"]] })).toBe(false);
	});

	it("fits what a regular expression says", () => {
		const text = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 8 });
		fc.assert(
			fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), text, (parts, key) => {
				const expected = new RegExp(`^${parts.join(".*")}$`, "s").test(key);
				expect(takes({ key: parts.join("*") }, { key })).toBe(expected);
			}),
		);
	});
});

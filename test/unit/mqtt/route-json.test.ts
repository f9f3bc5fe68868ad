/** Fields of payloads, against JSON.parse. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JSON_BYTES_MAX, JSON_DEPTH_MAX, JsonFields } from "../../../bridge/mqtt/route-json.ts";

/** The field's text in a payload; with something before and behind it in the buffer. */
function field(payload: string | Buffer, path: string): string | undefined {
	const fields = new JsonFields();
	const slot = fields.add(path.split("."));
	const bytes = Buffer.from(payload as string);
	fields.read(Buffer.concat([Buffer.from('{"'), bytes, Buffer.from('"}1')]), 2, 2 + bytes.length);
	return fields.text(slot);
}

describe("a field of a JSON payload", () => {
	it.each([
		['{"a":"x"}', "a", "x"],
		[' { "a" : { "b" : [ 1 , { "c" : "ü\\u0041\\n" } ] } } ', "a.b.1.c", "üA\n"],
		['{"a":1.50}', "a", "1.50"],
		['{"a":12345678901234567890}', "a", "12345678901234567890"],
		['{"a":-1e+9}', "a", "-1e+9"],
		['{"a":true}', "a", "true"],
		['{"a":""}', "a", ""],
		['{"\\u0061":"escaped name"}', "a", "escaped name"],
		['{"a":{"b":1},"a":{"c":2}}', "a.c", "2"],
		["[[7]]", "0.0", "7"],
		['{"0":7}', "0", "7"],
	])("of %s at %s is %s", (payload, path, text) => {
		expect(field(payload, path)).toBe(text);
	});

	it.each([
		["what is not there", '{"a":1}', "b"],
		["null", '{"a":null}', "a"],
		["an object", '{"a":{"b":1}}', "a"],
		["an array", '{"a":[1]}', "a"],
		["a name on the way that is no object", '{"a":1}', "a.b"],
		["an earlier value of a name that comes again", '{"a":{"b":1},"a":2}', "a.b"],
		["half a surrogate pair", '{"a":"\\ud800"}', "a"],
		["an index with a zero before it", '{"a":[1,2]}', "a.01"],
		["something behind the JSON", '{"a":1}x', "a"],
		["a payload that ends early", '{"a":1', "a"],
		["a control character in a string", '{"a":1,"b":"\u0001"}', "a"],
		["an empty payload", "", "a"],
		["a byte order mark", '\ufeff{"a":1}', "a"],
		["bytes that are no UTF-8", Buffer.from('{"a":1,"b":"\xff"}', "latin1"), "a"],
	])("is none for %s", (_name, payload, path) => {
		expect(field(payload, path)).toBeUndefined();
	});

	it("is none in a payload larger or deeper than the bounds, and is there at them", () => {
		const sized = (bytes: number) => `{"a":1,"b":"${"x".repeat(bytes - 14)}"}`;
		expect(sized(100).length).toBe(100);
		expect(field(sized(JSON_BYTES_MAX), "a")).toBe("1");
		expect(field(sized(JSON_BYTES_MAX + 1), "a")).toBeUndefined();
		const deep = (depth: number) => `{"a":1,"b":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
		expect(field(deep(JSON_DEPTH_MAX), "a")).toBe("1");
		expect(field(deep(JSON_DEPTH_MAX + 1), "a")).toBeUndefined();
		const path = Array.from({ length: JSON_DEPTH_MAX }, () => "x");
		expect(field(`${'{"x":'.repeat(JSON_DEPTH_MAX)}1${"}".repeat(JSON_DEPTH_MAX)}`, path.join("."))).toBe("1");
		expect(field("[".repeat(JSON_BYTES_MAX), "0")).toBeUndefined();
	});

	it("has one slot however often it is asked for, and none of the payload before", () => {
		const fields = new JsonFields();
		const [a, ab] = [fields.add(["a"]), fields.add(["a", "b"])];
		expect(fields.add(["a"])).toBe(a);
		fields.read(Buffer.from('{"a":{"b":5}}'), 0, 13);
		expect([fields.text(a), fields.text(ab), fields.isNumber(ab)]).toEqual([undefined, "5", true]);
		fields.read(Buffer.from('{"a":"5"}'), 0, 9);
		expect([fields.text(a), fields.text(ab), fields.isNumber(a)]).toEqual(["5", undefined, false]);
	});

	const path = fc.array(fc.constantFrom("a", "b", "0", "1"), { minLength: 1, maxLength: 3 });

	function parsed(payload: string, at: readonly string[]): unknown {
		let value: unknown = JSON.parse(payload);
		for (const name of at) {
			if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
			value = (value as Record<string, unknown>)[name];
		}
		return typeof value === "object" ? undefined : value;
	}

	it("is what JSON.parse finds there", () => {
		const name = fc.constantFrom("a", "b", "0", "1", '"', "\\", "é");
		const { container } = fc.letrec((tie) => ({
			value: fc.oneof(
				{ maxDepth: 3 },
				fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })),
				fc.constantFrom(true, false, null),
				tie("container"),
			),
			container: fc.oneof(
				fc.array(tie("value"), { maxLength: 3 }),
				fc.dictionary(name, tie("value"), { minKeys: 1, maxKeys: 4 }),
			),
		}));
		let found = 0;
		fc.assert(
			fc.property(container, path, fc.constantFrom(undefined, 1, "\t"), (json, at, space) => {
				const payload = JSON.stringify(json, undefined, space);
				const expected = parsed(payload, at);
				if (expected !== undefined) found++;
				const text = field(payload, at.join("."));
				if (typeof expected === "number") expect(Number(text)).toBe(expected);
				else expect(text).toBe(expected === undefined ? undefined : String(expected));
			}),
			{ numRuns: 2000 },
		);
		expect(found).toBeGreaterThan(100);
	});

	it("is none exactly where JSON.parse refuses the payload", () => {
		const tokens = [
			"{",
			"}",
			"[",
			"]",
			":",
			",",
			'"a"',
			'"',
			"\\",
			"1",
			"-",
			"0",
			".",
			"e",
			"E+",
			"true",
			"null",
			" ",
			"\n",
			"\\u00",
			"é",
			"\u0001",
		];
		let sound = 0;
		fc.assert(
			fc.property(fc.array(fc.constantFrom(...tokens), { maxLength: 6 }), (parts) => {
				const payload = `{"a":7,"b":${parts.join("")}}`;
				let expected: unknown;
				try {
					expected = parsed(payload, ["a"]);
					sound++;
				} catch {
					expected = undefined;
				}
				expect(field(payload, "a")).toBe(expected === undefined ? undefined : String(expected));
			}),
			{ numRuns: 3000 },
		);
		expect(sound).toBeGreaterThan(100);
	});
});

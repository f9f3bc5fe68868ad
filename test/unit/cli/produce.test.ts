import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_LINE_BYTES, readLines } from "../../../src/cli/input-lines.ts";
import { type ProduceOptions, recordMaker, recordsOf } from "../../../src/cli/produce.ts";
import type { ProduceRecord } from "../../../src/native/client/types.ts";

async function* stream(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
	for (const chunk of chunks) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

async function collect<T>(source: AsyncIterable<T[]>): Promise<T[]> {
	const all: T[] = [];
	for await (const list of source) all.push(...list);
	return all;
}

const records = async (options: ProduceOptions, input: string): Promise<ProduceRecord[]> =>
	collect(recordsOf(stream(input), recordMaker(options)));
const shown = (value: Uint8Array | string | null | undefined) =>
	value === null || value === undefined ? value : Buffer.from(value as string).toString("latin1");

describe("lines of standard input", () => {
	it("are the same however the stream is cut, and any bytes but the newline", async () => {
		const anyLine = fc.uint8Array({ maxLength: 8 }).map((line) => Buffer.from(line.filter((byte) => byte !== 10)));
		await fc.assert(
			fc.asyncProperty(
				fc.array(anyLine, { maxLength: 6 }),
				fc.array(fc.nat(60), { maxLength: 5 }),
				async (lines, cuts) => {
					const whole = Buffer.concat(lines.map((line) => Buffer.concat([line, Buffer.from("\n")])));
					const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
					const chunks = at.slice(1).map((end, i) => whole.subarray(at[i], end));
					expect((await collect(readLines(stream(...chunks)))).map(shown)).toEqual(lines.map(shown));
				},
			),
			{ numRuns: 150 },
		);
	});

	it("need no newline at the end, and may be empty", async () => {
		expect((await collect(readLines(stream("a\n\nb")))).map(shown)).toEqual(["a", "", "b"]);
		expect(await collect(readLines(stream("")))).toEqual([]);
	});

	it("come together when one chunk holds them, so that a fast stream is sent in large requests", async () => {
		const lists: number[] = [];
		for await (const lines of readLines(stream("a\nb\nc", "d\n"))) lists.push(lines.length);
		expect(lists).toEqual([2, 1]);
	});

	it("without an end are refused before they fill the memory", async () => {
		const endless = stream(...Array.from({ length: 18 }, () => Buffer.alloc(1_048_576)));
		await expect(collect(readLines(endless))).rejects.toThrow(String(MAX_LINE_BYTES));
	});
});

describe("records from lines", () => {
	it("take the key, the headers and the value as the options say", async () => {
		expect(await records({ key: "k", header: ["a=1", "b="] }, "v\n")).toEqual([
			{
				key: "k",
				value: Buffer.from("v"),
				headers: [
					["a", "1"],
					["b", ""],
				],
			},
		]);
		expect(await records({}, "v\n")).toEqual([{ value: Buffer.from("v") }]);
	});

	it("are split at the first separator, of any length", async () => {
		const [one, two] = await records({ keySeparator: "::" }, "dev7::a::b\n::x\n");
		expect([shown(one?.key), shown(one?.value), shown(two?.key), shown(two?.value)]).toEqual(["dev7", "a::b", "", "x"]);
	});

	it("read what consume --json prints", async () => {
		const line =
			'{"topic":"t","partition":1,"offset":9,"timestamp":5,"key":null,"value":{"base64":"/w=="},"headers":{"a":["1",null]}}\n';
		expect(await records({ json: true, header: ["b=2"] }, line)).toEqual([
			{
				key: null,
				value: Buffer.from([0xff]),
				timestamp: 5,
				headers: [
					["a", "1"],
					["a", null],
					["b", "2"],
				],
			},
		]);
	});

	it("hand over what stands before a wrong line, and name that line", async () => {
		const source = recordsOf(stream("a:1\nb:2\nc\nd:4\n"), recordMaker({ keySeparator: ":" }));
		expect((await source.next()).value).toHaveLength(2);
		await expect(source.next()).rejects.toThrow('line 3 has no ":" between key and value');
		await expect(records({ json: true }, "\n")).rejects.toThrow("line 1 is no JSON");
	});

	it("are handed over in requests of a bounded size", async () => {
		const sizes: number[] = [];
		for await (const batch of recordsOf(stream("x\n".repeat(1201)), recordMaker({}))) sizes.push(batch.length);
		expect(sizes).toEqual([500, 500, 201]);
		const large: number[] = [];
		for await (const batch of recordsOf(stream(`${"x".repeat(200_000)}\n`.repeat(3)), recordMaker({})))
			large.push(batch.length);
		expect(large).toEqual([2, 1]);
	});

	it.each<[ProduceOptions, string]>([
		[{ key: "a", keySeparator: ":" }, "take one of them"],
		[{ keySeparator: "" }, "at least one character"],
		[{ json: true, keySeparator: ":" }, "does not go with --json"],
		[{ value: "v", keySeparator: ":" }, "with --value give --key"],
		[{ header: ["x"] }, "--header"],
	])("refuse the options %j: %s", (options, told) => {
		expect(() => recordMaker(options)).toThrow(told);
	});
});

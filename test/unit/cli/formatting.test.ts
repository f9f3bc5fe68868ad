import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dumpJson, dumpText } from "../../../src/cli/dump.ts";
import { greeting } from "../../../src/cli/greeting.ts";
import { formatBytes, formatCount, formatDuration, formatTime, plainSetting } from "../../../src/cli/quantities.ts";
import { parseJsonRecord, RecordColumns, toJsonRecord } from "../../../src/cli/record-text.ts";
import { formatStatus } from "../../../src/cli/status.ts";
import { escapeControls, formatPairs, formatTable } from "../../../src/cli/table.ts";
import { formatFinding, formatSummary } from "../../../src/cli/verify.ts";
import type { ConsumedRecord, GatewayStatus } from "../../../src/native/client/types.ts";

const bytes = (...values: number[]) => new Uint8Array(values);
const text = (value: string) => new TextEncoder().encode(value);
const record = (fields: Partial<ConsumedRecord> = {}): ConsumedRecord => ({
	topic: "telemetry",
	partition: 2,
	offset: 17,
	timestamp: Date.UTC(2026, 4, 1, 12, 0, 0, 5),
	key: text("dev7"),
	value: text('{"t":21.5}'),
	headers: [["site", text("site1")]],
	...fields,
});

describe("a record as JSON", () => {
	it("has topic, partition, offset, timestamp, key, value and headers", () => {
		expect(JSON.stringify(toJsonRecord(record()))).toBe(
			'{"topic":"telemetry","partition":2,"offset":17,"timestamp":1777636800005,"key":"dev7","value":"{\\"t\\":21.5}","headers":{"site":"site1"}}',
		);
	});

	it("shows bytes that are not UTF-8 as base64, null as null and nothing as empty text", () => {
		const shown = toJsonRecord(
			record({
				key: null,
				value: bytes(0xff, 0),
				headers: [
					["a", null],
					["b", bytes(0xc3)],
					["c", bytes()],
				],
			}),
		);
		expect(shown).toMatchObject({
			key: null,
			value: { base64: "/wA=" },
			headers: { a: null, b: { base64: "ww==" }, c: "" },
		});
	});

	it("keeps a byte order mark, overlong text as bytes, and every value of a repeated header", () => {
		expect(toJsonRecord(record({ value: bytes(0xef, 0xbb, 0xbf, 0x61) })).value).toBe("\ufeffa");
		expect(toJsonRecord(record({ value: bytes(0xc0, 0x80) })).value).toEqual({ base64: "wIA=" });
		const headers: [string, Uint8Array | null][] = [
			["a", text("1")],
			["__proto__", text("2")],
			["a", text("3")],
		];
		expect(JSON.stringify(toJsonRecord(record({ headers })).headers)).toBe('{"a":["1","3"],"__proto__":"2"}');
	});

	it("comes back from its line as the same bytes, whatever they are", () => {
		const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 12 }), fc.string({ unit: "binary" }).map(text));
		const orNull = fc.option(anyBytes);
		const name = fc.string({ maxLength: 4 }).filter((each) => !/^\d+$/.test(each)); // JSON objects move such names first
		fc.assert(
			fc.property(
				orNull,
				orNull,
				fc.uniqueArray(fc.tuple(name, orNull), { selector: ([each]) => each, maxLength: 3 }),
				(key, value, headers) => {
					const parsed = parseJsonRecord(JSON.stringify(toJsonRecord(record({ key, value, headers }))));
					const plain = (each: Uint8Array | string | null | undefined) =>
						each === null || each === undefined ? null : Buffer.from(each as string).toString("hex");
					expect(plain(parsed.key)).toBe(plain(key));
					expect(plain(parsed.value)).toBe(plain(value));
					expect(parsed.headers?.map(([n, v]) => [n, plain(v)])).toEqual(headers.map(([n, v]) => [n, plain(v)]));
					expect(parsed.timestamp).toBe(record().timestamp);
				},
			),
			{ numRuns: 200 },
		);
	});

	it.each([
		["{", "is no JSON"],
		["[]", "is no JSON object"],
		["null", "is no JSON object"],
		["{}", 'has no "value"'],
		['{"value":{"t":1}}', "value is neither text, null nor"],
		['{"value":1}', "value is neither text, null nor"],
		['{"value":{"base64":"%"}}', '"base64" holds something else'],
		['{"value":"","kye":"a"}', 'has "kye"'],
		['{"value":"","timestamp":-1}', '"timestamp" is no whole number'],
		['{"value":"","headers":[]}', '"headers" is no object'],
	])("refuses the line %s: %s", (line, told) => {
		expect(() => parseJsonRecord(line)).toThrow(told);
	});
});

describe("a record for people", () => {
	it("stands in columns under their head", () => {
		const columns = new RecordColumns();
		expect(columns.head() + columns.row(record()) + columns.row(record({ offset: 123_456_789 }))).toBe(
			"PARTITION  OFFSET  TIME                      KEY  HEADERS  VALUE\n" +
				'        2      17  2026-05-01T12:00:00.005Z  dev7  site=site1  {"t":21.5}\n' +
				'        2  123456789  2026-05-01T12:00:00.005Z  dev7  site=site1  {"t":21.5}\n',
		);
	});

	it("is one line that steers no terminal, whatever it holds", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 20 }), fc.string({ unit: "binary", maxLength: 8 }), (value, key) => {
				const line = new RecordColumns().row(record({ key: text(key), value, headers: [[key, value]] }));
				// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through.
				expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
				expect(line.endsWith("\n")).toBe(true);
			}),
			{ numRuns: 200 },
		);
	});

	it("tells null, empty and bytes apart", () => {
		const row = new RecordColumns().row(record({ key: null, value: bytes(), headers: [["b", bytes(0xff)]] }));
		expect(row).toContain("(null)");
		expect(row).toContain("b=base64:/w==");
		expect(row.endsWith("(empty)\n")).toBe(true);
	});

	it("shows a time that no calendar has", () => {
		expect(formatTime(-1)).toBe("1969-12-31T23:59:59.999Z");
		expect(formatTime(Number.MAX_SAFE_INTEGER)).toBe("9007199254740991 ms");
	});
});

describe("quantities", () => {
	it.each([
		[0, "0 B"],
		[1023, "1023 B"],
		[1024, "1.0 KiB"],
		[1_258_291, "1.2 MiB"],
		[33_554_432, "32.0 MiB"],
		[10_737_418_240, "10.0 GiB"],
	])("%d bytes are %s", (value, shown) => expect(formatBytes(value)).toBe(shown));

	it.each([
		[0, "0 ms"],
		[999, "999 ms"],
		[1500, "1.5 s"],
		[59_960, "1m"],
		[65_000, "1m 5s"],
		[3_600_000, "1h"],
		[183_600_000, "2d 3h"],
		[86_400_000 + 5000, "1d"],
	])("%d ms are %s", (value, shown) => expect(formatDuration(value)).toBe(shown));

	it("groups digits", () => expect(formatCount(1_234_567)).toBe("1,234,567"));

	it("takes units off topic settings and leaves all else as typed", () => {
		expect(plainSetting("retention.ms", "7d")).toBe("604800000");
		expect(plainSetting("segment.bytes", "16MiB")).toBe("16777216");
		expect(plainSetting("retention.ms", "-1")).toBe("-1");
		expect(plainSetting("retention.ms", "seven")).toBe("seven");
		expect(plainSetting("cleanup.policy", "7d")).toBe("7d");
	});
});

describe("tables", () => {
	it("aligns columns, numbers to the right, with nothing behind the last", () => {
		expect(
			formatTable(
				["NAME", "N"],
				[
					["a", "1"],
					["größe", "100"],
				],
				[1],
			),
		).toBe("NAME     N\na        1\ngröße  100\n");
		expect(
			formatPairs([
				["a", "1"],
				["long", "2"],
			]),
		).toBe("a     1\nlong  2\n");
	});

	it("escapes what would move the cursor", () => {
		expect(escapeControls("a\nb\x1b[2J\u009b")).toBe("a\\nb\\u001b[2J\\u009b");
	});
});

describe("other outputs", () => {
	const status: GatewayStatus = {
		version: "0.1.0",
		uptimeMs: 65_000,
		pid: 7,
		dataDirectory: "/d",
		listeners: [{ door: "mqtt", address: "127.0.0.1:1883" }],
		topics: 2,
		partitions: 8,
		connections: { mqtt: 3, native: 1 },
		memory: { residentBytes: 62_914_560, heapBytes: 1_048_576, inFlightBytes: 0, budgetBytes: 33_554_432 },
		journal: { entries: 10, bytes: 67_108_864, writtenBytes: 67_108_864, commits: 10 },
		produced: { records: 1000, bytes: 2048 },
		losses: { records: 0 },
	};

	it("shows a status, with rates when there is one before", () => {
		const shown = formatStatus(status);
		expect(shown).toContain("Headwater 0.1.0, process 7, up 1m 5s\n");
		expect(shown).toContain("1,000 records, 2.0 KiB\n");
		expect(shown).toContain("mqtt 3, native 1\n");
		expect(shown).toContain("lost         nothing\n");
		const later = { ...status, uptimeMs: 67_000, produced: { records: 3000, bytes: 4096 } };
		expect(formatStatus(later, status)).toContain("3,000 records (1,000/s), 4.0 KiB (1.0 KiB/s)\n");
	});

	it("sums up what verify found", () => {
		const finding = { level: "damage", file: "/d/x.log", position: 61, what: "CRC\x1b" } as const;
		expect(formatFinding(finding)).toBe("damage: /d/x.log at byte 61: CRC\\u001b\n");
		const summary = {
			topics: 1,
			partitions: 4,
			segments: 4,
			batches: 1,
			records: 2000,
			journalEntries: 0,
			bytes: 1_048_576,
		};
		expect(formatSummary("/d", { damage: 0, warning: 1 }, summary)).toBe(
			"/d is sound: 0 damages, 1 warning\n" +
				"checked 1.0 MiB: 2,000 records in 1 batch, 4 segments, 4 partitions of 1 topic, and 0 journal entries not yet in them\n",
		);
		expect(formatSummary("/d", { damage: 2, warning: 0 }, summary)).toContain("/d is DAMAGED: 2 damages");
	});

	it("dumps an item for people and as JSON, bytes as consume shows them", () => {
		const item = {
			kind: "record",
			position: 61,
			offset: 3,
			key: Buffer.from("dev7"),
			value: Buffer.from([0xff]),
			size: 2n ** 60n,
		};
		expect(dumpText(item)).toBe(
			'        61  record  offset=3 key="dev7" value={"base64":"/w=="} size="1152921504606846976"\n',
		);
		expect(JSON.parse(dumpJson(item))).toEqual({
			kind: "record",
			position: 61,
			offset: 3,
			key: "dev7",
			value: { base64: "/w==" },
			size: "1152921504606846976",
		});
	});

	it("greets with the doors, the data, the time it took and lines to try", () => {
		const facts = {
			version: "0.1.0",
			readyMs: 181.4,
			dataDirectory: "./data",
			exampleTopic: "telemetry",
			colours: false,
		};
		const usual = greeting({
			...facts,
			listeners: [
				{ door: "mqtt", address: "127.0.0.1:1883" },
				{ door: "native", address: "127.0.0.1:9470" },
			],
		});
		expect(usual).toContain(
			"Headwater 0.1.0 is ready after 181 ms\n  mqtt    127.0.0.1:1883\n  native  127.0.0.1:9470\n  data    ./data\n",
		);
		expect(usual).toContain("  mosquitto_pub -q 1 -t sensors/site1/dev7/telemetry -m '{\"t\":21.5}'\n");
		expect(usual).toContain("  npx headwater consume telemetry --from earliest\n");
		const other = greeting({
			...facts,
			listeners: [
				{ door: "mqtt", address: "0.0.0.0:41883" },
				{ door: "native", address: "[::1]:9999" },
			],
		});
		expect(other).toContain("mosquitto_pub -h 127.0.0.1 -p 41883 -q 1");
		expect(other).toContain("consume telemetry --from earliest --connect [::1]:9999\n");
		expect(greeting({ ...facts, exampleTopic: undefined, listeners: [] })).not.toContain("Try");
	});
});

import { describe, expect, it } from "vitest";
import { csvHead, csvRow } from "../../../src/cli/record-csv.ts";
import { type JsonBytes, toJsonRecord } from "../../../src/cli/record-text.ts";

const row = (key: JsonBytes, value: JsonBytes) =>
	csvRow({ topic: "t", partition: 0, offset: 1, timestamp: 2, key, value, headers: {} });

describe("a record in CSV", () => {
	it("has as many fields as the first line has names", () => {
		expect(csvHead().split(",")).toHaveLength(row("k", "v").split(",").length);
	});

	it("tells null from empty", () => {
		expect(row(null, "")).toBe('t,0,1,2,,"",{}\n');
	});

	it("quotes what would end a field or a line, and nothing else", () => {
		expect(row("a,b", 'say "x"')).toBe('t,0,1,2,"a,b","say ""x""",{}\n');
		expect(row("two\nlines", "and\rthis")).toBe('t,0,1,2,"two\nlines","and\rthis",{}\n');
		expect(row(" space ", "ü;'")).toBe("t,0,1,2, space ,ü;',{}\n");
	});

	it("has bytes that are no text, and headers, as JSON", () => {
		const record = toJsonRecord({
			topic: "t",
			partition: 0,
			offset: 1,
			timestamp: 2,
			key: Buffer.of(255),
			value: null,
			headers: [["a", Buffer.from("1")]],
		});
		expect(csvRow(record)).toBe('t,0,1,2,"{""base64"":""/w==""}",,"{""a"":""1""}"\n');
	});
});

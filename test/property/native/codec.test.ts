/** Any bytes: the validator accepts what the protocol allows, refuses the rest with the protocol's error, and never allocates by a claimed length. */
import { Encoder } from "cbor-x";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Decode, loadDecoder } from "../../../src/native/codec/decode.ts";
import { FrameReader } from "../../../src/native/codec/frames.ts";
import { ProtocolError } from "../../../src/native/codec/protocol.ts";
import { readRequest } from "../../../src/native/codec/requests.ts";
import { ANSWER_LIMITS, REQUEST_LIMITS, validateItem } from "../../../src/native/codec/validate.ts";
import { type CborValue, CborWriter } from "../../../src/native/codec/writer.ts";

let decode: Decode;
beforeAll(async () => {
	decode = await loadDecoder(ANSWER_LIMITS, { copyBytes: false });
});

function refusal(action: () => unknown): ProtocolError {
	try {
		action();
	} catch (error) {
		if (error instanceof ProtocolError) return error;
		throw error;
	}
	throw new Error("it was accepted");
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

const value = fc.letrec<{ value: CborValue; key: number | string }>((tie) => ({
	key: fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.string({ unit: "grapheme" })),
	value: fc.oneof(
		{ maxDepth: 6 },
		fc.maxSafeInteger(),
		fc.string({ unit: "grapheme" }),
		fc.boolean(),
		fc.constant(null),
		fc.uint8Array(),
		fc.array(tie("value"), { maxLength: 6 }),
		fc
			.array(fc.tuple(tie("key"), tie("value")), { maxLength: 6 })
			.map((entries) => new Map(entries as [number | string, CborValue][])),
	),
})).value as fc.Arbitrary<CborValue>;

/** Byte strings come as Buffers; -0 has no CBOR integer. */
function comparable(item: unknown): unknown {
	if (item instanceof Uint8Array) return `bytes ${Buffer.from(item).toString("hex")}`;
	if (Array.isArray(item)) return item.map(comparable);
	if (item instanceof Map) return new Map([...item].map(([key, content]) => [key, comparable(content)]));
	return item === 0 ? 0 : item;
}

describe("the native codec", () => {
	it("reads what it writes", () => {
		fc.assert(
			fc.property(value, (item) => {
				expect(comparable(decode(new CborWriter(1).value(item).take()))).toEqual(comparable(item));
			}),
			{ numRuns: 300 },
		);
	});

	it("writes whole numbers in the shortest form, as RFC 8949 appendix A shows them", () => {
		const shown: [number, string][] = [
			[0, "00"],
			[23, "17"],
			[24, "1818"],
			[255, "18ff"],
			[256, "190100"],
			[65_535, "19ffff"],
			[65_536, "1a00010000"],
			[4_294_967_295, "1affffffff"],
			[1_000_000_000_000, "1b000000e8d4a51000"],
			[-1, "20"],
			[-1000, "3903e7"],
		];
		for (const [number, bytes] of shown) expect(new CborWriter().int(number).take().toString("hex")).toBe(bytes);
	});

	it("refuses any bytes with the protocol's own error or takes them, and throws nothing else", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
				try {
					readRequest(decode(Buffer.from(bytes)));
				} catch (error) {
					expect(error).toBeInstanceOf(ProtocolError);
				}
			}),
			{ numRuns: 3000 },
		);
	});

	it("refuses every message with a byte changed, or takes it, and throws nothing else", () => {
		const good = new CborWriter().array(3).uint(2).uint(7).map(2).uint(0).array(1).array(3).text("t").null().array(1);
		const bytes = good.array(4).bytes(Buffer.from("k")).bytes(Buffer.from("v")).uint(5).array(0).uint(1).uint(1).take();
		expect(readRequest(decode(bytes)).id).toBe(7);
		for (let i = 0; i < bytes.length; i++) {
			for (let byte = 0; byte < 256; byte++) {
				const changed = Buffer.from(bytes);
				changed[i] = byte;
				try {
					readRequest(decode(changed));
				} catch (error) {
					expect(error).toBeInstanceOf(ProtocolError);
				}
			}
			expect(() => decode(bytes.subarray(0, i))).toThrow(ProtocolError);
		}
	});

	it("accepts of another encoder's output exactly what has no floats, tags or long numbers", () => {
		const encoder = new Encoder({ useRecords: false, mapsAsObjects: false, tagUint8Array: false });
		fc.assert(
			fc.property(fc.array(fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.constant(null))), (items) => {
				expect(decode(Buffer.from(encoder.encode(items)))).toEqual(items);
			}),
			{ numRuns: 100 },
		);
		expect(refusal(() => decode(Buffer.from(encoder.encode(1.5)))).message).toContain("a float");
		expect(refusal(() => decode(Buffer.from(encoder.encode(new Date())))).message).toContain("a tag");
	});

	it.each([
		["an empty frame", "", "cut short"],
		["an indefinite array", "9f 01 ff", "an indefinite length"],
		["an indefinite map", "bf 01 02 ff", "an indefinite length"],
		["indefinite bytes", "5f 41 00 ff", "an indefinite length"],
		["indefinite text", "7f 61 61 ff", "an indefinite length"],
		["a lone break", "ff", "an indefinite length"],
		["a tag", "c0 00", "a tag"],
		["cbor-x's record tag", "d9 dfff 83 19e000 80 80", "a tag"],
		["a half float", "f9 3c00", "a float"],
		["a float", "fa 3f800000", "a float"],
		["a double", "fb 3ff0000000000000", "a float"],
		["undefined", "f7", "a simple value"],
		["an unassigned simple value", "f8 ff", "a simple value"],
		["reserved additional information", "1c", "reserved"],
		["2^53", "1b 0020000000000000", "53 bits"],
		["-2^53", "3b 001fffffffffffff", "53 bits"],
		["text that is not UTF-8", "62 c3 28", "not UTF-8"],
		["text with a surrogate", "63 ed a0 80", "not UTF-8"],
		["an array as a key", "a1 80 00", "a map key"],
		["bytes as a key", "a1 40 00", "a map key"],
		["a boolean as a key", "a1 f5 00", "a map key"],
		["bytes behind the item", "00 00", "1 bytes behind"],
		["an array of 2^32 - 1", "9a ffffffff", "a count of 4294967295"],
		["an array of 2^53 - 1", "9b 001fffffffffffff", "a count of"],
		["a map of 2^31", "ba 80000000", "a count of"],
		["bytes of 4 GB", "5a ffffffff 00", "a string of 4294967295 bytes"],
		["text of 2^53 - 1", "7b 001fffffffffffff", "a string of"],
	])("refuses %s", (_, bytes, message) => {
		const error = refusal(() => validateItem(hex(bytes), ANSWER_LIMITS));
		expect(error.code).toBe("INVALID_REQUEST");
		expect(error.message).toContain(message);
	});

	it("takes eight levels and refuses nine, and ten thousand", () => {
		const nested = (levels: number): Buffer => Buffer.concat([Buffer.alloc(levels, 0x81), Buffer.from([0x00])]);
		expect(() => decode(nested(8))).not.toThrow();
		for (const levels of [9, 10_000]) {
			expect(refusal(() => decode(nested(levels))).message).toContain("8 levels");
		}
	});

	it("bounds what small items may become: many empty maps or nulls in one frame", () => {
		const many = (count: number, item: number): Buffer =>
			Buffer.concat([new CborWriter().array(count).take(), Buffer.alloc(count, item)]);
		expect(refusal(() => validateItem(many(100_000, 0xa0), REQUEST_LIMITS)).message).toContain("maps");
		expect(refusal(() => validateItem(many(200_000, 0xf6), REQUEST_LIMITS)).message).toContain("items");
		expect(() => validateItem(many(100_000, 0xf6), REQUEST_LIMITS)).not.toThrow();
	});

	it("takes __proto__ for a key like any other", () => {
		const decoded = decode(new CborWriter().map(1).text("__proto__").map(1).text("admin").bool(true).take());
		expect(decoded).toEqual(new Map([["__proto__", new Map([["admin", true]])]]));
		expect(({} as Record<string, unknown>).admin).toBeUndefined();
	});
});

describe("frames", () => {
	it("come out whole however the stream is cut", () => {
		fc.assert(
			fc.property(
				fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 8 }),
				fc.infiniteStream(fc.integer({ min: 1, max: 2000 })),
				(contents, cuts) => {
					const writer = new CborWriter();
					for (const content of contents) writer.beginFrame().raw(content).endFrame();
					const stream = writer.take();
					const reader = new FrameReader(3000);
					const frames: string[] = [];
					for (let at = 0; at < stream.length; ) {
						const size = cuts.next().value as number;
						reader.push(stream.subarray(at, at + size));
						at += size;
						for (let frame = reader.next(); frame !== undefined; frame = reader.next())
							frames.push(frame.toString("hex"));
					}
					expect(frames).toEqual(contents.map((content) => Buffer.from(content).toString("hex")));
					expect(reader.heldBytes).toBe(0);
				},
			),
			{ numRuns: 100 },
		);
	});

	it("hold what has come, not what was claimed", () => {
		const reader = new FrameReader(0xffff_ffff);
		reader.push(hex("ffffffff 8301"));
		expect(reader.next()).toBeUndefined();
		expect(reader.heldBytes).toBeLessThanOrEqual(1024);
	});

	it("above the limit, and empty ones, are refused by their length alone", () => {
		const large = new FrameReader(1000);
		large.push(hex("000003e9"));
		expect(refusal(() => large.next()).code).toBe("MESSAGE_TOO_LARGE");
		const empty = new FrameReader(1000);
		empty.push(hex("00000000"));
		expect(refusal(() => empty.next()).code).toBe("INVALID_REQUEST");
	});

	it("left unread are kept when more comes", () => {
		const reader = new FrameReader(1000);
		reader.push(hex("00000001 01 00000001 02 0000"));
		expect(reader.next()?.toString("hex")).toBe("01");
		reader.push(hex("0001 03"));
		expect(reader.next()?.toString("hex")).toBe("02");
		expect(reader.next()?.toString("hex")).toBe("03");
		expect(reader.next()).toBeUndefined();
	});
});

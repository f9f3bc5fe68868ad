/**
 * The protocol's messages with values nobody thought of, and with bytes that are no message: what is encoded is decoded
 * to the same, and what cannot be decoded is MalformedMessage, at once and without taking memory for what is only claimed.
 */
import { deepStrictEqual } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ELEMENTS_MAX, MalformedMessage, Reader } from "../../../src/kafka/protocol/reader.ts";
import {
	array,
	bytes,
	type Fields,
	int32,
	type Message,
	message,
	string,
	struct,
} from "../../../src/kafka/protocol/schema.ts";
import { Writer } from "../../../src/kafka/protocol/writer.ts";
import { kafkaMessages } from "../../support/kafka-messages.ts";

const messages = await kafkaMessages();
const everyVersion = [...messages.values()].flatMap((message) =>
	Array.from({ length: message.maxVersion - message.minVersion + 1 }, (_, i) => ({
		message,
		version: message.minVersion + i,
	})),
);

const INT32_EDGES = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];
const INT64_EDGES = [0, 1, -1, 2 ** 31, 2 ** 32, -(2 ** 32) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
const TEXTS = ["", "a", "topic-1", "é", "漢字", "😀", "\0", "x".repeat(127), "ü".repeat(8192), "y".repeat(32767)];

/** Reads from no bytes but makes up what a message might hold. */
class Imagined extends Reader {
	#state: number;
	readonly #elements: number;
	#left = 200;

	/** `elements`: the most in one array. */
	constructor(seed: number, elements: number) {
		super(Buffer.alloc(0));
		this.#state = seed | 0;
		this.#elements = elements;
	}

	/** 0 to `below` - 1. */
	#pick(below: number): number {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
	}

	#of<T>(list: readonly T[]): T {
		return list[this.#pick(list.length)] as T;
	}

	override int8(): number {
		return this.#pick(256) - 128;
	}
	override bool(): boolean {
		return this.#pick(2) === 1;
	}
	override int16(): number {
		return this.#pick(65536) - 32768;
	}
	override uint16(): number {
		return this.#pick(65536);
	}
	override int32(): number {
		return this.#pick(4) === 0 ? this.#of(INT32_EDGES) : this.#pick(2 ** 32) - 2 ** 31;
	}
	override uint32(): number {
		return this.#pick(2 ** 32);
	}
	override int64(): number {
		return this.#pick(4) === 0
			? this.#of(INT64_EDGES)
			: (this.#pick(2 ** 21) - 2 ** 20) * 2 ** 32 + this.#pick(2 ** 32);
	}
	override float64(): number {
		return this.#of([0, -0, 1.5, -1e300, 5e-324, Number.POSITIVE_INFINITY, Number.NaN]);
	}
	override uuid(): string {
		const hex = (): string =>
			this.#pick(2 ** 32)
				.toString(16)
				.padStart(8, "0");
		return `${hex()}${hex()}${hex()}${hex()}`.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
	}
	override text(_compact: boolean, nullable: boolean): string | null {
		return nullable && this.#pick(3) === 0 ? null : this.#of(this.#pick(30) === 0 ? TEXTS : TEXTS.slice(0, 7));
	}
	override bytes(_compact: boolean, nullable: boolean): Buffer | null {
		return nullable && this.#pick(3) === 0
			? null
			: Buffer.alloc(this.#of([0, 1, 100, 300, 2047, 2048, 5000]), this.#pick(256));
	}
	override arrayLength(_compact: boolean, nullable: boolean): number {
		if (nullable && this.#pick(4) === 0) return -1;
		const length = this.#left <= 0 ? 0 : this.#pick(this.#elements + 1);
		this.#left -= length;
		return length;
	}
	override taggedFields<T extends { readonly tag: number }>(known: readonly T[], read: (field: T) => void): void {
		for (const field of known) if (this.#pick(2) === 0) read(field);
	}
}

function encode(message: Message<Fields>, version: number, value: object): Buffer {
	const writer = new Writer();
	message.encode(writer, version, value);
	const size = writer.sizeBytes;
	const whole = Buffer.concat(writer.take());
	expect(whole.length).toBe(size);
	return whole;
}

/** What was decoded, or undefined for a message that is malformed; anything else that is thrown is a failure. */
function attempt(message: Message<Fields>, version: number, bytes: Buffer): object | undefined {
	try {
		return message.decode(new Reader(bytes), version);
	} catch (error) {
		if (!(error instanceof MalformedMessage)) throw error;
		if (error.position > bytes.length) throw new Error(`${error.position} is not in the message`);
		return undefined;
	}
}

function expectBounded(message: Message<Fields>, version: number, bytes: Buffer): void {
	const elements = elementsIn(attempt(message, version, bytes));
	if (elements > bytes.length) throw new Error(`${message.name} v${version}: ${elements} of ${bytes.length} bytes`);
}

/** Elements of all arrays in it. */
function elementsIn(value: unknown): number {
	if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return 0;
	const own = Array.isArray(value) ? value.length : 0;
	return Object.values(value).reduce((sum: number, each) => sum + elementsIn(each), own);
}

describe("values", () => {
	it("of any kind are decoded as they were encoded, in every version of every message", () => {
		fc.assert(
			fc.property(fc.integer(), fc.nat(4), (seed, elements) => {
				for (const [i, { message, version }] of everyVersion.entries()) {
					const value = message.decode(new Imagined(seed + Math.imul(i, 0x9e3779b1), elements), version);
					const bytes = encode(message, version, value);
					// A message does not begin where its bytes do, and does not end there.
					const reader = new Reader(Buffer.concat([Buffer.from([9]), bytes, Buffer.from([9])]), 1, bytes.length + 1);
					deepStrictEqual(
						{ name: message.name, version, ...message.decode(reader, version) },
						{ name: message.name, version, ...value },
					);
					reader.end();
				}
			}),
			{ numRuns: 5 },
		);
	});
});

const GOLDEN = new URL("../../golden/kafka/", import.meta.url);
const golden = readdirSync(GOLDEN)
	.filter((file) => /^\d\d-.*\.ndjson$/.test(file))
	.flatMap((file) => readFileSync(new URL(file, GOLDEN), "utf8").trimEnd().split("\n"))
	.map((line) => JSON.parse(line) as { message: string; versions: number[]; hex: string; unknownTags?: string })
	.flatMap(({ message: name, versions, hex, unknownTags }) => {
		const message = messages.get(name);
		return message === undefined
			? []
			: [{ message, version: versions.at(-1) as number, bytes: Buffer.from(unknownTags ?? hex, "hex") }];
	});

/** Lengths that claim too much, one way or the other. */
const CLAIMS = [
	"7fffffff",
	"80000000",
	"ffffffff",
	"fffffffe",
	"7fff",
	"ffff",
	"ffffffff0f",
	"ffffffff07",
	"8080808010",
	"ffffffffff01",
	"00",
].map((hex) => Buffer.from(hex, "hex"));

const damage = fc.array(
	fc.record({
		at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
		what: fc.oneof(fc.constantFrom(...CLAIMS), fc.uint8Array({ minLength: 1, maxLength: 4 })),
	}),
	{ minLength: 1, maxLength: 3 },
);

describe("bytes that are no message", () => {
	it("are malformed or decoded, and never to more elements than there are bytes", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 255 }), (noise, fill) => {
				// Noise alone is found out at its first length: the more zeros there are, the further it is believed.
				const bytes = Buffer.from(noise.map((byte) => (byte > fill ? 0 : byte)));
				for (const { message, version } of everyVersion) {
					expectBounded(message, version, bytes);
				}
			}),
			{ numRuns: 6 },
		);
	});

	it("cut off anywhere are malformed", () => {
		const decoded: string[] = [];
		for (const { message, version, bytes } of golden) {
			const step = Math.max(1, Math.floor(bytes.length / 10));
			for (let length = bytes.length - 1; length >= 0; length -= step) {
				if (attempt(message, version, bytes.subarray(0, length)) === undefined) continue;
				decoded.push(`${message.name} v${version}: ${length} of ${bytes.length} bytes`);
			}
		}
		expect(decoded).toEqual([]);
	});

	it("that were a message until they were damaged are malformed or decoded, within the same bounds", () => {
		fc.assert(
			fc.property(damage, (wounds) => {
				for (const { message, version, bytes } of golden) {
					const damaged = Buffer.from(bytes);
					for (const { at, what } of wounds)
						damaged.set(what.slice(0, damaged.length), Math.floor(at * Math.max(1, damaged.length - what.length)));
					expectBounded(message, version, damaged);
				}
			}),
			{ numRuns: 6 },
		);
	});
});

describe("a length", () => {
	const nested = message(
		999,
		"Nested",
		{ versions: [0, 1], flexible: 1 },
		{
			outer: array(struct({ inner: array(struct({ nothing: int32.in(7) })) })),
			text: string.nullable(),
			bytes: bytes.nullable(),
		},
	);
	const malformed = (version: number, hex: string, rest = 0): string => {
		try {
			nested.decode(new Reader(Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(rest)])), version);
		} catch (error) {
			if (error instanceof MalformedMessage) return error.message;
			throw error;
		}
		return "decoded";
	};

	it("is not believed beyond what is there", () => {
		expect(malformed(0, "7fffffff", 1000)).toMatch(/2147483647 elements in 1000 bytes/);
		expect(malformed(0, "00000100", 1023)).toMatch(/256 elements in 1023 bytes/);
		expect(malformed(0, "00000100", 1024)).toMatch(/bytes are called for/);
		expect(malformed(0, "000000007fff", 100)).toMatch(/32767 bytes are called for, 100 are there/);
		expect(malformed(0, "0000000000007fffffff", 100)).toMatch(/2147483647 bytes are called for/);
		expect(malformed(1, "ffffffff07", 1000)).toMatch(/2147483646 elements/);
		expect(malformed(1, "ffffffff0f", 1000)).toMatch(/length 4294967294/);
		expect(malformed(1, "8080808010", 1000)).toMatch(/beyond 32 bits/);
		expect(malformed(1, "808080808001", 1000)).toMatch(/beyond 32 bits/);
	});

	it("is not negative, and null only where there is null", () => {
		expect(malformed(0, "ffffffff", 10)).toMatch(/null where there is no null/);
		expect(malformed(0, "fffffffe", 10)).toMatch(/length -2/);
		expect(malformed(0, "00000000fffe", 10)).toMatch(/length -2/);
		expect(malformed(1, "00", 10)).toMatch(/null where there is no null/);
		expect(malformed(0, "00000000ffffffffffff")).toBe("decoded");
		expect(malformed(1, "01000000")).toBe("decoded");
	});

	it("of a string is at most what Kafka has, however it is said", () => {
		expect(malformed(1, "01ffff01", 40_000)).toBe("decoded");
		expect(malformed(1, "01818002", 40_000)).toMatch(/a string of 32768 bytes/);
		expect(() => nested.encode(new Writer(), 1, { text: "x".repeat(32_768) })).toThrow(RangeError);
	});

	it("of elements that take no bytes has a bound, also in many arrays together", () => {
		const count = Buffer.alloc(4);
		count.writeInt32BE(ELEMENTS_MAX);
		expect(malformed(0, `00000001${count.toString("hex")}ffffffffffff`)).toMatch(/more than 100000 elements/);
		count.writeInt32BE(ELEMENTS_MAX - 1);
		expect(malformed(0, `00000001${count.toString("hex")}ffffffffffff`)).toBe("decoded");
		count.writeInt32BE(ELEMENTS_MAX / 2);
		expect(malformed(0, `00000002${count.toString("hex").repeat(2)}ffffffffffff`)).toMatch(/more than 100000 elements/);
	});

	it("of a tagged field is that of its value", () => {
		const tagged = message(
			998,
			"Tagged",
			{ versions: [0, 0], flexible: 0 },
			{ number: int32.tagged(3), other: string.tagged(4) },
		);
		const decode = (hex: string): unknown => tagged.decode(new Reader(Buffer.from(hex, "hex")), 0);
		expect(decode("01030400000007")).toEqual({ number: 7, other: "" });
		expect(decode("0204020261030400000007")).toEqual({ number: 7, other: "a" });
		expect(() => decode("0103050000000700")).toThrow(/tagged field 3 is not 5 bytes/);
		expect(() => decode("0103030000000700")).toThrow(/tagged field 3 is not 3 bytes/);
		expect(() => decode("0105ffffffff0f")).toThrow(MalformedMessage);
		expect(() => decode("ffffffff0f")).toThrow(/elements in 0 bytes/);
	});
});

import zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import { BrokerError, DamageError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import { type Block, decodeBlock } from "../../../tiering/bundle/block.ts";
import { bundleKey, parseBundleKey } from "../../../tiering/bundle/identity.ts";
import { encodeTrailer, TRAILER_BYTES } from "../../../tiering/bundle/layout.ts";
import { readBundleFooter, readSnapshot } from "../../../tiering/bundle/reader.ts";
import { verifyBundle } from "../../../tiering/bundle/verify.ts";
import { batchAt, IDENTITY, sourceOf, TELEMETRY, writeBundle } from "../../support/bundles.ts";

type Json = Record<string, unknown>;

const bundle = await writeBundle(
	[
		{ partition: 0, batches: [batchAt(10, ["a", "b"]), batchAt(12, ["c"])], nextOffset: 15 },
		{ partition: 1, batches: [batchAt(3, [new SimulatedRandom(2).bytes(5000)])] },
	],
	{ snapshot: Buffer.from("the snapshot ".repeat(50)) },
);

/** The footer's JSON of `bytes`. */
function footerOf(bytes: Buffer): Json {
	const { position, length } = placeOf(bytes);
	return JSON.parse(zlib.gunzipSync(bytes.subarray(position, position + length)).toString()) as Json;
}

function placeOf(bytes: Buffer): { position: number; length: number } {
	const trailer = bytes.subarray(-TRAILER_BYTES);
	return { position: Number(trailer.readBigUInt64BE(12)), length: trailer.readUInt32BE(20) };
}

/** `bytes` with another footer, all checksums right; `rawBytes` as the trailer shall say. */
function withFooter(bytes: Buffer, json: string, rawBytes?: number): Buffer {
	return withStoredFooter(bytes, zlib.gzipSync(json), rawBytes ?? Buffer.byteLength(json));
}

function withStoredFooter(bytes: Buffer, stored: Buffer, footerRawBytes: number): Buffer {
	const { position } = placeOf(bytes);
	const trailer = encodeTrailer({
		footerPosition: position,
		footerBytes: stored.length,
		footerRawBytes,
		footerCrc: crc32c(stored),
	});
	return Buffer.concat([bytes.subarray(0, position), stored, trailer]);
}

/** With the member at `path` (`ranges.0.position`) set to `value`; undefined takes it away. */
function changed(path: string, value: unknown): Buffer {
	const json = footerOf(bundle.bytes);
	const names = path.split(".");
	const last = names.pop() as string;
	let at: Json = json;
	for (const name of names) at = at[name] as Json;
	at[last] = value;
	return withFooter(bundle.bytes, JSON.stringify(json));
}

async function refusal(bytes: Buffer): Promise<Error> {
	return readBundleFooter(sourceOf(bytes, "s3://b/k")).then(
		() => expect.fail("it was taken"),
		(error: Error) => error,
	);
}

describe("a footer", () => {
	it("is read in one request, in two where it is longer than 64 KiB", async () => {
		const source = sourceOf(bundle.bytes);
		expect(await readBundleFooter(source)).toEqual({ ...bundle.footer, sizeBytes: bundle.bytes.length });
		expect(source.requests).toBe(1);
		const random = new SimulatedRandom(5);
		const config = Object.fromEntries(
			Array.from({ length: 3000 }, (_, i) => [`key${i}`, random.bytes(24).toString("base64")]),
		);
		const long = await writeBundle([{ topic: { ...TELEMETRY, config }, batches: [batchAt(0, ["a"])] }]);
		const other = sourceOf(long.bytes);
		expect(await readBundleFooter(other)).toEqual({ ...long.footer, sizeBytes: long.bytes.length });
		expect(other.requests).toBe(2);
	});

	it("may have members that nobody knows yet", async () => {
		const json = footerOf(bundle.bytes);
		json.later = { a: [1] };
		for (const range of json.ranges as Json[]) {
			range.later = 1;
			for (const block of range.blocks as Json[]) block.later = null;
		}
		const footer = await readBundleFooter(sourceOf(withFooter(bundle.bytes, JSON.stringify(json))));
		expect(footer.ranges).toEqual(bundle.footer.ranges);
	});

	it("of a later format is refused with the object's name and both formats", async () => {
		const bytes = Buffer.from(bundle.bytes);
		const trailer = bytes.subarray(-TRAILER_BYTES);
		trailer.writeUInt32BE(2, 8);
		trailer.writeUInt32BE(crc32c(trailer, 0, 36), 36);
		const error = await refusal(bytes);
		expect(error).toBeInstanceOf(BrokerError);
		expect((error as BrokerError).code).toBe("UNSUPPORTED_VERSION");
		expect(error.message).toMatch(/^s3:\/\/b\/k is a bundle of format 2; .* up to 1/);
	});

	it("that is none is damage of that object", async () => {
		for (const bytes of [
			Buffer.alloc(0),
			Buffer.alloc(39),
			Buffer.alloc(5000),
			Buffer.from("someone else's object\n".repeat(20)),
			bundle.bytes.subarray(0, -1),
			bundle.bytes.subarray(1),
			Buffer.concat([bundle.bytes, Buffer.of(0)]),
		]) {
			const error = await refusal(bytes);
			expect(error).toBeInstanceOf(DamageError);
			expect((error as DamageError).file).toBe("s3://b/k");
		}
	});

	it("that does not lie before the trailer is damage", async () => {
		const { position, length } = placeOf(bundle.bytes);
		const stored = bundle.bytes.subarray(position, position + length);
		const places = [
			{ footerPosition: position + 1, footerBytes: length },
			{ footerPosition: position, footerBytes: length - 1 },
			{ footerPosition: 2 ** 52, footerBytes: length },
			{ footerPosition: 0, footerBytes: bundle.bytes.length - TRAILER_BYTES },
		];
		for (const place of places) {
			const trailer = encodeTrailer({ ...place, footerRawBytes: 1000, footerCrc: crc32c(stored) });
			const error = await refusal(Buffer.concat([bundle.bytes.subarray(0, -TRAILER_BYTES), trailer]));
			expect(error).toBeInstanceOf(DamageError);
			expect(error.message).toContain("does not end where the trailer begins");
		}
	});

	const wrong: Record<string, unknown[]> = {
		format: [0, 2, "1", undefined],
		gateway: ["", "a/b", "other", 1],
		incarnation: [-1, 2, 1.5, 1e10],
		sequence: [8, -1, 2 ** 53],
		attempt: ["0badcaff", "x"],
		key: ["elsewhere", null],
		createdMs: ["now", undefined],
		writer: ["a\nb", 3],
		topics: [[], {}, undefined],
		"topics.0.id": ["", "0b0e9f5e-8f4f-4f43-9a53-5b2d1a3c7f12"],
		"topics.0.name": ["", "..", "a/b", "a\u001b[0m"],
		"topics.0.partitions": [0, 1, 2 ** 31],
		"topics.0.config": [[], { a: 1 }, undefined],
		ranges: [{}, [1], [null], undefined],
		"ranges.0.topicId": ["x", undefined],
		"ranges.0.topic": ["other"],
		"ranges.0.partition": [-1, 3],
		"ranges.0.partitionId": [-1],
		"ranges.0.baseOffset": [-1, 11, 15, 2 ** 53],
		"ranges.0.nextOffset": [12, 10, 2 ** 60],
		"ranges.0.firstTimestamp": [-2, 1_700_000_001_001],
		"ranges.0.maxTimestamp": [1_700_000_001_001, -1],
		"ranges.0.records": [-1, 6],
		"ranges.0.position": [0, 15, 17],
		"ranges.0.storedBytes": [0, 1, 1e15, -1],
		"ranges.0.rawBytes": [1, 0],
		"ranges.0.crc": [-1, 2 ** 32],
		"ranges.0.epochs": [[], [{ epoch: 0, startOffset: 9 }], [{ epoch: -1, startOffset: 10 }]],
		"ranges.0.aborted": [
			[{ producerId: 1, firstOffset: 1, lastOffset: 9 }],
			[{ producerId: 1, firstOffset: 15, lastOffset: 16 }],
			[{}],
		],
		"ranges.0.blocks": [[], [[]], {}],
		"ranges.0.blocks.0.baseOffset": [9, 15],
		"ranges.0.blocks.0.nextOffset": [10, 16],
		"ranges.0.blocks.0.position": [0, 17],
		"ranges.0.blocks.0.storedBytes": [0, 1, 1e12],
		"ranges.0.blocks.0.rawBytes": [0, 17 * 1024 * 1024, -5],
		"ranges.0.blocks.0.maxTimestamp": [-2, 0.5],
		"ranges.0.blocks.0.crc": [-1, 2 ** 32],
		"ranges.0.blocks.0.codec": [-1, 0, 2],
		"ranges.1.partition": [0],
		"ranges.1.position": [16],
		"snapshot.position": [0, 16],
		"snapshot.storedBytes": [0, 1, 1e9],
		"snapshot.rawBytes": [-1, 65 * 1024 * 1024],
		"snapshot.crc": [-1],
		snapshot: [undefined, 5, []],
	};
	for (const [path, values] of Object.entries(wrong)) {
		it(`with a wrong ${path} is damage`, async () => {
			for (const value of values) {
				const error = await refusal(changed(path, value));
				expect(error, JSON.stringify(value)).toBeInstanceOf(DamageError);
				expect((error as DamageError).position).toBe(placeOf(bundle.bytes).position);
			}
		});
	}

	it("that would take more memory than any has need of is refused before it does", async () => {
		const bomb = zlib.gzipSync(Buffer.alloc(80 * 1024 * 1024));
		const tooLong = await refusal(withStoredFooter(bundle.bytes, bomb, 80 * 1024 * 1024));
		expect(tooLong.message).toContain("67108864 at most");
		const longerThanSaid = await refusal(withStoredFooter(bundle.bytes, bomb, 1000));
		expect(longerThanSaid).toBeInstanceOf(DamageError);
		const before = process.memoryUsage().heapTotal;
		for (const json of [`[${"[],".repeat(6_000_000)}[]]`, "[".repeat(20_000_000)]) {
			const error = await refusal(withFooter(bundle.bytes, json));
			expect(error).toBeInstanceOf(DamageError);
			expect(error.message).toContain("more than 4194304 values");
		}
		expect(process.memoryUsage().heapTotal - before).toBeLessThan(100 * 1024 * 1024);
		expect(await refusal(withFooter(bundle.bytes, "[".repeat(4_000_000)))).toBeInstanceOf(DamageError);
		const shorter = withStoredFooter(bundle.bytes, zlib.gzipSync("{}"), 3);
		expect((await refusal(shorter)).message).toContain("2 bytes came out, not 3");
		const more = withStoredFooter(bundle.bytes, Buffer.concat([zlib.gzipSync("{}"), Buffer.alloc(9)]), 2);
		expect((await refusal(more)).message).toContain("9 bytes after the end");
	});
});

describe("a block", () => {
	const block = bundle.footer.ranges[0]?.blocks[0] as Block;
	const stored = bundle.bytes.subarray(block.position, block.position + block.storedBytes);
	const refused = async (bytes: Buffer, changes: Partial<Block> = {}): Promise<string> => {
		const error = await decodeBlock(bytes, { ...block, ...changes }, "k").then(
			() => expect.fail("it was taken"),
			(caught: Error) => caught,
		);
		expect(error).toBeInstanceOf(DamageError);
		expect((error as DamageError).position).toBe(block.position);
		return error.message;
	};
	/** As a bundle that lies would have it: with the right checksum. */
	const lying = (raw: Buffer, changes: Partial<Block> = {}): Promise<string> => {
		const frame = zlib.zstdCompressSync(raw);
		return refused(frame, { crc: crc32c(frame), storedBytes: frame.length, rawBytes: raw.length, ...changes });
	};

	it("gives the batches that went in", async () => {
		const raw = await decodeBlock(stored, block, "k");
		expect(raw.equals(Buffer.concat([batchAt(10, ["a", "b"]), batchAt(12, ["c"])]))).toBe(true);
	});

	it("is damage where its bytes, its size or what comes out is not what the footer says", async () => {
		expect(await refused(stored.subarray(1))).toContain(`${stored.length - 1} bytes of ${stored.length}`);
		const spoilt = Buffer.from(stored);
		spoilt[5] = 0;
		expect(await refused(spoilt)).toContain("CRC-32C");
		expect(await refused(stored, { rawBytes: block.rawBytes + 1 })).toContain(`not ${block.rawBytes + 1}`);
		expect(await refused(stored, { rawBytes: block.rawBytes - 1 })).toContain("zstd");
		expect(await refused(stored, { codec: 0 })).toContain("record batch");
		expect(await refused(stored, { baseOffset: 9 })).toContain("offset 10 where 9 was due");
		expect(await refused(stored, { nextOffset: 14 })).toContain("not 14");
		expect(await refused(stored, { maxTimestamp: 5 })).toContain("not 5");
		const padded = Buffer.concat([stored, Buffer.alloc(4)]);
		expect(await refused(padded, { storedBytes: padded.length, crc: crc32c(padded) })).toContain(
			"4 bytes after the end",
		);
	});

	it("is damage where it is not whole batches, sound, at rising offsets", async () => {
		const batch = batchAt(10, ["a", "b"]);
		const second = batchAt(12, ["c"]);
		const spoilt = Buffer.from(second);
		spoilt[70] = (spoilt[70] as number) ^ 1;
		expect(await lying(Buffer.concat([batch, spoilt]))).toContain("CRC-32C");
		expect(await lying(Buffer.concat([batch, second.subarray(0, -1)]))).toContain("are there");
		expect(await lying(Buffer.concat([batch, second, Buffer.of(0)]))).toContain("cut short");
		expect(await lying(Buffer.concat([batch, batch]))).toContain("offset 10 where 12 was due");
		expect(await lying(Buffer.alloc(500))).toContain("record batch");
	});

	it("gives no more than its batches may be long, whatever its frame asks for", async () => {
		const bomb = zlib.zstdCompressSync(Buffer.alloc(200 * 1024 * 1024));
		expect(await refused(bomb, { crc: crc32c(bomb), storedBytes: bomb.length })).toContain("zstd");
		// A frame by hand (RFC 8878): a window of 2^27 bytes, and one block, the last, that says a zero so many times.
		const times = Buffer.alloc(4);
		times.writeUInt32LE((block.rawBytes << 3) | 0b011);
		const frame = (window: number) =>
			Buffer.concat([Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3), times.subarray(0, 3), Buffer.of(0)]);
		expect(zlib.zstdDecompressSync(frame(27)).equals(Buffer.alloc(block.rawBytes))).toBe(true);
		const wide = frame(27);
		const fit = frame(24);
		expect(await refused(fit, { crc: crc32c(fit), storedBytes: fit.length })).toContain("record batch");
		expect(await refused(wide, { crc: crc32c(wide), storedBytes: wide.length })).toContain("zstd");
	});
});

describe("the snapshot", () => {
	it("comes back, and damage to it is found", async () => {
		expect(String(await readSnapshot(sourceOf(bundle.bytes), bundle.footer))).toBe("the snapshot ".repeat(50));
		const bytes = Buffer.from(bundle.bytes);
		const position = bundle.footer.snapshot?.position ?? 0;
		bytes[position + 3] = (bytes[position + 3] as number) ^ 4;
		await expect(readSnapshot(sourceOf(bytes), bundle.footer)).rejects.toThrow(DamageError);
		const without = await writeBundle([{ batches: [batchAt(0, ["a"])] }]);
		expect(without.footer.snapshot).toBeUndefined();
		expect(await readSnapshot(sourceOf(without.bytes), without.footer)).toBeUndefined();
	});

	it("may be all there is", async () => {
		const { bytes, footer } = await writeBundle([], { snapshot: Buffer.from("s") });
		expect((await readBundleFooter(sourceOf(bytes))).ranges).toEqual([]);
		expect(String(await readSnapshot(sourceOf(bytes), footer))).toBe("s");
	});
});

describe("verify", () => {
	it("counts what it has read", async () => {
		const damages: DamageError[] = [];
		const found = await verifyBundle(sourceOf(bundle.bytes), (error) => void damages.push(error));
		expect(damages).toEqual([]);
		expect(found).toEqual({ bytes: bundle.bytes.length, ranges: 2, blocks: 2, batches: 3, records: 4 });
	});

	it("goes on behind a damaged block", async () => {
		const bytes = Buffer.from(bundle.bytes);
		const [first, second] = bundle.footer.ranges;
		for (const range of [first, second]) {
			const at = (range?.position ?? 0) + 9;
			bytes[at] = (bytes[at] as number) ^ 255;
		}
		const damages: DamageError[] = [];
		await verifyBundle(sourceOf(bytes), (error) => void damages.push(error));
		expect(damages.map((damage) => damage.position)).toEqual([first?.position, second?.position]);
	});

	it("finds a count and a checksum of a range that are wrong though its blocks are right", async () => {
		for (const [path, value] of [
			["ranges.0.records", 4],
			["ranges.1.crc", 5],
		] as const) {
			const damages: DamageError[] = [];
			await verifyBundle(sourceOf(changed(path, value)), (error) => void damages.push(error));
			expect(damages.map(({ message }) => message)).toEqual([expect.stringContaining("the range of telemetry-")]);
		}
	});

	it("finds a batch whose checksum is right and whose records are not", async () => {
		const batch = batchAt(10, ["abc"]);
		batch[61] = 99;
		batch.writeUInt32BE(crc32c(batch, 21), 17);
		const { bytes } = await writeBundle([{ batches: [batch] }]);
		const damages: DamageError[] = [];
		await verifyBundle(sourceOf(bytes), (error) => void damages.push(error));
		expect(damages.map(({ message }) => message)).toEqual([
			expect.stringContaining("the batch at offset 10 of telemetry-0"),
		]);
	});
});

describe("a key", () => {
	it("says which bundle it is, and nothing else is taken for one", () => {
		expect(parseBundleKey(bundleKey(IDENTITY))).toEqual(IDENTITY);
		for (const key of [
			"gw-1/0000000001/claim.json",
			"gw-1/1/7-0badcafe.bundle",
			"a/gw-1/0000000001/00000000000000000007-0badcafe.bundle",
			"../0000000001/00000000000000000007-0badcafe.bundle",
			"gw-1/0000000001/99999999999999999999-0badcafe.bundle",
			"gw-1/0000000001/00000000000000000007-0BADCAFE.bundle",
			"",
		])
			expect(parseBundleKey(key)).toBeUndefined();
	});
});

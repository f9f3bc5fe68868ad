/** Of what a fetch brings, exactly what was committed is visited. */
import { describe, expect, it } from "vitest";
import { CommittedView } from "../../../bridge/upstream/client/committed.ts";
import { decodeRecords, encodeBatch } from "../../../src/record/batch.ts";

interface Piece {
	readonly at: number;
	readonly values?: readonly string[];
	readonly producer?: number;
	/** A marker. */
	readonly end?: "abort" | "commit";
	/** In no transaction, though of a producer. */
	readonly alone?: boolean;
}

const MARKER_VALUE = Buffer.alloc(6);

function bytesOf({ at, values = [], producer = -1, end, alone = false }: Piece): Buffer {
	const record = (key: Buffer, value: Buffer) => ({ timestamp: 0, key, value, headers: [] });
	const records =
		end === undefined
			? values.map((value) => record(Buffer.from("k"), Buffer.from(value)))
			: [record(Buffer.from([0, 0, 0, end === "commit" ? 1 : 0]), MARKER_VALUE)];
	return encodeBatch(records, {
		baseOffset: at,
		producerId: producer,
		producerEpoch: producer < 0 ? -1 : 0,
		baseSequence: producer < 0 || end !== undefined ? -1 : 0,
		isTransactional: producer >= 0 && !alone,
		isControl: end !== undefined,
	});
}

const fetched = (pieces: readonly Piece[], ...aborted: [producerId: number, firstOffset: number][]) => ({
	records: Buffer.concat(pieces.map(bytesOf)),
	aborted: aborted.map(([producerId, firstOffset]) => ({ producerId, firstOffset })),
});

function walk(what: ReturnType<typeof fetched>, from = 0, view = new CommittedView()) {
	const seen: string[] = [];
	const next = view.walk(what, from, (bytes, position) => {
		for (const { value } of decodeRecords(bytes, position)) seen.push(String(value));
	});
	return { seen, next };
}

describe("the committed view", () => {
	it("leaves out aborted transactions and markers, and nothing else", () => {
		const pieces: Piece[] = [
			{ at: 0, values: ["plain"] },
			{ at: 1, values: ["a1"], producer: 1 },
			{ at: 2, values: ["b1", "b2"], producer: 2 },
			{ at: 4, values: ["alone"], producer: 1, alone: true },
			{ at: 5, values: ["a2"], producer: 1 },
			{ at: 6, producer: 2, end: "commit" },
			{ at: 7, producer: 1, end: "abort" },
			{ at: 8, values: ["a3"], producer: 1 },
			{ at: 9, producer: 1, end: "commit" },
		];
		expect(walk(fetched(pieces, [1, 1]))).toEqual({ seen: ["plain", "b1", "b2", "alone", "a3"], next: 10 });
	});

	it("knows several aborted transactions of one producer apart, in whatever order they are listed", () => {
		const pieces: Piece[] = [
			{ at: 0, values: ["a"], producer: 1 },
			{ at: 1, producer: 1, end: "abort" },
			{ at: 2, values: ["b"], producer: 1 },
			{ at: 3, producer: 1, end: "commit" },
			{ at: 4, values: ["c"], producer: 1 },
			{ at: 5, producer: 1, end: "abort" },
			{ at: 6, values: ["d"], producer: 1 },
			{ at: 7, producer: 1, end: "commit" },
		];
		expect(walk(fetched(pieces, [1, 4], [1, 0])).seen).toEqual(["b", "d"]);
	});

	it("knows of a transaction that began before the fetch", () => {
		const pieces: Piece[] = [
			{ at: 50, values: ["x"], producer: 1 },
			{ at: 51, producer: 1, end: "abort" },
			{ at: 52, values: ["y"], producer: 1 },
		];
		expect(walk(fetched(pieces, [1, 7]), 50)).toEqual({ seen: ["y"], next: 53 });
	});

	it("remembers nothing of an earlier fetch, whose marker may be compacted away", () => {
		const view = new CommittedView();
		walk(fetched([{ at: 0, values: ["x"], producer: 1 }], [1, 0]), 0, view);
		expect(view.abortedBatches).toBe(1);
		expect(walk(fetched([{ at: 9, values: ["y"], producer: 1 }]), 1, view)).toEqual({ seen: ["y"], next: 10 });
	});

	it("ends at a batch that is not whole, and goes on from there", () => {
		const whole = fetched([
			{ at: 0, values: ["a", "b"] },
			{ at: 2, values: ["c"] },
		]);
		const first = bytesOf({ at: 0, values: ["a", "b"] }).length;
		for (let cut = first; cut < whole.records.length; cut++) {
			const part = { ...whole, records: whole.records.subarray(0, cut) };
			expect(walk(part)).toEqual({ seen: ["a", "b"], next: 2 });
		}
		expect(walk({ ...whole, records: Buffer.alloc(0) }, 17)).toEqual({ seen: [], next: 17 });
	});

	it("visits the batch that an offset is in the middle of, and none before it", () => {
		const pieces: Piece[] = [
			{ at: 0, values: ["a"] },
			{ at: 1, values: ["b", "c"] },
			{ at: 3, values: ["d"] },
		];
		expect(walk(fetched(pieces), 2)).toEqual({ seen: ["b", "c", "d"], next: 4 });
		expect(walk(fetched(pieces), 3)).toEqual({ seen: ["d"], next: 4 });
		// A fetch that brings only what was known moves nothing back.
		expect(walk(fetched(pieces), 9)).toEqual({ seen: [], next: 9 });
	});

	it("throws for a batch that is damaged or of an old format", () => {
		const damaged = fetched([{ at: 0, values: ["a"] }]);
		damaged.records[65] = 0xff;
		expect(() => walk(damaged)).toThrow("the checksum of the batch at offset 0 is wrong");
		const old = fetched([{ at: 0, values: ["a"] }]);
		old.records[16] = 1;
		expect(() => walk(old)).toThrow("format 1");
	});
});

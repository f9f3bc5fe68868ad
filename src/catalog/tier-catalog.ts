/**
 * What the catalog knows of the object store: the bundles there, and which records of which partition each has. Every
 * method that changes it is durable when it returns. A bundle counts from `commitBundle` on; what is to be removed from
 * the store is known here until it is gone there.
 */
import { isDiskFull } from "../base/errors.ts";
import type { Statement } from "./database.ts";

export type BundleState = "uploading" | "stored" | "deleting";

export interface BundleRow {
	readonly id: number;
	readonly incarnation: number;
	/** Rises from bundle to bundle of an incarnation. */
	readonly sequence: number;
	/** In the object store. */
	readonly key: string;
	readonly createdMs: number;
	/** 0 until it is stored. */
	readonly sizeBytes: number;
	readonly state: BundleState;
}

/** A partition's records from `baseOffset` up to `nextOffset` in a bundle, whether compaction left all of them or not. */
export interface NewRange {
	readonly partitionId: number;
	readonly baseOffset: number;
	readonly nextOffset: number;
	/** In the object. */
	readonly storedBytes: number;
	/** As record batches. */
	readonly rawBytes: number;
	/** Of its records; -1 where it has none. */
	readonly maxTimestamp: number;
	/** Where its blocks lie, as tiering encodes it. */
	readonly blocks: Uint8Array;
}

export interface RangeRow extends NewRange {
	readonly bundleId: number;
	/** The bundle's. */
	readonly key: string;
}

/** A range without what only reading it needs. */
export type RangeSummary = Omit<RangeRow, "blocks" | "key">;

export interface TierTotals {
	/** Stored. */
	readonly bundles: number;
	readonly bytes: number;
	readonly ranges: number;
	/** To be removed from the store now. */
	readonly deleting: number;
}

/** What it needs of the catalog around it. */
export interface TierDatabase {
	prepare(sql: string): Statement;
	/** One durable transaction. */
	change(work: () => void): void;
}

const BUNDLE =
	"SELECT id, incarnation, sequence, key, created_ms AS createdMs, size_bytes AS sizeBytes, state FROM bundles";
/** 0 where there is none. */
const NEWEST_SNAPSHOT = "SELECT coalesce(max(id), 0) FROM bundles WHERE state = 'stored' AND has_snapshot = 1";
const SUMMARY =
	"partition_id AS partitionId, base_offset AS baseOffset, next_offset AS nextOffset, stored_bytes AS storedBytes, " +
	"raw_bytes AS rawBytes, max_timestamp AS maxTimestamp, bundle_id AS bundleId";
const RANGE = `SELECT ${SUMMARY}, blocks, (SELECT key FROM bundles WHERE id = bundle_id) AS key FROM ranges`;

/** Kept for good: rows of bundles go. */
const SEQUENCE = "tier.sequence";
/** Room to be had when the disk is full: for a few transactions, and for those that concern every partition. */
const ROOM_BYTES = 512 * 1024;
const ROOM_BYTES_PER_PARTITION = 256;

export class TierCatalog {
	readonly #db: TierDatabase;
	#hasLog = false;

	constructor(db: TierDatabase) {
		this.#db = db;
	}

	/**
	 * Sees to it that the catalog can be written when the disk is full, which uploading is to change: pages in its file, and as
	 * many in SQLite's log, which is written over again and again. Where the disk is full already nothing happens.
	 */
	keepRoom(): void {
		const { free, wanted } = this.#db
			.prepare(
				`SELECT freelist_count * page_size AS free, ${ROOM_BYTES} + ${ROOM_BYTES_PER_PARTITION} * (SELECT count(*) FROM partitions) AS wanted
					FROM pragma_freelist_count, pragma_page_size`,
			)
			.get() as { free: number; wanted: number };
		// SQLite's log begins anew with each start.
		if (this.#hasLog && free >= wanted / 2) return;
		try {
			// Of a single transaction SQLite would write nothing.
			this.#db.change(() =>
				this.#db
					.prepare("INSERT OR REPLACE INTO meta VALUES ('tier.room', hex(zeroblob(?)))")
					.run(Math.ceil(wanted / 2)),
			);
			this.#db.change(() => this.#db.prepare("DELETE FROM meta WHERE key = 'tier.room'").run());
			this.#hasLog = true;
		} catch (error) {
			if (!isDiskFull(error)) throw error;
		}
	}

	/** An upload under `key` is about to begin: from now on the object is this gateway's to remove. Returns the bundle's id. */
	beginBundle(bundle: Pick<BundleRow, "incarnation" | "sequence" | "key" | "createdMs">): number {
		const { incarnation, sequence, key, createdMs } = bundle;
		let id = 0;
		this.#db.change(() => {
			const insert = this.#db.prepare(
				"INSERT INTO bundles (incarnation, sequence, key, created_ms, size_bytes, state) VALUES (?, ?, ?, ?, 0, 'uploading')",
			);
			id = Number(insert.run(incarnation, sequence, key, createdMs).lastInsertRowid);
			this.#db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(SEQUENCE, String(sequence));
		});
		return id;
	}

	/**
	 * The object is there, whole and confirmed: from now on its ranges count, and nobody need keep their records on this
	 * machine. Ranges of partitions that were deleted meanwhile are left out.
	 */
	commitBundle(id: number, sizeBytes: number, ranges: readonly NewRange[], hasSnapshot = true): void {
		this.#db.change(() => {
			this.#db
				.prepare("UPDATE bundles SET state = 'stored', size_bytes = ?, has_snapshot = ? WHERE id = ?")
				.run(sizeBytes, hasSnapshot ? 1 : 0, id);
			this.#addRanges(id, ranges);
			this.#release();
		});
	}

	#addRanges(bundleId: number, ranges: readonly NewRange[]): void {
		const moved = this.#db.prepare("UPDATE partitions SET tiered_offset = max(tiered_offset, ?) WHERE id = ?");
		const insert = this.#db.prepare("INSERT INTO ranges VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
		for (const range of ranges) {
			if (moved.run(range.nextOffset, range.partitionId).changes === 0) continue;
			insert.run(
				range.partitionId,
				range.baseOffset,
				range.nextOffset,
				bundleId,
				range.storedBytes,
				range.rawBytes,
				range.maxTimestamp,
				range.blocks,
			);
		}
	}

	/** What was found in the store, when a data directory is made from it: bundles that are stored, with their ranges. */
	restoreBundles(
		bundles: readonly (Omit<BundleRow, "id" | "state"> & {
			readonly hasSnapshot: boolean;
			readonly ranges: readonly NewRange[];
		})[],
	): void {
		this.#db.change(() => {
			const insert = this.#db.prepare(
				`INSERT INTO bundles (incarnation, sequence, key, created_ms, size_bytes, has_snapshot, state)
					VALUES (?, ?, ?, ?, ?, ?, 'stored')`,
			);
			for (const { incarnation, sequence, key, createdMs, sizeBytes, hasSnapshot, ranges } of bundles) {
				const row = insert.run(incarnation, sequence, key, createdMs, sizeBytes, hasSnapshot ? 1 : 0);
				this.#addRanges(Number(row.lastInsertRowid), ranges);
			}
		});
	}

	/** The upload came to nothing, or was of unknown outcome: whatever is there goes. */
	abandonBundle(id: number): void {
		this.#db.change(() =>
			this.#db.prepare("UPDATE bundles SET state = 'deleting', deletable_behind = -1 WHERE id = ?").run(id),
		);
	}

	/** At start: uploads that a crash or a stop cut short. */
	abandonUnfinished(): void {
		this.#db.change(() =>
			this.#db.prepare("UPDATE bundles SET state = 'deleting', deletable_behind = -1 WHERE state = 'uploading'").run(),
		);
	}

	/** The object is gone from the store. */
	forgetBundle(id: number): void {
		this.#db.change(() => this.#db.prepare("DELETE FROM bundles WHERE id = ? AND state = 'deleting'").run(id));
	}

	/** Those that may be removed from the store now, in the order of their ids, from the one behind `afterId` on. */
	deletable(afterId: number, limit: number): BundleRow[] {
		return this.#db
			.prepare(
				`${BUNDLE} WHERE state = 'deleting' AND id > ? AND deletable_behind < (${NEWEST_SNAPSHOT}) ORDER BY id LIMIT ?`,
			)
			.all(afterId, limit) as BundleRow[];
	}

	/** In the order of their ids, from the one behind `afterId` on. */
	bundles(state: BundleState, afterId = 0, limit = 1000): BundleRow[] {
		return this.#db
			.prepare(`${BUNDLE} WHERE state = ? AND id > ? ORDER BY id LIMIT ?`)
			.all(state, afterId, limit) as BundleRow[];
	}

	/** In the order of their keys, whatever their state, those behind `after`. */
	bundlesByKey(after: string, limit = 1000): BundleRow[] {
		return this.#db.prepare(`${BUNDLE} WHERE key > ? ORDER BY key LIMIT ?`).all(after, limit) as BundleRow[];
	}

	bundle(id: number): BundleRow | undefined {
		return this.#db.prepare(`${BUNDLE} WHERE id = ?`).get(id) as BundleRow | undefined;
	}

	bundleByKey(key: string): BundleRow | undefined {
		return this.#db.prepare(`${BUNDLE} WHERE key = ?`).get(key) as BundleRow | undefined;
	}

	newestBundle(): BundleRow | undefined {
		return this.#db.prepare(`${BUNDLE} WHERE state = 'stored' ORDER BY id DESC LIMIT 1`).get() as BundleRow | undefined;
	}

	/** The largest that a bundle of this incarnation ever had; 0: there was none. */
	lastSequence(): number {
		const row = this.#db.prepare("SELECT value FROM meta WHERE key = ?").get(SEQUENCE) as { value: string } | undefined;
		return Number(row?.value ?? 0);
	}

	/** The range that holds `offset`, or the first one behind it. */
	rangeAt(partitionId: number, offset: number): RangeRow | undefined {
		return (this.#holding(partitionId, offset) ?? this.#firstFrom(partitionId, offset)) as RangeRow | undefined;
	}

	#holding(partitionId: number, offset: number): RangeRow | undefined {
		const row = this.#db
			.prepare(`${RANGE} WHERE partition_id = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1`)
			.get(partitionId, offset) as RangeRow | undefined;
		return row !== undefined && row.nextOffset > offset ? row : undefined;
	}

	#firstFrom(partitionId: number, offset: number): RangeRow | undefined {
		return this.#db
			.prepare(`${RANGE} WHERE partition_id = ? AND base_offset >= ? ORDER BY base_offset LIMIT 1`)
			.get(partitionId, offset) as RangeRow | undefined;
	}

	/** The first range with records at `offset` or behind it that has one of `timestampMs` or later. */
	rangeForTime(partitionId: number, offset: number, timestampMs: number): RangeRow | undefined {
		const from = this.#holding(partitionId, offset)?.baseOffset ?? offset;
		return this.#db
			.prepare(
				`${RANGE} WHERE partition_id = ? AND base_offset >= ? AND max_timestamp >= ? ORDER BY base_offset LIMIT 1`,
			)
			.get(partitionId, from, timestampMs) as RangeRow | undefined;
	}

	/** Of ranges that begin before `below`; -1 where there is none. */
	maxTimestamp(partitionId: number, below: number): number {
		const row = this.#db
			.prepare("SELECT coalesce(max(max_timestamp), -1) AS most FROM ranges WHERE partition_id = ? AND base_offset < ?")
			.get(partitionId, below) as { most: number };
		return row.most;
	}

	/** Of the partition, by base offset, those that begin at `from` or behind it. */
	ranges(partitionId: number, from: number, limit: number): RangeSummary[] {
		return this.#db
			.prepare(`SELECT ${SUMMARY} FROM ranges WHERE partition_id = ? AND base_offset >= ? ORDER BY base_offset LIMIT ?`)
			.all(partitionId, from, limit) as RangeSummary[];
	}

	/** Of a bundle, by partition. */
	rangesOf(bundleId: number): RangeSummary[] {
		return this.#db
			.prepare(`SELECT ${SUMMARY} FROM ranges WHERE bundle_id = ? ORDER BY partition_id, base_offset`)
			.all(bundleId) as RangeSummary[];
	}

	/** Of a bundle. */
	countRanges(bundleId: number): number {
		const row = this.#db.prepare("SELECT count(*) AS ranges FROM ranges WHERE bundle_id = ?").get(bundleId);
		return (row as { ranges: number }).ranges;
	}

	/** Record batches in ranges that end at `below` or before, bytes. */
	rawBytes(partitionId: number, below: number): number {
		const row = this.#db
			.prepare("SELECT coalesce(sum(raw_bytes), 0) AS bytes FROM ranges WHERE partition_id = ? AND next_offset <= ?")
			.get(partitionId, below) as { bytes: number };
		return row.bytes;
	}

	/** Records, and bytes of record batches, of ranges, by the id of their partition. */
	tiered(): { readonly partitionId: number; readonly records: number; readonly bytes: number }[] {
		return this.#db
			.prepare(
				`SELECT partition_id AS partitionId, sum(next_offset - base_offset) AS records, sum(raw_bytes) AS bytes
					FROM ranges GROUP BY partition_id`,
			)
			.all() as { partitionId: number; records: number; bytes: number }[];
	}

	totals(): TierTotals {
		return this.#db
			.prepare(
				`SELECT (SELECT count(*) FROM bundles WHERE state = 'stored') AS bundles,
					(SELECT coalesce(sum(size_bytes), 0) FROM bundles WHERE state = 'stored') AS bytes,
					(SELECT count(*) FROM ranges) AS ranges,
					(SELECT count(*) FROM bundles WHERE state = 'deleting' AND deletable_behind < (${NEWEST_SNAPSHOT})) AS deleting`,
			)
			.get() as TierTotals;
	}

	/** In a transaction of the catalog: nothing of the partitions before their offsets can be read any more. */
	dropBelow(starts: readonly (readonly [partitionId: number, offset: number])[]): void {
		const drop = this.#db.prepare("DELETE FROM ranges WHERE partition_id = ? AND next_offset <= ?");
		let dropped = 0;
		for (const [partitionId, offset] of starts) dropped += drop.run(partitionId, offset).changes;
		if (dropped > 0) this.#release();
	}

	/** In a transaction of the catalog: the topic's partitions are being deleted. */
	dropTopic(topicId: string): void {
		const dropped = this.#db
			.prepare("DELETE FROM ranges WHERE partition_id IN (SELECT id FROM partitions WHERE topic_id = ?)")
			.run(topicId);
		if (dropped.changes > 0) this.#release();
	}

	/**
	 * Bundles that no range needs any more are to be removed from the store, but for the newest that has a snapshot, which a
	 * restore needs; and not before a snapshot is there that does not call for their records.
	 */
	#release(): void {
		this.#db
			.prepare(
				`UPDATE bundles SET state = 'deleting', deletable_behind = (SELECT max(id) FROM bundles)
					WHERE state = 'stored' AND id <> (${NEWEST_SNAPSHOT})
					AND NOT EXISTS (SELECT 1 FROM ranges WHERE bundle_id = bundles.id)`,
			)
			.run();
	}
}

/**
 * The catalog: topics, their configuration, where each partition's checkpoint stands, and the state
 * table as of that checkpoint. Every method that changes it is durable when it returns.
 */
import type { Random } from "../base/random.ts";
import { type Database, type DatabaseLocation, openDatabase, type Statement } from "./database.ts";
import {
	type CleanedSegment,
	type LeaderEpochRow,
	type PartitionRow,
	readPartitions,
	type SegmentState,
} from "./partition-rows.ts";
import { TierCatalog } from "./tier-catalog.ts";

export interface TopicRow {
	readonly id: string;
	readonly name: string;
	readonly createdMs: number;
	readonly config: Readonly<Record<string, string>>;
}

export interface RestoredPartition {
	readonly id: number;
	readonly number: number;
	readonly logStartOffset: number;
	/** The next record gets it; the object store has what is before. */
	readonly endOffset: number;
	/** As in LeaderEpochs; by epoch. */
	readonly epochs: readonly LeaderEpochRow[];
}

export interface PartitionCheckpoint {
	readonly id: number;
	readonly checkpointOffset: number;
	readonly segment: SegmentState;
}

/** A value of undefined deletes. */
export interface StateChange {
	readonly space: number;
	readonly key: string;
	readonly value: Uint8Array | undefined;
}

export type StateRow = [key: string, value: Uint8Array];

export interface LossRow {
	readonly timeMs: number;
	readonly topic: string;
	readonly partition: number;
	readonly firstOffset: number;
	readonly count: number;
	readonly reason: string;
}

/** A loss that is found out together with what takes the records. */
export interface LossChange {
	readonly row: LossRow;
	/** Is part of `row` now. */
	readonly replaces: LossRow | undefined;
}

/** While it is there, no file of a segment is less good than the last checkpoint says, but for what came after it. */
const SEGMENTS_SYNCED = "segments.synced";

const PAGE = "SELECT key, value FROM state WHERE space = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?";
const PAGE_TO_END = "SELECT key, value FROM state WHERE space = ? AND key >= ? ORDER BY key LIMIT ?";

export class Catalog {
	/** Of the object store. */
	readonly tier: TierCatalog;
	readonly #db: Database;
	readonly #image: ((takeImage: () => Buffer) => void) | undefined;
	readonly #statements = new Map<string, Statement>();

	constructor(location: DatabaseLocation) {
		this.#db = openDatabase(location);
		this.#image = "onCommit" in location ? location.onCommit : undefined;
		this.tier = new TierCatalog({ prepare: (sql) => this.#prepare(sql), change: (work) => this.#change(work) });
		this.#committed();
	}

	close(): void {
		this.#db.close();
	}

	getMeta(key: string): string | undefined {
		return (this.#prepare("SELECT value FROM meta WHERE key = ?").get(key) as { value: string } | undefined)?.value;
	}

	setMeta(key: string, value: string): void {
		this.#change(() => this.#prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value));
	}

	topics(): TopicRow[] {
		const rows = this.#prepare("SELECT id, name, created_ms, config FROM topics ORDER BY name").all() as {
			id: string;
			name: string;
			created_ms: number;
			config: string;
		}[];
		return rows.map((row) => ({
			id: row.id,
			name: row.name,
			createdMs: row.created_ms,
			config: JSON.parse(row.config) as Record<string, string>,
		}));
	}

	/** Every topic's, by the topic's id, in the order of their numbers. */
	allPartitions(): Map<string, PartitionRow[]> {
		const format = this.#db.pragma("user_version", { simple: true }) as number;
		return readPartitions((sql) => this.#prepare(sql), format);
	}

	/** Those of a topic, by number: what the catalog has of them but for what compaction did. */
	partitionIds(topicId: string): { readonly id: number; readonly number: number }[] {
		return this.#prepare("SELECT id, number FROM partitions WHERE topic_id = ? ORDER BY number").all(topicId) as {
			id: number;
			number: number;
		}[];
	}

	/** The active segment at the partition's last checkpoint. */
	segmentState(partitionId: number): SegmentState | undefined {
		const row = this.#prepare("SELECT segment FROM partitions WHERE id = ?").get(partitionId);
		const segment = (row as { segment: string | null } | undefined)?.segment;
		return segment === undefined || segment === null ? undefined : (JSON.parse(segment) as SegmentState);
	}

	/** From now on `segment` counts, in the place of itself and of `replaced`: its files are synced under their other names. */
	beginSwap(partitionId: number, segment: CleanedSegment, replaced: readonly number[]): void {
		const { baseOffset, nextOffset, sizeBytes, crc } = segment;
		this.#change(() => {
			this.#prepare("INSERT INTO segment_swaps VALUES (?, ?, ?)").run(
				partitionId,
				baseOffset,
				JSON.stringify(replaced),
			);
			this.#prepare("DELETE FROM cleaned_segments WHERE partition_id = ? AND base_offset >= ? AND base_offset < ?").run(
				partitionId,
				baseOffset,
				nextOffset,
			);
			this.#prepare("INSERT INTO cleaned_segments VALUES (?, ?, ?, ?, ?)").run(
				partitionId,
				baseOffset,
				nextOffset,
				sizeBytes,
				crc,
			);
		});
	}

	/** All of its files have their names, durably. */
	endSwap(partitionId: number): void {
		this.#change(() => this.#prepare("DELETE FROM segment_swaps WHERE partition_id = ?").run(partitionId));
	}

	setCleanedOffset(partitionId: number, offset: number): void {
		this.#change(() => this.#prepare("UPDATE partitions SET cleaned_offset = ? WHERE id = ?").run(offset, partitionId));
	}

	createTopic(topic: TopicRow, partitions: number): void {
		this.#change(() => {
			this.#insertTopic(topic);
			for (let number = 0; number < partitions; number++) this.#insertPartition(topic.id, number);
		});
	}

	/** When a data directory is made from an object store: topics with the very partitions that they had, and no record in a file here. */
	restoreTopics(topics: readonly (TopicRow & { readonly partitions: readonly RestoredPartition[] })[]): void {
		this.#change(() => {
			const insert = this.#prepare(
				`INSERT INTO partitions (id, topic_id, number, log_start_offset, local_start_offset, checkpoint_offset)
					VALUES (?, ?, ?, ?, ?, ?)`,
			);
			const insertEpoch = this.#prepare("INSERT INTO leader_epochs VALUES (?, ?, ?)");
			for (const topic of topics) {
				this.#insertTopic(topic);
				for (const { id, number, logStartOffset, endOffset, epochs } of topic.partitions) {
					insert.run(id, topic.id, number, logStartOffset, endOffset, endOffset);
					for (const { epoch, startOffset } of epochs) insertEpoch.run(id, epoch, startOffset);
				}
			}
		});
	}

	/** Its settings, and partitions from number `from` on and before `to` more. */
	alterTopic(topicId: string, config: Readonly<Record<string, string>>, from: number, to: number): void {
		this.#change(() => {
			this.#prepare("UPDATE topics SET config = ? WHERE id = ?").run(JSON.stringify(config), topicId);
			for (let number = from; number < to; number++) this.#insertPartition(topicId, number);
		});
	}

	/** The topic's folders are still to be removed: `forgetDeletedTopic` when they are. */
	deleteTopic(topicId: string, losses: readonly LossChange[] = []): void {
		this.#change(() => {
			this.#addLosses(losses);
			this.#prepare("INSERT INTO deleted_topics SELECT id, name FROM topics WHERE id = ?").run(topicId);
			this.tier.dropTopic(topicId);
			for (const table of ["cleaned_segments", "segment_swaps", "leader_epochs"])
				this.#prepare(`DELETE FROM ${table} WHERE partition_id IN (SELECT id FROM partitions WHERE topic_id = ?)`).run(
					topicId,
				);
			this.#prepare("DELETE FROM partitions WHERE topic_id = ?").run(topicId);
			this.#prepare("DELETE FROM topics WHERE id = ?").run(topicId);
		});
	}

	deletedTopics(): { id: string; name: string }[] {
		return this.#prepare("SELECT id, name FROM deleted_topics").all() as { id: string; name: string }[];
	}

	forgetDeletedTopic(topicId: string): void {
		this.#change(() => this.#prepare("DELETE FROM deleted_topics WHERE id = ?").run(topicId));
	}

	/** Nothing before the partitions' offsets is kept any more, here or in the object store: all of it or none. */
	setLogStartOffsets(
		starts: readonly (readonly [partitionId: number, offset: number])[],
		losses: readonly LossChange[] = [],
	): void {
		this.#change(() => {
			this.#addLosses(losses);
			this.#moveStarts("log_start_offset", starts);
			this.tier.dropBelow(starts);
		});
	}

	/** Segments of the partitions that end at their offsets or before may go, the object store has what they have: all of it or none. */
	setLocalStartOffsets(starts: readonly (readonly [partitionId: number, offset: number])[]): void {
		this.#change(() => this.#moveStarts("local_start_offset", starts));
	}

	#moveStarts(
		column: "log_start_offset" | "local_start_offset",
		starts: readonly (readonly [partitionId: number, offset: number])[],
	): void {
		const update = this.#prepare(`UPDATE partitions SET ${column} = ? WHERE id = ?`);
		for (const [partitionId, offset] of starts) {
			update.run(offset, partitionId);
			this.#forgetCleaned(partitionId, offset);
		}
	}

	/** Its own files hold nothing that counts, and its next record gets `offset`: the object store has what is before. */
	beginAnewAt(partitionId: number, offset: number): void {
		this.#change(() => {
			this.#prepare(
				"UPDATE partitions SET local_start_offset = ?, checkpoint_offset = ?, segment = NULL WHERE id = ?",
			).run(offset, offset, partitionId);
			this.#forgetCleaned(partitionId, Number.MAX_SAFE_INTEGER);
		});
	}

	#forgetCleaned(partitionId: number, below: number): void {
		this.#prepare("DELETE FROM cleaned_segments WHERE partition_id = ? AND next_offset <= ?").run(partitionId, below);
	}

	/** Nothing of the topic is in the object store any more: what of it is there may be removed. Its log begins with its own files. */
	forgetTiered(partitionId: number, logStartOffset: number, losses: readonly LossChange[] = []): void {
		this.#change(() => {
			this.#addLosses(losses);
			this.#prepare("UPDATE partitions SET log_start_offset = ?, tiered_offset = 0 WHERE id = ?").run(
				logStartOffset,
				partitionId,
			);
			this.tier.dropBelow([[partitionId, Number.MAX_SAFE_INTEGER]]);
		});
	}

	/** Sequence of the last journal entry whose effects are all in synced segments and in this catalog. */
	checkpointSequence(): number {
		return Number(this.getMeta("checkpoint.sequence") ?? 0);
	}

	/**
	 * Whether every segment's files are synced as far as the last checkpoint says, and nothing was written to them since but
	 * what the journal has behind it.
	 */
	segmentsSynced(): boolean {
		return this.getMeta(SEGMENTS_SYNCED) !== undefined;
	}

	/** Files of segments are about to be written for another reason than an entry of the journal: up to the next checkpoint they are in doubt. */
	beginRestore(): void {
		this.#change(() => this.#prepare("DELETE FROM meta WHERE key = ?").run(SEGMENTS_SYNCED));
	}

	/** One transaction: partitions, state and the journal sequence they stand for. Every file of a segment is synced. */
	checkpoint(sequence: number, partitions: Iterable<PartitionCheckpoint>, state: Iterable<StateChange>): void {
		this.#change(() => {
			const update = this.#prepare("UPDATE partitions SET checkpoint_offset = ?, segment = ? WHERE id = ?");
			for (const p of partitions) update.run(p.checkpointOffset, JSON.stringify(p.segment), p.id);
			const put = this.#prepare("INSERT OR REPLACE INTO state VALUES (?, ?, ?)");
			const remove = this.#prepare("DELETE FROM state WHERE space = ? AND key = ?");
			for (const { space, key, value } of state) {
				if (value === undefined) remove.run(space, key);
				else put.run(space, key, value);
			}
			const setMeta = this.#prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
			setMeta.run("checkpoint.sequence", String(sequence));
			setMeta.run(SEGMENTS_SYNCED, "1");
		});
	}

	getState(space: number, key: string): Uint8Array | undefined {
		const row = this.#prepare("SELECT value FROM state WHERE space = ? AND key = ?").get(space, key);
		return (row as { value: Buffer } | undefined)?.value;
	}

	hasState(space: number, key: string): boolean {
		return this.#prepare("SELECT 1 FROM state WHERE space = ? AND key = ?").get(space, key) !== undefined;
	}

	/**
	 * Rows with keys from `from` on and before `to` (undefined: to the end), in key order (by code point): at most `limit`,
	 * and none after the one whose value makes `bytesMax` full. `more`: there may be more behind them.
	 */
	pageState(
		space: number,
		from: string,
		to: string | undefined,
		limit: number,
		bytesMax: number,
	): { rows: StateRow[]; more: boolean } {
		const found = this.#prepare(to === undefined ? PAGE_TO_END : PAGE)
			.raw()
			.iterate(...(to === undefined ? [space, from, limit] : [space, from, to, limit])) as Iterable<StateRow>;
		const rows: StateRow[] = [];
		let bytes = 0;
		for (const row of found) {
			rows.push(row);
			bytes += row[1].length;
			if (bytes >= bytesMax) return { rows, more: true };
		}
		return { rows, more: rows.length === limit };
	}

	/** Losses that are part of it go: a reader may have begun in its middle, and no record is lost twice. */
	recordLoss(loss: LossRow): void {
		const { topic, partition, firstOffset, count } = loss;
		this.#change(() => {
			this.#prepare(
				"DELETE FROM losses WHERE topic = ? AND partition = ? AND first_offset >= ? AND first_offset + count <= ?",
			).run(topic, partition, firstOffset, firstOffset + count);
			this.#insertLoss(loss);
		});
	}

	/** A topic of the same name may have lost the same offsets before: nothing but what is replaced goes. */
	#addLosses(losses: readonly LossChange[]): void {
		for (const { row, replaces } of losses) {
			if (replaces !== undefined)
				this.#prepare(
					"DELETE FROM losses WHERE topic = ? AND partition = ? AND first_offset = ? AND count = ? AND reason = ?",
				).run(replaces.topic, replaces.partition, replaces.firstOffset, replaces.count, replaces.reason);
			this.#insertLoss(row);
		}
	}

	#insertLoss({ timeMs, topic, partition, firstOffset, count, reason }: LossRow): void {
		this.#prepare(
			"INSERT INTO losses (time_ms, topic, partition, first_offset, count, reason) VALUES (?, ?, ?, ?, ?, ?)",
		).run(timeMs, topic, partition, firstOffset, count, reason);
	}

	/** Whether all of it is known to be lost. */
	hasLoss({ topic, partition, firstOffset, count }: LossRow): boolean {
		const row = this.#prepare(
			"SELECT 1 FROM losses WHERE topic = ? AND partition = ? AND first_offset <= ? AND first_offset + count >= ?",
		).get(topic, partition, firstOffset, firstOffset + count);
		return row !== undefined;
	}

	/** Of all losses together. */
	lostRecords(): number {
		return (this.#prepare("SELECT coalesce(sum(count), 0) AS n FROM losses").get() as { n: number }).n;
	}

	losses(): LossRow[] {
		const rows = this.#prepare("SELECT * FROM losses ORDER BY id").all() as {
			time_ms: number;
			topic: string;
			partition: number;
			first_offset: number;
			count: number;
			reason: string;
		}[];
		return rows.map((row) => ({
			timeMs: row.time_ms,
			topic: row.topic,
			partition: row.partition,
			firstOffset: row.first_offset,
			count: row.count,
			reason: row.reason,
		}));
	}

	/** Problems SQLite finds in its own file; empty when sound. */
	integrityProblems(): string[] {
		const rows = this.#db.pragma("integrity_check(20)") as { integrity_check: string }[];
		return rows.map((row) => row.integrity_check).filter((text) => text !== "ok");
	}

	#insertTopic({ id, name, createdMs, config }: TopicRow): void {
		this.#prepare("INSERT INTO topics (id, name, created_ms, config) VALUES (?, ?, ?, ?)").run(
			id,
			name,
			createdMs,
			JSON.stringify(config),
		);
	}

	#insertPartition(topicId: string, number: number): void {
		this.#prepare("INSERT INTO partitions (topic_id, number) VALUES (?, ?)").run(topicId, number);
	}

	#prepare(sql: string): Statement {
		let statement = this.#statements.get(sql);
		if (statement === undefined) {
			statement = this.#db.prepare<unknown[]>(sql);
			this.#statements.set(sql, statement);
		}
		return statement;
	}

	#change(work: () => void): void {
		this.#db.transaction(work)();
		this.#committed();
	}

	#committed(): void {
		this.#image?.(() => this.#db.serialize());
	}
}

/** A random (version 4) UUID. */
export function newUuid(random: Random): string {
	const bytes = random.bytes(16);
	bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
	bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
	const hex = bytes.toString("hex");
	return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

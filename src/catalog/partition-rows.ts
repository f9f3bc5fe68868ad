/**
 * Partitions as the catalog has them at start: where the checkpoint stands, what compaction did, what of them is in the
 * object store.
 */
import type { Statement } from "./database.ts";

export interface PartitionRow {
	readonly id: number;
	readonly number: number;
	readonly logStartOffset: number;
	/** Records before it are no longer in files of this partition; the object store has them, from the log start on. */
	readonly localStartOffset: number;
	/** Records before it, from the log start on, are in the object store. */
	readonly tieredOffset: number;
	/** Every record before it is in synced segments. */
	readonly checkpointOffset: number;
	/** The active segment then; undefined before the first checkpoint. */
	readonly segment: SegmentExtent | undefined;
	/** Compaction has done with all records before it. */
	readonly cleanedOffset: number;
	/** By base offset. */
	readonly cleanedSegments: readonly CleanedSegment[];
	/** Files that are to take the place of others, and may have done so in part. */
	readonly swap: SegmentSwap | undefined;
	/** Where each leader epoch begins, by epoch; empty: epoch 0 from offset 0 on. */
	readonly epochs: readonly LeaderEpochRow[];
}

export interface LeaderEpochRow {
	readonly epoch: number;
	readonly startOffset: number;
}

/** A segment that compaction wrote; it stands for all offsets up to `nextOffset`, whether they are still in it or not. */
export interface CleanedSegment {
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly sizeBytes: number;
	/** CRC-32C of its log file. */
	readonly crc: number;
}

export interface SegmentSwap {
	readonly baseOffset: number;
	/** Base offsets of the other segments, whose files go. */
	readonly replaced: readonly number[];
}

/** How far the files of a segment are good. */
export interface SegmentExtent {
	readonly baseOffset: number;
	readonly sizeBytes: number;
	readonly indexEntries: number;
	readonly timeIndexEntries: number;
	/** Bytes since the last index entry. */
	readonly sinceIndexEntry: number;
	readonly firstTimestamp: number;
	readonly maxTimestamp: number;
	/** Last offset of the batch with maxTimestamp. */
	readonly maxTimestampOffset: number;
}

/** And what a torn write there would cost. */
export interface SegmentState extends SegmentExtent {
	/** The bytes of the log's last, partly filled 4 KiB block, base64. */
	readonly tail: string;
	/** CRC-32C of the last 4 KiB of each index. */
	readonly indexTailCrc: number;
	readonly timeIndexTailCrc: number;
}

/** Without the bytes of the segments' last blocks: of very many partitions they would be very much. */
const PARTITIONS =
	"SELECT id, topic_id, number, log_start_offset, checkpoint_offset, json_remove(segment, '$.tail') AS extent FROM partitions";
/** Since these formats of the catalog there are compaction and the object store. */
const COMPACTION_FORMAT = 2;
const TIER_FORMAT = 3;

interface StoredPartition {
	readonly id: number;
	readonly topic_id: string;
	readonly number: number;
	readonly log_start_offset: number;
	readonly checkpoint_offset: number;
	readonly extent: string | null;
}

interface StoredCleanedSegment {
	readonly partition_id: number;
	readonly base_offset: number;
	readonly next_offset: number;
	readonly size_bytes: number;
	readonly crc: number;
}

/** By partition id. */
interface Compactions {
	readonly offsets: Map<number, number>;
	readonly segments: Map<number, CleanedSegment[]>;
	readonly swaps: Map<number, SegmentSwap>;
}

/** By partition id. */
interface Tiers {
	readonly offsets: Map<number, { localStartOffset: number; tieredOffset: number }>;
	readonly epochs: Map<number, LeaderEpochRow[]>;
}

type Prepare = (sql: string) => Statement;

/** By the topic's id, in the order of their numbers. `format`: of the catalog, which may be older than this program if it is only read. */
export function readPartitions(prepare: Prepare, format: number): Map<string, PartitionRow[]> {
	const rows = prepare(`${PARTITIONS} ORDER BY topic_id, number`).all() as StoredPartition[];
	const compactions = readCompactions(prepare, format);
	const tiers = readTiers(prepare, format);
	const partitions = new Map<string, PartitionRow[]>();
	for (const row of rows) {
		const ofTopic = partitions.get(row.topic_id);
		if (ofTopic === undefined) partitions.set(row.topic_id, [partitionRow(row, compactions, tiers)]);
		else ofTopic.push(partitionRow(row, compactions, tiers));
	}
	return partitions;
}

/** Of partitions that compaction has changed. */
function readCompactions(prepare: Prepare, format: number): Compactions {
	const found: Compactions = { offsets: new Map(), segments: new Map(), swaps: new Map() };
	if (format < COMPACTION_FORMAT) return found;
	const offsets = prepare("SELECT id, cleaned_offset FROM partitions WHERE cleaned_offset > 0").all();
	for (const row of offsets as { id: number; cleaned_offset: number }[]) found.offsets.set(row.id, row.cleaned_offset);
	const segments = prepare("SELECT * FROM cleaned_segments ORDER BY partition_id, base_offset").all();
	for (const row of segments as StoredCleanedSegment[]) {
		const { base_offset: baseOffset, next_offset: nextOffset, size_bytes: sizeBytes, crc } = row;
		const ofPartition = found.segments.get(row.partition_id) ?? [];
		ofPartition.push({ baseOffset, nextOffset, sizeBytes, crc });
		found.segments.set(row.partition_id, ofPartition);
	}
	const swaps = prepare("SELECT partition_id, base_offset, replaced FROM segment_swaps").all();
	for (const row of swaps as { partition_id: number; base_offset: number; replaced: string }[])
		found.swaps.set(row.partition_id, {
			baseOffset: row.base_offset,
			replaced: JSON.parse(row.replaced) as number[],
		});
	return found;
}

/** Of partitions that have records in the object store, or epochs. */
function readTiers(prepare: Prepare, format: number): Tiers {
	const found: Tiers = { offsets: new Map(), epochs: new Map() };
	if (format < TIER_FORMAT) return found;
	const offsets = prepare(
		`SELECT id, local_start_offset AS localStartOffset, tiered_offset AS tieredOffset FROM partitions
			WHERE tiered_offset > 0 OR local_start_offset > 0`,
	).all() as { id: number; localStartOffset: number; tieredOffset: number }[];
	for (const { id, ...place } of offsets) found.offsets.set(id, place);
	const epochs = prepare(
		`SELECT partition_id AS id, epoch, start_offset AS startOffset FROM leader_epochs ORDER BY partition_id, epoch`,
	).all() as { id: number; epoch: number; startOffset: number }[];
	for (const { id, ...began } of epochs) {
		const ofPartition = found.epochs.get(id);
		if (ofPartition === undefined) found.epochs.set(id, [began]);
		else ofPartition.push(began);
	}
	return found;
}

function partitionRow(row: StoredPartition, { offsets, segments, swaps }: Compactions, tiers: Tiers): PartitionRow {
	return {
		...(tiers.offsets.get(row.id) ?? { localStartOffset: 0, tieredOffset: 0 }),
		id: row.id,
		number: row.number,
		logStartOffset: row.log_start_offset,
		checkpointOffset: row.checkpoint_offset,
		segment: row.extent === null ? undefined : (JSON.parse(row.extent) as SegmentExtent),
		cleanedOffset: offsets.get(row.id) ?? 0,
		cleanedSegments: segments.get(row.id) ?? [],
		swap: swaps.get(row.id),
		epochs: tiers.epochs.get(row.id) ?? [],
	};
}

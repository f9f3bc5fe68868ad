/**
 * A bundle's footer: what is in the bundle and where, JSON compressed with gzip. Every number in one is checked before it is
 * given out: places lie in the object and one behind the other without a gap, offsets rise, sums are right.
 */
import { DamageError } from "../../src/base/errors.ts";
import type { LeaderEpoch } from "../../src/log/leader-epochs.ts";
import type { AbortedTransaction } from "../../src/log/partition-transactions.ts";
import type { Block } from "./block.ts";
import { type BundleIdentity, bundleKey, identityProblem } from "./identity.ts";
import { JsonFields, parseBoundedJson } from "./json-fields.ts";
import { BLOCK_RAW_BYTES_MAX, FORMAT, HEADER_BYTES, SNAPSHOT_RAW_BYTES_MAX } from "./layout.ts";

export interface BundleTopic {
	/** A UUID. */
	readonly id: string;
	readonly name: string;
	/** How many it has. */
	readonly partitions: number;
	/** What was set for it, by Kafka's names. */
	readonly config: Readonly<Record<string, string>>;
}

/** A partition's records from `baseOffset` up to `nextOffset`. Compaction may have left few of them, or none. */
export interface BundleRange {
	/** A UUID. */
	readonly topicId: string;
	readonly topic: string;
	/** Its number in the topic. */
	readonly partition: number;
	/** Its number on the gateway. */
	readonly partitionId: number;
	readonly baseOffset: number;
	readonly nextOffset: number;
	/** The largest of its first batch, as a segment's age counts from; -1: none. */
	readonly firstTimestamp: number;
	/** Largest of its records; -1: none has one. */
	readonly maxTimestamp: number;
	/** With transactions' markers. */
	readonly records: number;
	/** In the object. */
	readonly position: number;
	readonly storedBytes: number;
	/** As record batches. */
	readonly rawBytes: number;
	/** CRC-32C of the stored bytes. */
	readonly crc: number;
	/** The leader epochs of its offsets, ascending; the first from `baseOffset` on. */
	readonly epochs: readonly LeaderEpoch[];
	/**
	 * Aborted transactions with records or their marker in it, by the marker's offset, which may lie behind the range, as the
	 * first offset may lie before it.
	 */
	readonly aborted: readonly AbortedTransaction[];
	/** One behind the other, without a gap between their bytes. */
	readonly blocks: readonly Block[];
}

/** Where the snapshot of the gateway's metadata lies: a zstd frame. */
export interface SnapshotPlace {
	readonly position: number;
	readonly storedBytes: number;
	readonly rawBytes: number;
	/** CRC-32C of the stored bytes. */
	readonly crc: number;
}

export interface BundleFooter extends BundleIdentity {
	readonly format: number;
	/** In the object store when it was written. */
	readonly key: string;
	/** By the gateway's clock. */
	readonly createdMs: number;
	/** Program and version. */
	readonly writer: string;
	/** Those of the ranges. */
	readonly topics: readonly BundleTopic[];
	/** By position. Those of one partition by offset too. */
	readonly ranges: readonly BundleRange[];
	readonly snapshot: SnapshotPlace | undefined;
}

/** The parts of a footer's JSON, to be put one behind the other. Each range is one, so that long footers can be made in slices. */
export function* encodeFooter(footer: BundleFooter): Generator<string> {
	const { topics, ranges, ...rest } = footer;
	// What undefined is, JSON leaves out.
	yield `${JSON.stringify(rest).slice(0, -1)},\n"topics":[`;
	for (let i = 0; i < topics.length; i++) yield `${i === 0 ? "" : ","}\n${JSON.stringify(topics[i])}`;
	yield '],\n"ranges":[';
	for (let i = 0; i < ranges.length; i++) yield `${i === 0 ? "" : ","}\n${JSON.stringify(ranges[i])}`;
	yield "]}\n";
}

/**
 * `json`: decompressed. `footerPosition`: where it lies in the object, which is where all else must have ended. Throws
 * DamageError.
 */
export function decodeFooter(json: Buffer, footerPosition: number, name: string): BundleFooter {
	const fail = (what: string) => new DamageError(name, footerPosition, `the footer: ${what}`);
	const fields = new JsonFields(parseBoundedJson(json, fail), "", fail);
	const format = fields.integer("format", FORMAT, FORMAT);
	const identity: BundleIdentity = {
		gateway: fields.text("gateway"),
		incarnation: fields.integer("incarnation"),
		sequence: fields.integer("sequence"),
		attempt: fields.text("attempt"),
	};
	const problem = identityProblem(identity);
	if (problem !== undefined) throw fail(problem);
	const key = fields.text("key");
	if (key !== bundleKey(identity)) throw fields.wrong("key", `${JSON.stringify(key)} is not ${bundleKey(identity)}`);
	const createdMs = fields.integer("createdMs", -1);
	const writer = fields.text("writer", /^[\x20-\x7e]{0,100}$/);
	const topics = fields.objects("topics").map(decodeTopic);
	const known = topicsById(topics, fail);
	let position = HEADER_BYTES;
	const ends = new Map<string, number>();
	const ranges = fields.objects("ranges").map((each) => {
		const range = decodeRange(each, position, footerPosition);
		const misfit = topicProblem(range, known);
		if (misfit !== undefined) throw each.wrong("topic", misfit);
		const partition = `${range.topicId}/${range.partition}`;
		if (range.baseOffset < (ends.get(partition) ?? 0))
			throw each.wrong("baseOffset", `${range.baseOffset} lies in the partition's range before`);
		ends.set(partition, range.nextOffset);
		position += range.storedBytes;
		return range;
	});
	let snapshot: SnapshotPlace | undefined;
	if (fields.has("snapshot")) {
		const place = fields.object("snapshot");
		snapshot = {
			position: place.integer("position", position, position),
			storedBytes: place.integer("storedBytes", 1, footerPosition - position),
			rawBytes: place.integer("rawBytes", 0, SNAPSHOT_RAW_BYTES_MAX),
			crc: place.integer("crc", 0, 0xffff_ffff),
		};
		position += snapshot.storedBytes;
	}
	if (position !== footerPosition)
		throw fail(`ranges and snapshot end at byte ${position}, not where the footer begins`);
	return { format, ...identity, key, createdMs, writer, topics, ranges, snapshot };
}

/** Whether readers will take the range, but for what depends on others. Throws RangeError. */
export function checkRange(range: BundleRange): void {
	const fields = new JsonFields(range, "", (what) => new RangeError(`the range of ${range.topic}: ${what}`));
	decodeRange(fields, range.position, Number.MAX_SAFE_INTEGER);
}

/** Whether readers will take `topics` with ranges that they take. Throws RangeError. */
export function checkTopics(topics: readonly BundleTopic[], ranges: readonly BundleRange[]): void {
	const fail = (what: string) => new RangeError(`topics: ${what}`);
	const known = topicsById(
		topics.map((topic) => decodeTopic(new JsonFields(topic, "", fail))),
		fail,
	);
	for (const range of ranges) {
		const problem = topicProblem(range, known);
		if (problem !== undefined) throw fail(problem);
	}
}

function topicsById(topics: readonly BundleTopic[], fail: (what: string) => Error): ReadonlyMap<string, BundleTopic> {
	const known = new Map(topics.map((topic) => [topic.id, topic]));
	if (known.size !== topics.length) throw fail("a topic stands there twice");
	return known;
}

function topicProblem(
	{ topicId, topic, partition }: BundleRange,
	known: ReadonlyMap<string, BundleTopic>,
): string | undefined {
	const its = known.get(topicId);
	if (its?.name !== topic) return `${topic} (${topicId}) is not among the topics`;
	return partition < its.partitions
		? undefined
		: `${topic} has ${its.partitions} partitions, none of number ${partition}`;
}

const TOPIC_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const INT32_MAX = 0x7fff_ffff;

function decodeTopic(fields: JsonFields): BundleTopic {
	return {
		id: fields.text("id", UUID),
		name: fields.text("name", TOPIC_NAME),
		partitions: fields.integer("partitions", 1, INT32_MAX),
		config: fields.texts("config"),
	};
}

function decodeRange(fields: JsonFields, position: number, end: number): BundleRange {
	const topicId = fields.text("topicId", UUID);
	const topic = fields.text("topic", TOPIC_NAME);
	const baseOffset = fields.integer("baseOffset");
	const nextOffset = fields.integer("nextOffset", baseOffset + 1);
	const storedBytes = fields.integer("storedBytes", 0, end - position);
	fields.integer("position", position, position);
	const blocks: Block[] = [];
	let [at, next, rawBytes, maxTimestamp] = [position, baseOffset, 0, -1];
	for (const each of fields.objects("blocks")) {
		const block = decodeBlockFields(each, at, next, position + storedBytes, nextOffset);
		blocks.push(block);
		at += block.storedBytes;
		next = block.nextOffset;
		rawBytes += block.rawBytes;
		maxTimestamp = Math.max(maxTimestamp, block.maxTimestamp);
	}
	if (at !== position + storedBytes)
		throw fields.wrong("storedBytes", `${storedBytes}; its blocks have ${at - position}`);
	return {
		topicId,
		topic,
		partition: fields.integer("partition", 0, INT32_MAX),
		partitionId: fields.integer("partitionId", 0),
		baseOffset,
		nextOffset,
		firstTimestamp: fields.integer("firstTimestamp", -1, maxTimestamp),
		maxTimestamp: fields.integer("maxTimestamp", maxTimestamp, maxTimestamp),
		records: fields.integer("records", 0, nextOffset - baseOffset),
		position,
		storedBytes,
		rawBytes: fields.integer("rawBytes", rawBytes, rawBytes),
		crc: fields.integer("crc", 0, 0xffff_ffff),
		epochs: decodeEpochs(fields, baseOffset, nextOffset),
		aborted: decodeAborted(fields, baseOffset, nextOffset),
		blocks,
	};
}

function decodeBlockFields(fields: JsonFields, position: number, next: number, end: number, nextOffset: number): Block {
	const baseOffset = fields.integer("baseOffset", next, nextOffset - 1);
	const codec = fields.integer("codec", 0, 1) as 0 | 1;
	const storedBytes = fields.integer("storedBytes", 1, end - position);
	return {
		baseOffset,
		nextOffset: fields.integer("nextOffset", baseOffset + 1, nextOffset),
		position: fields.integer("position", position, position),
		storedBytes,
		rawBytes: fields.integer(
			"rawBytes",
			...(codec === 0 ? ([storedBytes, storedBytes] as const) : ([1, BLOCK_RAW_BYTES_MAX] as const)),
		),
		maxTimestamp: fields.integer("maxTimestamp", -1),
		crc: fields.integer("crc", 0, 0xffff_ffff),
		codec,
	};
}

function decodeEpochs(fields: JsonFields, baseOffset: number, nextOffset: number): LeaderEpoch[] {
	let [epoch, from] = [-1, baseOffset];
	const epochs = fields.objects("epochs").map((each, i) => {
		epoch = each.integer("epoch", epoch + 1, INT32_MAX);
		const startOffset = each.integer("startOffset", from, i === 0 ? from : nextOffset - 1);
		from = startOffset + 1;
		return { epoch, startOffset };
	});
	if (epochs.length === 0) throw fields.wrong("epochs", "there is none");
	return epochs;
}

function decodeAborted(fields: JsonFields, baseOffset: number, nextOffset: number): AbortedTransaction[] {
	let from = baseOffset;
	return fields.objects("aborted").map((each) => {
		const lastOffset = each.integer("lastOffset", from);
		from = lastOffset + 1;
		return {
			producerId: each.integer("producerId"),
			firstOffset: each.integer("firstOffset", 0, Math.min(lastOffset, nextOffset - 1)),
			lastOffset,
		};
	});
}

/**
 * What was appended to one partition in a simulated life, records with keys, tombstones and transactions, in batches of every
 * codec; and whether what is read of it is that.
 */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Partition } from "../../src/log/partition.ts";
import { type BatchHeader, decodeRecords, encodeBatch, readBatchHeader } from "../../src/record/batch.ts";
import type { Codec } from "../../src/record/compression.ts";
import { Violation } from "./log-model.ts";
import type { World } from "./world.ts";

export interface Entry {
	readonly offset: number;
	/** A marker has none. */
	readonly key: string | undefined;
	/** null: a tombstone. Of a marker, what it says. */
	readonly value: string | null;
	readonly timestamp: number;
	/** -1: not in a transaction. */
	readonly producerId: number;
}

/** What a reader of everything finds. */
export interface Found extends Entry {
	readonly header: BatchHeader;
	readonly visible: boolean;
}

/** Of a partition, at one moment. */
export interface View {
	readonly start: number;
	readonly end: number;
	readonly stable: number;
}

export function viewOf({ logStartOffset, highWatermark, lastStableOffset }: Partition): View {
	return { start: logStartOffset, end: highWatermark, stable: lastStableOffset };
}

type Read = (partition: Partition, offset: number, maxBytes: number, end: number) => Promise<Buffer>;
const readOnce: Read = (partition, offset, maxBytes, end) => partition.read(offset, maxBytes, end);

const CODECS: readonly Codec[] = ["none", "none", "gzip", "snappy", "lz4", "zstd"];
const PRODUCERS = 3;

export class KeyedHistory {
	/** By offset: all that was appended and is there after a crash, whether or not it is still in the log. */
	entries: Entry[] = [];
	records = 0;
	/** By offset: of transactions whose marker is not in `entries`. */
	readonly #decided = new Map<number, string>();
	readonly #random: SimulatedRandom;
	readonly #keys: number;

	constructor(random: SimulatedRandom) {
		this.#random = random;
		this.#keys = random.pick([3, 30, 300]);
	}

	/** One batch: of records, in a transaction or not, or a transaction's marker. */
	append(world: World, partition: Partition): void {
		const random = this.#random;
		const { transactions } = partition;
		const producerId = random.chance(0.4) ? random.between(1, PRODUCERS) : -1;
		const first = partition.endOffset;
		const timestamp = world.clock.now();
		if (producerId > 0 && transactions.openedAt(producerId) !== undefined && random.chance(0.4)) {
			this.#end(world, partition, producerId, random.chance(0.5) ? "commit" : "abort");
			return;
		}
		const records = Array.from({ length: random.between(1, 8) }, (_, i) => ({
			offset: first + i,
			key: `key-${random.between(1, this.#keys)}`,
			value: random.chance(0.25) ? null : `${first + i}:${"v".repeat(random.between(0, 120))}`,
			timestamp: timestamp + random.between(-3, 3),
			producerId,
		}));
		const batch = encodeBatch(
			records.map(({ key, value, timestamp }) => ({
				timestamp,
				key: Buffer.from(key),
				value: value === null ? null : Buffer.from(value),
				headers: [{ key: "h", value: Buffer.from("x") }],
			})),
			{
				codec: random.pick(CODECS),
				...(producerId > 0 ? { producerId, producerEpoch: 0, baseSequence: first, isTransactional: true } : {}),
			},
		);
		world.log.group(batch.length + 200, () => {
			partition.appendBatch(batch, records.length);
			if (producerId > 0) transactions.begin(producerId, first);
		});
		this.entries.push(...records);
		this.records += records.length;
	}

	#end(world: World, partition: Partition, producerId: number, outcome: "commit" | "abort"): void {
		const offset = partition.endOffset;
		const timestamp = world.clock.now();
		const batch = encodeBatch([{ timestamp, key: markerKey(outcome), value: Buffer.alloc(6), headers: [] }], {
			producerId,
			producerEpoch: 0,
			isTransactional: true,
			isControl: true,
		});
		world.log.group(batch.length + 200, () => {
			partition.appendBatch(batch, 1);
			partition.transactions.end(producerId, offset, outcome);
		});
		this.entries.push({ offset, key: undefined, value: outcome, timestamp, producerId });
	}

	/** So that none is open. */
	endTransactions(world: World, partition: Partition): void {
		for (let producerId = 1; producerId <= PRODUCERS; producerId++)
			if (partition.transactions.openedAt(producerId) !== undefined) this.#end(world, partition, producerId, "commit");
	}

	/** All in `view`, as readers get it, each where and what it was when it was appended. Throws Violation. */
	async read(world: World, partition: Partition, view: View, read: Read = readOnce): Promise<Found[]> {
		const found: Found[] = [];
		for (let offset = view.start; offset < view.end; ) {
			const most = this.#random.pick([500, 5000, 50_000]);
			const bytes = await world.finish(read(partition, offset, most, view.end));
			if (bytes.length === 0) break;
			for (let at = 0; at < bytes.length; ) {
				const header = readBatchHeader(bytes, at);
				const visible = partition.isVisible(header);
				for (const record of decodeRecords(bytes, at)) {
					if (record.offset < offset) continue;
					const one = { ...foundEntry(record, header), header, visible: visible && record.offset < view.stable };
					if (one.offset <= (found.at(-1)?.offset ?? -1))
						throw new Violation(`offset ${one.offset} comes after ${found.at(-1)?.offset}`);
					compare(one, this.entries[one.offset]);
					found.push(one);
				}
				offset = Math.max(offset, header.lastOffset + 1);
				at += header.sizeBytes;
			}
		}
		const outcomes = this.outcomes();
		for (const { visible, key, offset } of found)
			if (visible && key !== undefined && outcomes[offset] === "abort")
				throw new Violation(`offset ${offset} was aborted and is visible`);
		return found;
	}

	/** What readers of committed records take for the state of each key is right, at every moment. Throws Violation. */
	checkState(found: readonly Found[], { start, stable }: View): void {
		const outcomes = this.outcomes();
		const now = stateOf(found.filter(({ visible }) => visible));
		const expected = stateOf(
			this.entries.slice(start, stable).filter(({ key, offset }) => key !== undefined && outcomes[offset] !== "abort"),
		);
		const wrong = [...new Set([...now.keys(), ...expected.keys()])].find((key) => now.get(key) !== expected.get(key));
		if (wrong !== undefined)
			throw new Violation(`${wrong} is ${now.get(wrong)?.slice(0, 20)}, not ${expected.get(wrong)?.slice(0, 20)}`);
	}

	/** What is at `end` or behind it is gone; what became of transactions by what is gone holds for the rest of them. */
	cut(end: number): void {
		for (const [offset, outcome] of this.outcomes().slice(0, end).entries())
			if (outcome !== undefined) this.#decided.set(offset, outcome);
		this.entries.length = end;
	}

	/** By offset: what became of the transaction, where it is in one that has ended. */
	outcomes(): (string | undefined)[] {
		const outcomes: (string | undefined)[] = [];
		const next = new Map<number, string>();
		for (let i = this.entries.length - 1; i >= 0; i--) {
			const { key, value, producerId } = this.entries[i] as Entry;
			if (key === undefined) next.set(producerId, value as string);
			outcomes[i] = producerId < 0 ? undefined : (next.get(producerId) ?? this.#decided.get(i));
		}
		return outcomes;
	}
}

function foundEntry(
	{ offset, key, value, timestamp }: ReturnType<typeof decodeRecords>[number],
	header: BatchHeader,
): Entry {
	const { isControl, producerId } = header;
	return {
		offset,
		key: isControl ? undefined : String(key),
		value: isControl ? (key?.readInt16BE(2) === 1 ? "commit" : "abort") : value && String(value),
		timestamp,
		producerId,
	};
}

function stateOf(entries: readonly Entry[]): Map<string, string> {
	const state = new Map<string, string>();
	for (const { key, value } of entries) {
		if (key === undefined) continue;
		if (value === null) state.delete(key);
		else state.set(key, value);
	}
	return state;
}

function compare(found: Entry, entry: Entry | undefined): void {
	if (entry === undefined) throw new Violation(`offset ${found.offset} was never appended`);
	for (const name of ["offset", "key", "value", "timestamp", "producerId"] as const)
		if (found[name] !== entry[name])
			throw new Violation(`offset ${entry.offset} has ${name} ${found[name]}, not ${entry[name]}`);
}

function markerKey(outcome: "commit" | "abort"): Buffer {
	return Buffer.from([0, 0, 0, outcome === "commit" ? 1 : 0]);
}

/**
 * Committed offsets of consumer groups, and those that producers committed in transactions that are still open. All are
 * rows of the state table, so that an offset can change in the same commit as records do; nothing of them is held in
 * memory but how many pending ones each group has. An offset belongs to the topic it was committed for: once that topic
 * is deleted it reads as none, though the name may have been given anew.
 */
import type { Log } from "../../log/log.ts";
import { stateRows } from "../../log/state-rows.ts";
import { StateSpace } from "../../log/state-spaces.ts";
import type { Topics } from "../topics.ts";
import type { GroupRows } from "./group-rows.ts";
import {
	type CommittedOffset,
	decodeOffset,
	decodePending,
	encodeOffset,
	encodePending,
	groupPrefix,
	groupRange,
	offsetKey,
	type PendingOffset,
	pendingKey,
	pendingPrefix,
	type StoredOffset,
	splitOffsetKey,
} from "./offset-rows.ts";

/** Of a topic that there is. */
export interface OffsetEntry {
	readonly topic: string;
	readonly partition: number;
	readonly offset: number;
	/** -1: unknown. */
	readonly leaderEpoch: number;
	readonly metadata: string;
	readonly expiresMs?: number;
}

/** What becomes of an offset; `restamp`: its time means nothing any more, and it counts from now on. */
export type OffsetFate = "keep" | "delete" | "restamp";

/** What a row takes in a commit beside its texts. */
const ROW_BYTES = 256;

export class GroupOffsets {
	readonly #log: Log;
	readonly #topics: Topics;
	readonly #groups: GroupRows;
	/** Group -> its rows that are pending. */
	readonly #pending = new Map<string, number>();
	#order = 0;

	constructor(log: Log, topics: Topics, rows: GroupRows) {
		this.#log = log;
		this.#groups = rows;
		this.#topics = topics;
		for (const [key, value] of stateRows(log, StateSpace.KAFKA_PENDING_OFFSET, "", undefined)) {
			this.#countPending(splitOffsetKey(key).group, 1);
			this.#order = Math.max(this.#order, decodePending(value).order);
		}
	}

	/** What `commit` and `pending` of these take in a commit, bytes, at most: each pending offset of the group may be overtaken. */
	bytesOf(group: string, entries: readonly OffsetEntry[]): number {
		let bytes = ROW_BYTES;
		for (const { topic, metadata } of entries)
			bytes += ROW_BYTES + 6 * group.length + 3 * topic.length + 3 * metadata.length;
		for (const [key, pending] of this.#pendingRows(groupPrefix(group), group)) bytes += rowBytes(key, pending);
		return bytes;
	}

	/** In the commit being gathered. Throws KAFKA_STORAGE_ERROR. */
	commit(group: string, entries: readonly OffsetEntry[], now: number): void {
		if (entries.length > 0) this.#groups.ensure(group);
		for (const entry of entries) {
			const { topic, partition } = entry;
			this.#log.putState(StateSpace.KAFKA_OFFSET, offsetKey(group, topic, partition), this.#row(entry, now));
			this.#overtake(group, topic, partition, Number.POSITIVE_INFINITY);
		}
	}

	/** The newest, durable or not. */
	fetch(group: string, topic: string, partition: number): CommittedOffset | undefined {
		const value = this.#log.getState(StateSpace.KAFKA_OFFSET, offsetKey(group, topic, partition));
		return value === undefined ? undefined : this.#ofTopic(topic, decodeOffset(value));
	}

	/** Every partition that the group has an offset of, by topic. */
	*all(group: string): Generator<{ topic: string; partition: number; committed: CommittedOffset }> {
		const { from, to } = groupRange(group);
		for (const [key, value] of stateRows(this.#log, StateSpace.KAFKA_OFFSET, from, to)) {
			const { topic, partition } = splitOffsetKey(key);
			const committed = this.#ofTopic(topic, decodeOffset(value));
			if (committed !== undefined) yield { topic, partition, committed };
		}
	}

	/** Returns whether there was one. */
	delete(group: string, topic: string, partition: number): boolean {
		const key = offsetKey(group, topic, partition);
		if (this.#log.getState(StateSpace.KAFKA_OFFSET, key) === undefined) return false;
		this.#log.deleteState(StateSpace.KAFKA_OFFSET, key);
		this.#overtake(group, topic, partition, Number.POSITIVE_INFINITY);
		return true;
	}

	/** Whether any row of the group is there, pending or of a deleted topic too. */
	hasAny(group: string): boolean {
		const { from, to } = groupRange(group);
		return this.#pending.has(group) || this.#log.pageState(StateSpace.KAFKA_OFFSET, from, to, 1).length > 0;
	}

	/** All of the group, pending ones too. Beyond a commit's size in several. */
	deleteAll(group: string): void {
		const { from, to } = groupRange(group);
		for (const [key] of stateRows(this.#log, StateSpace.KAFKA_OFFSET, from, to))
			this.#log.deleteState(StateSpace.KAFKA_OFFSET, key);
		for (const [key] of this.#pendingRows(groupPrefix(group), group)) {
			this.#log.deleteState(StateSpace.KAFKA_PENDING_OFFSET, key);
			this.#countPending(group, -1);
		}
	}

	/**
	 * Deletes those of topics that there are no more, and what `fateOf` says unless an open transaction may still change
	 * it. `now`: milliseconds since 1970. Returns how many it looked at.
	 */
	review(group: string, now: number, fateOf: (topic: string, committed: CommittedOffset) => OffsetFate): number {
		let count = 0;
		const { from, to } = groupRange(group);
		for (const [key, value] of stateRows(this.#log, StateSpace.KAFKA_OFFSET, from, to)) {
			count++;
			const { topic, partition } = splitOffsetKey(key);
			const stored = decodeOffset(value);
			const fate = this.#ofTopic(topic, stored) === undefined ? "delete" : fateOf(topic, stored);
			if (fate === "keep" || (fate === "delete" && this.hasPending(group, topic, partition))) continue;
			if (fate === "delete") this.#log.deleteState(StateSpace.KAFKA_OFFSET, key);
			else this.#log.putState(StateSpace.KAFKA_OFFSET, key, encodeOffset(restamped(stored, now)));
		}
		return count;
	}

	/**
	 * Offsets that take effect when the producer's transaction commits. In the commit being gathered. `now`: milliseconds
	 * since 1970, from when they are kept.
	 */
	pending(
		producerId: number,
		producerEpoch: number,
		group: string,
		entries: readonly OffsetEntry[],
		now = this.#log.services.clock.now(),
	): void {
		if (entries.length > 0) this.#groups.ensure(group);
		for (const entry of entries) {
			const { topic, partition } = entry;
			const key = pendingKey(group, topic, partition, producerId);
			const isNew = this.#log.getState(StateSpace.KAFKA_PENDING_OFFSET, key) === undefined;
			const row = encodePending({
				...this.#stored(entry, now),
				producerId,
				producerEpoch,
				order: ++this.#order,
				overtaken: false,
			});
			this.#log.putState(StateSpace.KAFKA_PENDING_OFFSET, key, row);
			if (isNew) this.#countPending(group, 1);
		}
	}

	/** What `endTransaction` takes in a commit, bytes, at most. */
	pendingBytes(producerId: number, groups: Iterable<string>): number {
		let bytes = 0;
		for (const group of groups)
			for (const [key, pending] of this.#pendingRows(groupPrefix(group), group)) {
				// Its own goes and becomes an offset; each other one may be overtaken.
				bytes += rowBytes(key, pending) * (pending.producerId === producerId ? 2 : 1);
			}
		return bytes;
	}

	/** Makes the producer's pending offsets of these groups the committed ones, or drops them. In the commit being gathered. */
	endTransaction(producerId: number, groups: Iterable<string>, outcome: "commit" | "abort"): void {
		for (const group of groups) {
			for (const [key, pending] of this.#pendingRows(groupPrefix(group), group)) {
				if (pending.producerId !== producerId) continue;
				this.#log.deleteState(StateSpace.KAFKA_PENDING_OFFSET, key);
				this.#countPending(group, -1);
				if (outcome === "abort" || pending.overtaken) continue;
				const { topic, partition } = splitOffsetKey(key);
				if (this.#ofTopic(topic, pending) === undefined) continue;
				this.#log.putState(StateSpace.KAFKA_OFFSET, offsetKey(group, topic, partition), encodeOffset(pending));
				this.#overtake(group, topic, partition, pending.order);
			}
		}
	}

	/** Whether an open transaction may still change the partition's offset. */
	hasPending(group: string, topic: string, partition: number): boolean {
		for (const _ of this.#pendingRows(pendingPrefix(group, topic, partition), group)) return true;
		return false;
	}

	/** Topic and partition of every pending offset of the group. */
	pendingPartitions(group: string): { topic: string; partition: number }[] {
		return this.#pendingRows(groupPrefix(group), group).map(([key]) => splitOffsetKey(key));
	}

	/** Those written before `order` have no effect any more: a newer offset has. */
	#overtake(group: string, topic: string, partition: number, order: number): void {
		for (const [key, pending] of this.#pendingRows(pendingPrefix(group, topic, partition), group)) {
			if (pending.overtaken || pending.order >= order) continue;
			const row = encodePending({ ...pending, overtaken: true });
			this.#log.putState(StateSpace.KAFKA_PENDING_OFFSET, key, row);
		}
	}

	#pendingRows(prefix: string, group: string): [key: string, PendingOffset][] {
		if (!this.#pending.has(group)) return [];
		const rows: [string, PendingOffset][] = [];
		for (const [key, value] of this.#log.scanState(StateSpace.KAFKA_PENDING_OFFSET, prefix))
			rows.push([key, decodePending(value)]);
		return rows;
	}

	#countPending(group: string, change: 1 | -1): void {
		const count = (this.#pending.get(group) ?? 0) + change;
		if (count > 0) this.#pending.set(group, count);
		else this.#pending.delete(group);
	}

	#row(entry: OffsetEntry, now: number): Buffer {
		return encodeOffset(this.#stored(entry, now));
	}

	#stored({ topic, offset, leaderEpoch, metadata, expiresMs }: OffsetEntry, now: number): StoredOffset {
		const topicId = this.#topics.get(topic)?.id ?? NO_TOPIC;
		return { topicId, offset, leaderEpoch, metadata, committedMs: now, expiresMs };
	}

	#ofTopic(topic: string, stored: StoredOffset): CommittedOffset | undefined {
		return this.#topics.get(topic)?.id === stored.topicId ? stored : undefined;
	}
}

function rowBytes(key: string, { metadata }: CommittedOffset): number {
	return ROW_BYTES + 3 * key.length + 3 * metadata.length;
}

function restamped(stored: StoredOffset, now: number): StoredOffset {
	const { committedMs, expiresMs } = stored;
	return {
		...stored,
		committedMs: now,
		expiresMs: expiresMs === undefined ? undefined : expiresMs - committedMs + now,
	};
}

const NO_TOPIC = "00000000-0000-0000-0000-000000000000";

/**
 * One topic of the central cluster on its way here: where each of its partitions is to be read, what becomes of the records that
 * come. Exactly once, because how far a partition is read is written in the commit of the records that it is about.
 *
 * Where nothing was taken, that is written only now and then: what a crash forgets of it is read, and passed over, once more.
 */
import type { Broker } from "../../../src/broker/broker.ts";
import type { DownlinkTopicStatus, UpstreamProblem } from "../../../src/broker/upstream-admin.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import {
	BATCH_HEADER_BYTES,
	BatchError,
	type BatchHeader,
	MAX_DECOMPRESSED_BYTES,
	RecordView,
	readBatchHeader,
} from "../../../src/record/batch.ts";
import { CommittedView, type Fetched } from "../client/committed.ts";
import { LinkError } from "../client/link-error.ts";
import type { Wanted } from "./fetch-session.ts";
import {
	doubted,
	epochAfter,
	loadPosition,
	NO_EPOCH,
	type PositionRow,
	positionBytes,
	putPosition,
} from "./position-row.ts";
import { type Refusal, Slice } from "./slice.ts";
import type { Taken, Target } from "./target.ts";
import { committed, turn } from "./turns.ts";

/** One partition; `next` and `epoch` move on while it is read. */
export interface FeedPartition extends Wanted {
	readonly feed: TopicFeed;
	next: number;
	epoch: number;
	/** Up to where it can be read there, as far as was heard. */
	end: number | undefined;
}

/** After so much work others have their turn. */
const TURN_BYTES = 256 * 1024;
/** So much is read once more after a crash, at most, ... */
const UNSAVED_BYTES_MAX = 256 * 1024;
/** ... or what came in this time. */
const UNSAVED_MS_MAX = 300_000;
const NOTHING: readonly Taken[] = [];

export class TopicFeed {
	readonly name: string;
	readonly targets: readonly Target[];
	/** By number; empty until its place is known. */
	partitions: FeedPartition[] = [];
	#topicId = ZERO_UUID;
	#clusterId: string | undefined;
	#formerId: string | undefined;
	/** What keeps it, or a part of it, from being read. */
	problem: UpstreamProblem | undefined;
	/** When it is tried again, by the monotonic clock; undefined: it is not waiting for that. */
	retryAtMs: number | undefined;
	/** Whether it waits for what the cluster's metadata say of it to change; else for another try. */
	isAsCluster = false;
	/** Whether only some of its partitions wait. */
	isPartial = false;
	/** Since it could be read last. */
	failures = 0;
	readonly #broker: Broker;
	/** What cannot be put right any more, and a person should know. */
	#notice: UpstreamProblem | undefined;
	#unsavedBytes = 0;
	#savedMs: number;

	constructor(broker: Broker, name: string, targets: readonly Target[]) {
		this.#broker = broker;
		this.name = name;
		this.targets = targets;
		this.#savedMs = broker.clock.monotonic();
	}

	/** What was written last, in an earlier run too. */
	load(): PositionRow | undefined {
		return loadPosition(this.#broker.log, this.name);
	}

	/** From now on these are its positions. Durable when it resolves; throws KAFKA_STORAGE_ERROR. */
	async place(row: PositionRow, signal: AbortSignal): Promise<void> {
		// Before anything is asked for, so that what is refused here is refused now.
		for (const target of this.targets) target.topic(row.next.length);
		putPosition(this.#broker.log, this.name, row);
		this.#adopt(row);
		await committed(this.#broker.log, signal);
	}

	/** The topic is not there: all that it will have is to be read, whatever the rules say of what it had before. As `place`. */
	async expect(clusterId: string | undefined, signal: AbortSignal): Promise<void> {
		const row = { clusterId, topicId: ZERO_UUID, formerId: undefined, next: [], epochs: [] };
		putPosition(this.#broker.log, this.name, row);
		await committed(this.#broker.log, signal);
	}

	/** As `place`, for positions that are durable already. Throws what `Topics.create` does. */
	resume(row: PositionRow): void {
		for (const target of this.targets) target.topic(row.next.length);
		this.#adopt(row);
	}

	/** The partition is read on from `next`. Durable when it resolves; throws KAFKA_STORAGE_ERROR. */
	async move(partition: FeedPartition, next: number, signal: AbortSignal): Promise<void> {
		const before = { next: partition.next, epoch: partition.epoch };
		Object.assign(partition, { next, epoch: doubted(partition.epoch) });
		try {
			putPosition(this.#broker.log, this.name, this.row);
		} catch (error) {
			Object.assign(partition, before);
			throw error;
		}
		await committed(this.#broker.log, signal);
	}

	#adopt({ topicId, clusterId, formerId, next, epochs }: PositionRow): void {
		this.#topicId = topicId;
		this.#formerId = formerId;
		this.#clusterId = clusterId;
		this.partitions = next.map((offset, partition) => ({
			feed: this,
			topic: this.name,
			topicId,
			partition,
			next: offset,
			epoch: epochs[partition] ?? NO_EPOCH,
			end: undefined,
		}));
	}

	/** The positions as they are now. */
	get row(): PositionRow {
		return {
			clusterId: this.#clusterId,
			topicId: this.#topicId,
			formerId: this.#formerId,
			next: this.partitions.map(({ next }) => next),
			epochs: this.partitions.map(({ epoch }) => epoch),
		};
	}

	/**
	 * Takes over what was fetched of a partition. Resolves when what it appended is durable; rejects with LinkError where bytes
	 * are damaged, after what lies before them was taken, with BrokerError where nothing can be stored, with the signal's reason: the partition stands then where
	 * it has come to.
	 */
	async take(partition: FeedPartition, fetched: Fetched, signal: AbortSignal): Promise<void> {
		const { records, lastStableOffset } = fetched;
		if (lastStableOffset >= 0) partition.end = lastStableOffset;
		if (records.length === 0) return;
		const batches: { position: number; header: BatchHeader }[] = [];
		let next: number;
		let damage: BatchError | undefined;
		try {
			next = new CommittedView().walk(fetched, partition.next, (_bytes, position, header) =>
				batches.push({ position, header }),
			);
		} catch (error) {
			if (!(error instanceof BatchError)) throw error;
			damage = error;
			// What lies before the damage is sound.
			next = (batches.at(-1)?.header.lastOffset ?? partition.next - 1) + 1;
		}
		const epoch = epochAfter(partition.epoch, lastEpoch(records, next) ?? partition.epoch);
		const slice = new Slice(this.#broker.log);
		let worked = 0;
		for (const { position, header } of batches) {
			worked += await this.#takeBatch(partition, slice, records, position, header, signal);
			if (worked < TURN_BYTES) continue;
			worked = 0;
			if (slice.isEmpty) await turn(this.#broker.clock);
			else await this.#append(partition, slice, header.lastOffset + 1, header.leaderEpoch, signal);
		}
		if (!slice.isEmpty) await this.#append(partition, slice, next, epoch, signal);
		partition.next = next;
		partition.epoch = epoch;
		this.#unsavedBytes += records.length;
		const isOld = this.#broker.clock.monotonic() - this.#savedMs > UNSAVED_MS_MAX;
		if (this.#unsavedBytes > UNSAVED_BYTES_MAX || isOld) this.save();
		if (damage !== undefined) throw damaged(partition, damage.message);
	}

	/** Returns how many bytes were looked at. */
	async #takeBatch(
		partition: FeedPartition,
		slice: Slice,
		bytes: Buffer,
		position: number,
		header: BatchHeader,
		signal: AbortSignal,
	): Promise<number> {
		const count = this.partitions.length;
		let reached = Math.max(partition.next, header.baseOffset);
		const from = reached;
		let view: RecordView;
		try {
			view = new RecordView(bytes, position, header, MAX_DECOMPRESSED_BYTES);
			while (view.next()) {
				if (view.offset < from) continue;
				const taken = this.#taken(view, partition.partition, count);
				// What several rules make of one record is in one commit too: the position is before it, or behind it.
				if (slice.isFullFor(taken)) await this.#append(partition, slice, reached, header.leaderEpoch, signal);
				slice.add(taken);
				reached = view.offset + 1;
			}
		} catch (error) {
			if (!(error instanceof BatchError)) throw error;
			this.#unreadable(partition, reached, header.lastOffset + 1, error);
			return header.sizeBytes;
		}
		return header.codec === "none" ? header.sizeBytes : view.source.length;
	}

	#taken(view: RecordView, number: number, partitions: number): readonly Taken[] {
		let all = NOTHING;
		for (const target of this.targets) {
			const taken = target.take(view, number, partitions);
			if (taken !== undefined) all = all.length === 0 ? [taken] : [...all, taken];
		}
		return all;
	}

	/** With the position behind it, in one commit, which it waits for. */
	async #append(
		partition: FeedPartition,
		slice: Slice,
		next: number,
		epoch: number,
		signal: AbortSignal,
	): Promise<void> {
		const { log } = this.#broker;
		const before = { next: partition.next, epoch: partition.epoch };
		Object.assign(partition, { next, epoch: epochAfter(partition.epoch, epoch) });
		let refusals: ReturnType<Slice["append"]>;
		try {
			refusals = slice.append(positionBytes(this.name, this.partitions.length), () =>
				putPosition(log, this.name, this.row),
			);
		} catch (error) {
			Object.assign(partition, before);
			throw error;
		}
		this.#saved();
		this.#refused(partition, refusals.refused);
		this.#notRetained(refusals.notRetained);
		await committed(log, signal);
	}

	/** Notes how far everything is read, with the commit being gathered. */
	save(): void {
		if (this.#unsavedBytes === 0) return;
		putPosition(this.#broker.log, this.name, this.row);
		this.#saved();
	}

	#saved(): void {
		this.#unsavedBytes = 0;
		this.#savedMs = this.#broker.clock.monotonic();
	}

	/** What the log here does not take. */
	#refused(partition: FeedPartition, refused: readonly Refusal[]): void {
		const first = refused[0];
		if (first === undefined) return;
		for (const { target, offset, reason } of refused) {
			target.counters.refused += 1;
			this.#lost(partition, offset, 1, `topic ${target.rule.to} did not take it: ${reason}`);
		}
		const what = `${refused.length} records of ${this.name}-${partition.partition} were not stored, the first at offset ${first.offset}: ${first.reason}`;
		this.note(what, `Raise max.message.bytes of topic ${first.target.rule.to}, or leave them out with the rule's key.`);
	}

	#notRetained(refused: readonly Refusal[]): void {
		const first = refused[0];
		if (first === undefined) return;
		const what = `${refused.length} records of ${this.name} were stored, but not retained for MQTT: ${first.reason}`;
		this.note(what, "Raise mqtt.max.retained.messages, or remove retained messages that nobody needs.");
	}

	/** A batch whose checksum is right: nobody can make more of it. */
	#unreadable(partition: FeedPartition, from: number, to: number, error: BatchError): void {
		const reason = `a batch that cannot be read: ${error.message}`;
		this.#lost(partition, from, to - from, reason);
		this.note(
			`records ${from} to ${to - 1} of ${this.name}-${partition.partition} were passed over: ${reason}`,
			undefined,
		);
	}

	/** In the ledger; its name there is no topic's here, whose own losses have offsets of their own. */
	#lost({ partition }: FeedPartition, firstOffset: number, count: number, reason: string): void {
		const { catalog, clock, logger } = this.#broker;
		const loss = { timeMs: clock.now(), topic: `central:${this.name}`, partition, firstOffset, count, reason };
		try {
			if (count > 0 && !catalog.hasLoss(loss)) catalog.recordLoss(loss);
		} catch (error) {
			logger.warn("a loss could not be recorded", { error: String(error) });
		}
	}

	/** For people: it cannot be put right any more. */
	note(message: string, action: string | undefined): void {
		this.#notice = { sinceMs: this.#broker.clock.now(), message, action };
		this.#broker.logger.warn("downlink: something was lost", { topic: this.name, what: message });
	}

	/** A part of it was read: all of it can be, unless it waits. */
	recovered(): void {
		if (this.retryAtMs !== undefined) return;
		this.problem = undefined;
		this.failures = 0;
	}

	status(): DownlinkTopicStatus[] {
		const ends = this.partitions.map(({ end, next }) => (end === undefined ? undefined : Math.max(0, end - next)));
		const isKnown = ends.length > 0 && !ends.includes(undefined);
		const lag = isKnown ? ends.reduce<number>((sum, one) => sum + (one ?? 0), 0) : undefined;
		return this.targets.map(({ rule, counters }) => ({
			topic: this.name,
			to: rule.to,
			receivedRecords: counters.received,
			filteredRecords: counters.filtered,
			lag,
			problem: this.problem ?? this.#notice,
		}));
	}
}

/** Of the last whole batch before `next`. */
function lastEpoch(records: Buffer, next: number): number | undefined {
	let epoch: number | undefined;
	for (let at = 0; at + BATCH_HEADER_BYTES <= records.length; ) {
		const { baseOffset, sizeBytes, leaderEpoch } = readBatchHeader(records, at, Number.MAX_SAFE_INTEGER);
		if (baseOffset >= next || at + sizeBytes > records.length) break;
		epoch = leaderEpoch;
		at += sizeBytes;
	}
	return epoch;
}

function damaged({ topic, partition }: Wanted, what: string): LinkError {
	return new LinkError("malformed", `what came of ${topic}-${partition} is damaged: ${what}`, {
		action: "It is fetched again. If it stays so, the central cluster's copy is damaged; see its brokers' logs.",
	});
}

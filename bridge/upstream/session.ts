/**
 * What stands between this gateway and the central cluster: who it is there, which topics it writes to, its producer, and
 * where the progress is kept. One session lasts as long as the program does, however often the link is cut; where it is in
 * doubt what became of its last transaction, it finds out before it sends anything more.
 */
import type { Broker } from "../../src/broker/broker.ts";
import type { DirectoryIdentity } from "../../src/broker/directory-identity.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import type { Cluster } from "./client/cluster.ts";
import { ErrorCode, KafkaError } from "./client/kafka-error.ts";
import { type BatchOutcome, type OutgoingBatch, Producer } from "./client/producer.ts";
import type { LocalRows } from "./local-rows.ts";
import type { UpstreamOptions } from "./options.ts";
import type { Position } from "./position.ts";
import { isHeldBy } from "./progress/hanging.ts";
import { Halt, isAnotherTopic, isKnown, judgeCluster, judgeName, judgeOwner } from "./progress/judge.ts";
import { ownerRecord, type ProgressRecord, type Sent, sentRecord } from "./progress/progress-record.ts";
import { findProgressTopic } from "./progress/progress-topic.ts";
import {
	isCommitted,
	type Progress,
	type ProgressPlace,
	progressPlace,
	type ReadOptions,
	readOwnProgress,
} from "./progress/read-progress.ts";
import type { SealedBatch } from "./shipment/outgoing-batch.ts";
import type { Source, Sources } from "./sources.ts";

const SESSION_BYTES = 8;
/** How many requests one batch may wait for its cluster. */
const DELIVERIES = 4;
/** A progress record has none: a clock that is not set must not make a cluster refuse it. */
const NO_TIME = -1;

/** A batch that the central cluster does not take. */
export interface Rejection {
	readonly batch: SealedBatch;
	readonly error: KafkaError;
	readonly recordErrors: BatchOutcome["recordErrors"];
}

/** A transaction of which it is not known whether it was committed. */
interface Doubt {
	/** Of its progress in the progress topic; -1: not known. */
	readonly offset: number;
	readonly producerId: number;
	readonly committed: () => void;
}

export interface SessionServices {
	readonly broker: Broker;
	readonly cluster: Cluster;
	readonly rows: LocalRows;
	readonly sources: Sources;
	readonly identity: DirectoryIdentity;
	readonly options: UpstreamOptions;
}

export class Session {
	readonly #services: SessionServices;
	readonly #producer: Producer;
	/** Random, of this run of the program. */
	readonly #id: string;
	readonly #isTransactional: boolean;
	/** Whether a producer id is held with which something may be sent. */
	#isReady = false;
	#isOpened = false;
	/** What the progress topic said, as far as this session has not changed it since. */
	#progress: (Progress & { readonly isWhole: boolean }) | undefined;
	#place: ProgressPlace | undefined;
	#progressTopicId = "";
	/** The one that this session has written to: it is in a row some seconds later. */
	#writtenTopicId: string | undefined;
	/** Whether this data directory had written to it before this run. */
	readonly #hadProgress: boolean;
	/** Whether the progress topic names this session as the owner. */
	#isOwner = false;
	#doubt: Doubt | undefined;
	/** Of partitions there: behind the last batch that was sent. */
	readonly #ends = new Map<string, number>();
	/** When the last transaction began, by the monotonic clock. */
	#begunMs = Number.POSITIVE_INFINITY;

	constructor(services: SessionServices) {
		const { broker, cluster, options } = services;
		this.#services = services;
		this.#isTransactional = options.mode === "exactly-once";
		this.#hadProgress = services.rows.session.confirmed !== undefined;
		this.#id = broker.random.bytes(SESSION_BYTES).toString("hex");
		this.#producer = new Producer(cluster, {
			transactionalId: this.#isTransactional ? options.transactionalId : undefined,
			transactionTimeoutMs: options.transactionTimeoutMs,
			requestTimeoutMs: options.requestTimeoutMs,
			deliveryTimeoutMs: options.requestTimeoutMs * DELIVERIES,
			clock: broker.clock,
			random: broker.random,
		});
	}

	/** What the progress topic said when it was read last; undefined in the mode that has none, and before. */
	get progress(): { readonly sent: ReadonlyMap<string, Sent>; readonly isWhole: boolean } | undefined {
		if (this.#progress === undefined) return undefined;
		// A gateway that has only sent without progress so far misses none.
		return { ...this.#progress, isWhole: this.#progress.isWhole && this.#hadProgress };
	}

	/** Whether a copy of this data directory wrote it: what it sent has the offsets of other records here. */
	get isOfCopy(): boolean {
		const { rows, identity } = this.#services;
		const owner = this.#progress?.owner;
		return owner?.identity === identity.id && owner.session !== this.#id && !isKnown(owner, rows.session);
	}

	/** Whether this session may begin a transaction at once. */
	get isReady(): boolean {
		return this.#isReady && this.#doubt === undefined;
	}

	/** Nothing is known any more of the producer, and of what the cluster knows. */
	forget(): void {
		this.#isReady = false;
		this.#isOpened = false;
		this.#progress = undefined;
		this.#producer.forget();
	}

	/** Whether the progress topic names this session as the owner; where there is none, nobody need be. */
	get isOwner(): boolean {
		return this.#isOwner || !this.#isTransactional;
	}

	/**
	 * Gets ready to send: the cluster is the one it was, the name is this gateway's, no transaction of an earlier run is open,
	 * and it is known what became of the last one. `takesOver`: whoever had the name, a person has said that it is this
	 * gateway's. Rejects with Halt, LinkError and KafkaError.
	 */
	async open(takesOver: boolean, signal: AbortSignal): Promise<void> {
		const { cluster, rows, sources, options } = this.#services;
		if (this.isReady && !takesOver) return;
		const isUnheard = this.#isTransactional && (this.#progress === undefined || (this.#doubt?.offset ?? 0) < 0);
		const isFirst = !this.#isOpened || isUnheard || takesOver;
		if (isFirst) {
			this.#isOpened = false;
			await cluster.refresh([], signal);
			if (!takesOver) judgeCluster(cluster.clusterId, rows.session);
			if (!takesOver && this.#isTransactional) judgeName(options.gatewayId, rows.session);
		}
		if (!this.#isTransactional) {
			if (!this.#isReady) await this.#producer.init(signal);
		} else {
			if (isFirst) {
				this.#progress = undefined;
				this.#place = await this.#findPlace(takesOver, signal);
				// A gateway that is not meant to have the name must not even fence the one that has it.
				await this.#read("committed", takesOver, signal);
			}
			this.#isReady = false;
			const before = this.#producer.producerId;
			await this.#producer.init(signal);
			if (isFirst) {
				// All progress there is says what became of the last one: what is known here may be without it.
				if (this.#doubt !== undefined) for (const source of sources.all()) source.isJudged = false;
				// What the run before left open is ended now, one way or the other.
				await this.#read("latest", takesOver, signal);
				this.#doubt = undefined;
			} else {
				await this.#settleDoubt(signal);
				// While the cluster had forgotten the id, or before it was taken back, somebody else could have had it.
				if (before !== this.#producer.producerId) await this.#read("latest", false, signal);
			}
			if (takesOver) {
				this.#isOwner = false;
				this.#ends.clear();
			}
		}
		await this.#noteCluster(takesOver);
		this.#isReady = true;
		this.#isOpened = true;
	}

	/** What this session has written since it read the progress is in `progress` too when it resolves. As `open`, after it. */
	async renew(signal: AbortSignal): Promise<void> {
		if (this.#isTransactional) await this.#read("latest", false, signal);
	}

	/** Finds out what the cluster says, and changes nothing there. As `open`. */
	async look(takesOver: boolean, signal: AbortSignal): Promise<void> {
		if (!this.#isTransactional) return;
		await this.#services.cluster.refresh([], signal);
		this.#isReady = false;
		this.#progress = undefined;
		this.#place = await this.#findPlace(takesOver, signal);
		await this.#read("committed", takesOver, signal);
	}

	/**
	 * Says in the progress topic that this session has the gateway's name, and where partitions go on: durably here first, so
	 * that it knows itself again. As `send`.
	 */
	async claim(moves: ReadonlyMap<Source, Position>, committed: () => void, signal: AbortSignal): Promise<void> {
		const { rows, identity } = this.#services;
		if (!this.#isTransactional) {
			committed();
			return;
		}
		const owner = this.#progress?.owner;
		const confirmed = owner?.identity === identity.id ? owner.session : undefined;
		await rows.changeNow({ confirmed, attempted: this.#id });
		const records = [this.#ownerRecord(), ...this.#sentRecords(moves)];
		const owned = (): void => {
			committed();
			this.#owned();
		};
		await this.#transaction([], records, owned, signal);
	}

	#owned(): void {
		this.#isOwner = true;
		const { rows, options } = this.#services;
		rows.change({ confirmed: this.#id, attempted: undefined, gatewayId: options.gatewayId });
	}

	#ownerRecord(): ProgressRecord {
		const { broker, identity, options } = this.#services;
		const owner = { session: this.#id, identity: identity.id, incarnation: identity.incarnation };
		return ownerRecord(options.gatewayId, owner, {
			writer: `headwater ${options.version}`,
			startedMs: broker.clock.now(),
		});
	}

	async #noteCluster(takesOver: boolean): Promise<void> {
		const { cluster, rows } = this.#services;
		const { clusterId } = cluster;
		if (clusterId === undefined || rows.session.clusterId === clusterId) return;
		if (rows.session.clusterId !== undefined && !takesOver) return;
		await rows.changeNow({ clusterId });
	}

	/** Where the progress is kept; the topic is made where it is missing. */
	async #findPlace(takesOver: boolean, signal: AbortSignal): Promise<ProgressPlace> {
		const { cluster, options, rows } = this.#services;
		const { progressTopic: name, progressPartitions: partitions, gatewayId } = options;
		const topic = await findProgressTopic(cluster, options, signal);
		const before = rows.session.progress;
		const idBefore = this.#writtenTopicId ?? before?.topicId;
		this.#progressTopicId = topic.id;
		if (idBefore !== undefined && isAnotherTopic(idBefore, topic.id) && !takesOver)
			throw new Halt(
				`topic ${name} of the central cluster was deleted and made anew, and with it the progress of gateway ${gatewayId}`,
				"headwater upstream reset --to local goes on where this gateway knows it was; the last seconds before may arrive twice",
			);
		// Partitions that were added since do not move anybody.
		const place = progressPlace(name, Math.min(partitions, topic.leaders.length), gatewayId);
		const isKept = before?.topicId === topic.id && (rows.session.gatewayId ?? gatewayId) === gatewayId;
		return isKept ? { ...place, partition: before.partition } : place;
	}

	/** Reads what is new in the progress topic, and judges whose the name is. */
	async #read(until: ReadOptions["until"], takesOver: boolean, signal: AbortSignal): Promise<void> {
		const { broker, cluster, rows, identity, options } = this.#services;
		const hint = rows.session.progress;
		const before = this.#progress;
		const isWhole = before?.isWhole ?? (takesOver || hint === undefined || hint.topicId !== this.#progressTopicId);
		const from = before?.nextOffset ?? (isWhole ? 0 : (hint?.offset ?? 0));
		const place = this.#place as ProgressPlace;
		let read: Progress;
		try {
			// Who takes over writes it all anew.
			const how = { clock: broker.clock, signal, until, skipsUnreadable: takesOver, stuck: this.#closing(signal) };
			read = await readOwnProgress(cluster, place, from, how);
		} catch (error) {
			if (!(error instanceof RangeError)) throw error;
			throw new Halt(
				`${error.message}: a newer version may have written it`,
				"use that version; or headwater upstream reset --to local goes on where this gateway knows it was",
			);
		}
		const owner = read.owner ?? before?.owner;
		const progress = { ...read, owner, sent: new Map([...(before?.sent ?? []), ...read.sent]), isWhole };
		// From there on is what this gateway wrote last, or something newer of its own, whatever was compacted.
		const isLost = until === "latest" && !isWhole && owner === undefined && progress.sent.size === 0;
		if (!takesOver && isLost)
			throw new Halt(
				`topic ${place.topic} of the central cluster does not have what this gateway wrote there last: it was put back to an earlier state`,
				"headwater upstream reset --to progress sends again what it lost",
			);
		if (!takesOver && !(this.#isOwner && owner?.session === this.#id))
			judgeOwner(progress, { ...identity, gatewayId: options.gatewayId }, rows.session);
		this.#progress = progress;
		// Who takes the name over is told where each partition goes on.
		if (!takesOver) this.#services.sources.learn(progress.sent);
		else if (!this.isOfCopy) this.#services.sources.learnOfOthers(progress.sent);
	}

	/** Whether the last transaction arrived. */
	async #settleDoubt(signal: AbortSignal): Promise<void> {
		const doubt = this.#doubt;
		if (doubt === undefined) return;
		const { broker, cluster } = this.#services;
		const { offset, producerId, committed } = doubt;
		try {
			const how = { clock: broker.clock, signal, stuck: this.#closing(signal) };
			if (await isCommitted(cluster, this.#place as ProgressPlace, offset, producerId, how)) committed();
		} catch (error) {
			// The progress topic is another one, or was cut: what it has is to be read as at the beginning.
			const isGone =
				error instanceof KafkaError && (error.errorClass === "topic" || error.name_ === "OFFSET_OUT_OF_RANGE");
			if (isGone) this.#progress = undefined;
			throw error;
		}
		this.#doubt = undefined;
	}

	/**
	 * What to do where reading the progress stands still: where that is for a transaction of this producer, which the cluster has
	 * ended without saying so there, it is closed as one that was aborted, as is whatever it may have left open elsewhere.
	 */
	#closing(signal: AbortSignal): (offset: number) => Promise<void> {
		const { broker, cluster, sources } = this.#services;
		return async (offset) => {
			const place = this.#place as ProgressPlace;
			if (!(await isHeldBy(cluster, place, offset, this.#producer.producerId, signal))) return;
			broker.logger.warn("the central cluster has left a transaction of this gateway open; it is aborted", { offset });
			const targets = [...new Set([...sources.flows.values()].map(({ to }) => to))];
			await cluster.refresh([place.topic, ...targets], signal);
			const partitions = targets.flatMap((topic) =>
				(cluster.topic(topic)?.leaders ?? []).map((_, partition) => ({ topic, partition })),
			);
			await this.#producer.close([place, ...partitions], signal);
		};
	}

	/** Whether the last transaction may have been ended by the cluster, because it took too long: its producer is fenced then. */
	get isOverdue(): boolean {
		const { broker, options } = this.#services;
		return broker.clock.monotonic() - this.#begunMs >= options.transactionTimeoutMs;
	}

	/**
	 * Whether somebody else has taken the name, after the producer was fenced. Rejects with Halt if so; else the other one has
	 * left it at that.
	 */
	async judgeFence(signal: AbortSignal): Promise<void> {
		this.#isReady = false;
		this.#producer.forget();
		await this.#read("committed", false, signal);
	}

	/**
	 * Sends batches and how far they bring each partition, all or nothing. Resolves with what is rejected: then nothing has been
	 * sent. Rejects with LinkError and KafkaError; then `open` finds out what became of it. `committed` is called once it
	 * is known to have arrived.
	 */
	async send(
		batches: readonly SealedBatch[],
		moves: ReadonlyMap<Source, Position>,
		committed: () => void,
		signal: AbortSignal,
	): Promise<readonly Rejection[]> {
		if (!this.#isTransactional) {
			const outcomes = batches.length === 0 ? [] : await this.#producer.send(batches, signal);
			const rejections = this.#rejectionsOf(batches, outcomes);
			if (rejections.length === 0) committed();
			return rejections;
		}
		return this.#transaction(batches, this.#sentRecords(moves), committed, signal);
	}

	#sentRecords(moves: ReadonlyMap<Source, Position>): ProgressRecord[] {
		return [...moves].map(([source, position]) => this.#sentRecord(source, position));
	}

	#sentRecord({ partition, flow }: Source, position: Position): ProgressRecord {
		const { cluster, identity, options } = this.#services;
		return sentRecord(options.gatewayId, partition.topic, partition.number, {
			position,
			epoch: partition.epochs.at(Math.max(0, position.next - 1)),
			incarnation: identity.incarnation,
			topicId: flow.topic.id,
			to: flow.to,
			toId: cluster.topic(flow.to)?.id ?? "",
		});
	}

	async #transaction(
		batches: readonly SealedBatch[],
		records: readonly ProgressRecord[],
		committed: () => void,
		signal: AbortSignal,
	): Promise<readonly Rejection[]> {
		const { broker, rows } = this.#services;
		const place = this.#place as ProgressPlace;
		const progress = this.#progressBatch(records);
		// Whatever goes wrong from here on, what the producer id stands for is to be found out first.
		this.#isReady = false;
		this.#begunMs = broker.clock.monotonic();
		const outcomes = await this.#producer.send([...batches, progress], signal);
		// Sending may have begun with an epoch, or an id, of its own.
		const { producerId } = this.#producer;
		const last = outcomes.at(-1) as BatchOutcome;
		const rejections = this.#rejectionsOf(batches, outcomes.slice(0, -1));
		const isCut = this.#isCut(progress, last.baseOffset);
		if (rejections.length > 0 || last.error !== undefined || isCut) {
			await this.#producer.abort(signal);
			if (isCut) {
				// Opening the session anew finds out what became of it.
				this.forget();
				throw receded(progress.topic);
			}
			if (last.error !== undefined && rejections.length === 0) {
				// Missing, perhaps: it is to be found again, and to be the one that it was.
				if (last.error.errorClass === "topic") this.#progress = undefined;
				throw last.error;
			}
			// Sequences begin anew with an epoch of its own: what was refused has used some up.
			await this.#producer.init(signal);
			this.#settled();
			return rejections;
		}
		const arrived = (): void => {
			committed();
			this.#writtenTopicId = this.#progressTopicId;
			if (last.baseOffset >= 0)
				rows.noteProgress({ topicId: this.#progressTopicId, partition: place.partition, offset: last.baseOffset });
		};
		this.#doubt = { offset: last.baseOffset, producerId, committed: arrived };
		await this.#producer.commit(signal);
		this.#doubt = undefined;
		this.#settled();
		arrived();
		return [];
	}

	/** The last transaction is ended, and it is known how. */
	#settled(): void {
		this.#isReady = true;
		this.#begunMs = Number.POSITIVE_INFINITY;
	}

	/** Behind a batch that was refused, those of the same partition were not sent: nothing is known of them. */
	#rejectionsOf(batches: readonly SealedBatch[], outcomes: readonly BatchOutcome[]): Rejection[] {
		const rejections: Rejection[] = [];
		const refused = new Set<string>();
		outcomes.forEach(({ error, recordErrors, baseOffset }, i) => {
			const batch = batches[i] as SealedBatch;
			const place = this.#placeOf(batch);
			if (refused.has(place)) return;
			const problem = error ?? (this.#isCut(batch, baseOffset) ? receded(batch.topic) : undefined);
			if (problem === undefined) return;
			refused.add(place);
			rejections.push({ batch, error: problem, recordErrors });
		});
		return rejections;
	}

	/**
	 * Whether a partition takes a batch before where it ended last: it is another one of the same name, which no request tells
	 * that goes by names.
	 */
	#isCut(batch: OutgoingBatch, baseOffset: number): boolean {
		if (baseOffset < 0) return false;
		const place = this.#placeOf(batch);
		const end = this.#ends.get(place) ?? 0;
		if (baseOffset < end) {
			this.#ends.delete(place);
			return true;
		}
		this.#ends.set(place, baseOffset + batch.count);
		return false;
	}

	/** A topic that was made anew, and is known to be, is another one. */
	#placeOf({ topic, partition }: OutgoingBatch): string {
		return `${topic}/${this.#services.cluster.topic(topic)?.id ?? ""}/${partition}`;
	}

	#progressBatch(records: readonly ProgressRecord[]): OutgoingBatch {
		const { topic, partition } = this.#place as ProgressPlace;
		const { codec, level } = this.#services.options;
		const batch = encodeBatch(
			records.map(({ key, value }) => ({ key, value, timestamp: NO_TIME, headers: [] })),
			{ codec: records.length > 1 ? codec : "none", ...(level === undefined ? {} : { level }) },
		);
		return { topic, partition, batch, count: records.length };
	}
}

/** What was sent before is not where it was: the topic was made anew, or lost its end. */
function receded(topic: string): KafkaError {
	const message = `topic ${topic} of the central cluster ends before what was sent there: it was made anew, or has lost records; it is looked at again within a minute`;
	return new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "topic", "Produce", message, undefined);
}

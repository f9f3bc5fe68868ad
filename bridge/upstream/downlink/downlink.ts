/**
 * Topics of the central cluster, appended here exactly once, and so delivered to everybody who reads the topics here. One reader
 * for each broker that leads partitions of them, in a long poll nearly all the time; what goes wrong ends the round of readers,
 * and after a wait another begins with what the cluster says about itself then.
 *
 * Memory: one answer of each reader, all of them together at most FETCH_BYTES but for single batches that are larger.
 */
import { Backoff } from "../../../src/base/backoff.ts";
import { BrokerError } from "../../../src/base/errors.ts";
import type { Broker } from "../../../src/broker/broker.ts";
import type { DownlinkTopicStatus, UpstreamProblem } from "../../../src/broker/upstream-admin.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import { pause } from "../client/attempts.ts";
import type { Cluster } from "../client/cluster.ts";
import { KafkaError, kafkaError } from "../client/kafka-error.ts";
import { LinkError } from "../client/link-error.ts";
import { type FetchAnswer, FetchSession } from "./fetch-session.ts";
import { placeDiverged, placeInRange, placeTopic } from "./place-topic.ts";
import { type Retain, Target } from "./target.ts";
import { type FeedPartition, TopicFeed } from "./topic-feed.ts";

export interface DownlinkOptions {
	readonly broker: Broker;
	/** Makes one of its own, which it closes. */
	readonly cluster: () => Cluster;
	readonly rules: readonly DownlinkRule[];
	readonly gatewayId: string;
	/** Left out: nothing is retained. */
	readonly retain?: Retain;
}

const FETCH_BYTES = 1024 * 1024;
const FETCH_BYTES_MIN = 64 * 1024;
/** Long, because each poll costs; well below what connections may be idle for in mobile networks and in brokers. */
const POLL_MS = 45_000;
/** How often it is asked whether topics have other leaders or more partitions: of what is read, errors tell sooner. */
const METADATA_MS = 300_000;
/** An answer that comes sooner though there is nothing in it is not one that was waited for. */
const SOON_MS = 1000;
const PRESSURE_MS = 100;
/** A topic that cannot be read is tried again after this, then after twice as long, up to METADATA_MS. */
const RETRY_MS = 10_000;
const OFFSET_OUT_OF_RANGE = 1;
const LEADER_NOT_AVAILABLE = 5;

export class Downlink {
	readonly #options: DownlinkOptions;
	readonly #feeds: readonly TopicFeed[];
	readonly #backoff: Backoff;
	/** By node. */
	readonly #sessions = new Map<number, FetchSession>();
	#cluster: Cluster | undefined;
	/** Long polls under way. */
	#polls = 0;
	/** Of clusters that were closed. */
	readonly #wireBytes = { sent: 0, received: 0 };
	/** What keeps all of it from going on. */
	#problem: UpstreamProblem | undefined;

	constructor(options: DownlinkOptions) {
		const { broker, rules, gatewayId, retain } = options;
		this.#options = options;
		this.#backoff = new Backoff(broker.random);
		const targets = Map.groupBy(rules, ({ topic }) => topic);
		this.#feeds = [...targets].map(([topic, its]) => {
			const all = its.map((rule) => new Target(broker, rule, gatewayId, retain));
			return new TopicFeed(broker, topic, all);
		});
	}

	/** At the socket, both ways. */
	get wireBytes(): { readonly sent: number; readonly received: number } {
		const { sent, received } = this.#wireBytes;
		return {
			sent: sent + (this.#cluster?.sentBytes ?? 0),
			received: received + (this.#cluster?.receivedBytes ?? 0),
		};
	}

	/** One for each rule. */
	status(): DownlinkTopicStatus[] {
		const all = this.#feeds.flatMap((feed) => feed.status());
		const problem = this.#problem;
		return problem === undefined ? all : all.map((one) => ({ ...one, problem }));
	}

	/** Until the signal is aborted, or storage has failed: rejects with the reason. To be called once. */
	async run(signal: AbortSignal): Promise<never> {
		const { broker, cluster: open } = this.#options;
		try {
			for (;;) {
				this.#cluster ??= open();
				try {
					await this.#round(this.#cluster, signal);
				} catch (error) {
					signal.throwIfAborted();
					if (broker.log.failed !== undefined) throw broker.log.failed;
					const isRefused = this.#failed(error as Error);
					await pause(broker.clock, this.#backoff.next(isRefused), signal);
				}
			}
		} finally {
			this.#close();
			this.#save();
		}
	}

	/** Reads everything that can be read, until something has changed. Rejects with what keeps it from going on. */
	async #round(cluster: Cluster, signal: AbortSignal): Promise<void> {
		await cluster.refresh(this.#names, signal);
		const plan = this.#plan(cluster);
		for (const feed of this.#feeds) await this.#place(cluster, feed, signal);
		const byNode = Map.groupBy(this.#readable(), ({ topic, partition }) => {
			return cluster.topic(topic)?.leaders[partition] ?? -1;
		});
		const leaderless = byNode.get(-1) ?? [];
		byNode.delete(-1);
		for (const feed of new Set(leaderless.map((one) => one.feed))) {
			this.#delay(feed, kafkaError(LEADER_NOT_AVAILABLE, "Metadata", { topic: feed.name, lasting: true }));
			feed.isPartial = true;
		}
		if (byNode.size === 0) this.#problem = undefined;
		const end = new AbortController();
		const until = AbortSignal.any([signal, end.signal]);
		const maxBytes = Math.max(FETCH_BYTES_MIN, Math.floor(FETCH_BYTES / Math.max(1, byNode.size)));
		const parts = [...byNode].map(([node, partitions]) => this.#read(cluster, node, partitions, maxBytes, until));
		parts.push(this.#watch(cluster, plan, until));
		try {
			await Promise.race(parts);
		} finally {
			// A broker answers the requests of a connection one by one: behind a poll that nobody wants, others would wait for long.
			if (this.#polls > 0) this.#close();
			end.abort();
			await Promise.allSettled(parts);
		}
	}

	#close(): void {
		const { sent, received } = this.wireBytes;
		Object.assign(this.#wireBytes, { sent, received });
		this.#cluster?.close();
		this.#cluster = undefined;
	}

	get #names(): string[] {
		return this.#feeds.map(({ name }) => name);
	}

	/** Puts the topic in its place; what is wrong with it alone keeps no other from being read. */
	async #place(cluster: Cluster, feed: TopicFeed, signal: AbortSignal): Promise<void> {
		if (this.#isDelayed(feed) && !feed.isPartial) return;
		feed.retryAtMs = undefined;
		try {
			await placeTopic(cluster, feed, signal);
		} catch (error) {
			if (!isOfTopic(error)) throw error;
			this.#delay(feed, error as Error);
		}
	}

	#readable(): FeedPartition[] {
		return this.#feeds.filter((feed) => !this.#isDelayed(feed)).flatMap(({ partitions }) => partitions);
	}

	#isDelayed({ retryAtMs }: TopicFeed): boolean {
		return retryAtMs !== undefined && retryAtMs > this.#options.broker.clock.monotonic();
	}

	#delay(feed: TopicFeed, error: Error): void {
		const { clock, logger } = this.#options.broker;
		this.#putOff(feed);
		feed.isAsCluster = error instanceof KafkaError && error.api === "Metadata";
		feed.isPartial = false;
		if (feed.problem?.message !== error.message)
			logger.warn("downlink: a topic of the central cluster cannot be read, or a part of it", {
				topic: feed.name,
				error: error.message,
			});
		feed.problem = problemOf(error, feed.problem, clock.now());
	}

	#putOff(feed: TopicFeed): void {
		const delayMs = Math.min(METADATA_MS, RETRY_MS * 2 ** Math.min(feed.failures, 10));
		feed.failures += 1;
		feed.retryAtMs = this.#options.broker.clock.monotonic() + delayMs;
	}

	/** Resolves when the cluster is another than `plan` says, or a topic is due to be tried again. */
	async #watch(cluster: Cluster, plan: string, signal: AbortSignal): Promise<void> {
		const { clock } = this.#options.broker;
		for (;;) {
			const waits = this.#feeds.map(({ retryAtMs = Number.POSITIVE_INFINITY }) => retryAtMs - clock.monotonic());
			await pause(clock, Math.max(0, Math.min(METADATA_MS, ...waits)), signal);
			await cluster.refresh(this.#names, signal);
			if (this.#plan(cluster) !== plan) return;
			const due = this.#feeds.filter((feed) => feed.retryAtMs !== undefined && !this.#isDelayed(feed));
			if (due.some(({ isAsCluster }) => !isAsCluster)) return;
			// Nothing is to be gained by another round: the cluster says of them what it said before.
			for (const feed of due) this.#putOff(feed);
		}
	}

	/** What a round is laid out by. */
	#plan(cluster: Cluster): string {
		const told = this.#names.map((name) => {
			const { id, errorCode, leaders } = cluster.topic(name) ?? {};
			return { name, id, errorCode, leaders };
		});
		return JSON.stringify(told);
	}

	async #read(
		cluster: Cluster,
		node: number,
		partitions: readonly FeedPartition[],
		maxBytes: number,
		signal: AbortSignal,
	): Promise<void> {
		const { clock, pressure } = this.#options.broker;
		const session = this.#session(node);
		let wanted = partitions;
		// The first answer comes at once: it says how far behind this is.
		for (let maxWaitMs = 0; ; maxWaitMs = POLL_MS) {
			while (pressure.over) await pause(clock, PRESSURE_MS, signal);
			const beganMs = clock.monotonic();
			this.#polls += 1;
			let answers: FetchAnswer<FeedPartition>[];
			try {
				answers = await session.fetch(cluster, wanted, { maxWaitMs, maxBytes, signal });
			} finally {
				this.#polls -= 1;
			}
			this.#backoff.reset();
			this.#problem = undefined;
			const bytes = answers.reduce((sum, { fetched }) => sum + fetched.records.length, 0);
			pressure.add(bytes);
			let moved: ReadonlySet<FeedPartition>;
			try {
				moved = await this.#take(cluster, answers, signal);
			} finally {
				pressure.subtract(bytes);
			}
			// Who had something comes last the next time.
			wanted = [...wanted.filter((one) => !moved.has(one)), ...moved];
			if (moved.size === 0 && maxWaitMs > 0 && clock.monotonic() - beganMs < SOON_MS)
				await pause(clock, SOON_MS, signal);
		}
	}

	#session(node: number): FetchSession {
		let session = this.#sessions.get(node);
		if (session === undefined) {
			session = new FetchSession(node);
			this.#sessions.set(node, session);
		}
		session.restart();
		return session;
	}

	/** Returns those that have moved. */
	async #take(
		cluster: Cluster,
		answers: readonly FetchAnswer<FeedPartition>[],
		signal: AbortSignal,
	): Promise<ReadonlySet<FeedPartition>> {
		const moved = new Set<FeedPartition>();
		for (const answer of answers) {
			const { feed, next, epoch } = answer.wanted;
			try {
				await this.#takeOne(cluster, answer, signal);
			} catch (error) {
				if (isOfTopic(error)) this.#delay(feed, error as Error);
				throw error;
			}
			feed.recovered();
			if (answer.wanted.next !== next || answer.wanted.epoch !== epoch) moved.add(answer.wanted);
		}
		return moved;
	}

	async #takeOne(
		cluster: Cluster,
		{ wanted, errorCode, divergedAt, fetched }: FetchAnswer<FeedPartition>,
		signal: AbortSignal,
	): Promise<void> {
		if (errorCode === OFFSET_OUT_OF_RANGE) await placeInRange(cluster, wanted, signal);
		else if (errorCode !== 0) throw kafkaError(errorCode, "Fetch", { topic: wanted.topic });
		else if (divergedAt !== undefined) await placeDiverged(wanted, divergedAt, signal);
		else await wanted.feed.take(wanted, fetched, signal);
	}

	/** Returns whether it is of a kind that does not pass by itself. */
	#failed(error: Error): boolean {
		const { clock, logger } = this.#options.broker;
		if (isOfTopic(error)) return false;
		if (this.#problem?.message !== error.message)
			logger.warn("downlink: the central cluster's topics cannot be read", { error: error.message });
		this.#problem = problemOf(error, this.#problem, clock.now());
		return (
			(error instanceof LinkError && error.lasting) || (error instanceof KafkaError && error.errorClass === "fatal")
		);
	}

	/** What was passed over since it was noted last need not be read once more. */
	#save(): void {
		const { logger, log } = this.#options.broker;
		if (log.refusal !== undefined) return;
		try {
			for (const feed of this.#feeds) feed.save();
		} catch (error) {
			logger.debug("downlink: positions were not noted", { error: String(error) });
		}
	}
}

/** Whether it keeps one topic from being read, and no other. */
function isOfTopic(error: unknown): boolean {
	if (error instanceof BrokerError) return error.code !== "KAFKA_STORAGE_ERROR";
	return error instanceof KafkaError && error.errorClass === "topic";
}

function problemOf(error: Error, before: UpstreamProblem | undefined, nowMs: number): UpstreamProblem {
	const action = error instanceof LinkError || error instanceof KafkaError ? error.action : undefined;
	return { sinceMs: before?.sinceMs ?? nowMs, message: error.message, action };
}

/** The topics of the central cluster that local ones go to: found, made where they are missing, and known again when they are other ones. */
import type { Broker } from "../../src/broker/broker.ts";
import { ensureTopic, topicConfigs } from "./client/admin.ts";
import type { Cluster } from "./client/cluster.ts";
import { KafkaError } from "./client/kafka-error.ts";
import type { LocalRows, PositionRow } from "./local-rows.ts";
import type { UpstreamOptions } from "./options.ts";
import { Halt, judgePosition } from "./progress/judge.ts";
import { sentKey } from "./progress/progress-record.ts";
import type { Session } from "./session.ts";
import type { Target } from "./shipment/target.ts";
import type { Flow, Source, Sources } from "./sources.ts";
import { flowsOf } from "./work.ts";

/** Metadata of topics is asked for again after so long, when there is something to send. */
const METADATA_MS = 300_000;
/** A topic that cannot be written to is tried again after so long. */
const RETRY_MS = 60_000;

export interface DestinationsServices {
	readonly broker: Broker;
	readonly cluster: Cluster;
	readonly session: Session;
	readonly sources: Sources;
	readonly rows: LocalRows;
	readonly options: UpstreamOptions;
}

/** What the central cluster says about a topic, as far as it lets this gateway ask; undefined where it does not. */
interface Limits {
	readonly retentionMs: number | undefined;
}

export class Destinations {
	readonly #services: DestinationsServices;
	/** Those that are known to be there, by their name there. */
	readonly #limits = new Map<string, Limits>();
	/** When their metadata was asked for, by the monotonic clock. */
	readonly #askedMs = new Map<string, number>();

	constructor(services: DestinationsServices) {
		this.#services = services;
	}

	/**
	 * Of `sources`, those that can be sent now: their topic is there, and it is known where they go on. Of the others their flow
	 * has the problem. Rejects with LinkError and KafkaError where that is not one topic's alone.
	 */
	async prepare(sources: readonly Source[], signal: AbortSignal): Promise<Source[]> {
		const flows = flowsOf(sources);
		await this.find(flows, signal);
		for (const flow of flows) if (flow.problem === undefined) this.#judge(flow);
		return sources.filter(({ flow, isGone }) => flow.problem === undefined && !isGone);
	}

	/** Sees to it that the topics are there. As `prepare`. */
	async find(flows: ReadonlySet<Flow>, signal: AbortSignal): Promise<void> {
		const { broker, cluster } = this.#services;
		const nowMs = broker.clock.monotonic();
		for (const flow of flows)
			if (flow.problem?.retryAtMs !== undefined && flow.problem.retryAtMs <= nowMs) flow.problem = undefined;
		// Those that have nothing to send cost nothing.
		const old = [...flows].filter(
			({ to }) => nowMs - (this.#askedMs.get(to) ?? Number.NEGATIVE_INFINITY) > METADATA_MS,
		);
		if (old.length > 0) {
			await cluster.refresh([...new Set(old.map(({ to }) => to))], signal);
			for (const { to } of old) this.#askedMs.set(to, nowMs);
		}
		// Brokers that were asked while something was sent may not have known of it.
		const missing = [...flows].filter(
			({ to, problem }) => problem === undefined && !(this.#limits.has(to) && this.#isThere(to)),
		);
		for (const flow of missing) await this.#findOne(flow, signal);
		if (missing.length > 0) await this.#learnLimits(missing, signal);
	}

	async #findOne(flow: Flow, signal: AbortSignal): Promise<void> {
		const { cluster, options } = this.#services;
		const partitions = options.partitions === -1 ? flow.topic.partitions.length : options.partitions;
		const { replicationFactor, createTopics: create } = options;
		try {
			await ensureTopic(cluster, flow.to, { partitions, replicationFactor, configs: {}, create, signal });
		} catch (error) {
			if (!(error instanceof KafkaError) || error.errorClass !== "topic") throw error;
			this.refused(flow, error);
		}
	}

	async #learnLimits(flows: readonly Flow[], signal: AbortSignal): Promise<void> {
		const found = flows.filter(({ problem }) => problem === undefined);
		if (found.length === 0) return;
		const configs = await topicConfigs(this.#services.cluster, [...new Set(found.map(({ to }) => to))], signal);
		for (const flow of found) {
			const its = configs.get(flow.to);
			const number = (key: string): number | undefined => {
				const value = its === undefined || its instanceof KafkaError ? undefined : its.get(key);
				return value === undefined || Number.isNaN(Number(value)) ? undefined : Number(value);
			};
			this.#limits.set(flow.to, { retentionMs: number("retention.ms") });
			// A batch that is no larger before compression is none too large for the topic.
			flow.batchBytesMax = Math.min(flow.batchBytesMax, number("max.message.bytes") ?? Number.POSITIVE_INFINITY);
		}
	}

	#isThere(name: string): boolean {
		const topic = this.#services.cluster.topic(name);
		return topic !== undefined && topic.errorCode === 0 && topic.leaders.length > 0;
	}

	/** A topic cannot be written to now. */
	refused(flow: Flow, error: KafkaError): void {
		const { clock, logger } = this.#services.broker;
		this.#limits.delete(flow.to);
		this.#askedMs.delete(flow.to);
		if (flow.problem?.message !== error.message)
			logger.warn("a topic cannot be sent upstream", { topic: flow.topic.name, to: flow.to, error: error.message });
		flow.problem = {
			sinceMs: clock.now(),
			message: error.message,
			action: error.action,
			retryAtMs: clock.monotonic() + RETRY_MS,
		};
	}

	/** Where its partitions go on, where that is not known yet; and whether its topic is still the one it was. */
	#judge(flow: Flow): void {
		const { session, rows, broker } = this.#services;
		const target = { name: flow.to, id: this.sentTo(flow).toId };
		const { sent, isWhole } = session.progress ?? { sent: new Map(), isWhole: false };
		try {
			for (const source of flow.sources) {
				const { partition } = source;
				const known = source.isJudged
					? { sent: undefined, row: { position: source.position, sent: source.sent }, isWhole: false }
					: {
							sent: sent.get(sentKey(partition.topic, partition.number)),
							row: rows.position(flow.topic.id, partition.number),
							isWhole,
						};
				const position = judgePosition(partition, flow.topic.id, known, target);
				if (!source.isJudged && position !== undefined) source.position = position;
				source.isJudged = true;
				this.#services.sources.trim(source);
			}
		} catch (error) {
			if (!(error instanceof Halt)) throw error;
			broker.logger.error("a topic is not sent upstream until a person decides", {
				...{ topic: flow.topic.name, to: flow.to, why: error.message, action: error.action },
			});
			flow.problem = {
				...{ sinceMs: broker.clock.now(), message: error.message, action: error.action, retryAtMs: undefined },
			};
		}
	}

	targetOf(flow: Flow): Target {
		const topic = this.#services.cluster.topic(flow.to);
		return { topic: flow.to, partitions: topic?.leaders.length ?? 1, partitioner: flow.rule.partitioner };
	}

	sentTo(flow: Flow): NonNullable<PositionRow["sent"]> {
		return { to: flow.to, toId: this.#services.cluster.topic(flow.to)?.id ?? "" };
	}

	limitsOf(flow: Flow): Limits | undefined {
		return this.#limits.get(flow.to);
	}
}

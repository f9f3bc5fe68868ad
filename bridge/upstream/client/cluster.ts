/**
 * The central cluster as one thing: which brokers there are, who leads and coordinates what, which connection a request takes.
 * It asks when somebody has to know, never by itself: an idle link costs nothing. Whether a request that failed is made
 * again is the caller's to decide; here that happens only where it certainly was not sent.
 */
import type { Clock } from "../../../src/base/clock.ts";
import type { Logger } from "../../../src/base/logger.ts";
import type { Random } from "../../../src/base/random.ts";
import type { Address } from "../../../src/config/definition.ts";
import type { Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { type Api, apiName, FIND_COORDINATOR, METADATA } from "./apis.ts";
import type { Answer } from "./connection.ts";
import { Endpoint, type EndpointServices, type SendOptions, unlessAborted } from "./endpoint.ts";
import { ErrorCode, kafkaError } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";
import { place } from "./link-faults.ts";
import type { SaslOptions } from "./sasl.ts";
import { type MetadataAnswer, type TopicMetadata, Topics } from "./topics.ts";
import type { Dial } from "./transport.ts";

export type { TopicMetadata } from "./topics.ts";

export interface ClusterOptions {
	readonly bootstrap: readonly Address[];
	readonly clientId: string;
	/** Of this program, told to the brokers; letters, digits, `.` and `-`. */
	readonly softwareVersion?: string;
	readonly dial: Dial;
	readonly sasl: SaslOptions | undefined;
	readonly clock: Clock;
	readonly random: Random;
	readonly logger: Logger;
	readonly requestTimeoutMs: number;
	readonly connectTimeoutMs: number;
	/** What is known of a topic is asked for anew before it is used, when it is older than this. */
	readonly metadataMaxAgeMs: number;
}

export interface RequestOptions {
	/** From when it is written: a connection, a login and the pause that a broker asks for (60 s at most) come before. Left out: the cluster's. */
	readonly timeoutMs?: number;
	/** No higher version than this. */
	readonly atMost?: number;
	readonly signal?: AbortSignal;
	/** Requests of one lane share a connection to a broker: a long poll has its own, so that others need not wait for it. */
	readonly lane?: string;
}

export type CoordinatorKind = "transaction" | "group";

/** Before it, a question for a topic creates it. */
const METADATA_AT_LEAST = 4;
/** Before it, only groups have coordinators. */
const FIND_COORDINATOR_AT_LEAST = 1;
const REBOOTSTRAP_REQUIRED = 129;
/** Of reasons in one message. */
const REASONS_MAX = 3;

export class Cluster {
	/** For those who wait and ask again: its clock, its patience. */
	readonly options: ClusterOptions;
	readonly #services: EndpointServices;
	readonly #lifetime = new AbortController();
	/** By `host:port`: whom Metadata gives the address of a bootstrap server needs no second connection. */
	readonly #endpoints = new Map<string, Endpoint>();
	/** By node. */
	#nodes = new Map<number, Endpoint>();
	readonly #topics = new Topics();
	readonly #refreshing = new Map<string, Promise<void>>();
	/** Node by kind and key. */
	readonly #coordinators = new Map<string, number>();
	readonly #finding = new Map<string, Promise<number>>();
	#clusterId: string | undefined;
	/** Of endpoints that are no more. */
	#sentBytes = 0;
	#receivedBytes = 0;

	constructor(options: ClusterOptions) {
		const { softwareVersion = "unknown" } = options;
		this.options = options;
		this.#services = { ...options, softwareVersion, lifetime: this.#lifetime.signal };
	}

	/** undefined: not known yet, or it has none. */
	get clusterId(): string | undefined {
		return this.#clusterId;
	}

	/** Of all connections ever, on the wire. */
	get sentBytes(): number {
		let sum = this.#sentBytes;
		for (const endpoint of this.#endpoints.values()) sum += endpoint.sentBytes;
		return sum;
	}

	get receivedBytes(): number {
		let sum = this.#receivedBytes;
		for (const endpoint of this.#endpoints.values()) sum += endpoint.receivedBytes;
		return sum;
	}

	/** As it was told last; undefined: nobody asked. */
	topic(name: string): TopicMetadata | undefined {
		return this.#topics.get(name);
	}

	/** Asks for the brokers and for exactly these topics; none of them is created by it. Rejects with LinkError, KafkaError; with the signal's reason. */
	async refresh(topics: readonly string[], signal: AbortSignal): Promise<void> {
		await this.#refresh(topics, signal);
	}

	/** Rejects with KafkaError where no leader is known: LEADER_NOT_AVAILABLE, or what Metadata said of the topic. */
	async toLeader<Q extends Fields, S extends Fields>(
		topic: string,
		partition: number,
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: RequestOptions = {},
	): Promise<Answer<S>> {
		await unsent(this.#renew(topic, options.signal));
		const endpoint = this.#leader(topic, partition, apiName(api));
		try {
			return await endpoint.send(api, value, this.#sendOptions(options));
		} catch (error) {
			if (error instanceof LinkError) this.#topics.doubt(topic);
			throw error;
		}
	}

	async toNode<Q extends Fields, S extends Fields>(
		nodeId: number,
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: RequestOptions = {},
	): Promise<Answer<S>> {
		const endpoint = this.#nodes.get(nodeId);
		if (endpoint === undefined)
			throw new LinkError("unreachable", `the central cluster has no broker ${nodeId}, as far as is known`);
		return await endpoint.send(api, value, this.#sendOptions(options));
	}

	/** To a broker that answers: one after the other is tried, but none after one that may have got the request. */
	async toAny<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: RequestOptions = {},
	): Promise<Answer<S>> {
		return await this.#toAny(api, value, this.#sendOptions(options), false);
	}

	/** Finds it where it is not known. Rejects with KafkaError where the cluster names none. */
	async toCoordinator<Q extends Fields, S extends Fields>(
		kind: CoordinatorKind,
		key: string,
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: RequestOptions = {},
	): Promise<Answer<S>> {
		const nodeId = await unsent(this.#coordinator(kind, key, options.signal));
		try {
			return await this.toNode(nodeId, api, value, options);
		} catch (error) {
			// Another one may have taken over.
			if (error instanceof LinkError) this.forgetCoordinator(kind, key);
			throw error;
		}
	}

	forgetCoordinator(kind: CoordinatorKind, key: string): void {
		this.#coordinators.delete(coordinatorName(kind, key));
	}

	forgetLeaders(topic: string): void {
		this.#topics.forgetLeaders(topic);
	}

	/** At once: what is under way rejects with LinkError. It is of no use afterwards. */
	close(): void {
		this.#lifetime.abort(new LinkError("lost", "the client of the central cluster was closed"));
		for (const endpoint of this.#endpoints.values()) endpoint.close();
	}

	#sendOptions({ timeoutMs = this.options.requestTimeoutMs, ...others }: RequestOptions): SendOptions {
		return { timeoutMs, ...others };
	}

	#leader(topic: string, partition: number, api: string): Endpoint {
		const known = this.#topics.get(topic);
		const endpoint = this.#nodes.get(known?.leaders[partition] ?? -1);
		if (endpoint !== undefined) return endpoint;
		throw kafkaError(known?.errorCode || ErrorCode.LEADER_NOT_AVAILABLE, api, { topic });
	}

	/** Asks again for a topic that was asked for, where that is long ago or in doubt, and for all like it at once. */
	async #renew(topic: string, signal: AbortSignal | undefined): Promise<void> {
		const { clock, metadataMaxAgeMs } = this.options;
		const old = this.#topics.olderThan(clock.monotonic() - metadataMaxAgeMs);
		if (old.includes(topic)) await this.#refresh(old, signal);
	}

	async #refresh(topics: readonly string[], signal: AbortSignal | undefined): Promise<void> {
		signal?.throwIfAborted();
		const names = [...new Set(topics)].sort();
		const key = names.join(",");
		let running = this.#refreshing.get(key);
		if (running === undefined) {
			running = this.#askMetadata(names).finally(() => this.#refreshing.delete(key));
			this.#refreshing.set(key, running);
		}
		await unlessAborted(running, signal);
	}

	async #askMetadata(names: readonly string[]): Promise<void> {
		const { requestTimeoutMs: timeoutMs, clock } = this.options;
		const question = { topics: names.map((name) => ({ name })), allowAutoTopicCreation: false };
		for (let isFirst = true; ; isFirst = false) {
			const { body } = await this.#toAny(METADATA, question, { timeoutMs, atLeast: METADATA_AT_LEAST }, true);
			if (body.errorCode === REBOOTSTRAP_REQUIRED && isFirst) {
				// KIP-1102: what is known of the cluster leads nowhere any more.
				this.#takeNodes(new Map());
				continue;
			}
			if (body.errorCode !== 0) throw kafkaError(body.errorCode, apiName(METADATA));
			this.#takeBrokers(body.brokers);
			this.#clusterId = body.clusterId ?? this.#clusterId;
			this.#topics.take(names, body.topics, clock.monotonic());
			return;
		}
	}

	#takeBrokers(brokers: MetadataAnswer["brokers"]): void {
		// A broker that has just begun may know of none.
		if (brokers.length === 0) return;
		const nodes = new Map<number, Endpoint>();
		for (const { nodeId, host, port } of brokers)
			nodes.set(nodeId, this.#at(checked(nodeId, { host, port }, METADATA)));
		this.#takeNodes(nodes);
	}

	#takeNodes(nodes: Map<number, Endpoint>): void {
		this.#nodes = nodes;
		const wanted = new Set([...nodes.values(), ...this.#seeds()]);
		for (const [name, endpoint] of this.#endpoints) {
			// What is under way there may end; the next answer looks again.
			if (wanted.has(endpoint) || endpoint.inFlight > 0) continue;
			endpoint.close();
			this.#sentBytes += endpoint.sentBytes;
			this.#receivedBytes += endpoint.receivedBytes;
			this.#endpoints.delete(name);
		}
	}

	#at(address: Address): Endpoint {
		const name = place(address).toLowerCase();
		let endpoint = this.#endpoints.get(name);
		if (endpoint === undefined) {
			endpoint = new Endpoint(address, this.#services);
			this.#endpoints.set(name, endpoint);
		}
		return endpoint;
	}

	#seeds(): Endpoint[] {
		return this.options.bootstrap.map((address) => this.#at(address));
	}

	async #toAny<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: SendOptions,
		repeats: boolean,
	): Promise<Answer<S>> {
		const errors: LinkError[] = [];
		for (const endpoint of this.#candidates(options.lane)) {
			// All that are left rest: who asks now has paused.
			endpoint.wake();
			try {
				return await endpoint.send(api, value, options);
			} catch (error) {
				if (!(error instanceof LinkError) || this.#lifetime.signal.aborted) throw error;
				if (error.maybeSent && !repeats) throw error;
				// The same everywhere, and a wrong password too often locks a user out.
				if (error.failure === "login" || error.failure === "unsupported") throw error;
				errors.push(error);
			}
		}
		this.#lifetime.signal.throwIfAborted();
		throw together(errors);
	}

	/** Who is connected, then whom Metadata named, then the bootstrap servers; last, and sooner first, who refused a moment ago. */
	#candidates(lane: string | undefined): Iterable<Endpoint> {
		const nodes = this.#shuffled([...this.#nodes.values()]);
		const all = [...new Set([...nodes, ...this.#shuffled(this.#seeds())])];
		const rank = (endpoint: Endpoint): number => (endpoint.isOpen(lane) ? -1 : endpoint.restMs);
		return all
			.map((endpoint) => ({ endpoint, rank: rank(endpoint) }))
			.sort((a, b) => a.rank - b.rank)
			.map((one) => one.endpoint);
	}

	#shuffled<T>(items: T[]): T[] {
		for (let i = items.length - 1; i > 0; i--) {
			const j = this.options.random.u32() % (i + 1);
			[items[i], items[j]] = [items[j] as T, items[i] as T];
		}
		return items;
	}

	async #coordinator(kind: CoordinatorKind, key: string, signal: AbortSignal | undefined): Promise<number> {
		signal?.throwIfAborted();
		const name = coordinatorName(kind, key);
		const known = this.#coordinators.get(name);
		if (known !== undefined && this.#nodes.has(known)) return known;
		let finding = this.#finding.get(name);
		if (finding === undefined) {
			finding = this.#find(kind, key).finally(() => this.#finding.delete(name));
			this.#finding.set(name, finding);
		}
		return await unlessAborted(finding, signal);
	}

	async #find(kind: CoordinatorKind, key: string): Promise<number> {
		const { requestTimeoutMs: timeoutMs } = this.options;
		const { version, body } = await this.#toAny(
			FIND_COORDINATOR,
			{ key, keyType: kind === "transaction" ? 1 : 0, coordinatorKeys: [key] },
			{ timeoutMs, atLeast: FIND_COORDINATOR_AT_LEAST },
			true,
		);
		const api = apiName(FIND_COORDINATOR);
		const found = version < 4 ? body : body.coordinators.find((one) => one.key === key);
		if (found === undefined)
			throw new LinkError("malformed", `the answer to ${api} does not say who coordinates ${key}`);
		const { errorCode, errorMessage: message, nodeId, host, port } = found;
		if (errorCode !== 0)
			throw kafkaError(errorCode, api, { message, ...(kind === "transaction" && { transactionalId: key }) });
		this.#nodes.set(nodeId, this.#at(checked(nodeId, { host, port }, FIND_COORDINATOR)));
		this.#coordinators.set(coordinatorName(kind, key), nodeId);
		return nodeId;
	}
}

/** What has to be known before a request: where that fails, the request itself was not sent. */
async function unsent<T>(preparation: Promise<T>): Promise<T> {
	try {
		return await preparation;
	} catch (error) {
		throw error instanceof LinkError ? error.with({ maybeSent: false }) : error;
	}
}

function coordinatorName(kind: CoordinatorKind, key: string): string {
	return `${kind}:${key}`;
}

function checked(nodeId: number, address: Address, api: Api<Fields, Fields>): Address {
	const { host, port } = address;
	if (nodeId >= 0 && host !== "" && port > 0 && port <= 65_535) return address;
	throw new LinkError(
		"malformed",
		`the answer to ${apiName(api)} names broker ${nodeId} at ${JSON.stringify(host)}, port ${port}`,
		{ action: "correct the broker's advertised.listeners" },
	);
}

/** One error for all, in the same words each time. What lasts is told first: that is what somebody can do something about. */
function together(errors: readonly LinkError[]): LinkError {
	const [first, ...others] = errors.toSorted(
		(a, b) => Number(b.lasting) - Number(a.lasting) || (a.message < b.message ? -1 : 1),
	);
	if (first === undefined)
		return new LinkError("unreachable", "no server of the central cluster is known", { lasting: true });
	if (others.length === 0) return first;
	const reasons = [...new Set([first, ...others].map(({ message }) => message))];
	const shown = reasons.slice(0, REASONS_MAX).join("; ");
	const more = reasons.length > REASONS_MAX ? `; and ${reasons.length - REASONS_MAX} more` : "";
	return new LinkError(first.failure, `no broker of the central cluster answers: ${shown}${more}`, {
		lasting: errors.every(({ lasting }) => lasting),
		action: first.action,
		cause: first,
	});
}

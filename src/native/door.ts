/**
 * The native door: length-prefixed CBOR over TCP (docs/native-protocol.md), for small devices and for programs in TypeScript.
 * It promises: a produce is answered after its commit is durable; any bytes from a peer end at worst that peer's
 * connection; what all peers together can make it hold is bounded.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { Timer } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import { listen } from "../base/listen.ts";
import type { Broker } from "../broker/broker.ts";
import { RowAges } from "../broker/row-ages.ts";
import type { TierAdmin } from "../broker/tier-admin.ts";
import type { UpstreamAdmin } from "../broker/upstream-admin.ts";
import { errorFrame } from "./answers.ts";
import type { GatewayStatus } from "./client/types.ts";
import { type Decode, loadDecoder } from "./codec/decode.ts";
import { MAX_SUBSCRIPTIONS, MESSAGE, MIN_FRAME_BYTES, ProtocolError } from "./codec/protocol.ts";
import type { Body, Request } from "./codec/requests.ts";
import { REQUEST_LIMITS } from "./codec/validate.ts";
import type { CborValue } from "./codec/writer.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Fetching } from "./fetch.ts";
import { deleteGroup, describeGroup, listGroups, setGroupOffsets } from "./groups.ts";
import { findTimePatiently, partitionOf } from "./positions.ts";
import { Produce, type ProduceCounts } from "./produce.ts";
import { Producers } from "./producers.ts";
import { Subscription, type SubscriptionSpec } from "./subscription.ts";
import { TierRequests } from "./tier.ts";
import {
	alterTopic,
	createTopic,
	describeTopic,
	listTopics,
	offsetsAt,
	subscriptionAnswer,
	subscriptionSpec,
	topicNamed,
} from "./topics.ts";
import { UpstreamRequests } from "./upstream.ts";

export interface NativeOptions {
	readonly host: string;
	/** 0: a free one. */
	readonly port: number;
	/** `native.max.frame.bytes`: bytes of a frame without its length. */
	readonly maxFrameBytes: number;
	/** `native.max.connections`. */
	readonly maxConnections: number;
	/** Default 10,000. */
	readonly helloTimeoutMs?: number;
	/** Where the client does not ask for another. Default 60,000. */
	readonly idleTimeoutMs?: number;
	/** What hello has to bring. Default: nothing. */
	readonly token?: string;
	/** How long the sequence of a client id that is not heard of is remembered. Default 7 days. */
	readonly producerExpiryMs?: number;
}

/** What the door cannot know of a GatewayStatus. */
export type GatewayStatusParts = Omit<GatewayStatus, "topics" | "partitions" | "tier" | "upstream">;

export interface NativeExtra {
	status(): GatewayStatusParts;
	/** undefined: the gateway has no tiered storage. */
	readonly tier?: TierAdmin;
	/** undefined: the gateway sends nothing to a central cluster. */
	readonly upstream?: UpstreamAdmin;
}

export interface NativeStats {
	readonly connections: number;
	readonly connectionsAccepted: number;
	readonly connectionsRefused: number;
	readonly subscriptions: number;
	readonly requests: number;
	readonly produced: { readonly records: number; readonly bytes: number };
}

const DEFAULT_FETCH_BYTES = 1024 * 1024;
const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;
/** How often connections are looked at that may be slow. */
const LOOK_MS = 5_000;
/** How long stop waits for peers to take their last answers. */
const STOP_GRACE_MS = 2_000;

interface Loaded {
	readonly host: ConnectionHost;
	readonly produce: Produce;
	readonly producers: Producers;
}

export class NativeDoor {
	readonly #broker: Broker;
	readonly #options: NativeOptions;
	readonly #extra: NativeExtra;
	readonly #tier: TierRequests;
	readonly #upstream: UpstreamRequests;
	readonly #connections = new Set<Connection>();
	/** Accepted while the decoder loads. */
	readonly #arriving = new Set<Socket>();
	readonly #counts: ProduceCounts = { records: 0, bytes: 0 };
	/** From the start on: the clock may be set before the first connection comes. */
	readonly #ages: RowAges;
	#server: Server | undefined;
	#loading: Promise<Loaded> | undefined;
	#loaded: Loaded | undefined;
	#expiry: Timer | undefined;
	#look: Timer | undefined;
	#stopping = false;
	#allClosed: (() => void) | undefined;
	#accepted = 0;
	#refused = 0;
	#requests = 0;

	constructor(broker: Broker, options: NativeOptions, extra: NativeExtra) {
		this.#broker = broker;
		this.#options = { ...options, maxFrameBytes: Math.max(options.maxFrameBytes, MIN_FRAME_BYTES) };
		this.#extra = extra;
		this.#tier = new TierRequests(extra.tier);
		this.#upstream = new UpstreamRequests(extra.upstream);
		this.#ages = new RowAges(broker.clock);
		broker.topics.onChange(() => this.#topicsChanged());
	}

	/** Listens; the address, "127.0.0.1:9470". Rejects with Node's own error when it cannot. */
	async start(): Promise<string> {
		const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#arrived(socket));
		this.#server = server;
		const { host, port } = this.#options;
		const { text } = await listen(server, {
			host,
			port,
			failed: (error) => this.#broker.logger.error("the native listener failed", { error: String(error) }),
		});
		return text;
	}

	/** Takes no more, answers what waits for a commit, and closes; what is not done within `graceMs` is cut off. */
	async stop(graceMs = STOP_GRACE_MS): Promise<void> {
		this.#stopping = true;
		this.#expiry?.cancel();
		this.#look?.cancel();
		const server = this.#server;
		const closed = new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
		for (const socket of this.#arriving) socket.destroy();
		for (const connection of this.#connections) connection.stopWaiting();
		const grace = new Promise<void>((resolve) => this.#broker.clock.after(graceMs, resolve));
		const { log } = this.#broker;
		if (this.#connections.size > 0) {
			await Promise.race([log.whenCommitted().catch(() => undefined), grace]);
			for (const connection of [...this.#connections]) connection.end();
		}
		if (this.#connections.size > 0) {
			await Promise.race([
				new Promise<void>((resolve) => {
					this.#allClosed = resolve;
				}),
				grace,
			]);
		}
		for (const connection of [...this.#connections]) connection.destroy();
		await closed;
	}

	stats(): NativeStats {
		let subscriptions = 0;
		for (const connection of this.#connections) subscriptions += connection.subscriptions.size;
		return {
			connections: this.#connections.size,
			connectionsAccepted: this.#accepted,
			connectionsRefused: this.#refused,
			subscriptions,
			requests: this.#requests,
			produced: { ...this.#counts },
		};
	}

	#arrived(socket: Socket): void {
		socket.on("error", () => {});
		if (this.#stopping) {
			socket.destroy();
			return;
		}
		if (this.#connections.size + this.#arriving.size >= this.#options.maxConnections) {
			this.#refused++;
			const limit = `the gateway has its most connections (native.max.connections = ${this.#options.maxConnections})`;
			// Nothing of it is read, so that nothing is held for it.
			socket.end(errorFrame(0, "THROTTLING_QUOTA_EXCEEDED", limit), () => socket.destroySoon());
			return;
		}
		this.#accepted++;
		if (this.#loaded) {
			this.#welcome(socket, this.#loaded);
			return;
		}
		this.#arriving.add(socket);
		socket.on("close", () => this.#arriving.delete(socket));
		this.#loading ??= this.#load();
		this.#loading.then(
			(loaded) => {
				if (this.#arriving.delete(socket) && !socket.destroyed) this.#welcome(socket, loaded);
			},
			(error: unknown) => {
				this.#broker.logger.error("the native door cannot load its decoder", { error: String(error) });
				socket.destroy();
			},
		);
	}

	#welcome(socket: Socket, loaded: Loaded): void {
		this.#connections.add(new Connection(socket, loaded.host));
		this.#look ??= this.#lookLater();
		socket.resume();
	}

	/** The first connection pays for the decoder; a gateway that nobody speaks this protocol to does not. */
	async #load(): Promise<Loaded> {
		const decode: Decode = await loadDecoder(REQUEST_LIMITS, { copyBytes: false });
		const producers = new Producers(this.#broker, decode, this.#ages);
		const host: ConnectionHost = {
			broker: this.#broker,
			producers,
			decode,
			maxFrameBytes: this.#options.maxFrameBytes,
			helloTimeoutMs: this.#options.helloTimeoutMs ?? 10_000,
			idleTimeoutMs: this.#options.idleTimeoutMs ?? 60_000,
			token: this.#options.token,
			software: `headwater/${this.#extra.status().version}`,
			handle: (connection, request) => this.#handle(connection, request),
			closed: (connection) => {
				this.#connections.delete(connection);
				if (this.#connections.size === 0) this.#allClosed?.();
			},
		};
		this.#loaded = { host, producers, produce: new Produce(this.#broker, producers, this.#counts) };
		this.#expire(producers);
		return this.#loaded;
	}

	#lookLater(): Timer {
		return this.#broker.clock.after(LOOK_MS, () => {
			const { othersWait } = this.#broker.pressure;
			for (const connection of [...this.#connections]) connection.look(othersWait);
			this.#look = this.#connections.size > 0 && !this.#stopping ? this.#lookLater() : undefined;
		});
	}

	#expire(producers: Producers): void {
		try {
			producers.expire(this.#options.producerExpiryMs ?? WEEK_MS);
		} catch (error) {
			// Remembered a while longer: no reason to turn anybody away.
			this.#broker.logger.error("client ids of the native door could not be expired", { error: String(error) });
		}
		this.#expiry = this.#broker.clock.after(HOUR_MS, () => this.#expire(producers));
	}

	#topicsChanged(): void {
		for (const connection of this.#connections) {
			for (const subscription of [...connection.subscriptions.values()]) {
				subscription.topicsChanged(this.#broker.topics.get(subscription.topic));
			}
		}
	}

	#handle(connection: Connection, { type, id, body }: Request): void {
		this.#requests++;
		const broker = this.#broker;
		const loaded = this.#loaded as Loaded;
		const answer = (fields: ReadonlyMap<number, CborValue>) => connection.answerFields(id, type, fields);
		switch (type) {
			case MESSAGE.PRODUCE:
				loaded.produce.handle(connection, { type, id, body });
				break;
			case MESSAGE.FETCH:
				this.#fetch(connection, id, body);
				break;
			case MESSAGE.SUBSCRIBE:
				this.#subscribe(connection, id, body);
				break;
			case MESSAGE.CREDIT:
				// A subscription that has just ended: its credit crossed the end on the way.
				connection.subscriptions.get(id)?.grant(body.get(0) as number, (body.get(1) as number | undefined) ?? 0);
				break;
			case MESSAGE.UNSUBSCRIBE:
				connection.beginning.delete(body.get(0) as number);
				connection.subscriptions.get(body.get(0) as number)?.close();
				this.#tier.giveUp(connection, body.get(0) as number);
				answer(NOTHING);
				break;
			case MESSAGE.OFFSETS:
				this.#later(connection, id, offsetsAt(broker, body), answer);
				break;
			case MESSAGE.TOPIC_LIST:
				answer(listTopics(broker));
				break;
			case MESSAGE.TOPIC_CREATE:
				answer(createTopic(broker, body));
				break;
			case MESSAGE.TOPIC_DESCRIBE:
				answer(describeTopic(broker, body));
				break;
			case MESSAGE.TOPIC_ALTER:
				answer(alterTopic(broker, body));
				break;
			case MESSAGE.TOPIC_DELETE:
				topicNamed(broker, body.get(0) as string);
				broker.topics.delete(body.get(0) as string);
				answer(NOTHING);
				break;
			case MESSAGE.GROUP_LIST:
				answer(listGroups(broker));
				break;
			case MESSAGE.GROUP_DESCRIBE:
				answer(describeGroup(broker, body));
				break;
			case MESSAGE.GROUP_OFFSETS:
				this.#later(connection, id, setGroupOffsets(broker, body), answer);
				break;
			case MESSAGE.GROUP_DELETE:
				this.#later(connection, id, deleteGroup(broker, body), answer);
				break;
			case MESSAGE.TIER_STATUS:
				this.#later(connection, id, this.#tier.status(), answer);
				break;
			case MESSAGE.TIER_RUN:
				this.#later(connection, id, this.#tier.run(), answer);
				break;
			case MESSAGE.TIER_RANGES:
				this.#later(connection, id, this.#tier.ranges(body), answer);
				break;
			case MESSAGE.TIER_VERIFY:
				this.#tier.verify(connection, id, body);
				break;
			case MESSAGE.UPSTREAM_STATUS:
				this.#later(connection, id, this.#upstream.status(), answer);
				break;
			case MESSAGE.UPSTREAM_PAUSE:
				this.#later(connection, id, this.#upstream.pause(), answer);
				break;
			case MESSAGE.UPSTREAM_RESUME:
				this.#later(connection, id, this.#upstream.resume(), answer);
				break;
			case MESSAGE.UPSTREAM_RESET:
				this.#later(connection, id, this.#upstream.reset(body), answer);
				break;
			case MESSAGE.STATUS:
				this.#later(connection, id, this.#status(), answer);
				break;
			case MESSAGE.PING:
				answer(NOTHING);
				break;
			case MESSAGE.BYE:
				this.#bye(connection, id, body);
				break;
			default:
				throw new ProtocolError("INVALID_REQUEST", `request ${id} has the unknown type ${type}`);
		}
	}

	/** Answers now or when the promise has a value. */
	#later<T>(connection: Connection, id: number, value: T | Promise<T>, answer: (value: T) => void): void {
		if (value instanceof Promise) {
			value.then(answer).catch((error: unknown) => connection.refuse(id, error));
		} else answer(value);
	}

	#fetch(connection: Connection, id: number, body: Body): void {
		const topic = topicNamed(this.#broker, body.get(0) as string);
		new Fetching(connection, id, {
			partition: partitionOf(topic, body.get(1) as number),
			offset: body.get(2) as number,
			maxBytes: (body.get(3) as number | undefined) ?? DEFAULT_FETCH_BYTES,
			waitMs: this.#stopping ? 0 : ((body.get(4) as number | undefined) ?? 0),
		}).start();
	}

	#subscribe(connection: Connection, id: number, body: Body): void {
		const { subscriptions, beginning } = connection;
		if (subscriptions.has(id) || beginning.has(id))
			throw new ProtocolError("INVALID_REQUEST", `request ${id} (subscribe): that id is in use`);
		if (subscriptions.size + beginning.size >= MAX_SUBSCRIPTIONS) {
			throw new BrokerError("THROTTLING_QUOTA_EXCEEDED", `a connection may have ${MAX_SUBSCRIPTIONS} subscriptions`);
		}
		const find = findTimePatiently(this.#broker.clock, () => beginning.has(id));
		const spec = subscriptionSpec(this.#broker, body, find);
		const begin = (found: SubscriptionSpec): void => {
			const subscription = new Subscription(connection, id, found);
			subscriptions.set(id, subscription);
			connection.answerFields(id, MESSAGE.SUBSCRIBE, subscriptionAnswer(found));
			subscription.start();
		};
		if (!(spec instanceof Promise)) {
			begin(spec);
			return;
		}
		beginning.add(id);
		spec.then(
			(found) => {
				if (connection.closed) return;
				if (!beginning.delete(id)) {
					connection.refuse(id, new BrokerError("OFFSET_NOT_AVAILABLE", "it was given up before its place was found"));
					return;
				}
				begin(found);
				// It may be another one by now, or have more partitions.
				subscriptions.get(id)?.topicsChanged(this.#broker.topics.get(found.topic.name));
			},
			(error: unknown) => {
				beginning.delete(id);
				connection.refuse(id, error);
			},
		);
	}

	#bye(connection: Connection, id: number, body: Body): void {
		const { producer } = connection;
		const forget = body.get(0) === true && producer !== undefined && producer.uncommitted.size === 0;
		if (forget && producer.lastSequence > 0) this.#loaded?.producers.forget(producer);
		connection.answerFields(id, MESSAGE.BYE, NOTHING);
		connection.end();
	}

	async #status(): Promise<ReadonlyMap<number, CborValue>> {
		const parts = this.#extra.status();
		const topics = this.#broker.topics.list();
		let partitions = 0;
		for (const topic of topics) partitions += topic.partitions.length;
		const status: GatewayStatus = {
			...parts,
			topics: topics.length,
			partitions,
			connections: { ...parts.connections, native: this.#connections.size },
			...(await this.#tier.summary()),
			...(await this.#upstream.summary()),
		};
		return new Map([[0, status as unknown as CborValue]]);
	}
}

const NOTHING: ReadonlyMap<number, CborValue> = new Map();

/** The shapes that programs give to the client and get from it. Times are milliseconds since 1970-01-01T00:00:00Z. */
import type { UpstreamProblem, UpstreamState } from "./upstream-types.ts";

export interface ConnectOptions {
	/** Default 127.0.0.1. */
	readonly host?: string;
	/** Default 9470. */
	readonly port?: number;
	/**
	 * Who produces: the gateway stores each produce of one client id once, however often it is sent, also across
	 * restarts of either side if the program keeps its id. 1 to 200 bytes of UTF-8. By default a random one, which the
	 * gateway forgets at `close()`. Two connections with one id: the newer one wins.
	 */
	readonly clientId?: string;
	/** What a gateway that asks for one wants to be shown. */
	readonly token?: string;
	/** Whether to connect again, with growing pauses, when the connection is lost. Default true. */
	readonly reconnect?: boolean;
	/** Time for connecting, and for an answer to anything but a produce or a long poll. Default 10,000. */
	readonly timeoutMs?: number;
	/** Produce requests sent and not yet acknowledged, at most; `produce()` waits when there are as many. Default: what the gateway allows. */
	readonly maxInFlight?: number;
	/** Gives up connecting, and closes the client later on. */
	readonly signal?: AbortSignal;
}

export interface ProduceRecord {
	/** Records with one key go to one partition, in order. Text is sent as UTF-8. */
	readonly key?: Uint8Array | string | null;
	readonly value: Uint8Array | string | null;
	readonly headers?: readonly (readonly [string, Uint8Array | string | null])[];
	/** Default: the gateway's time when it takes the record. */
	readonly timestamp?: number;
}

export interface ProduceOptions {
	/** Default: by the key as Kafka does it (murmur2), or a partition of the gateway's choice. */
	readonly partition?: number;
	/** Stops waiting; the records may be stored all the same. */
	readonly signal?: AbortSignal;
}

export interface ProduceResult {
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
}

export interface ConsumedRecord {
	readonly topic: string;
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: Uint8Array | null;
	readonly value: Uint8Array | null;
	readonly headers: [string, Uint8Array | null][];
}

export interface FetchOptions {
	/** Bytes of records in the answer, at most, but for at least one record. Default 1 MiB. */
	readonly maxBytes?: number;
	/** How long the gateway waits for a record when there is none. Default 0. */
	readonly waitMs?: number;
	readonly signal?: AbortSignal;
}

export interface FetchResult {
	readonly records: ConsumedRecord[];
	/** The offset behind the last durable record. */
	readonly highWatermark: number;
	/** The lowest offset that is still stored. */
	readonly logStartOffset: number;
	/** Where to fetch next. */
	readonly nextOffset: number;
}

export type OffsetSpec = "earliest" | "latest" | { readonly timestamp: number };

/**
 * Where a subscription begins: `earliest` and `latest` in every partition; `{ timestamp }` at the first record of that
 * time or later; `{ offset }` at that offset in every partition (as near as the partition has it); or a map from partition
 * to offset, which also says which partitions are read.
 */
export type SubscribeFrom = OffsetSpec | { readonly offset: number } | Readonly<Record<number, number>>;

export interface SubscribeOptions {
	readonly from: SubscribeFrom;
	/** Default: all, also those added later. */
	readonly partitions?: readonly number[];
	/** `end`: the iteration ends with what was stored when it began. Default: it goes on for ever. */
	readonly until?: "end";
	/** Records that the gateway may send ahead of the reader. Default 1024; 1 MiB of records whatever this is. */
	readonly credits?: number;
	readonly signal?: AbortSignal;
}

export interface TopicSpec {
	readonly name: string;
	/** Default: the gateway's `num.partitions`. */
	readonly partitions?: number;
	/** Kafka's topic settings by Kafka's names, `{ "retention.ms": "604800000" }`. */
	readonly config?: Readonly<Record<string, string>>;
	/** No error when there is such a topic already. */
	readonly ifNotExists?: boolean;
}

export interface TopicChanges {
	readonly set?: Readonly<Record<string, string>>;
	/** Settings to go back to the gateway's default. */
	readonly unset?: readonly string[];
	/** The new number of partitions; it can only grow. */
	readonly partitions?: number;
}

export interface TopicInfo {
	readonly name: string;
	/** A UUID: another topic of the same name, made later, has another. */
	readonly id: string;
	readonly partitions: number;
	/** What was set for this topic only. */
	readonly config: Record<string, string>;
	readonly createdMs: number;
}

export interface TopicDescription {
	readonly topic: TopicInfo;
	readonly configs: { name: string; value: string; isDefault: boolean; documentation: string }[];
	readonly partitions: {
		number: number;
		/** The lowest offset that can be read. */
		logStartOffset: number;
		/** From here on records are on the gateway's own disk; those before are in the object store alone. */
		localStartOffset: number;
		/** The object store has the records before this; 0: none. */
		tieredOffset: number;
		highWatermark: number;
		endOffset: number;
		sizeBytes: number;
		segments: number;
	}[];
}

export interface TopicsApi {
	create(spec: TopicSpec): Promise<TopicInfo>;
	list(): Promise<TopicInfo[]>;
	describe(name: string): Promise<TopicDescription>;
	alter(name: string, changes: TopicChanges): Promise<TopicInfo>;
	delete(name: string): Promise<void>;
}

export interface GroupInfo {
	readonly name: string;
	/** `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Stable`. */
	readonly state: string;
	/** `consumer` for Kafka's consumers; empty: it never had members. */
	readonly protocolType: string;
}

export interface GroupDescription extends GroupInfo {
	/** How the members divide partitions; empty unless the group is stable. */
	readonly protocol: string;
	readonly members: {
		memberId: string;
		instanceId: string | null;
		clientId: string;
		host: string;
		assigned: { topic: string; partitions: number[] }[];
	}[];
	/** Every partition that the group has an offset of, or that a member was given. */
	readonly partitions: {
		topic: string;
		partition: number;
		/** The next record to be read; null: none is committed. */
		offset: number | null;
		metadata: string;
		logStartOffset: number;
		highWatermark: number;
		/** Records that are still to be read. */
		lag: number | null;
	}[];
}

export interface GroupsApi {
	list(): Promise<GroupInfo[]>;
	describe(name: string): Promise<GroupDescription>;
	/** Of a group without members: all of them or none. */
	setOffsets(name: string, offsets: readonly { topic: string; partition: number; offset: number }[]): Promise<void>;
	/** Of a group without members. */
	delete(name: string): Promise<void>;
}

/** What `headwater status` shows. */
export interface GatewayStatus {
	readonly version: string;
	readonly uptimeMs: number;
	readonly pid: number;
	readonly dataDirectory: string;
	readonly listeners: { door: string; address: string }[];
	readonly topics: number;
	readonly partitions: number;
	/** By door: `{ mqtt: 3, native: 1 }`. */
	readonly connections: Record<string, number>;
	readonly memory: { residentBytes: number; heapBytes: number; inFlightBytes: number; budgetBytes: number };
	/** Since the start of the process, but `bytes`: what the journal's files take on disk. */
	readonly journal: { entries: number; bytes: number; writtenBytes: number; commits: number };
	/** Since the start of the process. */
	readonly produced: { records: number; bytes: number };
	/** Records that were stored and then lost, for whatever reason but retention as configured. */
	readonly losses: { records: number };
	/** Tiered storage, in short; missing: the gateway has none. */
	readonly tier?: {
		store: string;
		bundles: number;
		/** Of all bundles, as stored. */
		bytes: number;
		tieredRecords: number;
		tieredBytes: number;
		pendingRecords: number;
		pendingBytes: number;
		nextRunMs?: number;
		error?: { sinceMs: number; message: string };
	};
	/** The way to the central cluster, in short; missing: none is configured. */
	readonly upstream?: {
		servers: string[];
		state: UpstreamState;
		/** Still to be sent; bytes are an estimate. */
		lagRecords: number;
		lagBytes: number;
		/** When the next attempt, window or budget comes. */
		nextMs?: number;
		lastSentMs?: number;
		/** Kept back, as the central cluster does not take them; and gone before they were sent. */
		quarantinedRecords: number;
		lostRecords: number;
		/** The first problem that there is, the whole way's before a topic's. */
		problem?: UpstreamProblem;
	};
}

/** What of the configuration the Kafka door needs. */
export interface KafkaOptions {
	readonly host: string;
	/** 0: a free one. */
	readonly port: number;
	/** `advertised.listeners`: where clients are told to connect to, if not to where the door listens. */
	readonly advertised?: { readonly host: string; readonly port: number };
	/** `node.id`. */
	readonly nodeId: number;
	/** `auto.create.topics.enable`. */
	readonly autoCreateTopics: boolean;
	/** `delete.topic.enable`. */
	readonly deleteTopics: boolean;
	/** `socket.request.max.bytes`: bytes of a request without its length. */
	readonly maxRequestBytes: number;
	/** `kafka.max.connections`. */
	readonly maxConnections: number;
	/** `fetch.max.bytes`: of record batches in one answer to Fetch. */
	readonly maxFetchBytes: number;
	/** `remote.fetch.max.wait.ms`: how long one Fetch waits for the object store. Default 500. */
	readonly remoteFetchMaxWaitMs?: number;
	/** `connections.max.idle.ms`. */
	readonly idleTimeoutMs: number;
	/** The gateway's configuration by key, as DescribeConfigs tells it. */
	readonly settings?: Readonly<Record<string, Setting>>;
}

/** A key of the configuration, as text. */
export interface Setting {
	readonly value: string;
	/** What it would be if it were not set. */
	readonly fallback: string;
	readonly documentation: string;
}

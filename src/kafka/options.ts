/** What of the configuration the Kafka door needs. */
export interface KafkaOptions {
	readonly host: string;
	/** 0: a free one. */
	readonly port: number;
	/** `node.id`. */
	readonly nodeId: number;
	/** `auto.create.topics.enable`. */
	readonly autoCreateTopics: boolean;
	/** `socket.request.max.bytes`: bytes of a request without its length. */
	readonly maxRequestBytes: number;
	/** `kafka.max.connections`. */
	readonly maxConnections: number;
	/** `fetch.max.bytes`: of record batches in one answer to Fetch. */
	readonly maxFetchBytes: number;
	/** `connections.max.idle.ms`. */
	readonly idleTimeoutMs: number;
}

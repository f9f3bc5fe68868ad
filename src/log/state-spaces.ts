/** Spaces of the log's state table: who keeps what under which number. Stored, so never reused for another meaning. */
export const StateSpace = {
	/** MQTT client id -> session. */
	MQTT_SESSION: 1,
	/** MQTT client id and packet id -> an inbound QoS 2 message stored and not yet released; also a kept session's subscriptions and outbound QoS 2 messages, by a letter before them. */
	MQTT_RECEIVED: 2,
	/** Native client id -> last sequence and results. */
	NATIVE_PRODUCER: 3,
	/** MQTT topic name -> its retained message. */
	MQTT_RETAINED: 4,
	/** What the MQTT door counts for all clients together. */
	MQTT_DOOR: 5,
	/** MQTT client id -> the will of its connection, as long as it may have to be published. */
	MQTT_WILL: 6,
	/** Shared subscriptions: where each group stands. */
	MQTT_SHARE: 7,
	/** Partition and producer id -> first offset of the producer's open transaction there. */
	KAFKA_OPEN_TRANSACTION: 9,
	/** Partition and offset of the marker -> an aborted transaction's producer id and first offset there. */
	KAFKA_ABORTED_TRANSACTION: 10,
	/** Partition and producer id -> epoch and last sequences of an idempotent producer there. */
	KAFKA_PRODUCER: 11,
	/** The next producer id to be given out. */
	KAFKA_PRODUCER_IDS: 12,
	/** Transactional id -> its producer id, epoch and transaction. */
	KAFKA_TRANSACTION: 13,
	/** Consumer group -> what outlives its members. */
	KAFKA_GROUP: 14,
	/** Consumer group, topic and partition -> committed offset. */
	KAFKA_OFFSET: 15,
	/** Consumer group, topic, partition and producer id -> an offset of a transaction that is still open. */
	KAFKA_PENDING_OFFSET: 16,
	/** Bridges to other MQTT brokers: where each stands. */
	MQTT_BRIDGE: 8,
	/** What was sent over the link to the outside, this day and this month. */
	UPLINK: 17,
	/** Replication to the central cluster: where it stands. */
	UPSTREAM: 18,
	/** Topics of the central cluster that are appended here: where each stands. */
	DOWNLINK: 19,
} as const;

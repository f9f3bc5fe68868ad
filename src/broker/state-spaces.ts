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
	/** Bridges to other MQTT brokers: where each stands. */
	MQTT_BRIDGE: 8,
} as const;

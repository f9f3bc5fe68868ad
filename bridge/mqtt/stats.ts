/** All that went over the connections' transports, since the start. */
export class Traffic {
	/** Transports opened. */
	sockets = 0;
	bytesReceived = 0;
	bytesSent = 0;
	/** MQTT packets of any type. */
	packetsReceived = 0;
	packetsSent = 0;
	/** Payloads of PUBLISH packets. */
	publishBytesReceived = 0;
	publishBytesSent = 0;

	/** A whole packet came; hot path. */
	received(bytes: number): void {
		this.packetsReceived++;
		this.bytesReceived += bytes;
	}
}

/** What the MQTT door counts. Every event that is not delivered or not stored is counted under its reason. */
export class DoorStats {
	readonly traffic = new Traffic();
	/** Connections that completed CONNECT, ever. */
	connects = 0;
	refusedConnections = 0;
	/** WebSockets that were refused because they do not offer the subprotocol mqtt. */
	refusedWebSockets = 0;
	/** Publishes from clients, by QoS. */
	readonly received: [number, number, number] = [0, 0, 0];
	/** QoS 2 publishes that came again and were not stored again. */
	duplicates = 0;
	/** Publishes to subscribers, by QoS. */
	readonly sent: [number, number, number] = [0, 0, 0];
	/** QoS 0 publishes that were not stored: no route, too large, or storage refused. */
	droppedQos0 = 0;
	/** Not stored: QoS 0, by a route that drops them while memory is short; copies count each. */
	droppedQos0Pressure = 0;
	/** Keys, headers and timestamps that a route takes from a field of the payload, where there was no such field. */
	routeFieldsMissing = 0;
	/** Timestamps of payloads that are no time, or too far from the arrival's. */
	routeTimestampsRefused = 0;
	/** QoS 1 and 2 publishes that were refused. */
	refusedPublishes = 0;
	/** Not delivered: Message Expiry Interval over. */
	expired = 0;
	/** Not delivered: above the subscriber's Maximum Packet Size. */
	tooLargeForSubscriber = 0;
	/** Events that no log has, and which a subscriber could not take at once. */
	droppedVolatile = 0;
	/** Offsets that retention took before a subscriber came to them. */
	overtakenByRetention = 0;
	/** Connections ended because of what they sent. */
	protocolErrors = 0;
	keepAliveTimeouts = 0;
	connectTimeouts = 0;
	takeOvers = 0;
	/** Connections ended because they held memory, without moving, that others needed. */
	stalled = 0;
	sessionsExpired = 0;
	/** Retained messages removed because their Message Expiry Interval was over. */
	retainedExpired = 0;
}

/** What the MQTT door counts. Every event that is not delivered or not stored is counted under its reason. */
export class DoorStats {
	/** Connections that completed CONNECT, ever. */
	connects = 0;
	refusedConnections = 0;
	/** Publishes from clients, by QoS. */
	readonly received: [number, number, number] = [0, 0, 0];
	/** QoS 2 publishes that came again and were not stored again. */
	duplicates = 0;
	/** Publishes to subscribers, by QoS. */
	readonly sent: [number, number, number] = [0, 0, 0];
	/** QoS 0 publishes that were not stored: no route, too large, or storage refused. */
	droppedQos0 = 0;
	/** QoS 1 and 2 publishes that were refused. */
	refusedPublishes = 0;
	/** Not delivered: Message Expiry Interval over. */
	expired = 0;
	/** Not delivered: above the subscriber's Maximum Packet Size. */
	tooLargeForSubscriber = 0;
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
}

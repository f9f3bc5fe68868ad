/** What the MQTT door is told. Names and units follow the configuration's keys. */
import type { Random } from "../../src/base/random.ts";
import type { RouteSpec } from "./routes.ts";

export interface MqttOptions {
	/** mqtt.listen: "host:port"; port 0 takes a free one. */
	readonly listen: string;
	readonly routes: readonly RouteSpec[];
	/** mqtt.max.packet.bytes: the largest packet that is read, and Maximum Packet Size of MQTT 5. */
	readonly maxPacketBytes: number;
	/** mqtt.receive.maximum: QoS 1 and 2 publishes one MQTT 5 client may have unacknowledged. */
	readonly receiveMaximum: number;
	/** mqtt.max.connections. */
	readonly maxConnections: number;
	/** mqtt.connect.timeout.ms: how long a socket may take to send its CONNECT. */
	readonly connectTimeoutMs: number;
	/** mqtt.max.keep.alive.seconds; 0: the client's own holds. */
	readonly maxKeepAliveSeconds: number;
	/** mqtt.max.session.expiry.seconds: the longest that a session outlives its connection. */
	readonly maxSessionExpirySeconds: number;
	/** mqtt.max.inflight: QoS 1 and 2 events under way to one subscriber (its own Receive Maximum may be less). */
	readonly maxInflight: number;
	/** mqtt.max.subscriptions.per.session. */
	readonly maxSubscriptionsPerSession: number;
	/** mqtt.topic.alias.maximum, both ways. */
	readonly topicAliasMaximum: number;
	/** mqtt.max.retained.messages; 0: retained messages are not available. */
	readonly maxRetainedMessages: number;
	/** mqtt.sys.interval.seconds; 0: no topics below $SYS. */
	readonly sysIntervalSeconds: number;
	/** The gateway's, for $SYS/broker/version. */
	readonly version: string;
	/** mqtt.share.expiry.seconds: how long a shared subscription outlives its last session. */
	readonly shareExpirySeconds: number;
	/** mqtt.redirect.to, a Server Reference (5.0 section 4.11); empty: none. */
	readonly redirectTo: string;
	readonly redirectWhen: "full" | "stopping" | "always";
	/** Bytes of output that all subscribers together may have waiting in sockets; default 8 MiB. Must stay well below the memory budget. */
	readonly outputBudgetBytes?: number;
	/** For the client identifiers that the door assigns; default: the system's. */
	readonly random?: Random;
}

/**
 * PUBLISH from a client (section 3.3): every case but the one that connection.ts takes itself. An answer always leaves
 * after the commit, also one that refuses, so that answers keep the order of the publishes [MQTT-4.6.0-2].
 */
import { BrokerError } from "../../src/base/errors.ts";
import { appendEvent, type Companion } from "./append-event.ts";
import { PUBACK, PUBREC } from "./codec/first-bytes.ts";
import { MqttError, type Properties } from "./codec/packets.ts";
import { decodePublishProperties, type PublishView, validateTopicName } from "./codec/publish-view.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { BrokersOwnTopic, PublishRefused } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import { retaining, together } from "./retain.ts";
import type { Session } from "./session.ts";

/** What a state row takes in a commit beyond the client id; generous. */
const STATE_OVERHEAD_BYTES = 64;

export function handlePublish(
	connection: Connection,
	session: Session,
	bytes: Buffer,
	view: PublishView,
	nowMs: number,
): void {
	const { engine, version } = connection;
	const { qos, payloadStart, payloadEnd, packetId } = view; // the view is the next packet's soon
	engine.stats.received[qos]++;
	let properties: Properties | undefined;
	if (view.propertiesStart < view.propertiesEnd) {
		properties = decodePublishProperties(bytes, view.propertiesStart, view.propertiesEnd, "client");
	}
	if (view.retain && version === 5 && !engine.retainAvailable) {
		throw new MqttError(ReasonCode.RetainNotSupported, "[MQTT-3.2.2-14]", "mqtt.max.retained.messages is 0");
	}
	const topic = topicOf(connection, bytes, view, properties?.topicAlias);
	if (qos === 2 && session.received?.has(packetId)) {
		// Stored already, or in a commit under way: the answer waits for one that cannot be before that.
		engine.stats.duplicates++;
		connection.output.responseOnCommit(PUBREC, packetId);
		return;
	}
	if (qos > 0 && version === 5 && connection.unanswered >= engine.options.receiveMaximum) {
		throw new MqttError(
			ReasonCode.ReceiveMaximumExceeded,
			"[MQTT-3.3.4-7]",
			`more than ${engine.options.receiveMaximum} publishes without an answer`,
		);
	}
	try {
		const destination = engine.destinations.of(topic);
		const clientId = session.noLocal ? session.clientId : undefined;
		const event = { qos, retain: view.retain, properties, clientId, source: bytes, payloadStart, payloadEnd };
		const retained = view.retain && engine.retainAvailable ? retaining(engine, event, destination, nowMs) : undefined;
		const once = qos === 2 && session.durable ? storingOnce(engine, session, packetId) : undefined;
		appendEvent(engine, destination, event, nowMs, together(retained, once));
		if (qos === 2) {
			session.received ??= new Set();
			session.received.add(packetId);
		}
		if (destination.plain) connection.destination = destination;
	} catch (error) {
		handlePublish.refused(connection, session, view, error);
		return;
	}
	if (qos === 0) return;
	connection.unanswered++;
	if (qos === 1) {
		connection.output.answeredOnCommit();
		connection.output.responseOnCommit(PUBACK, packetId);
	} else {
		connection.output.responseOnCommit(PUBREC, packetId);
	}
}

/** The topic's name, by itself or by its alias (5.0 section 3.3.2.3.4). */
function topicOf(connection: Connection, bytes: Buffer, view: PublishView, alias: number | undefined): string {
	if (alias === undefined) return validateTopicName(bytes, view.topicStart, view.topicEnd, connection.version);
	const maximum = connection.engine.options.topicAliasMaximum;
	if (alias > maximum) {
		throw new MqttError(ReasonCode.TopicAliasInvalid, "[MQTT-3.3.2-9]", `Topic Alias ${alias}: ${maximum} is the most`);
	}
	if (view.topicStart === view.topicEnd) {
		const topic = connection.topicAliases?.get(alias);
		if (topic !== undefined) return topic;
		throw new MqttError(ReasonCode.ProtocolError, "5.0 section 3.3.2.3.4", `Topic Alias ${alias} was given no topic`);
	}
	const topic = validateTopicName(bytes, view.topicStart, view.topicEnd, connection.version);
	connection.setTopicAlias(alias, topic);
	return topic;
}

/** Record and packet identifier in one commit: a resend finds the identifier, after a crash too. */
function storingOnce(engine: Engine, session: Session, packetId: number): Companion {
	return {
		bytes: session.clientId.length * 3 + STATE_OVERHEAD_BYTES,
		work: () => engine.sessions.putReceived(session, packetId),
	};
}

/**
 * A publish that could not be stored. QoS 0 is dropped and counted. In MQTT 5 the answer says why; before it there is no
 * answer that is not a success, so the connection closes without one [MQTT-3.3.5-2 of 3.1.1].
 */
handlePublish.refused = function refused(
	connection: Connection,
	session: Session,
	view: PublishView,
	error: unknown,
): void {
	const reasonCode = reasonOf(error);
	if (reasonCode === undefined) throw error;
	const { engine, version, output } = connection;
	const own = error instanceof BrokersOwnTopic;
	if (view.qos === 0) {
		engine.stats.droppedQos0++;
		return;
	}
	engine.stats.refusedPublishes++;
	const why = (error as Error).message;
	if (version !== 5 && own) {
		// Where 3.1.1 lets choose between closing and a positive answer [MQTT-3.3.5-2], habit of other brokers' clients decides.
		connection.unanswered++;
		if (view.qos === 1) output.answeredOnCommit();
		output.responseOnCommit(view.qos === 1 ? PUBACK : PUBREC, view.packetId);
		if (view.qos === 2) {
			session.received ??= new Set();
			session.received.add(view.packetId);
		}
		return;
	}
	if (version !== 5) {
		connection.end(reasonCode, why);
		return;
	}
	const type = view.qos === 1 ? "puback" : "pubrec";
	const answer = { type, packetId: view.packetId, reasonCode, properties: own ? {} : connection.reason(why) } as const;
	if (output.heldBytes === 0) {
		connection.send(answer); // nothing to come behind: a full disk lets no commit through
		return;
	}
	connection.unanswered++;
	output.answeredOnCommit();
	connection.sendOnCommit(answer);
};

/** The reason code for PUBACK and PUBREC (tables 3-4 and 3-5); undefined for what no peer caused. */
function reasonOf(error: unknown): number | undefined {
	if (error instanceof PublishRefused) return error.reasonCode;
	if (!(error instanceof BrokerError)) return undefined;
	switch (error.code) {
		case "MESSAGE_TOO_LARGE":
		case "RECORD_LIST_TOO_LARGE":
		case "KAFKA_STORAGE_ERROR":
		case "THROTTLING_QUOTA_EXCEEDED":
		case "POLICY_VIOLATION":
			return ReasonCode.QuotaExceeded;
		default:
			return ReasonCode.ImplementationSpecificError;
	}
}

/**
 * PUBLISH from a client (section 3.3): every case but the one that connection.ts takes itself. An answer always leaves
 * after the commit, also one that refuses, so that answers keep the order of the publishes [MQTT-4.6.0-2].
 */
import { BrokerError } from "../../src/base/errors.ts";
import { MqttError, type Properties, type Will } from "./codec/packets.ts";
import { decodePublishProperties, type PublishView, validateTopicName } from "./codec/publish-view.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { BrokersOwnTopic, type Destination, PublishRefused } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import type { Session } from "./session.ts";

const PUBACK = 0x40;
const PUBREC = 0x50;
/** What a record and a state row take in a commit beyond key, headers, payload and client id; generous. */
const OVERHEAD_BYTES = 256;

export function handlePublish(
	connection: Connection,
	session: Session,
	bytes: Buffer,
	view: PublishView,
	nowMs: number,
): void {
	const { engine, version } = connection;
	const { qos } = view;
	engine.stats.received[qos]++;
	let properties: Properties | undefined;
	if (view.propertiesStart < view.propertiesEnd) {
		properties = decodePublishProperties(bytes, view.propertiesStart, view.propertiesEnd, "client");
		if (properties.topicAlias !== undefined) {
			throw new MqttError(ReasonCode.TopicAliasInvalid, "[MQTT-3.3.2-9]", "topic aliases are not available here");
		}
	}
	if (view.retain && version === 5) {
		throw new MqttError(ReasonCode.RetainNotSupported, "[MQTT-3.2.2-14]", "retained messages are not available here");
	}
	const topic = validateTopicName(bytes, view.topicStart, view.topicEnd, version);
	if (qos === 2 && session.received?.has(view.packetId)) {
		// Stored already, or in a commit under way: the answer waits for one that cannot be before that.
		engine.stats.duplicates++;
		connection.output.responseOnCommit(PUBREC, view.packetId);
		return;
	}
	if (qos > 0 && version === 5 && connection.unanswered >= engine.options.receiveMaximum) {
		throw new MqttError(
			ReasonCode.ReceiveMaximumExceeded,
			"[MQTT-3.3.4-9]",
			`more than ${engine.options.receiveMaximum} publishes without an answer`,
		);
	}
	try {
		const destination = engine.destinations.of(topic);
		const client = session.noLocal ? session.clientId : undefined;
		const headers = destination.headersBlockFor(qos, view.retain, properties, client);
		if (qos === 2) storeOnce(engine, session, destination, bytes, view, headers, nowMs);
		else {
			const { partition, keyBlock } = destination;
			partition.appendRecord(nowMs, keyBlock, bytes, view.payloadStart, view.payloadEnd, headers);
		}
		connection.destination = destination;
	} catch (error) {
		handlePublish.refused(connection, session, view, error);
		return;
	}
	if (qos === 0) return;
	connection.unanswered++;
	if (qos === 1) {
		connection.output.answeredOnCommit();
		connection.output.responseOnCommit(PUBACK, view.packetId);
	} else {
		connection.output.responseOnCommit(PUBREC, view.packetId);
	}
}

/** Record and packet identifier in one commit: a resend finds the identifier, after a crash too. */
function storeOnce(
	engine: Engine,
	session: Session,
	destination: Destination,
	bytes: Buffer,
	view: PublishView,
	headers: Buffer,
	nowMs: number,
): void {
	const { partition, keyBlock } = destination;
	const size = keyBlock.length + headers.length + view.payloadEnd - view.payloadStart + session.clientId.length * 3;
	engine.broker.log.group(size + OVERHEAD_BYTES, () => {
		partition.appendRecord(nowMs, keyBlock, bytes, view.payloadStart, view.payloadEnd, headers);
		if (session.durable) engine.sessions.putReceived(session, view.packetId);
	});
	session.received ??= new Set();
	session.received.add(view.packetId);
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
	connection.unanswered++;
	output.answeredOnCommit();
	connection.sendOnCommit({ type, packetId: view.packetId, reasonCode, properties: own ? {} : connection.reason(why) });
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

/** The will of a client that went without DISCONNECT: an event like others [MQTT-3.1.2-8]. Throws what an append throws. */
export function publishWill(engine: Engine, session: Session, will: Will): void {
	const destination = engine.destinations.of(will.topic);
	const { willDelayInterval, ...properties } = will.properties;
	const carried = Object.keys(properties).length > 0 ? properties : undefined;
	const client = session.noLocal ? session.clientId : undefined;
	const headers = destination.headersBlockFor(will.qos, will.retain, carried, client);
	const { payload } = will;
	destination.partition.appendRecord(
		engine.broker.clock.now(),
		destination.keyBlock,
		payload,
		0,
		payload.length,
		headers,
	);
}

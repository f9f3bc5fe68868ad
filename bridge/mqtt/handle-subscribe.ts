/** SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). A kept session's answer leaves when the session's row is durable. */
import type { Packet, Subscription as Requested, SubscribePacket, UnsubscribePacket } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { Outbox } from "./outbox.ts";
import type { Session } from "./session.ts";
import { Subscription } from "./subscriptions.ts";

export function handleSubscribe(connection: Connection, session: Session, packet: SubscribePacket): void {
	const identifier = packet.properties.subscriptionIdentifier?.[0];
	const reasonCodes = packet.subscriptions.map((each) => subscribe(connection, session, each, identifier));
	subscriptionsChanged(connection, session, { type: "suback", packetId: packet.packetId, reasonCodes, properties: {} });
}

/** The QoS granted, or why not. */
function subscribe(connection: Connection, session: Session, asked: Requested, identifier: number | undefined): number {
	const { engine } = connection;
	const { filter } = asked;
	if (filter.startsWith("$share/")) return ReasonCode.SharedSubscriptionsNotSupported;
	if (filter.startsWith("$replay/")) return ReasonCode.TopicFilterInvalid;
	session.subscriptions ??= new Map();
	const former = session.subscriptions.get(filter);
	if (former === undefined && session.subscriptions.size >= engine.options.maxSubscriptionsPerSession) {
		return ReasonCode.QuotaExceeded;
	}
	session.outbox ??= new Outbox(session, connection, engine.stats);
	const subscription = new Subscription(session, { ...asked, identifier });
	// The new one first: with none in between, its partitions stay under watch and nothing is missed [MQTT-3.8.4-3].
	session.subscriptions.set(filter, subscription);
	engine.deliveries.subscribe(subscription);
	if (former !== undefined) engine.deliveries.unsubscribe(former);
	return asked.qos;
}

export function handleUnsubscribe(connection: Connection, session: Session, packet: UnsubscribePacket): void {
	const reasonCodes = packet.filters.map((filter) => {
		const subscription = session.subscriptions?.get(filter);
		if (subscription === undefined) return ReasonCode.NoSubscriptionExisted;
		session.subscriptions!.delete(filter);
		connection.engine.deliveries.unsubscribe(subscription);
		return ReasonCode.Success;
	});
	subscriptionsChanged(connection, session, {
		type: "unsuback",
		packetId: packet.packetId,
		reasonCodes,
		properties: {},
	});
}

function subscriptionsChanged(connection: Connection, session: Session, answer: Packet): void {
	session.noLocal = false;
	for (const { noLocal } of session.subscriptions?.values() ?? []) session.noLocal ||= noLocal;
	if (session.durable) {
		connection.engine.saveConnected(session);
		connection.sendOnCommit(answer);
	} else {
		connection.send(answer);
	}
}

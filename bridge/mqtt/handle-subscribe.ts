/** SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). A kept session's answer leaves when the session's row is durable. */
import { BrokerError } from "../../src/base/errors.ts";
import type { Packet, Subscription as Requested, SubscribePacket, UnsubscribePacket } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { Outbox } from "./outbox.ts";
import type { Session } from "./session.ts";
import { Subscription } from "./subscriptions.ts";

/** Matching goes one call deeper for each level of a filter. mosquitto allows as many. */
const FILTER_LEVELS_MAX = 200;

function levelsOf(filter: string): number {
	let levels = 1;
	for (let at = filter.indexOf("/"); at >= 0; at = filter.indexOf("/", at + 1)) levels++;
	return levels;
}

export function handleSubscribe(connection: Connection, session: Session, packet: SubscribePacket): void {
	const identifier = packet.properties.subscriptionIdentifier?.[0];
	const reasonCodes = packet.subscriptions.map((each) => subscribe(connection, session, each, identifier));
	const granted = reasonCodes.some((code) => code < 0x80);
	answered(connection, session, { type: "suback", packetId: packet.packetId, reasonCodes, properties: {} }, granted);
}

/** The QoS granted, or why not. */
function subscribe(connection: Connection, session: Session, asked: Requested, identifier: number | undefined): number {
	const { engine } = connection;
	const { filter } = asked;
	if (filter.startsWith("$share/")) return ReasonCode.SharedSubscriptionsNotSupported;
	if (filter.startsWith("$replay/") || levelsOf(filter) > FILTER_LEVELS_MAX) return ReasonCode.TopicFilterInvalid;
	session.subscriptions ??= new Map();
	const former = session.subscriptions.get(filter);
	if (former === undefined && session.subscriptions.size >= engine.options.maxSubscriptionsPerSession) {
		return ReasonCode.QuotaExceeded;
	}
	const subscription = new Subscription(session, { ...asked, identifier });
	if (session.durable && !stored(() => engine.sessions.putSubscription(subscription))) return ReasonCode.QuotaExceeded;
	session.outbox ??= new Outbox(session, connection, engine.stats, engine.ledgerOf(session));
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
		if (session.durable) connection.engine.sessions.deleteSubscription(session, filter);
		session.subscriptions!.delete(filter);
		connection.engine.deliveries.unsubscribe(subscription);
		return ReasonCode.Success;
	});
	const ended = reasonCodes.includes(ReasonCode.Success);
	answered(connection, session, { type: "unsuback", packetId: packet.packetId, reasonCodes, properties: {} }, ended);
}

/** `changed`: something was granted or given up. */
function answered(connection: Connection, session: Session, answer: Packet, changed: boolean): void {
	if (changed) {
		session.noLocal = false;
		for (const { noLocal } of session.subscriptions?.values() ?? []) session.noLocal ||= noLocal;
	}
	if (changed && session.durable) {
		// With the place from which each subscription begins: a crash after the answer misses nothing.
		connection.engine.saveConnected(session);
		connection.sendOnCommit(answer);
	} else {
		connection.send(answer);
	}
}

/** False where storage takes nothing now: the client is told so, and nothing has changed. */
function stored(work: () => void): boolean {
	try {
		work();
		return true;
	} catch (error) {
		if (error instanceof BrokerError) return false;
		throw error;
	}
}

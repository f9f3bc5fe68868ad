/**
 * SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). A kept session's answer leaves when the session's row is durable. They take
 * effect in their order: behind one whose replay has to ask a slow object store for its start the next one waits, nothing else does.
 */
import { BrokerError } from "../../src/base/errors.ts";
import { Patience } from "../../src/base/patience.ts";
import type { Packet, Subscription as Requested, SubscribePacket, UnsubscribePacket } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { type FilterKind, filterKind } from "./filter-kind.ts";
import { Outbox } from "./outbox.ts";
import { ReplaySearch } from "./replay.ts";
import type { Session } from "./session.ts";
import { Subscription } from "./subscriptions.ts";

/** Matching goes one call deeper for each level of a filter. mosquitto allows as many. */
const FILTER_LEVELS_MAX = 200;

function levelsOf(filter: string): number {
	let levels = 1;
	for (let at = filter.indexOf("/"); at >= 0; at = filter.indexOf("/", at + 1)) levels++;
	return levels;
}

/** Of a session's filters together: a thousand of 65,535 would be much memory. */
const FILTER_CHARACTERS_MAX = 262_144;

/** Where each partition's replay begins, by the filter that asks for it. */
type Starts = ReadonlyMap<string, ReadonlyMap<number, number>>;
const NO_REPLAYS: Starts = new Map();
/** How long the object store may take to tell where a replay begins before the client's other packets go on, and then at a time. */
const FIRST_LOOK_MS = 1_000;
const LOOK_MS = 10_000;
/** Between two looks. */
const RETRY_MS = 1_000;

export function handleSubscribe(connection: Connection, session: Session, packet: SubscribePacket): void {
	const { engine } = connection;
	const replays = packet.subscriptions.filter(({ filter }) => filterKind(filter)?.kind === "replay");
	if (replays.length > 0) {
		inOrder(connection, session, (goOn) => subscribeWithReplays(connection, session, packet, replays, goOn));
		return;
	}
	const { log } = engine.broker;
	if (log.idle && connection.subscribing === undefined) {
		subscribeAll(connection, session, packet, NO_REPLAYS);
		return;
	}
	inOrder(connection, session, async () => {
		// What this client published before is before its subscription: that begins behind the commits under way. The
		// commit's events go to subscribers right after its listeners were called.
		if (!log.idle) await new Promise<void>((resolve) => log.onCommit({ committed: resolve }));
		if (connection.session === session) subscribeAll(connection, session, packet, NO_REPLAYS);
	});
}

/**
 * Runs `work` when those before it are done. No packet of the client is read until then, or until `work` says that they may
 * go on.
 */
function inOrder(connection: Connection, session: Session, work: (goOn: () => void) => Promise<void>): void {
	const before = connection.subscribing;
	let waits = true;
	const goOn = (): void => {
		if (waits) connection.idle();
		waits = false;
	};
	const run = async (): Promise<void> => {
		await before;
		try {
			if (connection.session === session) await work(goOn);
		} catch (error) {
			connection.fail(error);
		}
		if (connection.subscribing === over) connection.subscribing = undefined;
		goOn();
	};
	connection.busy();
	const over = run();
	connection.subscribing = over;
}

/** Where a time lies in the log is looked up on the disk, or in the object store: that may be away for a while. */
async function subscribeWithReplays(
	connection: Connection,
	session: Session,
	packet: SubscribePacket,
	replays: readonly Requested[],
	goOn: () => void,
): Promise<void> {
	const { engine } = connection;
	const { clock } = engine.broker;
	const searches = new Map<string, ReplaySearch>();
	for (const { filter } of replays) {
		const kind = filterKind(filter);
		if (kind?.kind === "replay") searches.set(filter, new ReplaySearch(engine, kind.match, kind.start));
	}
	for (let patienceMs = FIRST_LOOK_MS; ; patienceMs = LOOK_MS) {
		const patience = new Patience(clock, patienceMs);
		let isComplete = true;
		for (const search of searches.values()) isComplete = (await search.look(patience)) && isComplete;
		if (connection.session !== session || connection.ended) return;
		if (isComplete) break;
		goOn();
		await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
	}
	const starts = new Map([...searches].map(([filter, search]) => [filter, search.starts]));
	subscribeAll(connection, session, packet, starts);
}

function subscribeAll(connection: Connection, session: Session, packet: SubscribePacket, starts: Starts): void {
	const identifier = packet.properties.subscriptionIdentifier?.[0];
	const current: Subscription<Session>[] = [];
	let granted = false;
	const reasonCodes = packet.subscriptions.map((asked) => {
		const kind = filterKind(asked.filter);
		const isNew = session.subscriptions?.has(asked.filter) !== true;
		const result = subscribe(connection, session, asked, kind, identifier, starts.get(asked.filter));
		if (typeof result === "number") return result;
		granted = true;
		if (wantsCurrent(result, isNew)) current.push(result);
		return asked.qos;
	});
	const { engine } = connection;
	if (engine.retainAvailable) for (const each of current) engine.retainedDelivery.add(session.outbox!, each);
	answered(connection, session, { type: "suback", packetId: packet.packetId, reasonCodes, properties: {} }, granted);
	if (current.length === 0 && starts.size === 0) return;
	// SUBACK first, though the standard would allow otherwise.
	if (session.durable && session.outbox !== undefined) session.outbox.waits = true;
	const send = () => engine.guarded("sending what is retained", () => sendCurrent(connection, session, current));
	if (session.durable) engine.broker.log.onCommit({ committed: send });
	else send();
}

/** Whether a new subscription gets what is retained [MQTT-3.3.1-9, -10, -11]. */
function wantsCurrent({ kind, retainHandling }: Subscription<Session>, isNew: boolean): boolean {
	return kind === "plain" && (retainHandling === 0 || (retainHandling === 1 && isNew));
}

/** The subscription made, or the reason code of why not. */
function subscribe(
	connection: Connection,
	session: Session,
	asked: Requested,
	kind: FilterKind | undefined,
	identifier: number | undefined,
	starts: ReadonlyMap<number, number> | undefined,
): Subscription<Session> | number {
	const { engine } = connection;
	const { filter } = asked;
	if (kind === undefined || levelsOf(filter) > FILTER_LEVELS_MAX) return ReasonCode.TopicFilterInvalid;
	session.subscriptions ??= new Map();
	const former = session.subscriptions.get(filter);
	if (former === undefined && session.subscriptions.size >= engine.options.maxSubscriptionsPerSession) {
		return ReasonCode.QuotaExceeded;
	}
	if (former === undefined && session.filterCharacters + filter.length > FILTER_CHARACTERS_MAX) {
		return ReasonCode.QuotaExceeded;
	}
	const subscription = new Subscription(session, { ...asked, kind, identifier });
	session.outbox ??= new Outbox(session, connection, engine.stats, engine.ledgerOf(session));
	try {
		if (kind.kind === "share") {
			if (session.durable) engine.sessions.putSubscription(subscription);
			session.subscriptions.set(filter, subscription);
			engine.groups.join(session, subscription, kind.group);
			return subscription;
		}
		// The new one first: with none in between, its partitions stay under watch and nothing is missed [MQTT-3.8.4-3].
		session.subscriptions.set(filter, subscription);
		engine.deliveries.subscribe(subscription);
		if (former !== undefined) engine.deliveries.unsubscribe(former);
		if (kind.kind === "replay") {
			if (former === undefined) session.replays++;
			engine.deliveries.replay(subscription, starts ?? new Map());
		} else if (former === undefined) {
			engine.deliveries.boundBacklog(subscription);
		} else {
			subscription.since = former.since;
		}
		if (session.durable) engine.sessions.putSubscription(subscription);
		return subscription;
	} catch (error) {
		if (!(error instanceof BrokerError)) throw error;
		// Storage takes nothing now: the client is told so, and nothing has changed.
		takeBack(connection, session, subscription, kind, former);
		return ReasonCode.QuotaExceeded;
	}
}

function takeBack(
	connection: Connection,
	session: Session,
	subscription: Subscription<Session>,
	kind: FilterKind,
	former: Subscription<Session> | undefined,
): void {
	const { engine } = connection;
	if (kind.kind === "share") {
		if (former === undefined) engine.guarded("leaving a group", () => engine.groups.quit(session, kind.group));
	} else {
		if (former !== undefined) engine.deliveries.subscribe(former);
		engine.deliveries.unsubscribe(subscription);
		if (kind.kind === "replay" && former === undefined) session.replays--;
	}
	if (former === undefined) session.subscriptions!.delete(subscription.filter);
	else session.subscriptions!.set(subscription.filter, former);
}

/** What new subscriptions get at once: the gateway's own topics, and retained messages. */
function sendCurrent(connection: Connection, session: Session, current: readonly Subscription<Session>[]): void {
	const { engine } = connection;
	const { outbox } = session;
	if (connection.ended || outbox === undefined) return;
	outbox.waits = false;
	const nowMs = engine.broker.clock.now();
	for (const subscription of current) {
		for (const event of engine.sys.matching(subscription.match)) {
			if (!outbox.offer(event, subscription, nowMs)) engine.stats.droppedVolatile++;
		}
	}
	engine.catchUp.run(outbox);
}

export function handleUnsubscribe(connection: Connection, session: Session, packet: UnsubscribePacket): void {
	if (connection.subscribing === undefined) unsubscribeAll(connection, session, packet);
	else inOrder(connection, session, async () => unsubscribeAll(connection, session, packet));
}

function unsubscribeAll(connection: Connection, session: Session, packet: UnsubscribePacket): void {
	const { engine } = connection;
	const reasonCodes = packet.filters.map((filter) => {
		const subscription = session.subscriptions?.get(filter);
		if (subscription === undefined) return ReasonCode.NoSubscriptionExisted;
		if (session.durable) engine.sessions.deleteSubscription(session, filter);
		const kind = filterKind(filter);
		if (kind?.kind === "share") engine.groups.unsubscribe(session.clientId, kind.group, session);
		session.subscriptions!.delete(filter);
		if (kind?.kind === "share") return ReasonCode.Success;
		if (kind?.kind === "replay") session.replays--;
		if (session.outbox !== undefined) engine.retainedDelivery.cancel(session.outbox, filter);
		engine.deliveries.unsubscribe(subscription);
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

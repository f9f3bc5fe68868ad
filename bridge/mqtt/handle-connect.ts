/** CONNECT (section 3.1): who may come in, whose session it is, and the CONNACK that says what is true here. */
import { BrokerError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { decodePacket } from "./codec/decode.ts";
import { PUBREL } from "./codec/first-bytes.ts";
import { requireShortest } from "./codec/framing.ts";
import type { ConnectPacket, Properties } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import { filterKind } from "./filter-kind.ts";
import { AWAITS_PUBCOMP, Outbox } from "./outbox.ts";
import { NEVER_EXPIRES, Session } from "./session.ts";
import type { KeptSession } from "./session-store.ts";
import type { Subscription } from "./subscriptions.ts";
import { TopicAliases } from "./topic-aliases.ts";
import { willBytes } from "./wills.ts";

/** It is part of the keys that a session's rows have. */
const CLIENT_ID_MAX = 4096;
/** It is held as long as its connection. */
const WILL_BYTES_MAX = 131_072;

/** The first packet of a connection, at bytes[start..end). */
export function handleConnect(connection: Connection, bytes: Buffer, start: number, end: number): void {
	const packet = decodePacket(bytes, start, end, 4, "client");
	if (packet.type !== "connect") return;
	if (packet.version === 5) requireShortest(bytes, start, end);
	connect(connection, packet);
}

function connect(connection: Connection, packet: ConnectPacket): void {
	const { engine } = connection;
	const { options, broker } = engine;
	const { version, properties, will } = packet;
	connection.maxPacketBytes = properties.maximumPacketSize ?? Number.MAX_SAFE_INTEGER;
	const refuse = (reasonCode: number, why: string) => connection.refuse(version, reasonCode, why);
	if (options.redirectTo !== "" && options.redirectWhen === "always") {
		// Earlier versions have no word for where to; they learn that it is not here.
		const code = version === 5 ? ReasonCode.ServerMoved : ReasonCode.ServerUnavailable;
		connection.refuse(version, code, "clients belong elsewhere for good", options.redirectTo);
		return;
	}
	if (engine.full) {
		const why = `all of mqtt.max.connections=${options.maxConnections} are taken`;
		if (options.redirectTo === "" || version !== 5) refuse(ReasonCode.QuotaExceeded, why);
		else connection.refuse(version, ReasonCode.UseAnotherServer, why, options.redirectTo);
		return;
	}
	if (properties.authenticationMethod !== undefined) {
		refuse(ReasonCode.BadAuthenticationMethod, "no enhanced authentication is offered"); // [MQTT-4.12.0-1]
		return;
	}
	if (will !== undefined) {
		if (version === 5 && will.retain && !engine.retainAvailable) {
			refuse(ReasonCode.RetainNotSupported, "mqtt.max.retained.messages is 0"); // [MQTT-3.2.2-13]
			return;
		}
		if (willBytes(will) > WILL_BYTES_MAX) {
			refuse(ReasonCode.QuotaExceeded, `a will of more than ${WILL_BYTES_MAX} bytes`);
			return;
		}
		if (engine.routes.route(will.topic) === undefined) {
			refuse(ReasonCode.TopicNameInvalid, "no route takes the will's topic");
			return;
		}
	}
	if (packet.clientId.length > CLIENT_ID_MAX) {
		refuse(ReasonCode.ClientIdentifierNotValid, `a client identifier of more than ${CLIENT_ID_MAX} characters`);
		return;
	}
	const assigned = packet.clientId === "";
	if (assigned && (version === 3 || (version === 4 && !packet.cleanStart))) {
		refuse(ReasonCode.ClientIdentifierNotValid, "a session that is kept needs a client identifier"); // [MQTT-3.1.3-8] of 3.1.1
		return;
	}
	const clientId = assigned
		? `headwater-${(options.random ?? systemRandom).bytes(9).toString("base64url")}`
		: packet.clientId;

	// The same client elsewhere goes, and leaves its session as it is now [MQTT-3.1.4-3].
	const former = engine.clients.get(clientId);
	if (former !== undefined) {
		engine.stats.takeOvers++;
		former.end(ReasonCode.SessionTakenOver, "the same client identifier connected again");
	}

	const asked = version === 5 ? (properties.sessionExpiryInterval ?? 0) : packet.cleanStart ? 0 : NEVER_EXPIRES;
	const expirySeconds = Math.min(asked, options.maxSessionExpirySeconds);
	let kept: KeptSession | undefined;
	let session: Session;
	let changes = false;
	try {
		if (packet.cleanStart) changes = engine.sessions.delete(clientId);
		else kept = engine.sessions.load(clientId, broker.clock.now());
		session = kept?.session ?? new Session(clientId, expirySeconds);
		session.expirySeconds = expirySeconds;
		changes = engine.wills.returned(clientId, kept !== undefined, engine.tick) || changes;
		if (will !== undefined) engine.wills.keep(session, will);
		else changes = engine.wills.forget(clientId) || changes;
		// A session that is promised is there, also after a crash; a kept one's row is written when it has been resumed.
		if (session.durable && kept === undefined) engine.saveConnected(session);
		changes ||= will !== undefined || (session.durable && kept === undefined);
	} catch (error) {
		if (!(error instanceof BrokerError)) throw error;
		refuse(ReasonCode.QuotaExceeded, error.message);
		return;
	}
	connection.version = version;
	connection.will = will;
	connection.explains = properties.requestProblemInformation ?? true;
	connection.window = Math.min(properties.receiveMaximum ?? 65_535, options.maxInflight);
	const keepAlive = limitedKeepAlive(packet.keepAliveSeconds, version === 5 ? options.maxKeepAliveSeconds : 0);
	connection.keepAliveTicks = Math.ceil(keepAlive * 1.5); // more silent ticks than that are more than 1.5 times as many seconds
	const aliases = Math.min(properties.topicAliasMaximum ?? 0, options.topicAliasMaximum);
	if (aliases > 0) connection.aliases = new TopicAliases(aliases);
	connection.session = session;
	connection.pending = kept;
	engine.clients.set(clientId, connection);
	engine.stats.connects++;

	const said: { -readonly [K in keyof Properties]: Properties[K] } = {};
	if (version === 5) {
		said.receiveMaximum = options.receiveMaximum;
		said.maximumPacketSize = options.maxPacketBytes;
		if (!engine.retainAvailable) said.retainAvailable = false;
		if (options.topicAliasMaximum > 0) said.topicAliasMaximum = options.topicAliasMaximum;
		if (assigned) said.assignedClientIdentifier = clientId;
		if (keepAlive !== packet.keepAliveSeconds) said.serverKeepAlive = keepAlive;
		if (expirySeconds !== asked) said.sessionExpiryInterval = expirySeconds;
		const overtaken = kept === undefined ? 0 : engine.deliveries.overtaken(kept);
		if (overtaken > 0) {
			said.reasonString = `retention removed ${overtaken} events before this session read them`;
			said.userProperties = [["headwater-lost-events", String(overtaken)]];
		}
	}
	// A session that goes on may be one that a commit under way has.
	if (!changes && (kept === undefined || broker.log.idle)) {
		accept(connection, session, kept, said);
		return;
	}
	// CONNACK promises nothing that is not durable, and nothing comes before it.
	connection.busy();
	broker.log.onCommit({
		committed() {
			if (connection.session !== session) return;
			try {
				accept(connection, session, kept, said);
			} catch (error) {
				connection.fail(error);
			}
			connection.idle();
		},
	});
}

function accept(connection: Connection, session: Session, kept: KeptSession | undefined, properties: Properties): void {
	const reasonCode = ReasonCode.Success;
	if (!connection.send({ type: "connack", sessionPresent: kept !== undefined, reasonCode, properties })) {
		// The client's Maximum Packet Size does not let CONNACK through, and nothing may come before it [MQTT-3.2.0-1].
		connection.dropWill(session);
		connection.close();
		return;
	}
	connection.accepted = true;
	connection.pending = undefined;
	if (kept === undefined) return;
	resume(connection, session, kept);
	connection.engine.saveConnected(session);
}

function limitedKeepAlive(seconds: number, maximum: number): number {
	if (maximum === 0) return seconds;
	return seconds === 0 ? maximum : Math.min(seconds, maximum);
}

/** Subscriptions stand again, and delivery goes on from where it was. */
function resume(connection: Connection, session: Session, kept: KeptSession): void {
	const { engine } = connection;
	if (session.subscriptions === undefined && kept.cursors.inflight.length === 0 && kept.sent.length === 0) return;
	const outbox = new Outbox(session, connection, engine.stats, engine.ledgerOf(session));
	session.outbox = outbox;
	const shares: [subscription: Subscription<Session>, group: string][] = [];
	for (const subscription of session.subscriptions?.values() ?? []) {
		const kind = filterKind(subscription.filter);
		if (kind?.kind === "share") {
			engine.groups.wake(subscription, kind.group);
			shares.push([subscription, kind.group]);
		} else engine.deliveries.subscribe(subscription);
	}
	engine.deliveries.resume(outbox, kept);
	engine.retainedDelivery.resume(outbox, kept);
	// Behind `resume`: a group may want earlier events than the session's own subscriptions.
	for (const [subscription, group] of shares) engine.groups.join(session, subscription, group);
	for (const delivery of outbox.inflight.values()) {
		// What the client took has only to be released [MQTT-4.4.0-1].
		if (delivery.state !== AWAITS_PUBCOMP) continue;
		// That it took the message may be known from a commit under way only.
		if (engine.broker.log.idle) connection.output.response(PUBREL, delivery.packetId);
		else connection.output.responseOnCommit(PUBREL, delivery.packetId);
		connection.outputPending();
	}
	engine.catchUp.run(outbox);
}

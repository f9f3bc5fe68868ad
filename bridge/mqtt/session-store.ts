/**
 * Sessions that are kept, as rows of the state table. A session has one row that says where it stands: when it expires, the
 * offset to go on from per partition, and the QoS 1 deliveries under way, so that they go on under their packet identifiers
 * [MQTT-4.4.0-1]. Beside it a row each, written when the thing itself changes and durable with its commit:
 *   - for every subscription, so that a SUBSCRIBE costs the same however many there are;
 *   - for every QoS 2 publish received and not yet released, in the commit of its record;
 *   - for every QoS 2 delivery, until the session's own row is written with a cursor behind it.
 */

import type { Log } from "../../src/log/log.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import type { Qos } from "./codec/packets.ts";
import { filterKind } from "./filter-kind.ts";
import type { Delivery, DeliveryLedger, Settled } from "./outbox.ts";
import { expiryMs, Session } from "./session.ts";
import { putGiven } from "./shared-store.ts";
import { RETAINED_PARTITION } from "./stored-event.ts";
import { Subscription } from "./subscriptions.ts";

// Rows beside a session's own are in MQTT_RECEIVED, under the client id, a NUL, which no client id has, and what they are.
const { MQTT_RECEIVED, MQTT_SESSION } = StateSpace;
const SUBSCRIPTION = "s";
const SENT = "q";

/** Where an absent session goes on. */
export interface Cursors {
	/** Partition id and the next offset to send. */
	readonly next: readonly (readonly [partition: number, offset: number])[];
	/** Partitions with a higher id were made while the client was away: they are due from their start. */
	readonly highestPartition: number;
	/** Sent at QoS 1 and not acknowledged; of a retained message the topic. */
	readonly inflight: readonly (readonly [
		packetId: number,
		partition: number,
		offset: number,
		order: number,
		topic?: string,
	])[];
	/** Partition id and, where `next` went back for a replay or a group, the offset below which all else was sent. */
	readonly floors?: readonly (readonly [partition: number, offset: number])[];
	/** By filter of a replay: partition id and the offset from which on events are for it. */
	readonly replays?: readonly (readonly [filter: string, since: readonly (readonly [number, number])[]])[];
	/** By filter: up to which topic its retained messages were sent, and the session's last delivery before the first of them. */
	readonly retained?: readonly (readonly [filter: string, after: string | null, sinceOrder: number])[];
	readonly lastPacketId: number;
	readonly lastOrder: number;
}

/** A delivery at QoS 2 that may have reached the client. */
export interface SentDelivery {
	readonly packetId: number;
	readonly partition: number;
	readonly offset: number;
	readonly shared: boolean;
	/** Of a retained message. */
	readonly topic?: string;
	/** As outbox.ts has it: waits for PUBREC, or for PUBCOMP at most. */
	readonly state: 2 | 3;
	readonly order: number;
}

export interface KeptSession {
	readonly session: Session;
	readonly cursors: Cursors;
	readonly sent: readonly SentDelivery[];
}

interface Row {
	readonly format: 2;
	readonly expirySeconds: number;
	readonly cursors: Cursors;
}

interface SubscriptionRow {
	readonly qos: Qos;
	readonly noLocal?: boolean;
	readonly retainAsPublished?: boolean;
	readonly retainHandling?: 0 | 1 | 2;
	readonly identifier?: number;
	/** Partition id and the offset from which on events are for it. */
	readonly since?: readonly (readonly [partition: number, offset: number])[];
}

/** A row begins with the time it expires, a float64 of milliseconds: Infinity never, NaN as long as its client is connected. */
const EXPIRY_BYTES = 8;
const SENT_BYTES = 9;
/** Beside the state: it was a group's. */
const SHARED = 0x80;
/** What a row's key and operation add, generously. */
const ROW_OVERHEAD_BYTES = 64;
/** Of rows that are looked at together for whether they have expired. */
const EXPIRE_BYTES = 64 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** All that changes anything throws BrokerError where storage takes nothing. */
export class SessionStore {
	readonly #log: Log;
	/** Where `expire` goes on. */
	#expired = "";
	readonly #shareEnded: (clientId: string, group: string) => void;

	/** `shareEnded`: a session that ends took part in that group. */
	constructor(log: Log, shareEnded: (clientId: string, group: string) => void) {
		this.#log = log;
		this.#shareEnded = shareEnded;
	}

	/** The session as it was left, and where it stands; undefined if there is none, or it has expired at `nowMs`. */
	load(clientId: string, nowMs: number): KeptSession | undefined {
		const bytes = this.#log.getState(MQTT_SESSION, clientId);
		if (bytes === undefined) return undefined;
		const row = bufferOf(bytes);
		if (row.readDoubleLE(0) <= nowMs) {
			this.delete(clientId);
			return undefined;
		}
		const { expirySeconds, cursors } = decodeRow(row);
		const session = new Session(clientId, expirySeconds);
		const sent: SentDelivery[] = [];
		const prefix = `${clientId}\0`;
		for (const [key, value] of this.#log.scanState(MQTT_RECEIVED, prefix)) {
			const kind = key[prefix.length];
			const rest = key.slice(prefix.length + 1);
			if (kind === SUBSCRIPTION) addSubscription(session, rest, bufferOf(value));
			else if (kind === SENT) sent.push(decodeSent(rest, bufferOf(value)));
			else {
				session.received ??= new Set();
				session.received.add(Number(key.slice(prefix.length)));
			}
		}
		sent.sort((a, b) => a.order - b.order);
		return { session, cursors, sent };
	}

	/**
	 * Where the session stands. `expiresMs`: Infinity for never, NaN while the client is connected. `settled` are QoS 2
	 * deliveries that are over and behind the cursors: their rows go in the same commit.
	 */
	save(session: Session, cursors: Cursors, expiresMs: number, settled: readonly Settled[] = []): void {
		const row: Row = { format: 2, expirySeconds: session.expirySeconds, cursors };
		const json = Buffer.from(JSON.stringify(row), "utf8");
		const bytes = Buffer.allocUnsafe(EXPIRY_BYTES + json.length);
		bytes.writeDoubleLE(expiresMs, 0);
		json.copy(bytes, EXPIRY_BYTES);
		const keyBytes = session.clientId.length * 3 + ROW_OVERHEAD_BYTES;
		this.#log.group(bytes.length + keyBytes * (1 + settled.length), () => {
			this.#log.putState(MQTT_SESSION, session.clientId, bytes);
			for (const each of settled) this.#log.deleteState(MQTT_RECEIVED, sentKey(session.clientId, each));
		});
		session.stale = false;
	}

	/** The session ends: nothing of it stays. False: there was none. */
	delete(clientId: string): boolean {
		// What is kept beside a session's own row is kept only while there is one.
		if (this.#log.getState(MQTT_SESSION, clientId) === undefined) return false;
		const prefix = `${clientId}\0`;
		const keys = [...this.#log.scanState(MQTT_RECEIVED, prefix)].map(([key]) => key);
		for (const key of keys) {
			this.#log.deleteState(MQTT_RECEIVED, key);
			const kind = key[prefix.length] === SUBSCRIPTION ? filterKind(key.slice(prefix.length + 1)) : undefined;
			if (kind?.kind === "share") this.#shareEnded(clientId, kind.group);
		}
		// Last: they may be too many for one commit, and what a crash leaves of them must not outlive it.
		this.#log.deleteState(MQTT_SESSION, clientId);
		return true;
	}

	putSubscription(subscription: Subscription<Session>): void {
		const { filter, qos, noLocal, retainAsPublished, retainHandling, identifiers, subscriber, since } = subscription;
		const row: SubscriptionRow = {
			qos,
			...(noLocal && { noLocal }),
			...(retainAsPublished && { retainAsPublished }),
			...(retainHandling !== 0 && { retainHandling }),
			...(identifiers !== undefined && { identifier: identifiers[0]! }),
			...(since !== undefined && { since: [...since] }),
		};
		const key = `${subscriber.clientId}\0${SUBSCRIPTION}${filter}`;
		this.#log.putState(MQTT_RECEIVED, key, Buffer.from(JSON.stringify(row), "utf8"));
	}

	deleteSubscription(session: Session, filter: string): void {
		this.#log.deleteState(MQTT_RECEIVED, `${session.clientId}\0${SUBSCRIPTION}${filter}`);
	}

	/** A QoS 2 publish was stored: in the commit of its record. */
	putReceived(session: Session, packetId: number): void {
		this.#log.putState(MQTT_RECEIVED, `${session.clientId}\0${packetId}`, NO_BYTES);
	}

	deleteReceived(session: Session, packetId: number): void {
		this.#log.deleteState(MQTT_RECEIVED, `${session.clientId}\0${packetId}`);
	}

	/** Where a kept session's outbox keeps its QoS 2 deliveries. */
	ledgerOf(session: Session): DeliveryLedger {
		return new SessionLedger(this.#log, session.clientId);
	}

	/**
	 * Ends sessions whose time is over at `nowMs`, among the next few of them, `rows` at most, going round. Returns how many.
	 * One that it has not come to yet is found to have ended when its client comes back.
	 */
	expire(nowMs: number, rows: number): number {
		const page = this.#log.pageState(MQTT_SESSION, this.#expired, undefined, rows, EXPIRE_BYTES);
		const over = page.filter(([, bytes]) => bufferOf(bytes).readDoubleLE(0) <= nowMs);
		for (const [clientId] of over) this.delete(clientId);
		const last = page.at(-1)?.[0];
		// The next key there can be; from the start again behind the last.
		this.#expired = last === undefined ? "" : `${last}\0`;
		return over.length;
	}

	/** After a crash: sessions whose clients were connected begin to expire at `nowMs`. */
	allDisconnected(nowMs: number): void {
		const connected: [string, Buffer][] = [];
		for (const [clientId, bytes] of this.#log.scanState(MQTT_SESSION, "")) {
			const row = Buffer.from(bytes);
			if (Number.isNaN(row.readDoubleLE(0))) connected.push([clientId, row]);
		}
		for (const [clientId, row] of connected) {
			row.writeDoubleLE(expiryMs(decodeRow(row).expirySeconds, nowMs), 0);
			this.#log.putState(MQTT_SESSION, clientId, row);
		}
	}
}

class SessionLedger implements DeliveryLedger {
	readonly #log: Log;
	readonly #clientId: string;

	constructor(log: Log, clientId: string) {
		this.#log = log;
		this.#clientId = clientId;
	}

	record(delivery: Delivery): void {
		const { partition, offset, state, packetId, order, topic, group, bucket = 0, shared } = delivery;
		const bytes = Buffer.allocUnsafe(SENT_BYTES + (topic === undefined ? 0 : Buffer.byteLength(topic)));
		bytes[0] = shared === true ? state | SHARED : state;
		bytes.writeUInt16LE(packetId, 1);
		bytes.writeUIntLE(order, 3, 6);
		if (topic !== undefined) bytes.write(topic, SENT_BYTES, "utf8");
		const put = () => this.#log.putState(MQTT_RECEIVED, sentKey(this.#clientId, delivery), bytes);
		if (group === undefined) {
			put();
			return;
		}
		// That it is this session's, and that no other member gets it, is one change.
		const keysBytes = (this.#clientId.length + group.name.length) * 3;
		this.#log.group(bytes.length + keysBytes + 2 * ROW_OVERHEAD_BYTES, () => {
			put();
			putGiven(this.#log, group.name, partition, offset, bucket);
		});
	}

	forget(delivery: Settled): void {
		this.#log.deleteState(MQTT_RECEIVED, sentKey(this.#clientId, delivery));
	}
}

/** With the order: one event may be delivered twice, to a subscription of the session's own and as a group's. */
function sentKey(clientId: string, { partition, offset, order }: Settled): string {
	return `${clientId}\0${SENT}${partition}.${offset}.${order}`;
}

function decodeSent(place: string, bytes: Buffer): SentDelivery {
	const [partition, offset] = place.split(".").map(Number) as [number, number];
	return {
		partition,
		offset,
		shared: (bytes[0]! & SHARED) !== 0,
		...(partition === RETAINED_PARTITION && { topic: bytes.toString("utf8", SENT_BYTES) }),
		state: (bytes[0]! & ~SHARED) === 3 ? 3 : 2,
		packetId: bytes.readUInt16LE(1),
		order: bytes.readUIntLE(3, 6),
	};
}

function addSubscription(session: Session, filter: string, bytes: Buffer): void {
	const row = JSON.parse(bytes.toString("utf8")) as SubscriptionRow;
	const kind = filterKind(filter);
	if (kind === undefined) return; // no version stored such a one
	const subscription = new Subscription(session, { filter, kind, ...row });
	if (row.since !== undefined) {
		subscription.since = new Map(row.since);
		session.bounded = true;
	}
	if (kind.kind === "replay") session.replays++;
	session.subscriptions ??= new Map();
	session.subscriptions.set(filter, subscription);
	session.noLocal ||= row.noLocal === true;
}

function bufferOf(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decodeRow(row: Buffer): Row {
	const decoded = JSON.parse(row.toString("utf8", EXPIRY_BYTES)) as Row;
	if (decoded.format !== 2) {
		throw new Error(`an MQTT session row of format ${decoded.format}; this version knows 2: another version wrote it`);
	}
	return decoded;
}

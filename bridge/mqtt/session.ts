/**
 * A session: what the broker knows of a client beyond one connection. While its client is away a session is one row in
 * the state table and nothing in memory: subscriptions, and per partition the offset to go on from. The row also keeps
 * the deliveries that were under way, so that they go on under their packet identifiers [MQTT-4.4.0-1]. Inbound QoS 2
 * identifiers have rows of their own, written in the commit of their record.
 */

import { StateSpace } from "../../src/broker/state-spaces.ts";
import type { Log } from "../../src/log/log.ts";
import type { Qos } from "./codec/packets.ts";
import type { Outbox } from "./outbox.ts";
import { Subscription } from "./subscriptions.ts";

const { MQTT_RECEIVED, MQTT_SESSION } = StateSpace;

/** Session Expiry Interval that never ends (5.0 section 3.1.2.11.2). */
export const NEVER_EXPIRES = 0xffff_ffff;

export class Session {
	readonly clientId: string;
	/** Seconds that it outlives its connection; 0: not at all. */
	expirySeconds: number;
	/** By filter. */
	subscriptions: Map<string, Subscription<Session>> | undefined;
	/** Packet identifiers of QoS 2 publishes received and not yet released. */
	received: Set<number> | undefined;
	/** Made with the first subscription, while connected. */
	outbox: Outbox | undefined;
	/** A subscription of it is No Local: its publishes have to carry their client's id. */
	noLocal = false;
	/** Cursors moved since the row was written. */
	stale = false;

	constructor(clientId: string, expirySeconds: number) {
		this.clientId = clientId;
		this.expirySeconds = expirySeconds;
	}

	get durable(): boolean {
		return this.expirySeconds > 0;
	}
}

/** Where an absent session goes on. */
export interface Cursors {
	/** Partition id and the next offset to send. */
	readonly next: readonly (readonly [partition: number, offset: number])[];
	/** Partitions with a higher id were made while the client was away: they are due from their start. */
	readonly highestPartition: number;
	/** Sent and not yet acknowledged for good; `state` as outbox.ts has it. */
	readonly inflight: readonly (readonly [packetId: number, partition: number, offset: number, state: 1 | 2 | 3])[];
	readonly lastPacketId: number;
}

interface Row {
	readonly format: 1;
	readonly expirySeconds: number;
	readonly subscriptions: readonly {
		readonly filter: string;
		readonly qos: Qos;
		readonly noLocal?: boolean;
		readonly retainAsPublished?: boolean;
		readonly retainHandling?: 0 | 1 | 2;
		readonly identifier?: number;
	}[];
	readonly cursors: Cursors;
}

/** A row begins with the time it expires, a float64 of milliseconds: Infinity never, NaN as long as its client is connected. */
const EXPIRY_BYTES = 8;

export class SessionStore {
	readonly #log: Log;

	constructor(log: Log) {
		this.#log = log;
	}

	/** The session as it was left, and its cursors; undefined if there is none, or it has expired at `nowMs`. */
	load(clientId: string, nowMs: number): { session: Session; cursors: Cursors } | undefined {
		const bytes = this.#log.getState(MQTT_SESSION, clientId);
		if (bytes === undefined) return undefined;
		const row = rowBytes(bytes);
		if (row.readDoubleLE(0) <= nowMs) {
			this.delete(clientId);
			return undefined;
		}
		const { expirySeconds, subscriptions, cursors } = decodeRow(row);
		const session = new Session(clientId, expirySeconds);
		for (const each of subscriptions) {
			session.subscriptions ??= new Map();
			session.subscriptions.set(each.filter, new Subscription(session, each));
			session.noLocal ||= each.noLocal === true;
		}
		const prefix = `${clientId}\0`;
		for (const [key] of this.#log.scanState(MQTT_RECEIVED, prefix)) {
			session.received ??= new Set();
			session.received.add(Number(key.slice(prefix.length)));
		}
		return { session, cursors };
	}

	/** `expiresMs`: Infinity for never, NaN while the client is connected. */
	save(session: Session, cursors: Cursors, expiresMs: number): void {
		const row: Row = {
			format: 1,
			expirySeconds: session.expirySeconds,
			subscriptions: [...(session.subscriptions?.values() ?? [])].map((each) => ({
				filter: each.filter,
				qos: each.qos,
				...(each.noLocal && { noLocal: true }),
				...(each.retainAsPublished && { retainAsPublished: true }),
				...(each.retainHandling !== 0 && { retainHandling: each.retainHandling }),
				...(each.identifiers !== undefined && { identifier: each.identifiers[0]! }),
			})),
			cursors,
		};
		const json = Buffer.from(JSON.stringify(row), "utf8");
		const bytes = Buffer.allocUnsafe(EXPIRY_BYTES + json.length);
		bytes.writeDoubleLE(expiresMs, 0);
		json.copy(bytes, EXPIRY_BYTES);
		this.#log.putState(MQTT_SESSION, session.clientId, bytes);
		session.stale = false;
	}

	/** The session ends: nothing of it stays. */
	delete(clientId: string): void {
		if (this.#log.getState(MQTT_SESSION, clientId) !== undefined) this.#log.deleteState(MQTT_SESSION, clientId);
		const keys = [...this.#log.scanState(MQTT_RECEIVED, `${clientId}\0`)].map(([key]) => key);
		for (const key of keys) this.#log.deleteState(MQTT_RECEIVED, key);
	}

	/** A QoS 2 publish was stored: in the commit of its record. */
	putReceived(session: Session, packetId: number): void {
		this.#log.putState(MQTT_RECEIVED, `${session.clientId}\0${packetId}`, NO_BYTES);
	}

	deleteReceived(session: Session, packetId: number): void {
		this.#log.deleteState(MQTT_RECEIVED, `${session.clientId}\0${packetId}`);
	}

	/** Ends the sessions whose time is over at `nowMs`. Returns how many. */
	expire(nowMs: number): number {
		const over: string[] = [];
		for (const [clientId, bytes] of this.#log.scanState(MQTT_SESSION, "")) {
			if (rowBytes(bytes).readDoubleLE(0) <= nowMs) over.push(clientId);
		}
		for (const clientId of over) this.delete(clientId);
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

const NO_BYTES = Buffer.alloc(0);

/** When a session left at `nowMs` expires. */
export function expiryMs(expirySeconds: number, nowMs: number): number {
	return expirySeconds === NEVER_EXPIRES ? Number.POSITIVE_INFINITY : nowMs + expirySeconds * 1000;
}

function rowBytes(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decodeRow(row: Buffer): Row {
	const decoded = JSON.parse(row.toString("utf8", EXPIRY_BYTES)) as Row;
	if (decoded.format !== 1) {
		throw new Error(`an MQTT session row of format ${decoded.format}; this version knows 1: a newer gateway wrote it`);
	}
	return decoded;
}

/**
 * One simulated device. It measures by its schedule, publishes what is due, keeps what is not yet
 * acknowledged, and after a lost link comes back with its session (clean session 0), resends that in order
 * (DUP, MQTT 4.4), then sends the backlog in order, never more than its window unacknowledged. A
 * backlog is a position in the schedule: an event's values are computed when it is first sent.
 */
import type { SimulatedRandom } from "../src/base/random-simulated.ts";
import { encodeEvent } from "./event.ts";
import type { LatencyHistogram } from "./histogram.ts";
import type { DeviceLedger } from "./ledger.ts";
import { type Acknowledgement, type Connack, type CutKind, MqttConnection } from "./mqtt-client.ts";
import { encodePublish, encodePubrel, type MqttVersion, type Qos } from "./mqtt-packets.ts";
import type { Profile } from "./profiles.ts";
import type { Schedule } from "./schedule.ts";

/** What the devices of a fleet share and add to. */
export interface FleetState {
	readonly run: string;
	readonly host: string;
	readonly port: number;
	readonly qos: Qos;
	readonly version: MqttVersion;
	/** Publishes unacknowledged at a time, per device. */
	readonly window: number;
	/** Mean time from a connection to its cut; 0 for never. */
	readonly flakyMs: number;
	/** Mean time from a cut to the next connection. */
	readonly offlineMs: number;
	/** The run's start, by Date.now() and by performance.now(). */
	readonly startWallMs: number;
	readonly startMs: number;
	readonly latency: LatencyHistogram;
	readonly lateLatency: LatencyHistogram;
	readonly counters: FleetCounters;
}

export interface FleetCounters {
	connected: number;
	sent: number;
	acked: number;
	drops: number;
	reconnects: number;
	sessionsLost: number;
	protocolErrors: number;
	/** The last thing that went wrong with a connection, for people. */
	problem: string | undefined;
}

export interface DeviceParts {
	readonly topic: string;
	readonly schedule: Schedule;
	readonly profile: Profile;
	readonly random: SimulatedRandom;
	readonly ledger: DeviceLedger;
}

interface InFlight {
	readonly seq: number;
	packetId: number;
	/** Dropped once the gateway has it. */
	payload: Buffer | undefined;
	readonly dueMs: number;
	sentMs: number;
	late: boolean;
	/** QoS 2: PUBREC has come, PUBREL is what to resend. */
	released: boolean;
}

const KEEP_ALIVE_SECONDS = 30;
const CONNECT_TIMEOUT_MS = 10_000;
/** Kept by a version 5 gateway for a device that does not come back. */
const SESSION_EXPIRY_SECONDS = 3600;
/** An event first sent this long after it was due had to wait for its link or for the window. */
const LATE_MS = 100;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;
const SOON_MS = 500;
const PERMILLE_CUTS: Readonly<Record<CutKind, number>> = { reset: 300, close: 300, torn: 200, abandoned: 200 };

export class Device {
	readonly #fleet: FleetState;
	readonly #parts: DeviceParts;
	readonly #clientId: string;
	readonly #inFlight = new Map<number, InFlight>();
	readonly #drained: Promise<void>;
	#resolveDrained!: () => void;
	#connection: MqttConnection | undefined;
	#abandoned: MqttConnection[] = [];
	#online = false;
	/** In flight from an earlier connection and not yet sent on this one. */
	#resends: InFlight[] = [];
	#window: number;
	/** The next event to be sent for the first time, and the first that is not to be sent at all. */
	#next = 0;
	#limit: number;
	#nextPacketId = 1;
	#connections = 0;
	#retryMs = FIRST_RETRY_MS;
	/** QoS 0: the first event sent on this connection. */
	#firstOnConnection = 0;
	#dueTimer: NodeJS.Timeout | undefined;
	#cutTimer: NodeJS.Timeout | undefined;
	#connectTimer: NodeJS.Timeout | undefined;
	#mayCut = true;

	constructor(fleet: FleetState, parts: DeviceParts) {
		this.#fleet = fleet;
		this.#parts = parts;
		// 23 characters at most, as MQTT 3.1 asks; of its own in each run, so that no older session answers for it.
		this.#clientId = `${fleet.run}-${parts.ledger.name}`;
		this.#limit = parts.schedule.count;
		this.#window = fleet.window;
		this.#drained = new Promise((resolve) => {
			this.#resolveDrained = resolve;
		});
	}

	get inFlight(): number {
		return this.#inFlight.size;
	}

	/** Events due by `elapsedMs` and not yet sent at all. */
	backlog(elapsedMs: number): number {
		return Math.max(0, Math.min(this.#limit, this.#parts.schedule.dueBy(elapsedMs)) - this.#next);
	}

	start(delayMs: number): void {
		this.#connectIn(delayMs);
	}

	/** No more cuts, links that are broken come back soon, and no events due after `elapsedMs`; resolves when all before are sent and acknowledged. */
	drain(elapsedMs: number): Promise<void> {
		this.#mayCut = false;
		clearTimeout(this.#cutTimer);
		this.#limit = Math.max(this.#next, Math.min(this.#limit, this.#parts.schedule.dueBy(elapsedMs)));
		if (this.#connectTimer) {
			clearTimeout(this.#connectTimer);
			this.#connectIn(SOON_MS * Math.random());
		}
		this.#pump();
		this.#checkDrained();
		return this.#drained;
	}

	/** Ends the connection in order, and with it the session. */
	async finish(): Promise<void> {
		const connection = this.#connection;
		if (this.#online && connection) {
			if (this.#fleet.qos === 0 && this.#next > this.#firstOnConnection) await this.#confirmQos0(connection);
			this.#leave();
			await connection.disconnect(true);
			if (this.#fleet.version !== 5) await this.#endSession();
		}
		this.abort();
	}

	/** Lets go of everything at once. */
	abort(): void {
		this.#leave();
		clearTimeout(this.#connectTimer);
		this.#connection?.release();
		for (const connection of this.#abandoned) connection.release();
		this.#abandoned = [];
	}

	#connectIn(delayMs: number): void {
		this.#connectTimer = setTimeout(() => {
			this.#connectTimer = undefined;
			this.#connect();
		}, delayMs);
	}

	#connectFields(clean: boolean) {
		const { host, port, version } = this.#fleet;
		return {
			host,
			port,
			version,
			clientId: this.#clientId,
			clean,
			keepAliveSeconds: KEEP_ALIVE_SECONDS,
			sessionExpirySeconds: clean ? 0 : SESSION_EXPIRY_SECONDS,
			connectTimeoutMs: CONNECT_TIMEOUT_MS,
		};
	}

	#connect(): void {
		this.#connection = new MqttConnection(this.#connectFields(false), {
			connected: (connack) => this.#connected(connack),
			acknowledged: (answer) => this.#acknowledged(answer),
			ready: () => this.#pump(),
			lost: (why) => this.#lost(why),
		});
	}

	#connected(connack: Connack): void {
		const { counters, qos, version, flakyMs, window } = this.#fleet;
		if (connack.maximumQos < qos) {
			this.#connection?.release();
			this.#lost(`the gateway takes QoS ${connack.maximumQos} at most`);
			return;
		}
		this.#online = true;
		this.#retryMs = FIRST_RETRY_MS;
		this.#window = Math.min(window, connack.receiveMaximum);
		this.#firstOnConnection = this.#next;
		counters.connected++;
		const first = this.#connections++ === 0;
		if (!first) {
			counters.reconnects++;
			// Version 3.1 does not say; a device then goes on as if the session were there.
			if (!connack.sessionPresent && version !== 3) {
				counters.sessionsLost++;
				this.#forgetSession();
			}
		}
		this.#resends = [...this.#inFlight.values()];
		for (const entry of this.#resends) entry.late = true;
		for (const connection of this.#abandoned) connection.release();
		this.#abandoned = [];
		if (flakyMs > 0 && this.#mayCut) this.#cutTimer = setTimeout(() => this.#cut(), this.#exponential(flakyMs));
		// ready() follows, and with it the first packets.
	}

	/** 3.2.2.1.1: the gateway has no session, so there are no packet identifiers to go on with: what it has not acknowledged is new to it. */
	#forgetSession(): void {
		const entries = [...this.#inFlight.values()];
		this.#inFlight.clear();
		for (const entry of entries) {
			if (entry.released) continue;
			entry.sentMs = 0;
			this.#keep(entry);
		}
	}

	#pump(): void {
		const connection = this.#connection;
		while (this.#online && connection && !connection.full) {
			const outstanding = this.#inFlight.size - this.#resends.length;
			if (outstanding >= this.#window) break;
			const again = this.#resends.shift();
			if (again) this.#sendAgain(connection, again);
			else if (this.#next >= this.#limit || !this.#sendNext(connection)) break;
		}
		this.#checkDrained();
	}

	#sendAgain(connection: MqttConnection, entry: InFlight): void {
		if (entry.released || !entry.payload) {
			connection.send(encodePubrel(entry.packetId));
			return;
		}
		const { qos, version } = this.#fleet;
		this.#parts.ledger.noteSent(entry.seq);
		// A packet that got a new identifier is a new one (forgetSession), any other a repeated one (3.3.1.1).
		connection.send(encodePublish(version, this.#parts.topic, entry.payload, qos, entry.sentMs > 0, entry.packetId));
		entry.sentMs = performance.now();
	}

	/** Sends the next event if it is due; false, and a timer set, when it is not. */
	#sendNext(connection: MqttConnection): boolean {
		const { startMs, qos, version, counters } = this.#fleet;
		const seq = this.#next;
		const dueMs = this.#parts.schedule.dueMs(seq);
		const now = performance.now();
		if (startMs + dueMs > now) {
			clearTimeout(this.#dueTimer);
			this.#dueTimer = setTimeout(() => this.#pump(), Math.ceil(startMs + dueMs - now));
			return false;
		}
		const payload = this.#payload(seq, dueMs);
		this.#next++;
		this.#parts.ledger.noteSent(seq);
		counters.sent++;
		if (qos === 0) {
			connection.send(encodePublish(version, this.#parts.topic, payload, 0, false, 0));
			return true;
		}
		const late = now - (startMs + dueMs) > LATE_MS;
		const entry: InFlight = { seq, packetId: 0, payload, dueMs, sentMs: now, late, released: false };
		this.#keep(entry);
		connection.send(encodePublish(version, this.#parts.topic, payload, qos, false, entry.packetId));
		return true;
	}

	#payload(seq: number, dueMs: number): Buffer {
		const timeMs = Math.floor(this.#fleet.startWallMs + dueMs);
		const identity = { run: this.#fleet.run, device: this.#parts.ledger.name, seq, timeMs };
		return encodeEvent(identity, this.#parts.profile.measure(dueMs / 1000));
	}

	/** Gives the event a free packet identifier; those in flight stand in the order of sending. */
	#keep(entry: InFlight): void {
		while (this.#inFlight.has(this.#nextPacketId)) this.#nextPacketId = (this.#nextPacketId % 65_535) + 1;
		entry.packetId = this.#nextPacketId;
		this.#nextPacketId = (this.#nextPacketId % 65_535) + 1;
		this.#inFlight.set(entry.packetId, entry);
	}

	#acknowledged({ type, packetId, reasonCode }: Acknowledgement): void {
		const { qos } = this.#fleet;
		const entry = this.#inFlight.get(packetId);
		const expected = qos === 1 ? "puback" : entry?.released ? "pubcomp" : "pubrec";
		// A gateway may repeat a PUBREC until it has seen the PUBREL.
		const known = type === expected || (type === "pubrec" && qos === 2);
		if (!entry || !known || this.#resends.includes(entry)) {
			this.#fleet.counters.protocolErrors++;
			this.#fleet.counters.problem = `a ${type} for packet ${packetId}, which was not sent`;
			return;
		}
		const refused = reasonCode >= 0x80;
		if (type === "pubcomp" || type === "puback" || refused) this.#inFlight.delete(packetId);
		// Not for a PUBCOMP or a second PUBREC.
		if (!entry.released) this.#settle(entry, refused, reasonCode);
		if (type === "pubrec" && !refused) {
			entry.released = true;
			entry.payload = undefined;
			this.#connection?.send(encodePubrel(packetId));
		}
	}

	#settle(entry: InFlight, refused: boolean, reasonCode: number): void {
		const { counters, latency, lateLatency, startMs } = this.#fleet;
		if (refused) {
			this.#parts.ledger.refused.add(entry.seq);
			counters.problem = `the gateway refused an event, reason 0x${reasonCode.toString(16)}`;
			return;
		}
		this.#parts.ledger.acked.add(entry.seq);
		counters.acked++;
		const now = performance.now();
		if (entry.late) lateLatency.record(now - (startMs + entry.dueMs));
		else latency.record(now - entry.sentMs);
	}

	#cut(): void {
		const { counters, qos, version, offlineMs } = this.#fleet;
		const connection = this.#connection;
		if (!this.#online || !connection) return;
		counters.drops++;
		this.#leave();
		const kind = this.#parts.random.weighted(PERMILLE_CUTS);
		// Half a PUBLISH that no event stands behind: its topic is the device's, its payload is not an event.
		connection.cut(kind, encodePublish(version, this.#parts.topic, Buffer.alloc(200, "-"), qos, false, 65_535));
		if (kind === "abandoned") this.#abandoned.push(connection);
		this.#connectIn(Math.min(5 * offlineMs, this.#exponential(offlineMs)));
	}

	#lost(why: string): void {
		const { counters } = this.#fleet;
		this.#leave();
		counters.problem = why;
		if (why.startsWith("protocol error")) counters.protocolErrors++;
		this.#connectIn(this.#retryMs * (0.5 + Math.random()));
		this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
	}

	/** From online to not, however that came. */
	#leave(): void {
		clearTimeout(this.#dueTimer);
		clearTimeout(this.#cutTimer);
		if (!this.#online) return;
		this.#online = false;
		this.#resends = [];
		this.#fleet.counters.connected--;
	}

	#checkDrained(): void {
		if (!this.#mayCut && this.#next >= this.#limit && this.#inFlight.size === 0) this.#resolveDrained();
	}

	/** QoS 0 has no acknowledgement; the answer to a PINGREQ behind the events shows that the gateway has read them. */
	async #confirmQos0(connection: MqttConnection): Promise<void> {
		let timer: NodeJS.Timeout | undefined;
		const patience = new Promise<"late">((resolve) => {
			timer = setTimeout(() => resolve("late"), CONNECT_TIMEOUT_MS);
		});
		const outcome = await Promise.race([connection.ping(), patience]);
		clearTimeout(timer);
		if (outcome === "late" || connection !== this.#connection || !this.#online) return;
		for (let seq = this.#firstOnConnection; seq < this.#next; seq++) {
			this.#parts.ledger.acked.add(seq);
			this.#fleet.counters.acked++;
		}
	}

	/** Before version 5 a session ends only by a connection that asks for a clean one. */
	#endSession(): Promise<void> {
		return new Promise((resolve) => {
			const connection = new MqttConnection(this.#connectFields(true), {
				connected: () => void connection.disconnect(true).then(resolve),
				acknowledged: () => {},
				ready: () => {},
				lost: () => resolve(),
			});
		});
	}

	/** How long until something that happens by chance, once in `meanMs` on the average. */
	#exponential(meanMs: number): number {
		return -meanMs * Math.log(1 - this.#parts.random.fraction());
	}
}

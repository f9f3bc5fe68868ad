/**
 * What all MQTT connections share, whatever transport they came in by: routes, subscriptions, sessions, limits, and the
 * one sweep that stands in for a timer per connection. It never lets an error out: a connection's ends that connection.
 */
import type { Timer } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Companion } from "./append-event.ts";
import { CatchUp } from "./catch-up.ts";
import type { Will } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { Connection } from "./connection.ts";
import { Deliveries } from "./delivery.ts";
import { Destinations, PublishRefused } from "./destinations.ts";
import type { MqttOptions } from "./options.ts";
import type { DeliveryLedger } from "./outbox.ts";
import { OutputBudget } from "./output.ts";
import { publishEvent } from "./publish-event.ts";
import { RetainedDelivery } from "./retained-delivery.ts";
import { RetainedStore } from "./retained-store.ts";
import { Routes } from "./routes.ts";
import { expiryMs, type Session } from "./session.ts";
import { type KeptSession, SessionStore } from "./session-store.ts";
import { SharedGroups } from "./shared-groups.ts";
import { DoorStats } from "./stats.ts";
import { SysTopics } from "./sys-topics.ts";
import type { Transport } from "./transport.ts";
import { WillStore } from "./will-store.ts";
import { type WillSender, Wills } from "./wills.ts";

const TICK_MS = 1000;
/** How often the cursors of connected sessions are written, in ticks: what a crash may deliver again. */
const CURSOR_TICKS = 5;
const EXPIRE_TICKS = 60;
/** Sessions looked at per tick for whether they have expired: a slice, so that a million of them hold nobody up. */
const SESSIONS_LOOKS = 32;
/** Retained messages looked at per tick for whether they have expired. */
const RETAINED_LOOKS = 64;
/** What a stop waits for a commit under way: a disk may become full just then. */
const COMMIT_PATIENCE_MS = 10_000;
const OUTPUT_BUDGET_BYTES = 8 * 1024 * 1024;

export class Engine {
	readonly broker: Broker;
	readonly options: MqttOptions;
	readonly stats = new DoorStats();
	readonly routes: Routes;
	readonly destinations: Destinations;
	readonly deliveries: Deliveries;
	readonly catchUp: CatchUp;
	readonly sessions: SessionStore;
	readonly groups: SharedGroups;
	readonly retained: RetainedStore;
	readonly retainedDelivery: RetainedDelivery;
	readonly retainAvailable: boolean;
	readonly sys: SysTopics;
	readonly wills: Wills;
	readonly outputBudget: OutputBudget;
	readonly connections = new Set<Connection>();
	/** Connections by client id, once their CONNECT was taken. */
	readonly clients = new Map<string, Connection>();
	/** Seconds that the sweep has counted: the connections' clock. It never steps. */
	tick = 0;
	readonly #toFlush: Connection[] = [];
	readonly #toAcknowledge: Connection[] = [];
	#flushing = false;
	#timer: Timer | undefined;
	#stopping = false;

	/** Throws StartError for routes that cannot be. */
	constructor(broker: Broker, options: MqttOptions) {
		this.broker = broker;
		this.options = options;
		this.routes = new Routes(options.routes);
		this.destinations = new Destinations(broker, this.routes);
		this.deliveries = new Deliveries(broker, this.routes, this.stats);
		this.retainAvailable = options.maxRetainedMessages > 0;
		this.retained = new RetainedStore(broker.log, { maxMessages: options.maxRetainedMessages });
		this.retainedDelivery = new RetainedDelivery(broker, this.deliveries, this.retained, (outbox) =>
			this.guarded("sending retained messages", () => this.catchUp.run(outbox)),
		);
		this.catchUp = new CatchUp(broker, this.deliveries, this.retainedDelivery, this.stats);
		this.groups = new SharedGroups(broker, this.deliveries, options.shareExpirySeconds);
		this.sessions = new SessionStore(broker.log, (clientId, group) =>
			this.groups.unsubscribe(clientId, group, undefined),
		);
		this.sys = new SysTopics(this, { intervalSeconds: options.sysIntervalSeconds, version: options.version });
		this.wills = new Wills(new WillStore(broker.log), {
			publish: (session, will, also) => this.#publishWill(session, will, also),
			guarded: (what, work) => this.guarded(what, work),
		});
		const outputBytes = options.outputBudgetBytes ?? OUTPUT_BUDGET_BYTES;
		this.outputBudget = new OutputBudget(broker.pressure, outputBytes, this.stats.traffic);
		broker.topics.onChange(() => {
			if (this.#stopping) return;
			this.destinations.topicsChanged();
			this.deliveries.topicsChanged();
		});
	}

	start(): void {
		this.sessions.allDisconnected(this.broker.clock.now());
		this.groups.start();
		this.wills.start();
		this.#nextTick();
	}

	/** A new connection, whose transport is to be attached to it. Undefined: there is no room even to answer it. */
	accept(transport: Transport): Connection | undefined {
		const { maxConnections } = this.options;
		// A few more than allowed may say CONNECT and be told why not.
		if (this.#stopping || this.connections.size >= maxConnections + 64) {
			this.stats.refusedConnections++;
			return undefined;
		}
		this.stats.traffic.sockets++;
		const connection = new Connection(this, transport);
		this.connections.add(connection);
		return connection;
	}

	get full(): boolean {
		return this.connections.size > this.options.maxConnections;
	}

	/** The connection has output for the end of this turn. */
	flushLater(connection: Connection): void {
		this.#toFlush.push(connection);
		this.#schedule();
	}

	/** A commit that this connection waits for is durable: all of the commit's acknowledgements leave in one write. */
	acknowledgeLater(connection: Connection): void {
		this.#toAcknowledge.push(connection);
		this.#schedule();
	}

	#schedule(): void {
		if (this.#flushing) return;
		this.#flushing = true;
		queueMicrotask(this.#flush);
	}

	readonly #flush = (): void => {
		this.#flushing = false;
		const acknowledge = this.#toAcknowledge;
		for (let i = 0; i < acknowledge.length; i++) acknowledge[i]!.flushAcknowledgements();
		acknowledge.length = 0;
		const flush = this.#toFlush;
		for (let i = 0; i < flush.length; i++) flush[i]!.flushOutput();
		flush.length = 0;
	};

	#nextTick(): void {
		this.#timer = this.broker.clock.after(TICK_MS, () => {
			this.tick++;
			this.#sweep();
			if (!this.#stopping) this.#nextTick();
		});
	}

	#sweep(): void {
		for (const connection of this.connections) {
			connection.swept(this.tick);
			const { session } = connection;
			if (session?.stale && session.durable && this.tick % CURSOR_TICKS === 0) {
				this.guarded("writing an MQTT session", () => this.saveConnected(session));
			}
		}
		this.outputBudget.buffers.shrink();
		this.broker.pressure.ease();
		this.wills.publishDue(this.tick);
		this.guarded("publishing $SYS", () => this.sys.publish(this.tick));
		this.guarded("expiring retained messages", () => {
			this.stats.retainedExpired += this.retained.sweep(this.broker.clock.now(), RETAINED_LOOKS);
		});
		if (this.tick % CURSOR_TICKS === 0) this.guarded("writing shared subscriptions", () => this.groups.saveStale());
		this.guarded("expiring sessions", () => {
			this.stats.sessionsExpired += this.sessions.expire(this.broker.clock.now(), SESSIONS_LOOKS);
		});
		if (this.tick % EXPIRE_TICKS === 0) this.guarded("expiring shared subscriptions", () => this.groups.expire());
	}

	/** Work that no connection answers for: what it throws is reported, and the door goes on. False: it threw. */
	guarded(what: string, work: () => void): boolean {
		try {
			work();
			return true;
		} catch (error) {
			// A full disk is said once, by the log.
			if (error instanceof BrokerError && error.code === "KAFKA_STORAGE_ERROR") return false;
			const known = error instanceof BrokerError || error instanceof PublishRefused;
			const log = known ? "warn" : "error";
			this.broker.logger[log](`${what} failed`, { error: error instanceof Error ? error.message : String(error) });
			return false;
		}
	}

	/** Writes a connected session's row. Throws BrokerError where storage takes nothing. */
	saveConnected(session: Session): void {
		this.#save(session, Number.NaN);
	}

	#save(session: Session, expiresMs: number): void {
		const cursors = this.deliveries.cursorsOf(session);
		const settled = session.outbox?.takeSettled(new Map(cursors.next)) ?? [];
		try {
			this.sessions.save(session, cursors, expiresMs, settled);
		} catch (error) {
			if (session.outbox !== undefined) session.outbox.settled = [...session.outbox.settled, ...settled];
			throw error;
		}
	}

	/** Where QoS 2 deliveries are kept, of a session that is kept. */
	ledgerOf(session: Session): DeliveryLedger | undefined {
		return session.durable ? this.sessions.ledgerOf(session) : undefined;
	}

	/** An event like others [MQTT-3.1.2-8]. Throws what an append throws. */
	#publishWill({ clientId, noLocal }: WillSender, will: Will, also: Companion): void {
		const { willDelayInterval, ...rest } = will.properties;
		const properties = Object.keys(rest).length > 0 ? rest : undefined;
		const { topic, payload, qos, retain } = will;
		const publisher = noLocal ? clientId : undefined;
		publishEvent(this, { topic, payload, qos, retain, properties, clientId: publisher }, also);
	}

	/** The client has gone: what its session was is a row now, or nothing. `pending`: as it was, for it had not gone on yet. */
	leave(session: Session, pending?: KeptSession): void {
		// Groups first: what goes back to them is not the session's any more.
		if (session.shares !== undefined) this.guarded("leaving shared subscriptions", () => this.groups.leave(session));
		this.guarded("leaving an MQTT session", () => {
			const expiresMs = expiryMs(session.expirySeconds, this.broker.clock.now());
			if (session.durable && pending !== undefined) this.sessions.save(session, pending.cursors, expiresMs);
			else if (session.durable) this.#save(session, expiresMs);
			else {
				this.sessions.delete(session.clientId);
			}
		});
		for (const subscription of session.subscriptions?.values() ?? []) {
			if (subscription.kind !== "share") this.deliveries.unsubscribe(subscription);
		}
		if (session.outbox !== undefined) {
			session.outbox.closed = true;
			this.catchUp.forget(session.outbox);
			session.outbox = undefined;
		}
	}

	/** Ends every connection, after what is in flight is durable and answered; sessions are rows afterwards. */
	async stop(): Promise<void> {
		this.#stopping = true;
		this.#timer?.cancel();
		for (const connection of this.connections) connection.stopReading();
		await this.settled();
		const { redirectTo, redirectWhen } = this.options;
		const sentElsewhere = redirectTo !== "" && redirectWhen !== "full";
		for (const connection of [...this.connections]) {
			connection.flushAcknowledgements();
			if (sentElsewhere) connection.end(ReasonCode.UseAnotherServer, "the gateway is stopping", redirectTo);
			else connection.end(ReasonCode.ServerShuttingDown, "the gateway is stopping");
		}
		this.wills.publishAll();
		this.deliveries.stop();
		await this.settled();
	}

	/** Storage that failed acknowledges nothing; the door closes all the same. */
	async settled(): Promise<void> {
		const { log, clock } = this.broker;
		if (log.refusal !== undefined) return; // a full disk: what waits for it was acknowledged to nobody
		const patience = Promise.withResolvers<void>();
		const timer = clock.after(COMMIT_PATIENCE_MS, patience.resolve);
		try {
			await Promise.race([log.whenCommitted(), patience.promise]);
		} catch (error) {
			this.broker.logger.error("MQTT publishes in flight were not stored", { error: String(error) });
		} finally {
			timer.cancel();
		}
	}
}

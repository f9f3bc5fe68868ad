/**
 * One bridge to another broker: connects, stays connected for ever, and passes events both ways while it is. A connection
 * that fails is tried again after a wait that grows; what is missed meanwhile waits in the log here and in the session there.
 */
import type { Socket } from "node:net";
import { Backoff } from "../../../src/base/backoff.ts";
import type { Timer } from "../../../src/base/clock.ts";
import type { Disk } from "../../../src/base/disk.ts";
import type { Random } from "../../../src/base/random.ts";
import type { BridgeConfig } from "../../../src/config/definition.ts";
import type { ConnackPacket, SubackPacket } from "../codec/packets.ts";
import type { PublishView } from "../codec/publish-view.ts";
import type { Engine } from "../engine.ts";
import type { EventReader } from "../stored-event.ts";
import { BridgeCounters, type BridgeState, type BridgeStatus } from "./bridge-stats.ts";
import { DialError, dial, readNamedFile } from "./dial.ts";
import { Inbound } from "./inbound.ts";
import { Link, type LinkEnd, type LinkHandler } from "./link.ts";
import { type Dialect, dialectsOf, type Login } from "./login.ts";
import { TopicMapping } from "./mapping.ts";
import { Outbound } from "./outbound.ts";
import { RareLog } from "./rare-log.ts";

/** A connection that held so long has worked: the next wait is a short one. */
const WORKED_SECONDS = 30;
/** How often cursors are written while events pass, in seconds. */
const SAVE_SECONDS = 5;
/** A broker that closes without an answer to CONNECT so often, one after the other, may mean the version. */
const SILENT_TRIES = 2;
/** How long the other broker may take to close when the gateway stops. */
const GOODBYE_MS = 1000;

export interface BridgeServices {
	readonly engine: Engine;
	readonly disk: Disk;
	readonly random: Random;
	readonly reader: EventReader;
	readonly gatewayId: string;
}

export class Bridge implements LinkHandler {
	readonly config: BridgeConfig;
	readonly outbound: Outbound;
	readonly #inbound: Inbound;
	readonly #services: BridgeServices;
	readonly #counters = new BridgeCounters();
	readonly #backoff: Backoff;
	readonly #dialects: readonly Dialect[];
	/** Those that the other broker has refused in so many words. */
	readonly #refused = new Set<Dialect>();
	#dialect = 0;
	#silentTries = 0;
	#state: BridgeState = "stopped";
	#sinceMs: number;
	#reason: string | undefined;
	#nextTryMs: number | undefined;
	#lastError: string | undefined;
	#link: Link | undefined;
	#upTick = 0;
	#cancelDial: (() => void) | undefined;
	#dialTick = 0;
	#retry: Timer | undefined;
	#stopped = false;
	#onEnded: (() => void) | undefined;

	/** Throws StartError for rules that cannot be. */
	constructor(config: BridgeConfig, services: BridgeServices) {
		this.config = config;
		this.#services = services;
		const { engine, gatewayId, reader } = services;
		const { clock, logger } = engine.broker;
		this.#sinceMs = clock.now();
		this.#backoff = new Backoff(services.random);
		this.#dialects = dialectsOf(config.version);
		const rare = new RareLog(logger, clock);
		const mapping = new TopicMapping(config);
		const shared = { engine, config, mapping, counters: this.#counters, gatewayId, rare, logger };
		this.#inbound = new Inbound({
			...shared,
			trouble: (what) => {
				this.#lastError = what;
			},
		});
		this.outbound = new Outbound({ ...shared, reader });
	}

	start(): void {
		this.#guarded("taking its place", () => this.outbound.start());
		this.#connect();
	}

	#connect(): void {
		if (this.#stopped) return;
		this.#retry = undefined;
		this.#enter("connecting");
		this.#dialTick = this.#services.engine.tick;
		let login: Login;
		try {
			login = this.#login();
		} catch (error) {
			this.ended({ reason: (error as Error).message, lasting: true });
			return;
		}
		this.#cancelDial = dial(this.config, this.#services.disk, (result) => {
			this.#cancelDial = undefined;
			if (result instanceof DialError) this.ended({ reason: result.message, lasting: result.lasting });
			else this.#open(result, login);
		});
	}

	#open(socket: Socket, login: Login): void {
		this.#link = new Link(this.#services.engine, socket, login, this.#dialects[this.#dialect]!, this);
	}

	/** Throws DialError. */
	#login(): Login {
		const { clientId, username, password, passwordFile, keepAliveSeconds, sessionExpirySeconds } = this.config;
		const { receiveMaximum, maxPacketBytes } = this.#services.engine.options;
		const secret =
			passwordFile === undefined
				? password
				: readNamedFile(this.#services.disk, passwordFile, "password.file")
						.toString("utf8")
						.replace(/\r?\n$/, "");
		return {
			clientId,
			username,
			password: secret === undefined ? undefined : Buffer.from(secret, "utf8"),
			keepAliveSeconds,
			sessionExpirySeconds,
			receiveMaximum,
			maxPacketBytes,
		};
	}

	connected(connack: ConnackPacket): void {
		const link = this.#link!;
		this.#silentTries = 0;
		this.#counters.connects++;
		this.#upTick = this.#services.engine.tick;
		this.#enter("connected");
		const { logger } = this.#services.engine.broker;
		logger.info("a bridge is connected", { ...this.#fields(), protocol: `MQTT ${link.dialect}` });
		if (link.dialect === "3.1.1" && this.config.in.length > 0 && this.config.out.length > 0) {
			logger.warn("the other broker knows neither MQTT 5 nor bridges: it sends back what a subscription here matches", {
				...this.#fields(),
			});
		}
		this.#inbound.connected(link, connack);
		this.outbound.connected(link, connack);
	}

	publish(bytes: Buffer, view: PublishView): void {
		this.#inbound.publish(this.#link!, bytes, view);
	}

	oversized(head: Buffer, sizeBytes: number): void {
		this.#inbound.oversized(this.#link!, head, sizeBytes);
	}

	acknowledged(packetId: number, reasonCode: number): void {
		this.outbound.acknowledged(this.#link!, packetId, reasonCode);
	}

	released(packetId: number): void {
		this.#inbound.released(this.#link!, packetId);
	}

	subscribed(packet: SubackPacket): void {
		this.#inbound.subscribed(packet);
	}

	chunkDone(): void {
		if (this.#link?.up) this.#inbound.chunkDone(this.#link);
	}

	drained(): void {
		this.outbound.pumpLater();
	}

	/** There is no connection, or no longer one: the next comes after a wait. */
	ended(end: LinkEnd): void {
		const wasUp = this.#link?.up === true;
		this.#link = undefined;
		if (wasUp) {
			this.#inbound.disconnected();
			this.outbound.disconnected();
			this.#guarded("writing its place", () => this.outbound.save());
		}
		this.#onEnded?.();
		if (this.#stopped) return;
		if (this.#chooseDialect(end, wasUp)) {
			this.#connect();
			return;
		}
		this.#lastError = end.reason;
		const waitMs = this.#backoff.next(end.lasting === true);
		const { clock, logger } = this.#services.engine.broker;
		this.#enter("waiting", end.reason, clock.now() + waitMs);
		const fields = { ...this.#fields(), reason: end.reason, nextTryMs: waitMs };
		if (end.lasting) logger.error("a bridge cannot connect", fields);
		else logger.warn(wasUp ? "a bridge lost its connection" : "a bridge cannot connect", fields);
		this.#retry = clock.after(waitMs, () => this.#connect());
	}

	/** What to speak next. True: at once, for nothing else was wrong. */
	#chooseDialect(end: LinkEnd, wasUp: boolean): boolean {
		if (end.versionRefused) {
			this.#refused.add(this.#dialects[this.#dialect]!);
			const next = this.#dialects.findIndex((dialect) => !this.#refused.has(dialect));
			this.#dialect = Math.max(0, next);
			if (next >= 0) return true;
			this.#refused.clear(); // it may be another program next time
		} else if (wasUp) {
			this.#dialect = this.#dialects.findIndex((dialect) => !this.#refused.has(dialect));
		} else if (end.unanswered && ++this.#silentTries >= SILENT_TRIES) {
			this.#silentTries = 0;
			do {
				this.#dialect = (this.#dialect + 1) % this.#dialects.length;
			} while (this.#refused.has(this.#dialects[this.#dialect]!));
		}
		return false;
	}

	/** Once a second. */
	swept(): void {
		if (this.#stopped) return;
		const { engine } = this.#services;
		const { tick } = engine;
		const link = this.#link;
		if (link === undefined) {
			if (this.#cancelDial === undefined) return;
			if ((tick - this.#dialTick - 1) * 1000 < engine.options.connectTimeoutMs) return;
			this.#cancelDial();
			this.#cancelDial = undefined;
			this.ended({ reason: `${this.#address} does not answer` });
			return;
		}
		link.swept();
		if (!link.up || link.gone) return;
		if (tick - this.#upTick >= WORKED_SECONDS) this.#backoff.reset();
		if (this.outbound.idle || tick % SAVE_SECONDS === 0) {
			this.#guarded("writing its place", () => this.outbound.save());
		}
		this.outbound.swept();
	}

	topicsChanged(): void {
		if (!this.#stopped) this.outbound.topicsChanged();
	}

	/** Says good-bye; the cursors are in the commit being gathered when this resolves. */
	async stop(): Promise<void> {
		this.#stopped = true;
		this.#retry?.cancel();
		this.#cancelDial?.();
		this.outbound.stop();
		const link = this.#link;
		if (link !== undefined) {
			await new Promise<void>((resolve) => {
				const patience = this.#services.engine.broker.clock.after(GOODBYE_MS, () => link.drop({ reason: "stopping" }));
				this.#onEnded = () => {
					patience.cancel();
					resolve();
				};
				// What is acknowledged now is not sent again after the start.
				this.outbound.settle(() => link.leave());
			});
		}
		this.#guarded("writing its place", () => this.outbound.save());
		this.#enter("stopped");
	}

	get status(): BridgeStatus {
		return {
			...this.#counters,
			name: this.config.name,
			address: this.#address,
			state: this.#state,
			sinceMs: this.#sinceMs,
			reason: this.#reason,
			nextTryMs: this.#nextTryMs,
			protocol: this.#link?.up ? `MQTT ${this.#link.dialect}` : undefined,
			inflight: this.outbound.inflight,
			lag: this.outbound.lag,
			lastError: this.#lastError,
		};
	}

	get #address(): string {
		const { host, port } = this.config.address;
		return `${host.includes(":") ? `[${host}]` : host}:${port}`;
	}

	#fields(): { bridge: string; address: string } {
		return { bridge: this.config.name, address: this.#address };
	}

	#enter(state: BridgeState, reason?: string, nextTryMs?: number): void {
		this.#state = state;
		this.#sinceMs = this.#services.engine.broker.clock.now();
		this.#reason = reason;
		this.#nextTryMs = nextTryMs;
	}

	#guarded(what: string, work: () => void): void {
		this.#services.engine.guarded(`bridge ${this.config.name}: ${what}`, work);
	}
}

/**
 * A whole run: the devices, the cuts of their links, the crashes of the gateway, the end of it all in
 * order, and then the verdict on what is stored. For the command line and, the same way, for tests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { systemRandom } from "../src/base/random.ts";
import { SimulatedRandom } from "../src/base/random-simulated.ts";
import { Device, type FleetCounters, type FleetState } from "./device.ts";
import type { GatewayProcess } from "./gateway-process.ts";
import { LatencyHistogram } from "./histogram.ts";
import { Ledger } from "./ledger.ts";
import type { MqttVersion, Qos } from "./mqtt-packets.ts";
import { createProfile, PROFILE_NAMES, type ProfileName } from "./profiles.ts";
import type { Position, ReadBack } from "./read-back.ts";
import { Schedule } from "./schedule.ts";
import type { SiteBrokerProcess } from "./site-broker-process.ts";
import type { LogVerdict, Verdict } from "./verdict.ts";
import { Verifier } from "./verifier.ts";

export interface FleetOptions {
	readonly devices: number;
	/** Events per second of each device. */
	readonly rate: number;
	readonly durationMs: number;
	readonly host: string;
	readonly mqttPort: number;
	readonly readBack: ReadBack;
	readonly qos: Qos;
	readonly version: MqttVersion;
	readonly profile: ProfileName | "mix";
	/** Publishes that a device has unacknowledged at most. */
	readonly window: number;
	/** Mean time from a connection to its cut; 0 for never. */
	readonly flakyMs: number;
	/** Mean time from a cut to the next connection. */
	readonly offlineMs: number;
	readonly seed: string;
	/** {device} and {n}, the number of the device's site. */
	readonly topicTemplate: string;
	/** Of this run alone, 1 to 8 letters and digits. Default: a random one. */
	readonly run?: string;
	/** For who compares the run's events with what is stored elsewhere too; of this `run`. Default: one of its own. */
	readonly ledger?: Ledger;
	/** A running gateway to kill and start again; it still runs afterwards. */
	readonly gateway?: GatewayProcess;
	/** A broker that the devices are connected to instead, with the gateway's bridge between. */
	readonly site?: SiteBrokerProcess;
	/** Mean time between two kills of it; each comes after half of that to one and a half. Default: never. */
	readonly crashEveryMs?: number;
	/** Trouble of the caller's own while events are due: ends soon after `stop`, with everything whole again. */
	readonly trouble?: (stop: AbortSignal) => Promise<void>;
	/** After the run, for what is not yet acknowledged. Default 30,000. */
	readonly drainMs?: number;
	/** Between two reports. Default 250. */
	readonly reportMs?: number;
	/** Ends the run early; the verdict follows all the same. */
	readonly signal?: AbortSignal;
}

export interface Progress {
	readonly phase: "running" | "draining" | "reading";
	readonly elapsedMs: number;
	readonly durationMs: number;
	readonly devices: number;
	readonly connected: number;
	/** Events of the whole run. */
	readonly planned: number;
	readonly sent: number;
	readonly acked: number;
	/** Due and not yet sent. */
	readonly backlog: number;
	readonly inFlight: number;
	readonly drops: number;
	readonly reconnects: number;
	readonly crashes: number;
	readonly gatewayUp: boolean | undefined;
	readonly lastRecoveryMs: number | undefined;
	readonly p50Ms: number;
	readonly p99Ms: number;
	readonly recordsRead: number;
	/** The last thing that went wrong with a connection. */
	readonly problem: string | undefined;
}

const DEVICES_PER_SITE = 20;
const CONNECTS_PER_SECOND = 2000;
const FINISH_AT_A_TIME = 100;
/** One kill in five is followed by another while the gateway recovers. */
const SECOND_KILL = 0.2;
const SECOND_KILL_WITHIN_MS = 300;
/** QoS 0 promises nothing about when: how long its events may take to be readable. */
const SETTLE_MS = 5000;
const SETTLE_STEP_MS = 100;
const DEVICE_PREFIX: Readonly<Record<ProfileName, string>> = {
	temperature: "temp",
	truck: "truck",
	vibration: "vib",
	meter: "meter",
};

/** A name for a run that no other has. */
export function randomRun(): string {
	return (systemRandom.u32() % 36 ** 6).toString(36).padStart(6, "0");
}

export async function runFleet(
	options: FleetOptions,
	report: (progress: Progress) => void = () => {},
): Promise<Verdict> {
	const before = await options.readBack.end();
	const run = new FleetRun(options, report);
	try {
		await run.live();
		return await run.verify(before);
	} finally {
		run.close();
	}
}

class FleetRun {
	readonly #options: FleetOptions;
	readonly #report: (progress: Progress) => void;
	readonly #random: SimulatedRandom;
	readonly #state: FleetState;
	readonly #ledger: Ledger;
	readonly #devices: Device[] = [];
	readonly #recovery = new LatencyHistogram();
	readonly #reporter: NodeJS.Timeout;
	#planned = 0;
	#phase: Progress["phase"] = "running";
	#crashes = 0;
	#lastRecoveryMs: number | undefined;
	#recordsRead = 0;
	#endedByItself: string | undefined;

	constructor(options: FleetOptions, report: (progress: Progress) => void) {
		this.#options = options;
		this.#report = report;
		this.#random = new SimulatedRandom(options.seed);
		const run = options.ledger?.run ?? options.run ?? randomRun();
		this.#ledger = options.ledger ?? new Ledger(run, options.qos, options.site !== undefined);
		const counters: FleetCounters = {
			connected: 0,
			sent: 0,
			acked: 0,
			drops: 0,
			reconnects: 0,
			sessionsLost: 0,
			protocolErrors: 0,
			problem: undefined,
		};
		this.#state = {
			run,
			host: options.host,
			port: options.mqttPort,
			qos: options.qos,
			version: options.version,
			window: options.window,
			flakyMs: options.flakyMs,
			offlineMs: options.offlineMs,
			startWallMs: Date.now(),
			startMs: performance.now(),
			latency: new LatencyHistogram(),
			lateLatency: new LatencyHistogram(),
			counters,
		};
		for (let i = 0; i < options.devices; i++) this.#addDevice(i);
		if (options.gateway) {
			options.gateway.onUnexpectedExit = (how) => {
				this.#endedByItself ??= `the gateway ended by itself (${how})`;
			};
		}
		this.#reporter = setInterval(() => this.#tell(), options.reportMs ?? 250);
	}

	/** From the first connection to the last DISCONNECT. */
	async live(): Promise<void> {
		const { durationMs, signal, drainMs = 30_000 } = this.#options;
		for (const [i, device] of this.#devices.entries()) device.start((i * 1000) / CONNECTS_PER_SECOND);
		const early = new AbortController();
		const stop = signal ? AbortSignal.any([signal, early.signal]) : early.signal;
		const crashing = Promise.all([this.#crashLoop(stop), this.#options.trouble?.(stop)]).catch((error: unknown) => {
			early.abort();
			throw error;
		});
		// Handled below; until then a failure must not be "unhandled".
		crashing.catch(() => {});
		await pause(durationMs - this.#elapsedMs(), stop);
		// A timer may fire a moment early: a run that was not stopped has its whole length.
		const elapsedMs = stop.aborted ? Math.min(durationMs, this.#elapsedMs()) : durationMs;
		early.abort();
		await crashing;
		this.#phase = "draining";
		this.#tell();
		const patience = new AbortController();
		const drained = Promise.all(this.#devices.map((device) => device.drain(elapsedMs)));
		await Promise.race([drained, pause(drainMs, patience.signal)]);
		patience.abort();
		const waiting = [...this.#devices];
		const finishing = Array.from({ length: FINISH_AT_A_TIME }, async () => {
			for (let device = waiting.pop(); device; device = waiting.pop()) await device.finish();
		});
		await Promise.all(finishing);
	}

	/** Reads everything back that was stored since `before`. */
	async verify(before: Position): Promise<Verdict> {
		const elapsedMs = this.#elapsedMs();
		this.#phase = "reading";
		const verifier = new Verifier(this.#ledger, await this.#begin(before));
		const until = performance.now() + this.#settleMs;
		let log: LogVerdict;
		for (;;) {
			for await (const record of this.#options.readBack.read(verifier.nextOffsets())) {
				verifier.take(record);
				this.#recordsRead = verifier.recordsRead;
			}
			log = verifier.verdict();
			if (log.lost === 0 || performance.now() >= until) break;
			await sleep(SETTLE_STEP_MS);
		}
		this.#tell();
		return this.#judge(log, elapsedMs);
	}

	/** How long acknowledged events may take to be readable: where a bridge is between, as long as it takes to send its backlog. */
	get #settleMs(): number {
		const { qos, site, drainMs = 30_000 } = this.#options;
		if (site !== undefined) return drainMs;
		return qos === 0 ? SETTLE_MS : 0;
	}

	/** A topic that the run itself made begins at 0 in every partition. */
	async #begin(before: Position): Promise<Position> {
		if (Object.keys(before).length > 0) return before;
		const end = await this.#options.readBack.end();
		return Object.fromEntries(Object.keys(end).map((partition) => [partition, 0]));
	}

	close(): void {
		clearInterval(this.#reporter);
		for (const device of this.#devices) device.abort();
		if (this.#options.gateway) this.#options.gateway.onUnexpectedExit = undefined;
	}

	#addDevice(index: number): void {
		const { profile, rate, durationMs, topicTemplate, seed } = this.#options;
		const kind = profile === "mix" ? PROFILE_NAMES[index % PROFILE_NAMES.length]! : profile;
		const name = `${DEVICE_PREFIX[kind]}-${String(index + 1).padStart(4, "0")}`;
		// Of its own for each device and purpose: one more device, or a cut at another moment, changes no other's events.
		const random = new SimulatedRandom(`${seed}/${name}`);
		const schedule = new Schedule(kind, rate, durationMs, random.fork("schedule"));
		this.#planned += schedule.count;
		const site = String(Math.floor(index / DEVICES_PER_SITE) + 1);
		const parts = {
			topic: topicTemplate.replaceAll("{device}", name).replaceAll("{n}", site),
			schedule,
			profile: createProfile(kind, random.fork("values")),
			random: random.fork("link"),
			ledger: this.#ledger.device(name, kind),
		};
		this.#devices.push(new Device(this.#state, parts));
	}

	#elapsedMs(): number {
		return performance.now() - this.#state.startMs;
	}

	/** Kills the gateway again and again until `stop`; it runs when this resolves. */
	async #crashLoop(stop: AbortSignal): Promise<void> {
		const { gateway, crashEveryMs = 0 } = this.#options;
		if (!gateway || crashEveryMs <= 0) return;
		const random = this.#random.fork("crashes");
		for (;;) {
			await pause(crashEveryMs * (0.5 + random.fraction()), stop);
			if (stop.aborted) return;
			const killedMs = performance.now();
			await this.#kill(gateway);
			if (random.chance(SECOND_KILL)) {
				gateway.spawn();
				await sleep(random.fraction() * SECOND_KILL_WITHIN_MS);
				await this.#kill(gateway);
			}
			await gateway.start();
			this.#lastRecoveryMs = performance.now() - killedMs;
			this.#recovery.record(this.#lastRecoveryMs);
		}
	}

	async #kill(gateway: GatewayProcess): Promise<void> {
		await gateway.kill();
		this.#crashes++;
	}

	#judge(log: LogVerdict, elapsedMs: number): Verdict {
		const { qos, seed } = this.#options;
		const { counters, latency, lateLatency } = this.#state;
		const reasons = [...log.reasons];
		if (log.acked > 0 && log.stored === 0) {
			reasons.push("none of the run's events is in the topic that was read: do the gateway's routes put them there?");
		}
		if (this.#endedByItself) reasons.push(this.#endedByItself);
		if (counters.protocolErrors > 0) reasons.push(`the gateway broke the protocol ${counters.protocolErrors} times`);
		if (log.refused > 0) reasons.push(`the gateway refused ${log.refused} events`);
		// At QoS 0 a cut connection leaves that open for ever.
		if (log.unacknowledged > 0 && qos > 0) reasons.push(`${log.unacknowledged} events were never acknowledged`);
		if (log.sent === 0 && this.#planned > 0) reasons.push("no event was sent at all");
		if (log.sent > 0 && log.acked === 0 && qos > 0) reasons.push("no event was acknowledged at all");
		if (reasons.length > log.reasons.length && counters.problem) {
			reasons.push(`the last trouble with a connection: ${counters.problem}`);
		}
		return {
			...log,
			pass: reasons.length === 0,
			reasons,
			seed,
			qos,
			elapsedMs: Math.round(elapsedMs),
			latency: latency.summary(),
			lateLatency: lateLatency.summary(),
			drops: counters.drops,
			reconnects: counters.reconnects,
			sessionsLost: counters.sessionsLost,
			crashes: this.#crashes,
			recovery: this.#recovery.summary(),
		};
	}

	#tell(): void {
		const { counters, latency } = this.#state;
		const elapsedMs = this.#elapsedMs();
		let backlog = 0;
		let inFlight = 0;
		for (const device of this.#devices) {
			backlog += device.backlog(elapsedMs);
			inFlight += device.inFlight;
		}
		this.#report({
			phase: this.#phase,
			elapsedMs,
			durationMs: this.#options.durationMs,
			devices: this.#devices.length,
			connected: counters.connected,
			planned: this.#planned,
			sent: counters.sent,
			acked: counters.acked,
			backlog,
			inFlight,
			drops: counters.drops,
			reconnects: counters.reconnects,
			crashes: this.#crashes,
			gatewayUp: this.#options.gateway?.running,
			lastRecoveryMs: this.#lastRecoveryMs,
			p50Ms: latency.percentile(0.5),
			p99Ms: latency.percentile(0.99),
			recordsRead: this.#recordsRead,
			problem: counters.problem,
		});
	}
}

/** Waits so long, or until `stop`. */
function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
	return sleep(Math.max(0, milliseconds), undefined, { signal: stop }).catch(() => {});
}

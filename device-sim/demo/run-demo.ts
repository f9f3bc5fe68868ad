/**
 * The demo from its first process to its verdict: a fleet publishes to a gateway, which replicates to a hub over a link and uploads
 * to an object store; the gateway is killed twice, the link is cut; then everything is counted where it had to arrive. For the
 * command line and, the same way, for tests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { NodeDisk } from "../../src/base/disk.ts";
import { type Progress, randomRun, runFleet } from "../fleet.ts";
import { count, time } from "../format.ts";
import { GatewayError } from "../gateway-process.ts";
import { Ledger } from "../ledger.ts";
import { NativeReadBack } from "../read-back.ts";
import type { LogVerdict, Verdict } from "../verdict.ts";
import { Verifier } from "../verifier.ts";
import type { DemoView } from "./demo-screen.ts";
import { type DemoVerdict, judgeDemo, type Kill, type Outage } from "./demo-verdict.ts";
import { GatewayOperator } from "./gateway-operator.ts";
import { HubFollower } from "./hub-follower.ts";
import { makePlan, type Plan } from "./plan.ts";
import { Rig, TOPIC, TOPIC_TEMPLATE } from "./rig.ts";
import { Stages } from "./stages.ts";
import { StoreReader } from "./store-reader.ts";

export interface DemoOptions {
	readonly sensors: number;
	/** Events per second of each. */
	readonly rate: number;
	/** How long they publish. */
	readonly durationMs: number;
	readonly seed: string;
	/** Of the demo's own; its data directories are made below it. */
	readonly folder: string;
	/** How long nothing may arrive at the hub before it is given up. Default 30,000. */
	readonly patienceMs?: number;
	/** Ends the run early; the verdict follows all the same. */
	readonly signal?: AbortSignal;
}

const QOS = 2;
const TICK_MS = 100;
const LOOK_EVERY_TICKS = 5;
/** Uploads in the time in which the sensors publish, about. */
const UPLOADS = 8;
/** Sensors' own links break too, now and then. */
const SENSOR_LINK_MS = 20_000;
const SENSOR_OFFLINE_MS = 800;
const WINDOW = 20;
const PATIENCE_MS = 30_000;

export async function runDemo(options: DemoOptions, show: (view: DemoView) => void = () => {}): Promise<DemoVerdict> {
	const demo = new Demo(options, show);
	return await demo.run();
}

class Demo {
	readonly #options: DemoOptions;
	readonly #show: (view: DemoView) => void;
	readonly #disk = new NodeDisk();
	readonly #ledger = new Ledger(randomRun(), QOS);
	readonly #plan: Plan;
	readonly #stages: Stages;
	readonly #kills: Kill[] = [];
	readonly #troubles = new Set<string>();
	/** By performance.now(). */
	#startMs: number | undefined;
	#killed = 0;
	#stopped = false;
	#progress: Progress | undefined;
	#cutMs: number | undefined;
	#restoredMs: number | undefined;
	#waited = 0;
	/** What the hub must have seen for the backlog to be gone. */
	#goal = Number.POSITIVE_INFINITY;
	#caughtUpMs: number | undefined;
	#ticks = 0;

	constructor(options: DemoOptions, show: (view: DemoView) => void) {
		this.#options = options;
		this.#show = show;
		this.#plan = makePlan(options.seed, options.durationMs);
		this.#stages = new Stages(this.#plan);
	}

	async run(): Promise<DemoVerdict> {
		const { folder } = this.#options;
		const beganMs = performance.now();
		this.#stages.begin("start", 0);
		const rig = await Rig.start(this.#disk, folder);
		const store = new StoreReader(this.#disk, rig.storeFolder, TOPIC);
		const hub = new HubFollower(rig.hub.nativePort, TOPIC, this.#ledger);
		const operator = new GatewayOperator(rig.gateway.nativePort);
		this.#stages.end("start", `ready in ${time(performance.now() - beganMs)}`);
		const ticker = setInterval(() => this.#tick(rig, hub, store, operator), TICK_MS);
		try {
			const fleet = await this.#live(rig);
			await this.#arrive(hub, operator);
			// From here on nothing moves: what is counted is what stays.
			await Promise.all([operator.close(), hub.stop()]);
			this.#stopped = true;
			await rig.gateway.stop();
			this.#stages.begin("count", this.#elapsedMs());
			const found = await this.#read(rig, store);
			this.#stages.end(
				"count",
				`${count(fleet.recordsRead + found.hub.recordsRead + found.store.recordsRead)} records read back`,
			);
			this.#tick(rig, hub, store, operator);
			return judgeDemo(fleet, found.hub, found.store, {
				sensors: this.#options.sensors,
				seed: this.#options.seed,
				elapsedMs: Math.round(performance.now() - beganMs),
				kills: this.#kills,
				outage: this.#outage(),
				bundles: store.bundles,
				storedBytes: store.bytes,
				linkBytes: rig.link.bytesUp,
				linkBytesLost: rig.link.bytesLost,
				endedEarly: this.#options.signal?.aborted ?? false,
				troubles: [...this.#troubles],
			});
		} finally {
			clearInterval(ticker);
			await Promise.all([operator.close(), hub.stop()]);
			await rig.stop();
		}
	}

	/** The time in which sensors publish, with all that is done to gateway and link, up to the reading of the gateway's log. */
	async #live(rig: Rig): Promise<Verdict> {
		const { sensors, rate, durationMs, seed, signal } = this.#options;
		this.#startMs = performance.now();
		this.#stages.begin("flow", 0);
		return await runFleet(
			{
				devices: sensors,
				rate,
				durationMs,
				host: rig.gateway.host,
				mqttPort: rig.gateway.mqttPort,
				readBack: new NativeReadBack(rig.gateway.host, rig.gateway.nativePort, TOPIC),
				qos: QOS,
				version: 5,
				profile: "mix",
				window: WINDOW,
				flakyMs: SENSOR_LINK_MS,
				offlineMs: SENSOR_OFFLINE_MS,
				seed,
				topicTemplate: TOPIC_TEMPLATE,
				ledger: this.#ledger,
				gateway: rig.gateway,
				reportMs: TICK_MS,
				trouble: (stop) => this.#faults(rig, stop),
				...(signal ? { signal } : {}),
			},
			(progress) => this.#followFleet(progress),
		);
	}

	#followFleet(progress: Progress): void {
		this.#progress = progress;
		const end = this.#stages.get("end");
		if (progress.phase === "running" || end.beganMs !== undefined) return;
		this.#stages.end("flow");
		this.#stages.begin("end", this.#elapsedMs());
	}

	/** Whatever `stop` leaves out, the link is whole and the gateway runs when this resolves. */
	async #faults(rig: Rig, stop: AbortSignal): Promise<void> {
		const { firstKillMs, cutMs, secondKillMs, restoreMs } = this.#plan;
		if (await this.#reach(firstKillMs, stop)) await this.#kill(rig, "firstKill");
		if (await this.#reach(cutMs, stop)) {
			this.#cutMs = this.#elapsedMs();
			this.#stages.begin("cut", this.#cutMs);
			rig.link.cut();
		}
		if (await this.#reach(secondKillMs, stop)) await this.#kill(rig, "secondKill");
		await this.#reach(restoreMs, stop);
		if (this.#cutMs === undefined) return;
		rig.link.restore();
		this.#restoredMs = this.#elapsedMs();
		this.#goal = this.#progress?.acked ?? 0;
		this.#stages.end("cut", `for ${time(this.#restoredMs - this.#cutMs)}`);
		this.#stages.begin("restore", this.#restoredMs);
	}

	/** Waits until then; false when it was not to be. */
	async #reach(atMs: number, stop: AbortSignal): Promise<boolean> {
		if (stop.aborted) return false;
		await sleep(Math.max(0, atMs - this.#elapsedMs()), undefined, { signal: stop }).catch(() => {});
		return !stop.aborted;
	}

	async #kill({ gateway }: Rig, stage: "firstKill" | "secondKill"): Promise<void> {
		const atMs = this.#elapsedMs();
		this.#stages.begin(stage, atMs);
		this.#killed++;
		await gateway.kill();
		await gateway.start();
		const backMs = this.#elapsedMs() - atMs;
		this.#kills.push({ atMs: Math.round(atMs), backMs: Math.round(backMs) });
		this.#stages.end(stage, `ready again after ${time(backMs)}`);
	}

	/** Gives what is under way its time: to the hub as long as something still arrives, to the store by one last upload. */
	async #arrive(hub: HubFollower, operator: GatewayOperator): Promise<void> {
		const { patienceMs = PATIENCE_MS } = this.#options;
		const beganMs = performance.now();
		let seen = -1;
		let sinceMs = beganMs;
		while (hub.missing() > 0) {
			if (hub.failure) throw new GatewayError(`the hub cannot be read: ${hub.failure.message}`);
			if (hub.received > seen) {
				seen = hub.received;
				sinceMs = performance.now();
			} else if (performance.now() - sinceMs > patienceMs) {
				this.#troubles.add(`nothing more came to the hub in ${time(patienceMs)}`);
				break;
			}
			await sleep(TICK_MS);
		}
		await operator.settled();
		await operator.upload().catch((error: unknown) => {
			this.#troubles.add(`the last upload: ${messageOf(error)}`);
		});
		this.#stages.end("end", `${count(this.#progress?.acked ?? 0)} events, all acknowledged`);
	}

	async #read(rig: Rig, store: StoreReader): Promise<{ hub: LogVerdict; store: LogVerdict }> {
		const hub = new Verifier(this.#ledger, {}, true);
		const readBack = new NativeReadBack(rig.hub.host, rig.hub.nativePort, TOPIC);
		for await (const record of readBack.read({})) hub.take(record);
		const stored = new Verifier(this.#ledger);
		try {
			store.look();
			for (const record of store.records()) stored.take(record);
		} catch (error) {
			this.#troubles.add(`the object store cannot be read: ${messageOf(error)}`);
		}
		return { hub: hub.verdict(), store: stored.verdict() };
	}

	/** While the gateway runs it may take away what is being looked at; at the end it counts. */
	#glance(store: StoreReader): void {
		try {
			store.look();
		} catch {
			// What is there is seen the next time.
		}
	}

	#outage(): Outage | undefined {
		if (this.#cutMs === undefined || this.#restoredMs === undefined) return undefined;
		return {
			atMs: Math.round(this.#cutMs),
			lastedMs: Math.round(this.#restoredMs - this.#cutMs),
			waited: this.#waited,
			caughtUpMs: this.#caughtUpMs === undefined ? undefined : Math.round(this.#caughtUpMs),
		};
	}

	#elapsedMs(): number {
		return this.#startMs === undefined ? 0 : performance.now() - this.#startMs;
	}

	#tick(rig: Rig, hub: HubFollower, store: StoreReader, operator: GatewayOperator): void {
		if (this.#ticks++ % LOOK_EVERY_TICKS === 0) {
			this.#glance(store);
			operator.look();
		}
		const uploadEveryTicks = Math.ceil(this.#options.durationMs / UPLOADS / TICK_MS);
		if (this.#ticks % uploadEveryTicks === 0 && this.#stages.get("end").beganMs === undefined) {
			// It fails where the gateway is killed just then: what is not uploaded is pending.
			operator.upload().catch(() => {});
		}
		const elapsedMs = this.#elapsedMs();
		const acked = this.#progress?.acked ?? 0;
		const { link } = rig;
		if (link.isCut) this.#waited = Math.max(0, acked - hub.received);
		if (this.#restoredMs !== undefined && this.#caughtUpMs === undefined && hub.received >= this.#goal) {
			this.#caughtUpMs = elapsedMs - this.#restoredMs;
			this.#stages.end("restore", `caught up in ${time(this.#caughtUpMs)}`);
		}
		const cutToMs = this.#restoredMs ?? elapsedMs;
		this.#show({
			seed: this.#options.seed,
			sensors: this.#options.sensors,
			rate: this.#options.sensors * this.#options.rate,
			elapsedMs,
			durationMs: this.#options.durationMs,
			stages: this.#stages.list,
			acked,
			gateway: this.#stopped ? "stopped" : this.#kills.length < this.#killed ? "down" : "up",
			gatewayBytes: operator.residentBytes,
			kills: this.#killed,
			linkUp: !link.isCut,
			cutForMs: this.#cutMs === undefined ? 0 : cutToMs - this.#cutMs,
			hub: hub.received,
			bundles: store.bundles,
			store: store.offsets(),
		});
	}
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

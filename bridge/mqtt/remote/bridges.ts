/** All bridges to other MQTT brokers: made from the configuration, started, stopped and looked at together. */
import type { Timer } from "../../../src/base/clock.ts";
import type { Disk } from "../../../src/base/disk.ts";
import type { Random } from "../../../src/base/random.ts";
import type { BridgeConfig } from "../../../src/config/definition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import type { Engine } from "../engine.ts";
import { EventReader } from "../stored-event.ts";
import { Bridge } from "./bridge.ts";
import type { BridgeStatus } from "./bridge-stats.ts";

const SWEEP_MS = 1000;
const GATEWAY_KEY = "gateway";
const GATEWAY_ID_BYTES = 8;

export interface BridgesServices {
	readonly disk: Disk;
	readonly random: Random;
}

export class Bridges {
	readonly #engine: Engine;
	readonly #bridges: readonly Bridge[];
	#timer: Timer | undefined;
	#stopped = false;

	/** Throws StartError for rules that cannot be. */
	constructor(engine: Engine, configs: readonly BridgeConfig[], services: BridgesServices) {
		this.#engine = engine;
		// Nothing is kept, and nothing written, where there are none.
		const gatewayId = configs.length === 0 ? "" : gatewayIdOf(engine, services.random);
		const shared = { engine, ...services, gatewayId, reader: new EventReader(engine.routes) };
		this.#bridges = configs.map((config) => new Bridge(config, shared));
		for (const bridge of this.#bridges) announce(engine, bridge);
		this.#forgetOthers(configs);
		if (configs.length === 0) return;
		engine.broker.topics.onChange(() => {
			if (!this.#stopped) for (const bridge of this.#bridges) bridge.topicsChanged();
		});
	}

	/** Connects in the background: this does not wait for any other broker. To be called once the door is started. */
	start(): void {
		for (const bridge of this.#bridges) bridge.start();
		if (this.#bridges.length > 0) this.#nextSweep();
	}

	#nextSweep(): void {
		this.#timer = this.#engine.broker.clock.after(SWEEP_MS, () => {
			for (const bridge of this.#bridges) bridge.swept();
			if (!this.#stopped) this.#nextSweep();
		});
	}

	/** Ends the connections and writes where each bridge stands. To be called before the door is stopped. */
	async stop(): Promise<void> {
		this.#stopped = true;
		this.#timer?.cancel();
		// What came is stored and acknowledged first; storage that failed acknowledges nothing.
		if (this.#bridges.length > 0) await this.#engine.settled();
		await Promise.all(this.#bridges.map((bridge) => bridge.stop()));
	}

	stats(): readonly BridgeStatus[] {
		return this.#bridges.map(({ status }) => status);
	}

	/** A rule that is not configured any more would, if it came back, send what nobody expects: its place goes with it. */
	#forgetOthers(configs: readonly BridgeConfig[]): void {
		const { log } = this.#engine.broker;
		const kept = new Set([GATEWAY_KEY, ...configs.map(({ name }) => `in\n${name}`)]);
		for (const bridge of this.#bridges) for (const { key } of bridge.outbound.flows) kept.add(key);
		this.#engine.guarded("forgetting bridges", () => {
			for (const [key] of [...log.scanState(StateSpace.MQTT_BRIDGE, "")]) {
				if (kept.has(key) || (configs.length === 0 && key === GATEWAY_KEY)) continue;
				log.deleteState(StateSpace.MQTT_BRIDGE, key);
			}
		});
	}
}

/** Below $SYS: whether it is connected, under mosquitto's name for that; how far it is behind; what went wrong last. */
function announce({ sys }: Engine, bridge: Bridge): void {
	const { name } = bridge.status;
	sys.add(`connection/${name}/state`, () => (bridge.status.state === "connected" ? "1" : "0"));
	sys.add(`headwater/bridge/${name}/lag`, () => String(bridge.status.lag));
	sys.add(`headwater/bridge/${name}/last-error`, () => bridge.status.lastError ?? "");
}

/** Made once: the gateway as it is known in `headwater-bridge` properties. */
function gatewayIdOf(engine: Engine, random: Random): string {
	const { log } = engine.broker;
	const row = log.getState(StateSpace.MQTT_BRIDGE, GATEWAY_KEY);
	if (row !== undefined) return Buffer.from(row).toString("utf8");
	const id = random.bytes(GATEWAY_ID_BYTES).toString("hex");
	engine.guarded("noting the gateway's identity", () => {
		log.putState(StateSpace.MQTT_BRIDGE, GATEWAY_KEY, Buffer.from(id));
	});
	return id;
}

/** Replication for a gateway that may have no central cluster: loaded where one is configured. A gateway without it pays for this file alone. */
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Uplink } from "../../src/broker/uplink.ts";
import type {
	UpstreamAdmin,
	UpstreamReset,
	UpstreamResetStep,
	UpstreamStatus,
} from "../../src/broker/upstream-admin.ts";
import type { Retain } from "./downlink/target.ts";
import type { UpstreamOptions } from "./options.ts";
import type { Upstream } from "./upstream.ts";

/** As the configuration has it; what only a loaded module can make is made here. */
export type ConfiguredUpstream = Omit<UpstreamOptions, "compress">;

export class OnDemandUpstream implements UpstreamAdmin {
	readonly #broker: Broker;
	readonly #options: (() => Promise<ConfiguredUpstream>) | undefined;
	#upstream: Upstream | undefined;

	/** `options`: undefined where there is no central cluster. */
	constructor(broker: Broker, options: (() => Promise<ConfiguredUpstream>) | undefined) {
		this.#broker = broker;
		this.#options = options;
	}

	get isConfigured(): boolean {
		return this.#options !== undefined;
	}

	/** Before anybody writes: retention keeps what is to be sent when it resolves. */
	async open(uplink: Uplink, retain: Retain): Promise<void> {
		if (this.#options === undefined) return;
		const [{ Upstream }, { Compressor }, options] = await Promise.all([
			import("./upstream.ts"),
			import("./shipment/compress.ts"),
			this.#options(),
		]);
		const { compress } = new Compressor();
		this.#upstream = await Upstream.open({ broker: this.#broker, uplink, retain }, { ...options, compress });
	}

	start(): void {
		this.#upstream?.start();
	}

	async stop(): Promise<void> {
		await this.#upstream?.stop();
	}

	async status(): Promise<UpstreamStatus> {
		return this.#need().status();
	}

	async pause(): Promise<void> {
		return this.#need().pause();
	}

	async resume(): Promise<void> {
		return this.#need().resume();
	}

	async reset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]> {
		return this.#need().reset(reset);
	}

	#need(): Upstream {
		if (this.#upstream !== undefined) return this.#upstream;
		throw new BrokerError("INVALID_CONFIG", "this gateway has no central cluster: set upstream.bootstrap.servers");
	}
}

/**
 * Tiered storage for a gateway that may have no use for it: loaded when a topic is tiered, when something is in the object
 * store, or when a person asks. A gateway without it pays for this file alone.
 */
import type { Broker } from "../src/broker/broker.ts";
import type { TierAdmin, TierFinding, TierStatus, TierVerifyResult } from "../src/broker/tier-admin.ts";
import type { Compression } from "./bundle/compression.ts";
import type { ObjectStore } from "./object-store.ts";
import type { TieredStorage, TieredStorageOptions } from "./tiered-storage.ts";

export interface OnDemandOptions extends TieredStorageOptions {
	readonly openStore: () => Promise<ObjectStore & { readonly compression: Compression }>;
}

export class OnDemandTiering implements TierAdmin {
	readonly #broker: Broker;
	readonly #options: OnDemandOptions;
	#storage: Promise<TieredStorage> | undefined;
	#stopped = false;

	constructor(broker: Broker, options: OnDemandOptions) {
		this.#broker = broker;
		this.#options = options;
	}

	/** Before anybody reads: what has left this machine already is readable when it resolves. */
	async start(): Promise<void> {
		this.#broker.topics.onChange(() => {
			if (this.isActive || !this.#hasTieredTopic()) return;
			this.#load().catch((error: unknown) =>
				this.#broker.logger.error("tiered storage could not begin", { error: String(error) }),
			);
		});
		// What deleted topics had may still have to be removed from the store.
		const hasBundles = this.#broker.catalog.tier.bundlesByKey("", 1).length > 0;
		if (hasBundles || this.#hasTieredTopic()) await this.#load();
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		await (await this.#storage?.catch(() => undefined))?.stop();
	}

	get isActive(): boolean {
		return this.#storage !== undefined;
	}

	async status(): Promise<TierStatus> {
		return (await this.#load()).status();
	}

	async run(): Promise<void> {
		return (await this.#load()).run();
	}

	async ranges(...asked: Parameters<TierAdmin["ranges"]>): ReturnType<TierAdmin["ranges"]> {
		return (await this.#load()).ranges(...asked);
	}

	async *verify(
		deep: boolean,
		progress: (done: TierVerifyResult) => void,
		signal?: AbortSignal,
	): AsyncGenerator<TierFinding> {
		yield* (await this.#load()).verify(deep, progress, signal);
	}

	#hasTieredTopic(): boolean {
		return this.#broker.topics.list().some(({ partitions }) => partitions[0]?.isTiered === true);
	}

	#load(): Promise<TieredStorage> {
		this.#storage ??= this.#open();
		this.#storage.catch(() => {
			this.#storage = undefined;
		});
		return this.#storage;
	}

	async #open(): Promise<TieredStorage> {
		const { TieredStorage } = await import("./tiered-storage.ts");
		const store = await this.#options.openStore();
		const { compression } = store;
		const storage = await TieredStorage.open(this.#broker, store, { compression, ...this.#options });
		if (this.#stopped) {
			await storage.stop();
			throw new Error("the gateway stops");
		}
		this.#broker.log.tier = storage.tier;
		storage.start();
		return storage;
	}
}

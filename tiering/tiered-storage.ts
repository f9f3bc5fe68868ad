/**
 * Tiered storage of a running gateway: what uploads, what reads back, what removes, and what people ask of them, over one object
 * store. Who may upload is settled with the first upload: a claim in the store says which data directory the gateway's name
 * belongs to.
 */
import { BrokerError, DamageError } from "../src/base/errors.ts";
import type { Broker } from "../src/broker/broker.ts";
import type {
	TierAdmin,
	TierFinding,
	TierRange,
	TierStatus,
	TierTopicStatus,
	TierVerifyResult,
} from "../src/broker/tier-admin.ts";
import type { Uplink } from "../src/broker/uplink.ts";
import type { Tier } from "../src/log/tier.ts";
import type { Compression } from "./bundle/compression.ts";
import { type ObjectStore, StoreError } from "./object-store.ts";
import { TierReader } from "./read/reader.ts";
import { ClaimError, checkClaim, checkSequence, makeClaim } from "./restore/claim.ts";
import { Identity } from "./restore/identity.ts";
import { takeSnapshot } from "./restore/take-snapshot.ts";
import { UploadFailed } from "./upload/object-upload.ts";
import { Reclaimer } from "./upload/reclaimer.ts";
import { Schedule } from "./upload/schedule.ts";
import { Uploader } from "./upload/uploader.ts";
import { verifyStore } from "./verify-store.ts";

export interface TieredStorageOptions {
	readonly gatewayId: string;
	/** Program and version, for people. */
	readonly writer: string;
	/** As in ScheduleOptions. */
	readonly schedule: string;
	readonly window: string;
	readonly uploadBytes: number;
	readonly uploadAgeMs: number;
	/** Record batches in a bundle, bytes. */
	readonly bundleBytes: number;
	/** As in TierReaderOptions. */
	readonly cacheFolder: string;
	readonly cacheBytes: number;
	readonly windowBytes: number;
	/** undefined: the store is not at the other end of the link. */
	readonly uplink: Uplink | undefined;
	/** Without it on threads of this process. */
	readonly compression?: Compression;
}

/** Rows of ranges read at once for a listing. */
const RANGES_AT_ONCE = 256;

export class TieredStorage implements TierAdmin {
	/** Reads what partitions do not keep themselves. */
	readonly tier: Tier;
	readonly isActive = true;
	readonly #broker: Broker;
	readonly #store: ObjectStore;
	readonly #options: TieredStorageOptions;
	readonly #identity: Identity;
	readonly #schedule: Schedule;
	readonly #uplink: Uplink | undefined;
	readonly #reader: TierReader;
	readonly #reclaimer: Reclaimer;
	readonly #uploader: Uploader;
	readonly #stop = new AbortController();

	private constructor(broker: Broker, store: ObjectStore, options: TieredStorageOptions, schedule: Schedule) {
		const { catalog, clock, random, logger } = broker;
		const { gatewayId, writer } = options;
		const compression = options.compression === undefined ? {} : { compression: options.compression };
		this.#broker = broker;
		this.#store = store;
		this.#options = options;
		this.#schedule = schedule;
		this.#identity = new Identity(catalog, random);
		this.#uplink = options.uplink;
		this.#reader = new TierReader({
			...{ catalog: catalog.tier, store, disk: broker.log.services.disk, clock, logger },
			cacheFolder: options.cacheFolder,
			cacheBytes: options.cacheBytes,
			windowBytes: options.windowBytes,
			lost: ({ id }, offset, next) => {
				const partition = broker.log.partitions.get(id);
				const what = "no object has these records";
				if (partition !== undefined)
					broker.log.losses.record(partition, offset, next, new DamageError(store.name, 0, what));
			},
			...compression,
		});
		this.tier = this.#reader;
		this.#reclaimer = new Reclaimer({
			...{ tier: catalog.tier, store, clock, random, logger },
			isOpen: () => schedule.isOpen,
			checkClaim: () => this.#checkClaim(),
			removed: (key) => this.#reader.forgetBundle(key),
		});
		const { incarnation } = this.#identity;
		this.#uploader = new Uploader({
			...{ broker, store, schedule, gatewayId, incarnation, writer },
			uplink: this.#uplink,
			checkClaim: () => this.#checkClaim(),
			takeSnapshot: () =>
				takeSnapshot(broker, {
					...{ gateway: gatewayId, incarnation, takenMs: clock.now(), writer },
					scheduleMs: schedule.intervalMs(),
				}),
			released: () => this.#reclaimer.poke(),
			bundleBytes: options.bundleBytes,
			...compression,
		});
	}

	/** `store` is closed with it. */
	static async open(broker: Broker, store: ObjectStore, options: TieredStorageOptions): Promise<TieredStorage> {
		const { gatewayId, schedule, window, uploadBytes, uploadAgeMs } = options;
		const lastRunMs = broker.catalog.tier.newestBundle()?.createdMs;
		const timing = { gatewayId, schedule, window, uploadBytes, uploadAgeMs, lastRunMs };
		const storage = new TieredStorage(broker, store, options, await Schedule.make(broker.clock, timing));
		broker.catalog.tier.keepRoom();
		broker.catalog.tier.abandonUnfinished();
		storage.#reader.begin();
		return storage;
	}

	/** From now on uploads begin by themselves, and what is to go from the store is removed. */
	start(): void {
		this.#uploader.start();
		this.#reclaimer.start();
		this.#reclaimer.poke();
	}

	/** Ends what is under way; an upload that is not finished counts for nothing. */
	async stop(): Promise<void> {
		this.#stop.abort(new BrokerError("OPERATION_NOT_ATTEMPTED", "the gateway stops"));
		await this.#uploader.stop();
		await this.#reclaimer.stop();
		await this.#reader.close();
		await this.#store.close();
	}

	/** Rejects with ClaimError where another data directory has the name, and with StoreError. */
	async #checkClaim(): Promise<void> {
		const { gatewayId, writer } = this.#options;
		const { id, incarnation, basedOn } = this.#identity;
		this.#identity.mustBe(gatewayId);
		const claim = {
			...{ gateway: gatewayId, incarnation, identity: id, writer, basedOn },
			claimedMs: this.#broker.clock.now(),
		};
		if (this.#identity.hasClaimed(this.#store.name)) {
			await checkClaim(this.#store, claim);
			return checkSequence(this.#store, claim, this.#broker.catalog.tier.lastSequence());
		}
		// It goes by another name, or it is another one: what has been stored must be there, or a log would be in two stores.
		if (this.#broker.catalog.tier.totals().ranges > 0) await checkClaim(this.#store, claim);
		else await makeClaim(this.#store, claim);
		this.#identity.claimed(gatewayId, this.#store.name);
	}

	async status(): Promise<TierStatus> {
		const { catalog, clock } = this.#broker;
		const { bundles, bytes, deleting } = catalog.tier.totals();
		const { gets, bytes: readBytes, cacheHits, cacheMisses, cacheBytes, errors, problem } = this.#reader.stats();
		const report = this.#uplink?.report();
		const message = this.#uploader.error?.message ?? problem ?? this.#reclaimer.problem;
		return {
			store: this.#store.name,
			gateway: this.#options.gatewayId,
			incarnation: this.#identity.incarnation,
			...{ bundles, bytes, deleting },
			run: this.#uploader.runStatus,
			nextRunMs: this.#schedule.nextRunMs(),
			lastRun: this.#uploader.lastRun,
			error: message === undefined ? undefined : { sinceMs: this.#uploader.error?.sinceMs ?? clock.now(), message },
			topics: await this.#topics(),
			uplink: {
				bytesToday: report?.day.bytes ?? 0,
				bytesThisMonth: report?.month.bytes ?? 0,
				leftToday: report?.day.left,
				leftThisMonth: report?.month.left,
			},
			reads: { gets, bytes: readBytes, cacheHits, cacheMisses, cacheBytes, errors },
		};
	}

	async #topics(): Promise<TierTopicStatus[]> {
		const { topics, catalog } = this.#broker;
		const tiered = new Map(catalog.tier.tiered().map((one) => [one.partitionId, one]));
		const pending = new Map((await this.#uploader.pending()).map((one) => [one.partition.id, one]));
		return topics.list().flatMap(({ name, partitions }) => {
			if (!partitions.some((partition) => partition.isTiered)) return [];
			const stored = partitions.map(({ id }) => tiered.get(id));
			const waiting = partitions.flatMap(({ id }) => pending.get(id) ?? []);
			const since = waiting.map(({ sinceMs }) => sinceMs).filter((ms) => ms >= 0);
			return [
				{
					topic: name,
					copies: partitions[0]?.config.tier.copies === true,
					tieredRecords: sum(stored, (one) => one?.records ?? 0),
					tieredBytes: sum(stored, (one) => one?.bytes ?? 0),
					pendingRecords: sum(waiting, ({ from, to }) => to - from),
					pendingBytes: sum(waiting, ({ bytes }) => bytes),
					pendingSinceMs: since.length === 0 ? undefined : Math.min(...since),
				},
			];
		});
	}

	async run(): Promise<void> {
		try {
			await this.#uploader.run();
		} catch (error) {
			if (error instanceof StoreError || error instanceof UploadFailed || error instanceof ClaimError)
				throw new BrokerError(error instanceof ClaimError ? "POLICY_VIOLATION" : "KAFKA_STORAGE_ERROR", error.message, {
					cause: error,
				});
			throw error;
		}
	}

	async ranges(
		topic: string | undefined,
		after: Pick<TierRange, "topic" | "partition" | "baseOffset"> | undefined,
		limit: number,
	): Promise<TierRange[]> {
		const { topics, catalog } = this.#broker;
		const keys = new Map<number, string>();
		const found: TierRange[] = [];
		for (const { name, partitions } of topics.list()) {
			if ((topic !== undefined && name !== topic) || (after !== undefined && name < after.topic)) continue;
			for (const { id, number } of partitions) {
				const isSame = after?.topic === name;
				if (isSame && number < after.partition) continue;
				let from = isSame && number === after.partition ? after.baseOffset + 1 : 0;
				for (;;) {
					const rows = catalog.tier.ranges(id, from, Math.min(RANGES_AT_ONCE, limit - found.length));
					for (const { bundleId, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp } of rows) {
						const object = keys.get(bundleId) ?? catalog.tier.bundle(bundleId)?.key ?? "";
						keys.set(bundleId, object);
						const bytes = { storedBytes, rawBytes };
						found.push({ topic: name, partition: number, baseOffset, nextOffset, ...bytes, maxTimestamp, object });
						from = baseOffset + 1;
					}
					if (found.length >= limit) return found;
					if (rows.length === 0) break;
				}
			}
		}
		return found;
	}

	verify(
		deep: boolean,
		progress: (done: TierVerifyResult) => void,
		signal: AbortSignal = this.#stop.signal,
	): AsyncIterable<TierFinding> {
		const { catalog, log, clock } = this.#broker;
		const parts = { store: this.#store, tier: catalog.tier, partitions: log.partitions, clock };
		const either = AbortSignal.any([signal, this.#stop.signal]);
		return verifyStore({ ...parts, gatewayId: this.#options.gatewayId }, { deep, progress, signal: either });
	}
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
	return items.reduce((total, item) => total + of(item), 0);
}

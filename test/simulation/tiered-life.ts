/**
 * Seeded lives of a gateway with tiered storage: records, tombstones and transactions in topics of each cleanup policy, uploads
 * to a store that fails in every way, retention of both kinds, compaction, crashes at any instant; and what must hold.
 */
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { BrokerError } from "../../src/base/errors.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../src/log/delete-records.ts";
import type { Partition } from "../../src/log/partition.ts";
import { offsetForTimestamp } from "../../src/log/partition-times.ts";
import { TieredStorage } from "../../tiering/tiered-storage.ts";
import { inlineCompression } from "../support/inline-compression.ts";
import { Restoring } from "../support/restored-gateway.ts";
import { SimulatedBucket } from "../support/simulated-bucket.ts";
import { SimulatedStore } from "../support/simulated-store.ts";
import { type Found, KeyedHistory, type View, viewOf } from "./keyed-history.ts";
import { Violation } from "./log-model.ts";
import { DATA_FOLDER, World } from "./world.ts";

const POWER = /the power|disk is off/;
const RETENTION_MS = 60_000;
const DELETE_RETENTION_MS = 5000;
const GATEWAY = "g";
const PART_BYTES = 8 * 1024;
const TOPIC_DEFAULTS = {
	"log.index.interval.bytes": "512",
	"log.segment.bytes": "4096",
	"log.retention.ms": "-1",
	"log.cleaner.min.cleanable.ratio": "0.01",
	"log.cleaner.delete.retention.ms": String(DELETE_RETENTION_MS),
	"log.remote.storage.enable": "true",
};
/** Longer than the store is left alone after a failure, and than an upload waits between tries. */
const PATIENT_MS = 61_000;
const TRIES = 8;
/** For what takes very many requests. */
const MANY_TIMERS = 20_000;

/** One partition's. */
interface Ledger {
	readonly topic: string;
	readonly number: number;
	readonly history: KeyedHistory;
	acked: number;
	/** Records before it may be gone by request. */
	deleted: number;
	/** The largest tiered offset that was ever seen. */
	tiered: number;
}

export interface TieredLifeOptions {
	readonly seed: number | string;
	readonly steps?: number;
	/** Breaks something on purpose after each start, to see it found. */
	readonly sabotage?: (life: TieredLife) => void;
}

export class TieredLife {
	world: World;
	readonly random: SimulatedRandom;
	readonly bucket: SimulatedBucket;
	readonly ledgers: Ledger[] = [];
	readonly tally = {
		records: 0,
		uploads: 0,
		evictions: 0,
		crashes: 0,
		crashesInUpload: 0,
		expired: 0,
		tieredReads: 0,
		readErrors: 0,
		compactions: 0,
		lookUps: 0,
		restores: 0,
	};
	readonly #options: TieredLifeOptions;
	readonly #clock: SimulatedClock;
	#store: SimulatedStore;
	#storage: TieredStorage | undefined;
	#uploading = false;

	constructor(options: TieredLifeOptions) {
		this.#options = options;
		this.random = new SimulatedRandom(options.seed);
		this.#clock = new SimulatedClock({ random: this.random.fork("clock") });
		this.bucket = new SimulatedBucket({ clock: this.#clock, leastPartBytes: PART_BYTES / 2 });
		this.bucket.historyMs = 60_000;
		this.world = this.#newWorld();
		this.#store = this.#newStore();
	}

	#newWorld(): World {
		return new World(this.random, {
			clock: this.#clock,
			onOff: () => this.#store.crash(),
			journalFileBytes: 128 * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: this.random.chance(0.5),
			syncMs: 2,
			topicDefaults: TOPIC_DEFAULTS,
			cleaner: { backoffMs: 1e9, dedupeBufferBytes: 65_536, ioBytesPerSecond: 32 * 1024 * 1024 },
		});
	}

	#newStore(): SimulatedStore {
		const { random, bucket } = this;
		const store = new SimulatedStore({
			clock: this.#clock,
			random: random.fork("store"),
			partBytes: PART_BYTES,
			bucket,
		});
		store.latencyMs = random.pick([
			[0, 0],
			[1, 50],
			[20, 2000],
		]);
		store.pageObjects = random.pick([2, 1000]);
		return store;
	}

	async run(): Promise<void> {
		await this.#begin();
		this.#addTopic("d", 2, { "retention.ms": String(RETENTION_MS), "local.retention.ms": "3000" });
		this.#addTopic("c", 1, { "cleanup.policy": "compact", "local.retention.ms": "3000" });
		for (let step = this.#options.steps ?? 80; step > 0; step--) {
			await this.#step();
			if (this.world.disk.off) await this.crash(this.random.chance(0.5) ? "kill" : "power cut");
		}
		if (this.random.chance(0.3)) {
			await this.#moveToAnother();
			return;
		}
		await this.crash("power cut");
		await this.#end();
		if (this.random.chance(0.3)) await this.#moveToAnother();
	}

	#addTopic(topic: string, partitions: number, config: Record<string, string>): void {
		this.world.broker.topics.create({ name: topic, partitions, config });
		for (let number = 0; number < partitions; number++) {
			const history = new KeyedHistory(this.random);
			this.ledgers.push({ topic, number, history, acked: 0, deleted: 0, tiered: 0 });
		}
	}

	partition({ topic, number }: Ledger): Partition {
		return this.world.partition(topic, number) as Partition;
	}

	async #begin(): Promise<void> {
		const { world } = this;
		for (;;) {
			try {
				world.start();
				break;
			} catch (error) {
				if (!world.disk.off) throw error;
				await world.crash("kill", this.random);
			}
		}
		const { broker } = world;
		this.#store = this.#newStore();
		this.#storage = await world.finish(
			TieredStorage.open(broker, this.#store, {
				gatewayId: GATEWAY,
				writer: "simulation",
				...{ schedule: "never", window: "", uploadBytes: this.random.pick([0, 3000]), uploadAgeMs: 0 },
				bundleBytes: this.random.pick([2000, 100_000]),
				...{ cacheFolder: `${DATA_FOLDER}/tier-cache`, cacheBytes: this.random.pick([0, 20_000]), windowBytes: 4000 },
				uplink: undefined,
				compression: inlineCompression,
			}),
		);
		broker.log.tier = this.#storage.tier;
		this.#options.sabotage?.(this);
		this.#storage.start();
		this.#uploading = false;
	}

	async #step(): Promise<void> {
		const { random, world } = this;
		const ledger = random.pick(this.ledgers);
		const what = random.weighted({
			...{ append: 30, commit: 10, checkpoint: 10, upload: 14, retention: 10, time: 12, read: 5, compact: 5 },
			...{ trouble: 6, calm: 6, lookUp: 3, remove: 1, local: 2, arm: 6, crash: 2, cycle: 8 },
		});
		try {
			if (what === "append") for (let i = random.between(1, 8); i > 0; i--) this.#append(ledger);
			else if (what === "commit") await this.#commit();
			else if (what === "checkpoint") await world.finish(world.log.checkpoint());
			else if (what === "upload") this.#upload();
			else if (what === "retention") this.#retain();
			else if (what === "time") await this.#clock.advance(random.pick([1, 500, 4000, 20_000]));
			else if (what === "read") await this.#read(ledger);
			else if (what === "lookUp") await this.#lookUp(ledger);
			else if (what === "compact") await this.#compact();
			else if (what === "trouble") {
				this.#trouble();
				for (const each of this.ledgers) await this.#read(each);
			} else if (what === "calm") this.#store.clearFaults();
			else if (what === "cycle") await this.#cycle(ledger);
			else if (what === "remove") this.#remove(ledger);
			else if (what === "local") this.#changeLocal(ledger);
			else if (what === "arm") world.disk.stopAfter(random.between(1, 200));
			else world.disk.stop();
		} catch (error) {
			if (error instanceof Violation || (!world.disk.off && !POWER.test(String(error)))) throw error;
		}
	}

	#append(ledger: Ledger): void {
		ledger.history.append(this.world, this.partition(ledger));
		this.tally.records++;
	}

	async #commit(): Promise<void> {
		const ends = this.ledgers.map((ledger) => this.partition(ledger).endOffset);
		await this.world.finish(this.world.log.whenCommitted());
		this.ledgers.forEach((ledger, i) => {
			ledger.acked = ends[i] as number;
		});
	}

	/** Goes on while other things happen. */
	#upload(): void {
		if (this.#uploading) return;
		this.#uploading = true;
		const storage = this.#storage as TieredStorage;
		const done = (): void => {
			if (this.#storage === storage) this.#uploading = false;
		};
		storage.run().then(() => {
			this.tally.uploads++;
			done();
		}, done);
	}

	/** What makes records leave the card. */
	async #cycle(ledger: Ledger): Promise<void> {
		for (let i = 0; i < 12; i++) this.#append(ledger);
		await this.#commit();
		await this.world.finish(this.world.log.checkpoint());
		this.#upload();
		await this.#clock.advance(4000);
		this.#retain();
		if (!this.partition(ledger).config.cleanupPolicy.compact) return;
		// A tombstone goes in the second pass, when the horizon that the first gave it is past.
		await this.#compact();
		await this.#clock.advance(DELETE_RETENTION_MS + 1);
		for (let i = 0; i < 12; i++) this.#append(ledger);
		await this.#commit();
		await this.world.finish(this.world.log.checkpoint());
		await this.#compact();
	}

	#retain(): void {
		const before = this.ledgers.map((ledger) => this.partition(ledger).localStartOffset);
		this.world.broker.enforceRetention();
		this.ledgers.forEach((ledger, i) => {
			if (this.partition(ledger).localStartOffset > (before[i] as number)) this.tally.evictions++;
		});
	}

	async #compact(): Promise<void> {
		await this.world.finish(this.world.broker.cleaner?.clean() ?? Promise.resolve());
		this.tally.compactions++;
	}

	#trouble(): void {
		const { random } = this;
		const store = this.#store;
		const what = random.pick(["away", "trouble", "stale", "expired", "noDelete", "fault", "cut", "full"] as const);
		if (what === "away") store.away = true;
		else if (what === "trouble") store.troubleChance = random.pick([0.05, 0.3]);
		else if (what === "stale") store.staleMs = random.pick([100, 20_000]);
		else if (what === "expired") store.credentialsExpired = true;
		else if (what === "noDelete") store.deleteForbidden = true;
		else if (what === "cut") store.cut();
		else if (what === "full") this.bucket.capacityBytes = random.chance(0.5) ? 10_000 : Number.POSITIVE_INFINITY;
		else
			store.inject({
				effect: random.pick(["none", "whole", "short"]),
				answer: random.pick(["ok", "unreachable", "refused"]),
				calls: [random.pick(["put", "putPart", "completeUpload", "beginUpload", "getLast", "head"])],
				after: random.between(0, 3),
			});
	}

	#remove(ledger: Ledger): void {
		const partition = this.partition(ledger);
		if (partition.config.cleanupPolicy.compact) return;
		const offset = this.random.between(partition.logStartOffset, partition.highWatermark);
		ledger.deleted = Math.max(ledger.deleted, offset);
		deleteRecordsBefore(this.world.log, partition, offset);
	}

	#changeLocal({ topic }: Ledger): void {
		const set = { "local.retention.ms": this.random.pick(["0", "3000", String(RETENTION_MS)]) };
		this.world.broker.topics.alter(topic, { set });
	}

	async crash(kind: "power cut" | "kill"): Promise<void> {
		this.tally.crashes++;
		if (this.#uploading) this.tally.crashesInUpload++;
		await this.world.crash(kind, this.random);
		await this.#begin();
		for (const ledger of this.ledgers) {
			const partition = this.partition(ledger);
			const { history, acked, tiered } = ledger;
			const { endOffset, highWatermark, tieredOffset } = partition;
			if (endOffset !== highWatermark || endOffset < acked || endOffset > history.entries.length)
				throw new Violation(`ends at ${endOffset}; ${acked} were acknowledged, ${history.entries.length} appended`);
			if (tieredOffset < tiered || tieredOffset > endOffset)
				throw new Violation(`${tieredOffset} of ${endOffset} are tiered; ${tiered} were`);
			history.entries.length = endOffset;
			ledger.acked = endOffset;
		}
		this.#mustBeQuiet();
	}

	#mustBeQuiet(): void {
		const told = this.world.lines
			// A store that shows yesterday's list is no loss: what is missing for good the checks find.
			.filter(({ fields }) => !/is not in simulated/.test(String(fields.error)))
			.filter(({ message, fields }) => /damage|lost|failed/.test(message) && !POWER.test(String(fields.error)))
			.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`);
		if (told.length > 0) throw new Violation(told.join("\n"));
	}

	/** What a reader finds now, while the store may be in trouble: an error, or the truth. */
	async #read(ledger: Ledger): Promise<void> {
		const partition = this.partition(ledger);
		const view = viewOf(partition);
		const start = this.random.chance(0.5) ? view.start : this.random.between(view.start, view.end);
		try {
			await this.#history(ledger, partition, { ...view, start }, 1);
		} catch (error) {
			if (!isRetriable(error)) throw error;
			this.tally.readErrors++;
		}
	}

	async #history({ history }: Ledger, partition: Partition, view: View, tries: number): Promise<Found[]> {
		return history.read(this.world, partition, view, async (of, offset, maxBytes, end) => {
			const isTiered = offset < of.localStartOffset;
			if (isTiered) this.tally.tieredReads++;
			for (let attempt = 1; ; attempt++) {
				try {
					return await of.read(offset, maxBytes, end);
				} catch (error) {
					if (!isRetriable(error) || attempt >= tries) throw error;
					await new Promise<void>((resolve) => void this.world.clock.after(PATIENT_MS, resolve));
				}
			}
		});
	}

	/** All is well: what cannot be read is lost. */
	async #all(ledger: Ledger, partition: Partition, view: View): Promise<Found[]> {
		try {
			return await this.#history(ledger, partition, view, TRIES);
		} catch (error) {
			throw isRetriable(error) ? new Violation(`cannot be read: ${(error as Error).message}`) : error;
		}
	}

	async #lookUp(ledger: Ledger): Promise<void> {
		const { history } = ledger;
		const partition = this.partition(ledger);
		const { logStartOffset: start, highWatermark: end } = partition;
		const one = history.entries[this.random.between(start, Math.max(start, end - 1))];
		if (one === undefined || one.offset >= end || partition.config.cleanupPolicy.compact) return;
		try {
			const found = await this.world.finish(offsetForTimestamp(partition, one.timestamp));
			const expected = history.entries
				.slice(partition.logStartOffset, end)
				.find(({ timestamp }) => timestamp >= one.timestamp);
			if (found?.offset !== expected?.offset && partition.logStartOffset === start)
				throw new Violation(`time ${one.timestamp} is at ${found?.offset}, not at ${expected?.offset}`);
			this.tally.lookUps++;
		} catch (error) {
			if (!isRetriable(error)) throw error;
		}
	}

	/** All is well again: everything must be there, and nothing else. */
	async check(): Promise<void> {
		this.#store.clearFaults();
		this.#store.latencyMs = [0, 10];
		this.bucket.capacityBytes = Number.POSITIVE_INFINITY;
		for (const ledger of this.ledgers) {
			const partition = this.partition(ledger);
			const view = viewOf(partition);
			ledger.tiered = Math.max(ledger.tiered, partition.tieredOffset);
			const found = await this.#all(ledger, partition, view);
			ledger.history.checkState(found, view);
			if (partition.config.cleanupPolicy.compact) continue;
			this.#checkStart(ledger, view.start);
			found.forEach(({ offset }, i) => {
				if (offset !== view.start + i) throw new Violation(`${view.start + i} is missing, ${offset} is there`);
			});
			if (found.length !== view.end - view.start)
				throw new Violation(`${found.length} of ${view.end - view.start} records were found`);
		}
		this.#mustBeQuiet();
	}

	/** Nothing went but what was asked for, or had become too old. */
	#checkStart({ history, deleted }: Ledger, start: number): void {
		const limitMs = this.#clock.now() - RETENTION_MS;
		const young = history.entries.slice(deleted, start).find(({ timestamp }) => timestamp > limitMs + 3);
		if (start > 0) this.tally.expired++;
		if (young !== undefined)
			throw new Violation(`offset ${young.offset} is gone, and is ${this.#clock.now() - young.timestamp} ms old`);
	}

	/** The machine is gone: another one is made from the bucket, and has all that had been uploaded. */
	async #moveToAnother(): Promise<void> {
		this.#store.clearFaults();
		const tiered = this.ledgers.map((ledger) => this.partition(ledger).tieredOffset);
		const ends = this.ledgers.map((ledger) => this.partition(ledger).endOffset);
		const starts = this.ledgers.map((ledger) => this.partition(ledger).logStartOffset);
		const hasBundles = this.world.broker.catalog.tier.newestBundle() !== undefined;
		await this.world.crash("power cut", this.random);
		if (!hasBundles) return;
		const restoring = new Restoring(this.bucket, this.#clock, { gateway: GATEWAY, force: true, random: this.random });
		this.bucket.capacityBytes = Number.POSITIVE_INFINITY;
		await restoring.run();
		this.world = restoring.start(TOPIC_DEFAULTS);
		for (const [i, ledger] of this.ledgers.entries()) {
			const partition = this.world.partition(ledger.topic, ledger.number);
			if (partition === undefined) {
				if ((tiered[i] as number) > 0) throw new Violation(`${ledger.topic}-${ledger.number} was not restored`);
				continue;
			}
			const view = viewOf(partition);
			// An attempt may have been stored whole that the catalog never heard of.
			if (view.end < (tiered[i] as number) || view.end > (ends[i] as number))
				throw new Violation(`ends at ${view.end}; ${tiered[i]} of ${ends[i]} were uploaded`);
			if (view.start > (starts[i] as number) && view.start < view.end)
				throw new Violation(`begins at ${view.start}, not at ${starts[i]}`);
			ledger.history.cut(view.end);
			const found = await this.#all(ledger, partition, view);
			ledger.history.checkState(found, view);
			if (!partition.config.cleanupPolicy.compact && found.length !== view.end - view.start)
				throw new Violation(`${found.length} of ${view.end - view.start} records were restored`);
		}
		if (this.world.broker.catalog.lostRecords() > 0) throw new Violation("the restored gateway knows of losses");
		this.tally.restores++;
	}

	/** Uploads all, lets go of what may go, and leaves nothing in the store that is not needed. */
	async #end(): Promise<void> {
		await this.check();
		const storage = this.#storage as TieredStorage;
		for (const ledger of this.ledgers) ledger.history.endTransactions(this.world, this.partition(ledger));
		await this.#commit();
		await this.world.finish(this.world.log.checkpoint());
		await this.world.finish(storage.run(), MANY_TIMERS);
		for (const ledger of this.ledgers) {
			const { tieredOffset, lastStableOffset } = this.partition(ledger);
			if (tieredOffset < lastStableOffset) throw new Violation(`${tieredOffset} of ${lastStableOffset} are uploaded`);
		}
		await this.#clock.advance(3_600_000);
		this.#retain();
		// What nothing needs is removed when a snapshot in the store says so too.
		await this.world.finish(storage.run(), MANY_TIMERS);
		await this.#clock.advance(4 * 3_600_000);
		await this.check();
		const findings: string[] = [];
		await this.world.finish(
			(async () => {
				for await (const { kind, what } of storage.verify(true, () => {})) findings.push(`${kind}: ${what}`);
			})(),
			MANY_TIMERS,
		);
		if (findings.length > 0) throw new Violation(findings.join("\n"));
		const { bundles } = this.world.broker.catalog.tier.totals();
		const stored = [...this.bucket.objects().keys()].filter((key) => key.endsWith(".bundle"));
		if (stored.length !== bundles) throw new Violation(`${stored.length} bundles are stored, ${bundles} are known`);
	}
}

function isRetriable(error: unknown): boolean {
	return (
		error instanceof BrokerError && (error.code === "KAFKA_STORAGE_ERROR" || error.code === "OFFSET_NOT_AVAILABLE")
	);
}

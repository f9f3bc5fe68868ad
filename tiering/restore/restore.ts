/**
 * Makes a data directory from what an object store has of a gateway: its topics with their settings, records (where they are,
 * not the records), offsets, leader epochs, consumer groups and retained messages. What the gateway had and had not uploaded
 * is not there.
 *
 * Written to a folder in it, and moved to its place when all of it is there and the store knows the new incarnation: a restoration
 * that was cut short leaves nothing that looks whole, and the next one begins anew, under the same claim.
 */
import type { Clock } from "../../src/base/clock.ts";
import { type Disk, joinPath } from "../../src/base/disk.ts";
import { StartError } from "../../src/base/errors.ts";
import type { Random } from "../../src/base/random.ts";
import { newIdentity } from "../../src/broker/directory-identity.ts";
import { Catalog, type StateChange } from "../../src/catalog/catalog.ts";
import { CatalogInUse } from "../../src/catalog/database.ts";
import { CATALOG_FILE, RESTORING_FOLDER } from "../../src/log/layout.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import { type Compression, threadCompression } from "../bundle/compression.ts";
import { gatewayPrefix } from "../object-keys.ts";
import { type ObjectStore, StoreError } from "../object-store.ts";
import { type Claim, ClaimError, makeClaim } from "./claim.ts";
import { Identity } from "./identity.ts";
import { FooterReader } from "./read-footers.ts";
import { type LogPlan, planLog } from "./restore-log.ts";
import { restoredState } from "./restore-state.ts";
import { RetriedReads, retried } from "./retried-reads.ts";
import type { Snapshot } from "./snapshot.ts";
import { gatewaysIn, readContents, type StoreContents } from "./store-contents.ts";
import { SNAPSHOT_META } from "./take-snapshot.ts";

export interface RestoreOptions {
	readonly store: ObjectStore;
	readonly gateway: string;
	/** Made by this; it may be there, empty: the place of another file system, say. */
	readonly dataFolder: string;
	/** Although the gateway may be alive, or records are missing. */
	readonly force: boolean;
	/** Program and version, for people. */
	readonly writer: string;
	readonly progress: (done: RestoreProgress) => void;
}

export interface RestoreSeams {
	readonly disk: Disk;
	readonly clock: Clock;
	readonly random: Random;
	readonly compression?: Compression;
	/** For simulations; else it is the file. */
	readonly openCatalog?: (file: string) => Catalog;
}

export interface RestoreProgress {
	/** Objects of the list, bundles' footers, rows. */
	readonly step: "listing" | "reading" | "writing";
	readonly done: number;
	/** undefined: it is not known yet. */
	readonly total: number | undefined;
}

export interface RestoreReport {
	readonly gateway: string;
	/** The new one. */
	readonly incarnation: number;
	readonly bundles: number;
	/** Of the bundles. */
	readonly bytes: number;
	readonly topics: number;
	readonly partitions: number;
	/** Offsets from the logs' starts to their ends. */
	readonly records: number;
	/** What is beside the records is as of then, by the old gateway's clock. */
	readonly snapshotMs: number;
	readonly holes: LogPlan["holes"];
	/** A line each: damaged bundles, settings and rows that were left out. */
	readonly notes: readonly string[];
	/** Bundles that an older incarnation wrote when it had been replaced. */
	readonly strays: number;
}

/** Rows in a transaction of the catalog: some 10 ms each on a card. */
const ROWS_AT_ONCE = 1000;
const BUNDLES_AT_ONCE = 64;
const TOPICS_AT_ONCE = 64;
const GATEWAYS_SHOWN = 20;
const HOLES_SHOWN = 5;
/** What may be in an empty folder: a file system's own, and what an earlier restoration left. */
const NOTHING: readonly string[] = ["lost+found", RESTORING_FOLDER];
const SPACE_NAMES: ReadonlyMap<number, string> = new Map([
	[StateSpace.KAFKA_GROUP, "consumer groups"],
	[StateSpace.KAFKA_OFFSET, "consumer groups' offsets"],
	[StateSpace.MQTT_RETAINED, "retained messages"],
	[StateSpace.DOWNLINK, "positions of downlink topics"],
]);
/** A gateway that says nothing for so many of its intervals is taken for gone. */
const INTERVALS_OF_SILENCE = 2;

/**
 * Rejects with StartError where it must not be done: something is in the folder, there is no such gateway, it may be alive,
 * records are missing; with StoreError, with ClaimError, and with BrokerError where a newer program wrote what is there.
 */
export async function restore(options: RestoreOptions, seams: RestoreSeams): Promise<RestoreReport> {
	return new Restore(options, seams).run();
}

class Restore {
	readonly #options: RestoreOptions;
	readonly #seams: RestoreSeams;
	readonly #reads: RetriedReads;
	readonly #folder: string;

	constructor(options: RestoreOptions, seams: RestoreSeams) {
		this.#options = options;
		this.#seams = seams;
		this.#reads = new RetriedReads(options.store, seams.clock, seams.random);
		this.#folder = joinPath(options.dataFolder, RESTORING_FOLDER);
	}

	async run(): Promise<RestoreReport> {
		const { gateway, dataFolder, store, progress } = this.#options;
		const { disk, random, compression = threadCompression } = this.#seams;
		if (disk.list(dataFolder).some((name) => !NOTHING.includes(name)))
			throw new StartError(
				`${dataFolder} is not empty: a gateway is restored to a folder of its own. Choose another with --data`,
			);
		const identity = this.#earlierIdentity() ?? newIdentity(random);
		const contents = await readContents(this.#reads, gateway, identity, (done) =>
			progress({ step: "listing", done, total: undefined }),
		);
		if (contents === undefined) throw await this.#noGateway();
		const reader = new FooterReader(this.#reads, contents.bundles, compression);
		const newest = await reader.newestSnapshot();
		if (newest === undefined)
			throw new StartError(
				`gateway ${gateway} has no sound snapshot in ${store.name}: there is nothing to restore. ${reader.damaged.join("; ")}`,
			);
		const { snapshot, index } = newest;
		await this.#mustBeGone(contents, snapshot);
		const bundles = await reader.all((done) => progress({ step: "reading", done, total: contents.bundles.length }));
		const claim = this.#claim(contents, identity);
		const plan = planLog(snapshot, bundles, index, claim.incarnation - 1);
		this.#mustBeWhole(plan, reader.damaged);
		this.#write(plan, snapshot, claim);
		await this.#makeClaim(claim);
		this.#putInPlace();
		const leftOut = [...snapshot.leftOut].map(
			([space, key]) =>
				`${SPACE_NAMES.get(space) ?? `state ${space}`} from ${JSON.stringify(key)} on had no room in the snapshot`,
		);
		return this.#report(plan, snapshot, claim, contents, [...reader.damaged, ...plan.notes, ...leftOut]);
	}

	/** Of a restoration to the same place that did not end: its claim may be in the store. */
	#earlierIdentity(): string | undefined {
		const { disk } = this.#seams;
		const file = joinPath(this.#folder, CATALOG_FILE);
		if (!disk.exists(file)) return undefined;
		let catalog: Catalog | undefined;
		try {
			catalog = this.#openCatalog(file);
			return new Identity(catalog, this.#seams.random).id;
		} catch (error) {
			if (error instanceof CatalogInUse)
				throw new StartError(`${this.#folder} is in use: a gateway is being restored there`);
			// What a crash left of it is of no use.
			return undefined;
		} finally {
			catalog?.close();
		}
	}

	#openCatalog(file: string): Catalog {
		return this.#seams.openCatalog?.(file) ?? new Catalog({ file });
	}

	async #noGateway(): Promise<StartError> {
		const { gateway, store } = this.#options;
		const others = await gatewaysIn(this.#reads, GATEWAYS_SHOWN);
		const there =
			others.length === 0 ? "nothing of any gateway is there" : `there are ${others.map((name) => name).join(", ")}`;
		return new StartError(`${store.name} has nothing of a gateway ${gateway}: ${there}. Choose with --gateway`);
	}

	/** By the store's clock alone: this machine's may be anything. */
	async #mustBeGone({ own, writtenMs, incarnation }: StoreContents, { scheduleMs }: Snapshot): Promise<void> {
		// The old one was told already.
		if (own !== undefined || this.#options.force) return;
		const silentMs = (await this.#storeNow()) - writtenMs;
		if (silentMs >= INTERVALS_OF_SILENCE * scheduleMs) return;
		const { gateway, store } = this.#options;
		throw new StartError(
			`gateway ${gateway} (incarnation ${incarnation}) wrote to ${store.name} ${minutes(silentMs)} ago, and does so every ${minutes(scheduleMs)}: it may be alive. ` +
				"Stop it for good, then restore with --force; what it has not uploaded by then is lost",
		);
	}

	async #storeNow(): Promise<number> {
		const { gateway, store } = this.#options;
		const { clock, random } = this.#seams;
		const key = `${gatewayPrefix(gateway)}restore-${random.bytes(8).toString("hex")}.probe`;
		await retried(clock, random, () => store.put(key, Buffer.from("removed at once; its time is the store's\n")));
		try {
			const info = await this.#reads.head(key);
			if (info === undefined) throw new StoreError("unreachable", `${store.name} took ${key}, and does not show it`);
			return info.modifiedMs;
		} finally {
			await store.delete(key).catch((error: unknown) => {
				// Who may not delete may restore.
				if (!(error instanceof StoreError)) throw error;
			});
		}
	}

	#claim({ own, incarnation, end }: StoreContents, identity: string): Claim {
		const { gateway, writer } = this.#options;
		const claimedMs = Math.max(0, this.#seams.clock.now());
		return own ?? { gateway, incarnation: incarnation + 1, identity, claimedMs, writer, basedOn: end };
	}

	#mustBeWhole({ holes }: LogPlan, damaged: readonly string[]): void {
		if (holes.length === 0 || this.#options.force) return;
		const shown = holes
			.slice(0, HOLES_SHOWN)
			.map(({ topic, partition, from, to }) => `${topic}-${partition} ${from} to ${to - 1}`);
		const more = holes.length > HOLES_SHOWN ? ` and ${holes.length - HOLES_SHOWN} more` : "";
		const why = damaged.length === 0 ? "" : ` Damaged: ${damaged.join("; ")}.`;
		throw new StartError(
			`${this.#options.store.name} lacks records of gateway ${this.#options.gateway} that were there: offsets of ${shown.join(", ")}${more}.${why} With --force the rest is restored`,
		);
	}

	#write(plan: LogPlan, snapshot: Snapshot, claim: Claim): void {
		const { disk } = this.#seams;
		disk.removeDirectory(this.#folder);
		disk.makeDirectory(this.#folder);
		disk.syncDirectory(this.#options.dataFolder);
		const catalog = this.#openCatalog(joinPath(this.#folder, CATALOG_FILE));
		try {
			const { gateway, identity: id, incarnation, basedOn } = claim;
			Identity.restored(catalog, { id, incarnation, basedOn });
			// Before it is true, but also before anybody can open it.
			new Identity(catalog, this.#seams.random).claimed(gateway, this.#options.store.name);
			this.#fill(catalog, plan, snapshot);
		} finally {
			catalog.close();
		}
		disk.syncDirectory(this.#folder);
	}

	#fill(catalog: Catalog, plan: LogPlan, snapshot: Snapshot): void {
		const { topics, bundles, holes } = plan;
		const total = topics.length + bundles.length + snapshot.rows.length;
		let done = 0;
		const wrote = (rows: number): void => {
			done += rows;
			this.#options.progress({ step: "writing", done: Math.min(done, total), total });
		};
		for (const [key, value] of snapshot.meta) if (SNAPSHOT_META.includes(key)) catalog.setMeta(key, value);
		for (const slice of slices(topics, TOPICS_AT_ONCE)) {
			catalog.restoreTopics(slice);
			wrote(slice.length);
		}
		for (const slice of slices(bundles, BUNDLES_AT_ONCE)) {
			catalog.tier.restoreBundles(
				slice.map(({ key, identity: { incarnation, sequence }, createdMs, sizeBytes, snapshot, chosen }) => {
					const hasSnapshot = snapshot !== undefined;
					return { incarnation, sequence, key, createdMs, sizeBytes, hasSnapshot, ranges: chosen };
				}),
			);
			wrote(slice.length);
		}
		for (const slice of slices(this.#state(plan, snapshot), ROWS_AT_ONCE)) {
			catalog.checkpoint(0, [], slice);
			wrote(slice.length);
		}
		const timeMs = this.#seams.clock.now();
		for (const { topic, partition, from, to } of holes) {
			const reason = "not in the object store that the gateway was restored from";
			catalog.recordLoss({ timeMs, topic, partition, firstOffset: from, count: to - from, reason });
		}
	}

	#state({ topics }: LogPlan, { rows }: Snapshot): Iterable<StateChange> {
		const ends = topics.map(({ id, name, partitions }) => {
			const endOffsets = new Map(partitions.map(({ number, endOffset }) => [number, endOffset]));
			return [name, { id, endOffsets }] as const;
		});
		const aborted = topics.flatMap(({ partitions }) =>
			partitions.map(({ id, endOffset, aborted }) => ({ partitionId: id, endOffset, aborted })),
		);
		return restoredState(rows, { topics: new Map(ends), aborted, nowMs: this.#seams.clock.now() });
	}

	async #makeClaim(claim: Claim): Promise<void> {
		const { store } = this.#options;
		const { clock, random } = this.#seams;
		try {
			await retried(clock, random, () => makeClaim(store, claim));
		} catch (error) {
			if (!(error instanceof ClaimError && (error.kind === "taken" || error.kind === "superseded"))) throw error;
			throw new StartError(
				`somebody else restored gateway ${claim.gateway} from ${store.name} at the same time, and was first: use that one`,
				{ cause: error },
			);
		}
	}

	/** From then on it is a data directory. */
	#putInPlace(): void {
		const { disk } = this.#seams;
		const { dataFolder } = this.#options;
		disk.rename(joinPath(this.#folder, CATALOG_FILE), joinPath(dataFolder, CATALOG_FILE));
		disk.syncDirectory(dataFolder);
		disk.syncDirectory(joinPath(dataFolder, ".."));
		disk.removeDirectory(this.#folder);
	}

	#report(
		{ topics, bundles, holes }: LogPlan,
		snapshot: Snapshot,
		{ incarnation }: Claim,
		contents: StoreContents,
		notes: readonly string[],
	): RestoreReport {
		let [bytes, partitions, records] = [0, 0, 0];
		for (const { sizeBytes } of bundles) bytes += sizeBytes;
		for (const topic of topics) {
			partitions += topic.partitions.length;
			for (const { logStartOffset, endOffset } of topic.partitions) records += endOffset - logStartOffset;
		}
		return {
			gateway: this.#options.gateway,
			incarnation,
			bundles: bundles.length,
			bytes,
			topics: topics.length,
			partitions,
			records,
			snapshotMs: snapshot.takenMs,
			holes,
			notes,
			strays: contents.strays.length,
		};
	}
}

function* slices<T>(all: Iterable<T>, length: number): Generator<T[]> {
	let slice: T[] = [];
	for (const each of all) {
		slice.push(each);
		if (slice.length < length) continue;
		yield slice;
		slice = [];
	}
	if (slice.length > 0) yield slice;
}

function minutes(ms: number): string {
	const whole = Math.round(ms / 60_000);
	return whole < 1 ? "less than a minute" : whole === 1 ? "a minute" : `${whole} minutes`;
}

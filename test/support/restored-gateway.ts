/** A gateway made from a simulated store, and started: on a disk of its own, with a reader for what is only in the store. */
import type { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../src/base/disk-simulated.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Catalog } from "../../src/catalog/catalog.ts";
import { TierReader } from "../../tiering/read/reader.ts";
import { type RestoreOptions, type RestoreReport, restore } from "../../tiering/restore/restore.ts";
import { World } from "../simulation/world.ts";
import { inlineCompression } from "./inline-compression.ts";
import type { SimulatedBucket } from "./simulated-bucket.ts";
import { SimulatedStore } from "./simulated-store.ts";

const CATALOG_FILE = "/restored/restoring/catalog.db";

export interface RestoringOptions extends Partial<Pick<RestoreOptions, "gateway" | "force" | "progress">> {
	readonly random?: SimulatedRandom;
}

/** What a restoration works with. It may be cut short, and done again. */
export class Restoring {
	readonly clock: SimulatedClock;
	readonly disk = new SimulatedDisk();
	readonly store: SimulatedStore;
	/** Of the catalog, when that was last closed. */
	image: Buffer | undefined;
	readonly #options: RestoringOptions;
	readonly #random: SimulatedRandom;

	constructor(bucket: SimulatedBucket, clock: SimulatedClock, options: RestoringOptions = {}) {
		this.#options = options;
		this.clock = clock;
		this.#random = options.random ?? new SimulatedRandom("restore");
		this.store = new SimulatedStore({ clock, bucket, random: this.#random.fork("store") });
	}

	/** Once, to its end. */
	async run(): Promise<RestoreReport> {
		const { gateway = "gw-1", force = false, progress = () => {} } = this.#options;
		const { store, disk, clock } = this;
		const options = { store, gateway, dataFolder: "/restored", force, writer: "test", progress };
		const openCatalog = (): Catalog => {
			const onCommit = (take: () => Buffer): void => {
				this.image = take();
			};
			if (!disk.exists(CATALOG_FILE)) this.image = undefined;
			disk.open(CATALOG_FILE, "create").close();
			return new Catalog({ image: this.image, onCommit });
		};
		const compression = inlineCompression;
		const work = restore(options, { disk, clock, random: this.#random, compression, openCatalog });
		let settled = false;
		const settle = (): void => {
			settled = true;
		};
		work.then(settle, settle);
		await clock.settle();
		while (!settled && (await clock.advanceToNext()));
		return work;
	}

	/** The gateway that came of it. */
	start(topicDefaults: Readonly<Record<string, string>> = {}): World {
		const world = new World(new SimulatedRandom("restored"), {
			journalFileBytes: 8 * 1024 * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: false,
			syncMs: 1,
			topicDefaults: { "log.retention.ms": "-1", ...topicDefaults },
			...(this.image === undefined ? {} : { catalogImage: this.image }),
		});
		world.start();
		world.log.tier = new TierReader({
			catalog: world.broker.catalog.tier,
			store: new SimulatedStore({ clock: world.clock, bucket: this.store.bucket }),
			disk: world.disk,
			clock: world.clock,
			logger: silentLogger,
			cacheFolder: "/data/tier-cache",
			cacheBytes: 0,
			windowBytes: 64 * 1024,
			compression: inlineCompression,
			lost: () => {},
		});
		return world;
	}
}

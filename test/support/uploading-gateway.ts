/**
 * A gateway that uploads, in a simulated world: the real log on a simulated disk, a simulated store on the same clock, between
 * them the uploader and the reclaimer. What it has appended it knows, and what must always hold of store and catalog it checks.
 */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Uplink, type UplinkOptions } from "../../src/broker/uplink.ts";
import type { Partition } from "../../src/log/partition.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { decodeBlock } from "../../tiering/bundle/block.ts";
import { readBundleFooter } from "../../tiering/bundle/reader.ts";
import { takeSnapshot } from "../../tiering/restore/take-snapshot.ts";
import { Reclaimer } from "../../tiering/upload/reclaimer.ts";
import { Schedule, type ScheduleOptions } from "../../tiering/upload/schedule.ts";
import { Uploader } from "../../tiering/upload/uploader.ts";
import { recordsIn, World } from "../simulation/world.ts";
import { inlineCompression } from "./inline-compression.ts";
import { SimulatedBucket } from "./simulated-bucket.ts";
import { SimulatedStore } from "./simulated-store.ts";

export interface UploadingOptions {
	readonly seed?: number | string;
	readonly bundleBytes?: number;
	readonly partBytes?: number;
	readonly schedule?: Partial<ScheduleOptions>;
	readonly uplink?: UplinkOptions;
	readonly topicDefaults?: Readonly<Record<string, string>>;
	readonly checkClaim?: () => Promise<void>;
}

const GATEWAY = "gw-1";
const PART_BYTES = 64 * 1024;
const HOURS_MAX = 100;

export class UploadingGateway {
	readonly world: World;
	/** This life's way to the bucket. */
	store!: SimulatedStore;
	/** `topic-partition` -> offset -> value in base64, of what was committed. */
	readonly model = new Map<string, Map<number, string>>();
	uploader!: Uploader;
	reclaimer!: Reclaimer;
	/** Keys of what the reclaimer said is gone. */
	readonly removed: string[] = [];
	uplink: Uplink | undefined;
	readonly #options: UploadingOptions;
	readonly #bucket: SimulatedBucket;
	readonly #random: SimulatedRandom;
	#uplinkRow: Uint8Array | undefined;

	constructor(options: UploadingOptions = {}) {
		const random = new SimulatedRandom(options.seed ?? 1);
		this.#options = options;
		this.world = new World(random, {
			journalFileBytes: 8 * 1024 * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: false,
			syncMs: 1,
			topicDefaults: {
				"log.segment.bytes": "65536",
				"log.index.interval.bytes": "1024",
				"log.retention.ms": "-1",
				"log.remote.storage.enable": "true",
				...options.topicDefaults,
			},
			cleaner: { backoffMs: 15_000, dedupeBufferBytes: 65_536, ioBytesPerSecond: 1 << 30 },
		});
		this.#random = random.fork("store");
		const leastPartBytes = Math.floor((options.partBytes ?? PART_BYTES) / 2);
		this.#bucket = new SimulatedBucket({ clock: this.world.clock, leastPartBytes });
	}

	static async start(options: UploadingOptions = {}): Promise<UploadingGateway> {
		const gateway = new UploadingGateway(options);
		await gateway.start();
		return gateway;
	}

	/** Opens the broker, and what uploads from it. Runs begin only when asked, until `uploader.start`. */
	async start(): Promise<void> {
		const { world } = this;
		world.start();
		const { broker, clock } = world;
		const { partBytes = PART_BYTES } = this.#options;
		const store = new SimulatedStore({ clock, random: this.#random, partBytes, bucket: this.#bucket });
		this.store = store;
		broker.catalog.tier.abandonUnfinished();
		const { uplink, bundleBytes = 1024 * 1024, checkClaim = async () => {}, schedule: times } = this.#options;
		const schedule = await Schedule.make(clock, {
			gatewayId: GATEWAY,
			schedule: "never",
			window: "",
			uploadBytes: 0,
			uploadAgeMs: 0,
			lastRunMs: broker.catalog.tier.newestBundle()?.createdMs,
			...times,
		});
		const row = {
			load: () => this.#uplinkRow,
			save: (bytes: Uint8Array) => {
				this.#uplinkRow = bytes;
			},
		};
		this.uplink = uplink === undefined ? undefined : new Uplink(uplink, clock, row);
		const { random, logger } = broker;
		const { tier } = broker.catalog;
		const removed = (key: string): void => void this.removed.push(key);
		const isOpen = (): boolean => schedule.isOpen;
		this.reclaimer = new Reclaimer({ tier, store, clock, random, logger, removed, isOpen, checkClaim });
		const head = { gateway: GATEWAY, incarnation: 1, writer: "test", scheduleMs: 3_600_000 };
		this.uploader = new Uploader({
			broker,
			store,
			schedule,
			uplink: this.uplink,
			gatewayId: GATEWAY,
			incarnation: 1,
			checkClaim,
			takeSnapshot: () => takeSnapshot(broker, { ...head, takenMs: clock.now() }),
			released: () => this.reclaimer.poke(),
			bundleBytes,
			writer: "test",
			compression: inlineCompression,
		});
	}

	topic(name: string, partitions = 1, config: Readonly<Record<string, string>> = {}): void {
		this.world.broker.topics.create({ name, partitions, config });
	}

	partition(name: string, number = 0): Partition {
		const partition = this.world.partition(name, number);
		if (partition === undefined) throw new Error(`no partition ${name}-${number}`);
		return partition;
	}

	/** One batch, durable when it resolves. Values are `bytes` long and do not compress. */
	async append(name: string, count: number, bytes = 100, number = 0): Promise<void> {
		const partition = this.partition(name, number);
		const random = new SimulatedRandom(`${name}-${number}-${partition.endOffset}`);
		const values = Array.from({ length: count }, () => random.bytes(bytes));
		const batch = encodeBatch(
			values.map((value, i) => ({
				timestamp: this.world.clock.now(),
				key: Buffer.from(`k${(partition.endOffset + i) % 10}`),
				value,
				headers: [],
			})),
		);
		let base = 0;
		this.world.log.group(batch.length + 100, () => {
			base = partition.appendBatch(batch, count);
		});
		await this.world.finish(this.world.log.whenCommitted());
		const known = this.model.get(`${name}-${number}`) ?? new Map<number, string>();
		values.forEach((value, i) => {
			known.set(base + i, value.toString("base64"));
		});
		this.model.set(`${name}-${number}`, known);
	}

	/** Moves time on until `promise` is settled, by as much as a hundred hours. */
	async finish<T>(promise: Promise<T>): Promise<T> {
		let settled = false;
		const settle = () => {
			settled = true;
		};
		promise.then(settle, settle);
		const { clock } = this.world;
		const endMs = clock.monotonic() + HOURS_MAX * 3_600_000;
		await clock.settle();
		while (!settled && clock.monotonic() < endMs && (await clock.advanceToNext()));
		if (!settled) throw new Error(`not settled after ${HOURS_MAX} hours`);
		return promise;
	}

	upload(): Promise<void> {
		return this.finish(this.uploader.run());
	}

	/** The process dies, or the power goes; what was on its way to the store may arrive. */
	async crash(kind: "kill" | "power cut", random: SimulatedRandom): Promise<void> {
		this.store.crash();
		await this.world.crash(kind, random);
	}

	async stop(): Promise<void> {
		await this.finish(this.uploader.stop());
		await this.reclaimer.stop();
		await this.store.close();
		await this.world.stop();
	}

	/** `state`: how many rows the catalog has. */
	rows(state: "uploading" | "stored" | "deleting"): number {
		return this.world.broker.catalog.tier.bundles(state).length;
	}

	/**
	 * What must hold at every moment: each object of ours is known to the catalog; each that counts is there, whole; their
	 * ranges are, of each partition, without a gap what lies between the log start and the tiered offset; and they hold
	 * exactly what was appended. Returns how many records were looked at. Throws what does not hold.
	 */
	async check(): Promise<number> {
		const { broker } = this.world;
		const { tier } = broker.catalog;
		const objects = this.store.bucket.objects();
		for (const key of [...objects.keys(), ...this.store.bucket.uploads().map((upload) => upload.key)])
			if (tier.bundleByKey(key) === undefined) throw new Error(`the catalog knows nothing of ${key}`);
		let records = 0;
		for (const topic of broker.topics.list())
			for (const partition of topic.partitions) {
				const name = `${topic.name}-${partition.number}`;
				const covered = await this.#checkRanges(name, partition, objects);
				records += covered.records;
				const { tieredOffset, logStartOffset } = partition;
				if (tieredOffset > logStartOffset && covered.next !== tieredOffset)
					throw new Error(`${name} is tiered up to ${tieredOffset}, and its ranges end at ${covered.next}`);
			}
		return records;
	}

	async #checkRanges(
		name: string,
		{ id, logStartOffset }: Partition,
		objects: ReadonlyMap<string, Buffer>,
	): Promise<{ next: number; records: number }> {
		const { tier } = this.world.broker.catalog;
		const model = this.model.get(name) ?? new Map<number, string>();
		let next = logStartOffset;
		let records = 0;
		for (const { baseOffset, nextOffset, bundleId } of tier.ranges(id, 0, 10_000)) {
			if (nextOffset <= logStartOffset)
				throw new Error(`${name}: the range before ${nextOffset} is of no use any more`);
			if (baseOffset > next) throw new Error(`${name}: no range from ${next} to ${baseOffset}`);
			const bundle = tier.bundle(bundleId);
			const object = objects.get(bundle?.key ?? "");
			if (bundle?.state !== "stored" || object === undefined)
				throw new Error(`${name}: the range at ${baseOffset} has no object`);
			const found = await recordsOf(object, bundle.key, id, baseOffset);
			for (let offset = Math.max(baseOffset, next); offset < nextOffset; offset++) {
				if (!model.has(offset)) continue;
				if (found.get(offset) !== model.get(offset))
					throw new Error(`${name}: offset ${offset} is not what was appended`);
				records++;
			}
			next = nextOffset;
		}
		return { next, records };
	}
}

export function footerOf(object: Buffer, name = "object") {
	return readBundleFooter(
		{
			name,
			getLast: async (bytes) => ({ bytes: object.subarray(-bytes), sizeBytes: object.length }),
			get: async (position, bytes) => object.subarray(position, position + bytes),
		},
		inlineCompression,
	);
}

/** Of one range of a bundle: offset -> value. */
async function recordsOf(object: Buffer, key: string, partitionId: number, baseOffset: number) {
	const footer = await footerOf(object, key);
	const range = footer.ranges.find((one) => one.partitionId === partitionId && one.baseOffset === baseOffset);
	if (range === undefined) throw new Error(`${key} has no range of partition ${partitionId} at ${baseOffset}`);
	const found = new Map<number, string>();
	for (const block of range.blocks) {
		const stored = object.subarray(block.position, block.position + block.storedBytes);
		for (const { offset, value } of recordsIn(await decodeBlock(stored, block, key, inlineCompression)))
			found.set(offset, value?.toString("base64") ?? "");
	}
	return found;
}

/**
 * A gateway's log in a world where the power fails: the real log over a simulated disk and clock,
 * with its catalog in memory. Starts it, cuts its power, kills its process, and shows what is there.
 */
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../src/base/disk-simulated.ts";
import type { Logger } from "../../src/base/logger.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { CleanerOptions } from "../../src/log/cleaner.ts";
import type { Log } from "../../src/log/log.ts";
import type { Partition } from "../../src/log/partition.ts";
import { decodeRecords, readBatchHeader } from "../../src/record/batch.ts";
import type { ModelRecord, Observed, ObservedPartition } from "./log-model.ts";

export const DATA_FOLDER = "/data";
export const STATE_SPACES = [1, 2];

/** What has not happened after so many timers is not going to happen: a full disk is tried again for ever. */
const TIMERS_MAX = 300;

export interface WorldOptions {
	readonly journalFileBytes: number;
	readonly journalFilesMax: number;
	readonly lingerMs: number;
	/** Kafka's names. */
	readonly topicDefaults: Readonly<Record<string, string>>;
	readonly tearNeighbours: boolean;
	/** Without it nothing is compacted. */
	readonly cleaner?: CleanerOptions;
	/** The bytes of a catalog to begin with. */
	readonly catalogImage?: Buffer;
	/** A sync takes up to this, milliseconds of simulated time. */
	readonly syncMs: number;
	/** One of its own without it. */
	readonly clock?: SimulatedClock;
	/** The process is dead, or the machine off: from that instant on nothing of it happens any more. */
	readonly onOff?: () => void;
}

export interface LogLine {
	readonly level: "warn" | "error";
	readonly message: string;
	readonly fields: Readonly<Record<string, unknown>>;
}

export class World {
	readonly disk: SimulatedDisk;
	readonly clock: SimulatedClock;
	readonly lines: LogLine[] = [];
	/** Transactions of the catalog. */
	commits = 0;
	#broker: Broker | undefined;
	#image: Buffer | undefined;
	#takeImage: (() => Buffer) | undefined;
	#failure: Error | undefined;
	/** The broker closes the catalog when it stops or cannot start: its image is taken at every commit before that. */
	#mayClose = false;
	readonly #random: SimulatedRandom;
	readonly #options: WorldOptions;

	constructor(random: SimulatedRandom, options: WorldOptions) {
		this.#random = random.fork("world");
		this.#options = options;
		this.#image = options.catalogImage;
		this.clock = options.clock ?? new SimulatedClock({ random: random.fork("clock") });
		const latency = random.fork("latency");
		this.disk = new SimulatedDisk({
			random: random.fork("disk"),
			tearNeighbours: options.tearNeighbours,
			schedule: (complete) => void this.clock.after(latency.fraction() * options.syncMs, complete),
			onStop: () => {
				options.onOff?.();
				// What SQLite has committed is durable; what the dead process still does to it is not.
				if (!this.#mayClose) this.#image = this.#takeImage?.() ?? this.#image;
			},
		});
		this.disk.makeDirectory(DATA_FOLDER);
		this.disk.syncDirectory("/");
	}

	get broker(): Broker {
		if (this.#broker === undefined) throw new Error("the broker is not open");
		return this.#broker;
	}

	get log(): Log {
		return this.broker.log;
	}

	/** What the log gave as the reason to stop, if it did. */
	get failure(): Error | undefined {
		return this.#failure;
	}

	partition(topic: string, number: number): Partition | undefined {
		return this.broker.topics.get(topic)?.partitions[number];
	}

	/** Opens the broker. Throws what it throws; where the power went meanwhile (`disk.off`), `crash` must follow. */
	start(): void {
		this.#failure = undefined;
		this.#broker = undefined;
		const onCommit = (takeImage: () => Buffer) => {
			this.commits += 1;
			this.#takeImage = takeImage;
			if (this.#mayClose && !this.disk.off) this.#image = takeImage();
		};
		this.#mayClose = true;
		this.#takeImage = undefined;
		this.#broker = Broker.open(
			{
				dataFolder: DATA_FOLDER,
				catalogLocation: { image: this.#image, onCommit },
				journal: { fileBytes: this.#options.journalFileBytes, filesMax: this.#options.journalFilesMax },
				lingerMs: this.#options.lingerMs,
				memoryBudgetBytes: 64 * 1024 * 1024,
				retentionCheckMs: 3_600_000,
				defaultPartitions: 1,
				topicDefaults: this.#options.topicDefaults,
				...(this.#options.cleaner === undefined ? {} : { cleaner: this.#options.cleaner }),
				onFailure: (error) => {
					this.#failure = error;
				},
			},
			{ disk: this.disk, clock: this.clock, random: this.#random, logger: this.#logger() },
		);
		this.#mayClose = false;
	}

	/** The power goes (or only the process), now or, if it has gone already, then. */
	async crash(kind: "power cut" | "kill", random: SimulatedRandom): Promise<void> {
		this.disk.stop();
		// Whatever the dead process would still have done in this turn it does to a disk that is off.
		await new Promise((resolve) => setImmediate(resolve));
		this.clock.drop();
		this.#takeImage = undefined;
		this.#broker?.catalog.close();
		this.#broker = undefined;
		if (kind === "power cut") this.disk.powerCut(random);
		else this.disk.kill();
	}

	/** Ends as Ctrl-C does. */
	async stop(): Promise<void> {
		this.#mayClose = true;
		this.#image = this.#takeImage?.();
		try {
			await this.finish(this.broker.stop());
		} finally {
			this.#mayClose = false;
		}
		this.#takeImage = undefined;
		this.#broker = undefined;
		this.clock.drop();
		this.disk.kill();
	}

	/** Moves time on until `promise` is settled. Throws when it never will be. */
	async finish<T>(promise: Promise<T>, timersMax = TIMERS_MAX): Promise<T> {
		let settled = false;
		const settle = () => {
			settled = true;
		};
		promise.then(settle, settle);
		await this.clock.settle();
		for (let i = 0; !settled && i < timersMax; i++) {
			if (this.disk.off || !(await this.clock.advanceToNext())) break;
		}
		if (!settled) throw new NeverSettled(this.disk.off ? "the power went" : "nothing more is going to happen");
		return promise;
	}

	/** All that can be read, by the door that every reader uses. */
	async observe(): Promise<Observed> {
		const partitions = new Map<string, ObservedPartition>();
		for (const { name, partitions: list } of this.broker.topics.list()) {
			for (const partition of list) {
				partitions.set(`${name}-${partition.number}`, {
					logStartOffset: partition.logStartOffset,
					endOffset: partition.endOffset,
					records: await this.finish(readAll(partition)),
				});
			}
		}
		return {
			partition: (topic, number) => partitions.get(`${topic}-${number}`),
			state: this.state(),
		};
	}

	state(): Map<string, Buffer> {
		const state = new Map<string, Buffer>();
		for (const space of STATE_SPACES) {
			for (const [key, value] of this.log.scanState(space, "")) state.set(`${space}:${key}`, Buffer.from(value));
		}
		return state;
	}

	#logger(): Logger {
		const note = (level: LogLine["level"]) => (message: string, fields?: Readonly<Record<string, unknown>>) => {
			this.lines.push({ level, message, fields: fields ?? {} });
		};
		return { debug() {}, info() {}, warn: note("warn"), error: note("error") };
	}
}

export class NeverSettled extends Error {
	override readonly name = "NeverSettled";
}

async function readAll(partition: Partition): Promise<ModelRecord[]> {
	const records: ModelRecord[] = [];
	for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
		const found = recordsIn(await partition.read(offset, 16 * 1024));
		const last = found.at(-1);
		if (last === undefined || last.offset < offset) break;
		records.push(...found.filter((record) => record.offset >= offset));
		offset = last.offset + 1;
	}
	return records;
}

/** The records of concatenated batches. */
export function recordsIn(bytes: Buffer): ModelRecord[] {
	const records: ModelRecord[] = [];
	for (let at = 0; at < bytes.length; ) {
		for (const { offset, timestamp, key, value, headers } of decodeRecords(bytes, at)) {
			records.push({ offset, timestamp, key, value, headers: headers.map((header) => [header.key, header.value]) });
		}
		at += readBatchHeader(bytes, at).sizeBytes;
	}
	return records;
}

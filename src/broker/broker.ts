/**
 * The broker: what every door works with. Opens a data directory, alone, and keeps it in order:
 * recovery at start, retention while it runs, a checkpoint at the end.
 */

import type { Clock, Timer } from "../base/clock.ts";
import { type Disk, joinPath } from "../base/disk.ts";
import { StartError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { Pressure } from "../base/pressure.ts";
import type { Random } from "../base/random.ts";
import { Catalog } from "../catalog/catalog.ts";
import { CatalogInUse, type DatabaseLocation } from "../catalog/database.ts";
import type { TopicConfig } from "../catalog/topic-config.ts";
import { Cleaner, type CleanerOptions } from "../log/cleaner.ts";
import type { JournalOptions } from "../log/journal.ts";
import { CATALOG_FILE, RESTORING_FOLDER } from "../log/layout.ts";
import type { Log } from "../log/log.ts";
import { type OpenedLog, openLog } from "../log/open-log.ts";
import { enforceRetention } from "../log/retention.ts";
import { DEFAULT_GROUPS_OPTIONS, Groups, type GroupsOptions } from "./groups/groups.ts";
import { DEFAULT_PRODUCER_EXPIRATION_MS, type ProducerStateOptions, ProducerStates } from "./producer-states.ts";
import { Topics } from "./topics.ts";
import { DEFAULT_TRANSACTIONS_OPTIONS, Transactions, type TransactionsOptions } from "./transactions/transactions.ts";

export interface BrokerOptions {
	readonly dataFolder: string;
	readonly journal: JournalOptions;
	readonly lingerMs: number;
	/** As in LogServices. */
	readonly inlineSyncBelowMs?: number;
	readonly memoryBudgetBytes: number;
	readonly retentionCheckMs: number;
	readonly defaultPartitions: number;
	/** The broker's keys that topics' defaults come from (`log.segment.bytes` ...), as text. */
	readonly topicDefaults: TopicConfig;
	/** Without it nothing is compacted. */
	readonly cleaner?: CleanerOptions;
	/** What is left out is as by default. */
	readonly groups?: Partial<GroupsOptions>;
	readonly transactions?: Partial<TransactionsOptions>;
	readonly producers?: ProducerStateOptions;
	/** Storage failed: the process must stop; the next start recovers. */
	readonly onFailure: (error: Error) => void;
	/** For simulations; else the catalog is a file in the data folder. */
	readonly catalogLocation?: DatabaseLocation;
}

export interface BrokerSeams {
	readonly disk: Disk;
	readonly clock: Clock;
	readonly random: Random;
	readonly logger: Logger;
}

export class Broker {
	readonly clock: Clock;
	readonly random: Random;
	readonly logger: Logger;
	readonly dataFolder: string;
	readonly pressure: Pressure;
	readonly log: Log;
	readonly topics: Topics;
	readonly groups: Groups;
	readonly transactions: Transactions;
	readonly producers: ProducerStates;
	readonly catalog: Catalog;
	readonly recovery: OpenedLog["recovery"];
	readonly cleaner: Cleaner | undefined;
	#retention: Timer | undefined;
	#stopped = false;

	private constructor(options: BrokerOptions, seams: BrokerSeams, catalog: Catalog) {
		const { disk, clock, random, logger } = seams;
		this.clock = clock;
		this.random = random;
		this.logger = logger;
		this.catalog = catalog;
		this.dataFolder = options.dataFolder;
		this.pressure = new Pressure(options.memoryBudgetBytes);
		const { log, topics, recovery } = openLog({ ...options, ...seams, pressure: this.pressure, catalog });
		this.log = log;
		this.recovery = recovery;
		this.topics = new Topics(
			{
				log,
				catalog,
				disk,
				clock,
				random,
				dataFolder: options.dataFolder,
				defaults: options.topicDefaults,
				defaultPartitions: options.defaultPartitions,
			},
			topics,
		);
		this.producers = new ProducerStates(
			log,
			clock,
			options.producers ?? { expirationMs: DEFAULT_PRODUCER_EXPIRATION_MS },
		);
		this.topics.onDeleted(({ partitions }) => this.producers.forget(partitions.map(({ id }) => id)));
		this.groups = new Groups(
			{ log, topics: this.topics, clock, random },
			{ ...DEFAULT_GROUPS_OPTIONS, ...options.groups },
		);
		this.transactions = new Transactions(
			{ log, clock, logger, producers: this.producers, offsets: this.groups.offsets },
			{ ...DEFAULT_TRANSACTIONS_OPTIONS, ...options.transactions },
		);
		this.producers.transactions = this.transactions;
		this.cleaner = options.cleaner === undefined ? undefined : new Cleaner(log, random, options.cleaner);
		const check = (): void => {
			if (this.#stopped || log.failed !== undefined) return;
			this.enforceRetention();
			this.#retention = clock.after(options.retentionCheckMs, check);
		};
		this.#retention = clock.after(options.retentionCheckMs, check);
		let nextMs = 0;
		log.onFull = () => {
			if (this.#stopped || log.failed !== undefined || clock.monotonic() < nextMs) return;
			// What went may have been too little.
			nextMs = this.enforceRetention() > 0 ? 0 : clock.monotonic() + FULL_CHECK_MS;
		};
	}

	/** Opens the data folder and recovers what is in it. Throws StartError. */
	static open(options: BrokerOptions, seams: BrokerSeams): Broker {
		const { disk } = seams;
		disk.makeDirectory(options.dataFolder);
		refuseUnfinished(options, disk);
		const catalog = openCatalog(options, disk);
		try {
			return new Broker(options, seams, catalog);
		} catch (error) {
			catalog.close();
			throw error;
		}
	}

	/** Returns how many segments were removed. */
	enforceRetention(): number {
		try {
			return enforceRetention(this.log);
		} catch (error) {
			this.logger.error("retention could not run", { error: String(error) });
			return 0;
		}
	}

	/** Makes durable what was appended, writes a checkpoint and closes everything. */
	async stop(): Promise<void> {
		this.#stopped = true;
		this.#retention?.cancel();
		this.groups.stop();
		this.transactions.stop();
		this.producers.stop();
		await this.cleaner?.stop();
		this.topics.stop();
		await this.log.stop();
		this.catalog.close();
	}
}

/** Between two runs of retention on a full disk when the first found nothing to remove. */
const FULL_CHECK_MS = 10_000;
const PID_FILE = "gateway.pid";

/** An empty gateway in the place of one that is being restored would take what belongs to that. */
function refuseUnfinished({ dataFolder }: BrokerOptions, disk: Disk): void {
	const unfinished = joinPath(dataFolder, RESTORING_FOLDER);
	if (!disk.exists(unfinished) || disk.exists(joinPath(dataFolder, CATALOG_FILE))) return;
	throw new StartError(
		`a restore to ${dataFolder} was cut short: run headwater tier restore again, or remove ${unfinished} to begin with nothing`,
	);
}

function openCatalog(options: BrokerOptions, disk: Disk): Catalog {
	const pidFile = joinPath(options.dataFolder, PID_FILE);
	try {
		const catalog = new Catalog(options.catalogLocation ?? { file: joinPath(options.dataFolder, CATALOG_FILE) });
		if (options.catalogLocation === undefined) {
			disk.remove(pidFile);
			const file = disk.open(pidFile, "create");
			file.write([Buffer.from(`${process.pid}\n`)], 0);
			file.close();
		}
		return catalog;
	} catch (error) {
		if (!(error instanceof CatalogInUse)) throw error;
		let owner = "";
		if (disk.exists(pidFile)) {
			const file = disk.open(pidFile, "read");
			const text = Buffer.alloc(32);
			owner = ` by process ${text.toString("latin1", 0, file.readSync(text, 0)).trim()}`;
			file.close();
		}
		throw new StartError(
			`the data directory ${options.dataFolder} is in use${owner}: stop that gateway, or choose another with --data`,
		);
	}
}

/**
 * The log: every partition, the journal they share and the state that travels with them.
 *
 *   append -> the commit being gathered -> one journal entry -> fdatasync -> high watermark, listeners
 *                                                                         -> segments (later)
 *
 * While one fdatasync runs the next commit gathers. Everything that a caller adds without returning to the event
 * loop in between lands in one commit, unless a `group` or a single record must begin a new one for its size.
 */

import { BufferPool } from "../base/buffer-pool.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import { BrokerError, type DamageError, isDiskFull } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Pressure } from "../base/pressure.ts";
import type { Catalog, StateRow } from "../catalog/catalog.ts";
import { BatchBuilder } from "../record/builder.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { noteCleanStop } from "./clean-stop.ts";
import type { Commit, CommitListener } from "./commit.ts";
import { type AppendOperation, heldBytes } from "./entry.ts";
import type { Gatherer } from "./gatherer.ts";
import type { Journal } from "./journal.ts";
import { Losses } from "./losses.ts";
import type { Partition } from "./partition.ts";
import { RetentionHolders } from "./retention-holder.ts";
import type { StateTable } from "./state-table.ts";
import { SyncPace } from "./sync-pace.ts";
import { tailBatch } from "./tail-batch.ts";
import type { Tier } from "./tier.ts";

export interface LogServices {
	readonly disk: Disk;
	readonly dataFolder: string;
	readonly clock: Clock;
	readonly logger: Logger;
	readonly catalog: Catalog;
	readonly journal: Journal;
	readonly pressure: Pressure;
	/** Milliseconds that a commit waits for more before it is written: fewer flash writes for latency. */
	readonly lingerMs: number;
	/** A disk that syncs in less than this, milliseconds, may hold up the event loop for a lone commit; 0: never. */
	readonly inlineSyncBelowMs?: number;
	/** Storage failed beyond repair: the process must stop and recover by starting again. */
	readonly onFailure: (error: Error) => void;
}

/** A commit is closed at this size and the next begun. */
const COMMIT_BYTES = 1024 * 1024;
/** What one `group` or record may take. */
export const GROUP_BYTES_MAX = 8 * 1024 * 1024;
/** Memory in committed batches of all partitions that are in no file yet. */
const TAILS_BYTES_MAX = 8 * 1024 * 1024;
const POOL_IDLE_BYTES = 4 * 1024 * 1024;
/** How often a full disk is tried again. */
const RETRY_MS = 1000;
/** Roughly what an append operation and a batch header add to a commit. */
const APPEND_OVERHEAD_BYTES = 96;
/** What the heads of an entry and of its batches may add to a group. */
const ENTRY_OVERHEAD_BYTES = 8 * 1024;
/** The journal has 16 bits for a key's length. */
const KEY_BYTES_MAX = 0xffff;

export class Log implements Gatherer {
	readonly services: LogServices;
	readonly partitions = new Map<number, Partition>();
	readonly losses: Losses;
	readonly holders: RetentionHolders;
	/** Called when the disk is found full, and as often as it still is when it is tried again. */
	onFull: (() => void) | undefined;
	/** The object store, once it is open. */
	tier: Tier | undefined;
	readonly #state: StateTable;
	readonly #pool = new BufferPool(POOL_IDLE_BYTES);
	#gathered: Partition[] = [];
	#listeners: CommitListener[] = [];
	#bytes = 0;
	readonly #commitBytes: number;
	#grouping = false;
	/** Closed commits that wait for the one being written. */
	readonly #queue: Commit[] = [];
	#writing: Commit | undefined;
	readonly #pace: SyncPace;
	#scheduled = false;
	#linger: Timer | undefined;
	/** A full disk is tried again then: one timer, however many found it full. */
	#retry: Timer | undefined;
	#tailsBytes = 0;
	/** Journal sequence of the newest durable commit whose batches are in the tails. */
	#committedSequence: number;
	#checkpoint: Promise<void> | undefined;
	#refusal: BrokerError | undefined;
	/** Waits for no space while the log is being stopped. */
	#refused: (() => void) | undefined;
	#failed: Error | undefined;
	#stopped = false;
	/** Since the process started. */
	readonly counters = { commits: 0, records: 0, batchBytes: 0, checkpoints: 0 };

	constructor(services: LogServices, state: StateTable) {
		this.services = services;
		this.#state = state;
		this.losses = new Losses(services);
		this.holders = new RetentionHolders(services);
		this.#pace = new SyncPace(services.inlineSyncBelowMs ?? 0);
		this.#committedSequence = services.journal.sequence;
		this.#commitBytes = Math.min(COMMIT_BYTES, services.journal.entryBytesMax / 2);
	}

	/** Set when storage failed: nothing more is acknowledged. */
	get failed(): Error | undefined {
		return this.#failed;
	}

	/** Why nothing can be stored at the moment, if so. */
	get refusal(): BrokerError | undefined {
		return this.#refusal;
	}

	/** Whether `committed()` of a listener registered now would wait for something. */
	get idle(): boolean {
		return this.#writing === undefined && this.#queue.length === 0 && !this.#hasGathered();
	}

	/** `committed` is called once everything gathered so far is durable; in the order of registration. */
	onCommit(listener: CommitListener): void {
		this.#listeners.push(listener);
		this.#schedule();
	}

	/** Resolves when everything gathered so far is durable; rejects when storage failed. */
	whenCommitted(): Promise<void> {
		return new Promise((resolve, reject) => {
			if (this.#failed !== undefined) reject(this.#failed);
			else this.onCommit({ committed: resolve, failed: reject });
		});
	}

	/** Durable with the commit being gathered, and only together with all else in it. Throws INVALID_REQUEST, KAFKA_STORAGE_ERROR. */
	putState(space: number, key: string, value: Uint8Array): void {
		if (key.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(key) > KEY_BYTES_MAX)
			throw new BrokerError("INVALID_REQUEST", `a state key of more than ${KEY_BYTES_MAX} bytes`);
		this.admit(key.length * 3 + value.length + 8);
		this.#state.set(space, key, value);
	}

	deleteState(space: number, key: string): void {
		this.admit(key.length * 3 + 4);
		this.#state.set(space, key, undefined);
	}

	getState(space: number, key: string): Uint8Array | undefined {
		return this.#state.get(space, key);
	}

	scanState(space: number, keyPrefix: string): Iterable<StateRow> {
		return this.#state.scan(space, keyPrefix);
	}

	/** As `StateTable.page`. */
	pageState(space: number, from: string, to: string | undefined, limit: number, bytesMax?: number): StateRow[] {
		return this.#state.page(space, from, to, limit, bytesMax);
	}

	/**
	 * Runs `work`, whose appends and state changes take at most about `bytes`, such that all of them
	 * are in one commit, whatever their size; within another group, in that one's. Throws RECORD_LIST_TOO_LARGE.
	 */
	group<T>(bytes: number, work: () => T): T {
		if (this.#grouping) return work();
		this.#checkFits(bytes);
		if (this.#bytes > 0 && this.#bytes + bytes > this.#commitBytes) this.#close();
		this.#grouping = true;
		try {
			return work();
		} finally {
			this.#grouping = false;
		}
	}

	/** What one `group` may take. */
	get groupBytesMax(): number {
		return Math.min(GROUP_BYTES_MAX, this.services.journal.entryBytesMax - ENTRY_OVERHEAD_BYTES);
	}

	newBuilder(leaderEpoch: number): BatchBuilder {
		return new BatchBuilder(this.#pool, leaderEpoch);
	}

	admit(bytes: number): void {
		if (this.#refusal !== undefined) throw this.#refusal;
		if (this.#bytes + bytes > this.#commitBytes && !this.#grouping) {
			this.#checkFits(bytes);
			if (this.#bytes > 0) this.#close();
		}
		this.#bytes += bytes;
		this.services.pressure.add(bytes);
		if (!this.#scheduled) this.#schedule();
	}

	/** An entry that no checkpoint can make room for would be waited for for ever. */
	#checkFits(bytes: number): void {
		const most = this.groupBytesMax;
		if (bytes > most)
			throw new BrokerError(
				"RECORD_LIST_TOO_LARGE",
				`${bytes} bytes at once, ${most} are the most that the journal takes`,
			);
	}

	join(partition: Partition): void {
		this.#gathered.push(partition);
		this.#bytes += APPEND_OVERHEAD_BYTES;
		this.services.pressure.add(APPEND_OVERHEAD_BYTES);
	}

	giveBack(append: AppendOperation): void {
		this.#tailsBytes -= heldBytes(append);
		if (append.pooled) this.#pool.give(Buffer.from(append.batch.buffer));
	}

	lost(partition: Partition, offset: number, next: number, error: DamageError): void {
		this.losses.record(partition, offset, next, error);
	}

	#hasGathered(): boolean {
		return this.#gathered.length > 0 || this.#state.gathering || this.#listeners.length > 0;
	}

	#schedule(): void {
		if (this.#scheduled || this.#writing !== undefined) return;
		this.#scheduled = true;
		const { clock, lingerMs } = this.services;
		if (lingerMs > 0 && this.#queue.length === 0) this.#linger = clock.after(lingerMs, this.#begin);
		else clock.soon(this.#begin);
	}

	readonly #begin = (): void => {
		this.#scheduled = false;
		this.#linger = undefined;
		this.#write();
	};

	/** Ends the commit being gathered; it is written when its turn comes. */
	#close(): void {
		const appends: AppendOperation[] = [];
		for (const partition of this.#gathered) appends.push(...partition.takeGathered());
		this.#queue.push({
			appends,
			state: this.#state.takeGathered(),
			partitions: this.#gathered,
			listeners: this.#listeners,
			bytes: this.#bytes,
		});
		this.#gathered = [];
		this.#listeners = [];
		this.#bytes = 0;
		// Enough waits: no need to linger.
		if (this.#linger !== undefined) {
			this.#linger.cancel();
			this.#linger = undefined;
			// Not here: its listeners must not be called while somebody appends.
			this.services.clock.soon(this.#begin);
		}
	}

	#write(): void {
		if (this.#writing !== undefined || this.#failed !== undefined) return;
		if (this.#queue.length === 0) {
			if (!this.#hasGathered()) return;
			this.#close();
		}
		const commit = this.#queue[0] as Commit;
		const { journal } = this.services;
		try {
			if (commit.appends.length === 0 && commit.state.length === 0) {
				this.#queue.shift();
				this.#finish(commit);
				return;
			}
			if (!this.#hasRoom(commit)) {
				if (this.#refusal === undefined) this.#waitForRoom(commit);
				return;
			}
			this.#queue.shift();
			this.#writing = commit;
			journal.write(commit.appends, commit.state);
		} catch (error) {
			this.fail(error as Error);
			return;
		}
		const beganMs = this.services.clock.monotonic();
		if (this.#pace.inline(commit.listeners.length, commit.bytes)) {
			try {
				journal.syncNow();
			} catch (error) {
				this.fail(error as Error);
				return;
			}
			this.#synced(commit, beganMs);
			return;
		}
		journal.sync().then(
			() => this.#synced(commit, beganMs),
			(error: Error) => this.fail(error),
		);
	}

	#synced(commit: Commit, beganMs: number): void {
		this.#pace.took(this.services.clock.monotonic() - beganMs);
		this.#writing = undefined;
		this.#committedSequence = this.services.journal.sequence;
		this.#finish(commit);
	}

	/** Nothing is written yet: a full disk may be waited for, as may a checkpoint. */
	#hasRoom(commit: Commit): boolean {
		try {
			return this.services.journal.makeRoom(commit.appends, commit.state);
		} catch (error) {
			this.#storageError(error as Error);
			return false;
		}
	}

	/** Every journal file is in use: a checkpoint must free one. */
	#waitForRoom(commit: Commit): void {
		this.services.pressure.hold();
		this.checkpoint()
			.catch((error: Error) => this.#storageError(error))
			.finally(() => {
				this.services.pressure.letGo();
				if (this.#failed !== undefined || this.#stopped) return;
				if (this.#refusal === undefined && this.#hasRoom(commit)) this.#schedule();
				else this.services.clock.after(RETRY_MS, () => this.#schedule());
			});
	}

	#finish(commit: Commit): void {
		this.counters.commits += 1;
		for (const append of commit.appends) {
			this.counters.records += append.offsets;
			this.counters.batchBytes += append.batch.length;
			const partition = this.partitions.get(append.partitionId);
			const kept = tailBatch(append, this.#pool);
			this.#tailsBytes += heldBytes(kept);
			if (partition === undefined) this.giveBack(kept);
			else partition.committed(kept);
		}
		this.#state.committed();
		for (const listener of commit.listeners) listener.committed();
		for (const partition of commit.partitions) partition.advance();
		try {
			for (const partition of commit.partitions) partition.flushIfLarge();
			if (this.#tailsBytes > TAILS_BYTES_MAX) this.flush();
		} catch (error) {
			this.#storageError(error as Error);
		}
		this.services.pressure.subtract(commit.bytes);
		if (this.services.journal.usedFiles > 1 || this.#state.checkpointDue) this.#checkpointSoon();
		if (this.#queue.length > 0 || this.#hasGathered()) this.#schedule();
	}

	/** Writes every partition's tail to its segments. */
	flush(): void {
		for (const partition of this.partitions.values()) if (partition.tailBytes > 0) partition.flush();
	}

	#checkpointSoon(): void {
		if (this.#checkpoint !== undefined || this.#stopped) return;
		this.checkpoint().catch((error: Error) => this.#storageError(error));
	}

	/**
	 * Makes the journal superfluous up to now: segments synced, then the catalog written, then its files free for use
	 * again. One at a time; a second call waits for the one under way.
	 */
	checkpoint(): Promise<void> {
		this.#checkpoint ??= this.#runCheckpoint().finally(() => {
			this.#checkpoint = undefined;
		});
		return this.#checkpoint;
	}

	async #runCheckpoint(): Promise<void> {
		const { catalog, journal } = this.services;
		this.#mustBeSound();
		const sequence = this.#committedSequence;
		this.flush();
		const source = {
			partitions: this.partitions,
			state: this.#state,
			catalog,
			mustBeSound: () => this.#mustBeSound(),
			storageError: (error: Error) => this.#storageError(error),
		};
		await writeCheckpoint(source, sequence);
		this.counters.checkpoints += 1;
		journal.release(sequence);
		journal.fillAhead();
	}

	#mustBeSound(): void {
		if (this.#failed !== undefined) throw this.#failed;
	}

	/** No space: refuse what comes, keep what is acknowledged, try again. Anything else: stop. */
	#storageError(error: Error): void {
		if (this.#stopped || this.#failed !== undefined) return;
		if (!isDiskFull(error)) {
			this.fail(error);
			return;
		}
		if (this.#refusal === undefined)
			this.services.logger.error("the disk is full: nothing can be stored until there is space", {
				error: String(error),
			});
		this.#refusal = new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full", { cause: error });
		this.#refused?.();
		if (this.#retry !== undefined) return;
		this.#retry = this.services.clock.after(RETRY_MS, () => this.#tryAgain());
		this.services.clock.soon(() => this.onFull?.());
	}

	#tryAgain(): void {
		this.#retry = undefined;
		if (this.#stopped || this.#failed !== undefined) return;
		try {
			this.flush();
		} catch (error) {
			this.#storageError(error as Error);
			return;
		}
		// Nothing more is admitted before the commit that found no space has it.
		const next = this.#queue[0];
		if (next !== undefined && !this.#hasRoom(next) && this.#retry !== undefined) return;
		this.#refusal = undefined;
		this.services.logger.info("the disk has space again");
		this.#schedule();
	}

	/** Only a start can put right what is stored: nothing more is acknowledged. */
	fail(error: Error): void {
		if (this.#failed !== undefined) return;
		this.#failed = error;
		this.#refusal = new BrokerError("KAFKA_STORAGE_ERROR", `storage failed: ${error.message}`, { cause: error });
		this.services.logger.error("storage failed: stopping, to recover from the journal at the next start", {
			error: String(error),
		});
		for (const { listeners } of [...(this.#writing === undefined ? [] : [this.#writing]), ...this.#queue])
			for (const listener of listeners) listener.failed?.(error);
		for (const listener of this.#listeners) listener.failed?.(error);
		this.services.onFailure(error);
	}

	/** Everything found at start is in; what is appended now begins a new use of the journal. */
	recovered(): void {
		this.#committedSequence = this.services.journal.sequence;
	}

	/** A batch that the journal had and the segments had not, at start. */
	replayed(partition: Partition, append: AppendOperation): void {
		this.#tailsBytes += heldBytes(append);
		partition.committed(append);
		partition.flushIfLarge();
	}

	/** Waits for what is gathered, then writes a last checkpoint. Nothing may be appended any more. */
	async stop(): Promise<void> {
		try {
			if (this.#failed === undefined) await this.#finishAll();
		} finally {
			this.#stopped = true;
			for (const partition of this.partitions.values()) partition.release();
			this.services.journal.close();
		}
	}

	/** What a full disk leaves undone the journal has, but for what was never acknowledged. */
	async #finishAll(): Promise<void> {
		this.#linger?.cancel();
		if (this.#linger !== undefined) this.#begin();
		const full = new Promise<void>((resolve) => {
			this.#refused = resolve;
		});
		if (!this.idle && this.#refusal === undefined) await Promise.race([this.whenCommitted(), full]);
		try {
			// One that began earlier may not have all.
			await this.#checkpoint;
			await this.checkpoint();
			noteCleanStop(this.services.catalog, this.services.journal.sequence);
		} catch (error) {
			if (this.#failed !== undefined || this.#refusal === undefined) throw error;
		}
	}
}

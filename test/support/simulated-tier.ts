/**
 * An object store behind a log, for tests: it has the batches that it copied off partitions, and is as slow, as absent and
 * as damaged as a test wants. What is asked for goes on being fetched when a reader's patience is at an end.
 */
import type { TakeBuffer } from "../../src/base/buffer-pool.ts";
import type { Clock } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import type { Log } from "../../src/log/log.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { Tier } from "../../src/log/tier.ts";
import { type BatchHeader, readBatchHeader } from "../../src/record/batch.ts";

interface Stored {
	readonly header: BatchHeader;
	readonly bytes: Buffer;
}

/** What a reader asked for. */
interface Asked {
	readonly partition: Partition;
	readonly offset: number;
	readonly maxBytes: number;
	readonly patienceMs: number;
}

interface Fetched {
	readonly whenHere: Promise<void>;
	isHere: boolean;
}

export class SimulatedTier implements Tier {
	/** In order. */
	readonly asked: Asked[] = [];
	/** Those that wait now, and the most that did at one time. */
	waiting = 0;
	mostWaiting = 0;
	readonly #log: Log;
	readonly #clock: Clock;
	readonly #stored = new Map<Partition, Stored[]>();
	readonly #fetched = new Map<Buffer, Fetched>();
	readonly #arrive = new Map<Partition, (() => void)[]>();
	readonly #slow = new Set<Partition>();
	readonly #failing = new Set<Partition>();
	#sequence = 0;

	/** It is the log's from now on. */
	constructor(log: Log, clock: Clock) {
		this.#log = log;
		this.#clock = clock;
		log.tier = this;
	}

	/** Nothing of these comes until `release`: what is asked for is on its way. */
	hold(...partitions: Partition[]): void {
		for (const partition of partitions) this.#slow.add(partition);
	}

	/** What was on its way is here, and all that is asked for from now on. */
	release(): void {
		this.#slow.clear();
		for (const listeners of this.#arrive.values()) for (const arrive of listeners) arrive();
		this.#arrive.clear();
	}

	/** The store cannot be reached, or what it has of these is damaged. */
	fail(...partitions: Partition[]): void {
		for (const partition of partitions) this.#failing.add(partition);
	}

	/** It can be again. */
	recover(): void {
		this.#failing.clear();
	}

	/** Takes what is stable and not here yet, as one bundle; from `below` on it is kept by the partition alone. */
	async copy(partition: Partition, below = partition.lastStableOffset): Promise<void> {
		const { tier } = this.#log.services.catalog;
		const stored = this.#stored.get(partition) ?? [];
		this.#stored.set(partition, stored);
		const from = Math.max(partition.tieredOffset, partition.logStartOffset);
		const taken: Stored[] = [];
		for (let next = from; next < below; ) {
			const bytes = await partition.read(next, 1, below);
			const header = readBatchHeader(bytes, 0);
			taken.push({ header, bytes });
			next = header.lastOffset + 1;
		}
		const last = taken.at(-1);
		if (last === undefined) return;
		const nextOffset = last.header.lastOffset + 1;
		const rawBytes = taken.reduce((sum, { bytes }) => sum + bytes.length, 0);
		const maxTimestamp = Math.max(...taken.map(({ header }) => header.maxTimestamp));
		const sequence = ++this.#sequence;
		const id = tier.beginBundle({ incarnation: 0, sequence, key: `${sequence}.bundle`, createdMs: 0 });
		const blocks = new Uint8Array();
		const range = { partitionId: partition.id, baseOffset: from, nextOffset, storedBytes: rawBytes, rawBytes };
		tier.commitBundle(id, rawBytes, [{ ...range, maxTimestamp, blocks }]);
		stored.push(...taken);
		partition.tiered(nextOffset);
	}

	/** What is before `offset` is nowhere but here from now on. */
	evict(partition: Partition, offset = partition.tieredOffset): void {
		this.#log.services.catalog.setLocalStartOffsets([[partition.id, offset]]);
		partition.segments.localStartOffset = offset;
		const unneeded = partition.segments.unneeded();
		if (unneeded.length > 0) partition.segments.drop(unneeded);
	}

	/** As if compaction had taken the batch at `offset` before it was copied. */
	compact(partition: Partition, offset: number): void {
		const left = (this.#stored.get(partition) ?? []).filter(({ header }) => header.baseOffset !== offset);
		this.#stored.set(partition, left);
	}

	async read(
		partition: Partition,
		offset: number,
		maxBytes: number,
		patienceMs: number,
		take: TakeBuffer = Buffer.allocUnsafe,
	): Promise<Buffer> {
		this.asked.push({ partition, offset, maxBytes, patienceMs });
		this.#refuseFailing(partition);
		const batches = this.#from(partition, offset);
		const first = batches[0];
		if (first === undefined) return Buffer.alloc(0);
		await this.#whenHere(partition, first, patienceMs);
		this.#refuseFailing(partition);
		let bytes = 0;
		let count = 0;
		while (count === 0 || (count < batches.length && bytes + sizeOf(batches[count]) <= maxBytes))
			bytes += sizeOf(batches[count++]);
		const target = take(bytes).subarray(0, bytes);
		let at = 0;
		for (const each of batches.slice(0, count)) at += each.bytes.copy(target, at);
		return target;
	}

	lookUpTime(partition: Partition, timestampMs: number, from: number): number | undefined {
		return this.#from(partition, from).find(({ header }) => header.maxTimestamp >= timestampMs)?.header.baseOffset;
	}

	maxTimestamp(partition: Partition): number {
		return Math.max(-1, ...this.#from(partition, 0).map(({ header }) => header.maxTimestamp));
	}

	#from(partition: Partition, offset: number): Stored[] {
		const stored = this.#stored.get(partition) ?? [];
		return stored.filter(({ header }) => header.lastOffset >= offset && header.baseOffset < partition.localStartOffset);
	}

	async #whenHere(partition: Partition, { bytes }: Stored, patienceMs: number): Promise<void> {
		const fetched = this.#fetch(partition, bytes);
		if (fetched.isHere) return;
		this.waiting += 1;
		this.mostWaiting = Math.max(this.mostWaiting, this.waiting);
		const patience = Promise.withResolvers<void>();
		const timer = patienceMs > 0 ? this.#clock.after(patienceMs, patience.resolve) : undefined;
		if (timer === undefined) patience.resolve();
		await Promise.race([fetched.whenHere, patience.promise]);
		timer?.cancel();
		this.waiting -= 1;
		if (!fetched.isHere) throw new BrokerError("OFFSET_NOT_AVAILABLE", "it is on its way: ask again");
	}

	#fetch(partition: Partition, batch: Buffer): Fetched {
		const known = this.#fetched.get(batch);
		if (known !== undefined) return known;
		const { promise, resolve } = Promise.withResolvers<void>();
		const fetched: Fetched = { whenHere: promise, isHere: false };
		this.#fetched.set(batch, fetched);
		const arrive = (): void => {
			fetched.isHere = true;
			resolve();
		};
		if (this.#slow.has(partition)) this.#arrive.set(partition, [...(this.#arrive.get(partition) ?? []), arrive]);
		else arrive();
		return fetched;
	}

	#refuseFailing(partition: Partition): void {
		if (this.#failing.has(partition))
			throw new BrokerError("KAFKA_STORAGE_ERROR", "the object store cannot be reached");
	}
}

function sizeOf(stored: Stored | undefined): number {
	return stored?.bytes.length ?? 0;
}

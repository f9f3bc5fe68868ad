/**
 * Who still needs records that retention would take. Retention leaves them as long as the disk has room. What is taken all the
 * same, for want of space or because a person deletes it, is in the loss ledger, written in the transaction of the catalog that
 * takes it, and its holder is told.
 */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { LossChange, LossRow } from "../catalog/catalog.ts";
import type { Partition } from "./partition.ts";

export interface RetentionHolder {
	/** What the records are kept for, as the ledger says it: "sent upstream". */
	readonly purpose: string;
	/** With less than so many bytes free on the disk retention waits for it no longer. */
	readonly minFreeBytes: number;
	/** The first offset still needed, of those that are there or will be; undefined: none. */
	neededFrom(partition: Partition): number | undefined;
	/** Records from `from` up to `to` were taken all the same; the ledger has them, for the reason `why`. Must not throw. */
	taken(partition: Partition, from: number, to: number, why: string): void;
}

/** Why records go that are still needed. */
export type TakingCause = "space" | "deletion";

/** What holders lose when records go. */
export interface Taking {
	/** For the ledger, together with what takes them; none where no record was left there. */
	readonly losses: readonly LossChange[];
	/** They are gone. */
	done(): void;
}

export class RetentionHolders {
	readonly #services: { readonly clock: Clock; readonly logger: Logger };
	readonly #holders = new Set<RetentionHolder>();
	/** A partition's newest loss: where the next one goes on from there, one row says both. */
	readonly #newest = new WeakMap<Partition, { readonly to: number; readonly row: LossRow }>();

	constructor(services: { readonly clock: Clock; readonly logger: Logger }) {
		this.#services = services;
	}

	add(holder: RetentionHolder): void {
		this.#holders.add(holder);
	}

	remove(holder: RetentionHolder): void {
		this.#holders.delete(holder);
	}

	/** Whether nobody needs anything. */
	get isEmpty(): boolean {
		return this.#holders.size === 0;
	}

	/** The most that one of them wants to be free. */
	get minFreeBytes(): number {
		return Math.max(0, ...[...this.#holders].map(({ minFreeBytes }) => minFreeBytes));
	}

	/** The first offset that one of them needs. */
	neededFrom(partition: Partition): number | undefined {
		let first: number | undefined;
		for (const holder of this.#holders) {
			const from = holder.neededFrom(partition);
			if (from !== undefined && (first === undefined || from < first)) first = from;
		}
		return first;
	}

	/** What it costs that the partition's records up to `to` go; undefined where nobody needs one of them. */
	taking(partition: Partition, to: number, cause: TakingCause): Taking | undefined {
		const losers = [...this.#holders]
			.map((holder) => ({ holder, from: Math.max(holder.neededFrom(partition) ?? to, partition.logStartOffset) }))
			.filter(({ from }) => from < to)
			.sort((a, b) => a.from - b.from);
		const [first] = losers;
		if (first === undefined) return undefined;
		const { from } = first;
		const reason =
			cause === "space"
				? `the disk had too little space to keep them until they were ${first.holder.purpose}`
				: `deleted before they were ${first.holder.purpose}`;
		const count = countRecords(partition, from, to);
		const newest = this.#newest.get(partition);
		const replaces = newest?.to === from && newest.row.reason === reason ? newest.row : undefined;
		const row = {
			timeMs: this.#services.clock.now(),
			topic: partition.topic,
			partition: partition.number,
			firstOffset: replaces?.firstOffset ?? from,
			count: (replaces?.count ?? 0) + count,
			reason,
		};
		return {
			losses: count === 0 ? [] : [{ row, replaces }],
			done: () => {
				if (count > 0) this.#lost(partition, from, to, count, row);
				for (const { holder, from } of losers) holder.taken(partition, from, to, reason);
			},
		};
	}

	#lost(partition: Partition, from: number, to: number, records: number, row: LossRow): void {
		this.#newest.set(partition, { to, row });
		const { topic, number } = partition;
		this.#services.logger.warn("records are gone that were still needed", {
			...{ topic, partition: number, from, to, records, reason: row.reason },
		});
	}
}

/** Offsets, but for those that compaction took. */
function countRecords({ segments, localStartOffset }: Partition, from: number, to: number): number {
	let count = to - from;
	for (const segment of segments.list) {
		if (!segment.isCleaned) continue;
		const first = Math.max(from, segment.baseOffset, localStartOffset);
		const end = Math.min(to, segments.after(segment)?.baseOffset ?? to);
		if (first >= end) continue;
		count -= end - first;
		let position = segment.lookUp(first);
		for (let header = segment.headerAt(position); header !== undefined; header = segment.headerAt(position)) {
			if (header.baseOffset >= end) break;
			const inside = Math.min(end, header.lastOffset + 1) - Math.max(first, header.baseOffset);
			if (!header.isControl && inside > 0) count += Math.min(header.count, inside);
			position += header.sizeBytes;
		}
	}
	return count;
}

/** Acknowledged records that are gone for another reason than retention, or do not get where they are to go: each is recorded once, and said. */
import type { Clock } from "../base/clock.ts";
import { DamageError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Catalog, LossRow } from "../catalog/catalog.ts";
import type { Partition } from "./partition.ts";

export class Losses {
	readonly #services: { readonly catalog: Catalog; readonly clock: Clock; readonly logger: Logger };

	constructor(services: { readonly catalog: Catalog; readonly clock: Clock; readonly logger: Logger }) {
		this.#services = services;
	}

	/** Records from `offset` up to `next` cannot be read any more. */
	record(partition: Partition, offset: number, next: number, error: DamageError): void {
		const { clock, catalog, logger } = this.#services;
		const count = Math.max(0, next - offset);
		const loss = lossOf(partition, offset, next, error.message, clock.now());
		try {
			if (count === 0 || catalog.hasLoss(loss)) return;
			catalog.recordLoss(loss);
		} catch (problem) {
			// No reason to keep the records behind the damage from a reader.
			logger.warn("a loss could not be recorded", { error: String(problem) });
		}
		logger.error("stored records are damaged and were passed over", {
			topic: partition.topic,
			partition: partition.number,
			offset,
			count,
			file: error.file,
			position: error.position,
		});
	}

	/** Whether it is known already. */
	has(partition: Partition, offset: number): boolean {
		return this.#services.catalog.hasLoss(lossOf(partition, offset, offset + 1, "", 0));
	}

	/** Records from `offset` up to `next` do not get where they are to go; it is the caller's to say so. Throws where the catalog cannot be written. */
	heldBack(partition: Partition, offset: number, next: number, reason: string): void {
		const { clock, catalog } = this.#services;
		catalog.recordLoss(lossOf(partition, offset, next, reason, clock.now()));
	}

	/** Records that neither the journal nor the segments have any more, found at start. */
	hole(partition: Partition, from: number, to: number): void {
		const { folder } = partition.segments;
		this.record(partition, from, to, new DamageError(folder, 0, "the journal entry that had these records is damaged"));
	}
}

function lossOf({ topic, number }: Partition, offset: number, next: number, reason: string, timeMs: number): LossRow {
	return { timeMs, topic, partition: number, firstOffset: offset, count: Math.max(0, next - offset), reason };
}

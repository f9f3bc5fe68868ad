/** Where a replay begins: for each partition that its filter concerns, the first record of that time or later. */

import { BrokerError } from "../../src/base/errors.ts";
import type { Patience } from "../../src/base/patience.ts";
import type { Partition } from "../../src/log/partition.ts";
import { offsetForTimestamp } from "../../src/log/partition-times.ts";
import { comesLater } from "../../src/log/tier.ts";
import type { Engine } from "./engine.ts";
import type { ReplayStart } from "./filter-kind.ts";

export class ReplaySearch {
	/** By partition id. */
	readonly starts = new Map<number, number>();
	readonly #engine: Engine;
	readonly #match: string;
	/** undefined: all that there is. */
	readonly #atMs: number | undefined;

	constructor(engine: Engine, match: string, start: ReplayStart) {
		this.#engine = engine;
		this.#match = match;
		if (start !== "earliest") this.#atMs = "atMs" in start ? start.atMs : engine.broker.clock.now() - start.beforeMs;
	}

	/**
	 * Looks for those starts that are still missing; false where the object store does not tell them in time. Rejects with
	 * what reading the log throws.
	 */
	async look(patience: Patience): Promise<boolean> {
		const { broker, deliveries } = this.#engine;
		let isComplete = true;
		for (const topic of deliveries.concerns(this.#match)) {
			for (const partition of broker.topics.get(topic)?.partitions ?? []) {
				if (this.starts.has(partition.id)) continue;
				const start = await this.#startIn(partition, patience);
				if (start === undefined) isComplete = false;
				else this.starts.set(partition.id, start);
			}
		}
		return isComplete;
	}

	async #startIn(partition: Partition, patience: Patience): Promise<number | undefined> {
		if (this.#atMs === undefined) return partition.logStartOffset;
		try {
			const found = await offsetForTimestamp(partition, this.#atMs, patience);
			return found?.offset ?? partition.lastStableOffset;
		} catch (error) {
			if (comesLater(error)) return undefined;
			// Retention or a deletion was faster: from what there is.
			if (!(error instanceof BrokerError)) throw error;
			return partition.logStartOffset;
		}
	}
}

/** Where a replay begins: for each partition that its filter concerns, the first record of that time or later. */

import { BrokerError } from "../../src/base/errors.ts";
import { offsetForTimestamp } from "../../src/log/partition-times.ts";
import type { Engine } from "./engine.ts";
import type { ReplayStart } from "./filter-kind.ts";

/** By partition id. Rejects with what reading the log throws. */
export async function replayStarts(engine: Engine, match: string, start: ReplayStart): Promise<Map<number, number>> {
	const { broker, deliveries } = engine;
	const starts = new Map<number, number>();
	for (const topic of deliveries.concerns(match)) {
		for (const partition of broker.topics.get(topic)?.partitions ?? []) {
			if (start === "earliest") {
				starts.set(partition.id, partition.logStartOffset);
				continue;
			}
			const atMs = "atMs" in start ? start.atMs : broker.clock.now() - start.beforeMs;
			try {
				const found = await offsetForTimestamp(partition, atMs);
				starts.set(partition.id, found?.offset ?? partition.lastStableOffset);
			} catch (error) {
				// Retention or a deletion was faster: from what there is.
				if (!(error instanceof BrokerError)) throw error;
				starts.set(partition.id, partition.logStartOffset);
			}
		}
	}
	return starts;
}

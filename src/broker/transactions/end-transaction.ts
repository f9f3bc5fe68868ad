/**
 * What the end of a transaction writes: a marker in each of its partitions, where readers and the states of producers
 * learn of it, and its offsets. All of it goes into one commit, so nothing is ever half ended.
 */
import type { Log } from "../../log/log.ts";
import type { Partition } from "../../log/partition.ts";
import { encodeBatch } from "../../record/batch.ts";

export type Outcome = "commit" | "abort";

/** What is ended. */
export interface OpenTransaction {
	readonly producerId: number;
	/** Ids. */
	readonly partitions: ReadonlySet<number>;
	readonly groups: ReadonlySet<string>;
}

/** Where it is written, beside the log. */
export interface EndSinks {
	readonly log: Log;
	readonly producers: {
		marker(partition: Partition, producerId: number, producerEpoch: number): void;
	};
	readonly offsets: {
		pendingBytes(producerId: number, groups: Iterable<string>): number;
		endTransaction(producerId: number, groups: Iterable<string>, outcome: Outcome): void;
	};
}

/** What the end takes in a commit for each partition, bytes, at most: the marker's batch and the rows. */
export const MARKER_BYTES = 1024;

/** Kafka's EndTransactionMarker: version i16, type i16 (0: abort, 1: commit). */
const KEYS: Readonly<Record<Outcome, Buffer>> = { abort: Buffer.from([0, 0, 0, 0]), commit: Buffer.from([0, 0, 0, 1]) };
/** Version i16, epoch of the coordinator i32. */
const VALUE = Buffer.alloc(6);

/** In the commit being gathered: the caller makes it a group. `markerEpoch` and lower ones write no more in this transaction. */
export function endTransaction(sinks: EndSinks, open: OpenTransaction, markerEpoch: number, outcome: Outcome): void {
	const { log, producers, offsets } = sinks;
	const { producerId } = open;
	const timestamp = log.services.clock.now();
	for (const id of open.partitions) {
		const partition = log.partitions.get(id);
		// Its topic was deleted.
		if (partition === undefined) continue;
		const marker = encodeBatch([{ timestamp, key: KEYS[outcome], value: VALUE, headers: [] }], {
			producerId,
			producerEpoch: markerEpoch,
			baseSequence: -1,
			isTransactional: true,
			isControl: true,
		});
		const offset = partition.appendBatch(marker, 1);
		partition.transactions.end(producerId, offset, outcome);
		producers.marker(partition, producerId, markerEpoch);
	}
	offsets.endTransaction(producerId, open.groups, outcome);
}

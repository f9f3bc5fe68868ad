/**
 * Producer ids: each is given out once in the life of a data directory. They are taken from the state table in blocks;
 * what is left of a block when the process ends is never given out. An id may be told when the commit being gathered
 * is durable.
 */
import type { Log } from "../../log/log.ts";
import { StateSpace } from "../../log/state-spaces.ts";

const KEY = "next";
/** As many as Kafka's brokers take at a time. */
const BLOCK = 1000;
/** What the row takes in a commit. */
export const PRODUCER_ID_BYTES = 64;

export class ProducerIds {
	readonly #log: Log;
	#next = 0;
	#end = 0;

	constructor(log: Log) {
		this.#log = log;
	}

	/** Throws KAFKA_STORAGE_ERROR. */
	take(): number {
		if (this.#next === this.#end) {
			const stored = this.#log.getState(StateSpace.KAFKA_PRODUCER_IDS, KEY);
			const next = stored === undefined ? 0 : Number(view(stored).readBigUInt64BE(0));
			const value = Buffer.alloc(8);
			value.writeBigUInt64BE(BigInt(next + BLOCK));
			this.#log.putState(StateSpace.KAFKA_PRODUCER_IDS, KEY, value);
			this.#next = next;
			this.#end = next + BLOCK;
		}
		return this.#next++;
	}
}

function view(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

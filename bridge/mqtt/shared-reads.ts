/**
 * Reads of the log that several subscribers make at the same places: those who come back after the same outage read the
 * same bytes. A few results are kept for the next of them. What is stored at an offset never changes, so none is ever stale;
 * what a deleted topic had is not asked for any more.
 */
import type { Partition } from "../../src/log/partition.ts";

/** Results kept; at READ_BYTES of 64 KiB one megabyte together. */
const KEPT = 16;

export class SharedReads {
	/** By partition id and offset, oldest first. */
	readonly #reads = new Map<string, Promise<Buffer>>();

	/** As Partition.read. The bytes are shared: nobody may change them. */
	read(partition: Partition, offset: number, maxBytes: number, patienceMs: number): Promise<Buffer> {
		const key = `${partition.id}:${offset}`;
		const known = this.#reads.get(key);
		if (known !== undefined) return known;
		const read = partition.read(offset, maxBytes, undefined, undefined, patienceMs);
		this.#reads.set(key, read);
		if (this.#reads.size > KEPT) this.#reads.delete(this.#reads.keys().next().value!);
		const forget = () => {
			if (this.#reads.get(key) === read) this.#reads.delete(key);
		};
		read.then((bytes) => {
			if (bytes.length === 0) forget(); // there may be something a moment later
		}, forget);
		return read;
	}
}

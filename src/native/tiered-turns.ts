/**
 * What a connection reads from the object store: a few reads at a time, apart from those of what is here, so that neither
 * these nor other subscriptions stand behind a slow store. No read waits long: who has waited asks again, behind the others.
 */
import type { Patience } from "../base/patience.ts";
import type { Partition } from "../log/partition.ts";

/** Of one connection: so much is in memory for it at most, as with one read of a file. */
const READS_AT_ONCE = 4;
const READ_BYTES = 64 * 1024;
/** For one read, milliseconds. */
export const TIERED_PATIENCE_MS = 1000;
/** When what the store cannot give is asked for again, milliseconds. */
export const TIERED_RETRY_MS = 1000;

export class TieredTurns {
	readonly #waiting: (() => void)[] = [];
	#reading = 0;

	/** Runs `task`, which reads by `readTiered`, when its turn has come. */
	async run<T>(task: () => Promise<T>): Promise<T> {
		if (this.#reading >= READS_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
		else this.#reading += 1;
		try {
			return await task();
		} finally {
			const next = this.#waiting.shift();
			if (next === undefined) this.#reading -= 1;
			else next();
		}
	}
}

/** As `Partition.read`, of few bytes. */
export function readTiered(
	partition: Partition,
	offset: number,
	maxBytes: number,
	patience: Patience,
): Promise<Buffer> {
	return partition.read(offset, Math.min(maxBytes, READ_BYTES), undefined, undefined, patience.leftMs);
}

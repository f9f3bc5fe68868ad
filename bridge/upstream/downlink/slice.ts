/**
 * Some of a central partition's records and how far the partition is read with them, in one commit: whatever a crash leaves has
 * both or neither. What the log does not take is passed over and told, so that what follows is not held up for ever.
 */
import { BrokerError, type ErrorCode } from "../../../src/base/errors.ts";
import type { Log } from "../../../src/log/log.ts";
import type { Taken, Target } from "./target.ts";

/** Of one commit: small enough that others have theirs in between. */
const SLICE_BYTES_MAX = 512 * 1024;

/** A record that will not be here. */
export interface Refusal {
	readonly target: Target;
	/** In the central partition. */
	readonly offset: number;
	readonly reason: string;
}

/** What another try would not change. */
const REFUSALS: readonly ErrorCode[] = ["MESSAGE_TOO_LARGE", "INVALID_RECORD", "RECORD_LIST_TOO_LARGE"];

export class Slice {
	#taken: Taken[] = [];
	#bytes = 0;
	readonly #log: Log;
	readonly #bytesMax: number;

	constructor(log: Log) {
		this.#log = log;
		this.#bytesMax = Math.min(SLICE_BYTES_MAX, log.groupBytesMax / 2);
	}

	get isEmpty(): boolean {
		return this.#taken.length === 0;
	}

	/** Whether it has to go before `taken` is added. */
	isFullFor(taken: readonly Taken[]): boolean {
		return this.#bytes > 0 && taken.length > 0 && this.#bytes + sizeOf(taken) > this.#bytesMax;
	}

	/** All that is made of one record. */
	add(taken: readonly Taken[]): void {
		this.#taken.push(...taken);
		this.#bytes += sizeOf(taken);
	}

	/**
	 * Adds its records to the commit being gathered, with what `position` does there, at most `positionBytes`. Nothing of it is
	 * there when it throws KAFKA_STORAGE_ERROR. Empty afterwards.
	 */
	append(positionBytes: number, position: () => void): { refused: Refusal[]; notRetained: Refusal[] } {
		const taken = this.#taken;
		const bytes = this.#bytes;
		this.#taken = [];
		this.#bytes = 0;
		const refused: Refusal[] = [];
		const notRetained: Refusal[] = [];
		const most = this.#log.groupBytesMax;
		if (bytes + positionBytes > most) {
			// One record then: a slice of several is smaller.
			for (const one of taken) refused.push(refusal(one, `a record that takes ${bytes} bytes here; ${most} at most`));
			this.#log.group(positionBytes, position);
			return { refused, notRetained };
		}
		this.#log.group(bytes + positionBytes, () => {
			// First, because it can be refused only for reasons that hold for all of it.
			position();
			for (const one of taken) this.#append(one, refused, notRetained);
		});
		return { refused, notRetained };
	}

	#append(one: Taken, refused: Refusal[], notRetained: Refusal[]): void {
		const { partition, timestampMs, keyBlock, source, valueStart, valueEnd, headersBlock, target } = one;
		let offset: number;
		try {
			offset = partition.appendRecord(timestampMs, keyBlock, source, valueStart, valueEnd, headersBlock);
		} catch (error) {
			if (!(error instanceof BrokerError) || !REFUSALS.includes(error.code)) throw error;
			refused.push(refusal(one, error.message));
			return;
		}
		target.counters.received += 1;
		try {
			one.retained?.work(offset);
		} catch (error) {
			if (!(error instanceof BrokerError) || error.code === "KAFKA_STORAGE_ERROR") throw error;
			notRetained.push(refusal(one, error.message));
		}
	}
}

function sizeOf(taken: readonly Taken[]): number {
	let bytes = 0;
	for (const one of taken) bytes += one.bytes;
	return bytes;
}

function refusal({ target, offset }: Taken, reason: string): Refusal {
	return { target, offset, reason };
}

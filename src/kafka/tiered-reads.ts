/**
 * What a Fetch has to read from the object store. A few partitions at a time are asked for, all for as long as one patience
 * lasts; what such answers take comes from a room of their own, so that who waits for a slow store never stands before
 * those who read what is here.
 */
import type { TakeBuffer } from "../base/buffer-pool.ts";
import { BrokerError } from "../base/errors.ts";
import type { Patience } from "../base/patience.ts";
import type { Partition } from "../log/partition.ts";
import type { Call } from "./api.ts";

/** Of one Fetch. */
const READS_AT_ONCE = 8;

interface TieredRead {
	readonly partition: Partition;
	readonly offset: number;
	/** Of record batches, but for the first one. */
	readonly maxBytes: number;
	/** As for `Partition.read`. */
	readonly end: number;
}

export class TieredReads {
	readonly #call: Call;
	readonly #take: TakeBuffer;
	readonly #patience: Patience;
	readonly #rooms: (() => void)[] = [];
	readonly #waiting: (() => void)[] = [];
	#reading = 0;

	constructor(call: Call, take: TakeBuffer, patience: Patience) {
		this.#call = call;
		this.#take = take;
		this.#patience = patience;
		call.whenSent(() => this.giveRoomBack());
	}

	/** As `Partition.read`; and OFFSET_NOT_AVAILABLE where its turn did not come in time. The memory is its own until the answer is sent. */
	async read(wanted: TieredRead): Promise<Buffer> {
		if (this.#reading >= READS_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
		else this.#reading += 1;
		try {
			return await this.#readInRoom(wanted);
		} finally {
			const next = this.#waiting.shift();
			if (next === undefined) this.#reading -= 1;
			else next();
		}
	}

	/** Nothing that was read is needed any more. */
	giveRoomBack(): void {
		for (const giveBack of this.#rooms.splice(0)) giveBack();
	}

	async #readInRoom({ partition, offset, maxBytes, end }: TieredRead): Promise<Buffer> {
		// A batch is whole, however little is asked for.
		const giveBack = await this.#claim(Math.max(maxBytes, partition.config.maxMessageBytes));
		const { pressure } = this.#call.services.broker;
		pressure.add(maxBytes);
		try {
			const bytes = await partition.read(offset, maxBytes, end, this.#take, this.#patience.leftMs);
			this.#rooms.push(giveBack);
			return bytes;
		} catch (error) {
			giveBack();
			throw error;
		} finally {
			pressure.subtract(maxBytes);
		}
	}

	/** Gives the room back. */
	async #claim(bytes: number): Promise<() => void> {
		const { tierRoom, broker } = this.#call.services;
		const { promise, resolve } = Promise.withResolvers<boolean>();
		let isGranted = false;
		const giveBack = tierRoom.claim(bytes, () => {
			isGranted = true;
			resolve(true);
		});
		if (isGranted) return giveBack;
		const timer = broker.clock.after(this.#patience.leftMs, () => resolve(false));
		if (await promise) {
			timer.cancel();
			return giveBack;
		}
		giveBack();
		throw new BrokerError("OFFSET_NOT_AVAILABLE", "too many read from the object store: ask again");
	}
}

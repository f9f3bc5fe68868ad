/** One fetch: reads at once, or waits for a record as long as the client allows, holding a watcher and a timer only. */
import type { Timer } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import { Patience } from "../base/patience.ts";
import type { Partition } from "../log/partition.ts";
import { MESSAGE } from "./codec/protocol.ts";
import { CborWriter } from "./codec/writer.ts";
import type { Connection } from "./connection.ts";
import { encodeRecords, RECORDS_FRAME_OVERHEAD } from "./records.ts";
import { readTiered, TIERED_PATIENCE_MS } from "./tiered-turns.ts";

export interface FetchSpec {
	readonly partition: Partition;
	readonly offset: number;
	readonly maxBytes: number;
	readonly waitMs: number;
}

export class Fetching {
	readonly #connection: Connection;
	readonly #id: number;
	readonly #spec: FetchSpec;
	#timer: Timer | undefined;
	#unwatch: (() => void) | undefined;

	constructor(connection: Connection, id: number, spec: FetchSpec) {
		this.#connection = connection;
		this.#id = id;
		this.#spec = spec;
	}

	/** Throws BrokerError OFFSET_OUT_OF_RANGE. */
	start(): void {
		const { partition, offset, waitMs } = this.#spec;
		if (offset < partition.logStartOffset || offset > partition.lastStableOffset) {
			throw new BrokerError(
				"OFFSET_OUT_OF_RANGE",
				`${partition.topic}-${partition.number} holds offsets ${partition.logStartOffset} to ${partition.lastStableOffset - 1}; ` +
					`${offset} is not among them`,
			);
		}
		if (offset < partition.lastStableOffset || waitMs === 0) {
			this.answerNow();
			return;
		}
		this.#connection.waiting.add(this);
		this.#unwatch = partition.watch(this);
		this.#timer = this.#connection.host.broker.clock.after(waitMs, () => this.answerNow());
	}

	/** Called by the partition after a commit. */
	advanced(partition: Partition): void {
		if (partition.lastStableOffset > this.#spec.offset) this.answerNow();
	}

	/** Answers with what there is. */
	answerNow(): void {
		this.cancel();
		this.#readInTurn().catch((error: unknown) => this.#connection.refuse(this.#id, error));
	}

	/** Rejects with OFFSET_NOT_AVAILABLE, and others of `Partition.read`, after which the client may ask again. */
	#readInTurn(): Promise<void> {
		const { partition, offset } = this.#spec;
		const connection = this.#connection;
		if (offset >= partition.localStartOffset)
			return connection.inTurn(() =>
				this.#read((maxBytes) => partition.read(offset, maxBytes, undefined, undefined, 0)),
			);
		// Its turn included.
		const patience = new Patience(connection.host.broker.clock, TIERED_PATIENCE_MS);
		return connection.tiered.run(() => this.#read((maxBytes) => readTiered(partition, offset, maxBytes, patience)));
	}

	/** Stops waiting, without an answer. */
	cancel(): void {
		this.#timer?.cancel();
		this.#unwatch?.();
		this.#timer = undefined;
		this.#unwatch = undefined;
		this.#connection.waiting.delete(this);
	}

	async #read(read: (maxBytes: number) => Promise<Buffer>): Promise<void> {
		await this.#connection.whenWritable();
		if (this.#connection.closed) return;
		const { partition, offset } = this.#spec;
		const frameBytes = this.#connection.peerFrameBytes - RECORDS_FRAME_OVERHEAD;
		const maxBytes = Math.min(this.#spec.maxBytes, frameBytes);
		const batches = offset < partition.lastStableOffset ? await read(maxBytes) : EMPTY;
		const chunk = encodeRecords([batches], {
			partition,
			from: offset,
			end: partition.lastStableOffset,
			maxRecords: Number.POSITIVE_INFINITY,
			softBytes: maxBytes,
			hardBytes: frameBytes,
		});
		if (chunk.count === 0 && chunk.tooLarge !== undefined) throw chunk.tooLarge;
		const writer = new CborWriter(chunk.bytes.length + RECORDS_FRAME_OVERHEAD).beginMessage(MESSAGE.FETCH, this.#id);
		writer.map(4).uint(0).array(chunk.count).raw(chunk.bytes);
		writer.uint(1).uint(partition.lastStableOffset).uint(2).uint(partition.logStartOffset).uint(3).uint(chunk.next);
		this.#connection.answerWith(writer.endFrame().take());
	}
}

const EMPTY = Buffer.alloc(0);

/**
 * A partition's leader epochs: from which offset on which epoch counted. A gateway never elects anybody, so a partition
 * has one epoch, 0, for good; only who was restored from an object store begins a new one, at the first offset that he gives
 * out himself. By that a client that had read further than what was restored finds out that those records are gone.
 * Unchangeable: an epoch never begins while a partition is open.
 */

/** An epoch that counts from `startOffset` on, up to where the next one begins. */
export interface LeaderEpoch {
	readonly epoch: number;
	readonly startOffset: number;
}

export class LeaderEpochs {
	/** Of a partition that was never restored: one for all of them. */
	static readonly FIRST = new LeaderEpochs([{ epoch: 0, startOffset: 0 }]);

	/** Ascending in both; one at least. The first may begin behind the log's start: what is before it counts as its own. */
	readonly list: readonly LeaderEpoch[];

	private constructor(list: readonly LeaderEpoch[]) {
		this.list = list;
	}

	/** `list` as in `list`; of none it is FIRST. Throws RangeError where it is not ascending. */
	static of(list: readonly LeaderEpoch[]): LeaderEpochs {
		if (list.length === 0) return LeaderEpochs.FIRST;
		let before: LeaderEpoch = { epoch: -1, startOffset: -1 };
		for (const each of list) {
			if (each.epoch <= before.epoch || each.startOffset <= before.startOffset)
				throw new RangeError(
					`leader epoch ${each.epoch} from offset ${each.startOffset} on, behind ${before.epoch} from ${before.startOffset} on`,
				);
			before = each;
		}
		return new LeaderEpochs(list);
	}

	/** The epoch that counts now. */
	get current(): number {
		return (this.list.at(-1) as LeaderEpoch).epoch;
	}

	/** The epoch of the record at `offset`, or of the one that will be there. */
	at(offset: number): number {
		return (this.list[this.#indexAt(offset)] as LeaderEpoch).epoch;
	}

	/** With `epoch`, greater than the current one, from `startOffset` on. An epoch in which nothing was written is forgotten. Throws RangeError. */
	begin(epoch: number, startOffset: number): LeaderEpochs {
		if (epoch <= this.current) throw new RangeError(`leader epoch ${epoch} after ${this.current}`);
		return LeaderEpochs.of([...this.list.filter((each) => each.startOffset < startOffset), { epoch, startOffset }]);
	}

	/** Those of the records from `from` on and before `to`: the first as if it began at `from`. */
	within(from: number, to: number): LeaderEpoch[] {
		const found: LeaderEpoch[] = [];
		for (let i = this.#indexAt(from); i < this.list.length; i++) {
			const { epoch, startOffset } = this.list[i] as LeaderEpoch;
			if (found.length > 0 && startOffset >= to) break;
			found.push({ epoch, startOffset: Math.max(from, startOffset) });
		}
		return found;
	}

	/**
	 * How far records went that were written in `epoch` or before, in a log from `logStartOffset` up to `endOffset`: what Kafka
	 * answers to OffsetForLeaderEpoch (LeaderEpochFileCache.endOffsetFor). `epoch` in the answer is the newest such epoch of
	 * which there is something; undefined where there is nothing to say: `epoch` is none, or is still to come.
	 */
	endOf(
		epoch: number,
		logStartOffset: number,
		endOffset: number,
	): { readonly epoch: number; readonly endOffset: number } | undefined {
		if (epoch < 0 || epoch > this.current) return undefined;
		if (epoch === this.current) return { epoch, endOffset };
		// With the records before the log's start Kafka forgets their epochs.
		const first = this.#indexAt(logStartOffset);
		let next = first;
		while ((this.list[next] as LeaderEpoch).epoch <= epoch) next += 1;
		const startOffset = (this.list[next] as LeaderEpoch).startOffset;
		if (next === first) return { epoch, endOffset: Math.max(startOffset, logStartOffset) };
		return { epoch: (this.list[next - 1] as LeaderEpoch).epoch, endOffset: startOffset };
	}

	/** There are as many as there were restorations: a handful. */
	#indexAt(offset: number): number {
		let i = this.list.length - 1;
		while (i > 0 && (this.list[i] as LeaderEpoch).startOffset > offset) i -= 1;
		return i;
	}
}

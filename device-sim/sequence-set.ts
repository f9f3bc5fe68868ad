/**
 * A set of sequence numbers that is small when they come nearly in order: sorted, disjoint ranges. A
 * device that lost nothing is one range, however many events it sent, so millions of events verify in
 * little memory. Adding at the end is constant time; anywhere else, a binary search and a shift.
 */
export class SequenceSet {
	/** [start, end) pairs, flat: start0, end0, start1, end1, ... */
	readonly #bounds: number[] = [];
	#size = 0;

	/** How many numbers are in the set. */
	get size(): number {
		return this.#size;
	}

	/** Highest number in the set; -1 when it is empty. */
	get highest(): number {
		return this.#bounds.length === 0 ? -1 : this.#bounds[this.#bounds.length - 1]! - 1;
	}

	/** Adds `number`; false when it was there already. */
	add(number: number): boolean {
		const bounds = this.#bounds;
		const last = bounds.length - 1;
		if (last < 0 || number > bounds[last]!) bounds.push(number, number + 1);
		else if (number === bounds[last]) bounds[last] = number + 1;
		else if (!this.#insert(number)) return false;
		this.#size++;
		return true;
	}

	has(number: number): boolean {
		return (this.#boundsUpTo(number) & 1) === 1;
	}

	/** The ranges, ascending, each from `start` up to, not including, `end`. */
	*ranges(): Generator<{ start: number; end: number }> {
		for (let i = 0; i < this.#bounds.length; i += 2) yield { start: this.#bounds[i]!, end: this.#bounds[i + 1]! };
	}

	/** What is in this set and not in `other`, as ranges. */
	*without(other: SequenceSet): Generator<{ start: number; end: number }> {
		const theirs = other.#bounds;
		let at = 0;
		for (const { start, end } of this.ranges()) {
			let from = start;
			while (at < theirs.length && theirs[at + 1]! <= from) at += 2;
			let look = at;
			while (from < end && look < theirs.length && theirs[look]! < end) {
				if (theirs[look]! > from) yield { start: from, end: theirs[look]! };
				from = Math.max(from, theirs[look + 1]!);
				look += 2;
			}
			if (from < end) yield { start: from, end };
		}
	}

	/** How many bounds are at or below `number`: odd when it lies inside a range. */
	#boundsUpTo(number: number): number {
		const bounds = this.#bounds;
		let low = 0;
		let high = bounds.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (bounds[middle]! <= number) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	#insert(number: number): boolean {
		const bounds = this.#bounds;
		const after = this.#boundsUpTo(number);
		if ((after & 1) === 1) return false;
		const joinsLower = after > 0 && bounds[after - 1] === number;
		const joinsUpper = after < bounds.length && bounds[after] === number + 1;
		if (joinsLower && joinsUpper) bounds.splice(after - 1, 2);
		else if (joinsLower) bounds[after - 1] = number + 1;
		else if (joinsUpper) bounds[after] = number;
		else bounds.splice(after, 0, number, number + 1);
		return true;
	}
}

/** "Did you mean": which known name a mistaken one is nearest to. */

/** Edits (insert, delete, replace, swap of neighbours) from `a` to `b`: optimal string alignment. */
export function editDistance(a: string, b: string): number {
	let before: number[] = [];
	let row = Array.from({ length: b.length + 1 }, (_, i) => i);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const same = a[i - 1] === b[j - 1] ? 0 : 1;
			let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same);
			if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
			next.push(cost);
		}
		before = row;
		row = next;
	}
	return row[b.length]!;
}

/**
 * The nearest of `names`: one that ends in what was written (a Kafka topic setting such as `retention.ms` for
 * `log.retention.ms`), else the one with the fewest edits, if those are fewer than half of its letters.
 */
export function nearest(written: string, names: readonly string[]): string | undefined {
	const ending = written === "" ? undefined : names.find((name) => name.endsWith(`.${written}`));
	if (ending !== undefined) return ending;
	let best: string | undefined;
	let fewest = Number.POSITIVE_INFINITY;
	for (const name of names) {
		const edits = editDistance(written, name);
		if (edits < fewest) {
			fewest = edits;
			best = name;
		}
	}
	return best !== undefined && fewest * 2 < Math.max(best.length, written.length) ? best : undefined;
}

/** Whether the catalog knows where in the object store each record is that is not kept here. What the store has, it does not ask. */
import type { PartitionRow } from "../catalog/partition-rows.ts";
import type { TierCatalog } from "../catalog/tier-catalog.ts";

const RANGES_AT_ONCE = 256;

/** A line for each run of offsets that neither the partition's own files nor the object store have. */
export function* tierHoles(tier: TierCatalog, row: PartitionRow, name: string): Generator<string> {
	let next = row.logStartOffset;
	for (let from = 0; next < row.localStartOffset; ) {
		const ranges = tier.ranges(row.id, from, RANGES_AT_ONCE);
		for (const { baseOffset, nextOffset } of ranges) {
			if (baseOffset > next)
				yield `${name}: offsets ${next} to ${baseOffset - 1} are neither here nor in the object store`;
			next = Math.max(next, nextOffset);
		}
		const last = ranges.at(-1);
		if (last === undefined) break;
		from = last.baseOffset + 1;
	}
	if (next < row.localStartOffset)
		yield `${name}: offsets ${next} to ${row.localStartOffset - 1} are neither here nor in the object store`;
}

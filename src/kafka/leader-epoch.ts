/** Leader epochs, as clients check them: here there is one node, which leads every partition; an epoch begins where a partition was restored. */
import { BrokerError } from "../base/errors.ts";
import type { Partition } from "../log/partition.ts";

/** What to say to a client that takes `epoch` (negative: none) for the partition's. */
export function checkLeaderEpoch(
	{ epochs: { current }, topic, number }: Partition,
	epoch: number,
): BrokerError | undefined {
	if (epoch < 0 || epoch === current) return undefined;
	const code = epoch < current ? "FENCED_LEADER_EPOCH" : "UNKNOWN_LEADER_EPOCH";
	return new BrokerError(code, `the leader epoch of ${topic}-${number} is ${current}, not ${epoch}`);
}

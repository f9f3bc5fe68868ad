/** Leader epochs, as clients check them: here there is one node, which leads every partition in epoch 0. */
import { BrokerError } from "../base/errors.ts";

export const LEADER_EPOCH = 0;

/** What to say to a client that takes `epoch` (negative: none) for the partition's. */
export function checkLeaderEpoch(epoch: number): BrokerError | undefined {
	if (epoch <= LEADER_EPOCH) return undefined;
	return new BrokerError("UNKNOWN_LEADER_EPOCH", `the leader epoch is ${LEADER_EPOCH}, not ${epoch}`);
}

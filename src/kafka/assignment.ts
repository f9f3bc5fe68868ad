/** Which nodes a client wants a partition's replicas on: here there is only one. */
import { BrokerError } from "../base/errors.ts";

/** Throws INVALID_REPLICA_ASSIGNMENT unless it is this node and no other. */
export function checkReplicas(brokerIds: readonly number[], nodeId: number): void {
	if (brokerIds.length === 0) throw refused("a partition without any replica");
	const other = brokerIds.find((id) => id !== nodeId);
	if (other !== undefined) throw refused(`a replica on node ${other}: there is only node ${nodeId}`);
	if (brokerIds.length > 1) throw refused(`more than one replica on node ${nodeId}`);
}

function refused(what: string): BrokerError {
	return new BrokerError("INVALID_REPLICA_ASSIGNMENT", what);
}

/** ListPartitionReassignments: with one node there are none. */
import { api } from "../api.ts";
import {
	ListPartitionReassignmentsRequest,
	ListPartitionReassignmentsResponse,
} from "../protocol/messages/46-list-partition-reassignments.ts";

export const listPartitionReassignments = api({
	request: ListPartitionReassignmentsRequest,
	response: ListPartitionReassignmentsResponse,
	versions: [0, 0],
	handle: () => ({ errorMessage: null, topics: [] }),
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage, topics: [] }),
});

/** CreatePartitions: more partitions for topics that there are. */
import { BrokerError } from "../../base/errors.ts";
import type { Topics } from "../../broker/topics.ts";
import { api } from "../api.ts";
import { checkReplicas } from "../assignment.ts";
import { outcomeOf, repeated } from "../outcome.ts";
import { CreatePartitionsRequest, CreatePartitionsResponse } from "../protocol/messages/37-create-partitions.ts";
import type { DecodedOf } from "../protocol/schema.ts";
import { Turns } from "../turns.ts";

type Wanted = DecodedOf<typeof CreatePartitionsRequest>["topics"][number];

export const createPartitions = api({
	request: CreatePartitionsRequest,
	response: CreatePartitionsResponse,
	versions: [0, 3],
	async handle({ topics: wanted, validateOnly }, { services: { broker, options } }) {
		const turns = new Turns(broker.clock);
		const twice = repeated(wanted.map(({ name }) => name));
		const results = new Map<string, { name: string; errorCode: number; errorMessage: string | null }>();
		for (const each of wanted) {
			const turn = turns.next();
			if (turn !== undefined) await turn;
			const { name, count } = each;
			if (results.has(name)) continue;
			const outcome = outcomeOf(() => {
				if (twice.has(name)) throw new BrokerError("INVALID_REQUEST", `topic ${name} is in the request more than once`);
				check(each, broker.topics, options.nodeId);
				if (validateOnly) broker.topics.checkChanges(name, { partitions: count });
				else broker.topics.alter(name, { partitions: count });
			});
			results.set(name, { name, ...outcome });
		}
		return { results: [...results.values()] };
	},
	refuse: ({ topics }, errorCode, errorMessage) => ({
		results: topics.map(({ name }) => ({ name, errorCode, errorMessage })),
	}),
});

/** Throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT. */
function check({ name, count, assignments }: Wanted, topics: Topics, nodeId: number): void {
	const topic = topics.get(name);
	if (topic === undefined)
		throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${JSON.stringify(name)}`);
	const before = topic.partitions.length;
	if (count <= before)
		throw new BrokerError(
			"INVALID_PARTITIONS",
			`topic ${name} has ${before} partitions already: more than that would be right, not ${count}`,
		);
	if (assignments === null) return;
	if (assignments.length !== count - before)
		throw new BrokerError(
			"INVALID_REPLICA_ASSIGNMENT",
			`${assignments.length} assignments for ${count - before} new partitions of topic ${name}`,
		);
	for (const { brokerIds } of assignments) checkReplicas(brokerIds, nodeId);
}

/** DeleteTopics: by name or by id. */
import { BrokerError } from "../../base/errors.ts";
import type { Topic, Topics } from "../../broker/topics.ts";
import { api } from "../api.ts";
import { DONE, outcomeOf, repeated } from "../outcome.ts";
import { DeleteTopicsRequest, DeleteTopicsResponse } from "../protocol/messages/20-delete-topics.ts";
import { type DecodedOf, type EncodableOf, ZERO_UUID } from "../protocol/schema.ts";
import { Turns } from "../turns.ts";

type Request = DecodedOf<typeof DeleteTopicsRequest>;
type Wanted = Request["topics"][number];
type Answer = NonNullable<EncodableOf<typeof DeleteTopicsResponse>["responses"]>[number];

export const deleteTopics = api({
	request: DeleteTopicsRequest,
	response: DeleteTopicsResponse,
	versions: [1, 6],
	async handle(request, { services: { broker, options } }) {
		const turns = new Turns(broker.clock);
		const { topics } = broker;
		const wanted = wantedOf(request);
		const found = wanted.map((each) => find(topics, each));
		const keyOf = (i: number): string => found[i]?.id ?? `${wanted[i]?.name} ${wanted[i]?.topicId}`;
		const twice = repeated(wanted.map((_, i) => keyOf(i)));
		const answered = new Set<string>();
		const responses: Answer[] = [];
		for (const [i, each] of wanted.entries()) {
			const turn = turns.next();
			if (turn !== undefined) await turn;
			// The name may be another topic's by now.
			const topic = topics.getById(found[i]?.id ?? "");
			const key = keyOf(i);
			if (answered.has(key)) continue;
			answered.add(key);
			const outcome = outcomeOf(() => {
				if (!options.deleteTopics)
					throw new BrokerError("TOPIC_DELETION_DISABLED", "delete.topic.enable is false on this gateway");
				if (twice.has(key)) throw new BrokerError("INVALID_REQUEST", "a topic may be in the request only once");
				topics.delete(known(each, topic).name);
			});
			responses.push({
				name: outcome === DONE ? (topic?.name ?? null) : each.name,
				topicId: outcome === DONE ? (topic?.id ?? ZERO_UUID) : each.topicId,
				...outcome,
			});
		}
		return { responses };
	},
	refuse: (request, errorCode, errorMessage) => ({
		responses: wantedOf(request).map(({ name, topicId }) => ({ name, topicId, errorCode, errorMessage })),
	}),
});

function wantedOf({ topics, topicNames }: Request): Wanted[] {
	return [...topics, ...topicNames.map((name) => ({ name, topicId: ZERO_UUID }))];
}

/** What is named by both, or by neither, is nothing. */
function find(topics: Topics, { name, topicId }: Wanted): Topic | undefined {
	if (name === null) return topics.getById(topicId);
	return topicId === ZERO_UUID ? topics.get(name) : undefined;
}

/** Throws INVALID_REQUEST, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION. */
function known({ name, topicId }: Wanted, topic: Topic | undefined): Topic {
	if ((name === null) === (topicId === ZERO_UUID))
		throw new BrokerError("INVALID_REQUEST", "a topic must be named, or given by its id, and not both");
	if (topic !== undefined) return topic;
	if (name === null) throw new BrokerError("UNKNOWN_TOPIC_ID", `there is no topic with id ${topicId}`);
	throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${JSON.stringify(name)}`);
}

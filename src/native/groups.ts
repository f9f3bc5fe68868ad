/** The requests about consumer groups: which there are, where they stand, and to put them elsewhere. */
import { BrokerError } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import { assignedPartitions } from "../broker/groups/subscription.ts";
import type { Body } from "./codec/requests.ts";
import type { CborValue } from "./codec/writer.ts";
import { partitionOf } from "./positions.ts";
import { topicNamed } from "./topics.ts";

type Fields = ReadonlyMap<number, CborValue>;
type Place = [topic: string, partition: number, offset: number];

const NOTHING: Fields = new Map();

export function listGroups({ groups }: Broker): Fields {
	const list = groups.list().map(({ group, state, protocolType }): CborValue => [group, state, protocolType]);
	return new Map<number, CborValue>([[0, list]]);
}

/** Throws GROUP_ID_NOT_FOUND. */
export function describeGroup(broker: Broker, body: Body): Fields {
	const { groups } = broker;
	const name = body.get(0) as string;
	const described = groups.describe(name);
	if (described === undefined)
		throw new BrokerError(
			"GROUP_ID_NOT_FOUND",
			`there is no group ${name}; \`headwater group list\` shows those there are`,
		);
	const isConsumer = described.protocolType === "consumer";
	const members = described.members.map((member) => ({
		...member,
		assigned: (isConsumer ? assignedPartitions(member.assignment) : undefined) ?? [],
	}));
	const places = new Map<string, CborValue>();
	for (const { topic, partition, committed } of groups.offsets.all(name))
		places.set(`${topic} ${partition}`, placeOf(broker, topic, partition, committed));
	for (const { assigned } of members)
		for (const [topic, partitions] of assigned)
			for (const partition of partitions)
				if (!places.has(`${topic} ${partition}`) && broker.topics.get(topic)?.partitions[partition] !== undefined)
					places.set(`${topic} ${partition}`, placeOf(broker, topic, partition, undefined));
	return new Map<number, CborValue>([
		[0, name],
		[1, described.state],
		[2, described.protocolType],
		[3, described.protocolName],
		[4, members.map((each) => [each.memberId, each.instanceId, each.clientId, each.clientHost, each.assigned])],
		[5, [...places.values()]],
	]);
}

function placeOf(
	broker: Broker,
	topic: string,
	partition: number,
	committed: { readonly offset: number; readonly metadata: string } | undefined,
): CborValue {
	const { logStartOffset = 0, highWatermark = 0 } = broker.topics.get(topic)?.partitions[partition] ?? {};
	// A client may have committed what is no offset; there is nothing there.
	const offset = committed === undefined || committed.offset < 0 ? null : committed.offset;
	return [topic, partition, offset, committed?.metadata ?? "", logStartOffset, highWatermark];
}

/** Answered when it is durable. Throws NON_EMPTY_GROUP, UNKNOWN_TOPIC_OR_PARTITION. */
export function setGroupOffsets(broker: Broker, body: Body): Promise<Fields> {
	const { groups, log, clock } = broker;
	const name = body.get(0) as string;
	const entries = (body.get(1) as Place[]).map(([topic, partition, offset]) => {
		partitionOf(topicNamed(broker, topic), partition);
		return { topic, partition, offset, leaderEpoch: -1, metadata: "" };
	});
	if ((groups.describe(name)?.state ?? "Empty") !== "Empty")
		throw new BrokerError("NON_EMPTY_GROUP", `group ${name} has members: stop its consumers first`);
	log.group(groups.offsets.bytesOf(name, entries), () => groups.offsets.commit(name, entries, clock.now()));
	return log.whenCommitted().then(() => NOTHING);
}

/** Answered when it is durable. Throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND. */
export function deleteGroup({ groups, log }: Broker, body: Body): Promise<Fields> {
	groups.delete(body.get(0) as string);
	return log.whenCommitted().then(() => NOTHING);
}

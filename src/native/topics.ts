/** The requests that are answered at once: topics, offsets, and what a subscribe asks for. */
import { BrokerError } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import type { Topic } from "../broker/topics.ts";
import { topicInfo } from "./answers.ts";
import { POSITION } from "./codec/protocol.ts";
import type { Body } from "./codec/requests.ts";
import type { CborValue } from "./codec/writer.ts";
import { type FindTime, findTime, type Position, partitionOf, resolve } from "./positions.ts";
import type { Cursor, SubscriptionSpec } from "./subscription.ts";

type Fields = ReadonlyMap<number, CborValue>;

export function topicNamed(broker: Broker, name: string): Topic {
	const topic = broker.topics.get(name);
	if (topic !== undefined) return topic;
	throw new BrokerError(
		"UNKNOWN_TOPIC_OR_PARTITION",
		`there is no topic ${name}; \`headwater topic list\` shows those there are`,
	);
}

export function listTopics(broker: Broker): Fields {
	return new Map<number, CborValue>([[0, broker.topics.list().map(topicInfo)]]);
}

export function createTopic(broker: Broker, body: Body): Fields {
	const partitions = body.get(1) as number | undefined;
	const config = body.get(2) as Map<string, string> | undefined;
	const ifNotExists = body.get(3) as boolean | undefined;
	return topicInfo(
		broker.topics.create({
			name: body.get(0) as string,
			...(partitions === undefined ? {} : { partitions }),
			...(config === undefined ? {} : { config: configOf(config) }),
			...(ifNotExists === undefined ? {} : { ifNotExists }),
		}),
	);
}

export function describeTopic(broker: Broker, body: Body): Fields {
	const name = body.get(0) as string;
	topicNamed(broker, name);
	const described = broker.topics.describe(name);
	return new Map<number, CborValue>([
		[0, topicInfo(described.topic)],
		[1, described.configs.map((c): CborValue => [c.name, c.value, c.isDefault, c.documentation])],
		[
			2,
			described.partitions.map((p) => [
				p.number,
				p.logStartOffset,
				p.highWatermark,
				p.endOffset,
				p.sizeBytes,
				p.segments,
			]),
		],
		// A list of its own: who does not know it has the one above as it always was.
		[3, described.partitions.map((p) => [p.number, p.localStartOffset, p.tieredOffset])],
	]);
}

export function alterTopic(broker: Broker, body: Body): Fields {
	const partitions = body.get(1) as number | undefined;
	const set = body.get(2) as Map<string, string> | undefined;
	const unset = body.get(3) as string[] | undefined;
	return topicInfo(
		broker.topics.alter(body.get(0) as string, {
			...(partitions === undefined ? {} : { partitions }),
			...(set === undefined ? {} : { set: configOf(set) }),
			...(unset === undefined ? {} : { unset }),
		}),
	);
}

export function offsetsAt(broker: Broker, body: Body): Fields | Promise<Fields> {
	const topic = topicNamed(broker, body.get(0) as string);
	const answer = (offsets: number[]) =>
		new Map<number, CborValue>([[0, topic.partitions.map((partition, i) => [partition.number, offsets[i] as number])]]);
	const found = resolve(topic.partitions, body.get(1) as Position, findTime(broker.clock));
	return Array.isArray(found) ? answer(found) : found.then(answer);
}

/** At once but for a start by time, so that `latest` is where the log ends when the request is read. */
export function subscriptionSpec(
	broker: Broker,
	body: Body,
	find: FindTime,
): SubscriptionSpec | Promise<SubscriptionSpec> {
	const topic = topicNamed(broker, body.get(0) as string);
	const from = body.get(1) as Position;
	const numbers = body.get(4) as number[] | undefined;
	const until = body.get(5) as boolean | [number, number][] | undefined;
	const partitions = numbers === undefined ? topic.partitions : [...new Set(numbers)].map((n) => partitionOf(topic, n));
	if (from[0] === POSITION.OFFSETS) for (const [number] of from[1] as [number, number][]) partitionOf(topic, number);
	const givenEnds = Array.isArray(until) ? new Map(until) : undefined;
	const ends = partitions.map((partition) => {
		if (givenEnds !== undefined) return givenEnds.get(partition.number) ?? 0;
		return until === true ? partition.lastStableOffset : Number.POSITIVE_INFINITY;
	});
	const spec = (starts: number[]): SubscriptionSpec => ({
		topic,
		cursors: partitions.map(
			(partition, i): Cursor => ({ partition, next: starts[i] as number, end: ends[i] as number }),
		),
		credits: body.get(2) as number,
		byteCredits: (body.get(3) as number | undefined) ?? Number.POSITIVE_INFINITY,
		follows: numbers === undefined && (until === undefined || until === false),
	});
	const starts = resolve(partitions, from, find);
	return Array.isArray(starts) ? spec(starts) : starts.then(spec);
}

/** Where a subscription starts and, if it does, ends: [partition, start] or [partition, start, end]. */
export function subscriptionAnswer(spec: SubscriptionSpec): Fields {
	const places = spec.cursors.map(({ partition, next, end }) =>
		end === Number.POSITIVE_INFINITY ? [partition.number, next] : [partition.number, next, end],
	);
	return new Map<number, CborValue>([[0, places]]);
}

function configOf(entries: ReadonlyMap<string, string>): Record<string, string> {
	return Object.fromEntries(entries);
}

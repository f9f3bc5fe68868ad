/** Where `group reset` puts a group: from what the command line says to an offset for each partition. */
import type { Client } from "../native/client/client.ts";
import type { GroupDescription } from "../native/client/types.ts";
import { UsageError } from "./failure.ts";
import { wholeNumber } from "./options.ts";
import { parsePosition } from "./position.ts";

export interface ResetOptions {
	readonly topic?: readonly string[];
	readonly allTopics?: boolean;
	readonly toEarliest?: boolean;
	readonly toLatest?: boolean;
	readonly toOffset?: string;
	readonly toTime?: string;
	readonly shiftBy?: string;
}

export interface Move {
	readonly topic: string;
	readonly partition: number;
	/** null: none was committed. */
	readonly from: number | null;
	readonly to: number;
}

type Place = GroupDescription["partitions"][number];
type Target = (place: Place) => number;

/** `jobs` is all partitions of a topic, `jobs:0,2` two of them. Throws UsageError. */
function parseTopic(text: string): { topic: string; partitions: readonly number[] | undefined } {
	const [topic = "", list, ...rest] = text.split(":");
	if (topic === "" || list === "" || rest.length > 0)
		throw new UsageError(`--topic ${JSON.stringify(text)} is not TOPIC or TOPIC:PARTITION,PARTITION`);
	return { topic, partitions: list?.split(",").map(wholeNumber("--topic's partition", 0)) };
}

/** The place of each partition that is to be moved, and what it is to become. */
export async function plan(client: Client, group: GroupDescription, options: ResetOptions): Promise<Move[]> {
	const given = ["toEarliest", "toLatest", "toOffset", "toTime", "shiftBy"] as const;
	if (given.filter((name) => options[name] !== undefined).length !== 1)
		throw new UsageError("say where to: one of --to-earliest, --to-latest, --to-offset, --to-time, --shift-by");
	if ((options.topic === undefined) === (options.allTopics === undefined))
		throw new UsageError("say which topics: --topic TOPIC, which may be repeated, or --all-topics");
	const moves: Move[] = [];
	const byTopic = options.topic === undefined ? committedTopics(group) : options.topic.map(parseTopic);
	for (const { topic, partitions } of byTopic) {
		const target = await targetOf(client, topic, options);
		const committed = new Map(
			group.partitions.filter((place) => place.topic === topic).map((p) => [p.partition, p.offset]),
		);
		const { partitions: existing } = await client.topics.describe(topic);
		for (const { number: partition, logStartOffset, highWatermark } of existing) {
			if (partitions === undefined ? options.allTopics && !committed.has(partition) : !partitions.includes(partition))
				continue;
			const from = committed.get(partition) ?? null;
			const place: Place = { topic, partition, offset: from, metadata: "", logStartOffset, highWatermark, lag: null };
			moves.push({ topic, partition, from, to: Math.min(Math.max(target(place), logStartOffset), highWatermark) });
		}
		const missing = partitions?.find((partition) => partition >= existing.length);
		if (missing !== undefined)
			throw new UsageError(`topic ${topic} has partitions 0 to ${existing.length - 1}, not ${missing}`);
	}
	return moves;
}

function committedTopics({ partitions }: GroupDescription): { topic: string; partitions: undefined }[] {
	return [...new Set(partitions.map(({ topic }) => topic))].map((topic) => ({ topic, partitions: undefined }));
}

async function targetOf(client: Client, topic: string, options: ResetOptions): Promise<Target> {
	if (options.toEarliest) return ({ logStartOffset }) => logStartOffset;
	if (options.toLatest) return ({ highWatermark }) => highWatermark;
	if (options.toOffset !== undefined) {
		const offset = wholeNumber("--to-offset", 0)(options.toOffset);
		return () => offset;
	}
	if (options.shiftBy !== undefined) {
		const by = wholeNumber("--shift-by", Number.MIN_SAFE_INTEGER)(options.shiftBy);
		return ({ offset, logStartOffset }) => (offset ?? logStartOffset) + by;
	}
	const position = parsePosition(options.toTime ?? "", Date.now());
	if (typeof position !== "object" || !("timestamp" in position) || typeof position.timestamp !== "number")
		throw new UsageError(`--to-time ${JSON.stringify(options.toTime)} is neither a time nor how long ago (-2h)`);
	const offsets = await client.offsets(topic, { timestamp: position.timestamp });
	const byPartition = new Map(offsets.map(({ partition, offset }) => [partition, offset]));
	return ({ partition, highWatermark }) => byPartition.get(partition) ?? highWatermark;
}

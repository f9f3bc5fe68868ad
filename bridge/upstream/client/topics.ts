/** What Metadata said of the central cluster's topics, as far as somebody asked. */
import type { DecodedOf } from "../../../src/kafka/protocol/schema.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import type { METADATA } from "./apis.ts";
import { ErrorCode } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";

export interface TopicMetadata {
	readonly name: string;
	/** ZERO_UUID where unknown. */
	readonly id: string;
	readonly errorCode: number;
	/** Node by partition; -1: none. */
	readonly leaders: readonly number[];
}

export type MetadataAnswer = DecodedOf<typeof METADATA.response>;
type TopicAnswer = MetadataAnswer["topics"][number];

interface Known extends TopicMetadata {
	/** Leader's epoch by partition; -1: unknown. */
	readonly epochs: readonly number[];
	/** By the monotonic clock; -Infinity: not to be relied upon. */
	askedMs: number;
}

export class Topics {
	readonly #known = new Map<string, Known>();

	get(name: string): TopicMetadata | undefined {
		return this.#known.get(name);
	}

	/** The answer to a question for `asked`. Throws LinkError where it cannot be right. */
	take(asked: readonly string[], answers: readonly TopicAnswer[], nowMs: number): void {
		const byName = new Map<string, TopicAnswer>();
		for (const answer of answers) if (answer.name !== null) byName.set(answer.name, answer);
		for (const name of asked) {
			const answer = byName.get(name);
			this.#known.set(name, answer === undefined ? unknown(name, nowMs) : this.#read(name, answer, nowMs));
		}
	}

	/** Until it is asked for again nobody leads any of its partitions. */
	forgetLeaders(name: string): void {
		const known = this.#known.get(name);
		if (known === undefined) return;
		this.#known.set(name, { ...known, leaders: known.leaders.map(() => -1), askedMs: Number.NEGATIVE_INFINITY });
	}

	/** What is known may not be right any more. */
	doubt(name: string): void {
		const known = this.#known.get(name);
		if (known !== undefined) known.askedMs = Number.NEGATIVE_INFINITY;
	}

	/** Those known that were asked for before `beforeMs`. */
	olderThan(beforeMs: number): string[] {
		const names: string[] = [];
		for (const { name, askedMs } of this.#known.values()) if (askedMs < beforeMs) names.push(name);
		return names;
	}

	#read(name: string, answer: TopicAnswer, askedMs: number): Known {
		const { topicId: id, errorCode, partitions } = answer;
		const before = this.#known.get(name);
		// A broker may be behind another one that was asked before; its epoch shows it. Not where the topic is another one.
		const comparable = before !== undefined && id !== ZERO_UUID && before.id === id ? before : undefined;
		const leaders: number[] = new Array(partitions.length).fill(-1);
		const epochs: number[] = new Array(partitions.length).fill(-1);
		for (const { partitionIndex: index, leaderId, leaderEpoch } of partitions) {
			if (index < 0 || index >= partitions.length) {
				throw new LinkError(
					"malformed",
					`the answer to Metadata has partition ${index} of topic ${name}, which has ${partitions.length}`,
				);
			}
			const known = comparable?.epochs[index] ?? -1;
			const isBehind = leaderEpoch >= 0 && leaderEpoch < known;
			leaders[index] = isBehind ? (comparable?.leaders[index] ?? -1) : leaderId;
			epochs[index] = isBehind ? known : leaderEpoch;
		}
		return { name, id, errorCode, leaders, epochs, askedMs };
	}
}

function unknown(name: string, askedMs: number): Known {
	return { name, id: ZERO_UUID, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, leaders: [], epochs: [], askedMs };
}

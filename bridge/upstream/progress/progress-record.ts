/**
 * What the progress topic of the central cluster has, for each gateway: who replicates under its name, and how far each of its
 * partitions has been sent. Keys and values are text, JSON where there is more than one thing to say, so that people can read
 * them with what they have. docs/upstream.md describes them for other programs.
 *
 *     owner/<gateway>                    -> {"session", "identity", "incarnation", "writer", "startedMs"}
 *     sent/<gateway>/<topic>/<partition> -> {"next", "gaps", "epoch", "incarnation", "topicId", "to", "toId"}
 */
import { type Position, type PositionText, positionText, readPosition } from "../position.ts";

/** Who replicates under a gateway's name. */
export interface Owner {
	/** Random, of one run of the gateway's program. */
	readonly session: string;
	/** Of the data directory. */
	readonly identity: string;
	readonly incarnation: number;
}

/** How far a partition has been sent. */
export interface Sent {
	readonly position: Position;
	/** Leader epoch of the record before `position.next`, and the gateway's incarnation then. */
	readonly epoch: number;
	readonly incarnation: number;
	/** Of the topic here. */
	readonly topicId: string;
	/** Of the topic in the central cluster: its name and its id. */
	readonly to: string;
	readonly toId: string;
}

export interface ProgressRecord {
	readonly key: Buffer;
	readonly value: Buffer;
}

/** A record of the progress topic that is about `gateway`. */
export type ProgressEntry =
	| { readonly kind: "owner"; readonly owner: Owner }
	| { readonly kind: "sent"; readonly topic: string; readonly partition: number; readonly sent: Sent };

/** A partition of a topic here, as progress is looked up by. */
export function sentKey(topic: string, partition: number): string {
	return `${topic}/${partition}`;
}

export function ownerRecord(
	gateway: string,
	owner: Owner,
	about: { writer: string; startedMs: number },
): ProgressRecord {
	return record(ownerKey(gateway), { ...owner, ...about });
}

export function sentRecord(gateway: string, topic: string, partition: number, sent: Sent): ProgressRecord {
	const { position, ...rest } = sent;
	return record(`sent/${gateway}/${sentKey(topic, partition)}`, {
		...positionText(position),
		...rest,
	} satisfies PositionText & object);
}

/** Which partition of the progress topic a gateway's records are in follows from this. */
export function ownerKey(gateway: string): string {
	return `owner/${gateway}`;
}

function record(key: string, value: object): ProgressRecord {
	return { key: Buffer.from(key), value: Buffer.from(JSON.stringify(value)) };
}

/** undefined where it is about another gateway. Throws RangeError where it is about this one and says nothing that can be understood. */
export function readProgress(gateway: string, key: Buffer | null, value: Buffer | null): ProgressEntry | undefined {
	if (key === null || value === null) return undefined;
	const name = key.toString("utf8");
	if (name === ownerKey(gateway)) {
		const { session, identity, incarnation } = fields(name, value);
		if (typeof session !== "string" || typeof identity !== "string" || !Number.isSafeInteger(incarnation))
			throw unreadable(name, value);
		return { kind: "owner", owner: { session, identity, incarnation: incarnation as number } };
	}
	const prefix = `sent/${gateway}/`;
	if (!name.startsWith(prefix)) return undefined;
	const [topic, number, ...more] = name.slice(prefix.length).split("/");
	const partition = Number(number);
	if (topic === undefined || more.length > 0 || !/^\d+$/.test(number ?? "")) throw unreadable(name, value);
	const { epoch, incarnation, topicId, to, toId, ...rest } = fields(name, value);
	const position = readPosition(rest);
	if (
		position === undefined ||
		!Number.isSafeInteger(epoch) ||
		!Number.isSafeInteger(incarnation) ||
		typeof topicId !== "string" ||
		typeof to !== "string" ||
		typeof toId !== "string"
	)
		throw unreadable(name, value);
	const sent = { position, epoch: epoch as number, incarnation: incarnation as number, topicId, to, toId };
	return { kind: "sent", topic, partition, sent };
}

function fields(name: string, value: Buffer): Record<string, unknown> {
	try {
		const parsed: unknown = JSON.parse(value.toString("utf8"));
		if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
	} catch {
		// said below
	}
	throw unreadable(name, value);
}

function unreadable(name: string, value: Buffer): RangeError {
	return new RangeError(`record ${name} of the progress topic cannot be read: ${value.toString("utf8").slice(0, 200)}`);
}

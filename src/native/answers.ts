/** Frames that the gateway sends. */
import { BrokerError } from "../base/errors.ts";
import type { Topic } from "../broker/topics.ts";
import { MESSAGE, ProtocolError, WIRE_ERRORS } from "./codec/protocol.ts";
import { type CborValue, CborWriter } from "./codec/writer.ts";

/** A whole frame around a body that is CBOR already. */
export function frameOf(type: number, id: number, body: Buffer): Buffer {
	return new CborWriter(body.length + 16).beginMessage(type, id).raw(body).endFrame().take();
}

/** A whole frame; the body's keys are integers. */
export function answerFrame(type: number, id: number, body: ReadonlyMap<number, CborValue>): Buffer {
	return new CborWriter(128).beginMessage(type, id).value(body).endFrame().take();
}

export function errorBody(code: string, message: string): Buffer {
	const number = WIRE_ERRORS[code] ?? -1;
	// A peer's own words may be in the message: what it is told stays short.
	const text = message.length > 500 ? `${message.slice(0, 500)}...` : message;
	return new CborWriter(64).map(3).uint(0).int(number).uint(1).text(code).uint(2).text(text).take();
}

/** Request id 0: the connection ends with this. */
export function errorFrame(id: number, code: string, message: string): Buffer {
	return frameOf(MESSAGE.ERROR, id, errorBody(code, message));
}

/** What a peer may be told of an error: refusals word for word, anything else without its inner words. */
export function wireError(error: unknown): { code: string; message: string } {
	if (error instanceof BrokerError || error instanceof ProtocolError)
		return { code: error.code, message: error.message };
	return { code: "UNKNOWN_SERVER_ERROR", message: "the gateway failed at this request; its log says more" };
}

export function topicInfo(topic: Topic): ReadonlyMap<number, CborValue> {
	return new Map<number, CborValue>([
		[0, topic.name],
		[1, topic.id],
		[2, topic.partitions.length],
		[3, { ...topic.config }],
		[4, topic.createdMs],
	]);
}

/** CBOR as this protocol uses it has no undefined. */
export function withoutUndefined(value: object): CborValue {
	const entries = Object.entries(value).filter(([, item]) => item !== undefined);
	return Object.fromEntries(entries.map(([name, item]) => [name, plainItem(item)]));
}

function plainItem(item: unknown): CborValue {
	if (Array.isArray(item)) return item.map(plainItem);
	return typeof item === "object" && item !== null ? withoutUndefined(item) : (item as CborValue);
}

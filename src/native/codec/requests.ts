/** The shape of every request: docs/native-protocol.md, "Requests". */
import {
	MAX_CLIENT_ID_BYTES,
	MAX_CREDITS,
	MAX_IDLE_MS,
	MAX_RANGES,
	MAX_WAIT_MS,
	MESSAGE,
	MIN_FRAME_BYTES,
	MIN_IDLE_MS,
	POSITION,
	RESET_TO,
} from "./protocol.ts";
import { type BodyShape, checkShape, type Shape } from "./shape.ts";

const uint: Shape = { kind: "uint" };
const uint32: Shape = { kind: "uint", max: 0xffff_ffff };
const int32: Shape = { kind: "uint", max: 0x7fff_ffff };
const bool: Shape = { kind: "bool" };
/** Whether the name is one that a topic may have is the broker's to say. */
const topicName: Shape = { kind: "text", maxBytes: 1024 };
const bytesOrNull: Shape = { kind: "orNull", of: { kind: "bytes" } };

const record: Shape = {
	kind: "tuple",
	required: 2,
	of: [
		["key", bytesOrNull],
		["value", bytesOrNull],
		["timestamp", { kind: "orNull", of: uint }],
		[
			"headers",
			{
				kind: "array",
				of: {
					kind: "tuple",
					of: [
						["name", { kind: "text" }],
						["value", bytesOrNull],
					],
				},
			},
		],
	],
};

const group: Shape = {
	kind: "tuple",
	of: [
		["topic", topicName],
		["partition", { kind: "orNull", of: int32 }],
		["records", { kind: "array", of: record, min: 1 }],
	],
};

const partitionOffsets: Shape = {
	kind: "array",
	of: {
		kind: "tuple",
		of: [
			["partition", int32],
			["offset", uint],
		],
	},
};

const earliest: Shape = { kind: "tuple", of: [["kind", uint]] };
const withNumber: Shape = {
	kind: "tuple",
	of: [
		["kind", uint],
		["value", uint],
	],
};
const withOffsets: Shape = {
	kind: "tuple",
	of: [
		["kind", uint],
		["offsets", partitionOffsets],
	],
};

function body(fields: BodyShape["fields"]): BodyShape {
	return { kind: "body", fields };
}

const nameOnly = body({ 0: { name: "name", shape: topicName } });

/** As long as Kafka's protocol can say it. */
const groupName: Shape = { kind: "text", maxBytes: 32_767 };
const groupOnly = body({ 0: { name: "group", shape: groupName } });
const groupPlace: Shape = {
	kind: "tuple",
	of: [
		["topic", topicName],
		["partition", int32],
		["offset", uint],
	],
};

export const REQUESTS: Readonly<Record<number, { readonly name: string; readonly body: BodyShape }>> = {
	[MESSAGE.HELLO]: {
		name: "hello",
		body: body({
			0: { name: "lowest version", shape: uint32 },
			1: { name: "highest version", shape: uint32 },
			2: { name: "client id", shape: { kind: "text", minBytes: 1, maxBytes: MAX_CLIENT_ID_BYTES }, optional: true },
			3: { name: "software", shape: { kind: "text", maxBytes: 200 }, optional: true },
			4: { name: "token", shape: { kind: "text", maxBytes: 512 }, optional: true },
			5: { name: "idle time", shape: { kind: "uint", min: MIN_IDLE_MS, max: MAX_IDLE_MS }, optional: true },
			6: { name: "largest frame", shape: { kind: "uint", min: MIN_FRAME_BYTES, max: 0xffff_ffff }, optional: true },
			7: { name: "epoch", shape: { kind: "uint", min: 1, max: 0x7fff_ffff }, optional: true },
		}),
	},
	[MESSAGE.PRODUCE]: {
		name: "produce",
		body: body({
			0: { name: "groups", shape: { kind: "array", of: group, min: 1 } },
			1: { name: "sequence", shape: { kind: "uint", min: 1 }, optional: true },
		}),
	},
	[MESSAGE.FETCH]: {
		name: "fetch",
		body: body({
			0: { name: "topic", shape: topicName },
			1: { name: "partition", shape: int32 },
			2: { name: "offset", shape: uint },
			3: { name: "most bytes", shape: uint32, optional: true },
			4: { name: "wait", shape: { kind: "uint", max: MAX_WAIT_MS }, optional: true },
		}),
	},
	[MESSAGE.SUBSCRIBE]: {
		name: "subscribe",
		body: body({
			0: { name: "topic", shape: topicName },
			1: {
				name: "from",
				shape: {
					kind: "variant",
					of: {
						[POSITION.EARLIEST]: earliest,
						[POSITION.LATEST]: earliest,
						[POSITION.OFFSET]: withNumber,
						[POSITION.TIMESTAMP]: withNumber,
						[POSITION.OFFSETS]: withOffsets,
					},
				},
			},
			2: { name: "record credits", shape: { kind: "uint", max: MAX_CREDITS } },
			3: { name: "byte credits", shape: { kind: "uint", max: MAX_CREDITS }, optional: true },
			4: { name: "partitions", shape: { kind: "array", of: int32, min: 1 }, optional: true },
			5: { name: "until", shape: { kind: "oneOf", of: [bool, partitionOffsets] }, optional: true },
		}),
	},
	[MESSAGE.UNSUBSCRIBE]: {
		name: "unsubscribe",
		body: body({ 0: { name: "subscription", shape: uint32 } }),
	},
	[MESSAGE.CREDIT]: {
		name: "credit",
		body: body({
			0: { name: "records", shape: { kind: "uint", max: MAX_CREDITS } },
			1: { name: "bytes", shape: { kind: "uint", max: MAX_CREDITS }, optional: true },
		}),
	},
	[MESSAGE.OFFSETS]: {
		name: "offsets",
		body: body({
			0: { name: "topic", shape: topicName },
			1: {
				name: "at",
				shape: {
					kind: "variant",
					of: { [POSITION.EARLIEST]: earliest, [POSITION.LATEST]: earliest, [POSITION.TIMESTAMP]: withNumber },
				},
			},
		}),
	},
	[MESSAGE.TOPIC_LIST]: { name: "topic list", body: body({}) },
	[MESSAGE.TOPIC_CREATE]: {
		name: "topic create",
		body: body({
			0: { name: "name", shape: topicName },
			1: { name: "partitions", shape: int32, optional: true },
			2: { name: "config", shape: { kind: "textMap", max: 256 }, optional: true },
			3: { name: "if not exists", shape: bool, optional: true },
		}),
	},
	[MESSAGE.TOPIC_DESCRIBE]: { name: "topic describe", body: nameOnly },
	[MESSAGE.TOPIC_ALTER]: {
		name: "topic alter",
		body: body({
			0: { name: "name", shape: topicName },
			1: { name: "partitions", shape: int32, optional: true },
			2: { name: "set", shape: { kind: "textMap", max: 256 }, optional: true },
			3: { name: "unset", shape: { kind: "array", of: { kind: "text" }, max: 256 }, optional: true },
		}),
	},
	[MESSAGE.TOPIC_DELETE]: { name: "topic delete", body: nameOnly },
	[MESSAGE.STATUS]: { name: "status", body: body({}) },
	[MESSAGE.PING]: { name: "ping", body: body({}) },
	[MESSAGE.BYE]: {
		name: "bye",
		body: body({ 0: { name: "forget", shape: bool, optional: true } }),
	},
	[MESSAGE.GROUP_LIST]: { name: "group list", body: body({}) },
	[MESSAGE.GROUP_DESCRIBE]: { name: "group describe", body: groupOnly },
	[MESSAGE.GROUP_OFFSETS]: {
		name: "group offsets",
		body: body({
			0: { name: "group", shape: groupName },
			1: { name: "places", shape: { kind: "array", of: groupPlace, min: 1 } },
		}),
	},
	[MESSAGE.GROUP_DELETE]: { name: "group delete", body: groupOnly },
	[MESSAGE.TIER_STATUS]: { name: "tier status", body: body({}) },
	[MESSAGE.TIER_RUN]: { name: "tier run", body: body({}) },
	[MESSAGE.TIER_RANGES]: {
		name: "tier ranges",
		body: body({
			0: { name: "topic", shape: topicName, optional: true },
			1: { name: "after", shape: groupPlace, optional: true },
			2: { name: "most", shape: { kind: "uint", min: 1, max: MAX_RANGES }, optional: true },
		}),
	},
	[MESSAGE.TIER_VERIFY]: {
		name: "tier verify",
		body: body({ 0: { name: "deep", shape: bool, optional: true } }),
	},
	[MESSAGE.UPSTREAM_STATUS]: { name: "upstream status", body: body({}) },
	[MESSAGE.UPSTREAM_PAUSE]: { name: "upstream pause", body: body({}) },
	[MESSAGE.UPSTREAM_RESUME]: { name: "upstream resume", body: body({}) },
	[MESSAGE.UPSTREAM_RESET]: {
		name: "upstream reset",
		body: body({
			0: { name: "to", shape: { kind: "uint", max: RESET_TO.length - 1 } },
			1: { name: "topic", shape: topicName, optional: true },
			2: { name: "execute", shape: bool, optional: true },
		}),
	},
};

export type Body = ReadonlyMap<number, unknown>;

export interface Request {
	readonly type: number;
	/** 1 to 2^32 - 1. */
	readonly id: number;
	readonly body: Body;
}

const envelope: Shape = {
	kind: "tuple",
	of: [
		["type", uint32],
		["id", { kind: "uint", min: 1, max: 0xffff_ffff }],
		["body", { kind: "any" }],
	],
};

/** Checks a decoded frame; throws ProtocolError, INVALID_REQUEST or UNSUPPORTED_VERSION, for all that is not a request. */
export function readRequest(value: unknown): Request {
	checkShape(value, envelope, "message");
	const [type, id, content] = value as [number, number, Body];
	const shape = REQUESTS[type];
	if (shape === undefined)
		checkShape(type, { kind: "uint", min: MESSAGE.HELLO, max: MESSAGE.UPSTREAM_RESET }, "message.type");
	else checkShape(content, shape.body, `request ${id} (${shape.name})`);
	return { type, id, body: content };
}

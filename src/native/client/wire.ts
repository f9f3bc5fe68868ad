/** Between the client's shapes and the protocol's: what is written into requests and read from answers. */
import { POSITION } from "../codec/protocol.ts";
import { checkShape, type Shape } from "../codec/shape.ts";
import { CborWriter } from "../codec/writer.ts";
import { HeadwaterError } from "./errors.ts";
import type { Fields } from "./link.ts";
import type {
	ConsumedRecord,
	GatewayStatus,
	OffsetSpec,
	ProduceRecord,
	ProduceResult,
	TopicDescription,
	TopicInfo,
} from "./types.ts";

const uint: Shape = { kind: "uint" };
const text: Shape = { kind: "text" };
const bytesOrNull: Shape = { kind: "orNull", of: { kind: "bytes" } };

function tuple(...of: [string, Shape][]): Shape {
	return { kind: "tuple", of };
}

function list(of: Shape): Shape {
	return { kind: "array", of };
}

type Field = { readonly name: string; readonly shape: Shape; readonly optional: true };

function body(fields: Record<number, [string, Shape] | Field>): Shape {
	const entries = Object.entries(fields).map(([key, field]) => {
		return [key, Array.isArray(field) ? { name: field[0], shape: field[1] } : field] as const;
	});
	return { kind: "body", fields: Object.fromEntries(entries) };
}

const records: Shape = list({
	kind: "tuple",
	required: 4,
	of: [
		["offset", uint],
		["timestamp", uint],
		["key", bytesOrNull],
		["value", bytesOrNull],
		["headers", list(tuple(["name", text], ["value", bytesOrNull]))],
	],
});
const topic = body({
	0: ["name", text],
	1: ["id", text],
	2: ["partitions", uint],
	3: ["config", { kind: "textMap" }],
	4: ["created", uint],
});

/** What the answers have to look like: checked before anything is taken from them. */
export const ANSWERS = {
	produce: body({
		0: ["groups", list(list(tuple(["count", uint], ["partition", uint], ["offset", uint])))],
		1: ["time", uint],
	}),
	fetch: body({ 0: ["records", records], 1: ["high watermark", uint], 2: ["log start", uint], 3: ["next", uint] }),
	records: body({ 0: ["partition", uint], 1: ["records", records], 2: ["high watermark", uint] }),
	subscribe: body({
		0: [
			"places",
			list({
				kind: "tuple",
				required: 2,
				of: [
					["partition", uint],
					["start", uint],
					["end", uint],
				],
			}),
		],
	}),
	offsets: body({ 0: ["offsets", list(tuple(["partition", uint], ["offset", uint]))] }),
	topic,
	topics: body({ 0: ["topics", list(topic)] }),
	description: body({
		0: ["topic", topic],
		1: [
			"configs",
			list(tuple(["name", text], ["value", text], ["default", { kind: "bool" }], ["documentation", text])),
		],
		2: [
			"partitions",
			list(
				tuple(
					["number", uint],
					["log start", uint],
					["high watermark", uint],
					["end", uint],
					["size", uint],
					["segments", uint],
				),
			),
		],
		3: {
			name: "tier",
			shape: list(tuple(["number", uint], ["local start", uint], ["tiered", uint])),
			optional: true,
		},
	}),
	status: body({ 0: ["status", { kind: "any" }] }),
} as const;

export function check(fields: Fields, shape: Shape, name: string): void {
	checkShape(fields, shape, `answer to ${name}`);
}

/** The groups of a produce request: one group. Throws HeadwaterError INVALID_REQUEST for what is no record. */
export function encodeGroups(
	topicName: string,
	batch: readonly ProduceRecord[],
	partition: number | undefined,
): Buffer {
	const writer = new CborWriter(512).array(1).array(3).text(topicName);
	if (partition === undefined) writer.null();
	else writer.uint(wholeNumber(partition, "partition"));
	writer.array(batch.length);
	for (const record of batch) encodeRecord(writer, record);
	return writer.take();
}

function encodeRecord(writer: CborWriter, { key, value, headers, timestamp }: ProduceRecord): void {
	const hasHeaders = headers !== undefined && headers.length > 0;
	writer.array(hasHeaders ? 4 : timestamp === undefined ? 2 : 3);
	encodeBytes(writer, key ?? null, "key");
	encodeBytes(writer, value, "value");
	if (timestamp !== undefined) writer.uint(wholeNumber(timestamp, "timestamp"));
	else if (hasHeaders) writer.null();
	if (!hasHeaders) return;
	writer.array(headers.length);
	for (const [name, content] of headers) {
		writer.array(2).text(name);
		encodeBytes(writer, content, `header ${name}`);
	}
}

function encodeBytes(writer: CborWriter, value: Uint8Array | string | null, what: string): void {
	if (typeof value === "string") writer.bytes(Buffer.from(value));
	else if (value === null || value instanceof Uint8Array) writer.bytes(value);
	else throw new HeadwaterError("INVALID_REQUEST", `a record's ${what} has to be text, a Uint8Array or null`);
}

export function wholeNumber(value: number, what: string): number {
	if (Number.isSafeInteger(value) && value >= 0) return value;
	throw new HeadwaterError("INVALID_REQUEST", `${what} ${value}: a whole number from 0 on is wanted`);
}

/** One result for each record of the request, in order. */
export function produceResults(fields: Fields, batch: readonly ProduceRecord[]): ProduceResult[] {
	const [runs] = fields.get(0) as [count: number, partition: number, offset: number][][];
	const time = fields.get(1) as number;
	const results: ProduceResult[] = [];
	for (const [count, partition, first] of runs ?? []) {
		for (let i = 0; i < count && results.length < batch.length; i++) {
			const timestamp = batch[results.length]?.timestamp ?? time;
			results.push({ partition, offset: first + i, timestamp });
		}
	}
	return results;
}

type WireRecord = [
	offset: number,
	timestamp: number,
	key: Uint8Array | null,
	value: Uint8Array | null,
	headers?: [string, Uint8Array | null][],
];

export function consumedRecords(topicName: string, partition: number, wire: unknown): ConsumedRecord[] {
	return (wire as WireRecord[]).map(([offset, timestamp, key, value, headers]) => ({
		topic: topicName,
		partition,
		offset,
		timestamp,
		key,
		value,
		headers: headers ?? [],
	}));
}

export function encodePosition(writer: CborWriter, at: OffsetSpec): void {
	if (at === "earliest") writer.array(1).uint(POSITION.EARLIEST);
	else if (at === "latest") writer.array(1).uint(POSITION.LATEST);
	else writer.array(2).uint(POSITION.TIMESTAMP).uint(wholeNumber(at.timestamp, "timestamp"));
}

export function encodePairs(writer: CborWriter, pairs: ReadonlyMap<number, number>): void {
	writer.array(pairs.size);
	for (const [partition, offset] of pairs) writer.array(2).uint(partition).uint(wholeNumber(offset, "offset"));
}

export function encodeConfig(writer: CborWriter, config: Readonly<Record<string, string>>): void {
	const entries = Object.entries(config);
	writer.map(entries.length);
	for (const [name, value] of entries) writer.text(name).text(String(value));
}

export function topicInfo(fields: Fields): TopicInfo {
	return {
		name: fields.get(0) as string,
		id: fields.get(1) as string,
		partitions: fields.get(2) as number,
		config: Object.fromEntries(fields.get(3) as Map<string, string>),
		createdMs: fields.get(4) as number,
	};
}

export function topicDescription(fields: Fields): TopicDescription {
	const configs = fields.get(1) as [string, string, boolean, string][];
	const partitions = fields.get(2) as [number, number, number, number, number, number][];
	// A gateway of before tiered storage does not say.
	const places = ((fields.get(3) ?? []) as [number, number, number][]).map(
		([number, localStartOffset, tieredOffset]) => [number, { localStartOffset, tieredOffset }] as const,
	);
	const tier = new Map(places);
	return {
		topic: topicInfo(fields.get(0) as Fields),
		configs: configs.map(([name, value, isDefault, documentation]) => ({ name, value, isDefault, documentation })),
		partitions: partitions.map(([number, logStartOffset, highWatermark, endOffset, sizeBytes, segments]) => ({
			number,
			logStartOffset,
			...(tier.get(number) ?? { localStartOffset: logStartOffset, tieredOffset: 0 }),
			highWatermark,
			endOffset,
			sizeBytes,
			segments,
		})),
	};
}

export function gatewayStatus(fields: Fields): GatewayStatus {
	return plain(fields.get(0)) as GatewayStatus;
}

/** Maps with text keys as objects, at every depth. */
export function plain(value: unknown): unknown {
	if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
	return Array.isArray(value) ? value.map(plain) : value;
}

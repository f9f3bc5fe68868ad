/** Every message in every version against the bytes that Apache Kafka's own classes make of it (test/golden/kafka). */
import { deepStrictEqual } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
	decodeRequestHeader,
	encodeRequestHeader,
	encodeResponse,
	hasFlexibleResponseHeader,
} from "../../../../src/kafka/protocol/header.ts";
import { Reader } from "../../../../src/kafka/protocol/reader.ts";
import {
	array,
	bytes,
	type Fields,
	int16,
	int32,
	type Message,
	message,
	string,
	struct,
	uuid,
} from "../../../../src/kafka/protocol/schema.ts";
import { Writer } from "../../../../src/kafka/protocol/writer.ts";
import { kafkaMessages } from "../../../support/kafka-messages.ts";

const FOLDER = new URL("../../../golden/kafka/", import.meta.url);

interface Golden {
	readonly message: string;
	readonly versions: readonly number[];
	readonly hex: string;
	/** The same, with tagged fields that nobody knows. */
	readonly unknownTags?: string;
	readonly value: Record<string, unknown>;
}

const reviveBytes = (_key: string, value: unknown): unknown =>
	typeof value === "string" && value.startsWith("hex:") ? Buffer.from(value.slice(4), "hex") : value;

function lines<T>(file: string): T[] {
	const text = readFileSync(new URL(file, FOLDER), "utf8").trimEnd();
	return text.split("\n").map((line) => JSON.parse(line, reviveBytes) as T);
}

const decode = (message: Message<Fields>, version: number, hex: string): unknown => {
	const reader = new Reader(Buffer.from(hex, "hex"));
	const value = message.decode(reader, version);
	reader.end();
	return value;
};

const encode = (message: Message<Fields>, version: number, value: Record<string, unknown>): string => {
	const writer = new Writer();
	message.encode(writer, version, value);
	return Buffer.concat(writer.take()).toString("hex");
};

/** The door has no use for it yet; of what Kafka has, it is the first with a structure that may be null. */
const ConsumerGroupHeartbeatResponse = message(
	68,
	"ConsumerGroupHeartbeatResponse",
	{ versions: [0, 1], flexible: 0 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable().or(null),
		memberId: string.nullable().or(null),
		memberEpoch: int32,
		heartbeatIntervalMs: int32,
		assignment: struct({
			topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })),
		})
			.nullable()
			.or(null),
	},
);

const messages = new Map([
	...(await kafkaMessages()),
	[ConsumerGroupHeartbeatResponse.name, ConsumerGroupHeartbeatResponse],
]);
const golden = readdirSync(FOLDER)
	.filter((file) => /^\d\d-.*\.ndjson$/.test(file))
	.flatMap((file) => lines<Golden>(file));

describe("a Kafka message", () => {
	for (const [name, message] of messages) {
		const cases = golden.filter((each) => each.message === name);

		it(`${name} has Kafka's versions and is flexible from Kafka's version on`, () => {
			const kind = name.endsWith("Request") ? "request" : "response";
			const versions = lines<{ apiKey: number; version: number; request: number; response: number }>(
				"header-versions.ndjson",
			).filter(({ apiKey }) => apiKey === message.apiKey);
			expect([message.minVersion, message.maxVersion]).toEqual([versions[0]?.version, versions.at(-1)?.version]);
			expect(new Set(cases.flatMap((each) => each.versions))).toEqual(new Set(versions.map(({ version }) => version)));
			for (const { version, request, response } of versions) {
				if (kind === "request") expect([version, version >= message.flexibleFrom]).toEqual([version, request === 2]);
				else expect([version, hasFlexibleResponseHeader(message, version)]).toEqual([version, response === 1]);
			}
		});

		it(`${name} is decoded from Kafka's bytes, tagged fields it does not know or not, and encoded to them`, () => {
			expect(cases.length).toBeGreaterThan(0);
			for (const { versions, hex, unknownTags, value } of cases) {
				for (const version of versions) {
					const what = `version ${version} of ${hex}`;
					deepStrictEqual({ what, value: decode(message, version, hex) }, { what, value });
					expect({ what, hex: encode(message, version, value) }).toEqual({ what, hex });
					if (unknownTags !== undefined) {
						deepStrictEqual({ what, value: decode(message, version, unknownTags) }, { what, value });
					}
				}
			}
		});
	}
});

describe("a header", () => {
	const headers = lines<Golden>("headers.ndjson");

	it("of a request is decoded from Kafka's bytes and encoded to them", () => {
		const cases = headers.filter(({ message }) => message === "RequestHeader");
		expect(new Set(cases.flatMap(({ versions }) => versions))).toEqual(new Set([1, 2]));
		for (const { versions, hex, unknownTags, value } of cases) {
			const { requestApiKey: apiKey, requestApiVersion: apiVersion, correlationId, clientId } = value;
			const header = { apiKey, apiVersion, correlationId, clientId } as Parameters<typeof encodeRequestHeader>[1];
			const flexible = versions[0] === 2;
			for (const bytes of unknownTags === undefined ? [hex] : [hex, unknownTags]) {
				const reader = new Reader(Buffer.from(bytes, "hex"));
				expect(decodeRequestHeader(reader, () => (flexible ? header.apiVersion : Number.POSITIVE_INFINITY))).toEqual(
					header,
				);
				reader.end();
			}
			const writer = new Writer();
			encodeRequestHeader(writer, header, flexible);
			expect(Buffer.concat(writer.take()).toString("hex")).toBe(hex);
		}
	});

	it("of a response goes before it, with the size of both", () => {
		const cases = headers.filter(({ message }) => message === "ResponseHeader");
		expect(new Set(cases.flatMap(({ versions }) => versions))).toEqual(new Set([0, 1]));
		for (const { versions, hex, value } of cases) {
			const response = message(
				1,
				"Nothing",
				{ versions: [0, 0], ...(versions[0] === 1 && { flexible: 0 }) },
				{ bytes },
			);
			const body = encode(response, 0, {});
			const frame = Buffer.concat(encodeResponse(response, 0, value.correlationId as number, {})).toString("hex");
			const size = (hex.length + body.length) / 2;
			expect(frame).toBe(size.toString(16).padStart(8, "0") + hex + body);
		}
	});
});

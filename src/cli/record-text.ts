/**
 * A record as one line: JSON for programs (`{topic, partition, offset, timestamp, key, value,
 * headers}`, bytes that are not UTF-8 as `{"base64": "..."}`) or aligned text for people; and the
 * JSON line back to a record. A header name that stands more than once has a list of its values.
 */
import { isUtf8 } from "node:buffer";
import type { ConsumedRecord, ProduceRecord } from "../native/client/types.ts";
import { formatTime } from "./quantities.ts";
import { escapeControls } from "./table.ts";

export type JsonBytes = string | null | { readonly base64: string };

export interface JsonRecord {
	readonly topic: string;
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: JsonBytes;
	readonly value: JsonBytes;
	readonly headers: Readonly<Record<string, JsonBytes | readonly JsonBytes[]>>;
}

export function toJsonRecord(record: ConsumedRecord): JsonRecord {
	const headers = new Map<string, JsonBytes[]>();
	for (const [name, value] of record.headers) {
		const values = headers.get(name);
		if (values === undefined) headers.set(name, [toJsonBytes(value)]);
		else values.push(toJsonBytes(value));
	}
	return {
		topic: record.topic,
		partition: record.partition,
		offset: record.offset,
		timestamp: record.timestamp,
		key: toJsonBytes(record.key),
		value: toJsonBytes(record.value),
		headers: Object.fromEntries(
			[...headers].map(([name, values]) => [name, values.length === 1 ? (values[0] as JsonBytes) : values]),
		),
	};
}

export function toJsonBytes(bytes: Uint8Array | null): JsonBytes {
	if (bytes === null) return null;
	const buffer = asBuffer(bytes);
	return isUtf8(buffer) ? buffer.toString("utf8") : { base64: buffer.toString("base64") };
}

function asBuffer(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * One line of `produce --json`: at least a value; key, headers and timestamp if wanted. Topic, partition and offset are
 * read over: where the record goes, the command says. Throws Error that says what is wrong with the line.
 */
export function parseJsonRecord(line: string): ProduceRecord {
	let parsed: unknown;
	try {
		parsed = JSON.parse(line);
	} catch (error) {
		throw new Error(`is no JSON: ${(error as Error).message}`);
	}
	if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
		throw new Error('is no JSON object such as {"key": "dev7", "value": "21.5"}');
	}
	const object = parsed as Record<string, unknown>;
	for (const name of Object.keys(object)) {
		if (!["topic", "partition", "offset", "timestamp", "key", "value", "headers"].includes(name)) {
			throw new Error(`has ${JSON.stringify(name)}; a record has key, value, headers and timestamp`);
		}
	}
	if (object.value === undefined) throw new Error('has no "value" (null for a record without one)');
	const timestamp = object.timestamp;
	if (timestamp !== undefined && !(Number.isSafeInteger(timestamp) && (timestamp as number) >= 0)) {
		throw new Error('"timestamp" is no whole number of milliseconds since 1970');
	}
	return {
		value: fromJsonBytes(object.value, "value"),
		...(object.key === undefined ? {} : { key: fromJsonBytes(object.key, "key") }),
		...(object.headers === undefined ? {} : { headers: fromJsonHeaders(object.headers) }),
		...(timestamp === undefined ? {} : { timestamp: timestamp as number }),
	};
}

function fromJsonHeaders(headers: unknown): [string, Uint8Array | string | null][] {
	if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
		throw new Error('"headers" is no object of names and values');
	}
	return Object.entries(headers).flatMap(([name, value]) =>
		(Array.isArray(value) ? value : [value]).map((each): [string, Uint8Array | string | null] => [
			name,
			fromJsonBytes(each, `header ${JSON.stringify(name)}`),
		]),
	);
}

function fromJsonBytes(value: unknown, what: string): Uint8Array | string | null {
	if (value === null || typeof value === "string") return value;
	const base64 = typeof value === "object" ? (value as { base64?: unknown }).base64 : undefined;
	if (typeof base64 !== "string" || Object.keys(value as object).length !== 1) {
		throw new Error(`${what} is neither text, null nor {"base64": "..."}; JSON of your own goes in quotes, as text`);
	}
	if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw new Error(`${what}: "base64" holds something else`);
	return Buffer.from(base64, "base64");
}

/** Columns whose widths grow with what comes and never shrink, so that they jump seldom. The value comes last, at any length. */
export class RecordColumns {
	#widths: readonly number[] = [9, 6, 24, 3, 7];

	head(): string {
		return this.#line(["PARTITION", "OFFSET", "TIME", "KEY", "HEADERS", "VALUE"]);
	}

	row(record: ConsumedRecord): string {
		return this.#line([
			String(record.partition),
			String(record.offset),
			formatTime(record.timestamp),
			forPeople(record.key),
			record.headers.map(([name, value]) => `${escapeControls(name)}=${forPeople(value)}`).join(" ") || "-",
			forPeople(record.value),
		]);
	}

	#line(cells: readonly string[]): string {
		// A single long key does not push every other line to the right for good.
		this.#widths = this.#widths.map((width, column) => Math.max(width, Math.min(cells[column]?.length ?? 0, 60)));
		const padded = cells.map((cell, column) => {
			const width = this.#widths[column] ?? 0;
			return column < 2 ? cell.padStart(width) : cell.padEnd(width);
		});
		return `${padded.join("  ")}\n`;
	}
}

/** Text as it is with its control characters escaped; `(null)`, `(empty)`, and other bytes as base64. */
function forPeople(bytes: Uint8Array | null): string {
	if (bytes === null) return "(null)";
	if (bytes.length === 0) return "(empty)";
	const buffer = asBuffer(bytes);
	return isUtf8(buffer) ? escapeControls(buffer.toString("utf8")) : `base64:${buffer.toString("base64")}`;
}

/**
 * A record as a line of CSV (RFC 4180, lines that end with a line feed): what JSON has, in columns. A null key or value is an
 * empty field, an empty one is `""`; bytes that are not UTF-8, and the headers, are JSON.
 */
import type { JsonBytes, JsonRecord } from "./record-text.ts";

const COLUMNS = ["topic", "partition", "offset", "timestamp", "key", "value", "headers"] as const;

export function csvHead(): string {
	return `${COLUMNS.join(",")}\n`;
}

export function csvRow(record: JsonRecord): string {
	const { topic, partition, offset, timestamp, key, value, headers } = record;
	return `${topic},${partition},${offset},${timestamp},${bytesField(key)},${bytesField(value)},${textField(JSON.stringify(headers))}\n`;
}

function bytesField(bytes: JsonBytes): string {
	if (bytes === null) return "";
	return textField(typeof bytes === "string" ? bytes : JSON.stringify(bytes));
}

function textField(text: string): string {
	return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

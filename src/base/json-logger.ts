/**
 * The log on stderr: one JSON object a line, `{"time","level","message",...fields}`, or, where a
 * person watches, one aligned line of text. A line never holds a raw control character, and what
 * cannot be written as JSON never throws. Levels below the least one cost a call and nothing more.
 */
import type { LogFields, Logger } from "./logger.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface JsonLoggerOptions {
	/** Events below this are not written. */
	readonly level: LogLevel;
	/** Text for people instead of JSON. */
	readonly human: boolean;
	/** Colours in the text for people. */
	readonly colours?: boolean;
	/** Takes one whole line with its newline. */
	readonly write: (line: string) => void;
	/** Milliseconds since 1970-01-01T00:00:00Z. */
	readonly now: () => number;
}

const COLOURS: Record<LogLevel, string> = { debug: "2", info: "36", warn: "33", error: "31" };

export function createLogger(options: JsonLoggerOptions): Logger {
	const least = LOG_LEVELS.indexOf(options.level);
	const format = options.human ? humanLine : jsonLine;
	const at = (level: LogLevel) => {
		if (LOG_LEVELS.indexOf(level) < least) return () => {};
		return (message: string, fields?: LogFields) => {
			options.write(format(options.now(), level, message, fields, options.colours ?? false));
		};
	};
	return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function jsonLine(timeMs: number, level: LogLevel, message: string, fields?: LogFields): string {
	const head = { time: new Date(timeMs).toISOString(), level, message };
	return `${stringify({ ...head, ...fields, ...head })}\n`;
}

function humanLine(timeMs: number, level: LogLevel, message: string, fields?: LogFields, colours?: boolean): string {
	const time = new Date(timeMs).toISOString().slice(11, 23);
	const name = level.padEnd(5);
	const shown = colours ? `\x1b[${COLOURS[level]}m${name}\x1b[0m` : name;
	let line = `${time} ${shown} ${printable(message)}`;
	for (const [key, value] of Object.entries(fields ?? {})) {
		if (value !== undefined) line += ` ${printable(key)}=${humanValue(value)}`;
	}
	return `${line}\n`;
}

function humanValue(value: unknown): string {
	if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? printable(value) : stringify(value);
	if (value instanceof Error) return stringify(value.message);
	return stringify(value);
}

/** JSON of anything: errors with their message, code and stack, big integers as text, bytes as base64, cycles as such. */
function stringify(value: unknown): string {
	try {
		return withoutC1(JSON.stringify(value, replace) ?? "null");
	} catch (error) {
		return JSON.stringify(`cannot be shown: ${(error as Error).message.split("\n")[0]}`);
	}
}

function replace(this: unknown, key: string, value: unknown): unknown {
	// Buffer's toJSON has run by now; the holder still has the bytes.
	const raw = (this as Record<string, unknown>)[key];
	if (raw instanceof Uint8Array) return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("base64");
	if (typeof value === "bigint") return value.toString();
	if (value instanceof Error) {
		const { message, name, stack, cause } = value;
		const code = (value as NodeJS.ErrnoException).code;
		return { name, message, ...(code === undefined ? {} : { code }), stack, ...(cause === undefined ? {} : { cause }) };
	}
	return value;
}

/** Control characters as \xNN: a peer's text never moves a terminal's cursor. */
function printable(text: string): string {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose.
	return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** JSON escapes C0; DEL and C1 pass through it and still steer terminals. */
function withoutC1(json: string): string {
	return json.replace(/[\u007f-\u009f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

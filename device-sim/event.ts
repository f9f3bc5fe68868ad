/**
 * One event's JSON, as a device publishes it and as the verifier reads it back:
 *
 *   {"run":"k3x9aq","device":"temp-0001","seq":0,"t":1732180000000, <values>, "crc":"89abcdef"}
 *
 * `seq` counts from 0 in each device and run, `t` is when it was measured (ms since 1970-01-01T00:00:00Z), and
 * `crc`, always last, is the CRC-32 of everything before `,"crc"`: an event mixed up or cut on its way
 * does not pass for a whole one.
 */
import { crc32 } from "node:zlib";

export type Values = Readonly<Record<string, number>>;

export interface EventIdentity {
	readonly run: string;
	readonly device: string;
	readonly seq: number;
	/** Milliseconds since 1970-01-01T00:00:00Z. */
	readonly timeMs: number;
}

export type ReadEvent =
	/** Not an event of the run that was asked for. */
	| { readonly kind: "foreign" }
	/** Says that it is one, and is not what was sent. */
	| { readonly kind: "damaged" }
	| ({ readonly kind: "event" } & EventIdentity);

const CRC_TAIL = /,"crc":"([0-9a-f]{8})"\}$/;
const CRC_TAIL_CHARACTERS = ',"crc":"00000000"}'.length;
const FOREIGN: ReadEvent = { kind: "foreign" };
const DAMAGED: ReadEvent = { kind: "damaged" };

export function encodeEvent(event: EventIdentity, values: Values): Buffer {
	const { run, device, seq, timeMs } = event;
	const body = JSON.stringify({ run, device, seq, t: timeMs, ...values }).slice(0, -1);
	return Buffer.from(`${body},"crc":"${crc32(body).toString(16).padStart(8, "0")}"}`);
}

/** Reads a stored value. What holds the run's id anywhere and does not check is damaged, all else without it foreign. */
export function readEvent(value: Uint8Array | null, run: string): ReadEvent {
	if (value === null) return FOREIGN;
	const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
	if (!text.includes(`"run":"${run}"`)) return FOREIGN;
	const tail = CRC_TAIL.exec(text);
	if (!tail || crc32(text.slice(0, -CRC_TAIL_CHARACTERS)) !== Number.parseInt(tail[1]!, 16)) return DAMAGED;
	try {
		const parsed = JSON.parse(text) as { run: unknown; device: unknown; seq: unknown; t: unknown };
		if (parsed.run !== run) return FOREIGN;
		if (typeof parsed.device !== "string" || !Number.isSafeInteger(parsed.seq) || (parsed.seq as number) < 0)
			return DAMAGED;
		return { kind: "event", run, device: parsed.device, seq: parsed.seq as number, timeMs: Number(parsed.t) };
	} catch {
		return DAMAGED;
	}
}

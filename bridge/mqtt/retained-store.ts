/**
 * Retained messages (MQTT 5.0 section 3.3.1.3): a row of the state table each, so that there may be millions and none is in
 * memory. A message becomes durable with the commit being gathered: put in the commit of the event itself, both are there
 * or neither. How many there are stands in a row of its own, written in the same commit.
 *
 * The row of counts, in MQTT_DOOR under "retained", version 1: u8 1, f64 messages, f64 bytes of topics and payloads, f64
 * messages that expire.
 */
import { BrokerError } from "../../src/base/errors.ts";
import { compareKeys, keyBehind } from "../../src/log/key-order.ts";
import type { Log } from "../../src/log/log.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import { RetainedFilter } from "./retained-filter.ts";
import { bufferOf, decodeRow, encodeRow, expires, FRAME_BYTES, isExpired, payloadBytes } from "./retained-row.ts";

const { MQTT_DOOR, MQTT_RETAINED } = StateSpace;

export interface RetainedMessage {
	readonly topic: string;
	readonly payload: Buffer;
	readonly qos: 0 | 1 | 2;
	readonly timestampMs: number;
	/** From the timestamp; -1: never. */
	readonly expirySeconds: number;
	/** Of MQTT 5, encoded, without length, expiry and identifiers. */
	readonly propertiesBlock: Buffer;
	/** Where the event's record is. */
	readonly partition: number;
	readonly offset: number;
}

export interface RetainedPage {
	readonly messages: RetainedMessage[];
	/** Where to go on. */
	readonly after: string | undefined;
	readonly done: boolean;
}

interface Counts {
	readonly messages: number;
	/** Topics and payloads. */
	readonly bytes: number;
	readonly expiring: number;
}

const COUNTS_VERSION = 1;
const COUNTS_KEY = "retained";
const COUNTS_BYTES = 25;
/** What both rows add to a commit beside topic and message, generously. */
const ROWS_OVERHEAD_BYTES = 128;
/** Read at once where everything matches. */
const ROWS_MAX = 64;
const SWEEP_BYTES = 256 * 1024;
const NO_COUNTS: Counts = { messages: 0, bytes: 0, expiring: 0 };

/** All that changes anything throws BrokerError where storage takes nothing, and has then changed nothing. */
export class RetainedStore {
	readonly #log: Log;
	readonly #maxMessages: number;
	#counts: Counts;
	/** Where the sweep goes on. */
	#swept = "";
	#reported = false;

	constructor(log: Log, options: { readonly maxMessages: number }) {
		this.#log = log;
		this.#maxMessages = options.maxMessages;
		this.#counts = this.#load();
	}

	/** Expired ones count until the sweep has come by. */
	get count(): number {
		return this.#counts.messages;
	}

	/** Of topics and payloads. */
	get bytes(): number {
		return this.#counts.bytes;
	}

	/** What `put` adds to a commit at most. */
	sizeOf(message: RetainedMessage): number {
		const { topic, propertiesBlock, payload } = message;
		return topic.length * 3 + FRAME_BYTES + propertiesBlock.length + payload.length + ROWS_OVERHEAD_BYTES;
	}

	/** Throws POLICY_VIOLATION where `put` would: so a caller can know before it adds anything else to the commit. */
	checkRoom(topic: string): void {
		if (this.#counts.messages >= this.#maxMessages) this.#checkReplaces(this.#log.getState(MQTT_RETAINED, topic));
	}

	#checkReplaces(replaced: Uint8Array | undefined): void {
		if (replaced === undefined && this.#counts.messages >= this.#maxMessages)
			throw new BrokerError(
				"POLICY_VIOLATION",
				`there are ${this.#counts.messages} retained messages; mqtt.max.retained.messages allows ${this.#maxMessages}`,
			);
	}

	/** In place of what the topic had. Throws POLICY_VIOLATION where there are as many as may be. */
	put(message: RetainedMessage): void {
		const { topic } = message;
		const replaced = this.#log.getState(MQTT_RETAINED, topic);
		this.#checkReplaces(replaced);
		const row = encodeRow(message);
		const counts = exchanged(this.#counts, topic, replaced, row);
		this.#log.group(this.sizeOf(message), () => {
			this.#log.putState(MQTT_RETAINED, topic, row);
			this.#setCounts(counts);
		});
	}

	/** False: there was none. */
	remove(topic: string): boolean {
		const row = this.#log.getState(MQTT_RETAINED, topic);
		if (row === undefined) return false;
		const counts = exchanged(this.#counts, topic, row, undefined);
		this.#log.group(topic.length * 3 + ROWS_OVERHEAD_BYTES, () => {
			this.#log.deleteState(MQTT_RETAINED, topic);
			this.#setCounts(counts);
		});
		return true;
	}

	/** Undefined: there is none, or it has expired at `nowMs`. */
	get(topic: string, nowMs: number): RetainedMessage | undefined {
		const row = this.#log.getState(MQTT_RETAINED, topic);
		return row === undefined ? undefined : this.#read(topic, row, nowMs);
	}

	/**
	 * The messages whose topics match the well-formed `filter`, in the order of their topics' code points, behind the topic
	 * `after`: as many as `limits.messages`, and none after the one that makes `limits.bytes` full. After `limits.looks`,
	 * places sought and rows read, it returns with what it has, so that others get their turn.
	 */
	page(
		filter: string,
		after: string | undefined,
		nowMs: number,
		limits: { readonly messages: number; readonly bytes: number; readonly looks: number },
	): RetainedPage {
		const way = new RetainedFilter(filter);
		const messages: RetainedMessage[] = [];
		const full = () => messages.length >= limits.messages || bytes >= limits.bytes;
		let from = after === undefined ? way.first : way.behind(after);
		let last = after;
		let bytes = 0;
		/** Rows read at once: more as long as most are of use. */
		let ahead = 1;
		for (let looks = 0; from !== undefined; ) {
			if (full() || looks >= limits.looks) return { messages, after: last, done: false };
			const limit = Math.max(1, Math.min(ahead, limits.messages - messages.length, limits.looks - looks));
			const rows = this.#log.pageState(MQTT_RETAINED, from, way.end, limit, limits.bytes - bytes);
			if (rows.length === 0) break;
			looks += 1 + rows.length;
			let used = 0;
			for (const [topic, row] of rows) {
				if (full() || from === undefined) break;
				if (compareKeys(topic, from) < 0) continue;
				used++;
				last = topic;
				from = way.behind(topic);
				if (!way.matched) continue;
				const message = this.#read(topic, row, nowMs);
				if (message === undefined) continue;
				messages.push(message);
				bytes += row.length + topic.length;
			}
			ahead = used * 2 >= rows.length ? Math.min(ahead * 2, ROWS_MAX) : Math.max(ahead >> 1, 1);
		}
		return { messages, after: last, done: true };
	}

	/**
	 * Removes what has expired at `nowMs` among the next rows, `looks` of them at most; going round, it comes by every one.
	 * Returns how many it removed.
	 */
	sweep(nowMs: number, looks: number): number {
		if (this.#counts.expiring === 0 || this.#log.refusal !== undefined) return 0;
		const rows = this.#log.pageState(MQTT_RETAINED, this.#swept, undefined, looks, SWEEP_BYTES);
		let removed = 0;
		for (const [topic, bytes] of rows) {
			const row = bufferOf(bytes);
			if (!expires(row) || !isExpired(row, nowMs) || this.#decode(topic, row) === undefined) continue;
			this.remove(topic);
			removed++;
		}
		const last = rows.at(-1);
		this.#swept = last === undefined ? "" : keyBehind(last[0]);
		return removed;
	}

	#read(topic: string, bytes: Uint8Array, nowMs: number): RetainedMessage | undefined {
		const row = bufferOf(bytes);
		const message = this.#decode(topic, row);
		return message === undefined || isExpired(row, nowMs) ? undefined : message;
	}

	#decode(topic: string, row: Buffer): RetainedMessage | undefined {
		const message = decodeRow(topic, row);
		if (message === undefined) this.#report("a retained message cannot be read, and is passed over", topic);
		return message;
	}

	/** Once is enough: whoever looks for one will look for the others. */
	#report(what: string, key: string): void {
		if (this.#reported) return;
		this.#reported = true;
		this.#log.services.logger.error(`${what}: damaged, or of another version`, { key });
	}

	#setCounts(counts: Counts): void {
		const row = Buffer.allocUnsafe(COUNTS_BYTES);
		row[0] = COUNTS_VERSION;
		row.writeDoubleBE(counts.messages, 1);
		row.writeDoubleBE(counts.bytes, 9);
		row.writeDoubleBE(counts.expiring, 17);
		this.#log.putState(MQTT_DOOR, COUNTS_KEY, row);
		this.#counts = counts;
	}

	#load(): Counts {
		const bytes = this.#log.getState(MQTT_DOOR, COUNTS_KEY);
		if (bytes !== undefined) {
			const row = bufferOf(bytes);
			if (row.length === COUNTS_BYTES && row[0] === COUNTS_VERSION)
				return { messages: row.readDoubleBE(1), bytes: row.readDoubleBE(9), expiring: row.readDoubleBE(17) };
			this.#report("the number of retained messages cannot be read, so they are counted", COUNTS_KEY);
		}
		let counts = NO_COUNTS;
		for (let from = ""; ; ) {
			const rows = this.#log.pageState(MQTT_RETAINED, from, undefined, ROWS_MAX, SWEEP_BYTES);
			if (rows.length === 0) return counts;
			for (const [topic, row] of rows) {
				counts = exchanged(counts, topic, undefined, row);
				from = keyBehind(topic);
			}
		}
	}
}

/** The counts when a topic's row `before` has become `after`, whether or not they can be read. */
function exchanged(
	counts: Counts,
	topic: string,
	before: Uint8Array | undefined,
	after: Uint8Array | undefined,
): Counts {
	let { messages, bytes, expiring } = counts;
	const topicBytes = Buffer.byteLength(topic);
	if (before !== undefined) {
		messages--;
		bytes -= topicBytes + payloadBytes(bufferOf(before));
		if (expires(bufferOf(before))) expiring--;
	}
	if (after !== undefined) {
		messages++;
		bytes += topicBytes + payloadBytes(bufferOf(after));
		if (expires(bufferOf(after))) expiring++;
	}
	return { messages: Math.max(messages, 0), bytes: Math.max(bytes, 0), expiring: Math.max(expiring, 0) };
}

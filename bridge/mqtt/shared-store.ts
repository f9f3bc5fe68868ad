/**
 * Shared subscriptions that are kept, as rows of the state table under their name (share name and filter): where the group
 * stands; beside it, behind a NUL, a row for each kept session that subscribes (`m<client id>`), and for each QoS 2 event
 * that was given out and is not behind the group's floors (`q<partition>.<offset>`).
 */

import type { Log } from "../../src/log/log.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";

const { MQTT_SHARE } = StateSpace;
const NO_BYTES = Buffer.alloc(0);
const MEMBER = "m";
const SENT = "q";
/** What a row's key and operation add, generously. */
const ROW_OVERHEAD_BYTES = 64;

export interface GroupRow {
	readonly format: 1;
	/** By partition id: the lowest floor of its buckets, and the buckets that have another. */
	readonly floors: Readonly<Record<number, readonly [number, readonly (readonly [bucket: number, offset: number])[]]>>;
	/** Partitions with a higher id were made while nobody was connected: they are due from their start. */
	readonly highestPartition: number;
	/** When it ends, if no session subscribes to it until then; null: some session does. */
	readonly expiresMs: number | null;
}

/** All that changes anything throws BrokerError where storage takes nothing. */
export class SharedStore {
	readonly #log: Log;

	constructor(log: Log) {
		this.#log = log;
	}

	load(name: string): GroupRow | undefined {
		const bytes = this.#log.getState(MQTT_SHARE, name);
		return bytes === undefined ? undefined : decodeGroup(bytes);
	}

	/** QoS 2 events given out and not behind the floors. */
	*sent(name: string): Generator<[partition: number, offset: number, bucket: number]> {
		const prefix = `${name}\0${SENT}`;
		for (const [key, value] of this.#log.scanState(MQTT_SHARE, `${name}\0`)) {
			if (!key.startsWith(prefix)) continue;
			const [partition, offset] = key.slice(prefix.length).split(".");
			yield [Number(partition), Number(offset), value[0] ?? 0];
		}
	}

	/** The row, and QoS 2 events that it is past, in one commit. */
	save(name: string, row: GroupRow, passed: readonly (readonly [partition: number, offset: number])[]): void {
		const bytes = Buffer.from(JSON.stringify(row), "utf8");
		this.#log.group(bytes.length + (name.length * 3 + ROW_OVERHEAD_BYTES) * (1 + passed.length), () => {
			this.#log.putState(MQTT_SHARE, name, bytes);
			for (const [partition, offset] of passed) this.#log.deleteState(MQTT_SHARE, sentKey(name, partition, offset));
		});
	}

	delete(name: string): void {
		const keys = [...this.#log.scanState(MQTT_SHARE, `${name}\0`)].map(([key]) => key);
		for (const key of [name, ...keys]) this.#log.deleteState(MQTT_SHARE, key);
	}

	putMember(name: string, clientId: string): void {
		this.#log.putState(MQTT_SHARE, `${name}\0${MEMBER}${clientId}`, NO_BYTES);
	}

	dropMember(name: string, clientId: string): void {
		this.#log.deleteState(MQTT_SHARE, `${name}\0${MEMBER}${clientId}`);
	}

	/** Whether a kept session subscribes to it, connected or not. */
	hasMembers(name: string): boolean {
		for (const [key] of this.#log.scanState(MQTT_SHARE, `${name}\0`)) if (key[name.length + 1] === MEMBER) return true;
		return false;
	}

	/** Every group's name and row. */
	*groups(): Generator<[name: string, row: GroupRow]> {
		for (const [key, value] of this.#log.scanState(MQTT_SHARE, "")) {
			if (!key.includes("\0")) yield [key, decodeGroup(value)];
		}
	}
}

/** In the commit of a QoS 2 delivery: it was given to a member. */
export function putGiven(log: Log, name: string, partition: number, offset: number, bucket: number): void {
	log.putState(MQTT_SHARE, sentKey(name, partition, offset), Buffer.of(bucket));
}

function sentKey(name: string, partition: number, offset: number): string {
	return `${name}\0${SENT}${partition}.${offset}`;
}

function decodeGroup(bytes: Uint8Array): GroupRow {
	const row = JSON.parse(Buffer.from(bytes).toString("utf8")) as GroupRow;
	if (row.format !== 1) {
		throw new Error(`a shared subscription's row of format ${row.format}; this version knows 1: another wrote it`);
	}
	return row;
}

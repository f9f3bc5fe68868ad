/** What outlives a group's members: a row for each group, so that its generation never goes back and its offsets expire in time. */
import { keyBehind } from "../../log/key-order.ts";
import type { Log } from "../../log/log.ts";
import { StateSpace } from "../../log/state-spaces.ts";
import { groupKey, groupOfKey } from "./offset-rows.ts";

export interface GroupRow {
	readonly generation: number;
	/** "": it never had members; its offsets are those of consumers that assign partitions themselves. */
	readonly protocolType: string;
	/** Milliseconds since 1970; undefined: it had members when this was written. */
	readonly emptySinceMs: number | undefined;
}

const FORMAT = 1;
const NONE = -1;
const HEAD_BYTES = 1 + 4 + 8;
const NEVER_JOINED: GroupRow = { generation: 0, protocolType: "", emptySinceMs: undefined };
/** What `put` takes in a commit beside the bytes of names. */
export const GROUP_ROW_BYTES = 64;

export class GroupRows {
	readonly #log: Log;

	constructor(log: Log) {
		this.#log = log;
	}

	get(group: string): GroupRow | undefined {
		const value = this.#log.getState(StateSpace.KAFKA_GROUP, groupKey(group));
		return value === undefined ? undefined : decode(value);
	}

	/** In the commit being gathered. Throws KAFKA_STORAGE_ERROR. */
	put(group: string, row: GroupRow): void {
		this.#log.putState(StateSpace.KAFKA_GROUP, groupKey(group), encode(row));
	}

	/** For a group that comes to be by an offset. */
	ensure(group: string): void {
		if (this.#log.getState(StateSpace.KAFKA_GROUP, groupKey(group)) === undefined) this.put(group, NEVER_JOINED);
	}

	delete(group: string): void {
		this.#log.deleteState(StateSpace.KAFKA_GROUP, groupKey(group));
	}

	/** In the order of their keys, from the one behind `after` on. Only at the end there are none. */
	page(after: string | undefined, limit: number): { readonly group: string; readonly row: GroupRow }[] {
		const from = after === undefined ? "" : keyBehind(groupKey(after));
		const rows = this.#log.pageState(StateSpace.KAFKA_GROUP, from, undefined, limit);
		return rows.map(([key, value]) => ({ group: groupOfKey(key), row: decode(value) }));
	}
}

function encode({ generation, protocolType, emptySinceMs }: GroupRow): Buffer {
	const row = Buffer.allocUnsafe(HEAD_BYTES + Buffer.byteLength(protocolType));
	row.writeUInt8(FORMAT, 0);
	row.writeInt32BE(generation, 1);
	row.writeDoubleBE(emptySinceMs ?? NONE, 5);
	row.write(protocolType, HEAD_BYTES, "utf8");
	return row;
}

function decode(value: Uint8Array): GroupRow {
	const row = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	const emptySinceMs = row.readDoubleBE(5);
	return {
		generation: row.readInt32BE(1),
		protocolType: row.toString("utf8", HEAD_BYTES),
		emptySinceMs: emptySinceMs === NONE ? undefined : emptySinceMs,
	};
}

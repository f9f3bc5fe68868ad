/** How committed offsets are stored: the keys of their rows and the bytes of their values. */

export interface CommittedOffset {
	/** The next record to be read. */
	readonly offset: number;
	/** -1: the client told none. */
	readonly leaderEpoch: number;
	/** What the client wants to find again. */
	readonly metadata: string;
	readonly committedMs: number;
	/** The client's own wish (OffsetCommit 2 to 4); undefined: as the broker's retention says. */
	readonly expiresMs: number | undefined;
}

export interface StoredOffset extends CommittedOffset {
	/** UUID of the topic that it was committed for; another one of the same name has other records. */
	readonly topicId: string;
}

export interface PendingOffset extends StoredOffset {
	readonly producerId: number;
	readonly producerEpoch: number;
	/** Rises from one commit in a transaction to the next. */
	readonly order: number;
	/** A later commit has taken effect already: the end of the transaction must not put it back. */
	readonly overtaken: boolean;
}

/** Between the parts of a key. */
const END = "\0";
const OFFSET_FORMAT = 1;
const PENDING_FORMAT = 1;
const UUID_BYTES = 16;
const NONE = -1;
/** What comes before the metadata. */
const HEAD_BYTES = 1 + UUID_BYTES + 8 + 4 + 8 + 8;
const PENDING_HEAD_BYTES = 1 + 8 + 2 + 8 + 1;

/** A group's name may have any character: those that end a part of a key are written otherwise. */
export function groupKey(group: string): string {
	return group.replaceAll("\x01", "\x01\x02").replaceAll(END, "\x01\x01");
}

function groupOf(key: string): string {
	return key.replaceAll("\x01\x01", END).replaceAll("\x01\x02", "\x01");
}

/** Begins the keys of all offsets of the group. */
export function groupPrefix(group: string): string {
	return groupKey(group) + END;
}

/** Where the keys of all offsets of the group lie. */
export function groupRange(group: string): { readonly from: string; readonly to: string } {
	const key = groupKey(group);
	return { from: key + END, to: `${key}\x01` };
}

export function offsetKey(group: string, topic: string, partition: number): string {
	return `${groupPrefix(group)}${topic}${END}${partition}`;
}

/** Begins the keys of all pending offsets of one partition. */
export function pendingPrefix(group: string, topic: string, partition: number): string {
	return `${offsetKey(group, topic, partition)}${END}`;
}

export function pendingKey(group: string, topic: string, partition: number, producerId: number): string {
	return `${pendingPrefix(group, topic, partition)}${producerId}`;
}

/** Of an offset's row, pending or not. */
export function splitOffsetKey(key: string): { group: string; topic: string; partition: number } {
	const [group = "", topic = "", partition = ""] = key.split(END);
	return { group: groupOf(group), topic, partition: Number(partition) };
}

/** Of a group's own row. */
export function groupOfKey(key: string): string {
	return groupOf(key);
}

export function encodeOffset(stored: StoredOffset): Buffer {
	const row = Buffer.allocUnsafe(HEAD_BYTES + Buffer.byteLength(stored.metadata));
	let at = row.writeUInt8(OFFSET_FORMAT, 0);
	at += row.write(stored.topicId.replaceAll("-", ""), at, UUID_BYTES, "hex");
	at = row.writeDoubleBE(stored.offset, at);
	at = row.writeInt32BE(stored.leaderEpoch, at);
	at = row.writeDoubleBE(stored.committedMs, at);
	at = row.writeDoubleBE(stored.expiresMs ?? NONE, at);
	row.write(stored.metadata, at, "utf8");
	return row;
}

/** Whether `decodeOffset` may be asked. */
export function isOffset(value: Uint8Array): boolean {
	return value[0] === OFFSET_FORMAT && value.length >= HEAD_BYTES;
}

export function decodeOffset(value: Uint8Array): StoredOffset {
	const row = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	let at = 1;
	const hex = row.toString("hex", at, at + UUID_BYTES);
	at += UUID_BYTES;
	const expiresMs = row.readDoubleBE(at + 20);
	return {
		topicId: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
		offset: row.readDoubleBE(at),
		leaderEpoch: row.readInt32BE(at + 8),
		committedMs: row.readDoubleBE(at + 12),
		expiresMs: expiresMs === NONE ? undefined : expiresMs,
		metadata: row.toString("utf8", HEAD_BYTES),
	};
}

export function encodePending(pending: PendingOffset): Buffer {
	const head = Buffer.allocUnsafe(PENDING_HEAD_BYTES);
	let at = head.writeUInt8(PENDING_FORMAT, 0);
	at = head.writeDoubleBE(pending.producerId, at);
	at = head.writeInt16BE(pending.producerEpoch, at);
	at = head.writeDoubleBE(pending.order, at);
	head.writeUInt8(pending.overtaken ? 1 : 0, at);
	return Buffer.concat([head, encodeOffset(pending)]);
}

export function decodePending(value: Uint8Array): PendingOffset {
	const row = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	return {
		...decodeOffset(row.subarray(PENDING_HEAD_BYTES)),
		producerId: row.readDoubleBE(1),
		producerEpoch: row.readInt16BE(9),
		order: row.readDoubleBE(11),
		overtaken: row[19] === 1,
	};
}

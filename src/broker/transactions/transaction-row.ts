/** How the transactions of a transactional id are stored: the keys of their rows and the bytes of their values. */
import { DamageError } from "../../base/errors.ts";

/** Kafka's names. It prepares and completes in one commit here, so those between are never seen. */
export type TransactionState = "Empty" | "Ongoing" | "CompleteCommit" | "CompleteAbort";

/** By their number in a row. */
const STATES: readonly TransactionState[] = ["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"];

export interface TransactionRow {
	readonly state: TransactionState;
	readonly producerId: number;
	readonly producerEpoch: number;
	/** What the producer had before it asked for a new epoch: it may repeat the question. -1: it did not say what it had. */
	readonly lastProducerEpoch: number;
	/** What it had before its epochs ran out; -1: nothing. */
	readonly lastProducerId: number;
	readonly timeoutMs: number;
	/** When its newest transaction began, milliseconds since 1970; -1: it has had none since its producer began. */
	readonly startedMs: number;
	/** When it was last changed, milliseconds since 1970. */
	readonly updatedMs: number;
	/** Ids of the partitions in the transaction that is open. */
	readonly partitions: readonly number[];
	/** Consumer groups in the transaction that is open. */
	readonly groups: readonly string[];
}

/** All that Kafka has. */
export const TRANSACTION_STATES: ReadonlySet<string> = new Set([
	...STATES,
	"PrepareCommit",
	"PrepareAbort",
	"PrepareEpochFence",
	"Dead",
]);

const FORMAT = 1;
/** What comes before the partitions. */
const HEAD_BYTES = 1 + 1 + 8 + 2 + 2 + 8 + 4 + 8 + 8 + 4;
/** Begins the keys of open transactions: all that has to be known at start. */
export const OPEN_PREFIX = "o";
/** Begins the keys of all others. */
export const CLOSED_PREFIX = "t";

/** Of a row's value, bytes, with some to spare. */
export function rowBytes(partitions: number, groups: Iterable<string>): number {
	let bytes = HEAD_BYTES + 4 * partitions;
	for (const group of groups) bytes += 2 + 3 * group.length;
	return bytes;
}

export function encodeRow(row: TransactionRow): Buffer {
	const groups = row.groups.map((group) => Buffer.from(group));
	let bytes = HEAD_BYTES + 4 * row.partitions.length;
	for (const group of groups) bytes += 2 + group.length;
	const value = Buffer.allocUnsafe(bytes);
	let at = value.writeUInt8(FORMAT, 0);
	at = value.writeUInt8(STATES.indexOf(row.state), at);
	at = value.writeBigInt64BE(BigInt(row.producerId), at);
	at = value.writeInt16BE(row.producerEpoch, at);
	at = value.writeInt16BE(row.lastProducerEpoch, at);
	at = value.writeBigInt64BE(BigInt(row.lastProducerId), at);
	at = value.writeInt32BE(row.timeoutMs, at);
	at = value.writeBigInt64BE(BigInt(row.startedMs), at);
	at = value.writeBigInt64BE(BigInt(row.updatedMs), at);
	at = value.writeUInt32BE(row.partitions.length, at);
	for (const partition of row.partitions) at = value.writeUInt32BE(partition, at);
	for (const group of groups) {
		at = value.writeUInt16BE(group.length, at);
		at += group.copy(value, at);
	}
	return value;
}

/** Throws DamageError. */
export function decodeRow(bytes: Uint8Array): TransactionRow {
	const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
	const state = STATES[value.length < HEAD_BYTES ? -1 : (value[1] as number)];
	if (value[0] !== FORMAT || state === undefined)
		throw new DamageError("state", 0, `a transaction's row of format ${value[0]}, ${value.length} bytes`);
	const partitions: number[] = [];
	let at = HEAD_BYTES;
	for (let left = value.readUInt32BE(HEAD_BYTES - 4); left > 0; left--, at += 4)
		partitions.push(value.readUInt32BE(at));
	const groups: string[] = [];
	while (at < value.length) {
		const end = at + 2 + value.readUInt16BE(at);
		groups.push(value.toString("utf8", at + 2, end));
		at = end;
	}
	return {
		state,
		producerId: Number(value.readBigInt64BE(2)),
		producerEpoch: value.readInt16BE(10),
		lastProducerEpoch: value.readInt16BE(12),
		lastProducerId: Number(value.readBigInt64BE(14)),
		timeoutMs: value.readInt32BE(22),
		startedMs: Number(value.readBigInt64BE(26)),
		updatedMs: Number(value.readBigInt64BE(34)),
		partitions,
		groups,
	};
}

/**
 * A producer's record batch, checked wholly and appended: nothing of a batch that does not prove sound is stored. It is
 * moved into the log as it is, unless the topic asks for another codec or for the broker's own time. The checks, their
 * order and their errors are Kafka's.
 */
import { BrokerError } from "../base/errors.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import type { Partition } from "../log/partition.ts";
import { TRANSACTION_ROW_BYTES } from "../log/partition-transactions.ts";
import {
	BATCH_HEADER_BYTES,
	BatchError,
	forEachRecord,
	repairMaxTimestamp,
	type ValidatedBatch,
	validateBatch,
} from "../record/batch.ts";
import { recompress, stampAppendTime } from "../record/batch-rewrite.ts";
import type { Codec } from "../record/compression.ts";
import type { Broker } from "./broker.ts";
import { PRODUCER_ROW_BYTES, type SequenceCheck } from "./producer-states.ts";

/** What holds for all batches of one request. */
export interface AppendRequest {
	readonly transactionalId: string | null;
	/** What may still come out of their compression, bytes: it is work that others wait for. */
	decompressedBytes: number;
	/** When the first batch was brought into its topic's codec, on the monotonic clock, milliseconds. */
	recompressingSinceMs?: number;
	/** Records that were refused by name so far. */
	refusedRecords?: number;
	readonly allowsZstd: boolean;
}

export interface AppendedBatch {
	readonly baseOffset: number;
	/** Milliseconds since 1970 where the topic has the broker's time in its records; else -1. */
	readonly appendTimeMs: number;
	/** It was stored before, at `baseOffset`; durable when all is that has been gathered so far. */
	readonly isDuplicate: boolean;
}

/** Why single records of a batch are refused, and with them the batch. */
export class RefusedRecords extends BrokerError {
	/** `index` counts the batch's records from 0. */
	readonly records: readonly { readonly index: number; readonly reason: string }[];

	constructor(code: "INVALID_RECORD" | "INVALID_TIMESTAMP", message: string, records: RefusedRecords["records"]) {
		super(code, message);
		this.records = records;
	}
}

/** One answer names no more records than this, and one of each batch. */
const REFUSED_MAX = 100;
/** The least that a batch's length may be: leader epoch, magic and what older formats have. */
const LENGTH_MIN = 14;
const LENGTH_COUNTS_FROM = 12;
/** What may come out of one batch's compression. Readers here take twice as much. */
const DECOMPRESSED_MAX = 16 * 1024 * 1024;
const LOWEST_BYTES = 17;
/** How long one request may hold up others with bringing batches into the codecs of their topics; one batch is always done. */
const RECOMPRESSING_MAX_MS = 100;

/**
 * Appends the batch that `bytes` begins with to the commit being gathered; `bytes` belongs to the log from now on. A batch
 * that its producer sends once more is not stored again. Throws BrokerError: CORRUPT_MESSAGE, INVALID_RECORD,
 * INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE, REQUEST_TIMED_OUT (`decompressedBytes` is used up),
 * KAFKA_STORAGE_ERROR, and those of `ProducerStates.check`.
 */
export function appendProducerBatch(
	broker: Broker,
	partition: Partition,
	bytes: Buffer,
	request: AppendRequest,
): AppendedBatch {
	const { config } = partition;
	const received = onlyBatch(bytes, request);
	if (received.length > config.maxMessageBytes) throw tooLarge(partition, received.length);
	const now = broker.clock.now();
	const header = validate(received, partition, now, request);
	const isAppendTime = config.timestampType === "append";
	let batch = inCodecOf(broker, config, received, header, request);
	if (batch.length > config.maxMessageBytes) throw tooLarge(partition, batch.length);
	if (header.producerId >= 0) {
		const found = check(broker, partition, header, request);
		if (found.kind === "duplicate")
			return { baseOffset: found.baseOffset, appendTimeMs: isAppendTime ? found.timestamp : -1, isDuplicate: true };
	}
	batch = ownMemory(batch);
	if (isAppendTime) stampAppendTime(batch, now);
	else if (header.maxTimestamp !== header.largestTimestamp)
		repairMaxTimestamp(batch, 0, { ...header, sizeBytes: batch.length });
	const stored = { ...header, maxTimestamp: isAppendTime ? now : header.largestTimestamp };
	const appendTimeMs = isAppendTime ? now : -1;
	if (header.producerId < 0)
		return { baseOffset: partition.appendBatch(batch, header.count), appendTimeMs, isDuplicate: false };
	const baseOffset = broker.log.group(batch.length + PRODUCER_ROW_BYTES + TRANSACTION_ROW_BYTES, () => {
		const offset = partition.appendBatch(batch, header.count);
		broker.producers.appended(partition, stored, offset);
		if (header.isTransactional) partition.transactions.begin(header.producerId, offset);
		return offset;
	});
	return { baseOffset, appendTimeMs, isDuplicate: false };
}

/** As `ProducerStates.check`; where the batch is in no transaction, what its transactional id says about that comes first. */
function check(broker: Broker, partition: Partition, header: ValidatedBatch, request: AppendRequest): SequenceCheck {
	try {
		return broker.producers.check(partition, header);
	} catch (error) {
		const { transactionalId } = request;
		if (!(error instanceof BrokerError && error.code === "INVALID_TXN_STATE" && header.isTransactional)) throw error;
		if (transactionalId === null) throw error;
		const row = broker.transactions.describe(transactionalId);
		if (row?.producerId !== header.producerId)
			throw new BrokerError(
				"INVALID_PRODUCER_ID_MAPPING",
				`producer ${header.producerId} is not that of transactional id ${transactionalId}`,
				{ cause: error },
			);
		if (row.producerEpoch !== header.producerEpoch)
			throw new BrokerError(
				"INVALID_PRODUCER_EPOCH",
				`producer ${header.producerId} comes with epoch ${header.producerEpoch}; it is ${row.producerEpoch} now`,
				{ cause: error },
			);
		throw error;
	}
}

/** The one batch of `bytes`; what follows it and is no whole batch is passed over. */
function onlyBatch(bytes: Buffer, { allowsZstd }: AppendRequest): Buffer {
	const first = sizeOfBatch(bytes, 0);
	if (first === undefined) throw new BrokerError("INVALID_RECORD", "there is no whole record batch");
	const magic = bytes.readInt8(16);
	if (magic < 2) throw new BrokerError("INVALID_RECORD", `a record batch of format ${magic}; only 2 is taken`);
	if (!allowsZstd && (bytes.readInt16BE(21) & 0x07) === 4)
		throw new BrokerError("UNSUPPORTED_COMPRESSION_TYPE", "zstd needs version 7 of the request");
	if (sizeOfBatch(bytes, first) !== undefined)
		throw new BrokerError("INVALID_RECORD", "one record batch for a partition, not more");
	const batch = bytes.subarray(0, first);
	for (let at = 0; at < 8; at++)
		if (batch[at] !== 0) throw new BrokerError("INVALID_RECORD", "a producer's record batch has the base offset 0");
	return batch;
}

/** Of the batch at `at`, if it is there whole. Throws CORRUPT_MESSAGE for what cannot be a batch. */
function sizeOfBatch(bytes: Buffer, at: number): number | undefined {
	if (bytes.length - at < LOWEST_BYTES) return undefined;
	const length = bytes.readInt32BE(at + 8);
	if (length < LENGTH_MIN) throw new BrokerError("CORRUPT_MESSAGE", `a record batch of length ${length}`);
	const magic = bytes.readInt8(at + 16);
	if (magic < 0 || magic > 2) throw new BrokerError("CORRUPT_MESSAGE", `a record batch of format ${magic}`);
	const size = length + LENGTH_COUNTS_FROM;
	if (size > bytes.length - at) return undefined;
	if (magic === 2 && size < BATCH_HEADER_BYTES)
		throw new BrokerError("CORRUPT_MESSAGE", `a record batch of ${size} bytes`);
	return size;
}

function validate(batch: Buffer, partition: Partition, now: number, request: AppendRequest): ValidatedBatch {
	const { config } = partition;
	const header = validateWithin(batch, request);
	if (header.isControl) throw new BrokerError("INVALID_RECORD", "clients may not write control batches");
	if (header.hasDeleteHorizon) throw new BrokerError("INVALID_RECORD", "clients may not set a delete horizon");
	if (header.producerId >= 0 && header.baseSequence < 0)
		throw new BrokerError("INVALID_RECORD", `producer ${header.producerId} without a sequence number`);
	if (header.timestampType === "append")
		throw new BrokerError("INVALID_TIMESTAMP", "clients may not set the timestamp type to LogAppendTime");
	const compacted = config.cleanupPolicy.compact;
	const range = rangeOf(config, now);
	const isOff = header.smallestTimestamp < range.earliest || header.largestTimestamp > range.latest;
	if ((compacted && header.withoutKey > 0) || isOff) throw refusedRecords(batch, partition, range, request);
	return header;
}

function validateWithin(batch: Buffer, request: AppendRequest): ValidatedBatch {
	const isCompressed = (batch.readInt16BE(21) & 0x07) !== 0;
	if (isCompressed && request.decompressedBytes <= 0) throw tooMuch();
	const maxDecompressedBytes = Math.min(DECOMPRESSED_MAX, request.decompressedBytes);
	try {
		const header = validateBatch(batch, 0, { maxDecompressedBytes });
		request.decompressedBytes -= header.decompressedBytes;
		return header;
	} catch (error) {
		if (!(error instanceof BatchError)) throw error;
		if (isCompressed) request.decompressedBytes -= maxDecompressedBytes;
		if (error.reason === "RECORD_LIST_TOO_LARGE" && maxDecompressedBytes < DECOMPRESSED_MAX) throw tooMuch();
		throw refusalOf(error);
	}
}

/** The sender may send it again: other batches of its request are out of the way then. */
function tooMuch(): BrokerError {
	return new BrokerError(
		"REQUEST_TIMED_OUT",
		"the request's batches take too long to decompress: fewer at a time, please",
	);
}

function refusalOf(error: BatchError): BrokerError {
	const options = { cause: error };
	// To a producer that knows no better way this says: in smaller batches, please.
	if (error.reason === "RECORD_LIST_TOO_LARGE") return new BrokerError("MESSAGE_TOO_LARGE", error.message, options);
	// With the right checksum it arrived as it was sent: sending it again would not help.
	if (error.reason === "CORRUPT_MESSAGE" && error.position >= BATCH_HEADER_BYTES)
		return new BrokerError("INVALID_RECORD", error.message, options);
	return new BrokerError(error.reason, error.message, options);
}

interface TimeRange {
	readonly earliest: number;
	readonly latest: number;
}

/** What a producer's timestamps may be. */
function rangeOf(config: PartitionConfig, now: number): TimeRange {
	if (config.timestampType === "append")
		return { earliest: Number.NEGATIVE_INFINITY, latest: Number.POSITIVE_INFINITY };
	return { earliest: now - config.timestampBeforeMaxMs, latest: now + config.timestampAfterMaxMs };
}

function refusedRecords(
	batch: Buffer,
	partition: Partition,
	{ earliest, latest }: TimeRange,
	request: AppendRequest,
): RefusedRecords {
	const refused: { index: number; reason: string }[] = [];
	const isCompacted = partition.config.cleanupPolicy.compact;
	const before = request.refusedRecords ?? 0;
	const most = Math.max(1, REFUSED_MAX - before);
	let index = 0;
	let count = 0;
	let isTime = false;
	const refuse = (reason: string) => {
		count += 1;
		if (refused.length < most) refused.push({ index, reason });
	};
	forEachRecord(batch, 0, ({ keyStart, timestamp }) => {
		if (isCompacted && keyStart < 0) {
			refuse(`a record without a key, in the compacted topic ${partition.topic}`);
		} else if (timestamp >= 0 && (timestamp < earliest || timestamp > latest)) {
			isTime = true;
			refuse(`timestamp ${timestamp} is not within ${earliest} and ${latest}`);
		}
		index += 1;
	});
	request.refusedRecords = before + refused.length;
	const first = refused[0];
	const message = `${count} of ${index} records are refused; number ${first?.index}: ${first?.reason}`;
	return new RefusedRecords(isTime ? "INVALID_TIMESTAMP" : "INVALID_RECORD", message, refused);
}

function inCodecOf(
	{ clock }: Broker,
	config: PartitionConfig,
	batch: Buffer,
	header: ValidatedBatch,
	request: AppendRequest,
): Buffer {
	const { compressionType, compressionLevel } = config;
	if (compressionType === "producer") return batch;
	const codec: Codec = compressionType === "uncompressed" ? "none" : compressionType;
	if (codec === header.codec) return batch;
	const now = clock.monotonic();
	request.recompressingSinceMs ??= now;
	if (now - request.recompressingSinceMs > RECOMPRESSING_MAX_MS)
		throw new BrokerError(
			"REQUEST_TIMED_OUT",
			`the request's batches take too long to compress with ${codec}, as their topic asks: fewer at a time, please`,
		);
	return recompress(batch, header, codec, compressionLevel, DECOMPRESSED_MAX);
}

/** What is held for long must not hold much more than itself: a batch is part of the request that it came in. */
function ownMemory(batch: Buffer): Buffer {
	if (batch.length * 2 >= batch.buffer.byteLength) return batch;
	const own = Buffer.allocUnsafeSlow(batch.length);
	batch.copy(own);
	return own;
}

function tooLarge(partition: Partition, bytes: number): BrokerError {
	return new BrokerError(
		"MESSAGE_TOO_LARGE",
		`a batch of ${bytes} bytes; topic ${partition.topic} takes max.message.bytes=${partition.config.maxMessageBytes}`,
	);
}

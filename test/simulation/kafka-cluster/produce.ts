/** What a leader does with a produced batch: checks it as Kafka's LogValidator does, asks the coordinator, appends it. */
import { BatchError, decodeRecords, type ValidatedBatch, validateBatch } from "../../../src/record/batch.ts";
import { stampAppendTime } from "../../../src/record/batch-rewrite.ts";
import type { ClusterState, ModelBroker, ModelTopic } from "./cluster-state.ts";
import { CODES, Refusal } from "./codes.ts";
import type { Transactions } from "./transactions.ts";

/** From this version on producers know TRANSACTION_ABORTABLE. */
const ABORTABLE_FROM_VERSION = 11;

export interface ProduceCall {
	readonly broker: ModelBroker;
	readonly topic: ModelTopic;
	readonly index: number;
	readonly records: Buffer | null;
	readonly transactionalId: string | null;
	readonly version: number;
}

export interface Produced {
	readonly baseOffset: number;
	readonly logAppendTimeMs: number;
	readonly logStartOffset: number;
}

/** Throws Refusal. */
export function produce(cluster: ClusterState, transactions: Transactions, call: ProduceCall): Produced {
	const { broker, topic, index, transactionalId, version } = call;
	const partition = cluster.ledBy(broker, topic, index);
	if (topic.refusal !== undefined) throw new Refusal(topic.refusal, `${topic.name} is not to be written to`);
	// The frame is the connection's; a log keeps its own.
	const batch = Buffer.from(call.records ?? []);
	const header = soundBatch(batch);
	const limit = Number(cluster.config(topic, "max.message.bytes"));
	if (batch.length > limit)
		throw new Refusal(CODES.MESSAGE_TOO_LARGE, `a batch of ${batch.length} bytes, ${limit} at most`);
	const { isTransactional, producerId, producerEpoch } = header;
	if (isTransactional) {
		if (transactionalId === null)
			throw new Refusal(CODES.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "a transaction without a transactional id");
		partition.checkEpoch(producerId, producerEpoch);
		if (!partition.hasOpen(producerId, producerEpoch)) {
			const by = { producerId, producerEpoch };
			transactions.verify(transactionalId, by, { topic: topic.name, index }, version >= ABORTABLE_FROM_VERSION);
		}
	}
	checkRecords(cluster, topic, batch, header);
	let logAppendTimeMs = -1;
	if (cluster.config(topic, "message.timestamp.type") === "LogAppendTime") {
		logAppendTimeMs = cluster.timeline.wallMs;
		stampAppendTime(batch, logAppendTimeMs);
	}
	const { baseOffset } = partition.append(batch);
	return { baseOffset, logAppendTimeMs, logStartOffset: partition.logStartOffset };
}

function soundBatch(batch: Buffer): ValidatedBatch {
	let header: ValidatedBatch;
	try {
		header = validateBatch(batch, 0);
	} catch (error) {
		if (!(error instanceof BatchError)) throw error;
		throw new Refusal(CODES[error.reason], error.message);
	}
	if (header.sizeBytes !== batch.length)
		throw new Refusal(CODES.INVALID_RECORD, "there is more than one batch for the partition");
	if (header.isControl) throw new Refusal(CODES.INVALID_RECORD, "clients write no control batches");
	if (header.producerId >= 0 && (header.baseSequence < 0 || header.producerEpoch < 0))
		throw new Refusal(CODES.INVALID_RECORD, "a producer id without a sequence or epoch");
	return header;
}

function checkRecords(cluster: ClusterState, topic: ModelTopic, batch: Buffer, header: ValidatedBatch): void {
	const isCompacted = cluster.config(topic, "cleanup.policy").includes("compact");
	const isStamped = cluster.config(topic, "message.timestamp.type") === "LogAppendTime";
	const { wallMs } = cluster.timeline;
	const latest = isStamped ? Infinity : wallMs + Number(cluster.config(topic, "message.timestamp.after.max.ms"));
	const earliest = isStamped ? -Infinity : wallMs - Number(cluster.config(topic, "message.timestamp.before.max.ms"));
	if (header.withoutKey === 0 && header.largestTimestamp <= latest && header.smallestTimestamp >= earliest) return;
	const wrong: { batchIndex: number; batchIndexErrorMessage: string }[] = [];
	let isByTime = false;
	decodeRecords(batch).forEach(({ key, timestamp }, batchIndex) => {
		if (isCompacted && key === null) {
			const batchIndexErrorMessage = `Compacted topic cannot accept message without key in topic partition ${topic.name}.`;
			wrong.push({ batchIndex, batchIndexErrorMessage });
		} else if (timestamp > latest || (timestamp >= 0 && timestamp < earliest)) {
			isByTime = true;
			wrong.push({ batchIndex, batchIndexErrorMessage: `Timestamp ${timestamp} of message is out of range.` });
		}
	});
	if (wrong.length === 0) return;
	if (isByTime)
		throw new Refusal(
			CODES.INVALID_TIMESTAMP,
			"One or more records have been rejected due to invalid timestamp",
			wrong,
		);
	const what = `One or more records have been rejected due to ${wrong.length} record errors in total`;
	throw new Refusal(CODES.INVALID_RECORD, what, wrong);
}

/** TxnOffsetCommit: offsets that a consumer group gets when the producer's transaction commits. */
import { type BrokerError, ERROR_CODES } from "../../base/errors.ts";
import type { OffsetEntry } from "../../broker/groups/group-offsets.ts";
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { TxnOffsetCommitRequest, TxnOffsetCommitResponse } from "../protocol/messages/28-txn-offset-commit.ts";
import type { DecodedOf } from "../protocol/schema.ts";
import { transactionError } from "../transaction-error.ts";

type Request = DecodedOf<typeof TxnOffsetCommitRequest>;

/** No version has PRODUCER_FENCED. */
const FENCED_FROM = Number.POSITIVE_INFINITY;

export const txnOffsetCommit = api({
	request: TxnOffsetCommitRequest,
	response: TxnOffsetCommitResponse,
	versions: [0, 4],
	async handle(request, { services: { broker }, version }) {
		const { groups, transactions } = broker;
		const entries: OffsetEntry[] = [];
		const refused = new Map<string, BrokerError>();
		let isAnyKnown = false;
		for (const { name: topic, partitions } of request.topics) {
			for (const {
				partitionIndex: partition,
				committedOffset,
				committedLeaderEpoch,
				committedMetadata,
			} of partitions) {
				const entry = { topic, partition, offset: committedOffset, leaderEpoch: committedLeaderEpoch };
				const error = groups.checkOffset({ ...entry, metadata: committedMetadata });
				if (error === undefined) entries.push({ ...entry, metadata: committedMetadata ?? "" });
				else refused.set(placeOf(topic, partition), error);
				isAnyKnown ||= error?.code !== "UNKNOWN_TOPIC_OR_PARTITION";
			}
		}
		try {
			if (isAnyKnown) {
				transactions.checkGroup(request, request.groupId);
				groups.checkTransactionalCommit({
					group: request.groupId,
					generation: request.generationId,
					memberId: request.memberId,
					instanceId: request.groupInstanceId,
				});
				transactions.commitOffsets(request, request.groupId, entries);
			}
			await broker.log.whenCommitted();
		} catch (error) {
			const told = transactionError(errorNumber(error), version, FENCED_FROM);
			return answer(request, (topic, partition) =>
				refused.get(placeOf(topic, partition))?.code === "UNKNOWN_TOPIC_OR_PARTITION"
					? ERROR_CODES.UNKNOWN_TOPIC_OR_PARTITION
					: told,
			);
		}
		return answer(request, (topic, partition) => {
			const error = refused.get(placeOf(topic, partition));
			return error === undefined ? ERROR_CODES.NONE : errorNumber(error);
		});
	},
	refuse(request, error, _message, { version }) {
		const told = transactionError(error, version, FENCED_FROM);
		return answer(request, () => told);
	},
});

function placeOf(topic: string, partition: number): string {
	return `${partition} ${topic}`;
}

function answer(request: Request, errorOf: (topic: string, partition: number) => number) {
	return {
		topics: request.topics.map(({ name, partitions }) => ({
			name,
			partitions: partitions.map(({ partitionIndex }) => ({
				partitionIndex,
				errorCode: errorOf(name, partitionIndex),
			})),
		})),
	};
}

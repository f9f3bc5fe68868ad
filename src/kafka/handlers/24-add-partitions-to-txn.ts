/** AddPartitionsToTxn: the producer is going to write to partitions in its transaction. */
import { ERROR_CODES } from "../../base/errors.ts";
import type { Partition } from "../../log/partition.ts";
import { api } from "../api.ts";
import {
	AddPartitionsToTxnRequest,
	AddPartitionsToTxnResponse,
} from "../protocol/messages/24-add-partitions-to-txn.ts";
import type { DecodedOf } from "../protocol/schema.ts";
import { transactionError } from "../transaction-error.ts";

type Request = DecodedOf<typeof AddPartitionsToTxnRequest>;

const FENCED_FROM = 2;

export const addPartitionsToTxn = api({
	request: AddPartitionsToTxnRequest,
	response: AddPartitionsToTxnResponse,
	versions: [0, 3],
	async handle(request, { services: { broker } }) {
		const find = (name: string, index: number) => broker.topics.get(name)?.partitions[index];
		const partitions: Partition[] = [];
		let isAnyUnknown = false;
		for (const { name, partitions: indexes } of request.v3AndBelowTopics) {
			for (const index of indexes) {
				const partition = find(name, index);
				if (partition === undefined) isAnyUnknown = true;
				else partitions.push(partition);
			}
		}
		if (isAnyUnknown) {
			return answer(request, (name, index) =>
				find(name, index) === undefined ? ERROR_CODES.UNKNOWN_TOPIC_OR_PARTITION : ERROR_CODES.OPERATION_NOT_ATTEMPTED,
			);
		}
		const producer = {
			transactionalId: request.v3AndBelowTransactionalId,
			producerId: request.v3AndBelowProducerId,
			producerEpoch: request.v3AndBelowProducerEpoch,
		};
		broker.transactions.addPartitions(producer, partitions);
		await broker.log.whenCommitted();
		return answer(request, () => ERROR_CODES.NONE);
	},
	refuse(request, error, _message, { version }) {
		const told = transactionError(error, version, FENCED_FROM);
		return answer(request, () => told);
	},
});

function answer(request: Request, errorOf: (topic: string, partition: number) => number) {
	return {
		resultsByTopicV3AndBelow: request.v3AndBelowTopics.map(({ name, partitions }) => ({
			name,
			resultsByPartition: partitions.map((partitionIndex) => ({
				partitionIndex,
				partitionErrorCode: errorOf(name, partitionIndex),
			})),
		})),
	};
}

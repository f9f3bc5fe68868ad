/** DescribeProducers: which idempotent producers have written to a partition of late, and whose transaction is open there. */
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { DescribeProducersRequest, DescribeProducersResponse } from "../protocol/messages/61-describe-producers.ts";

/** One answer names no more of them than this. */
const PRODUCERS_MAX = 50_000;

export const describeProducers = api({
	request: DescribeProducersRequest,
	response: DescribeProducersResponse,
	versions: [0, 0],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle({ topics }, { services: { broker } }) {
		let left = PRODUCERS_MAX;
		return {
			topics: topics.map(({ name, partitionIndexes }) => ({
				name,
				// Each once: an answer may be large.
				partitions: [...new Set(partitionIndexes)].map((partitionIndex) => {
					try {
						const producers = broker.producers.describe(findPartition(broker, name, partitionIndex), left);
						left -= producers.length;
						return {
							partitionIndex,
							activeProducers: producers.map((producer) => ({
								producerId: producer.producerId,
								producerEpoch: producer.epoch,
								lastSequence: producer.lastSequence,
								lastTimestamp: producer.lastTimestamp,
								coordinatorEpoch: producer.coordinatorEpoch,
								currentTxnStartOffset: producer.transactionStartOffset,
							})),
						};
					} catch (error) {
						return { partitionIndex, errorCode: errorNumber(error), errorMessage: (error as Error).message };
					}
				}),
			})),
		};
	},
	refuse({ topics }, errorCode, errorMessage) {
		return {
			topics: topics.map(({ name, partitionIndexes }) => ({
				name,
				partitions: partitionIndexes.map((partitionIndex) => ({ partitionIndex, errorCode, errorMessage })),
			})),
		};
	},
});

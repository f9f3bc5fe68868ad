/** DeleteRecords: nothing before an offset can be read any more; answered when that is durable. */
import type { Broker } from "../../broker/broker.ts";
import { deleteRecordsBefore } from "../../log/delete-records.ts";
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { DeleteRecordsRequest, DeleteRecordsResponse } from "../protocol/messages/21-delete-records.ts";

export const deleteRecords = api({
	request: DeleteRecordsRequest,
	response: DeleteRecordsResponse,
	versions: [0, 2],
	async handle({ topics }, { services: { broker } }) {
		const answers = [];
		for (const { name, partitions } of topics) {
			const deleted = [];
			for (const { partitionIndex, offset } of partitions) {
				deleted.push({ partitionIndex, ...deleteIn(broker, name, partitionIndex, offset) });
				// Each writes to the catalog: others get their turn in between.
				await new Promise<void>((resolve) => broker.clock.soon(resolve));
			}
			answers.push({ name, partitions: deleted });
		}
		return { topics: answers };
	},
	refuse({ topics }, errorCode) {
		return {
			topics: topics.map(({ name, partitions }) => ({
				name,
				partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, lowWatermark: -1, errorCode })),
			})),
		};
	},
});

function deleteIn(broker: Broker, topic: string, number: number, offset: number) {
	try {
		const lowWatermark = deleteRecordsBefore(broker.log, findPartition(broker, topic, number), offset);
		return { lowWatermark, errorCode: 0 };
	} catch (error) {
		return { lowWatermark: -1, errorCode: errorNumber(error) };
	}
}

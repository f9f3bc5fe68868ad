/** OffsetDelete: a group's offsets of topics that it does not consume. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { codeNumber } from "../error-number.ts";
import { OffsetDeleteRequest, OffsetDeleteResponse } from "../protocol/messages/47-offset-delete.ts";

export const offsetDelete = api({
	request: OffsetDeleteRequest,
	response: OffsetDeleteResponse,
	versions: [0, 0],
	async handle({ groupId, topics }, { services: { broker } }) {
		const { groups, log } = broker;
		const refusals = groups.checkOffsetDelete(
			groupId,
			topics.map(({ name }) => name),
		);
		const answered = topics.map(({ name, partitions }, i) => ({
			name,
			partitions: partitions.map(({ partitionIndex }) => {
				if (broker.topics.get(name)?.partitions[partitionIndex] === undefined)
					return { partitionIndex, errorCode: ERROR_CODES.UNKNOWN_TOPIC_OR_PARTITION };
				if (refusals[i] === undefined) groups.offsets.delete(groupId, name, partitionIndex);
				return { partitionIndex, errorCode: codeNumber(refusals[i]) };
			}),
		}));
		await log.whenCommitted();
		return { errorCode: ERROR_CODES.NONE, topics: answered };
	},
	refuse(_request, errorCode) {
		return { errorCode };
	},
});

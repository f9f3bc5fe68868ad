/** OffsetForLeaderEpoch: how far the log of a leader epoch goes; a consumer asks to find out whether records were lost. */
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { checkLeaderEpoch, LEADER_EPOCH } from "../leader-epoch.ts";
import {
	OffsetForLeaderEpochRequest,
	OffsetForLeaderEpochResponse,
} from "../protocol/messages/23-offset-for-leader-epoch.ts";

export const offsetForLeaderEpoch = api({
	request: OffsetForLeaderEpochRequest,
	response: OffsetForLeaderEpochResponse,
	versions: [2, 4],
	handle({ topics }, { services: { broker } }) {
		return {
			topics: topics.map(({ topic, partitions }) => ({
				topic,
				partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
					try {
						const { highWatermark } = findPartition(broker, topic, partition);
						const refusal = checkLeaderEpoch(currentLeaderEpoch);
						if (refusal !== undefined) throw refusal;
						// Of an epoch that never was there is nothing to say, and that is no error.
						if (leaderEpoch !== LEADER_EPOCH) return { partition };
						return { partition, leaderEpoch, endOffset: highWatermark };
					} catch (error) {
						return { partition, errorCode: errorNumber(error) };
					}
				}),
			})),
		};
	},
	refuse({ topics }, errorCode) {
		return {
			topics: topics.map(({ topic, partitions }) => ({
				topic,
				partitions: partitions.map(({ partition }) => ({ partition, errorCode })),
			})),
		};
	},
});

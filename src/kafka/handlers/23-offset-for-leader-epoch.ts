/** OffsetForLeaderEpoch: how far the log of a leader epoch goes; a consumer asks to find out whether records were lost. */
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { checkLeaderEpoch } from "../leader-epoch.ts";
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
						const found = findPartition(broker, topic, partition);
						const refusal = checkLeaderEpoch(found, currentLeaderEpoch);
						if (refusal !== undefined) throw refusal;
						const end = found.epochs.endOf(leaderEpoch, found.logStartOffset, found.highWatermark);
						// Of an epoch that never was there is nothing to say, and that is no error.
						if (end === undefined) return { partition };
						return { partition, leaderEpoch: end.epoch, endOffset: end.endOffset };
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

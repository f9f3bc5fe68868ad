/** OffsetFetch, API key 9. */
import { array, bool, int16, int32, int64, message, string, struct, uuid } from "../schema.ts";

export const OffsetFetchRequest = message(
	9,
	"OffsetFetchRequest",
	{ versions: [1, 10], flexible: 6 },
	{
		groupId: string.in(0, 7),
		topics: array(
			struct({
				name: string.in(0, 7),
				partitionIndexes: array(int32).in(0, 7),
			}),
		)
			.nullable(2)
			.in(0, 7),
		groups: array(
			struct({
				groupId: string.in(8),
				memberId: string.nullable().or(null).in(9),
				memberEpoch: int32.or(-1).in(9),
				topics: array(
					struct({
						name: string.in(8, 9),
						topicId: uuid.in(10),
						partitionIndexes: array(int32).in(8),
					}),
				)
					.nullable()
					.in(8),
			}),
		).in(8),
		requireStable: bool.in(7),
	},
);

export const OffsetFetchResponse = message(
	9,
	"OffsetFetchResponse",
	{ versions: [1, 10], flexible: 6 },
	{
		throttleTimeMs: int32.in(3),
		topics: array(
			struct({
				name: string.in(0, 7),
				partitions: array(
					struct({
						partitionIndex: int32.in(0, 7),
						committedOffset: int64.in(0, 7),
						committedLeaderEpoch: int32.or(-1).in(5, 7),
						metadata: string.nullable().in(0, 7),
						errorCode: int16.in(0, 7),
					}),
				).in(0, 7),
			}),
		).in(0, 7),
		errorCode: int16.in(2, 7),
		groups: array(
			struct({
				groupId: string.in(8),
				topics: array(
					struct({
						name: string.in(8, 9),
						topicId: uuid.in(10),
						partitions: array(
							struct({
								partitionIndex: int32.in(8),
								committedOffset: int64.in(8),
								committedLeaderEpoch: int32.or(-1).in(8),
								metadata: string.nullable().in(8),
								errorCode: int16.in(8),
							}),
						).in(8),
					}),
				).in(8),
				errorCode: int16.in(8),
			}),
		).in(8),
	},
);

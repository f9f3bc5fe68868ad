/** CreateTopics, API key 19. */
import { array, bool, int8, int16, int32, message, string, struct, uuid } from "../schema.ts";

export const CreateTopicsRequest = message(
	19,
	"CreateTopicsRequest",
	{ versions: [2, 7], flexible: 5 },
	{
		topics: array(
			struct({
				name: string,
				numPartitions: int32,
				replicationFactor: int16,
				assignments: array(
					struct({
						partitionIndex: int32,
						brokerIds: array(int32),
					}),
				),
				configs: array(
					struct({
						name: string,
						value: string.nullable(),
					}),
				),
			}),
		),
		timeoutMs: int32.or(60000),
		validateOnly: bool,
	},
);

export const CreateTopicsResponse = message(
	19,
	"CreateTopicsResponse",
	{ versions: [2, 7], flexible: 5 },
	{
		throttleTimeMs: int32,
		topics: array(
			struct({
				name: string,
				topicId: uuid.in(7),
				errorCode: int16,
				errorMessage: string.nullable(),
				topicConfigErrorCode: int16.in(5).tagged(0),
				numPartitions: int32.or(-1).in(5),
				replicationFactor: int16.or(-1).in(5),
				configs: array(
					struct({
						name: string.in(5),
						value: string.nullable().in(5),
						readOnly: bool.in(5),
						configSource: int8.or(-1).in(5),
						isSensitive: bool.in(5),
					}),
				)
					.nullable()
					.in(5),
			}),
		),
	},
);

/** CreatePartitions, API key 37. */
import { array, bool, int16, int32, message, string, struct } from "../schema.ts";

export const CreatePartitionsRequest = message(
	37,
	"CreatePartitionsRequest",
	{ versions: [0, 3], flexible: 2 },
	{
		topics: array(
			struct({
				name: string,
				count: int32,
				assignments: array(
					struct({
						brokerIds: array(int32),
					}),
				).nullable(),
			}),
		),
		timeoutMs: int32,
		validateOnly: bool,
	},
);

export const CreatePartitionsResponse = message(
	37,
	"CreatePartitionsResponse",
	{ versions: [0, 3], flexible: 2 },
	{
		throttleTimeMs: int32,
		results: array(
			struct({
				name: string,
				errorCode: int16,
				errorMessage: string.nullable().or(null),
			}),
		),
	},
);

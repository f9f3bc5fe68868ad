/** DeleteTopics, API key 20. */
import { array, int16, int32, message, string, struct, uuid } from "../schema.ts";

export const DeleteTopicsRequest = message(
	20,
	"DeleteTopicsRequest",
	{ versions: [1, 6], flexible: 4 },
	{
		topics: array(
			struct({
				name: string.nullable().or(null).in(6),
				topicId: uuid.in(6),
			}),
		).in(6),
		topicNames: array(string).in(0, 5),
		timeoutMs: int32,
	},
);

export const DeleteTopicsResponse = message(
	20,
	"DeleteTopicsResponse",
	{ versions: [1, 6], flexible: 4 },
	{
		throttleTimeMs: int32,
		responses: array(
			struct({
				name: string.nullable(6),
				topicId: uuid.in(6),
				errorCode: int16,
				errorMessage: string.nullable().or(null).in(5),
			}),
		),
	},
);

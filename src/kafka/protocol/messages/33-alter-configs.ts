/** AlterConfigs, API key 33. */
import { array, bool, int8, int16, int32, message, string, struct } from "../schema.ts";

export const AlterConfigsRequest = message(
	33,
	"AlterConfigsRequest",
	{ versions: [0, 2], flexible: 2 },
	{
		resources: array(
			struct({
				resourceType: int8,
				resourceName: string,
				configs: array(
					struct({
						name: string,
						value: string.nullable(),
					}),
				),
			}),
		),
		validateOnly: bool,
	},
);

export const AlterConfigsResponse = message(
	33,
	"AlterConfigsResponse",
	{ versions: [0, 2], flexible: 2 },
	{
		throttleTimeMs: int32,
		responses: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable(),
				resourceType: int8,
				resourceName: string,
			}),
		),
	},
);

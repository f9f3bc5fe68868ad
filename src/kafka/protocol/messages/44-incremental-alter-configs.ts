/** IncrementalAlterConfigs, API key 44. */
import { array, bool, int8, int16, int32, message, string, struct } from "../schema.ts";

export const IncrementalAlterConfigsRequest = message(
	44,
	"IncrementalAlterConfigsRequest",
	{ versions: [0, 1], flexible: 1 },
	{
		resources: array(
			struct({
				resourceType: int8,
				resourceName: string,
				configs: array(
					struct({
						name: string,
						configOperation: int8,
						value: string.nullable(),
					}),
				),
			}),
		),
		validateOnly: bool,
	},
);

export const IncrementalAlterConfigsResponse = message(
	44,
	"IncrementalAlterConfigsResponse",
	{ versions: [0, 1], flexible: 1 },
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

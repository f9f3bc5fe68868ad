/** DescribeConfigs, API key 32. */
import { array, bool, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeConfigsRequest = message(
	32,
	"DescribeConfigsRequest",
	{ versions: [1, 4], flexible: 4 },
	{
		resources: array(
			struct({
				resourceType: int8,
				resourceName: string,
				configurationKeys: array(string).nullable(),
			}),
		),
		includeSynonyms: bool,
		includeDocumentation: bool.in(3),
	},
);

export const DescribeConfigsResponse = message(
	32,
	"DescribeConfigsResponse",
	{ versions: [1, 4], flexible: 4 },
	{
		throttleTimeMs: int32,
		results: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable(),
				resourceType: int8,
				resourceName: string,
				configs: array(
					struct({
						name: string,
						value: string.nullable(),
						readOnly: bool,
						configSource: int8.or(-1),
						isSensitive: bool,
						synonyms: array(
							struct({
								name: string,
								value: string.nullable(),
								source: int8,
							}),
						),
						configType: int8.in(3),
						documentation: string.nullable().in(3),
					}),
				),
			}),
		),
	},
);

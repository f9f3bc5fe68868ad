/** DescribeClientQuotas, API key 48. */
import { array, bool, float64, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeClientQuotasRequest = message(
	48,
	"DescribeClientQuotasRequest",
	{ versions: [0, 1], flexible: 1 },
	{
		components: array(
			struct({
				entityType: string,
				matchType: int8,
				match: string.nullable(),
			}),
		),
		strict: bool,
	},
);

export const DescribeClientQuotasResponse = message(
	48,
	"DescribeClientQuotasResponse",
	{ versions: [0, 1], flexible: 1 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable(),
		entries: array(
			struct({
				entity: array(
					struct({
						entityType: string,
						entityName: string.nullable(),
					}),
				),
				values: array(
					struct({
						key: string,
						value: float64,
					}),
				),
			}),
		).nullable(),
	},
);

/** AlterClientQuotas, API key 49. */
import { array, bool, float64, int16, int32, message, string, struct } from "../schema.ts";

export const AlterClientQuotasRequest = message(
	49,
	"AlterClientQuotasRequest",
	{ versions: [0, 1], flexible: 1 },
	{
		entries: array(
			struct({
				entity: array(
					struct({
						entityType: string,
						entityName: string.nullable(),
					}),
				),
				ops: array(
					struct({
						key: string,
						value: float64,
						remove: bool,
					}),
				),
			}),
		),
		validateOnly: bool,
	},
);

export const AlterClientQuotasResponse = message(
	49,
	"AlterClientQuotasResponse",
	{ versions: [0, 1], flexible: 1 },
	{
		throttleTimeMs: int32,
		entries: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable(),
				entity: array(
					struct({
						entityType: string,
						entityName: string.nullable(),
					}),
				),
			}),
		),
	},
);

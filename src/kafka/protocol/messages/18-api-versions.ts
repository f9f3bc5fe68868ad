/** ApiVersions, API key 18. */
import { array, bool, int16, int32, int64, message, string, struct } from "../schema.ts";

export const ApiVersionsRequest = message(
	18,
	"ApiVersionsRequest",
	{ versions: [0, 4], flexible: 3 },
	{
		clientSoftwareName: string.in(3),
		clientSoftwareVersion: string.in(3),
	},
);

export const ApiVersionsResponse = message(
	18,
	"ApiVersionsResponse",
	{ versions: [0, 4], flexible: 3 },
	{
		errorCode: int16,
		apiKeys: array(
			struct({
				apiKey: int16,
				minVersion: int16,
				maxVersion: int16,
			}),
		),
		throttleTimeMs: int32.in(1),
		supportedFeatures: array(
			struct({
				name: string.in(3),
				minVersion: int16.in(3),
				maxVersion: int16.in(3),
			}),
		)
			.in(3)
			.tagged(0),
		finalizedFeaturesEpoch: int64.or(-1).in(3).tagged(1),
		finalizedFeatures: array(
			struct({
				name: string.in(3),
				maxVersionLevel: int16.in(3),
				minVersionLevel: int16.in(3),
			}),
		)
			.in(3)
			.tagged(2),
		zkMigrationReady: bool.in(3).tagged(3),
	},
);

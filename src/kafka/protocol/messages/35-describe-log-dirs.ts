/** DescribeLogDirs, API key 35. */
import { array, bool, int16, int32, int64, message, string, struct } from "../schema.ts";

export const DescribeLogDirsRequest = message(
	35,
	"DescribeLogDirsRequest",
	{ versions: [1, 5], flexible: 2 },
	{
		topics: array(
			struct({
				topic: string,
				partitions: array(int32),
			}),
		).nullable(),
	},
);

export const DescribeLogDirsResponse = message(
	35,
	"DescribeLogDirsResponse",
	{ versions: [1, 5], flexible: 2 },
	{
		throttleTimeMs: int32,
		errorCode: int16.in(3),
		results: array(
			struct({
				errorCode: int16,
				logDir: string,
				topics: array(
					struct({
						name: string,
						partitions: array(
							struct({
								partitionIndex: int32,
								partitionSize: int64,
								offsetLag: int64,
								isFutureKey: bool,
							}),
						),
					}),
				),
				totalBytes: int64.or(-1).in(4),
				usableBytes: int64.or(-1).in(4),
				isCordoned: bool.in(5),
			}),
		),
	},
);

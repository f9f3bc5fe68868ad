/** DescribeCluster, API key 60. */
import { array, bool, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeClusterRequest = message(
	60,
	"DescribeClusterRequest",
	{ versions: [0, 2], flexible: 0 },
	{
		includeClusterAuthorizedOperations: bool,
		endpointType: int8.or(1).in(1),
		includeFencedBrokers: bool.in(2),
	},
);

export const DescribeClusterResponse = message(
	60,
	"DescribeClusterResponse",
	{ versions: [0, 2], flexible: 0 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable().or(null),
		endpointType: int8.or(1).in(1),
		clusterId: string,
		controllerId: int32.or(-1),
		brokers: array(
			struct({
				brokerId: int32,
				host: string,
				port: int32,
				rack: string.nullable().or(null),
				isFenced: bool.in(2),
			}),
		),
		clusterAuthorizedOperations: int32.or(-2147483648),
	},
);

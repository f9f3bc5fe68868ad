/** DescribeLogDirs: how many bytes each partition has on the disk, and how many there are. There is one directory. */
import type { Topic } from "../../broker/topics.ts";
import type { Partition } from "../../log/partition.ts";
import { api } from "../api.ts";
import { DescribeLogDirsRequest, DescribeLogDirsResponse } from "../protocol/messages/35-describe-log-dirs.ts";

export const describeLogDirs = api({
	request: DescribeLogDirsRequest,
	response: DescribeLogDirsResponse,
	versions: [1, 4],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle: ({ topics: wanted }, { services: { broker } }) => {
		const { dataFolder } = broker;
		const { disk } = broker.log.services;
		const topics =
			wanted === null
				? broker.topics.list().map((topic) => sizesOf(topic, topic.partitions))
				: wanted.flatMap(({ topic: name, partitions }) => {
						const topic = broker.topics.get(name);
						if (topic === undefined) return [];
						const found = [...new Set(partitions)].flatMap((number) => topic.partitions[number] ?? []);
						return found.length === 0 ? [] : [sizesOf(topic, found)];
					});
		return {
			results: [
				{
					logDir: dataFolder,
					topics,
					totalBytes: disk.totalBytes(dataFolder),
					usableBytes: disk.freeBytes(dataFolder),
				},
			],
		};
	},
	refuse: (_request, errorCode) => ({ errorCode }),
});

function sizesOf({ name }: Topic, partitions: readonly Partition[]) {
	return {
		name,
		partitions: partitions.map(({ number, sizeBytes }) => ({ partitionIndex: number, partitionSize: sizeBytes })),
	};
}

/** What people see of a topic on its way: what is sent, what waits, since when; and what should worry them. */
import type { UpstreamTopicStatus } from "../../src/broker/upstream-admin.ts";
import type { Partition } from "../../src/log/partition.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import type { Destinations } from "./destinations.ts";
import { backfillOf, lagOf, lowestOf } from "./position.ts";
import type { Flow, Source, Sources } from "./sources.ts";

/** Partitions of a topic whose oldest record is looked for: it is a read each. */
const LOOKED_AT = 32;
const WAIT_MS = 200;

export async function topicStatus(flow: Flow): Promise<UpstreamTopicStatus> {
	const { topic, rule, to, sources, counters, problem } = flow;
	let lagRecords = 0;
	let lagBytes = 0;
	let backfillRecords = 0;
	const waiting: Source[] = [];
	for (const source of sources) {
		const lag = lagOf(source.position, source.partition.lastStableOffset);
		if (lag === 0) continue;
		waiting.push(source);
		lagRecords += lag;
		lagBytes += lag * bytesOfRecord(source.partition, flow.recordBytes);
		backfillRecords += backfillOf(source.position);
	}
	return {
		...{ topic: topic.name, to, priority: rule.priority, partitions: topic.partitions.length },
		sentRecords: counters.records,
		sentBytes: Math.round(counters.bytes),
		...{ lagRecords, lagBytes: Math.round(lagBytes), backfillRecords },
		oldestMs: await oldestOf(waiting),
		quarantinedRecords: counters.quarantined,
		lostRecords: counters.lost,
		problem:
			problem === undefined
				? undefined
				: { sinceMs: problem.sinceMs, message: problem.message, action: problem.action },
	};
}

/** On average, in its files. */
function bytesOfRecord({ sizeBytes, localStartOffset, endOffset }: Partition, otherwise: number): number {
	const offsets = endOffset - localStartOffset;
	return offsets > 0 ? sizeBytes / offsets : otherwise;
}

async function oldestOf(waiting: readonly Source[]): Promise<number | undefined> {
	const found = await Promise.all(waiting.slice(0, LOOKED_AT).map(timestampOf));
	const known = found.filter((each) => each !== undefined);
	return known.length === 0 ? undefined : Math.min(...known);
}

/** Of the first record that waits, more or less; undefined where it cannot be had now. */
async function timestampOf({ position, partition }: Source): Promise<number | undefined> {
	try {
		const offset = Math.max(lowestOf(position), partition.logStartOffset);
		const bytes = await partition.read(offset, 1, undefined, undefined, WAIT_MS);
		const timestamp = bytes.length === 0 ? -1 : readBatchHeader(bytes, 0).baseTimestamp;
		return timestamp < 0 ? undefined : timestamp;
	} catch {
		return undefined;
	}
}

/** What is no fault, and yet would cost records. */
export function warningsOf(
	topics: readonly UpstreamTopicStatus[],
	{ flows }: Sources,
	destinations: Destinations,
	nowMs: number,
): string[] {
	return topics.flatMap(({ topic, to, oldestMs }) => {
		const flow = flows.get(topic);
		const retentionMs = flow === undefined ? undefined : destinations.limitsOf(flow)?.retentionMs;
		if (retentionMs === undefined || retentionMs < 0 || oldestMs === undefined || nowMs - oldestMs < retentionMs)
			return [];
		return [
			`topic ${to} of the central cluster keeps ${Math.round(retentionMs / 3_600_000)} hours, and what waits in ${topic} is older: it is deleted there soon after it arrives; raise retention.ms there first`,
		];
	});
}

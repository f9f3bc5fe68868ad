/** Reads one partition of the central cluster, without a fetch session: for what is read once, as progress is. */
import type { DecodedOf } from "../../../src/kafka/protocol/schema.ts";
import { FETCH } from "./apis.ts";
import { askLeader } from "./ask-leader.ts";
import type { Cluster } from "./cluster.ts";
import type { Fetched } from "./committed.ts";

export type { Fetched } from "./committed.ts";

export interface FetchOptions {
	/** "committed": nothing from the first open transaction on, and `aborted` says what to leave out. */
	readonly isolation: "committed" | "uncommitted";
	/** The first batch comes whole however long it is (KIP-74). */
	readonly maxBytes: number;
	/** How long the broker may wait for something new; it answers without then. */
	readonly maxWaitMs: number;
	readonly lane?: string;
	readonly signal: AbortSignal;
}

/** The last that names topics; later ones have only their ids. */
const FETCH_AT_MOST = 12;
const ISOLATION = { uncommitted: 0, committed: 1 } as const;
const NO_SESSION = { sessionId: 0, sessionEpoch: -1 };

/**
 * What there is from `offset` on. Asks again, for as long as a request may take, where leaders change. Rejects with
 * LinkError, KafkaError: OFFSET_OUT_OF_RANGE among them.
 */
export async function fetchPartition(
	cluster: Cluster,
	topic: string,
	partition: number,
	offset: number,
	{ isolation, maxBytes, maxWaitMs, lane, signal }: FetchOptions,
): Promise<Fetched> {
	const value = {
		maxWaitMs,
		minBytes: 1,
		maxBytes,
		isolationLevel: ISOLATION[isolation],
		...NO_SESSION,
		topics: [{ topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: maxBytes }] }],
	};
	const find = ({ responses }: Body): Found | undefined =>
		responses.find((one) => one.topic === topic)?.partitions.find((one) => one.partitionIndex === partition);
	const body = await askLeader(cluster, { topic, partition }, FETCH, value, {
		timeoutMs: maxWaitMs + cluster.options.requestTimeoutMs,
		atMost: FETCH_AT_MOST,
		signal,
		...(lane !== undefined && { lane }),
		codeOf: (answer) => (answer.errorCode === 0 ? find(answer)?.errorCode : answer.errorCode),
	});
	const { records, highWatermark, lastStableOffset, logStartOffset, abortedTransactions } = find(body) as Found;
	return {
		records: records ?? Buffer.alloc(0),
		highWatermark,
		lastStableOffset,
		logStartOffset,
		aborted: abortedTransactions ?? [],
	};
}

type Body = DecodedOf<typeof FETCH.response>;
type Found = Body["responses"][number]["partitions"][number];

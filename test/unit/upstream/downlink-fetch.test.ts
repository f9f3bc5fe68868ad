import { describe, expect, it } from "vitest";
import type { Cluster, RequestOptions } from "../../../bridge/upstream/client/cluster.ts";
import { type FetchLimits, FetchSession, type Wanted } from "../../../bridge/upstream/downlink/fetch-session.ts";
import type { FetchRequest, FetchResponse } from "../../../src/kafka/protocol/messages/01-fetch.ts";
import type { DecodedOf, EncodableOf } from "../../../src/kafka/protocol/schema.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";

type Request = EncodableOf<typeof FetchRequest>;
type Answer = DecodedOf<typeof FetchResponse>;
interface Asked {
	readonly request: Request;
	readonly options: RequestOptions;
}

const LIMITS: FetchLimits = { maxWaitMs: 45_000, maxBytes: 1000, signal: new AbortController().signal };

/** Answers what it was told to, one after the other; what it was asked is in `asked`. */
function scripted(...answers: (Partial<Answer> & { readonly version?: number })[]) {
	const asked: Asked[] = [];
	const toNode = async (_node: number, _api: unknown, request: Request, options: RequestOptions) => {
		asked.push({ request: structuredClone(request), options });
		const { version = 17, ...body } = answers[asked.length - 1] ?? {};
		return { version, body: { errorCode: 0, sessionId: 0, responses: [], throttleTimeMs: 0, ...body } };
	};
	const cluster = { options: { requestTimeoutMs: 30_000 }, toNode } as unknown as Cluster;
	return { cluster, asked };
}

const ID = "00000000-0000-0000-0000-00000000000a";

function wanted(partition: number, next: number, more: Partial<Wanted> = {}): Wanted {
	return { topic: "t", topicId: ID, partition, next, epoch: -1, ...more };
}

function about(partitionIndex: number, more: object = {}): Answer["responses"][number]["partitions"][number] {
	return {
		...{ partitionIndex, errorCode: 0, highWatermark: 9, lastStableOffset: 8, logStartOffset: 1 },
		...{ divergingEpoch: { epoch: -1, endOffset: -1 }, currentLeader: { leaderId: -1, leaderEpoch: -1 } },
		...{ snapshotId: { endOffset: -1, epoch: -1 }, preferredReadReplica: -1 },
		...{ abortedTransactions: null, records: null, ...more },
	};
}

const asksFor = ({ request }: Asked): [number | undefined, number | undefined][] =>
	(request.topics ?? []).flatMap(({ partitions = [] }) =>
		partitions.map(({ partition, fetchOffset }) => [partition, fetchOffset] as [number, number]),
	);
const sessionOf = ({ request }: Asked) => [request.sessionId, request.sessionEpoch];

describe("a fetch session", () => {
	it("says everything once, then what has changed", async () => {
		const { cluster, asked } = scripted({ sessionId: 7 }, { sessionId: 7 }, { sessionId: 7 }, { sessionId: 7 });
		const session = new FetchSession(1);
		await session.fetch(cluster, [wanted(0, 5), wanted(1, 6)], LIMITS);
		await session.fetch(cluster, [wanted(0, 5), wanted(1, 6)], LIMITS);
		await session.fetch(cluster, [wanted(1, 6), wanted(0, 9)], LIMITS);
		await session.fetch(cluster, [wanted(1, 6, { epoch: 3 }), wanted(0, 9)], LIMITS);
		expect(asked.map(sessionOf)).toEqual([
			[0, 0],
			[7, 1],
			[7, 2],
			[7, 3],
		]);
		expect(asked.map(asksFor)).toEqual([
			[
				[0, 5],
				[1, 6],
			],
			[],
			[[0, 9]],
			[[1, 6]],
		]);
		expect(asked[0]?.options).toMatchObject({ timeoutMs: 75_000, lane: "downlink" });
		expect(asked[0]?.request).toMatchObject({ isolationLevel: 1, minBytes: 1, maxBytes: 1000, maxWaitMs: 45_000 });
	});

	it("says everything each time to a broker that keeps no sessions", async () => {
		const { cluster, asked } = scripted({}, {});
		const session = new FetchSession(1);
		for (let i = 0; i < 2; i++) await session.fetch(cluster, [wanted(0, 5)], LIMITS);
		expect(asked.map(sessionOf)).toEqual([
			[0, 0],
			[0, 0],
		]);
		expect(asked.map(asksFor)).toEqual([[[0, 5]], [[0, 5]]]);
	});

	it.each([
		[70, [0, 0]],
		[71, [7, 0]],
		[106, [7, 0]],
	])("begins anew at once on error %i", async (errorCode, begins) => {
		const { cluster, asked } = scripted({ sessionId: 7 }, { errorCode }, { sessionId: 8 });
		const session = new FetchSession(1);
		await session.fetch(cluster, [wanted(0, 5)], LIMITS);
		await session.fetch(cluster, [wanted(0, 5)], LIMITS);
		expect(asked.map(sessionOf)).toEqual([[0, 0], [7, 1], begins]);
		expect(asksFor(asked[2] as Asked)).toEqual([[0, 5]]);
	});

	it("gives up where the broker does not keep the session that it has just begun", async () => {
		const { cluster } = scripted({ errorCode: 71 }, { errorCode: 71 });
		await expect(new FetchSession(1).fetch(cluster, [wanted(0, 5)], LIMITS)).rejects.toMatchObject({ code: 71 });
	});

	it("says everything after an error, and ends what the broker may still have", async () => {
		const { cluster, asked } = scripted({ sessionId: 7 }, { errorCode: -1 }, { sessionId: 9 });
		const session = new FetchSession(1);
		await session.fetch(cluster, [wanted(0, 5)], LIMITS);
		await expect(session.fetch(cluster, [wanted(0, 6)], LIMITS)).rejects.toMatchObject({ code: -1 });
		await session.fetch(cluster, [wanted(0, 6)], LIMITS);
		expect(sessionOf(asked[2] as Asked)).toEqual([7, 0]);
	});

	it("refuses an answer of another session, and one that was not asked for", async () => {
		const { cluster } = scripted({ sessionId: 7 }, { sessionId: 8 });
		const session = new FetchSession(1);
		await session.fetch(cluster, [wanted(0, 5)], LIMITS);
		await expect(session.fetch(cluster, [wanted(0, 5)], LIMITS)).rejects.toMatchObject({ failure: "malformed" });
		const other = scripted({ responses: [{ topic: "", topicId: ID, partitions: [about(3)] }] });
		await expect(new FetchSession(1).fetch(other.cluster, [wanted(0, 5)], LIMITS)).rejects.toMatchObject({
			failure: "malformed",
		});
	});

	it("finds topics by id or by name, as the version has them", async () => {
		for (const [version, topic, topicId] of [
			[17, "", ID],
			[12, "t", ZERO_UUID],
		] as const) {
			const { cluster } = scripted({ version, responses: [{ topic, topicId, partitions: [about(1)] }] });
			const one = wanted(1, 5);
			const [answer] = await new FetchSession(1).fetch(cluster, [wanted(0, 5), one], LIMITS);
			expect(answer?.wanted).toBe(one);
			expect(answer).toMatchObject({ errorCode: 0, divergedAt: undefined });
			expect(answer?.fetched).toMatchObject({ highWatermark: 9, lastStableOffset: 8, aborted: [] });
			expect(answer?.fetched.records).toHaveLength(0);
		}
	});

	it("asks by name where a topic has no id", async () => {
		const { cluster, asked } = scripted({}, {});
		await new FetchSession(1).fetch(cluster, [wanted(0, 5), wanted(0, 5, { topicId: ZERO_UUID, topic: "u" })], LIMITS);
		expect(asked[0]?.options.atMost).toBe(12);
		await new FetchSession(1).fetch(cluster, [wanted(0, 5)], LIMITS);
		expect(asked[1]?.options.atMost).toBeUndefined();
	});

	it("tells which epoch was read last where it is known, and where the broker's history is another", async () => {
		const diverging = about(0, { divergingEpoch: { epoch: 2, endOffset: 3 } });
		const { cluster, asked } = scripted({ responses: [{ topic: "", topicId: ID, partitions: [diverging] }] });
		const all = [wanted(0, 5, { epoch: 4 }), wanted(1, 5), wanted(2, 5, { epoch: -6 })];
		const [answer] = await new FetchSession(1).fetch(cluster, all, LIMITS);
		expect(answer?.divergedAt).toBe(3);
		expect(asked[0]?.request.topics?.[0]?.partitions?.map(({ lastFetchedEpoch }) => lastFetchedEpoch)).toEqual([
			4, -1, -1,
		]);
	});
});

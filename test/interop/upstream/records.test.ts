/**
 * What Kafka does not take, and what becomes of it: records that are too large, from another time, or without a key in a
 * compacted topic. And topics there that are missing, deleted and made anew, or given partitions.
 */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { UpstreamStatus } from "../../../src/native/client/upstream-types.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { Central, Operator } from "./central.ts";
import { Edge, numbers, perKey, type Settings, type Stored } from "./edge.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe.skipIf(!kafka)("records and topics of a real Kafka", () => {
	let central: Central;
	let operator: Operator;
	let edge: Edge;
	const QUARANTINE = "__headwater_quarantine";

	const start = (settings: Settings): Promise<Edge> =>
		Edge.start(central.bootstrap, {
			"upstream.topics": ["large", "times", "aged", "compacted", "made", "missing", "renewed", "grown"],
			...settings,
		});
	const create = (name: string, options = ""): Promise<string> =>
		operator.out("topics", `--create --topic ${name} ${options}`);
	/** Those of a topic, with why. */
	const quarantined = async (topic: string): Promise<(Stored & { reason: string })[]> =>
		(await edge.stored(QUARANTINE))
			.map((record) => ({ ...record, headerOf: new Map(record.headers) }))
			.filter(({ headerOf }) => headerOf.get("headwater.topic") === topic)
			.map(({ headerOf, ...record }) => ({ ...record, reason: headerOf.get("headwater.reason") ?? "" }));
	const topicOf = async (name: string) => (await edge.status()).topics.find(({ topic }) => topic === name);

	beforeAll(async () => {
		central = await Central.start();
		operator = new Operator(central.bootstrap, kafkaClasses);
		await create("large", "--partitions 1 --config max.message.bytes=5000");
		await create("times", `--partitions 1 --config message.timestamp.after.max.ms=${HOUR_MS}`);
		await create("aged", `--partitions 1 --config retention.ms=${DAY_MS}`);
		await create("compacted", "--partitions 1 --config cleanup.policy=compact");
		await create("renewed", "--partitions 1");
		await create("grown", "--partitions 2");
		edge = await start({});
	});
	afterAll(async () => {
		await edge?.close();
		await operator?.close();
		await central?.close();
	});

	it("a record that is too large goes into quarantine; the others arrive, in batches that fit", async () => {
		const noise = (n: number, bytes: number): string =>
			`${n} ${Array.from({ length: bytes }, () => String.fromCharCode(33 + Math.floor(Math.random() * 90))).join("")}`;
		const values = Array.from({ length: 60 }, (_, n) => noise(n, n % 20 === 7 ? 9000 : 900));
		await edge.create("large");
		await edge.produce("large", values);
		await edge.untilSent("large");
		const fit = values.filter((value) => value.length < 2000);
		expect(perKey(await operator.read("large"))).toEqual(
			perKey((await edge.stored("large")).filter(({ value }) => fit.includes(value ?? ""))),
		);
		const held = await quarantined("large");
		expect(held.map(({ value }) => value)).toEqual(values.filter((value) => value.length > 2000));
		expect(held[0]?.reason).toMatch(/MESSAGE_TOO_LARGE/);
		expect(await topicOf("large")).toMatchObject({ quarantinedRecords: 3, lagRecords: 0 });
		expect((await topicOf("large"))?.problem).toBeUndefined();
	});

	it("records a month ahead go into quarantine, and only these", async () => {
		await edge.create("times");
		const now = Date.now();
		await edge.client.produce(
			"times",
			numbers(0, 50).map((value, n) => ({ key: "k", value, timestamp: n % 10 === 3 ? now + 30 * DAY_MS : now })),
		);
		await edge.untilSent("times");
		const isAhead = (value: string | null): boolean => value?.endsWith("3") === true;
		expect(await operator.values("times")).toEqual(numbers(0, 50).filter((value) => !isAhead(value)));
		const held = await quarantined("times");
		expect(held.map(({ value }) => value)).toEqual(numbers(0, 50).filter(isAhead));
		expect(held[0]?.reason).toMatch(/timestamp/i);
	});

	it("a record without key is not for a compacted topic; those with one are", async () => {
		await edge.create("compacted");
		await edge.produce("compacted", numbers(0, 20), (_, n) => (n === 4 || n === 11 ? null : `k${n}`));
		await edge.untilSent("compacted");
		const values = (await operator.read("compacted")).map(({ value }) => value);
		expect(values).toEqual(numbers(0, 20).filter((_, n) => n !== 4 && n !== 11));
		expect((await quarantined("compacted")).map(({ value }) => value)).toEqual(["n4", "n11"]);
	});

	it("what waits is older than the topic keeps: the status warns", async () => {
		await edge.client.upstream.pause();
		await edge.create("aged");
		await edge.client.produce("aged", [{ key: "k", value: "yesterday", timestamp: Date.now() - 1.9 * DAY_MS }]);
		await edge.client.produce("aged", [{ key: "k", value: "now" }]);
		await edge.client.upstream.resume();
		await edge.untilSent("aged");
		await edge.client.upstream.pause();
		await edge.client.produce("aged", [{ key: "k", value: "yesterday", timestamp: Date.now() - 1.9 * DAY_MS }]);
		const { warnings } = await edge.until((status) => status.warnings.length > 0);
		expect(warnings).toEqual([
			expect.stringMatching(/^topic aged of the central cluster keeps 24 hours, .* raise retention\.ms/),
		]);
		await edge.client.upstream.resume();
		await edge.untilSent("aged");
	});

	it("a topic that is missing there is made, with as many partitions as here", async () => {
		await edge.create("made", 3);
		await edge.produce("made", numbers(0, 30));
		await edge.untilSent("made");
		expect(perKey(await operator.read("made"))).toEqual(perKey(await edge.stored("made")));
		expect(await operator.out("topics", "--describe --topic made")).toContain("PartitionCount: 3");
		const progress = await operator.out("configs", "--describe --topic __headwater_progress");
		expect(progress).toMatch(/cleanup\.policy=compact/);
	});

	it("where others make the topics, the status has the command, which helps without more", async () => {
		await edge.close();
		edge = await start({ "upstream.create.topics": "false", "gateway.id": "line-4" });
		await edge.create("missing", 2);
		await edge.create("made", 3);
		await edge.produce("missing", numbers(0, 10));
		await edge.produce("made", numbers(30, 40));
		const { topics } = await edge.until((status) => status.topics.some(({ problem }) => problem !== undefined));
		const { problem } = topics.find(({ topic }) => topic === "missing") ?? {};
		expect(problem?.action).toMatch(/kafka-topics\.sh --bootstrap-server \S+ --create --topic missing --partitions 2/);
		// The others flow.
		await edge.until((status) => status.topics.some(({ topic, lagRecords }) => topic === "made" && lagRecords === 0));
		const options = /--create --topic missing --partitions 2/.exec(problem?.action ?? "")?.[0] ?? "";
		await operator.out("topics", options);
		await edge.client.upstream.resume();
		await edge.untilSent("missing");
		expect(perKey(await operator.read("missing"))).toEqual(perKey(await edge.stored("missing")));
	});

	it("a topic that is deleted and made anew waits for a person, and the others go on", async () => {
		await edge.create("renewed");
		await edge.produce("renewed", numbers(0, 10));
		await edge.untilSent("renewed");
		await operator.out("topics", "--delete --topic renewed");
		await create("renewed", "--partitions 1");
		await edge.produce("renewed", numbers(10, 20));
		await edge.produce("made", numbers(40, 50));
		const problemOf = ({ topics }: UpstreamStatus) => topics.find(({ topic }) => topic === "renewed")?.problem;
		await edge.until((status) => problemOf(status) !== undefined);
		// It is looked at again in a minute; at once where a person wants it.
		await edge.client.upstream.resume();
		const halted = await edge.until((status) => problemOf(status)?.message.includes("made anew") === true);
		expect(problemOf(halted)).toMatchObject({
			message: "topic renewed of the central cluster was deleted and made anew: what was sent before is gone there",
			action: expect.stringMatching(/^headwater upstream reset --topic renewed --to progress/),
		});
		expect(await operator.values("renewed")).toEqual([]);
		await edge.until((status) => status.topics.some(({ topic, lagRecords }) => topic === "made" && lagRecords === 0));
		await edge.client.upstream.reset({ topic: "renewed", to: "earliest", execute: true });
		await edge.untilSent("renewed");
		expect(await operator.values("renewed")).toEqual(numbers(0, 20));
	});

	it("partitions that are added there while it runs: every key in its order, in the partition that is now its", async () => {
		await edge.create("grown", 2);
		await edge.produce("grown", numbers(0, 50));
		await edge.untilSent("grown");
		await operator.out("topics", "--alter --topic grown --partitions 5");
		await edge.crash();
		await edge.produce("grown", numbers(50, 150));
		await edge.untilSent("grown");
		const there = await operator.read("grown");
		expect(there).toHaveLength(150);
		const late = there.filter(({ value }) => Number(value?.slice(1)) >= 50);
		for (const { key, partition } of late) expect(partition).toBe(partitionForKey(Buffer.from(key ?? ""), 5));
		expect(perKey(late)).toEqual(
			perKey((await edge.stored("grown")).filter(({ value }) => Number(value?.slice(1)) >= 50)),
		);
	});
});

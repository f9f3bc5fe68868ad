/** What the producer of the central cluster makes of each kind of answer in transactions. */
import { beforeEach, describe, expect, it } from "vitest";
import { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import type { ScriptedCluster } from "../../support/scripted-cluster.ts";
import {
	DELIVERY_MS,
	lost,
	outgoing,
	type Produced,
	ScriptedProducer,
	TIMEOUT_MS,
} from "../../support/scripted-producer.ts";

const { signal } = new AbortController();
const batch = outgoing;

let kit: ScriptedProducer;
let cluster: ScriptedCluster;
let producer: ScriptedProducer["producer"];

function begin(options: { isTransactional?: boolean } = {}): void {
	kit = new ScriptedProducer(options);
	({ cluster, producer } = kit);
}

const finish = <T>(promise: Promise<T>): Promise<T> => cluster.finish(promise);

beforeEach(() => begin());

describe("a transaction", () => {
	it("is opened with all its partitions at once, sent, and committed", async () => {
		await finish(producer.init(signal));
		const outcomes = await finish(producer.send([batch(), batch("t", 2), batch(), batch("p")], signal));
		await finish(producer.commit(signal));
		expect(outcomes).toEqual(Array(4).fill({ baseOffset: 100, error: undefined, recordErrors: [] }));
		expect(kit.apis).toEqual(["InitProducerId", "AddPartitionsToTxn", "Produce", "Produce", "Produce", "EndTxn"]);
		expect(cluster.named("AddPartitionsToTxn")[0]?.value).toMatchObject({
			v3AndBelowTransactionalId: "g",
			v3AndBelowProducerId: 77,
			v3AndBelowProducerEpoch: 5,
			v3AndBelowTopics: [
				{ name: "t", partitions: [0, 2] },
				{ name: "p", partitions: [0] },
			],
		});
		expect(cluster.named("Produce").map(({ node }) => node)).toEqual([1, 2, 1]);
		expect(cluster.named("EndTxn")[0]?.value).toMatchObject({ transactionalId: "g", producerId: 77, committed: true });
	});

	it("is of version 1", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		await finish(producer.commit(signal));
		const versions = Object.fromEntries(cluster.asked.map(({ api, version }) => [api, version]));
		expect(versions).toEqual({ InitProducerId: 5, AddPartitionsToTxn: 3, Produce: 11, EndTxn: 4 });
	});

	it("has batches with producer, epoch, sequence, its bit and their checksum; the log's own time is theirs no more", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch("t", 0, 3), batch("t", 0, 2), batch("t", 1, 1)], signal));
		await finish(producer.commit(signal));
		await finish(producer.send([batch("t", 0, 1)], signal));
		const all = kit.headers;
		expect(all.map(({ place, baseSequence }) => [place, baseSequence])).toEqual([
			["t/0", 0],
			["t/1", 0],
			["t/0", 3],
			["t/0", 5],
		]);
		for (const header of all) {
			expect(header).toMatchObject({
				producerId: 77,
				producerEpoch: 5,
				isTransactional: true,
				timestampType: "create",
			});
		}
	});

	it("is nothing to commit or abort where nothing was sent", async () => {
		await finish(producer.init(signal));
		await finish(producer.commit(signal));
		await finish(producer.abort(signal));
		expect(kit.apis).toEqual(["InitProducerId"]);
	});

	it("adds each partition once, however often it sends", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		await finish(producer.send([batch(), batch("p")], signal));
		expect(cluster.named("AddPartitionsToTxn").map(({ value }) => value.v3AndBelowTopics)).toEqual([
			[{ name: "t", partitions: [0] }],
			[{ name: "p", partitions: [0] }],
		]);
	});

	it("in which a batch was refused cannot be committed; aborted, the next has another epoch", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [87];
		const [first, second, third] = await finish(producer.send([batch(), batch(), batch("t", 1)], signal));
		expect(first).toMatchObject({
			baseOffset: -1,
			error: { errorClass: "record" },
			recordErrors: [{ index: 1, message: "too old" }],
		});
		expect(first?.error?.message).toContain("so it is");
		// It would leave a gap.
		expect(second).toMatchObject({ error: { errorClass: "record" }, recordErrors: [] });
		expect(third?.error).toBeUndefined();
		await expect(finish(producer.commit(signal))).rejects.toThrow("can only be aborted");
		await expect(finish(producer.send([batch()], signal))).rejects.toThrow("aborted first");
		await finish(producer.abort(signal));
		await finish(producer.send([batch()], signal));
		expect(kit.headers.at(-1)).toMatchObject({ producerEpoch: 6, baseSequence: 0 });
	});

	it("goes without a topic that may not be written, and says so for its batches", async () => {
		await finish(producer.init(signal));
		kit.codes["AddPartitionsToTxn t/0"] = [29];
		kit.codes["AddPartitionsToTxn p/0"] = [55];
		const [refused, sent] = await finish(producer.send([batch(), batch("p")], signal));
		expect(refused?.error).toMatchObject({ errorClass: "topic", api: "AddPartitionsToTxn" });
		expect(refused?.error?.action).toContain("--operation Write --topic t");
		expect(sent?.error).toBeUndefined();
		expect(cluster.named("AddPartitionsToTxn")).toHaveLength(2);
	});

	it("waits for a topic that is being made, and then does without it", async () => {
		await finish(producer.init(signal));
		kit.codes["AddPartitionsToTxn t/0"] = [3, 3];
		kit.codes["AddPartitionsToTxn p/0"] = [55, 55];
		expect(await finish(producer.send([batch(), batch("p")], signal))).toMatchObject([
			{ error: undefined },
			{ error: undefined },
		]);
		begin();
		await finish(producer.init(signal));
		kit.codes["AddPartitionsToTxn t/0"] = Array(1000).fill(3);
		const [missing] = await finish(producer.send([batch(), batch("p")], signal));
		expect(missing?.error).toMatchObject({ errorClass: "topic", name_: "UNKNOWN_TOPIC_OR_PARTITION" });
		expect(missing?.error?.action).toContain("--create --topic t");
		expect(cluster.clock.monotonic()).toBeLessThan(20_000);
	});
});

describe("what passes is waited for", () => {
	it.each([
		["InitProducerId", [14, 15, 16, 51, -1], 3],
		["AddPartitionsToTxn", [16, 51, 51, 7], 1],
		["EndTxn", [51, 15, 51], 1],
	] as const)("by %s: %j", async (api, passing, forgotten) => {
		kit.codes[api] = [...passing];
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		await finish(producer.commit(signal));
		expect(cluster.named(api)).toHaveLength(passing.length + 1);
		// Who coordinates is looked up again only where that may help.
		expect(cluster.forgotten).toBe(forgotten);
	});

	it("by a batch, which keeps its sequence and its bytes", async () => {
		await finish(producer.init(signal));
		kit.codes.Produce = [7, 19, -1, lost(), 20, 51];
		const [outcome] = await finish(producer.send([batch()], signal));
		expect(outcome?.error).toBeUndefined();
		const sent = cluster
			.named("Produce")
			.map(({ value }) => (value as unknown as Produced).topicData[0]?.partitionData[0]?.records);
		expect(sent).toHaveLength(7);
		for (const bytes of sent) expect(bytes).toEqual(sent[0]);
	});

	it("by a batch whose leader moved", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [6];
		cluster.onRefresh = () => cluster.lead("t", [2, 1, 2]);
		await finish(producer.send([batch()], signal));
		expect(cluster.refreshes).toBe(1);
		expect(cluster.named("Produce").map(({ node }) => node)).toEqual([1, 2]);
	});

	it("by a batch of a partition that has no leader", async () => {
		await finish(producer.init(signal));
		cluster.lead("t", [-1, 1, 2], 0);
		cluster.onRefresh = () => {
			if (cluster.refreshes === 3) cluster.lead("t", [2, 1, 2]);
		};
		const outcomes = await finish(producer.send([batch(), batch("t", 1)], signal));
		expect(outcomes).toMatchObject([{ error: undefined }, { error: undefined }]);
		expect(cluster.named("Produce").map(({ node }) => node)).toEqual([1, 2]);
	});

	it("by a batch that was damaged on its way, twice at the most", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [2, 2];
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: undefined }]);
		kit.codes["Produce t/0"] = [2, 2, 2];
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: { errorClass: "record" } }]);
	});

	it("until patience is over: then its topic is held up", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = Array(1000).fill(19);
		const began = cluster.clock.monotonic();
		const [outcome, other] = await finish(producer.send([batch(), batch("p")], signal));
		expect(outcome?.error).toMatchObject({ name_: "NOT_ENOUGH_REPLICAS", errorClass: "topic" });
		expect(other?.error).toBeUndefined();
		// While the transaction can still be aborted in good order.
		expect(cluster.clock.monotonic() - began).toBeLessThan(TIMEOUT_MS);
	});

	it("without the time for it being the transaction's, before that one is open", async () => {
		await finish(producer.init(signal));
		kit.codes.AddPartitionsToTxn = Array(14).fill(51);
		kit.codes["Produce t/0"] = [19, 19, 19];
		const began = cluster.clock.monotonic();
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: undefined }]);
		expect(cluster.clock.monotonic() - began).toBeGreaterThan(TIMEOUT_MS);
	});

	it("until patience is over: then the link is to blame", async () => {
		await finish(producer.init(signal));
		kit.codes.Produce = Array(1000).fill(lost());
		await expect(finish(producer.send([batch()], signal))).rejects.toMatchObject({
			name: "LinkError",
			maybeSent: true,
		});
		begin();
		kit.codes.InitProducerId = Array(1000).fill(51);
		await expect(finish(producer.init(signal))).rejects.toMatchObject({ name: "KafkaError", errorClass: "retry" });
		expect(cluster.clock.monotonic()).toBeGreaterThanOrEqual(DELIVERY_MS);
	});
});

describe("what does not pass ends it", () => {
	it.each([
		[45, "reinitialise"],
		[47, "reinitialise"],
		[48, "reinitialise"],
		[59, "reinitialise"],
		[120, "reinitialise"],
		[49, "expired"],
		[90, "fenced"],
		[53, "fatal"],
		[76, "fatal"],
	])("Produce: %i is %s", async (code, errorClass) => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [code];
		await expect(finish(producer.send([batch(), batch("p")], signal))).rejects.toMatchObject({ code, errorClass });
	});

	it.each([
		[47, "fenced"],
		[48, "reinitialise"],
		[49, "expired"],
		[53, "fatal"],
		[90, "fenced"],
	])("EndTxn: %i is %s", async (code, errorClass) => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		kit.codes.EndTxn = [code];
		await expect(finish(producer.commit(signal))).rejects.toMatchObject({ code, errorClass });
	});

	it("a link that nothing but a person can mend is not tried again", async () => {
		const login = new LinkError("login", "wrong password", { lasting: true });
		kit.codes.InitProducerId = [login];
		await expect(finish(producer.init(signal))).rejects.toBe(login);
		await finish(producer.init(signal));
		kit.codes.Produce = [login];
		await expect(finish(producer.send([batch()], signal))).rejects.toBe(login);
	});

	it("no request is under way any more when it rejects", async () => {
		await finish(producer.init(signal));
		let isAnswered = false;
		cluster.script = async (asked) => {
			if (asked.api === "Produce" && asked.node === 2) {
				await new Promise<void>((resolve) => cluster.clock.after(5000, resolve));
				isAnswered = true;
			}
			return kit.answer(asked);
		};
		kit.codes["Produce t/0"] = [90];
		await expect(finish(producer.send([batch(), batch("p"), batch("p")], signal))).rejects.toMatchObject({ code: 90 });
		expect(isAnswered).toBe(true);
		// What was still to go did not.
		expect(cluster.named("Produce")).toHaveLength(2);
	});

	it("the signal ends everything with its reason", async () => {
		const controller = new AbortController();
		const reason = new Error("stop");
		await finish(producer.init(signal));
		kit.codes.Produce = Array(1000).fill(7);
		cluster.clock.after(3000, () => controller.abort(reason));
		await expect(finish(producer.send([batch()], controller.signal))).rejects.toBe(reason);
		kit.codes.EndTxn = Array(1000).fill(51);
		await expect(finish(producer.init(controller.signal))).rejects.toBe(reason);
	});
});

describe("a transaction in doubt", () => {
	it("a lost commit is asked for again; a late double of it must meet another epoch", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		kit.codes.EndTxn = [lost()];
		await finish(producer.commit(signal));
		expect(cluster.named("EndTxn")).toHaveLength(2);
		await finish(producer.send([batch()], signal));
		expect(kit.apis.slice(-3)).toEqual(["InitProducerId", "AddPartitionsToTxn", "Produce"]);
		expect(cluster.named("InitProducerId").at(-1)?.value).toMatchObject({ producerId: 77, producerEpoch: 5 });
		expect(kit.headers.at(-1)).toMatchObject({ producerEpoch: 6, baseSequence: 0 });
		// Only that once.
		await finish(producer.commit(signal));
		await finish(producer.send([batch()], signal));
		expect(cluster.named("InitProducerId")).toHaveLength(2);
	});

	it("so must a late double of AddPartitionsToTxn; one that was certainly not sent has none", async () => {
		await finish(producer.init(signal));
		kit.codes["AddPartitionsToTxn t/0"] = [lost()];
		await finish(producer.send([batch()], signal));
		await finish(producer.send([batch("p")], signal));
		await finish(producer.commit(signal));
		kit.codes["AddPartitionsToTxn t/0"] = [lost(false)];
		await finish(producer.send([batch()], signal));
		await finish(producer.commit(signal));
		await finish(producer.send([batch()], signal));
		expect(cluster.named("InitProducerId")).toHaveLength(2);
	});

	it("a commit whose outcome stays unknown says so, and only the cluster knows", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		kit.codes.EndTxn = [lost(), ...Array(100).fill(lost(false))];
		await expect(finish(producer.commit(signal))).rejects.toMatchObject({ name: "LinkError", maybeSent: true });
		await expect(finish(producer.abort(signal))).rejects.toThrow("looked up");
		await expect(finish(producer.commit(signal))).rejects.toThrow("can only be aborted");
		kit.codes.EndTxn = [48];
		await finish(producer.init(signal));
		// It was ended first: InitProducerId would have fenced its own caller.
		expect(kit.apis.slice(-2)).toEqual(["EndTxn", "InitProducerId"]);
		expect(cluster.named("EndTxn").at(-1)?.value).toMatchObject({ committed: false });
	});

	it("what was left open is ended before an epoch is asked for", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [48];
		await expect(finish(producer.send([batch()], signal))).rejects.toMatchObject({ code: 48 });
		await finish(producer.init(signal));
		expect(kit.apis.slice(-2)).toEqual(["EndTxn", "InitProducerId"]);
	});

	it("fenced: says when it may have been the time-out alone", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch()], signal));
		kit.codes.EndTxn = [90];
		await expect(finish(producer.commit(signal))).rejects.toMatchObject({
			action: expect.stringContaining("gateway.id"),
		});
		// Nothing of ours is open any more; Kafka 4 lets a producer go on whose transaction it has ended itself.
		await finish(producer.init(signal));
		expect(kit.apis.slice(-2)).toEqual(["EndTxn", "InitProducerId"]);
		expect(cluster.named("EndTxn")).toHaveLength(1);
		producer.forget();
		await finish(producer.init(signal));
		expect(cluster.named("InitProducerId").at(-1)?.value).toMatchObject({ producerId: -1, producerEpoch: -1 });
		await finish(producer.send([batch()], signal));
		await cluster.clock.advance(TIMEOUT_MS + 1000);
		kit.codes.EndTxn = [90];
		const late = finish(producer.commit(signal));
		await expect(late).rejects.toMatchObject({ errorClass: "fenced", action: undefined });
		await expect(late).rejects.toThrow("open for 16 s, its time-out is 15 s");
	});

	it("expired: the next begins from nothing", async () => {
		await finish(producer.init(signal));
		kit.codes.AddPartitionsToTxn = [49];
		await expect(finish(producer.send([batch()], signal))).rejects.toMatchObject({ errorClass: "expired" });
		await expect(finish(producer.send([batch()], signal))).rejects.toThrow("initialised first");
		await finish(producer.init(signal));
		expect(cluster.named("InitProducerId").at(-1)?.value).toMatchObject({ producerId: -1, producerEpoch: -1 });
		expect(cluster.named("EndTxn")).toHaveLength(0);
	});
});

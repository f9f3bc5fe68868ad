/** Tiered storage over the native door: what is asked of the gateway's TierAdmin, and what client and peers get. */
import { afterEach, describe, expect, it } from "vitest";
import type { TierStatus } from "../../../src/broker/tier-admin.ts";
import { type Client, connect, HeadwaterError } from "../../../src/native/client/client.ts";
import type { TierStatus as ClientStatus, TierFinding, TierVerified } from "../../../src/native/client/tier-types.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { FakeTier, range, TIER_STATUS } from "../../support/fake-tier.ts";
import { NativeGateway } from "./native-gateway.ts";

let gateway: NativeGateway;
let client: Client | undefined;
afterEach(async () => {
	await client?.close();
	await gateway.stop();
});

async function open(tier = new FakeTier()): Promise<[Client, FakeTier]> {
	gateway = await NativeGateway.start({ tier });
	client = await connect({ port: gateway.port });
	return [client, tier];
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
	const error = await promise.then(() => undefined).catch((caught: unknown) => caught);
	return error instanceof HeadwaterError ? error.code : String(error);
}

async function until(holds: () => boolean): Promise<void> {
	while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
	const list: T[] = [];
	for await (const item of items) list.push(item);
	return list;
}

const finding = (i: number): TierFinding => ({
	kind: "orphan",
	object: `gw7/${i}`,
	what: "the catalog has no such object",
});

/** What programs see has the gateway's members, and no others: an optional one where that may be undefined. */
type Optional<T> = { [K in keyof T]: undefined extends T[K] ? Exclude<T[K], undefined> | undefined : T[K] };
const SAME: (status: ClientStatus) => Optional<Partial<TierStatus>> = (status) => status as Optional<TierStatus>;

describe("tier status", () => {
	it("comes as the gateway has it, without what is undefined", async () => {
		const [client, tier] = await open();
		const status = await client.tier.status();
		expect(SAME(status)).toEqual(JSON.parse(JSON.stringify(TIER_STATUS)));
		expect(status).not.toHaveProperty("run");
		const run = {
			sinceMs: 1,
			bundles: 2,
			doneBytes: 3,
			totalBytes: 4,
			bytesPerSecond: 5.6,
			waitsUntilMs: 6,
			waitsFor: "x",
		};
		tier.now = { ...TIER_STATUS, run, error: { sinceMs: 9, message: "no" } };
		expect(await client.tier.status()).toMatchObject({ run: { ...run, bytesPerSecond: 6 }, error: { message: "no" } });
	});

	it("is summed up in the status of the gateway", async () => {
		const [client, tier] = await open();
		const { store, bundles, bytes, nextRunMs } = TIER_STATUS;
		const sums = { tieredRecords: 2000, tieredBytes: 4_194_304, pendingRecords: 12, pendingBytes: 3072 };
		expect((await client.status()).tier).toEqual({ store, bundles, bytes, nextRunMs, ...sums });
		tier.isActive = false;
		expect(await client.status()).not.toHaveProperty("tier");
		tier.isActive = true;
		tier.now = { ...TIER_STATUS, error: { sinceMs: 9, message: "no" }, nextRunMs: undefined };
		expect((await client.status()).tier).toEqual({
			store,
			bundles,
			bytes,
			error: { sinceMs: 9, message: "no" },
			...sums,
		});
	});
});

describe("tier run", () => {
	it("is answered when the run has ended, and holds nothing up", async () => {
		const [client, tier] = await open();
		let over = false;
		const run = client.tier.run().then(() => {
			over = true;
		});
		await client.tier.status();
		expect([tier.runs, over]).toEqual([1, false]);
		tier.runEnds();
		await run;
	});

	it("fails with what the run failed with", async () => {
		const [client, tier] = await open();
		const run = client.tier.run();
		await until(() => tier.runs === 1);
		tier.runEnds("s3://bucket: access denied");
		await expect(run).rejects.toMatchObject({ code: "KAFKA_STORAGE_ERROR", message: "s3://bucket: access denied" });
	});
});

describe("tier ranges", () => {
	it("come page by page, all of them, in order", async () => {
		const [client, tier] = await open();
		for (const topic of ["a", "b"])
			for (let partition = 0; partition < 3; partition++)
				for (let i = 0; i < 200; i++) tier.stored.push(range(topic, partition, i * 10));
		const all = await gathered(client.tier.ranges());
		expect(all).toEqual(
			tier.stored.map((each) => ({ ...each, maxTimestamp: each.maxTimestamp < 0 ? null : each.maxTimestamp })),
		);
		const ofB = await gathered(client.tier.ranges("b"));
		expect(ofB.map(({ topic, partition, baseOffset }) => [topic, partition, baseOffset])).toEqual(
			tier.stored.filter(({ topic }) => topic === "b").map((each) => [each.topic, each.partition, each.baseOffset]),
		);
		expect(await gathered(client.tier.ranges("none"))).toEqual([]);
	});

	it("are as many as a peer asks for, and it is told whether there are more", async () => {
		const [, tier] = await open();
		tier.stored.push(range("a", 0, 0), range("a", 0, 10), range("a", 0, 20));
		const peer = await gateway.peer([]);
		const ask = async (after: number) => {
			const [, , body] = await peer.request(MESSAGE.TIER_RANGES, 5, [
				[0, "a"],
				[1, ["a", 0, after]],
				[2, 1],
			]);
			return [(body.get(0) as unknown[][]).map((each) => each[2]), body.get(1)];
		};
		expect([await ask(0), await ask(10), await ask(20)]).toEqual([
			[[10], true],
			[[20], true],
			[[], false],
		]);
		const [type, , body] = await peer.request(MESSAGE.TIER_RANGES, 6, [[2, 1001]]);
		expect([type, body.get(1), body.get(2)]).toEqual([
			MESSAGE.ERROR,
			"INVALID_REQUEST",
			expect.stringContaining("key 2 (most): the number 1001 is not within 1 and 1000"),
		]);
	});
});

describe("tier verify", () => {
	it("tells every finding and what was looked at", async () => {
		const [client, tier] = await open();
		tier.findings = Array.from({ length: 1234 }, (_, i) => finding(i));
		const found: TierFinding[] = [];
		const progress: TierVerified[] = [];
		const done = await client.tier.verify({
			deep: true,
			found: (each) => found.push(each),
			progress: (each) => progress.push(each),
		});
		expect(found).toEqual(tier.findings);
		expect(done).toEqual({ objects: 3, bytes: 4096, ranges: 5 });
		expect(progress.length).toBeGreaterThan(1);
		expect(tier.verifies.map(({ deep }) => deep)).toEqual([true]);
		await client.tier.verify();
		expect(tier.verifies.map(({ deep }) => deep)).toEqual([true, false]);
	});

	it("tells on while nothing is found, and lets other requests by", async () => {
		const [client, tier] = await open();
		tier.holds = true;
		let told = 0;
		const over = client.tier.verify({ progress: () => told++ });
		await until(() => told >= 2);
		await client.topics.list();
		tier.holds = false;
		expect(await over).toEqual({ objects: 3, bytes: 4096, ranges: 5 });
	});

	it("runs once at a time, and again when it was given up or its connection has gone", async () => {
		const [client, tier] = await open();
		tier.holds = true;
		const stop = new AbortController();
		const first = client.tier.verify({ signal: stop.signal });
		await until(() => tier.verifies.length === 1);
		expect(await codeOf(client.tier.verify())).toBe("THROTTLING_QUOTA_EXCEEDED");
		stop.abort();
		expect(await codeOf(first)).toBe("ABORTED");
		await until(() => tier.verifies[0]?.signal?.aborted === true);
		const peer = await gateway.peer([]);
		peer.send(MESSAGE.TIER_VERIFY, 7, []);
		await until(() => tier.verifies.length === 2);
		peer.destroy();
		await until(() => tier.verifies[1]?.signal?.aborted === true);
		tier.holds = false;
		expect(await client.tier.verify()).toEqual({ objects: 3, bytes: 4096, ranges: 5 });
	});

	it("ends when the gateway stops", async () => {
		const [client, tier] = await open();
		tier.holds = true;
		const over = codeOf(client.tier.verify());
		await until(() => tier.verifies.length === 1);
		await gateway.door.stop();
		expect(await over).toBe("OPERATION_NOT_ATTEMPTED");
		expect(tier.verifies[0]?.signal?.aborted).toBe(true);
	});

	it("keeps to the frames that a peer takes", async () => {
		const [, tier] = await open();
		tier.findings = Array.from({ length: 90 }, (_, i) => finding(i));
		const peer = await gateway.peer([[6, 1024]]);
		peer.send(MESSAGE.TIER_VERIFY, 9, [[0, false]]);
		let count = 0;
		for (;;) {
			const [type, id, body] = await peer.message();
			expect(id).toBe(9);
			if (type === MESSAGE.TIER_VERIFY) break;
			expect(type).toBe(MESSAGE.TIER_FINDINGS);
			count += (body.get(0) as unknown[]).length;
		}
		expect(count).toBe(90);
		tier.findings = [{ kind: "damage", object: "o", what: "x".repeat(2000) }];
		const [type, , body] = await peer.request(MESSAGE.TIER_VERIFY, 10, []);
		expect([type, body.get(1)]).toEqual([MESSAGE.ERROR, "MESSAGE_TOO_LARGE"]);
	});
});

describe("a gateway without tiered storage", () => {
	it("says so to each of the requests, and keeps the connection", async () => {
		gateway = await NativeGateway.start();
		client = await connect({ port: gateway.port });
		const { tier } = client;
		const asked = [tier.status(), tier.run(), tier.verify(), gathered(tier.ranges())];
		for (const each of asked) expect(await codeOf(each)).toBe("INVALID_CONFIG");
		expect(await client.status()).not.toHaveProperty("tier");
	});
});

describe("topic describe", () => {
	it("tells from where on a partition is here, in a list of its own for those who know it", async () => {
		const [client] = await open();
		gateway.broker.topics.create({ name: "t", partitions: 2 });
		gateway.broker.topics.get("t")?.partitions[1]?.tiered(0);
		const places = (await client.topics.describe("t")).partitions;
		expect(places).toEqual([
			expect.objectContaining({ number: 0, logStartOffset: 0, localStartOffset: 0, tieredOffset: 0 }),
			expect.objectContaining({ number: 1, logStartOffset: 0, localStartOffset: 0, tieredOffset: 0 }),
		]);
		const peer = await gateway.peer([]);
		const [, , body] = await peer.request(MESSAGE.TOPIC_DESCRIBE, 5, [[0, "t"]]);
		expect((body.get(2) as unknown[][]).map((each) => each.length)).toEqual([6, 6]);
		expect(body.get(3)).toEqual([
			[0, 0, 0],
			[1, 0, 0],
		]);
	});
});

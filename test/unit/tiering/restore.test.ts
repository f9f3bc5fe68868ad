/** Restoring: what a gateway was, as far as it was uploaded, comes back from the bucket alone; and when it must not. */
import { describe, expect, it } from "vitest";
import { StartError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { claimKey } from "../../../tiering/object-keys.ts";
import { type Claim, checkClaim, makeClaim, readClaim } from "../../../tiering/restore/claim.ts";
import type { World } from "../../simulation/world.ts";
import { Restoring, type RestoringOptions } from "../../support/restored-gateway.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { UploadingGateway, type UploadingOptions } from "../../support/uploading-gateway.ts";

const HOUR = 3_600_000;
const OLD: Claim = {
	gateway: "gw-1",
	incarnation: 1,
	identity: "0".repeat(32),
	claimedMs: 1,
	writer: "test",
	basedOn: undefined,
};

/** A gateway with a claim. */
async function gatewayWith(options: UploadingOptions = {}): Promise<UploadingGateway> {
	const gateway = await UploadingGateway.start(options);
	await gateway.finish(makeClaim(gateway.store, OLD));
	return gateway;
}

/** After a silence that is long enough. */
async function gone(gateway: UploadingGateway, options: RestoringOptions = {}): Promise<Restoring> {
	const { clock } = gateway.world;
	await gateway.crash("kill", new SimulatedRandom(1));
	await clock.advance(3 * HOUR);
	return new Restoring(gateway.store.bucket, clock, options);
}

async function values(world: World, topic: string, number = 0): Promise<Map<number, string>> {
	const found = (await world.observe()).partition(topic, number)?.records ?? [];
	return new Map(found.map(({ offset, value }) => [offset, value?.toString("base64") ?? ""]));
}

const append = async (world: World, topic: string, number = 0): Promise<number> => {
	const partition = world.partition(topic, number);
	const offset = partition?.appendRecord(world.clock.now(), Buffer.of(1), Buffer.from("new"), 0, 3, Buffer.of(0));
	await world.finish(world.log.whenCommitted());
	return offset as number;
};

describe("a restored gateway", () => {
	it("has topics, settings, ids and records as they were, and goes on behind them", async () => {
		const old = await gatewayWith();
		old.topic("gone");
		old.topic("a", 3, { "segment.bytes": "70000", "max.message.bytes": "50000" });
		old.topic("b");
		old.world.broker.topics.delete("gone");
		for (let i = 0; i < 6; i++) await old.append("a", 50, 500, i % 2);
		await old.append("b", 10);
		await old.upload();
		await old.append("a", 20, 100, 0);
		await old.upload();
		const { broker } = old.world;
		const before = broker.topics.list().map(({ id, name, createdMs, config }) => ({ id, name, createdMs, config }));
		const ids = broker.topics.list().map(({ partitions }) => partitions.map(({ id, number }) => [id, number]));
		const restoring = await gone(old);
		const report = await restoring.run();
		expect(report).toMatchObject({
			gateway: "gw-1",
			incarnation: 2,
			bundles: 2,
			topics: 2,
			partitions: 4,
			records: 330,
		});
		expect(report).toMatchObject({ holes: [], notes: [], strays: 0 });
		const world = restoring.start();
		const { topics } = world.broker;
		expect(topics.list().map(({ id, name, createdMs, config }) => ({ id, name, createdMs, config }))).toEqual(before);
		expect(topics.list().map(({ partitions }) => partitions.map(({ id, number }) => [id, number]))).toEqual(ids);
		for (const [topic, number] of [
			["a", 0],
			["a", 1],
			["a", 2],
			["b", 0],
		] as const)
			expect(await values(world, topic, number)).toEqual(old.model.get(`${topic}-${number}`) ?? new Map());
		expect(await append(world, "a", 0)).toBe(170);
		expect(await append(world, "a", 2)).toBe(0);
		expect((await values(world, "a", 0)).size).toBe(171);
		const partition = world.partition("a", 0);
		expect(partition).toMatchObject({
			logStartOffset: 0,
			localStartOffset: 170,
			tieredOffset: 170,
			highWatermark: 171,
		});
		expect(partition?.epochs.list).toEqual([
			{ epoch: 0, startOffset: 0 },
			{ epoch: 1, startOffset: 170 },
		]);
		topics.create({ name: "later" });
		expect(world.partition("later", 0)?.id).toBeGreaterThan(Math.max(...ids.flat().map(([id]) => id as number)));
	});

	it("survives a power cut as any other does", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 50);
		await old.upload();
		const restoring = await gone(old);
		await restoring.run();
		const world = restoring.start();
		await append(world, "a");
		await world.crash("power cut", new SimulatedRandom(3));
		world.start();
		expect(world.partition("a", 0)).toMatchObject({ localStartOffset: 50, highWatermark: 51 });
		expect(world.broker.recovery.damages).toBe(0);
	});

	it("has lost what was not uploaded, and gives its offsets out again under a new epoch", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		await old.append("a", 5);
		const restoring = await gone(old);
		expect(await restoring.run()).toMatchObject({ records: 10, holes: [] });
		const world = restoring.start();
		expect(await append(world, "a")).toBe(10);
		expect(world.partition("a", 0)?.epochs.endOf(0, 0, 11)).toEqual({ epoch: 0, endOffset: 10 });
	});

	it("keeps the place of partitions whose records were never to be uploaded", async () => {
		const old = await gatewayWith();
		old.topic("off", 1, { "remote.storage.enable": "false" });
		old.topic("on");
		await old.append("off", 7);
		await old.append("on", 3);
		await old.upload();
		const restoring = await gone(old);
		expect(await restoring.run()).toMatchObject({ holes: [], records: 3 });
		const world = restoring.start();
		expect(world.partition("off", 0)).toMatchObject({ logStartOffset: 7, localStartOffset: 7, highWatermark: 7 });
		expect(await append(world, "off")).toBe(7);
	});

	it("has the groups' offsets, none beyond what there is, and of no other topic", async () => {
		const old = await gatewayWith();
		old.topic("a", 2);
		old.topic("old");
		await old.append("a", 10);
		await old.append("old", 10);
		const { groups, topics } = old.world.broker;
		const commit = async (group: string, topic: string, offset: number): Promise<void> => {
			const entry = { topic, partition: 0, offset, leaderEpoch: 0, metadata: "m" };
			groups.offsets.commit(group, [entry], old.world.clock.now());
			await old.world.finish(old.world.log.whenCommitted());
		};
		await commit("g\0 1", "a", 4);
		await commit("g2", "a", 10);
		await commit("g2", "old", 9);
		await old.upload();
		await old.append("a", 10);
		await commit("ahead", "a", 18);
		topics.delete("old");
		old.topic("old");
		// The snapshot is newer than the records: they wait for the next upload.
		old.world.broker.topics.alter("a", { set: { "remote.log.copy.disable": "true" } });
		await old.upload();
		const restoring = await gone(old);
		await restoring.run();
		const world = restoring.start();
		const found = (group: string, topic: string) => world.broker.groups.offsets.fetch(group, topic, 0);
		expect(found("g\0 1", "a")).toMatchObject({ offset: 4, leaderEpoch: 0, metadata: "m" });
		expect(found("g2", "a")?.offset).toBe(10);
		expect(found("ahead", "a")?.offset).toBe(10);
		expect(found("g2", "old")).toBeUndefined();
	});

	it("gives out no producer id that the old one can have given out", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 1);
		await old.upload();
		for (let i = 0; i < 3; i++) new TransactionalWriter(old.world.broker, `t${i}`);
		const request = { transactionalId: "t9", timeoutMs: 60_000, producerId: -1, producerEpoch: -1 };
		const last = old.world.broker.transactions.initProducerId(request).producerId;
		const restoring = await gone(old);
		await restoring.run();
		const world = restoring.start();
		expect(world.broker.transactions.initProducerId(request).producerId).toBeGreaterThan(last + 1000);
	});

	it("has retained messages, Kafka's cluster id, and nothing of sessions and sequences", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 1);
		const { log } = old.world;
		const { MQTT_RETAINED, MQTT_SESSION, MQTT_DOOR, KAFKA_PRODUCER } = StateSpace;
		for (const space of [MQTT_RETAINED, MQTT_SESSION, MQTT_DOOR, KAFKA_PRODUCER])
			log.putState(space, "some/where", Buffer.of(1, 2, 3));
		old.world.broker.catalog.setMeta("kafka.cluster.id", "abc");
		await old.world.finish(log.whenCommitted());
		await old.upload();
		const restoring = await gone(old);
		await restoring.run();
		const world = restoring.start();
		expect(world.log.getState(MQTT_RETAINED, "some/where")).toEqual(Buffer.of(1, 2, 3));
		for (const space of [MQTT_SESSION, MQTT_DOOR, KAFKA_PRODUCER])
			expect([...world.log.scanState(space, "")]).toEqual([]);
		expect(world.broker.catalog.getMeta("kafka.cluster.id")).toBe("abc");
	});

	it("knows which records were aborted, also where the marker did not come back", async () => {
		const old = await gatewayWith();
		old.topic("a");
		const { world } = old;
		const [x, y, z] = ["x", "y", "z"].map((id) => new TransactionalWriter(world.broker, id)) as [
			TransactionalWriter,
			TransactionalWriter,
			TransactionalWriter,
		];
		const a = old.partition("a");
		await world.finish(x.write(a, "k", "no")); // 0
		await world.finish(x.end("abort")); // 1
		await world.finish(x.write(a, "k", "no")); // 2
		await world.finish(y.write(a, "k", "no")); // 3
		await world.finish(z.write(a, "k", "lost")); // 4: what comes back ends here
		await world.finish(x.end("abort")); // 5
		await world.finish(y.end("abort")); // 6
		await old.upload();
		expect(a.tieredOffset).toBe(4);
		const restoring = await gone(old);
		await restoring.run();
		const restored = restoring.start();
		const partition = restored.partition("a", 0) as NonNullable<ReturnType<World["partition"]>>;
		const w = new TransactionalWriter(restored.broker, "w");
		await restored.finish(w.write(partition, "k", "no")); // 4
		await restored.finish(w.end("abort")); // 5: has the offset of a marker that is gone
		await restored.finish(w.write(partition, "k", "yes")); // 6
		await restored.finish(w.end("commit"));
		const seen: string[] = [];
		for (const { offset, value } of (await restored.observe()).partition("a", 0)?.records ?? []) {
			const producers = partition.transactions.aborted(offset, offset + 1).filter((each) => each.firstOffset <= offset);
			if (producers.length === 0) seen.push(`${offset} ${value}`);
		}
		expect(partition.transactions.aborted(0, 8).map(({ firstOffset }) => firstOffset)).toEqual([0, 2, 3, 4]);
		expect(partition.transactions.aborted(2, 4).map(({ firstOffset }) => firstOffset)).toEqual([2, 3]);
		expect(seen.some((line) => line.startsWith("6 yes"))).toBe(true);
		for (const line of seen) expect(line).not.toContain("no");
	});

	it("is restored itself, in its turn", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		const first = await gone(old);
		await first.run();
		const second = new Restoring(old.store.bucket, first.clock, { force: true, random: new SimulatedRandom("second") });
		expect(await second.run()).toMatchObject({ incarnation: 3, records: 10 });
		const world = second.start();
		// The second incarnation may have given out offsets in epoch 1.
		expect(world.partition("a", 0)?.epochs.list).toEqual([
			{ epoch: 0, startOffset: 0 },
			{ epoch: 2, startOffset: 10 },
		]);
		expect(await second.store.get(claimKey("gw-1", 3), 0, 1000).then(String)).toContain('"basedOn"');
	});
});

describe("what a store has beside the log", () => {
	it("counts for nothing: uploads that were given up, what a replaced gateway wrote, and others' objects", async () => {
		const old = await gatewayWith({ bundleBytes: 20_000 });
		old.topic("a");
		await old.append("a", 40, 200);
		// Whole in the store, and yet given up.
		old.store.inject({ calls: ["getLast"], effect: "none", answer: "refused" });
		await old.finish(old.uploader.run()).catch(() => {});
		await old.append("a", 40, 200);
		await old.upload();
		old.store.bucket.plant("gw-1/notes.txt", Buffer.from("x"));
		old.store.bucket.plant("gw-1/0000000001/other", Buffer.from("x"));
		const bundles = old.store.bucket.keys("gw-1/").filter((key) => key.endsWith(".bundle"));
		const restoring = await gone(old);
		const report = await restoring.run();
		expect(report).toMatchObject({ records: 80, holes: [], bundles: bundles.length });
		expect(await values(restoring.start(), "a")).toEqual(old.model.get("a-0"));
	});

	it("is left alone where an older incarnation wrote it after it was replaced", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		const { clock } = old.world;
		const first = new Restoring(old.store.bucket, clock, { force: true });
		await first.run();
		// Nobody told it.
		await old.append("a", 10);
		await old.upload();
		await clock.advance(3 * HOUR);
		const second = new Restoring(old.store.bucket, clock, { random: new SimulatedRandom("second") });
		expect(await second.run()).toMatchObject({ incarnation: 3, records: 10, strays: 1 });
	});
});

describe("a restoration is refused", () => {
	const refusal = async (restoring: Restoring, says: RegExp): Promise<void> => {
		const error = await restoring.run().catch((caught: unknown) => caught);
		expect(error).toBeInstanceOf(StartError);
		expect((error as Error).message).toMatch(says);
		expect(restoring.disk.exists("/restored/catalog.db")).toBe(false);
	};

	it("while the gateway may be alive, by the store's clock; unless it is forced", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		await old.crash("kill", new SimulatedRandom(1));
		const { clock } = old.world;
		await clock.advance(1.9 * HOUR);
		clock.step(1000 * HOUR);
		const restoring = new Restoring(old.store.bucket, clock);
		await refusal(
			restoring,
			/gateway gw-1 \(incarnation 1\) wrote to .* 114 minutes ago, and does so every 60 minutes.*--force/,
		);
		expect(old.store.bucket.keys("gw-1/").filter((key) => key.endsWith(".probe"))).toEqual([]);
		expect(await readClaim(restoring.store, "gw-1", 2)).toBeUndefined();
		expect(await new Restoring(old.store.bucket, clock, { force: true }).run()).toMatchObject({ incarnation: 2 });
	});

	it("where there is no such gateway, and names those that there are", async () => {
		const old = await gatewayWith();
		const restoring = await gone(old, { gateway: "gw-2" });
		await refusal(restoring, /nothing of a gateway gw-2: there are gw-1\./);
	});

	it("where nothing was ever uploaded", async () => {
		const old = await gatewayWith();
		await refusal(await gone(old), /no sound snapshot/);
	});

	it("to a folder that is not empty, and not to one that is", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 1);
		await old.upload();
		const restoring = await gone(old);
		restoring.disk.makeDirectory("/restored/lost+found");
		restoring.disk.open("/restored/file", "create").close();
		await expect(restoring.run()).rejects.toThrow("/restored is not empty");
		restoring.disk.remove("/restored/file");
		await restoring.run();
		expect(restoring.disk.exists("/restored/catalog.db")).toBe(true);
	});

	it("where records that were there are missing, and names them; forced, it counts them as lost", async () => {
		const old = await gatewayWith();
		old.topic("a");
		for (let i = 0; i < 3; i++) {
			await old.append("a", 10);
			await old.upload();
		}
		await old.append("a", 10);
		await old.upload();
		const [, second] = old.store.bucket.keys("gw-1/0000000001/0");
		old.store.bucket.truncate(second as string, 500);
		await refusal(await gone(old), /lacks records .* offsets of a-0 10 to 19\. Damaged: .*0002-[0-9a-f]{8}\.bundle/);
		const forced = new Restoring(old.store.bucket, old.world.clock, { force: true });
		expect(await forced.run()).toMatchObject({ holes: [{ topic: "a", partition: 0, from: 10, to: 20 }], records: 40 });
		const world = forced.start();
		expect(world.broker.catalog.losses()).toMatchObject([{ topic: "a", firstOffset: 10, count: 10 }]);
		const known = old.model.get("a-0") as Map<number, string>;
		expect(await values(world, "a")).toEqual(new Map([...known].filter(([offset]) => offset < 10 || offset >= 20)));
	});

	it("where the last records are gone that the snapshot knows of", async () => {
		const old = await gatewayWith();
		old.topic("a");
		for (let i = 0; i < 2; i++) {
			await old.append("a", 10);
			await old.upload();
		}
		old.topic("later");
		await old.upload();
		const keys = old.store.bucket.keys("gw-1/0000000001/0");
		expect(keys).toHaveLength(3);
		old.store.bucket.delete(keys[1] as string);
		await refusal(await gone(old), /offsets of a-0 10 to 19/);
	});
});

describe("of two restorations at the same time", () => {
	it.each([1, 2, 3, 4, 5, 6])("one comes through, and the other hears of it (seed %i)", async (seed) => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		const { bucket } = (await gone(old)).store;
		const both = ["x", "y"].map((name) => {
			const restoring = new Restoring(bucket, old.world.clock, { random: new SimulatedRandom(`${name}${seed}`) });
			restoring.store.latencyMs = [1, 300];
			return restoring;
		});
		const ends = await Promise.allSettled(both.map((each) => each.run()));
		expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
		const lost = ends.findIndex(({ status }) => status === "rejected");
		expect(String((ends[lost] as PromiseRejectedResult).reason)).toMatch(
			/somebody else restored gateway gw-1|may be alive/,
		);
		expect(both[lost]?.disk.exists("/restored/catalog.db")).toBe(false);
		expect(both[1 - lost]?.disk.exists("/restored/catalog.db")).toBe(true);
	});
});

describe("the old gateway", () => {
	it("hears of it at its next upload", async () => {
		const old = await gatewayWith({ checkClaim: () => checkClaim(old.store, OLD) });
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		await new Restoring(old.store.bucket, old.world.clock, { force: true }).run();
		await expect(old.finish(checkClaim(old.store, OLD))).rejects.toThrow(/restored elsewhere/);
	});
});

describe("a restoration that is cut short", () => {
	const calls = ["list", "get", "getLast", "put", "head", "putIfAbsent"] as const;
	it.each(Array.from({ length: 24 }, (_, step) => step))(
		"at step %i leaves nothing, and the next one goes through",
		async (step) => {
			const old = await gatewayWith();
			old.topic("a", 2);
			for (let i = 0; i < 4; i++) {
				await old.append("a", 10, 100, i % 2);
				await old.upload();
			}
			const restoring = await gone(old);
			const effect = step % 2 === 0 ? "none" : "whole";
			const call = calls[Math.floor(step / 2) % calls.length] as (typeof calls)[number];
			restoring.store.inject({
				calls: [call],
				effect,
				answer: "denied",
				after: step < 12 ? 0 : 2,
				times: Number.POSITIVE_INFINITY,
			});
			const failed = await restoring.run().then(
				() => false,
				() => true,
			);
			if (failed) {
				expect(restoring.disk.exists("/restored/catalog.db")).toBe(false);
				restoring.store.clearFaults();
				expect(await restoring.run()).toMatchObject({ incarnation: 2, records: 40 });
			}
			expect(restoring.disk.list("/restored")).toEqual(["catalog.db"]);
			const world = restoring.start();
			for (const number of [0, 1]) expect(await values(world, "a", number)).toEqual(old.model.get(`a-${number}`));
		},
	);

	it("goes through at once where what failed passes", async () => {
		const old = await gatewayWith();
		old.topic("a");
		await old.append("a", 10);
		await old.upload();
		const restoring = await gone(old);
		restoring.store.troubleChance = 0.3;
		expect(await restoring.run()).toMatchObject({ incarnation: 2, records: 10 });
	});
});

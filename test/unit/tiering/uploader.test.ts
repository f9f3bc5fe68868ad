/** Uploads over a good link: what becomes of what is pending, whatever happens to it meanwhile, and when runs begin and end. */
import { describe, expect, it } from "vitest";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import { DATA_FOLDER } from "../../simulation/world.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { UploadingGateway } from "../../support/uploading-gateway.ts";

const HOUR = 3_600_000;

describe("a run", () => {
	it("uploads all partitions in one object and one request, and what comes later in the next", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a", 3);
		gateway.topic("b", 1);
		for (const [topic, number] of [
			["a", 0],
			["a", 2],
			["b", 0],
		] as const)
			await gateway.append(topic, 5, 100, number);
		await gateway.upload();
		expect(gateway.store.counts).toMatchObject({ put: 1, beginUpload: 0, getLast: 1 });
		expect(await gateway.check()).toBe(15);
		expect(gateway.partition("a", 2).tieredOffset).toBe(5);
		expect(gateway.uploader.lastRun).toMatchObject({ bundles: 1 });
		await gateway.append("a", 2, 100, 1);
		await gateway.upload();
		expect(gateway.store.counts.put).toBe(2);
		expect(await gateway.check()).toBe(17);
		expect([...gateway.store.bucket.objects().keys()][0]).toMatch(
			/^gw-1\/0000000001\/00000000000000000001-[0-9a-f]{8}\.bundle$/,
		);
	});

	it("uploads nothing when nothing is new, but for a snapshot that changed", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 5);
		await gateway.upload();
		await gateway.upload();
		expect(gateway.store.counts.put).toBe(1);
		gateway.topic("new", 1, { "remote.storage.enable": "false" });
		await gateway.upload();
		await gateway.upload();
		expect(gateway.store.counts.put).toBe(2);
		expect(gateway.rows("stored")).toBe(2);
	});

	it("sends what is larger than a part in parts, and what is larger than a bundle in bundles", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 300_000, partBytes: 65_536 });
		gateway.topic("a", 2);
		for (let i = 0; i < 40; i++) await gateway.append("a", 10, 2000, i % 2);
		await gateway.upload();
		expect(gateway.rows("stored")).toBeGreaterThanOrEqual(3);
		expect(gateway.store.counts.putPart).toBeGreaterThan(10);
		expect(gateway.store.bucket.uploads()).toEqual([]);
		expect(await gateway.check()).toBe(400);
		for (const { sizeBytes } of gateway.world.broker.catalog.tier.bundles("stored"))
			expect(sizeBytes).toBeLessThan(400_000);
	});

	it("uploads up to the last stable offset, with what it takes to pass over aborted records", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		const { world } = gateway;
		const [first, second] = ["t1", "t2"].map((id) => new TransactionalWriter(world.broker, id)) as [
			TransactionalWriter,
			TransactionalWriter,
		];
		await world.finish(first.write(gateway.partition("a"), "k", "v1", "v2"));
		await world.finish(first.end("abort"));
		await gateway.append("a", 1);
		await world.finish(second.write(gateway.partition("a"), "k", "open"));
		await gateway.append("a", 1);
		await gateway.upload();
		expect(gateway.partition("a").tieredOffset).toBe(4);
		await world.finish(second.end("commit"));
		await gateway.upload();
		expect(gateway.partition("a").tieredOffset).toBe(gateway.partition("a").highWatermark);
		expect(await gateway.check()).toBe(2);
	});

	it("leaves out topics that do not copy", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("off", 1, { "remote.storage.enable": "false" });
		gateway.topic("paused", 1, { "remote.log.copy.disable": "true" });
		gateway.topic("on");
		for (const topic of ["off", "paused", "on"]) await gateway.append(topic, 3);
		await gateway.upload();
		expect(await gateway.check()).toBe(3);
		expect(gateway.partition("paused").tieredOffset).toBe(0);
		expect(await gateway.uploader.pending()).toEqual([]);
	});

	it("begins with the oldest records", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 70_000 });
		gateway.topic("a");
		gateway.topic("z");
		await gateway.append("z", 40, 2000);
		await gateway.world.clock.advance(HOUR);
		await gateway.append("a", 40, 2000);
		await gateway.upload();
		const first = gateway.world.broker.catalog.tier.bundles("stored")[0];
		expect(gateway.world.broker.catalog.tier.rangesOf(first?.id as number)).toMatchObject([
			{ partitionId: gateway.partition("z").id },
		]);
	});

	it("takes what compaction left, and stands for what it took", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("c", 1, {
			"cleanup.policy": "compact",
			"min.cleanable.dirty.ratio": "0.01",
			"segment.bytes": "4096",
		});
		for (let i = 0; i < 30; i++) await gateway.append("c", 10, 100);
		const { world } = gateway;
		await world.finish(world.log.checkpoint());
		await world.finish(world.broker.cleaner?.clean() as Promise<void>);
		const model = gateway.model.get("c-0") as Map<number, string>;
		const left = new Map(
			(await world.observe())
				.partition("c", 0)
				?.records.map(({ offset, value }) => [offset, value?.toString("base64") ?? ""]),
		);
		expect(left.size).toBeLessThan(model.size);
		gateway.model.set("c-0", left);
		await gateway.upload();
		expect(await gateway.check()).toBe(left.size);
		expect(gateway.partition("c").tieredOffset).toBe(300);
	});

	it("goes on behind records that are lost, at the end too", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		for (let i = 0; i < 3; i++) await gateway.append("a", 10);
		await gateway.stop();
		await gateway.start();
		const { disk } = gateway.world;
		disk.flip(
			`${DATA_FOLDER}/topics/a-0/00000000000000000000.log`,
			(gateway.partition("a").segments.list[0]?.sizeBytes as number) - 10,
		);
		for (let offset = 20; offset < 30; offset++) gateway.model.get("a-0")?.delete(offset);
		await gateway.upload();
		expect(gateway.partition("a").tieredOffset).toBe(30);
		expect(await gateway.check()).toBe(20);
		expect(gateway.world.broker.catalog.losses()).toMatchObject([{ firstOffset: 20, count: 10 }]);
	});

	it("begins at a batch of which the first records were deleted", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 10);
		await gateway.append("a", 10);
		deleteRecordsBefore(gateway.world.log, gateway.partition("a"), 5);
		await gateway.upload();
		expect(gateway.world.broker.catalog.tier.ranges(gateway.partition("a").id, 0, 9)).toMatchObject([
			{ baseOffset: 0, nextOffset: 20 },
		]);
		expect(await gateway.check()).toBe(15);
	});

	it("says how far it is, at what rate, and what it waits for", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 200_000, partBytes: 50_000 });
		gateway.topic("a");
		for (let i = 0; i < 70; i++) await gateway.append("a", 10, 1000);
		gateway.store.bytesPerSecond = 10_000;
		expect(gateway.uploader.runStatus).toBeUndefined();
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(30_000);
		expect(gateway.uploader.runStatus).toMatchObject({ bundles: 1, waitsFor: undefined });
		const { doneBytes = 0, totalBytes = 0, bytesPerSecond } = gateway.uploader.runStatus ?? {};
		expect(doneBytes).toBeGreaterThan(200_000);
		expect(doneBytes).toBeLessThan(totalBytes);
		expect(totalBytes).toBeGreaterThan(700_000);
		expect(bytesPerSecond).toBeGreaterThan(8000);
		expect(bytesPerSecond).toBeLessThanOrEqual(10_000);
		gateway.store.away = true;
		await gateway.world.clock.advance(30_000);
		expect(gateway.uploader.runStatus?.waitsFor).toMatch(/no link/);
		expect(gateway.uploader.error?.message).toMatch(/no link/);
		gateway.store.clearFaults();
		await gateway.finish(run);
		expect(gateway.uploader.error).toBeUndefined();
		expect(gateway.uploader.lastRun?.bytes).toBe(totalBytes);
	});
});

describe("what happens meanwhile", () => {
	/** A gateway whose upload is halfway through when `meanwhile` happens. */
	async function halfway(meanwhile: (gateway: UploadingGateway) => void | Promise<void>): Promise<UploadingGateway> {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		gateway.topic("b");
		for (const topic of ["a", "b"]) for (let i = 0; i < 10; i++) await gateway.append(topic, 10, 500);
		gateway.store.bytesPerSecond = 10_000;
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(6000);
		await meanwhile(gateway);
		await gateway.finish(run);
		return gateway;
	}

	it("a topic is deleted, read already or not", async () => {
		for (const topic of ["a", "b"]) {
			const gateway = await halfway(({ world }) => world.broker.topics.delete(topic));
			expect(await gateway.check()).toBe(100);
			expect(gateway.uploader.error).toBeUndefined();
		}
	});

	it("a topic is deleted and made again", async () => {
		const gateway = await halfway((it) => {
			it.world.broker.topics.delete("a");
			it.topic("a");
			it.model.delete("a-0");
		});
		expect(gateway.partition("a").tieredOffset).toBe(0);
		expect(await gateway.check()).toBe(100);
	});

	it("records are deleted, some of them or all", async () => {
		for (const [topic, offset] of [
			["a", 55],
			["a", 100],
			["b", 55],
			["b", 100],
		] as const) {
			const gateway = await halfway((it) => void deleteRecordsBefore(it.world.log, it.partition(topic), offset));
			await gateway.upload();
			expect(await gateway.check()).toBe(200 - offset);
			expect((await gateway.uploader.pending()).length).toBe(0);
		}
	});

	it("a topic leaves the tier, or leaves it and comes back", async () => {
		const leave = { set: { "remote.storage.enable": "false", "remote.log.delete.on.disable": "true" } };
		const gateway = await halfway(({ world }) => void world.broker.topics.alter("a", leave));
		expect(await gateway.check()).toBe(100);
		expect(gateway.partition("a").tieredOffset).toBe(0);
		const back = await halfway(({ world }) => {
			world.broker.topics.alter("a", leave);
			world.broker.topics.alter("a", { set: { "remote.storage.enable": "true" } });
		});
		await back.upload();
		expect(await back.check()).toBe(200);
	});

	it("a topic of which something was uploaded leaves the tier and comes back: it begins anew", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		await gateway.append("a", 10, 500);
		await gateway.upload();
		for (let i = 0; i < 10; i++) await gateway.append("a", 10, 500);
		gateway.store.bytesPerSecond = 10_000;
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(4000);
		const { topics } = gateway.world.broker;
		topics.alter("a", { set: { "remote.storage.enable": "false", "remote.log.delete.on.disable": "true" } });
		topics.alter("a", { set: { "remote.storage.enable": "true" } });
		await gateway.finish(run);
		await gateway.check();
		await gateway.upload();
		expect(await gateway.check()).toBe(110);
	});

	it("more is appended: it goes with the next run", async () => {
		const gateway = await halfway(async (it) => {
			for (let i = 0; i < 5; i++) await it.append("a", 10, 500);
		});
		expect(gateway.partition("a").tieredOffset).toBe(100);
		await gateway.upload();
		expect(await gateway.check()).toBe(250);
	});

	it("too much is in memory: nothing is read until there is room again", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 10);
		const { pressure } = gateway.world.broker;
		pressure.add(pressure.budgetBytes + 1);
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(HOUR);
		expect(gateway.uploader.runStatus).toMatchObject({ doneBytes: 0, waitsFor: expect.stringContaining("memory") });
		pressure.subtract(pressure.budgetBytes + 1);
		await gateway.finish(run);
		expect(await gateway.check()).toBe(10);
	});

	it("a batch comes that no bundle takes: the others go, and the status says what to do", async () => {
		const gateway = await UploadingGateway.start({
			topicDefaults: { "log.segment.bytes": "67108864", "message.max.bytes": "20000000" },
		});
		gateway.topic("a");
		gateway.topic("b");
		await gateway.append("a", 1);
		await gateway.append("b", 1);
		const partition = gateway.partition("a");
		const read = partition.read.bind(partition);
		Object.assign(partition, {
			read: async (...args: Parameters<typeof read>) => (args[0] === 0 ? Buffer.alloc(17 << 20) : read(...args)),
		});
		await gateway.upload();
		expect(gateway.uploader.error?.message).toMatch(/a-0 has 17825792 bytes.*max\.message\.bytes/);
		expect(partition.tieredOffset).toBe(0);
		expect(gateway.partition("b").tieredOffset).toBe(1);
	});

	it("the gateway stops: at once, and the next start removes what was begun", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.bytesPerSecond = 1000;
		const run = gateway.uploader.run();
		run.catch(() => {});
		await gateway.world.clock.advance(30_000);
		const before = gateway.world.clock.monotonic();
		await gateway.stop();
		expect(gateway.world.clock.monotonic() - before).toBeLessThan(1000);
		await expect(run).rejects.toThrow(/stops/);
		await gateway.start();
		gateway.store.bytesPerSecond = Number.POSITIVE_INFINITY;
		expect(gateway.rows("deleting")).toBe(1);
		await gateway.upload();
		await gateway.world.clock.advance(HOUR);
		expect(gateway.rows("deleting")).toBe(0);
		expect(gateway.store.bucket.uploads()).toEqual([]);
		expect(await gateway.check()).toBe(200);
	});
});

describe("by itself, the uploader", () => {
	it("begins runs at the schedule's times, and no other", async () => {
		const gateway = await UploadingGateway.start({ schedule: { schedule: "*/20 * * * *" } });
		gateway.topic("a", 4);
		gateway.uploader.start();
		for (let i = 0; i < 60; i++) {
			await gateway.append("a", 1, 100, i % 4);
			await gateway.world.clock.advance(120_000);
		}
		expect(gateway.store.counts.put).toBeGreaterThanOrEqual(5);
		expect(gateway.store.counts.put).toBeLessThanOrEqual(6);
		await gateway.check();
	});

	it("makes two requests that cost at most in an hour, at the default schedule, however many partitions", async () => {
		const gateway = await UploadingGateway.start({
			schedule: { schedule: "" },
			partBytes: 8 << 20,
			bundleBytes: 64 << 20,
		});
		gateway.topic("a", 200);
		gateway.uploader.start();
		await gateway.world.clock.advance(HOUR);
		for (const call of Object.keys(gateway.store.counts)) gateway.store.counts[call as "put"] = 0;
		for (let i = 0; i < 200; i++) {
			await gateway.append("a", 2, 200, i);
			await gateway.world.clock.advance(HOUR / 200);
		}
		const { put, putPart, beginUpload, completeUpload, list } = gateway.store.counts;
		expect(put).toBeGreaterThan(0);
		expect(put + putPart + beginUpload + completeUpload + list).toBeLessThanOrEqual(2);
	});

	it("begins one when much is pending, inside of its window", async () => {
		const gateway = await UploadingGateway.start({ schedule: { uploadBytes: 5000 } });
		gateway.topic("a");
		gateway.uploader.start();
		await gateway.append("a", 10, 100);
		await gateway.world.clock.advance(HOUR);
		expect(gateway.store.counts.put).toBe(0);
		await gateway.append("a", 50, 100);
		await gateway.world.clock.advance(10_000);
		expect(gateway.store.counts.put).toBe(1);
	});

	it("gives up a run that waits when the window shuts, and goes on when it opens", async () => {
		const gateway = await UploadingGateway.start({ schedule: { schedule: "* * * * *", window: "0-29 * * * *" } });
		const { clock } = gateway.world;
		clock.step(HOUR - (clock.now() % HOUR));
		gateway.topic("a");
		await gateway.append("a", 10);
		gateway.uploader.start();
		gateway.store.away = true;
		await clock.advance(20 * 60_000);
		expect(gateway.uploader.runStatus).toBeDefined();
		await clock.advance(15 * 60_000);
		expect(gateway.uploader.runStatus).toBeUndefined();
		gateway.store.away = false;
		await clock.advance(20 * 60_000);
		expect(gateway.partition("a").tieredOffset).toBe(0);
		await clock.advance(10 * 60_000);
		expect(gateway.partition("a").tieredOffset).toBe(10);
	});

	it("keeps to the link's budget", async () => {
		const uplink = { bytesPerSecond: 0, bytesPerDay: 100_000, bytesPerMonth: 0, reservePercent: 0 };
		const gateway = await UploadingGateway.start({ uplink, partBytes: 1_000_000 });
		gateway.topic("a");
		for (let i = 0; i < 50; i++) await gateway.append("a", 10, 1000);
		const run = gateway.uploader.run();
		for (let day = 1; day <= 3; day++) {
			await gateway.world.clock.advance(24 * HOUR);
			expect(gateway.store.bytesSent).toBeLessThanOrEqual((day + 1) * 100_000);
			expect(gateway.uploader.runStatus?.waitsFor).toMatch(/uplink's budget/);
			await gateway.check();
		}
		expect(gateway.partition("a").tieredOffset).toBeGreaterThan(100);
		await gateway.finish(run);
		expect(await gateway.check()).toBe(500);
	});

	it("counts what it sent exactly over a stop in the middle of it", async () => {
		const uplink = { bytesPerSecond: 0, bytesPerDay: 100_000_000, bytesPerMonth: 0, reservePercent: 0 };
		const gateway = await UploadingGateway.start({ uplink, partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.bytesPerSecond = 10_000;
		gateway.uploader.run().catch(() => {});
		await gateway.world.clock.advance(5000);
		const sentBytes = gateway.store.bytesSent;
		await gateway.stop();
		await gateway.start();
		expect(gateway.uplink?.report().day.bytes).toBe(sentBytes);
	});

	it("uploads nothing without its claim", async () => {
		let claimed = false;
		const checkClaim = async () => {
			if (!claimed) throw new Error("two gateways have one gateway.id");
		};
		const gateway = await UploadingGateway.start({ checkClaim });
		gateway.topic("a");
		await gateway.append("a", 10);
		await expect(gateway.upload()).rejects.toThrow("two gateways");
		expect(gateway.store.counts.put).toBe(0);
		expect(gateway.uploader.error?.message).toMatch(/two gateways/);
		claimed = true;
		await gateway.upload();
		expect(await gateway.check()).toBe(10);
	});
});

/** What becomes of objects that nothing needs any more: they go, in order, and nothing else does. */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import { UploadingGateway } from "../../support/uploading-gateway.ts";

const HOUR = 3_600_000;

/**
 * A gateway with `count` bundles of ten records each, of which all but the last are to go, and one more, whose snapshot does
 * not call for them any more.
 */
async function expired(count: number): Promise<UploadingGateway> {
	const gateway = await UploadingGateway.start();
	gateway.topic("a");
	for (let i = 0; i < count; i++) {
		await gateway.append("a", 10);
		await gateway.upload();
	}
	deleteRecordsBefore(gateway.world.log, gateway.partition("a"), (count - 1) * 10);
	await gateway.append("a", 10);
	await gateway.upload();
	expect(gateway.rows("deleting")).toBe(count - 1);
	return gateway;
}

const keys = (gateway: UploadingGateway): string[] => [...gateway.store.bucket.objects().keys()];

describe("the reclaimer", () => {
	it("removes bundles that nothing is left of, oldest first, and no other object", async () => {
		const gateway = await expired(4);
		const mine = keys(gateway);
		gateway.store.bucket.plant("gw-1/0000000001/notes.txt", Buffer.from("somebody's"));
		gateway.store.bucket.plant("gw-1/0000000001/00000000000000000002-ffffffff.bundle", Buffer.from("somebody's"));
		gateway.store.inject({ calls: ["delete"], effect: "none", answer: "unreachable", after: 1 });
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(2000);
		expect(keys(gateway).filter((key) => mine.includes(key))).toEqual(mine.slice(1));
		await gateway.world.clock.advance(60_000);
		expect(keys(gateway)).toEqual([
			"gw-1/0000000001/00000000000000000002-ffffffff.bundle",
			mine[3],
			mine[4],
			"gw-1/0000000001/notes.txt",
		]);
		expect(gateway.rows("deleting")).toBe(0);
		expect(gateway.removed).toEqual(mine.slice(0, 3));
		expect(gateway.store.counts.delete).toBe(4);
	});

	it("asks nothing of the store where there is nothing to remove", async () => {
		const gateway = await UploadingGateway.start();
		gateway.reclaimer.start();
		await gateway.world.clock.advance(24 * HOUR);
		expect(Object.values(gateway.store.counts).reduce((sum, count) => sum + count, 0)).toBe(0);
	});

	it("keeps what a restore needs: the newest snapshot, and the records that it calls for", async () => {
		const gateway = await expired(2);
		const [, second, third] = keys(gateway);
		deleteRecordsBefore(gateway.world.log, gateway.partition("a"), 30);
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(HOUR);
		expect(keys(gateway)).toEqual([second, third]);
		await gateway.upload();
		await gateway.world.clock.advance(HOUR);
		expect(keys(gateway)).not.toContain(second);
		expect(gateway.rows("stored")).toBe(1);
		expect(keys(gateway)).toContain(gateway.world.broker.catalog.tier.newestBundle()?.key);
	});

	it("removes what a crash left of the very first upload", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.bytesPerSecond = 10_000;
		gateway.uploader.run().catch(() => {});
		await gateway.world.clock.advance(5000);
		await gateway.crash("kill", new SimulatedRandom(1));
		await gateway.start();
		expect(gateway.store.bucket.uploads()).toHaveLength(1);
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(HOUR);
		expect(gateway.store.bucket.uploads()).toEqual([]);
		expect(gateway.rows("deleting")).toBe(0);
	});

	it("comes back to an attempt that came to nothing, whose end may have been late", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.inject({ calls: ["completeUpload"], effect: "none", answer: "denied" });
		await expect(gateway.upload()).rejects.toThrow(/denied/);
		const [upload] = gateway.store.bucket.uploads();
		if (upload === undefined) throw new Error("no upload was left");
		await gateway.world.clock.advance(60_000);
		expect(gateway.store.bucket.uploads()).toEqual([]);
		expect(gateway.rows("deleting")).toBe(1);
		gateway.store.bucket.plant(upload.key, Buffer.from("it was completed after all"));
		await gateway.world.clock.advance(HOUR);
		expect(gateway.rows("deleting")).toBe(0);
		expect(keys(gateway)).toEqual([]);
	});

	it("waits longer and longer for a store that is away, an hour at most", async () => {
		const gateway = await expired(2);
		gateway.store.away = true;
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(24 * HOUR);
		expect(gateway.store.counts.delete).toBeGreaterThan(20);
		expect(gateway.store.counts.delete).toBeLessThan(40);
		expect(gateway.world.lines.filter(({ message }) => message.includes("cannot be removed"))).toHaveLength(1);
		expect(gateway.reclaimer.problem).toMatch(/no link/);
		gateway.store.away = false;
		await gateway.world.clock.advance(HOUR);
		expect(gateway.rows("deleting")).toBe(0);
		expect(gateway.reclaimer.problem).toBeUndefined();
	});

	it("says once that it may not delete, and tries every hour", async () => {
		const gateway = await expired(3);
		gateway.store.deleteForbidden = true;
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(10 * HOUR);
		expect(gateway.store.counts.delete).toBeLessThanOrEqual(11);
		expect(gateway.store.counts.delete).toBeGreaterThanOrEqual(9);
		const lines = gateway.world.lines.filter(({ message }) => message.includes("cannot be removed"));
		expect(lines).toHaveLength(1);
		expect(String(lines[0]?.fields.error)).toMatch(/s3:DeleteObject/);
		await gateway.append("a", 10);
		await gateway.upload();
		expect(gateway.partition("a").tieredOffset).toBe(50);
		gateway.store.deleteForbidden = false;
		await gateway.world.clock.advance(HOUR + 60_000);
		expect(gateway.rows("deleting")).toBe(0);
	});

	it("leaves alone what the catalog calls by a name that no bundle has", async () => {
		const gateway = await UploadingGateway.start();
		const { tier } = gateway.world.broker.catalog;
		const id = tier.beginBundle({ incarnation: 1, sequence: 1, key: "somebody/claim.json", createdMs: 0 });
		tier.abandonBundle(id);
		gateway.store.bucket.plant("somebody/claim.json", Buffer.from("{}"));
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(24 * HOUR);
		expect(keys(gateway)).toEqual(["somebody/claim.json"]);
		expect(gateway.world.lines.some(({ message }) => message.includes("left alone"))).toBe(true);
	});

	it("uses the link only while it may", async () => {
		const gateway = await UploadingGateway.start({ schedule: { window: "3-4 * * * *" } });
		const { clock } = gateway.world;
		clock.step(30 * 60_000 - (clock.now() % HOUR));
		gateway.topic("a");
		for (let i = 0; i < 2; i++) {
			await gateway.append("a", 10);
			await gateway.upload();
		}
		deleteRecordsBefore(gateway.world.log, gateway.partition("a"), 10);
		await gateway.append("a", 10);
		await gateway.upload();
		await clock.advance(25 * 60_000);
		expect(gateway.rows("deleting")).toBe(1);
		await clock.advance(10 * 60_000);
		expect(gateway.rows("deleting")).toBe(0);
	});

	it("stops at once", async () => {
		const gateway = await expired(3);
		gateway.store.inject({ calls: ["delete"], effect: "none", answer: "silence" });
		gateway.reclaimer.poke();
		await gateway.world.clock.advance(5000);
		await gateway.reclaimer.stop();
		expect(gateway.rows("deleting")).toBe(2);
		await gateway.world.clock.advance(24 * HOUR);
		expect(gateway.store.counts.delete).toBe(1);
	});
});

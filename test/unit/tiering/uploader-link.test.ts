/** Uploads over a link that fails to a store that lies: what is counted, what is sent again and how, and when it is given up. */
import { describe, expect, it } from "vitest";
import { footerOf, UploadingGateway } from "../../support/uploading-gateway.ts";

const HOUR = 3_600_000;

describe("over a bad link, an upload", () => {
	it("waits for a store that is away, and goes on where it was", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.bytesPerSecond = 10_000;
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(6000);
		const partsBefore = gateway.store.bucket.uploads().length;
		expect(partsBefore).toBe(1);
		gateway.store.away = true;
		gateway.store.cut();
		await gateway.world.clock.advance(5 * HOUR);
		gateway.store.away = false;
		await gateway.finish(run);
		expect(gateway.rows("stored")).toBe(1);
		expect(gateway.rows("deleting")).toBe(0);
		expect(gateway.store.bytesSent).toBeLessThan(1.5 * gateway.store.bucket.usedBytes);
		expect(await gateway.check()).toBe(200);
		expect(gateway.world.lines.filter(({ message }) => message.includes("fails"))).toHaveLength(1);
	});

	it("gets data out though the link fails every minute", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 4_000_000, partBytes: 1_000_000 });
		gateway.topic("a");
		for (let i = 0; i < 40; i++) await gateway.append("a", 50, 1000);
		// A minute carries 180 kB.
		gateway.store.bytesPerSecond = 3000;
		const run = gateway.uploader.run();
		const state = { done: false };
		run.then(() => {
			state.done = true;
		});
		for (let minute = 0; minute < 240 && !state.done; minute++) {
			await gateway.world.clock.advance(60_000);
			gateway.store.cut();
		}
		expect(state.done).toBe(true);
		expect(await gateway.check()).toBe(2000);
		expect(gateway.rows("stored")).toBeGreaterThan(10);
	});

	it("puts no key twice: what comes late could take the place of what was confirmed", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 70_000, partBytes: 1_000_000 });
		gateway.topic("a");
		for (let i = 0; i < 40; i++) await gateway.append("a", 10, 1000);
		const keys: string[] = [];
		const put = gateway.store.put.bind(gateway.store);
		gateway.store.put = (key, body) => {
			keys.push(key);
			return put(key, body);
		};
		gateway.store.troubleChance = 0.4;
		await gateway.upload();
		expect(keys.length).toBeGreaterThan(1);
		expect(new Set(keys).size).toBe(keys.length);
		expect(gateway.store.counts.putPart).toBeGreaterThan(0);
		expect(await gateway.check()).toBe(400);
	});

	it("is tried at once when somebody asks", async () => {
		const gateway = await UploadingGateway.start({ schedule: { uploadBytes: 1 } });
		gateway.topic("a");
		await gateway.append("a", 10);
		gateway.uploader.start();
		gateway.store.away = true;
		await gateway.world.clock.advance(HOUR);
		gateway.store.away = false;
		const beforeMs = gateway.world.clock.monotonic();
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(1);
		await run;
		expect(gateway.world.clock.monotonic() - beforeMs).toBeLessThan(1000);
		expect(await gateway.check()).toBe(10);
	});

	it("sends records without a snapshot that would not get through, and the snapshot later", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 400_000, partBytes: 1_000_000 });
		const name = "x".repeat(200);
		for (let i = 0; i < 500; i++) gateway.topic(`${name}${i}`, 1, { "remote.storage.enable": "false" });
		gateway.topic("a");
		for (let i = 0; i < 40; i++) await gateway.append("a", 20, 1000);
		gateway.store.inject({ calls: ["put", "putPart"], effect: "none", answer: "unreachable", times: 9 });
		await gateway.upload();
		const withSnapshot = [];
		for (const object of gateway.store.bucket.objects().values())
			withSnapshot.push((await footerOf(object)).snapshot !== undefined);
		expect(withSnapshot[0]).toBe(false);
		expect(withSnapshot.at(-1)).toBe(true);
		expect(await gateway.check()).toBe(800);
	});

	it("tries larger bundles again once they get through", async () => {
		const gateway = await UploadingGateway.start({ bundleBytes: 1_000_000, partBytes: 2_000_000 });
		gateway.topic("a");
		for (let i = 0; i < 40; i++) await gateway.append("a", 50, 1000);
		gateway.store.inject({ calls: ["put", "putPart"], effect: "none", answer: "unreachable", times: 9 });
		await gateway.upload();
		const sizes = gateway.world.broker.catalog.tier.bundles("stored").map(({ sizeBytes }) => sizeBytes);
		expect(sizes[0]).toBeLessThan(300_000);
		expect(Math.max(...sizes)).toBeGreaterThan(800_000);
		expect(await gateway.check()).toBe(2000);
	});

	it.each([
		["put", "none"],
		["put", "whole"],
		["put", "short"],
		["beginUpload", "none"],
		["beginUpload", "whole"],
		["putPart", "none"],
		["putPart", "whole"],
		["putPart", "short"],
		["completeUpload", "none"],
		["completeUpload", "whole"],
		["getLast", "whole"],
		["head", "whole"],
	] as const)("is right though the outcome of %s is unknown (%s)", async (call, effect) => {
		for (const partBytes of [20_000, 1_000_000]) {
			const gateway = await UploadingGateway.start({ partBytes });
			gateway.topic("a");
			for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
			gateway.store.inject({ calls: [call], effect, answer: "unreachable", times: 2 });
			await gateway.upload();
			expect(await gateway.check()).toBe(200);
			expect(gateway.rows("stored")).toBe(1);
			expect(gateway.store.bucket.uploads()).toEqual([]);
		}
	});

	it.each([
		["put", "short"],
		["put", "none"],
		["putPart", "short"],
		["completeUpload", "short"],
		["completeUpload", "none"],
	] as const)("counts nothing that the store only says it has: %s %s", async (call, effect) => {
		const gateway = await UploadingGateway.start({ partBytes: call === "put" ? 1_000_000 : 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.inject({ calls: [call], effect, answer: "ok" });
		await gateway.upload();
		expect(await gateway.check()).toBe(200);
		expect(gateway.rows("stored")).toBe(1);
		expect(gateway.store.bucket.objects().size + gateway.store.bucket.uploads().length).toBeGreaterThanOrEqual(1);
	});

	it("counts nothing that ends otherwise in the store than it was sent", async () => {
		for (const partBytes of [20_000, 1_000_000]) {
			const gateway = await UploadingGateway.start({ partBytes });
			const { store } = gateway;
			gateway.topic("a");
			for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
			const getLast = store.getLast.bind(store);
			let spoilt: string | undefined;
			store.getLast = async (key, bytes) => {
				if (spoilt === undefined) store.bucket.flip(key, ((await store.head(key))?.sizeBytes as number) - 5);
				spoilt ??= key;
				return getLast(key, bytes);
			};
			await gateway.upload();
			expect(await gateway.check()).toBe(200);
			expect(gateway.world.broker.catalog.tier.bundleByKey(spoilt as string)?.state).toBe("deleting");
		}
	});

	it("takes another key where the store will not complete what was sent", async () => {
		const gateway = await UploadingGateway.start({ partBytes: 20_000 });
		gateway.topic("a");
		for (let i = 0; i < 20; i++) await gateway.append("a", 10, 500);
		gateway.store.inject({ calls: ["completeUpload"], effect: "none", answer: "refused" });
		await gateway.upload();
		expect(gateway.rows("stored")).toBe(1);
		expect(await gateway.check()).toBe(200);
	});

	it("waits for what the store shows late", async () => {
		const gateway = await UploadingGateway.start();
		gateway.store.bucket.historyMs = 10_000;
		gateway.store.staleMs = 10_000;
		gateway.topic("a");
		for (let i = 0; i < 5; i++) {
			await gateway.append("a", 10);
			await gateway.upload();
		}
		expect(gateway.rows("stored")).toBe(5);
		expect(await gateway.check()).toBe(50);
	});

	it("ends when the store loses one bundle after the other", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 10);
		gateway.store.inject({ calls: ["put", "completeUpload"], effect: "none", answer: "ok", times: 100 });
		await expect(gateway.upload()).rejects.toThrow(/uploaded, and then the store does not show it/);
		expect(gateway.store.counts).toMatchObject({ put: 1, completeUpload: 2 });
		expect(gateway.partition("a").tieredOffset).toBe(0);
		expect(gateway.uploader.error?.message).toMatch(/does not show it/);
		gateway.store.clearFaults();
		await gateway.upload();
		expect(await gateway.check()).toBe(10);
		expect(gateway.uploader.error).toBeUndefined();
	});

	it("ends at once where it is not allowed to, and says why until it is", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 10);
		gateway.store.credentialsExpired = true;
		await expect(gateway.upload()).rejects.toThrow(/expired/);
		expect(gateway.uploader.error?.message).toMatch(/expired/);
		expect(gateway.uploader.runStatus).toBeUndefined();
		gateway.store.clearFaults();
		await gateway.upload();
		expect(await gateway.check()).toBe(10);
	});

	it("does not hurry where the bucket is full", async () => {
		const gateway = await UploadingGateway.start();
		gateway.topic("a");
		await gateway.append("a", 10);
		gateway.store.bucket.capacityBytes = 100;
		const run = gateway.uploader.run();
		await gateway.world.clock.advance(HOUR);
		expect(gateway.store.counts.put).toBeLessThan(130);
		expect(gateway.store.counts.put).toBeGreaterThan(50);
		gateway.store.bucket.capacityBytes = Number.POSITIVE_INFINITY;
		await gateway.finish(run);
		expect(await gateway.check()).toBe(10);
	});
});

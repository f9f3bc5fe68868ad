/** The disk cache of windows: what it keeps, within which bounds, and that nothing of it is in anybody's way. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import type { Logger } from "../../../src/base/logger.ts";
import { type ObjectWindow, WindowCache } from "../../../tiering/read/window-cache.ts";

const FOLDER = "/data/tier-cache";
const KIB = 1024;

class CacheWorld {
	readonly clock = new SimulatedClock();
	readonly disk = new SimulatedDisk();
	readonly lines: string[] = [];
	readonly maxBytes: number;
	cache: WindowCache;

	constructor(maxBytes = 1024 * KIB) {
		this.maxBytes = maxBytes;
		this.cache = this.open();
	}

	open(maxBytes = this.maxBytes): WindowCache {
		const say = (message: string) => void this.lines.push(message);
		const logger: Logger = { debug: say, info: say, warn: say, error: say };
		this.cache = new WindowCache({ folder: FOLDER, maxBytes, disk: this.disk, clock: this.clock, logger });
		return this.cache;
	}

	/** It comes from the store so many times. */
	async fetched(window: ObjectWindow, times = 2): Promise<void> {
		for (let i = 0; i < times; i++) {
			this.cache.fetched(window, bytesOf(window));
			await this.clock.settle();
		}
	}

	get files(): string[] {
		return [...this.disk.files().keys()];
	}
}

function window(number: number, sizeBytes = 100 * KIB, key = "gw/0000000001/1-a.bundle"): ObjectWindow {
	return { key, position: number * 1024 * KIB, sizeBytes };
}

const bytesOf = ({ position, sizeBytes }: ObjectWindow) => Buffer.alloc(sizeBytes, position / (1024 * KIB) + 1);

describe("a cache of windows", () => {
	it("writes nothing that comes from the store once, and keeps what comes twice", async () => {
		const world = new CacheWorld();
		for (let i = 0; i < 20; i++) await world.fetched(window(i), 1);
		expect(world.disk.bytesWritten).toBe(0);
		expect(world.files).toEqual([]);
		await world.fetched(window(3), 1);
		expect(world.files).toHaveLength(1);
		expect(world.cache.has(window(3))).toBe(true);
		expect(await world.cache.read(window(3))).toEqual(bytesOf(window(3)));
		expect(world.cache.has(window(4))).toBe(false);
		expect(await world.cache.read(window(4))).toBeUndefined();
		expect(world.disk.syncs).toBe(0);
	});

	it("forgets in time what came once", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0, 10), 1);
		for (let i = 1; i <= 4096; i++) world.cache.fetched(window(i, 10), Buffer.alloc(10));
		await world.fetched(window(0, 10), 1);
		expect(world.files).toEqual([]);
		await world.fetched(window(0, 10), 1);
		expect(world.files).toHaveLength(1);
	});

	it("does not write within the call that brings a window, nor all of it at once", async () => {
		const world = new CacheWorld();
		world.cache.fetched(window(0, 300 * KIB), bytesOf(window(0, 300 * KIB)));
		world.cache.fetched(window(0, 300 * KIB), bytesOf(window(0, 300 * KIB)));
		expect(world.disk.bytesWritten).toBe(0);
		let most = 0;
		for (let before = -1; world.disk.bytesWritten > before || before < 300 * KIB; ) {
			before = world.disk.bytesWritten;
			await new Promise((resolve) => setImmediate(resolve));
			world.clock.runSoon();
			await new Promise((resolve) => setImmediate(resolve));
			most = Math.max(most, world.disk.bytesWritten - before);
		}
		expect(world.disk.bytesWritten).toBe(300 * KIB);
		expect(most).toBe(64 * KIB);
	});

	it("keeps its own copy of what waits to be written", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0), 1);
		const bytes = bytesOf(window(0));
		world.cache.fetched(window(0), bytes);
		bytes.fill(0xff);
		await world.clock.settle();
		expect(await world.cache.read(window(0))).toEqual(bytesOf(window(0)));
	});

	it("stays within its bound: what was not used for the longest time goes", async () => {
		const world = new CacheWorld(250 * KIB);
		await world.fetched(window(0));
		await world.fetched(window(1));
		await world.cache.read(window(0));
		await world.fetched(window(2));
		expect([0, 1, 2].map((i) => world.cache.has(window(i)))).toEqual([true, false, true]);
		expect(world.files).toHaveLength(2);
		expect(world.cache.stats()).toMatchObject({ files: 2, bytes: 200 * KIB, written: 3, errors: 0 });
		await world.fetched(window(3, 300 * KIB));
		expect(world.cache.has(window(3, 300 * KIB))).toBe(false);
		expect(world.files).toHaveLength(2);
	});

	it("outlives a restart, and keeps to a smaller bound then", async () => {
		const world = new CacheWorld();
		for (let i = 0; i < 5; i++) await world.fetched(window(i));
		await world.cache.close();
		world.open();
		expect(await world.cache.read(window(4))).toEqual(bytesOf(window(4)));
		world.open(250 * KIB);
		expect(world.cache.has(window(4))).toBe(true);
		expect(world.cache.stats()).toMatchObject({ files: 2, bytes: 200 * KIB });
		expect(world.files).toHaveLength(2);
	});

	it("is nothing with a bound of 0, and what was there goes", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0));
		world.open(0);
		expect(world.cache.has(window(0))).toBe(false);
		await world.fetched(window(1), 3);
		expect(world.files).toEqual([]);
	});

	it("passes over a file that a power cut left short, and removes it", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0));
		await world.fetched(window(1));
		const [name] = world.files as [string];
		const file = world.disk.open(name, "write");
		file.truncate(5);
		file.close();
		world.open();
		expect(world.cache.has(window(0))).toBe(false);
		expect(world.cache.has(window(1))).toBe(true);
		expect(world.files).toHaveLength(1);
	});

	it("leaves alone what is not its own", () => {
		const world = new CacheWorld();
		world.disk.makeDirectory(FOLDER);
		world.disk.open(`${FOLDER}/notes.txt`, "create").close();
		expect(world.cache.stats().files).toBe(0);
		world.cache.has(window(0));
		expect(world.files).toEqual([`${FOLDER}/notes.txt`]);
	});

	it("takes a file that cannot be read for a miss, and removes it", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0));
		world.disk.inject({ operation: "read", code: "EIO", file: /window$/ });
		expect(await world.cache.read(window(0))).toBeUndefined();
		expect(world.cache.has(window(0))).toBe(false);
		expect(world.files).toEqual([]);
		expect(world.cache.stats().errors).toBe(1);
	});

	it("removes what is found damaged", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0));
		world.cache.discard(window(0));
		expect(world.files).toEqual([]);
		expect(world.cache.stats()).toMatchObject({ bytes: 0, errors: 1 });
	});

	it("stands aside for a minute where the disk is full, says so once, and leaves nothing half done", async () => {
		const world = new CacheWorld();
		const full = { operation: "write", code: "ENOSPC", file: /window$/, times: Number.POSITIVE_INFINITY } as const;
		const end = world.disk.inject(full);
		await world.fetched(window(0));
		await world.fetched(window(1));
		expect(world.files).toEqual([]);
		expect(world.lines).toHaveLength(1);
		expect(world.lines[0]).toMatch(/cannot be used/);
		end();
		await world.fetched(window(1));
		expect(world.files).toEqual([]);
		await world.clock.advance(60_000);
		await world.fetched(window(1));
		expect(world.files).toHaveLength(1);
		expect(world.lines[1]).toMatch(/written to again/);
	});

	it("gives way to the log: where the disk has little left it removes what it has", async () => {
		const world = new CacheWorld();
		for (let i = 0; i < 5; i++) await world.fetched(window(i));
		world.disk.capacityBytes = 64 * 1024 * KIB + 300 * KIB;
		await world.fetched(window(5));
		expect([0, 1, 2, 3, 4, 5].map((i) => world.cache.has(window(i)))).toEqual([false, false, false, true, true, true]);
		world.disk.capacityBytes = 64 * 1024 * KIB;
		await world.fetched(window(6));
		expect(world.files).toEqual([]);
	});

	it("removes the files of bundles that are gone, at once and at start", async () => {
		const world = new CacheWorld();
		const [a, b, c] = ["gw/1/a.bundle", "gw/1/b.bundle", "gw/1/c.bundle"] as const;
		for (const key of [a, b, c]) await world.fetched(window(0, 10 * KIB, key));
		world.cache.forget(b);
		expect(world.cache.has(window(0, 10 * KIB, b))).toBe(false);
		expect(world.files).toHaveLength(2);
		world.open();
		world.cache.retain((key) => key !== a);
		expect([a, b, c].map((key) => world.cache.has(window(0, 10 * KIB, key)))).toEqual([false, false, true]);
		expect(world.files).toHaveLength(1);
	});

	it("does not bring back the file of a bundle that goes while it is written", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0), 1);
		world.cache.fetched(window(0), bytesOf(window(0)));
		await new Promise((resolve) => setImmediate(resolve));
		world.clock.runSoon();
		await new Promise((resolve) => setImmediate(resolve));
		expect(world.files).toHaveLength(1);
		world.cache.forget(window(0).key);
		await world.clock.settle();
		expect(world.files).toEqual([]);
		expect(world.cache.stats()).toMatchObject({ files: 0, bytes: 0 });
	});

	it("writes nothing more once it is closed, and leaves no part of a file", async () => {
		const world = new CacheWorld();
		await world.fetched(window(0), 1);
		world.cache.fetched(window(0), bytesOf(window(0)));
		const closed = world.cache.close();
		await world.clock.settle();
		await closed;
		expect(world.files).toEqual([]);
		await world.fetched(window(0));
		expect(world.files).toEqual([]);
	});
});

import { describe, expect, it } from "vitest";
import { SimulatedDisk, type SimulatedDiskOptions } from "../../../src/base/disk-simulated.ts";
import { PowerLossError } from "../../../src/base/file-simulated.ts";
import { BLOCK_BYTES, SECTOR_BYTES } from "../../../src/base/medium-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

const text = (value: string) => Buffer.from(value);

function makeDisk(seed: number | string, options: SimulatedDiskOptions = {}): SimulatedDisk {
	const disk = new SimulatedDisk({ random: new SimulatedRandom(seed), ...options });
	disk.makeDirectory("/data");
	disk.syncDirectory("/");
	return disk;
}

function read(disk: SimulatedDisk, path: string): Buffer {
	const file = disk.open(path, "read");
	const target = Buffer.alloc(file.size());
	file.readSync(target, 0);
	file.close();
	return target;
}

/** How each of many power cuts left things, as `look` tells it. */
function outcomes(count: number, run: (disk: SimulatedDisk) => void, look: (disk: SimulatedDisk) => string) {
	const seen = new Set<string>();
	for (let seed = 0; seed < count; seed++) {
		const disk = makeDisk(seed);
		run(disk);
		disk.powerCut();
		seen.add(look(disk));
	}
	return seen;
}

function durableFile(disk: SimulatedDisk, path: string, bytes: Buffer): void {
	const file = disk.open(path, "create");
	file.write([bytes], 0);
	file.syncNow();
	disk.syncDirectory("/data");
	file.close();
}

describe("a power cut", () => {
	it("leaves what was synced, bytes, size and name", () => {
		for (let seed = 0; seed < 50; seed++) {
			const disk = makeDisk(seed);
			const bytes = new SimulatedRandom(seed).bytes(10_000);
			durableFile(disk, "/data/a", bytes);
			disk.powerCut();
			disk.powerCut();
			expect(read(disk, "/data/a").equals(bytes)).toBe(true);
		}
	});

	it("may take a file whose name was not synced, whatever was synced in it", () => {
		const seen = outcomes(
			60,
			(disk) => {
				const file = disk.open("/data/a", "create");
				file.write([text("abc")], 0);
				file.syncNow();
			},
			(disk) => (disk.exists("/data/a") ? read(disk, "/data/a").toString() : "gone"),
		);
		expect(seen).toEqual(new Set(["gone", "abc"]));
	});

	it("takes a folder whose name was not synced with all that is in it", () => {
		const seen = outcomes(
			60,
			(disk) => {
				disk.makeDirectory("/data/topic");
				const file = disk.open("/data/topic/a", "create");
				file.syncNow();
				disk.syncDirectory("/data/topic");
			},
			(disk) => disk.list("/data/topic").join(),
		);
		expect(seen).toEqual(new Set(["", "a"]));
	});

	it("does a rename as a whole or not at all", () => {
		const seen = outcomes(
			60,
			(disk) => {
				durableFile(disk, "/data/old", text("old"));
				durableFile(disk, "/data/new", text("new"));
				disk.rename("/data/new", "/data/old");
			},
			(disk) =>
				disk
					.list("/data")
					.map((name) => `${name}=${read(disk, `/data/${name}`)}`)
					.join(),
		);
		expect(seen).toEqual(new Set(["old=new", "old=old,new=new"]));
	});

	it("never leaves one file under two names after several renames", () => {
		const seen = outcomes(
			200,
			(disk) => {
				durableFile(disk, "/data/a", text("x"));
				disk.rename("/data/a", "/data/b");
				disk.rename("/data/b", "/data/c");
			},
			(disk) => disk.list("/data").join(),
		);
		expect(seen).toEqual(new Set(["a", "b", "c"]));
	});

	it("keeps a second name whose folder was synced, and may take one whose folder was not", () => {
		const run = (disk: SimulatedDisk) => {
			durableFile(disk, "/data/a", text("x"));
			disk.link("/data/a", "/data/b");
		};
		const look = (disk: SimulatedDisk) => disk.list("/data").sort().join();
		expect(outcomes(60, run, look)).toEqual(new Set(["a", "a,b"]));
		const synced = (disk: SimulatedDisk) => {
			run(disk);
			disk.syncDirectory("/data");
			disk.remove("/data/a");
		};
		expect(outcomes(60, synced, look)).toEqual(new Set(["a,b", "b"]));
	});

	it("may bring back a file whose removal was not synced, and does not when it was", () => {
		const run = (disk: SimulatedDisk) => {
			durableFile(disk, "/data/a", text("abc"));
			disk.remove("/data/a");
		};
		const look = (disk: SimulatedDisk) => disk.list("/data").join();
		expect(outcomes(60, run, look)).toEqual(new Set(["a", ""]));
		const synced = (disk: SimulatedDisk) => {
			run(disk);
			disk.syncDirectory("/data");
		};
		expect(outcomes(60, synced, look)).toEqual(new Set([""]));
	});

	it("keeps, drops or tears an unsynced write, by sectors, some of them garbage", () => {
		const old = Buffer.alloc(BLOCK_BYTES * 2, "o");
		const fresh = Buffer.alloc(BLOCK_BYTES * 2, "n");
		const seen = outcomes(
			300,
			(disk) => {
				durableFile(disk, "/data/a", old);
				disk.open("/data/a", "write").write([fresh], 0);
			},
			(disk) => {
				const bytes = read(disk, "/data/a");
				let sectors = "";
				for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
					const sector = bytes.subarray(at, at + SECTOR_BYTES);
					sectors += sector.every((byte) => byte === 0x6f) ? "o" : sector.every((byte) => byte === 0x6e) ? "n" : "?";
				}
				return sectors;
			},
		);
		const all = [...seen];
		expect(seen).toContain("o".repeat(16));
		expect(seen).toContain("n".repeat(16));
		expect(all.some((sectors) => /on+o/.test(sectors))).toBe(true);
		expect(all.some((sectors) => sectors.includes("?"))).toBe(true);
	});

	it("may let a later write reach the medium without an earlier one", () => {
		const seen = outcomes(
			100,
			(disk) => {
				durableFile(disk, "/data/a", Buffer.alloc(BLOCK_BYTES * 2, "-"));
				const file = disk.open("/data/a", "write");
				file.write([Buffer.alloc(BLOCK_BYTES, "1")], 0);
				file.write([Buffer.alloc(BLOCK_BYTES, "2")], BLOCK_BYTES);
			},
			(disk) => {
				const bytes = read(disk, "/data/a").toString("latin1");
				return bytes.charAt(0) + bytes.charAt(BLOCK_BYTES);
			},
		);
		for (const outcome of ["--", "1-", "-2", "12"]) expect(seen).toContain(outcome);
	});

	it("may leave the new size without the new bytes, and the old size", () => {
		const seen = outcomes(
			200,
			(disk) => {
				durableFile(disk, "/data/a", text("old"));
				disk.open("/data/a", "write").write([Buffer.alloc(BLOCK_BYTES, "n")], BLOCK_BYTES);
			},
			(disk) => {
				const bytes = read(disk, "/data/a");
				return `${bytes.length} ${bytes.length > BLOCK_BYTES && bytes.subarray(BLOCK_BYTES).every((byte) => byte === 0)}`;
			},
		);
		expect(seen).toContain("3 false");
		expect(seen).toContain(`${2 * BLOCK_BYTES} false`);
		expect(seen).toContain(`${2 * BLOCK_BYTES} true`);
	});

	it("may harm durable bytes of the block being rewritten, only with tearNeighbours, and of no other block", () => {
		for (const tearNeighbours of [true, false]) {
			let harmed = 0;
			for (let seed = 0; seed < 200; seed++) {
				const disk = makeDisk(seed, { tearNeighbours });
				durableFile(disk, "/data/a", Buffer.alloc(BLOCK_BYTES * 3, "o"));
				disk.open("/data/a", "write").write([Buffer.alloc(100, "n")], BLOCK_BYTES + 3000);
				disk.powerCut();
				const bytes = read(disk, "/data/a");
				expect(bytes.subarray(0, BLOCK_BYTES).every((byte) => byte === 0x6f)).toBe(true);
				expect(bytes.subarray(2 * BLOCK_BYTES).every((byte) => byte === 0x6f)).toBe(true);
				const before = bytes.subarray(BLOCK_BYTES, BLOCK_BYTES + 2560);
				if (!before.every((byte) => byte === 0x6f)) harmed++;
			}
			if (tearNeighbours) expect(harmed).toBeGreaterThan(0);
			else expect(harmed).toBe(0);
		}
	});

	it("harms nothing that was written while a sync ran that then finished, but for what came after its start", async () => {
		const seen = new Set<string>();
		for (let seed = 0; seed < 60; seed++) {
			let finish = () => {};
			const schedule = (complete: () => void) => {
				finish = complete;
			};
			const disk = makeDisk(seed, { schedule });
			durableFile(disk, "/data/a", Buffer.alloc(BLOCK_BYTES * 2, "-"));
			const file = disk.open("/data/a", "write");
			file.write([Buffer.alloc(BLOCK_BYTES, "1")], 0);
			const synced = file.sync();
			file.write([Buffer.alloc(BLOCK_BYTES, "2")], BLOCK_BYTES);
			finish();
			await synced;
			disk.powerCut();
			const bytes = read(disk, "/data/a").toString("latin1");
			expect(bytes.slice(0, BLOCK_BYTES)).toBe("1".repeat(BLOCK_BYTES));
			seen.add(bytes.charAt(BLOCK_BYTES));
		}
		expect(seen).toContain("-");
		expect(seen).toContain("2");
	});

	it("kills every open file, and its unfinished operations never end", async () => {
		let finish = () => {};
		const schedule = (complete: () => void) => {
			finish = complete;
		};
		const disk = makeDisk(1, { schedule });
		const file = disk.open("/data/a", "create");
		let ended = false;
		const end = () => {
			ended = true;
		};
		file.sync().then(end, end);
		disk.powerCut();
		finish();
		await new Promise((resolve) => setImmediate(resolve));
		expect(ended).toBe(false);
		expect(() => file.write([text("x")], 0)).toThrow(PowerLossError);
		expect(() => file.size()).toThrow(PowerLossError);
	});

	it("comes in the middle of the operation asked for, and then everything throws until the restart", () => {
		const disk = makeDisk(1);
		const file = disk.open("/data/a", "create");
		disk.stopAfter(2);
		file.write([text("1")], 0);
		expect(disk.off).toBe(false);
		expect(() => file.write([text("2")], 1)).toThrow(PowerLossError);
		expect(disk.off).toBe(true);
		expect(() => disk.exists("/data/a")).toThrow(PowerLossError);
		disk.kill();
		expect(read(disk, "/data/a").toString()).toBe("12");
	});

	it("leaves the same bytes for the same seed and others for another", () => {
		const run = (seed: number) => {
			const disk = makeDisk(seed);
			const random = new SimulatedRandom("work");
			const file = disk.open("/data/a", "create");
			disk.syncDirectory("/data");
			for (let i = 0; i < 30; i++) file.write([random.bytes(random.between(1, 9000))], random.between(0, 50_000));
			disk.powerCut();
			return read(disk, "/data/a").toString("base64");
		};
		expect(run(7)).toBe(run(7));
		expect(new Set([1, 2, 3, 4, 5, 6, 7, 8].map(run)).size).toBeGreaterThan(4);
	});
});

describe("a killed process", () => {
	it("loses its open files and nothing that it wrote", () => {
		const disk = makeDisk(1);
		const file = disk.open("/data/a", "create");
		file.write([text("abc")], 0);
		disk.kill();
		expect(read(disk, "/data/a").toString()).toBe("abc");
		expect(() => file.size()).toThrow(PowerLossError);
	});
});

describe("faults on order", () => {
	it("fails the chosen operation of the chosen file as often as asked", () => {
		const disk = makeDisk(1);
		const a = disk.open("/data/a", "create");
		const b = disk.open("/data/b", "create");
		disk.inject({ operation: "write", code: "EIO", file: /a$/, after: 1, times: 2 });
		b.write([text("b")], 0);
		a.write([text("1")], 0);
		expect(() => a.write([text("2")], 0)).toThrow("EIO");
		b.write([text("b")], 0);
		expect(() => a.write([text("3")], 0)).toThrow("EIO");
		a.write([text("4")], 0);
		expect(read(disk, "/data/a").toString()).toBe("4");
	});

	it("fails reads, both ways, and stops when told", async () => {
		const disk = makeDisk(1);
		durableFile(disk, "/data/a", text("abc"));
		const file = disk.open("/data/a", "read");
		const end = disk.inject({ operation: "read", code: "EIO", times: Number.POSITIVE_INFINITY });
		expect(() => file.readSync(Buffer.alloc(1), 0)).toThrow("EIO");
		await expect(file.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ code: "EIO" });
		end();
		expect(await file.read(Buffer.alloc(3), 0)).toBe(3);
	});

	it("drops the pages of a failed sync: still seen, never durable, although a later sync succeeds", async () => {
		const seen = new Set<string>();
		for (let seed = 0; seed < 60; seed++) {
			const disk = makeDisk(seed);
			durableFile(disk, "/data/a", text("old"));
			const file = disk.open("/data/a", "write");
			file.write([text("new")], 0);
			disk.inject({ operation: "sync", code: "EIO" });
			await expect(file.sync()).rejects.toMatchObject({ code: "EIO" });
			expect(read(disk, "/data/a").toString()).toBe("new");
			await file.sync();
			disk.powerCut();
			seen.add(read(disk, "/data/a").toString("latin1"));
		}
		expect(seen).toContain("old");
		expect(seen).toContain("new");
	});

	it("is full at its capacity, and has room again after a removal", () => {
		const disk = makeDisk(1);
		disk.capacityBytes = 1000;
		const a = disk.open("/data/a", "create");
		a.write([Buffer.alloc(900)], 0);
		disk.link("/data/a", "/data/second");
		expect(disk.freeBytes("/data")).toBe(100);
		disk.remove("/data/second");
		expect(disk.freeBytes("/data")).toBe(100);
		const b = disk.open("/data/b", "create");
		expect(() => b.write([Buffer.alloc(101)], 0)).toThrow("ENOSPC");
		a.write([Buffer.alloc(900, 1)], 0);
		disk.remove("/data/a");
		b.write([Buffer.alloc(1000)], 0);
		expect(disk.freeBytes("/data")).toBe(0);
	});

	it("acknowledges syncs that it does not do when it lies", async () => {
		const seen = new Set<string>();
		for (let seed = 0; seed < 40; seed++) {
			const disk = makeDisk(seed);
			durableFile(disk, "/data/a", text("old"));
			disk.syncLies = true;
			const file = disk.open("/data/a", "write");
			file.write([text("new")], 0);
			await file.sync();
			file.syncNow();
			disk.powerCut();
			seen.add(read(disk, "/data/a").toString("latin1"));
		}
		expect(seen).toContain("old");
	});

	it("acknowledges the sync of a folder that it does not do when it lies", () => {
		const create = (disk: SimulatedDisk) => {
			disk.syncLies = true;
			disk.open("/data/a", "create");
			disk.syncDirectory("/data");
		};
		expect(outcomes(40, create, (disk) => disk.list("/data").join())).toContain("");
	});

	it("flips the bits asked for, across a power cut", () => {
		const disk = makeDisk(1);
		durableFile(disk, "/data/a", text("abc"));
		disk.flip("/data/a", 1, 0x20);
		expect(read(disk, "/data/a").toString()).toBe("aBc");
		disk.powerCut();
		expect(read(disk, "/data/a").toString()).toBe("aBc");
	});

	it("counts bytes and syncs, in all and for each file", async () => {
		const disk = makeDisk(1);
		const a = disk.open("/data/a", "create");
		const b = disk.open("/data/b", "create");
		a.write([text("abc"), text("de")], 0);
		b.write([text("x")], 0);
		await a.sync();
		a.syncNow();
		expect([disk.bytesWritten, disk.syncs]).toEqual([6, 2]);
		expect(disk.counters("/data/a")).toEqual({ writes: 1, bytesWritten: 5, syncs: 2 });
		expect(disk.counters("/data/b")).toEqual({ writes: 1, bytesWritten: 1, syncs: 0 });
	});

	it("gives EBADF for a file used after its end, also when it ends under a running operation", async () => {
		const disk = makeDisk(1);
		const file = disk.open("/data/a", "create");
		const running = file.sync();
		file.close();
		await expect(running).rejects.toMatchObject({ code: "EBADF" });
		expect(() => file.write([text("x")], 0)).toThrow("EBADF");
		expect(() => file.close()).toThrow("EBADF");
		await expect(file.sync()).rejects.toMatchObject({ code: "EBADF" });
	});
});

/**
 * What the broker may expect of a disk, asked of the real one and of its simulated twin: a simulation proves
 * nothing about a disk that behaves otherwise than the real one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Disk, type DiskFile, NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

const disks: Record<string, { start(): { disk: Disk; root: string }; stop(root: string): void }> = {
	NodeDisk: {
		start: () => ({ disk: new NodeDisk(), root: mkdtempSync(join(tmpdir(), "headwater-disk-")) }),
		stop: (root) => rmSync(root, { recursive: true, force: true }),
	},
	SimulatedDisk: {
		start: () => {
			let nowMs = 1_700_000_000_000;
			const disk = new SimulatedDisk({ now: () => nowMs++ });
			disk.makeDirectory("/data");
			return { disk, root: "/data" };
		},
		stop: () => {},
	},
};

const text = (value: string) => Buffer.from(value);

function contents(file: DiskFile): string {
	const target = Buffer.alloc(file.size());
	expect(file.readSync(target, 0)).toBe(target.length);
	return target.toString();
}

function codeOf(task: () => unknown): string | undefined {
	try {
		task();
	} catch (error) {
		return (error as NodeJS.ErrnoException).code;
	}
	return undefined;
}

describe.each(Object.keys(disks))("%s", (name) => {
	const kind = disks[name] as (typeof disks)[string];
	let disk: Disk;
	let root: string;
	const at = (path: string) => `${root}/${path}`;

	function put(path: string, value: string): void {
		const file = disk.open(at(path), "create");
		file.truncate(0);
		file.write([text(value)], 0);
		file.close();
	}

	function get(path: string): string {
		const file = disk.open(at(path), "read");
		try {
			return contents(file);
		} finally {
			file.close();
		}
	}

	beforeEach(() => {
		({ disk, root } = kind.start());
	});
	afterEach(() => kind.stop(root));

	it("creates a file once and keeps what is in it when it is opened again", () => {
		put("a", "first");
		const file = disk.open(at("a"), "create");
		expect(contents(file)).toBe("first");
		file.close();
		expect(disk.fileSize(at("a"))).toBe(5);
		expect(disk.exists(at("a"))).toBe(true);
	});

	it("refuses to open what is not there for reading or writing", () => {
		expect(codeOf(() => disk.open(at("none"), "read"))).toBe("ENOENT");
		expect(codeOf(() => disk.open(at("none"), "write"))).toBe("ENOENT");
		expect(codeOf(() => disk.open(at("no-folder/none"), "create"))).toBe("ENOENT");
		expect(disk.exists(at("none"))).toBe(false);
		expect(disk.fileSize(at("none"))).toBeUndefined();
	});

	it("refuses to open a folder for writing", () => {
		disk.makeDirectory(at("folder"));
		expect(codeOf(() => disk.open(at("folder"), "create"))).toBe("EISDIR");
	});

	it("refuses to write to what was opened for reading", () => {
		put("a", "first");
		const file = disk.open(at("a"), "read");
		expect(codeOf(() => file.write([text("x")], 0))).toBe("EBADF");
		file.close();
		expect(get("a")).toBe("first");
	});

	it("writes the parts in order, however many and however empty", () => {
		const file = disk.open(at("a"), "create");
		file.write([text("ab"), text(""), text("cde"), text("f")], 0);
		file.write([], 0);
		expect(contents(file)).toBe("abcdef");
		const many = Array.from({ length: 3000 }, (_, i) => text(String(i % 10)));
		file.write(many, 6);
		expect(contents(file)).toBe(`abcdef${many.join("")}`);
		file.close();
	});

	it("overwrites in place and fills a gap with zeros", () => {
		const file = disk.open(at("a"), "create");
		file.write([text("abcdef")], 0);
		file.write([text("XY")], 2);
		file.write([text("end")], 10);
		expect(contents(file)).toBe("abXYef\0\0\0\0end");
		file.close();
	});

	it("reads what there is at the end of the file, and nothing behind it", async () => {
		put("a", "abcdef");
		const file = disk.open(at("a"), "read");
		const target = Buffer.alloc(4, "-");
		expect(file.readSync(target, 4)).toBe(2);
		expect(target.toString()).toBe("ef--");
		expect(file.readSync(target, 6)).toBe(0);
		expect(file.readSync(target, 600)).toBe(0);
		expect(await file.read(target, 1)).toBe(4);
		expect(target.toString()).toBe("bcde");
		expect(await file.read(target, 5)).toBe(1);
		expect(await file.read(target, 6)).toBe(0);
		file.close();
	});

	it("truncates to fewer bytes and to more, the new ones zero", () => {
		const file = disk.open(at("a"), "create");
		file.write([text("abcdef")], 0);
		file.truncate(3);
		expect(file.size()).toBe(3);
		file.truncate(5);
		expect(contents(file)).toBe("abc\0\0");
		file.close();
	});

	it("shows one open file's writes to another at once", () => {
		const writer = disk.open(at("a"), "create");
		const reader = disk.open(at("a"), "read");
		writer.write([text("seen")], 0);
		expect(contents(reader)).toBe("seen");
		writer.close();
		reader.close();
	});

	it("syncs, both ways, and a folder", async () => {
		const file = disk.open(at("a"), "create");
		file.write([text("abc")], 0);
		await file.sync();
		file.write([text("def")], 3);
		file.syncNow();
		disk.syncDirectory(root);
		file.close();
		expect(get("a")).toBe("abcdef");
		expect(codeOf(() => disk.syncDirectory(at("none")))).toBe("ENOENT");
	});

	it("makes a folder with its parents and lists what is in it", () => {
		disk.makeDirectory(at("x/y/z"));
		disk.makeDirectory(at("x/y/z"));
		put("x/y/one", "1");
		put("x/y/two", "2");
		expect(disk.list(at("x/y")).sort()).toEqual(["one", "two", "z"]);
		expect(disk.list(at("x/none"))).toEqual([]);
		expect(codeOf(() => disk.list(at("x/y/one")))).toBe("ENOTDIR");
	});

	it("renames, over another file too, and an open file goes along", () => {
		put("a", "new");
		put("b", "old");
		const file = disk.open(at("a"), "write");
		disk.rename(at("a"), at("b"));
		expect(disk.exists(at("a"))).toBe(false);
		expect(get("b")).toBe("new");
		file.write([text("NEW!")], 0);
		expect(get("b")).toBe("NEW!");
		file.close();
		expect(codeOf(() => disk.rename(at("none"), at("c")))).toBe("ENOENT");
		expect(codeOf(() => disk.rename(at("b"), at("no-folder/b")))).toBe("ENOENT");
	});

	it("renames a folder with all that is in it", () => {
		disk.makeDirectory(at("topic-0"));
		put("topic-0/log", "records");
		disk.rename(at("topic-0"), at("topic-0.deleted"));
		expect(disk.list(at("topic-0"))).toEqual([]);
		expect(get("topic-0.deleted/log")).toBe("records");
		disk.makeDirectory(at("other"));
		put("other/file", "");
		expect(codeOf(() => disk.rename(at("topic-0.deleted"), at("other")))).toBe("ENOTEMPTY");
	});

	it("gives a file a second name, only where there is nothing by it", () => {
		put("a", "one");
		disk.link(at("a"), at("b"));
		expect([get("a"), get("b")]).toEqual(["one", "one"]);
		const file = disk.open(at("a"), "write");
		file.write([text("two")], 0);
		expect(get("b")).toBe("two");
		file.close();
		put("c", "three");
		expect(codeOf(() => disk.link(at("a"), at("c")))).toBe("EEXIST");
		expect(codeOf(() => disk.link(at("a"), at("a")))).toBe("EEXIST");
		expect(get("c")).toBe("three");
		expect(codeOf(() => disk.link(at("none"), at("d")))).toBe("ENOENT");
		expect(codeOf(() => disk.link(at("a"), at("no-folder/d")))).toBe("ENOENT");
		disk.remove(at("a"));
		expect(disk.exists(at("a"))).toBe(false);
		expect(get("b")).toBe("two");
	});

	it("tells what there is by a name", () => {
		put("a", "abc");
		disk.makeDirectory(at("folder"));
		expect(disk.status(at("a"))).toMatchObject({ kind: "file", sizeBytes: 3 });
		expect(disk.status(at("a"))?.modifiedMs).toBeGreaterThan(0);
		expect(disk.status(at("folder"))).toMatchObject({ kind: "folder" });
		expect(disk.status(at("none"))).toBeUndefined();
		expect(disk.status(at("none/none"))).toBeUndefined();
		expect(disk.status(at("a/none"))).toBeUndefined();
	});

	it("dates a file by its last write", () => {
		for (const name of ["a", "b", "a"]) put(name, "x");
		const [a, b] = [disk.status(at("a")), disk.status(at("b"))];
		expect(a?.modifiedMs).toBeGreaterThanOrEqual(b?.modifiedMs as number);
	});

	it("removes a file, which stays readable to who has it open", () => {
		put("a", "still here");
		const file = disk.open(at("a"), "read");
		disk.remove(at("a"));
		disk.remove(at("a"));
		expect(disk.exists(at("a"))).toBe(false);
		expect(contents(file)).toBe("still here");
		file.close();
		disk.makeDirectory(at("folder"));
		expect(codeOf(() => disk.remove(at("folder")))).toBe("ERR_FS_EISDIR");
	});

	it("removes a folder with all that is in it", () => {
		disk.makeDirectory(at("x/y"));
		put("x/y/a", "1");
		put("x/b", "2");
		disk.removeDirectory(at("x"));
		disk.removeDirectory(at("x"));
		expect(disk.exists(at("x"))).toBe(false);
		expect(disk.list(root)).toEqual([]);
	});

	it("tells how many bytes may still be written", () => {
		expect(disk.freeBytes(root)).toBeGreaterThan(0);
		expect(disk.totalBytes(root)).toBeGreaterThanOrEqual(disk.freeBytes(root));
	});

	it("holds the same bytes after any mix of writes and truncations as an array does", () => {
		const random = new SimulatedRandom("mix");
		const file = disk.open(at("a"), "create");
		let model = Buffer.alloc(0);
		for (let i = 0; i < 200; i++) {
			if (random.chance(0.8)) {
				const position = random.between(0, 20_000);
				const parts = Array.from({ length: random.between(1, 4) }, () => random.bytes(random.between(0, 3000)));
				const bytes = Buffer.concat(parts);
				const grown = Buffer.alloc(bytes.length === 0 ? model.length : Math.max(model.length, position + bytes.length));
				model.copy(grown);
				bytes.copy(grown, position);
				model = grown;
				file.write(parts, position);
			} else {
				const size = random.between(0, 20_000);
				const resized = Buffer.alloc(size);
				model.copy(resized);
				model = resized;
				file.truncate(size);
			}
			expect(file.size()).toBe(model.length);
		}
		const target = Buffer.alloc(model.length);
		file.readSync(target, 0);
		expect(target.equals(model)).toBe(true);
		file.close();
	});
});

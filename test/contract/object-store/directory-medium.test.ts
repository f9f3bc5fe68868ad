/** What a store in a folder does about media that are not there, are full, fail, or have other people's files on them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeDisk } from "../../../src/base/disk.ts";
import { type DiskFault, SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { DirectoryStore } from "../../../tiering/directory-store.ts";
import { StoreError, type StoreErrorKind } from "../../../tiering/object-store.ts";

const PART_BYTES = 4096;
const ALWAYS = Number.POSITIVE_INFINITY;
const body = Buffer.from("some bytes");

async function expectError(kind: StoreErrorKind, call: Promise<unknown>): Promise<StoreError> {
	try {
		await call;
	} catch (error) {
		expect(error).toBeInstanceOf(StoreError);
		expect(error).toMatchObject({ kind });
		return error as StoreError;
	}
	throw new Error(`resolved, and not ${kind}`);
}

function every(store: DirectoryStore): Record<string, () => Promise<unknown>> {
	const upload = { key: "gw/a", id: "0123456789abcdef" };
	return {
		put: () => store.put("gw/a", body),
		beginUpload: () => store.beginUpload("gw/a"),
		putPart: () => store.putPart(upload, 1, body),
		completeUpload: () => store.completeUpload(upload, ["0+10"]),
		abortUpload: () => store.abortUpload(upload),
		uploads: () => store.uploads(""),
		get: () => store.get("gw/a", 0, 1),
		getLast: () => store.getLast("gw/a", 1),
		head: () => store.head("gw/a"),
		list: () => store.list(""),
		delete: () => store.delete("gw/a"),
	};
}

describe("a folder", () => {
	let disk: SimulatedDisk;
	let nowMs: number;
	const open = (url = "file:///mnt/usb") =>
		new DirectoryStore({ url, partBytes: PART_BYTES }, disk, new SimulatedRandom(String(nowMs)));

	beforeEach(() => {
		nowMs = 1_700_000_000_000;
		disk = new SimulatedDisk({ now: () => nowMs++ });
		disk.makeDirectory("/mnt");
	});

	async function made(): Promise<DirectoryStore> {
		const store = open();
		await store.putIfAbsent("gw/claim.json", body);
		return store;
	}

	it.each([
		"file:///",
		"file://host/mnt",
		"/mnt/usb",
		"mnt",
		"",
		"s3://bucket",
		"file:///mnt%2Fusb",
		"http://host/mnt",
	])("is not what %j names", (url) => {
		expect(() => open(url)).toThrow(StoreError);
	});

	it("is named by a URL with all its characters", async () => {
		const store = open("file:///mnt/a%20stick/");
		expect(store.name).toBe("file:///mnt/a stick");
		await store.putIfAbsent("a", body);
		expect(disk.exists("/mnt/a stick/a")).toBe(true);
	});

	it("is made by the first putIfAbsent, marked as a store, and not by another call", async () => {
		const store = open();
		for (const call of Object.values(every(store))) {
			const error = await expectError("no-bucket", call());
			expect(error.message).toContain("/mnt/usb");
			expect(error.isTransient).toBe(false);
		}
		expect(disk.exists("/mnt/usb")).toBe(false);
		await store.putIfAbsent("gw/claim.json", body);
		expect([...disk.files().keys()]).toEqual(["/mnt/usb/.headwater-store", "/mnt/usb/gw/claim.json"]);
		for (const [name, call] of Object.entries(every(open())))
			if (name !== "putPart" && name !== "completeUpload" && !name.startsWith("get")) await call();
	});

	it("may be there already, with other files in it, which are left and not listed", async () => {
		disk.makeDirectory("/mnt/usb/System Volume Information");
		disk.open("/mnt/usb/my photo.jpg", "create").close();
		disk.open("/mnt/usb/.hidden", "create").close();
		const store = await made();
		expect((await store.list("")).objects.map(({ key }) => key)).toEqual(["gw/claim.json"]);
		expect(disk.exists("/mnt/usb/my photo.jpg")).toBe(true);
	});

	it("is not made where the folder above is missing", async () => {
		const error = await expectError("no-bucket", open("file:///media/stick/objects").putIfAbsent("a", body));
		expect(error.message).toContain("/media/stick");
		expect(error.message).toContain("mounted");
		expect(disk.exists("/media")).toBe(false);
	});

	it("is no store any more when its medium is gone, to the same process or a new one, and is one when it is back", async () => {
		const store = await made();
		await store.put("gw/a", body);
		disk.rename("/mnt/usb", "/mnt/elsewhere");
		disk.makeDirectory("/mnt/usb");
		for (const client of [store, open()]) {
			for (const call of Object.values(every(client))) {
				const error = await expectError("no-bucket", call());
				expect(error.message).toContain("not mounted");
			}
		}
		expect(disk.list("/mnt/usb")).toEqual([]);
		disk.removeDirectory("/mnt/usb");
		await expectError("no-bucket", store.get("gw/a", 0, 1));
		disk.rename("/mnt/elsewhere", "/mnt/usb");
		expect((await store.get("gw/a", 0, 100)).equals(body)).toBe(true);
		await store.put("gw/b", body);
	});

	it("that is taken away in the middle of a call makes it fail as a medium that went", async () => {
		const store = await made();
		const putting = store.put("gw/a", body);
		disk.rename("/mnt/usb", "/mnt/elsewhere");
		const error = await expectError("no-bucket", putting);
		expect(error.message).toContain("/mnt/usb");
		expect(disk.exists("/mnt/usb")).toBe(false);
	});

	it("was copied without its hidden files: an empty mark makes it a store again", async () => {
		await (await made()).put("gw/a", body);
		disk.removeDirectory("/mnt/usb/.uploads");
		disk.remove("/mnt/usb/.headwater-store");
		const error = await expectError("no-bucket", open().list(""));
		expect(error.message).toContain(".headwater-store");
		disk.open("/mnt/usb/.headwater-store", "create").close();
		expect((await open().list("")).objects.map(({ key }) => key)).toEqual(["gw/a", "gw/claim.json"]);
		expect(await open().uploads("")).toEqual([]);
	});

	it("keeps no object where another's folder is, nor the other way round", async () => {
		const store = await made();
		await expectError("refused", store.put("gw", body));
		await expectError("refused", store.putIfAbsent("gw", body));
		await expectError("refused", store.put("gw/claim.json/a", body));
		await expectError("refused", store.beginUpload("gw/claim.json/a"));
		const begun = await store.beginUpload("gw");
		const etag = await store.putPart(begun, 1, body);
		await expectError("refused", store.completeUpload(begun, [etag]));
		expect((await store.get("gw/claim.json", 0, 100)).equals(body)).toBe(true);
	});

	it("keeps some space free, and says how much", async () => {
		const store = await made();
		disk.capacityBytes = 1_000_000;
		const error = await expectError(
			"full",
			(async () => {
				for (let i = 0; ; i++) await store.put(`gw/${i}`, Buffer.alloc(PART_BYTES));
			})(),
		);
		expect(error.isTransient).toBe(true);
		expect(error.message).toMatch(/20000 stay free/);
		expect(disk.freeBytes("/mnt")).toBeGreaterThanOrEqual(20_000);
		expect(disk.freeBytes("/mnt")).toBeLessThan(20_000 + PART_BYTES);
		const begun = await store.beginUpload("gw/large");
		await expectError("full", store.putPart(begun, 1, Buffer.alloc(PART_BYTES)));
		await expectError("exists", store.putIfAbsent("gw/claim.json", Buffer.alloc(PART_BYTES)));
		await store.delete("gw/0");
		await store.put("gw/0", Buffer.alloc(PART_BYTES));
	});

	it("writes an upload whose parts came in order once", async () => {
		const store = await made();
		const parts = [1, 2, 3].map((fill) => Buffer.alloc(PART_BYTES, fill));
		const before = disk.bytesWritten;
		const begun = await store.beginUpload("gw/a");
		const etags: string[] = [];
		for (const [i, part] of parts.entries()) etags.push(await store.putPart(begun, i + 1, part));
		await store.completeUpload(begun, etags);
		expect(disk.bytesWritten - before).toBeLessThan(3 * PART_BYTES + 1000);
		expect((await store.get("gw/a", 0, 4 * PART_BYTES)).equals(Buffer.concat(parts))).toBe(true);
	});

	it("loses in a day what a process left unfinished, but no upload", async () => {
		const store = await made();
		const begun = await store.beginUpload("gw/large");
		const etag = await store.putPart(begun, 1, body);
		const put = store.put("gw/a", body);
		disk.kill();
		put.catch(() => {});
		const left = disk.list("/mnt/usb/.uploads");
		expect(left).toHaveLength(3);
		await open().put("gw/b", body);
		expect(disk.list("/mnt/usb/.uploads").sort()).toEqual(left.sort());
		nowMs += 25 * 60 * 60 * 1000;
		await open().put("gw/c", body);
		expect(disk.list("/mnt/usb/.uploads").sort()).toEqual([`${begun.id}.data`, `${begun.id}.index`]);
		await open().completeUpload(begun, [etag]);
		expect(disk.list("/mnt/usb/.uploads")).toEqual([]);
	});

	it("goes on with an upload whose index was torn: what it tells no more was never sent", async () => {
		const store = await made();
		const begun = await store.beginUpload("gw/a");
		const part = Buffer.alloc(PART_BYTES, 1);
		const first = await store.putPart(begun, 1, part);
		const second = await store.putPart(begun, 2, body);
		const index = disk.open(`/mnt/usb/.uploads/${begun.id}.index`, "write");
		index.truncate(index.size() - 5);
		index.close();
		await expectError("refused", store.completeUpload(begun, [first, second]));
		const again = await open().putPart(begun, 2, Buffer.from("other"));
		await open().completeUpload(begun, [first, again]);
		expect((await store.get("gw/a", 0, 2 * PART_BYTES)).equals(Buffer.concat([part, Buffer.from("other")]))).toBe(true);
	});

	it("takes a part that failed half-way again", async () => {
		const store = await made();
		const begun = await store.beginUpload("gw/a");
		const parts = [Buffer.alloc(PART_BYTES, 1), Buffer.alloc(PART_BYTES + 7, 2), body];
		const etags = [await store.putPart(begun, 1, parts[0] as Buffer)];
		disk.inject({ operation: "sync", code: "EIO", file: /data$/ });
		await expectError("unreachable", store.putPart(begun, 2, Buffer.alloc(2 * PART_BYTES, 9)));
		for (const i of [1, 2]) etags.push(await store.putPart(begun, i + 1, parts[i] as Buffer));
		await store.completeUpload(begun, etags);
		expect((await store.get("gw/a", 0, 10 * PART_BYTES)).equals(Buffer.concat(parts))).toBe(true);
	});

	const failures: [string, DiskFault["operation"], string, StoreErrorKind, RegExp][] = [
		["no space", "write", "ENOSPC", "full", /full/],
		["a used up quota", "write", "EDQUOT", "full", /quota/],
		["an error of the medium", "write", "EIO", "unreachable", /medium/],
		["an error while syncing", "sync", "EIO", "unreachable", /medium/],
		["a medium that is read-only", "open", "EROFS", "denied", /read-only/],
		["another owner", "open", "EACCES", "denied", /owner/],
		["an error while the name is synced", "syncDirectory", "EIO", "unreachable", /medium/],
		["a file too large for FAT", "write", "EFBIG", "refused", /large/],
		["an error that nobody knows", "write", "EWHATEVER", "unreachable", /failed/],
	];
	it.each(failures)("with %s says what it is, and is as it was", async (_, operation, code, kind, words) => {
		const store = await made();
		const before = disk.list("/mnt/usb/.uploads");
		const end = disk.inject({ operation, code, file: /uploads/, times: ALWAYS });
		const error = await expectError(kind, store.put("gw/a", body));
		for (const part of [words, /gw\/a/, /file:\/\/\/mnt\/usb/]) expect(error.message).toMatch(part);
		expect((error.cause as NodeJS.ErrnoException).code).toBe(code);
		end();
		expect(disk.list("/mnt/usb/.uploads")).toEqual(before);
		await store.put("gw/a", body);
		expect((await store.get("gw/a", 0, 100)).equals(body)).toBe(true);
	});

	it("on a file system that cannot sync folders is a store all the same", async () => {
		disk.inject({ operation: "syncDirectory", code: "EINVAL", times: ALWAYS });
		const store = await made();
		await store.put("gw/a", body);
		expect((await store.head("gw/a"))?.sizeBytes).toBe(body.length);
	});

	it("lets errors through that are none of the disk's", async () => {
		const store = await made();
		disk.stop();
		await expect(store.put("gw/a", body)).rejects.toMatchObject({ name: "PowerLossError" });
	});
});

describe("a folder with links in it", () => {
	let root: string;
	let store: DirectoryStore;

	beforeEach(async () => {
		root = mkdtempSync(join(tmpdir(), "headwater-links-"));
		mkdirSync(join(root, "outside"));
		writeFileSync(join(root, "outside/secret"), "secret");
		store = new DirectoryStore({ url: `file://${root}/store`, partBytes: PART_BYTES }, new NodeDisk());
		await store.putIfAbsent("gw/claim.json", body);
	});
	afterEach(() => rmSync(root, { recursive: true, force: true }));

	it("is never left by one", async () => {
		symlinkSync(join(root, "outside"), join(root, "store/away"));
		symlinkSync(join(root, "outside/secret"), join(root, "store/gw/secret"));
		for (const call of [
			() => store.put("away/x", body),
			() => store.putIfAbsent("away/x", body),
			() => store.beginUpload("away/x"),
			() => store.get("away/secret", 0, 10),
			() => store.head("away/secret"),
			() => store.delete("away/secret"),
		])
			await expectError("refused", call());
		await expectError("not-found", store.get("gw/secret", 0, 10));
		expect(await store.head("gw/secret")).toBeUndefined();
		await expectError("exists", store.putIfAbsent("gw/secret", body));
		await store.delete("gw/secret");
		await store.put("gw/secret", body);
		expect((await store.list("")).objects.map(({ key }) => key)).toEqual(["gw/claim.json", "gw/secret"]);
		expect(readdirSync(join(root, "outside"))).toEqual(["secret"]);
		expect(readFileSync(join(root, "outside/secret"), "utf8")).toBe("secret");
	});

	it("may be reached by one itself", async () => {
		symlinkSync(join(root, "store"), join(root, "short"));
		const short = new DirectoryStore({ url: `file://${root}/short`, partBytes: PART_BYTES }, new NodeDisk());
		await short.put("gw/a", body);
		expect((await store.get("gw/a", 0, 100)).equals(body)).toBe(true);
	});
});

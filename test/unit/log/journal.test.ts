/** The journal on its own, on the simulated disk and a real one: replay, files used again, and damage anywhere in it. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { type Disk, NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Journal } from "../../../src/log/journal.ts";
import { encodeBatch } from "../../../src/record/batch.ts";

const BLOCK = 4096;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const root = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-journal-"));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

interface Found {
	readonly sequence: number;
	readonly values: string[];
}

function write(journal: Journal, values: readonly string[]): void {
	const appends = values.map((value, i) => {
		const records = [{ timestamp: 1, key: null, value: Buffer.from(value), headers: [] }];
		return { partitionId: i, baseOffset: 0, offsets: 1, batch: encodeBatch(records, { baseOffset: 0 }), pooled: false };
	});
	expect(journal.makeRoom(appends, [])).toBe(true);
	journal.write(appends, []);
}

for (const [name, newDisk, folderOf] of [
	["the simulated disk", () => new SimulatedDisk(), (n: number) => `/journal-${n}`],
	["a real disk", () => new NodeDisk(), (n: number) => path.join(root, `${n}`)],
] as [string, () => Disk, (n: number) => string][]) {
	describe(`the journal on ${name}`, () => {
		let disk: Disk;
		let folder: string;
		let random: SimulatedRandom;
		let folders = 0;
		let opened: Journal | undefined;

		beforeEach(() => {
			disk = newDisk();
			folder = folderOf(folders++);
			random = new SimulatedRandom(folders);
			opened = undefined;
		});

		function open(checkpoint = 0, options = { fileBytes: 64 * 1024, filesMax: 3 }) {
			opened?.close();
			const journal = new Journal(disk, folder, options, random, silent);
			opened = journal;
			const found: Found[] = [];
			const damages: { file: string; position: number; what: string }[] = [];
			journal.replay(checkpoint, {
				entry: ({ header, operations, bytes, bad }) => {
					const sound = operations.appends.filter((append) => !bad.includes(append));
					const values = sound.map(({ position, sizeBytes }) =>
						bytes.toString("latin1", position + 61, position + sizeBytes).replace(/[^a-z0-9 ]/g, ""),
					);
					found.push({ sequence: header.sequence, values });
				},
				damage: (file, position, what) => damages.push({ file, position, what }),
			});
			return { journal, found, damages };
		}

		const files = () =>
			disk
				.list(folder)
				.filter((file) => file.endsWith(".journal"))
				.sort();

		function edit(file: string, position: number, change: (bytes: Buffer) => void, length = 1): void {
			const handle = disk.open(`${folder}/${file}`, "write");
			const bytes = Buffer.alloc(length);
			handle.readSync(bytes, position);
			change(bytes);
			handle.write([bytes], position);
			handle.syncNow();
			handle.close();
		}
		const flip = (file: string, position: number) =>
			edit(file, position, (bytes) => {
				bytes[0] = (bytes[0] as number) ^ 0x04;
			});

		/** Entries 1 to `count`, each in a block of its own, in one file. */
		async function entries(count: number): Promise<string> {
			const { journal } = open();
			for (let i = 1; i <= count; i++) {
				write(journal, [`one ${i}`, `two ${i}`]);
				await journal.sync();
			}
			return files()[0] as string;
		}
		const place = (sequence: number) => 2 * BLOCK + (sequence - 1) * BLOCK;
		const sequences = (found: readonly Found[]) => found.map(({ sequence }) => sequence);

		it("gives back what was written after the checkpoint, in order", async () => {
			await entries(5);
			const { found, damages } = open(2);
			expect(found).toEqual(
				[3, 4, 5].map((sequence) => ({
					sequence,
					values: [expect.stringContaining(`one ${sequence}`), expect.stringContaining(`two ${sequence}`)],
				})),
			);
			expect(damages).toEqual([]);
			// The newest was written once more, into a use of its own: it is found once, again and again.
			for (let i = 0; i < 3; i++) expect(sequences(open(2).found)).toEqual([3, 4, 5]);
		});

		it("goes on in another file, and uses a released one again without replaying what it held", async () => {
			const { journal } = open();
			let released = 0;
			const names = new Set<string>();
			for (let i = 1; i <= 80; i++) {
				write(journal, [`value ${i}`]);
				await journal.sync();
				if (i % 20 === 0) {
					journal.release(i - 3);
					released = i - 3;
				}
				for (const file of files()) names.add(file);
			}
			expect(names.size).toBeLessThanOrEqual(4);
			expect(journal.totalBytes).toBeLessThanOrEqual(3 * 64 * 1024);
			const { found, damages } = open(released);
			expect(damages).toEqual([]);
			expect(sequences(found)).toEqual([78, 79, 80]);
		});

		it("says that a checkpoint must come first when every file is in use", async () => {
			const { journal } = open();
			const big = "x".repeat(30_000);
			let written = 0;
			const records = [{ timestamp: 1, key: null, value: Buffer.from(big), headers: [] }];
			const append = { partitionId: 1, baseOffset: 0, offsets: 1, batch: encodeBatch(records), pooled: false };
			while (journal.makeRoom([append], [])) {
				journal.write([append], []);
				await journal.sync();
				written++;
			}
			// One of the three may still be being made ahead of need.
			expect(written).toBeGreaterThanOrEqual(2);
			expect(written).toBeLessThanOrEqual(3);
			expect(journal.totalBytes).toBeLessThanOrEqual(3 * 64 * 1024);
			journal.release(written - 1);
			expect(journal.makeRoom([append], [])).toBe(true);
		});

		it("drops the last entry whole where its head or its body is torn, without a word", async () => {
			for (const at of [10, 50, 100, 200]) {
				folder = folderOf(folders++);
				opened = undefined;
				const file = await entries(4);
				flip(file, place(4) + at);
				const { found, damages } = open();
				expect([at, sequences(found)]).toEqual([at, [1, 2, 3]]);
				expect(damages).toEqual([]);
			}
		});

		it("reports damage in the middle with its place, and goes on behind it", async () => {
			const file = await entries(5);
			flip(file, place(3) + 50);
			const { found, damages } = open();
			expect(sequences(found)).toEqual([1, 2, 4, 5]);
			expect(damages).toEqual([{ file, position: place(3), what: expect.stringContaining("entries 3 to 3") }]);
		});

		it("reports a damaged batch in the middle with its place, and gives the others of its entry", async () => {
			const file = await entries(5);
			const bytes = Buffer.alloc(64 * 1024);
			const handle = disk.open(`${folder}/${file}`, "read");
			handle.readSync(bytes, 0);
			handle.close();
			const at = bytes.indexOf("two 3");
			flip(file, at);
			const { found, damages } = open();
			expect(found.map(({ values }) => values.length)).toEqual([2, 2, 1, 2, 2]);
			expect(damages).toMatchObject([{ file }]);
			expect(at - (damages[0]?.position ?? 0)).toBeGreaterThan(0);
			expect(at - (damages[0]?.position ?? 0)).toBeLessThan(100);
		});

		it("does not care for damage before the checkpoint", async () => {
			const file = await entries(5);
			flip(file, place(2) + 50);
			const { found, damages } = open(3);
			expect(sequences(found)).toEqual([4, 5]);
			expect(damages).toEqual([]);
		});

		it("needs only one of a file's two headers", async () => {
			for (const block of [0, 1]) {
				folder = folderOf(folders++);
				opened = undefined;
				const file = await entries(3);
				edit(file, block * BLOCK, (bytes) => bytes.fill(0xee), BLOCK);
				expect(sequences(open().found)).toEqual([1, 2, 3]);
			}
		});

		it("takes no bytes of another use or of a client for an entry", async () => {
			const file = await entries(3);
			// A copy of entry 2, byte for byte, where entry 4 would be; and one that claims to be entry 4.
			const copy = Buffer.alloc(BLOCK);
			const handle = disk.open(`${folder}/${file}`, "write");
			handle.readSync(copy, place(2));
			handle.write([copy], place(4));
			copy.writeUInt32BE(4, 20);
			handle.write([copy], place(5));
			handle.close();
			const { found, damages } = open();
			expect(sequences(found)).toEqual([1, 2, 3]);
			expect(damages).toEqual([]);
		});
	});
}

/** The contract suite about reading and listing. */
import { describe, expect, it } from "vitest";
import type { StoreBench } from "./store-bench.ts";

export function readingContract(bench: StoreBench): void {
	describe("reading", () => {
		it("gives the bytes asked for, fewer only at the end", async () => {
			const bytes = bench.random.bytes(10_000);
			await bench.store.put(bench.key("a"), bytes);
			const windows: [number, number][] = [
				[0, 1],
				[0, 10_000],
				[9999, 1],
				[9999, 100],
				[5000, 100_000],
			];
			for (let i = 0; i < 20; i++) windows.push([bench.random.between(0, 9999), bench.random.between(1, 12_000)]);
			for (const [position, count] of windows) {
				const got = await bench.store.get(bench.key("a"), position, count);
				expect(got.equals(bytes.subarray(position, position + count)), `${count} from ${position}`).toBe(true);
			}
		});

		it("gives nothing at the object's end and behind it", async () => {
			await bench.store.put(bench.key("a"), bench.random.bytes(10));
			expect(await bench.store.get(bench.key("a"), 10, 5)).toHaveLength(0);
			expect(await bench.store.get(bench.key("a"), 1000, 5)).toHaveLength(0);
		});

		it("gives the last bytes with the size, all of them where there are no more", async () => {
			const bytes = bench.random.bytes(1000);
			await bench.store.put(bench.key("a"), bytes);
			for (const count of [1, 64, 1000, 5000]) {
				const last = await bench.store.getLast(bench.key("a"), count);
				expect(last.sizeBytes).toBe(1000);
				expect(last.bytes.equals(bytes.subarray(Math.max(0, 1000 - count)))).toBe(true);
			}
			await bench.store.put(bench.key("empty"), Buffer.alloc(0));
			const last = await bench.store.getLast(bench.key("empty"), 10);
			expect([last.bytes.length, last.sizeBytes]).toEqual([0, 0]);
		});

		it("reaches over the parts of an upload", async () => {
			const parts = [bench.random.bytes(bench.store.partBytes), bench.random.bytes(500)];
			await bench.upload(bench.key("a"), parts);
			const bytes = Buffer.concat(parts);
			const from = bench.store.partBytes - 100;
			expect((await bench.store.get(bench.key("a"), from, 200)).equals(bytes.subarray(from, from + 200))).toBe(true);
			const last = await bench.store.getLast(bench.key("a"), 600);
			expect(last.bytes.equals(bytes.subarray(-600))).toBe(true);
			expect(last.sizeBytes).toBe(bytes.length);
		});

		it("says what is not there", async () => {
			await bench.expectNothing(bench.key("none"));
			const error = await bench.expectError("not-found", bench.store.get(bench.key("none"), 0, 1));
			expect(error.message).toContain(bench.key("none"));
			expect(error.isTransient).toBe(false);
		});

		it("knows no object in a folder's name", async () => {
			await bench.store.put(bench.key("x/a"), bench.random.bytes(1));
			await bench.expectNothing(bench.key("x"));
			await bench.expectNothing(bench.folder);
		});
	});

	describe("list", () => {
		it("gives keys in the order of their bytes, a folder's together", async () => {
			// By themselves "a" and "a-b" would stand otherwise than "a/…" and "a-b".
			const names = ["A", "B", "Z/a", "_", "a-b", "a.b", "a/a", "a/b/c", "a0", "aA", "a_b", "ab/c", "ab0", "b"];
			const keys = names.map((name) => bench.key(name));
			for (const each of [...keys].reverse()) await bench.store.put(each, bench.random.bytes(1));
			const { objects, more } = await bench.store.list(bench.folder);
			expect(objects.map((object) => object.key)).toEqual([...keys].sort());
			expect(more).toBe(false);
		});

		it("gives those whose keys begin with the prefix, wherever in a name it ends", async () => {
			for (const name of ["x/aa", "x/ab", "x/b/c", "xy/a", "y"])
				await bench.store.put(bench.key(name), bench.random.bytes(1));
			const found = (prefix: string) => bench.names(prefix);
			expect(await found("x")).toEqual(["x/aa", "x/ab", "x/b/c", "xy/a"]);
			expect(await found("x/")).toEqual(["x/aa", "x/ab", "x/b/c"]);
			expect(await found("x/a")).toEqual(["x/aa", "x/ab"]);
			expect(await found("x/b/c")).toEqual(["x/b/c"]);
			expect(await found("x/b/cd")).toEqual([]);
			expect(await found("x/b/c/")).toEqual([]);
			expect(await found("z")).toEqual([]);
			expect(await bench.allKeys("")).toEqual(expect.arrayContaining(["x/aa", "y"].map((name) => bench.key(name))));
		});

		it("begins behind a key, whether that is there or not", async () => {
			for (const name of ["a/1", "a/2", "b", "c/1"]) await bench.store.put(bench.key(name), bench.random.bytes(1));
			const behind = async (name: string) =>
				(await bench.store.list(bench.folder, bench.key(name))).objects.map((object) =>
					object.key.slice(bench.folder.length + 1),
				);
			expect(await behind("a/1")).toEqual(["a/2", "b", "c/1"]);
			expect(await behind("a/15")).toEqual(["a/2", "b", "c/1"]);
			expect(await behind("a")).toEqual(["a/1", "a/2", "b", "c/1"]);
			expect(await behind("a0")).toEqual(["b", "c/1"]);
			expect(await behind("c/1")).toEqual([]);
			expect((await bench.store.list(bench.key("a"), bench.key("a/1"))).objects.map((object) => object.key)).toEqual([
				bench.key("a/2"),
			]);
			expect((await bench.store.list(bench.key("b"), bench.key("a/1"))).objects.map((object) => object.key)).toEqual([
				bench.key("b"),
			]);
			expect((await bench.store.list(bench.key("a"), bench.key("b"))).objects).toEqual([]);
		});

		it("gives at most 1000 at once and says whether there are more", async () => {
			const keys = Array.from({ length: 1003 }, (_, i) => bench.key(`${i % 7}/${String(i).padStart(5, "0")}`)).sort();
			for (let i = 0; i < keys.length; i += 17)
				await Promise.all(keys.slice(i, i + 17).map((each) => bench.store.put(each, Buffer.from(each))));
			const first = await bench.store.list(`${bench.folder}/`);
			expect(first.more).toBe(true);
			expect(first.objects.length).toBeGreaterThan(0);
			expect(first.objects.length).toBeLessThanOrEqual(1000);
			expect(first.objects.every(({ sizeBytes, key: at }) => sizeBytes === at.length)).toBe(true);
			expect(await bench.allKeys(`${bench.folder}/`)).toEqual(keys);
		});

		it("gives nothing, and no error, where there is nothing", async () => {
			expect(await bench.store.list(bench.key("none"))).toEqual({ objects: [], more: false });
			expect(await bench.store.uploads(bench.key("none"))).toEqual([]);
		});
	});
}

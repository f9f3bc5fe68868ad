/** What every object store must do: each sentence of tiering/object-store.ts, asked of whichever store `make` brings. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ObjectInfo } from "../../../tiering/object-store.ts";
import { readingContract } from "./reading-contract.ts";
import { errorOf, StoreBench, type StoreUnderTest } from "./store-bench.ts";
import { uploadContract } from "./upload-contract.ts";

/** Registers the suite. All tests have one store, each a folder of its own in it. */
export function objectStoreContract(name: string, make: () => StoreUnderTest | Promise<StoreUnderTest>): void {
	describe(name, () => {
		const bench = new StoreBench();
		beforeAll(() => bench.start(make));
		afterAll(() => bench.stop());
		beforeEach(() => bench.nextTest());

		it("has a name for people", () => {
			expect(bench.store.name).toMatch(/^[a-z0-9]+:\/\/\S/);
			for (const secret of bench.secrets) expect(bench.store.name).not.toContain(secret);
			expect(bench.store.partBytes).toBeGreaterThan(0);
		});

		describe("an object put in one request", () => {
			it.each([
				["a byte", 1],
				["some bytes", 1000],
				["all that is allowed", "part"],
				["none", 0],
			] as const)("holds what was sent: %s", async (_, size) => {
				const bytes = bench.random.bytes(size === "part" ? bench.store.partBytes : size);
				await bench.store.put(bench.key("put"), bytes);
				await bench.expectObject(bench.key("put"), bytes);
				await bench.store.putIfAbsent(bench.key("if-absent"), bytes);
				await bench.expectObject(bench.key("if-absent"), bytes);
			});

			it("is there for another client at once", async () => {
				const bytes = bench.random.bytes(3000);
				await bench.store.put(bench.key("a"), bytes);
				await bench.expectObject(bench.key("a"), bytes, bench.other);
				expect(await bench.names("", bench.other)).toEqual(["a"]);
			});

			it("has the etag that put told", async () => {
				const etag = await bench.store.put(bench.key("a"), bench.random.bytes(10));
				expect((await bench.store.head(bench.key("a")))?.etag).toBe(etag);
			});

			it("is told alike by head and list", async () => {
				await bench.store.put(bench.key("a"), bench.random.bytes(10));
				const head = (await bench.store.head(bench.key("a"))) as ObjectInfo;
				const listed = (await bench.store.list(bench.folder)).objects[0] as ObjectInfo;
				expect({ ...listed, modifiedMs: 0 }).toEqual({ ...head, modifiedMs: 0 });
				expect(head).toMatchObject({ key: bench.key("a"), sizeBytes: 10 });
				// A header has whole seconds.
				expect(Math.abs(head.modifiedMs - listed.modifiedMs)).toBeLessThan(1000);
			});

			it("is not older than one that was put before", async () => {
				for (const name of ["first", "second", "third"]) await bench.store.put(bench.key(name), bench.random.bytes(1));
				const times = (await bench.store.list(bench.folder)).objects.map(({ modifiedMs }) => modifiedMs);
				const [first = 0, second = 0, third = 0] = times;
				expect(first).toBeGreaterThan(0);
				expect(second).toBeGreaterThanOrEqual(first);
				expect(third).toBeGreaterThanOrEqual(second);
			});

			it("may be put again: it is there once, whole", async () => {
				const bytes = bench.random.bytes(5000);
				await bench.store.put(bench.key("a"), bytes);
				await bench.store.put(bench.key("a"), bytes);
				await bench.expectObject(bench.key("a"), bytes);
				expect(await bench.names()).toEqual(["a"]);
			});

			it("is refused when it has more than partBytes, and nothing is there", async () => {
				const bytes = Buffer.alloc(bench.store.partBytes + 1);
				await bench.expectError("refused", bench.store.put(bench.key("a"), bytes));
				await bench.expectNothing(bench.key("a"));
				await bench.expectError("refused", bench.store.putIfAbsent(bench.key("a"), bytes));
				await bench.expectNothing(bench.key("a"));
			});

			it("does not change with the sender's buffer afterwards", async () => {
				const bytes = bench.random.bytes(100);
				const sent = Buffer.from(bytes);
				await bench.store.put(bench.key("a"), sent);
				sent.fill(0);
				await bench.store.putIfAbsent(bench.key("b"), Buffer.from(bytes));
				await bench.expectObject(bench.key("a"), bytes);
				const got = await bench.store.get(bench.key("b"), 0, 100);
				got.fill(0);
				await bench.expectObject(bench.key("b"), bytes);
			});
		});

		describe("putIfAbsent", () => {
			it("leaves what is there", async () => {
				const first = bench.random.bytes(300);
				await bench.store.putIfAbsent(bench.key("a"), first);
				const error = await bench.expectError(
					"exists",
					bench.other.putIfAbsent(bench.key("a"), bench.random.bytes(4000)),
				);
				expect(error.message).toContain(bench.key("a"));
				await bench.expectError("exists", bench.store.putIfAbsent(bench.key("a"), first));
				await bench.expectObject(bench.key("a"), first);
			});

			it("leaves what came there by put or by an upload", async () => {
				const bytes = bench.random.bytes(300);
				await bench.store.put(bench.key("a"), bytes);
				await bench.upload(bench.key("b"), [bytes]);
				for (const name of ["a", "b"]) {
					await bench.expectError("exists", bench.store.putIfAbsent(bench.key(name), bench.random.bytes(10)));
					await bench.expectObject(bench.key(name), bytes);
				}
			});

			it("lets exactly one of many in", async () => {
				const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(2000 + i, i));
				const outcomes = await Promise.allSettled(
					bodies.map((body, i) => (i % 2 === 0 ? bench.store : bench.other).putIfAbsent(bench.key("a"), body)),
				);
				const winners = bodies.filter((_, i) => outcomes[i]?.status === "fulfilled");
				expect(winners).toHaveLength(1);
				for (const outcome of outcomes) {
					if (outcome.status === "rejected")
						expect(outcome.reason).toMatchObject({ name: "StoreError", kind: "exists" });
				}
				await bench.expectObject(bench.key("a"), winners[0] as Buffer);
			});

			it("puts where an object was deleted", async () => {
				await bench.store.putIfAbsent(bench.key("a"), bench.random.bytes(10));
				await bench.store.delete(bench.key("a"));
				const bytes = bench.random.bytes(20);
				await bench.store.putIfAbsent(bench.key("a"), bytes);
				await bench.expectObject(bench.key("a"), bytes);
			});
		});

		describe("delete", () => {
			it("removes the object for everyone, and no other", async () => {
				for (const name of ["a", "ab", "b"]) await bench.store.put(bench.key(name), bench.random.bytes(10));
				await bench.store.delete(bench.key("a"));
				await bench.expectNothing(bench.key("a"));
				await bench.expectNothing(bench.key("a"), bench.other);
				expect(await bench.names()).toEqual(["ab", "b"]);
			});

			it("says nothing where there is nothing", async () => {
				await bench.store.delete(bench.key("never"));
				await bench.store.put(bench.key("a"), bench.random.bytes(10));
				await bench.store.delete(bench.key("a"));
				await bench.store.delete(bench.key("a"));
				await bench.store.put(bench.key("x/b"), bench.random.bytes(10));
				await bench.store.delete(bench.key("x"));
				expect(await bench.names()).toEqual(["x/b"]);
			});
		});

		describe("a key that is none", () => {
			const none = [
				"/a",
				"a/",
				"a//b",
				"..",
				"../a",
				"a/../b",
				"a/..",
				".",
				"./a",
				".uploads/a",
				"a/.b",
				"a b",
				"ä",
				"a\0",
			];
			none.push("a\\b", "a%2fb", "a\n", "", "x".repeat(201), `${"x/".repeat(256)}x`);

			it.each(none.map((bad) => [bad]))("is refused by every call, and changes nothing: %j", async (bad) => {
				const upload = { key: bad, id: "0123456789abcdef" };
				const calls: Promise<unknown>[] = [
					bench.store.put(bad, bench.random.bytes(1)),
					bench.store.putIfAbsent(bad, bench.random.bytes(1)),
					bench.store.beginUpload(bad),
					bench.store.putPart(upload, 1, bench.random.bytes(1)),
					bench.store.completeUpload(upload, ["a"]),
					bench.store.abortUpload(upload),
					bench.store.get(bad, 0, 1),
					bench.store.getLast(bad, 1),
					bench.store.head(bad),
					bench.store.delete(bad),
				];
				// A prefix may be empty or end with a slash.
				if (bad !== "" && bad !== "a/") calls.push(bench.store.list(bad), bench.store.uploads(bad));
				for (const error of await Promise.all(calls.map(errorOf)))
					expect(error).toMatchObject({ name: "StoreError", kind: "refused" });
			});
		});

		it("does many things at once", async () => {
			const bodies = Array.from({ length: 60 }, () => bench.random.bytes(bench.random.between(1, 5000)));
			const name = (i: number) => bench.key(`${i % 3}/${i}`);
			await Promise.all(bodies.map((body, i) => (i % 2 === 0 ? bench.store : bench.other).put(name(i), body)));
			await Promise.all(
				bodies.map(async (body, i) => {
					if (i % 5 === 0) await bench.store.delete(name(i));
					else expect((await bench.other.get(name(i), 0, 6000)).equals(body)).toBe(true);
				}),
			);
			expect(await bench.names()).toHaveLength(48);
		});

		describe("close", () => {
			it("rejects what is under way, whose outcome is unknown, and the store may be used again", async () => {
				const bytes = bench.random.bytes(1000);
				await bench.store.put(bench.key("a"), bytes);
				const running = [
					bench.store.get(bench.key("a"), 0, 1000),
					bench.store.put(bench.key("b"), bytes),
					bench.store.list(bench.folder),
				].map(errorOf);
				await bench.store.close();
				for (const error of await Promise.all(running)) {
					expect(error).toMatchObject({ name: "StoreError", kind: "unreachable", isTransient: true });
				}
				await bench.expectObject(bench.key("a"), bytes);
				// Whole or not at all.
				const size = (await bench.store.head(bench.key("b")))?.sizeBytes;
				expect(size === undefined || size === 1000).toBe(true);
				await bench.store.put(bench.key("b"), bytes);
				await bench.expectObject(bench.key("b"), bytes);
			});

			it("may be called twice, and by itself", async () => {
				await bench.store.close();
				await bench.store.close();
				expect((await bench.store.list(bench.key("none"))).objects).toEqual([]);
			});
		});

		uploadContract(bench);
		readingContract(bench);
	});
}

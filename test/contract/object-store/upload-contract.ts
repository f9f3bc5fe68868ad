/** The contract suite about uploads in parts. */
import { describe, expect, it } from "vitest";
import type { UploadId } from "../../../tiering/object-store.ts";
import { errorOf, type StoreBench } from "./store-bench.ts";

export function uploadContract(bench: StoreBench): void {
	describe("an upload in parts", () => {
		const whole = (): Buffer => bench.random.bytes(bench.store.partBytes);

		it("is there, whole, when it is completed, and not before", async () => {
			const parts = [whole(), whole(), bench.random.bytes(777)];
			const begun = await bench.store.beginUpload(bench.key("a"));
			const etags: string[] = [];
			for (const [i, part] of parts.entries()) {
				await bench.expectNothing(bench.key("a"));
				etags.push(await bench.store.putPart(begun, i + 1, part));
			}
			await bench.expectNothing(bench.key("a"));
			await bench.expectNothing(bench.key("a"), bench.other);
			await bench.store.completeUpload(begun, etags);
			await bench.expectObject(bench.key("a"), Buffer.concat(parts));
			expect(await bench.names("", bench.other)).toEqual(["a"]);
		});

		it("may have a single part, of any size, and one of more than partBytes", async () => {
			const small = bench.random.bytes(5);
			await bench.upload(bench.key("small"), [small]);
			await bench.expectObject(bench.key("small"), small);
			const large = bench.random.bytes(bench.store.partBytes + 999);
			await bench.upload(bench.key("large"), [large, small]);
			await bench.expectObject(bench.key("large"), Buffer.concat([large, small]));
		});

		it("takes parts in any order and side by side", async () => {
			const parts = [whole(), whole(), bench.random.bytes(10)];
			const begun = await bench.store.beginUpload(bench.key("a"));
			const last = await bench.store.putPart(begun, 3, parts[2] as Buffer);
			const etags = await Promise.all([
				bench.store.putPart(begun, 1, parts[0] as Buffer),
				bench.store.putPart(begun, 2, parts[1] as Buffer),
			]);
			await bench.store.completeUpload(begun, [...etags, last]);
			await bench.expectObject(bench.key("a"), Buffer.concat(parts));
		});

		it("takes a part that is sent again instead of the first", async () => {
			const parts = [whole(), bench.random.bytes(999)];
			const begun = await bench.store.beginUpload(bench.key("a"));
			await bench.store.putPart(begun, 1, whole());
			const stale = await bench.store.putPart(begun, 2, bench.random.bytes(2000));
			const etags = [
				await bench.store.putPart(begun, 1, parts[0] as Buffer),
				await bench.store.putPart(begun, 2, parts[1] as Buffer),
			];
			await bench.expectError("refused", bench.store.completeUpload(begun, [etags[0] as string, stale]));
			await bench.expectNothing(bench.key("a"));
			await bench.store.completeUpload(begun, etags);
			await bench.expectObject(bench.key("a"), Buffer.concat(parts));
		});

		it("takes the same part again", async () => {
			const parts = [whole(), bench.random.bytes(999)];
			const begun = await bench.store.beginUpload(bench.key("a"));
			for (const part of [0, 1, 1, 0]) await bench.store.putPart(begun, part + 1, parts[part] as Buffer);
			const etags: string[] = [];
			for (const part of [0, 1]) etags.push(await bench.store.putPart(begun, part + 1, parts[part] as Buffer));
			await bench.store.completeUpload(begun, etags);
			await bench.expectObject(bench.key("a"), Buffer.concat(parts));
		});

		it("goes on with another client", async () => {
			const parts = [whole(), whole(), bench.random.bytes(10)];
			const begun = await bench.store.beginUpload(bench.key("a"));
			const first = await bench.store.putPart(begun, 1, parts[0] as Buffer);
			const again: UploadId = { key: begun.key, id: begun.id };
			const second = await bench.other.putPart(again, 2, parts[1] as Buffer);
			const third = await bench.store.putPart(begun, 3, parts[2] as Buffer);
			await bench.other.completeUpload(again, [first, second, third]);
			await bench.expectObject(bench.key("a"), Buffer.concat(parts));
		});

		it("does not change with the sender's buffer afterwards", async () => {
			const part = whole();
			const begun = await bench.store.beginUpload(bench.key("a"));
			const sent = Buffer.from(part);
			const first = await bench.store.putPart(begun, 1, sent);
			sent.fill(0);
			await bench.store.completeUpload(begun, [first]);
			await bench.expectObject(bench.key("a"), part);
		});

		it("is refused when a part before the last has less than partBytes may have, and nothing is there", async () => {
			const begun = await bench.store.beginUpload(bench.key("a"));
			const etags = [
				await bench.store.putPart(begun, 1, bench.random.bytes(1)),
				await bench.store.putPart(begun, 2, bench.random.bytes(1)),
			];
			await bench.expectError("refused", bench.store.completeUpload(begun, etags));
			await bench.expectNothing(bench.key("a"));
			await bench.store.abortUpload(begun);
		});

		it("is refused with a part that was never sent, and may be completed then", async () => {
			const part = whole();
			const begun = await bench.store.beginUpload(bench.key("a"));
			const etag = await bench.store.putPart(begun, 1, part);
			await bench.expectError("refused", bench.store.completeUpload(begun, [etag, etag]));
			await bench.expectNothing(bench.key("a"));
			await bench.store.completeUpload(begun, [etag]);
			await bench.expectObject(bench.key("a"), part);
		});

		it("may be completed again: the object stays", async () => {
			const part = bench.random.bytes(100);
			const begun = await bench.store.beginUpload(bench.key("a"));
			const etags = [await bench.store.putPart(begun, 1, part)];
			await bench.store.completeUpload(begun, etags);
			const error = await errorOf(bench.store.completeUpload(begun, etags));
			if (error !== undefined) expect(error).toMatchObject({ name: "StoreError", kind: "no-such-upload" });
			await bench.expectObject(bench.key("a"), part);
		});

		it("is gone when it is aborted, its parts with it", async () => {
			const begun = await bench.store.beginUpload(bench.key("a"));
			const etag = await bench.store.putPart(begun, 1, bench.random.bytes(100));
			await bench.store.abortUpload(begun);
			const error = await bench.expectError("no-such-upload", bench.store.putPart(begun, 2, bench.random.bytes(100)));
			expect(error.message).toContain(bench.key("a"));
			await bench.expectError("no-such-upload", bench.store.completeUpload(begun, [etag]));
			await bench.expectNothing(bench.key("a"));
		});

		it("takes no part when it is completed", async () => {
			const bytes = bench.random.bytes(100);
			const begun = await bench.store.beginUpload(bench.key("a"));
			await bench.store.completeUpload(begun, [await bench.store.putPart(begun, 1, bytes)]);
			await bench.expectError("no-such-upload", bench.store.putPart(begun, 1, bench.random.bytes(100)));
			await bench.expectObject(bench.key("a"), bytes);
		});

		it("may be aborted twice, and when it is completed, which leaves the object", async () => {
			const begun = await bench.store.beginUpload(bench.key("a"));
			await bench.store.abortUpload(begun);
			await bench.store.abortUpload(begun);
			const bytes = bench.random.bytes(100);
			const completed = await bench.store.beginUpload(bench.key("a"));
			await bench.store.completeUpload(completed, [await bench.store.putPart(completed, 1, bytes)]);
			await bench.store.abortUpload(completed);
			await bench.expectObject(bench.key("a"), bytes);
		});

		it("has nothing to do with another of the same key", async () => {
			const bytes = bench.random.bytes(100);
			const first = await bench.store.beginUpload(bench.key("a"));
			const second = await bench.store.beginUpload(bench.key("a"));
			expect(first.id).not.toBe(second.id);
			const etag = await bench.store.putPart(first, 1, bytes);
			await bench.store.putPart(second, 1, bench.random.bytes(200));
			await bench.store.abortUpload(second);
			await bench.store.completeUpload(first, [etag]);
			await bench.expectObject(bench.key("a"), bytes);
		});

		it("is listed from its beginning to its end, by its key", async () => {
			const begun = await bench.store.beginUpload(bench.key("a"));
			expect(await bench.other.uploads(bench.key("a"))).toEqual([{ key: bench.key("a"), id: begun.id }]);
			const etag = await bench.store.putPart(begun, 1, bench.random.bytes(10));
			expect(await bench.store.uploads(bench.key("a"))).toEqual([{ key: bench.key("a"), id: begun.id }]);
			expect(await bench.store.uploads(bench.key("b"))).toEqual([]);
			await bench.store.completeUpload(begun, [etag]);
			expect(await bench.store.uploads(bench.key("a"))).toEqual([]);
			const aborted = await bench.store.beginUpload(bench.key("a"));
			await bench.store.abortUpload(aborted);
			expect(await bench.store.uploads(bench.key("a"))).toEqual([]);
		});

		it("is listed with all whose keys begin alike", async () => {
			const begun: UploadId[] = [];
			for (const name of ["x/a", "x/b", "xy", "z"]) begun.push(await bench.store.beginUpload(bench.key(name)));
			const found = async (prefix: string) => (await bench.store.uploads(prefix)).map((upload) => upload.key).sort();
			const keys = (...names: string[]) => (bench.uploadsByKeyOnly ? [] : names.map((name) => bench.key(name)));
			expect(await found(`${bench.folder}/`)).toEqual(keys("x/a", "x/b", "xy", "z"));
			expect(await found(bench.key("x"))).toEqual(keys("x/a", "x/b", "xy"));
			expect(await found(bench.key("x/"))).toEqual(keys("x/a", "x/b"));
			for (const upload of begun) await bench.store.abortUpload(upload);
			expect(await found(`${bench.folder}/`)).toEqual([]);
		});
	});
}

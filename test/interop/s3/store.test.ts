/**
 * S3Store in front of real S3 servers: the contract of object stores; the server killed in the middle of uploads and
 * started again; what each answers to wrong keys, buckets and clocks.
 */
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { type ObjectStore, type ObjectStoreOptions, StoreError } from "../../../tiering/object-store.ts";
import { openStoreProcess } from "../../../tiering/open-store.ts";
import { S3Store } from "../../../tiering/s3.ts";
import { objectStoreContract } from "../../contract/object-store/contract.ts";
import { errorOf } from "../../contract/object-store/store-bench.ts";
import { HEADWATER } from "../../support/gateway.ts";
import { RealS3, SECRET_KEY } from "./server.ts";

const { s3Servers } = inject("runtimes");
const BUCKET = "bucket";
const PART_BYTES = 5 * 1_048_576;

for (const kind of ["minio", "versitygw"] as const) {
	describe.skipIf(!s3Servers.includes(kind))(kind, () => {
		objectStoreContract(`S3Store at ${kind}`, async () => {
			const server = new RealS3(kind);
			await server.start();
			await server.makeBucket(BUCKET);
			return {
				open: () => new S3Store(server.options()),
				stop: () => server.remove(),
				secrets: [SECRET_KEY],
				uploadsByKeyOnly: kind === "minio",
			};
		});

		describe("a server that fails", () => {
			const server = new RealS3(kind);
			let store: ObjectStore;
			beforeAll(async () => {
				await server.start();
				await server.makeBucket(BUCKET);
				store = new S3Store(server.options());
			});
			afterAll(async () => {
				await store.close();
				await server.remove();
			});

			it("killed between parts and started again, goes on with the upload", async () => {
				const parts = [1, 2, 3].map((byte) => Buffer.alloc(PART_BYTES, byte));
				const upload = await store.beginUpload("killed/between");
				const etags = [await store.putPart(upload, 1, parts[0] as Buffer)];
				await server.kill();
				const error = await errorOf(store.putPart(upload, 2, parts[1] as Buffer));
				expect(error).toMatchObject({ kind: "unreachable", isTransient: true });
				expect((error as StoreError).message).toContain("killed/between");
				await server.start();
				for (const number of [2, 3]) etags.push(await store.putPart(upload, number, parts[number - 1] as Buffer));
				await store.completeUpload(upload, etags);
				const whole = await store.get("killed/between", 0, 4 * PART_BYTES);
				expect(whole.equals(Buffer.concat(parts))).toBe(true);
			});

			it("killed while parts, objects and completions come in, shows each whole or not at all", async () => {
				const body = Buffer.alloc(PART_BYTES, 7);
				const upload = await store.beginUpload("killed/completing");
				const etags = [await store.putPart(upload, 1, body)];
				const calls = [
					store.completeUpload(upload, etags),
					...Array.from({ length: 6 }, (_, i) => store.put(`killed/put-${i}`, body)),
				];
				const outcomes = Promise.allSettled(calls);
				await server.kill();
				await outcomes;
				await server.start();
				for (const object of (await store.list("killed/")).objects) {
					if (object.key === "killed/between") continue;
					// A short object would be what confirmation is there for: it must be told from a whole one by its size.
					expect([object.key, object.sizeBytes]).toEqual([object.key, PART_BYTES]);
				}
				for (const [i, outcome] of (await outcomes).entries()) {
					if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ kind: "unreachable" });
					const key = i === 0 ? "killed/completing" : `killed/put-${i - 1}`;
					if (outcome.status === "fulfilled") expect((await store.get(key, 0, PART_BYTES)).equals(body)).toBe(true);
				}
			});

			it("loses its client in the middle of a put, a part or a put if absent, and shows nothing of it", async () => {
				const slow = openStoreProcess(server.options({ bytesPerSecond: 2 * 1_048_576 }), HEADWATER);
				await slow.head("cut/nothing");
				const upload = await slow.beginUpload("cut/part");
				const body = Buffer.alloc(PART_BYTES, 9);
				const calls = [slow.put("cut/put", body), slow.putIfAbsent("cut/absent", body), slow.putPart(upload, 1, body)];
				const outcomes = Promise.all(calls.map(errorOf));
				await new Promise((resolve) => setTimeout(resolve, 1000));
				process.kill(slow.processId as number, "SIGKILL");
				for (const error of await outcomes) expect(error).toMatchObject({ kind: "unreachable" });
				// The server may take its time to see it.
				await new Promise((resolve) => setTimeout(resolve, 1000));
				expect((await store.list("cut/")).objects).toEqual([]);
				for (const key of ["cut/put", "cut/absent"]) {
					await slow.putIfAbsent(key, Buffer.from("whole"));
					expect((await store.get(key, 0, 100)).toString()).toBe("whole");
				}
				await slow.abortUpload(upload);
				await slow.close();
			});

			it("killed while a store process reads and writes, is reached again by it", async () => {
				const remote = openStoreProcess(server.options(), HEADWATER);
				await remote.put("remote", Buffer.from("kept"));
				await server.kill();
				expect(await errorOf(remote.get("remote", 0, 4))).toMatchObject({ kind: "unreachable" });
				expect(await errorOf(remote.put("remote-2", Buffer.alloc(10)))).toMatchObject({ kind: "unreachable" });
				await server.start();
				expect((await remote.get("remote", 0, 4)).toString()).toBe("kept");
				await remote.close();
			});
		});

		describe("what is wrong", () => {
			const server = new RealS3(kind);
			beforeAll(async () => {
				await server.start();
				await server.makeBucket(BUCKET);
			});
			afterAll(() => server.remove());

			/** What every kind of call says with these options. */
			async function errors(given: Partial<ObjectStoreOptions>): Promise<StoreError[]> {
				const store = new S3Store(server.options(given));
				const calls = [
					store.list(""),
					store.put("a", Buffer.alloc(10)),
					store.putIfAbsent("b", Buffer.alloc(10)),
					store.beginUpload("a"),
					store.get("a", 0, 1),
					store.getLast("a", 1),
					store.head("a"),
					store.delete("a"),
				];
				const said = await Promise.all(calls.map(errorOf));
				await store.close();
				for (const error of said) expect(error).toBeInstanceOf(StoreError);
				return said as StoreError[];
			}

			it("the secret: names the access key and where it is from", async () => {
				for (const error of await errors({ secretKey: "another" })) {
					expect(error.kind).toBe("denied");
					expect(error.message).toContain("the access key interop (from objectStore.access.key)");
					expect(error.message).not.toContain("another");
				}
			});

			it("the access key: named", async () => {
				for (const error of await errors({ accessKey: "nobody" })) {
					expect(error.kind).toBe("denied");
					expect(error.message).toContain("the access key nobody");
				}
			});

			it("the session token", async () => {
				for (const error of await errors({ sessionToken: "stale" })) expect(error.kind).toBe("denied");
			});

			it("the bucket: named, with what to do", async () => {
				for (const error of await errors({ url: "s3://not-there/prefix" })) {
					expect(error.kind).toBe("no-bucket");
					expect(error.message).toContain("there is no bucket not-there: create it, or correct objectStore.url");
				}
			});

			it("the clock: both times are told", async () => {
				const wrong = Date.now() - 3_600_000;
				vi.useFakeTimers({ toFake: ["Date"], now: wrong });
				try {
					for (const error of await errors({})) {
						expect(error).toMatchObject({ kind: "skewed", isTransient: true });
						expect(error.message).toContain(`this machine's clock says ${new Date(wrong).toISOString().slice(0, 16)}`);
						expect(error.message).toContain("the store's says");
					}
				} finally {
					vi.useRealTimers();
				}
			});

			it("the port", async () => {
				for (const error of await errors({ endpoint: "http://127.0.0.1:1" })) {
					expect(error.kind).toBe("unreachable");
					expect(error.message).toContain("nothing listens at 127.0.0.1:1");
				}
			});
		});
	});
}

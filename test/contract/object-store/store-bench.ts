/** What the parts of the contract suite share: the store under test, a folder of its own for each test, and what they look for. */
import { expect } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { type ObjectStore, StoreError, type StoreErrorKind } from "../../../tiering/object-store.ts";

/** A store with nothing in it. */
export interface StoreUnderTest {
	/** A client of its own, as another process has one. */
	open(): ObjectStore | Promise<ObjectStore>;
	/** Called at the end, when all clients are closed. */
	stop?(): void | Promise<void>;
	/** What no name and no message may have in it. */
	readonly secrets?: readonly string[];
	/** Lists uploads of one key, and none for what keys begin with, as MinIO does. */
	readonly uploadsByKeyOnly?: boolean;
}

export class StoreBench {
	readonly random = new SimulatedRandom("contract");
	/** The present test's. */
	folder = "";
	#made: StoreUnderTest | undefined;
	#clients: ObjectStore[] = [];
	#tests = 0;

	async start(make: () => StoreUnderTest | Promise<StoreUnderTest>): Promise<void> {
		this.#made = await make();
		this.#clients = [await this.#made.open(), await this.#made.open()];
	}

	async stop(): Promise<void> {
		for (const client of this.#clients) await client.close();
		await this.#made?.stop?.();
	}

	nextTest(): void {
		this.folder = `test-${String(++this.#tests).padStart(3, "0")}`;
	}

	get store(): ObjectStore {
		return this.#clients[0] as ObjectStore;
	}

	/** Another client of the same store. */
	get other(): ObjectStore {
		return this.#clients[1] as ObjectStore;
	}

	get uploadsByKeyOnly(): boolean {
		return this.#made?.uploadsByKeyOnly ?? false;
	}

	get secrets(): readonly string[] {
		return this.#made?.secrets ?? [];
	}

	/** In the present test's folder. */
	key(name: string): string {
		return `${this.folder}/${name}`;
	}

	/** All keys that begin with `prefix`, page by page. */
	async allKeys(prefix: string, client = this.store): Promise<string[]> {
		const keys: string[] = [];
		for (;;) {
			const page = await client.list(prefix, keys.at(-1));
			for (const object of page.objects) keys.push(object.key);
			if (!page.more) return keys;
		}
	}

	/** As `allKeys`, of the present test, without its folder. */
	async names(name = "", client = this.store): Promise<string[]> {
		return (await this.allKeys(this.key(name), client)).map((key) => key.slice(this.folder.length + 1));
	}

	/** Sends `parts` as they are and completes. */
	async upload(key: string, parts: readonly Uint8Array[]): Promise<void> {
		const begun = await this.store.beginUpload(key);
		const etags: string[] = [];
		for (const [i, part] of parts.entries()) etags.push(await this.store.putPart(begun, i + 1, part));
		await this.store.completeUpload(begun, etags);
	}

	async expectObject(key: string, bytes: Uint8Array, client = this.store): Promise<void> {
		expect((await client.head(key))?.sizeBytes).toBe(bytes.length);
		expect((await client.get(key, 0, bytes.length + 1)).equals(bytes)).toBe(true);
	}

	async expectNothing(key: string, client = this.store): Promise<void> {
		expect(await client.head(key)).toBeUndefined();
		await this.expectError("not-found", client.get(key, 0, 1));
		await this.expectError("not-found", client.getLast(key, 1));
		const listed = (await client.list(key)).objects.map((object) => object.key);
		expect(listed).not.toContain(key);
	}

	/** That `call` rejects so, with a message that tells no secret. */
	async expectError(kind: StoreErrorKind, call: Promise<unknown>): Promise<StoreError> {
		const error = await errorOf(call);
		expect(error).toBeInstanceOf(StoreError);
		expect(error).toMatchObject({ name: "StoreError", kind });
		for (const secret of this.secrets) expect((error as StoreError).message).not.toContain(secret);
		return error as StoreError;
	}
}

/** What it rejects with; undefined where it resolves. */
export async function errorOf(call: Promise<unknown>): Promise<unknown> {
	try {
		await call;
	} catch (error) {
		return error ?? new Error("rejected with nothing");
	}
	return undefined;
}

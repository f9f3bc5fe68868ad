/** What a store has of a gateway, and which of it is the log: over restorations, with claims missing, among others' objects. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { bundleKey } from "../../../tiering/bundle/identity.ts";
import { claimKey } from "../../../tiering/object-keys.ts";
import { type BundlePlace, makeClaim } from "../../../tiering/restore/claim.ts";
import { gatewaysIn, readContents } from "../../../tiering/restore/store-contents.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const ME = "f".repeat(32);

const newStore = () => new SimulatedStore({ clock: new SimulatedClock() });

/** "1: 1 2 3" is incarnation 1 with bundles 1 to 3; "2(1/2): 1" builds on bundle 2 of it. */
async function storeWith(...incarnations: string[]): Promise<SimulatedStore> {
	const store = newStore();
	for (const text of incarnations) {
		const [, number, before, last, sequences] = /^(\d+)(?:\((\d+)\/(\d+)\))?:(.*)$/.exec(text) ?? [];
		const incarnation = Number(number);
		const basedOn: BundlePlace | undefined =
			before === undefined ? undefined : { incarnation: Number(before), sequence: Number(last) };
		const identity = String(incarnation % 10).repeat(32);
		await makeClaim(store, { gateway: "g", incarnation, identity, claimedMs: 1, writer: "w", basedOn });
		for (const sequence of sequences?.trim().split(" ").filter(Boolean) ?? [])
			store.bucket.plant(
				bundleKey({ gateway: "g", incarnation, sequence: Number(sequence), attempt: "00000000" }),
				Buffer.of(1),
			);
	}
	return store;
}

async function contents(store: SimulatedStore, identity = ME) {
	const found = await readContents(store, "g", identity, () => {});
	const places = (list: readonly { identity: BundlePlace }[] = []) =>
		list.map(({ identity: { incarnation, sequence } }) => `${incarnation}/${sequence}`).join(" ");
	const end = found && `${found.end.incarnation}/${found.end.sequence}`;
	return [found?.incarnation, places(found?.bundles), places(found?.strays), end];
}

describe("the log", () => {
	it.each<[string[], incarnation: number, bundles: string, strays: string, end: string]>([
		[["1: 1 2 3"], 1, "1/1 1/2 1/3", "", "1/3"],
		[["1:"], 1, "", "", "1/0"],
		[["1: 1 2 3", "2(1/2): 1 2"], 2, "1/1 1/2 2/1 2/2", "1/3", "2/2"],
		[["1: 1 2", "2(1/2):"], 2, "1/1 1/2", "", "2/0"],
		[["1: 1 2 3", "2(1/2): 1", "3(1/3): 1"], 3, "1/1 1/2 1/3 3/1", "2/1", "3/1"],
		[["1: 1 2", "2(1/2): 1 2", "3(2/1): 9"], 3, "1/1 1/2 2/1 3/9", "2/2", "3/9"],
		[["1: 1", "2(1/1):", "3(2/0):"], 3, "1/1", "", "3/0"],
	])("of %j", async (incarnations, incarnation, bundles, strays, end) => {
		expect(await contents(await storeWith(...incarnations))).toEqual([incarnation, bundles, strays, end]);
	});

	it("is not cut off where a claim was removed: then all of the incarnation before counts", async () => {
		const store = await storeWith("1: 1 2 3", "2(1/2): 1", "3(2/1): 1");
		store.bucket.delete(claimKey("g", 2));
		expect(await contents(store)).toEqual([3, "1/1 1/2 1/3 2/1 3/1", "", "3/1"]);
	});

	it("is, for who has claimed already, what the claim says, whatever was written since", async () => {
		const store = await storeWith("1: 1 2 3", "2(1/2):");
		expect(await contents(store, "2".repeat(32))).toEqual([2, "1/1 1/2", "1/3", "1/2"]);
	});

	it("is found in pages of any size, among others' objects", async () => {
		for (const pageObjects of [1, 2, 5]) {
			const store = await storeWith("1: 1 2 3", "2(1/2): 1 2");
			store.pageObjects = pageObjects;
			for (const key of ["g/notes", "g/0000000001/0", "g/0000000001/zzz", "g2/0000000001/claim.json", "h"])
				store.bucket.plant(key, Buffer.of(1));
			expect(await contents(store)).toEqual([2, "1/1 1/2 2/1 2/2", "1/3", "2/2"]);
		}
	});

	it("is none where there is nothing of the gateway", async () => {
		const store = await storeWith();
		store.bucket.plant("g/notes", Buffer.of(1));
		store.bucket.plant(claimKey("g2", 1), Buffer.of(1));
		expect(await readContents(store, "g", ME, () => {})).toBeUndefined();
	});

	it("of 3,000 bundles is known after four requests", async () => {
		const store = newStore();
		for (let sequence = 1; sequence <= 3000; sequence++)
			store.bucket.plant(bundleKey({ gateway: "g", incarnation: 1, sequence, attempt: "00000000" }), Buffer.of(1));
		expect((await contents(store))[3]).toBe("1/3000");
		expect(store.counts).toMatchObject({ list: 3, get: 1 });
	});
});

it("the gateways of a store are found by their objects, a request for each", async () => {
	const store = newStore();
	for (const gateway of ["b", "a", "a-1", "a.b"])
		for (let sequence = 1; sequence <= 20; sequence++)
			store.bucket.plant(bundleKey({ gateway, incarnation: 1, sequence, attempt: "00000000" }), Buffer.of(1));
	store.bucket.plant("a/zzz", Buffer.of(1));
	store.bucket.plant("readme.md", Buffer.of(1));
	store.pageObjects = 3;
	expect(await gatewaysIn(store, 10)).toEqual(["a", "a-1", "a.b", "b"]);
	expect(store.counts.list).toBeLessThanOrEqual(8);
	expect(await gatewaysIn(store, 2)).toHaveLength(2);
	expect(await gatewaysIn(newStore(), 2)).toEqual([]);
});

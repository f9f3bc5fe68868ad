/** Claims: who may write under a gateway's name, whatever the store does and forgets to say. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { bundleKey } from "../../../tiering/bundle/identity.ts";
import { claimKey } from "../../../tiering/object-keys.ts";
import { StoreError } from "../../../tiering/object-store.ts";
import {
	type Claim,
	ClaimError,
	checkClaim,
	incarnations,
	makeClaim,
	readClaim,
} from "../../../tiering/restore/claim.ts";
import { SimulatedBucket } from "../../support/simulated-bucket.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const clock = () => new SimulatedClock();
const newStore = () => new SimulatedStore({ clock: clock() });
const claimOf = (identity: string, incarnation = 1): Claim => ({
	gateway: "pi",
	incarnation,
	identity: identity.repeat(32),
	claimedMs: 1_700_000_000_000,
	writer: "headwater 0.4.0",
	basedOn: incarnation > 1 ? { incarnation: incarnation - 1, sequence: 7 } : undefined,
});
const A = claimOf("a");
const B = claimOf("b");
const bundle = (incarnation: number, sequence: number) =>
	bundleKey({ gateway: "pi", incarnation, sequence, attempt: "00000000" });

/** The kind of the ClaimError or StoreError that `work` rejects with; "ok" where it does not. */
async function outcome(work: Promise<unknown>): Promise<string> {
	try {
		await work;
		return "ok";
	} catch (error) {
		if (error instanceof ClaimError || error instanceof StoreError) return error.kind;
		throw error;
	}
}

describe("the first claim", () => {
	it("is what is read then", async () => {
		const store = newStore();
		await makeClaim(store, A);
		expect(await readClaim(store, "pi", 1)).toEqual(A);
		expect(await readClaim(store, "pi", 2)).toBeUndefined();
		await makeClaim(store, claimOf("a", 2));
		expect(await readClaim(store, "pi", 2)).toEqual(claimOf("a", 2));
	});

	it("may be made again, and is put once", async () => {
		const store = newStore();
		await makeClaim(store, A);
		await makeClaim(store, { ...A, claimedMs: 5 });
		expect(store.counts.putIfAbsent).toBe(1);
		expect(await readClaim(store, "pi", 1)).toEqual(A);
	});

	it("is refused where another data directory was first", async () => {
		const store = newStore();
		await makeClaim(store, A);
		await expect(makeClaim(store, B)).rejects.toThrow(
			/incarnation 1 of gateway pi in simulated:\/\/bucket belongs to another data directory.*gateway\.id.*tier restore/,
		);
		expect(await outcome(makeClaim(store, B))).toBe("taken");
		expect(await readClaim(store, "pi", 1)).toEqual(A);
	});

	it("is refused where newer incarnations are, or bundles without a claim", async () => {
		const store = newStore();
		store.bucket.plant(bundle(3, 1), Buffer.from("x"));
		expect(await outcome(makeClaim(store, A))).toBe("superseded");
		expect(await outcome(makeClaim(store, claimOf("a", 3)))).toBe("taken");
		expect(await outcome(makeClaim(store, claimOf("a", 4)))).toBe("ok");
		expect(store.bucket.keys("pi/0000000003/")).toEqual([bundle(3, 1)]);
	});

	it("minds nobody else's objects", async () => {
		const store = newStore();
		for (const key of ["notes.txt", "pi/readme.md", "pi-2/0000000009/claim.json", "pi/1/claim.json"])
			store.bucket.plant(key, Buffer.from("x"));
		expect(await outcome(makeClaim(store, A))).toBe("ok");
	});
});

describe("of two gateways that claim at once", () => {
	it.each(Array.from({ length: 50 }, (_, seed) => seed))("one wins, whatever gets lost (seed %i)", async (seed) => {
		const random = new SimulatedRandom(seed);
		const time = new SimulatedClock({ random: random.fork("clock") });
		const bucket = new SimulatedBucket({ clock: time });
		bucket.historyMs = 2000;
		const stores = [A, B].map(({ identity }) => {
			const store = new SimulatedStore({ clock: time, random: random.fork(identity), bucket });
			store.latencyMs = [1, 50];
			store.troubleChance = 0.4;
			store.staleMs = 2000;
			store.staleChance = 0.5;
			return store;
		}) as [SimulatedStore, SimulatedStore];
		const persist = async (store: SimulatedStore, claim: Claim): Promise<string> => {
			for (;;) {
				const end = await outcome(makeClaim(store, claim));
				if (end !== "unreachable") return end;
			}
		};
		const ends = Promise.all([persist(stores[0], A), persist(stores[1], B)]);
		let done = false;
		void ends.finally(() => {
			done = true;
		});
		while (!done) await time.advance(100);
		expect((await ends).toSorted()).toEqual(["ok", "taken"]);
		const winner = (await ends)[0] === "ok" ? A : B;
		await time.advance(3000);
		for (const store of stores) {
			store.clearFaults();
			store.latencyMs = [0, 0];
			expect((await readClaim(store, "pi", 1))?.identity).toBe(winner.identity);
		}
	});
});

describe("a put whose reply is lost", () => {
	it("counts where it took effect", async () => {
		const store = newStore();
		store.inject({ calls: ["putIfAbsent"], effect: "whole", answer: "unreachable" });
		expect(await outcome(makeClaim(store, A))).toBe("ok");
	});

	it("is to be made again where it did not", async () => {
		const store = newStore();
		store.inject({ calls: ["putIfAbsent"], effect: "none", answer: "unreachable" });
		expect(await outcome(makeClaim(store, A))).toBe("unreachable");
		expect(await outcome(makeClaim(store, A))).toBe("ok");
	});
});

describe("a store that says what is not so", () => {
	it("is asked again when it took a claim and does not show it", async () => {
		const store = newStore();
		store.inject({ calls: ["putIfAbsent"], effect: "none", answer: "ok" });
		expect(await outcome(makeClaim(store, A))).toBe("unreachable");
		expect(await outcome(makeClaim(store, A))).toBe("ok");
	});

	it("gets a claim again that it cut short", async () => {
		const store = newStore();
		store.inject({ calls: ["putIfAbsent"], effect: "short", answer: "ok" });
		expect(await outcome(makeClaim(store, A))).toBe("unreachable");
		expect(await outcome(makeClaim(store, A))).toBe("ok");
		expect(await readClaim(store, "pi", 1)).toEqual(A);
	});

	it("does not get another's claim overwritten because it cut that short", async () => {
		const store = newStore();
		await makeClaim(store, A);
		store.bucket.truncate(claimKey("pi", 1), 100);
		expect(await outcome(makeClaim(store, B))).toBe("unreadable");
		expect(store.counts.put).toBe(0);
		expect(await outcome(checkClaim(store, A))).toBe("unreachable");
		expect(await outcome(checkClaim(store, A))).toBe("ok");
	});

	it("that lets two in is found out at the next check", async () => {
		const store = newStore();
		await makeClaim(store, A);
		// As a server does that knows nothing of conditions.
		const other = newStore();
		await makeClaim(other, B);
		store.bucket.plant(claimKey("pi", 1), other.bucket.objects().get(claimKey("pi", 1)) as Buffer);
		expect(await outcome(checkClaim(store, A))).toBe("taken");
		expect(await outcome(checkClaim(store, B))).toBe("ok");
	});
});

describe("a check", () => {
	it("costs two GETs while all is well", async () => {
		const store = newStore();
		await makeClaim(store, A);
		const before = { ...store.counts };
		await checkClaim(store, A);
		expect(store.counts).toEqual({ ...before, get: before.get + 2 });
	});

	it("tells a gateway that was restored elsewhere", async () => {
		const store = newStore();
		await makeClaim(store, A);
		await makeClaim(store, claimOf("b", 2));
		expect(await outcome(checkClaim(store, A))).toBe("superseded");
		await expect(checkClaim(store, A)).rejects.toThrow(
			/restored elsewhere on 2023-11-14T22:13:20.000Z, as incarnation 2 .*pi\/0000000002\/claim\.json/,
		);
		expect(await outcome(checkClaim(store, claimOf("b", 2)))).toBe("ok");
	});

	it("puts a claim again that was removed, as long as there is something of the gateway", async () => {
		const store = newStore();
		await makeClaim(store, A);
		store.bucket.plant(bundle(1, 1), Buffer.from("x"));
		store.bucket.delete(claimKey("pi", 1));
		await checkClaim(store, A);
		expect(await readClaim(store, "pi", 1)).toEqual(A);
	});

	it("takes a store that has nothing of the gateway for another store", async () => {
		const store = newStore();
		store.bucket.plant("pi/0000000002/other.txt", Buffer.from("x"));
		expect(await outcome(checkClaim(store, A))).toBe("missing");
		expect(store.counts.putIfAbsent).toBe(0);
	});

	it("rejects as the store does when it cannot be asked", async () => {
		const store = newStore();
		await makeClaim(store, A);
		for (const answer of ["unreachable", "denied", "no-bucket"] as const) {
			store.inject({ calls: ["get"], effect: "none", answer });
			expect(await outcome(checkClaim(store, A))).toBe(answer);
		}
	});
});

describe("a claim that cannot be read", () => {
	const whole = { format: 1, gateway: "pi", incarnation: 1, identity: "b".repeat(32), claimedMs: 1, writer: "w" };
	it.each<[string, string | object]>([
		["no JSON", "{"],
		["no object", "[]"],
		["a text", '"x"'],
		["null", "null"],
		["no format", { ...whole, format: undefined }],
		["format 0", { ...whole, format: 0 }],
		["a later format", { ...whole, format: 2 }],
		["no identity", { ...whole, identity: undefined }],
		["another kind of identity", { ...whole, identity: "B".repeat(32) }],
		["a time that is none", { ...whole, claimedMs: 9e15 }],
		["a writer that is no text", { ...whole, writer: 3 }],
		["another gateway's", { ...whole, gateway: "pj" }],
		["another incarnation's", { ...whole, incarnation: 2 }],
		["a base that is none", { ...whole, basedOn: { incarnation: 0, sequence: 1 } }],
	])("is refused, and named: %s", async (_what, content) => {
		const store = newStore();
		const text = typeof content === "string" ? content : JSON.stringify(content);
		store.bucket.plant(claimKey("pi", 1), Buffer.from(text));
		expect(await outcome(readClaim(store, "pi", 1))).toBe("unreadable");
		await expect(makeClaim(store, A)).rejects.toThrow("pi/0000000001/claim.json in simulated://bucket is ");
		expect(store.bucket.objects().get(claimKey("pi", 1))?.toString()).toBe(text);
	});

	it("is one with members that a later version may add", async () => {
		const store = newStore();
		store.bucket.plant(claimKey("pi", 1), Buffer.from(JSON.stringify({ ...whole, colour: "blue" })));
		expect((await readClaim(store, "pi", 1))?.identity).toBe("b".repeat(32));
	});
});

describe("the incarnations of a gateway", () => {
	it("are found in pages of any size, a request for each and one more at most", async () => {
		for (const pageObjects of [1, 2, 3, 1000]) {
			const store = newStore();
			store.pageObjects = pageObjects;
			for (const incarnation of [1, 2, 9, 10])
				for (let sequence = 1; sequence <= 5; sequence++)
					store.bucket.plant(bundle(incarnation, sequence), Buffer.of(1));
			store.bucket.plant(claimKey("pi", 11), Buffer.of(1));
			store.bucket.plant(claimKey("pi-2", 12), Buffer.of(1));
			expect(await incarnations(store, "pi")).toEqual([1, 2, 9, 10, 11]);
			expect(store.counts.list).toBeLessThanOrEqual(6);
		}
	});

	it("are found behind somebody else's objects", async () => {
		const store = newStore();
		store.pageObjects = 2;
		for (let i = 0; i < 9; i++) store.bucket.plant(`pi/0000000000-${i}`, Buffer.of(1));
		store.bucket.plant(claimKey("pi", 4), Buffer.of(1));
		for (let i = 0; i < 9; i++) store.bucket.plant(`pi/zzz-${i}`, Buffer.of(1));
		expect(await incarnations(store, "pi")).toEqual([4]);
	});
});

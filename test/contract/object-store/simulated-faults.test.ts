/** The simulated store does what it is told to do wrong: a test that relies on a fault proves nothing where there is none. */
import { beforeEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { StoreErrorKind } from "../../../tiering/object-store.ts";
import type { SimulatedBucket } from "../../support/simulated-bucket.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const ALWAYS = Number.POSITIVE_INFINITY;
const body = Buffer.from("0123456789");

let clock: SimulatedClock;
let store: SimulatedStore;
let bucket: SimulatedBucket;

beforeEach(() => {
	clock = new SimulatedClock();
	store = new SimulatedStore({ clock });
	bucket = store.bucket;
});

/** How a call ends: a kind, "ok", or "never" when nothing more happens. */
async function endOf(call: Promise<unknown>): Promise<string> {
	let end = "never";
	call.then(
		() => {
			end = "ok";
		},
		(error: { kind: StoreErrorKind }) => {
			end = error.kind;
		},
	);
	await clock.advance(60_000);
	return end;
}

const bytesOf = (key: string): string | undefined => bucket.objects().get(key)?.toString();

describe("a fault on order", () => {
	it.each([
		["none", "unreachable", "unreachable", undefined],
		["whole", "unreachable", "unreachable", "0123456789"],
		["short", "unreachable", "unreachable", "01234"],
		["none", "ok", "ok", undefined],
		["short", "ok", "ok", "01234"],
		["whole", "silence", "never", "0123456789"],
		["none", "silence", "never", undefined],
		["none", "denied", "denied", undefined],
	] as const)("of effect %s and answer %s ends with %s and leaves %s", async (effect, answer, end, left) => {
		store.inject({ effect, answer });
		expect(await endOf(store.put("a", body))).toBe(end);
		expect(bytesOf("a")).toBe(left);
		expect(await endOf(store.put("a", body))).toBe("ok");
	});

	it("is of the calls, keys and times that were asked for, and ends when told", async () => {
		const end = store.inject({ calls: ["get", "put"], key: /^x/, effect: "none", answer: "full", after: 1, times: 2 });
		const outcomes: string[] = [];
		for (const key of ["a", "x", "x", "a", "x", "x"]) outcomes.push(await endOf(store.put(key, body)));
		expect(outcomes).toEqual(["ok", "ok", "full", "ok", "full", "ok"]);
		expect(await endOf(store.head("x"))).toBe("ok");
		end();
		const again = store.inject({ effect: "none", answer: "full", times: ALWAYS });
		expect(await endOf(store.list(""))).toBe("full");
		again();
		expect(await endOf(store.list(""))).toBe("ok");
	});

	it("reaches uploads: a part that was lost or cut off, a completion that nobody answered", async () => {
		const begun = await store.beginUpload("a");
		store.inject({ calls: ["putPart"], effect: "none", answer: "ok" });
		const lost = await store.putPart(begun, 1, body);
		expect(await endOf(store.completeUpload(begun, [lost]))).toBe("refused");
		const etag = await store.putPart(begun, 1, body);
		store.inject({ calls: ["completeUpload"], effect: "whole", answer: "unreachable" });
		expect(await endOf(store.completeUpload(begun, [etag]))).toBe("unreachable");
		expect(await endOf(store.completeUpload(begun, [etag]))).toBe("no-such-upload");
		expect(bytesOf("a")).toBe("0123456789");
		const second = await store.beginUpload("b");
		const whole = await store.putPart(second, 1, body);
		store.inject({ calls: ["completeUpload"], effect: "short", answer: "ok" });
		await store.completeUpload(second, [whole]);
		expect(bytesOf("b")).toBe("01234");
	});

	it("cuts off what is read", async () => {
		await store.put("a", body);
		store.inject({ calls: ["get"], effect: "short", answer: "ok" });
		expect((await store.get("a", 0, 10)).toString()).toBe("01234");
		expect((await store.get("a", 0, 10)).toString()).toBe("0123456789");
	});

	it("answers a silent call when the store is closed or the link is cut", async () => {
		store.inject({ effect: "none", answer: "silence", times: 2 });
		for (const wake of [() => store.close(), () => store.cut()]) {
			const call = store.put("a", body);
			call.catch(() => {});
			await clock.settle();
			expect(store.running).toBe(1);
			await wake();
			await expect(call).rejects.toMatchObject({ kind: "unreachable" });
		}
	});
});

describe("a store", () => {
	it("that is slow takes its time, and longer for more bytes", async () => {
		store.latencyMs = [100, 100];
		store.bytesPerSecond = 10;
		let ended = false;
		const call = store.put("a", body).then(() => {
			ended = true;
		});
		await clock.advance(1099);
		expect(ended).toBe(false);
		await clock.advance(1);
		expect(ended).toBe(true);
		await call;
	});

	it("without a link fails at once, and has one again", async () => {
		store.away = true;
		expect(await endOf(store.head("a"))).toBe("unreachable");
		store.away = false;
		expect(await endOf(store.head("a"))).toBe("ok");
	});

	it("in trouble fails as often as told, before its effect and after", async () => {
		store.troubleChance = 0.5;
		const seen = new Set<string>();
		let failed = 0;
		for (let i = 0; i < 200; i++) {
			const end = await endOf(store.put(`k${i}`, body));
			if (end !== "ok") failed++;
			seen.add(`${end} ${bytesOf(`k${i}`) !== undefined}`);
		}
		expect(failed).toBeGreaterThan(60);
		expect(failed).toBeLessThan(140);
		expect(seen).toEqual(new Set(["ok true", "unreachable true", "unreachable false"]));
	});

	it.each([
		["head", async () => (await store.head("a")) !== undefined],
		["get", async () => (await store.get("a", 0, 1).catch(() => undefined)) !== undefined],
		["getLast", async () => (await store.getLast("a", 1).catch(() => undefined)) !== undefined],
		["list", async () => (await store.list("")).objects.length > 0],
	] as const)("that lies shows in %s what was, and some time later what is", async (_, sees) => {
		bucket.historyMs = 1000;
		store.staleMs = 1000;
		await clock.advance(5000);
		await store.put("a", body);
		expect(await sees()).toBe(false);
		await clock.advance(1000);
		expect(await sees()).toBe(true);
		await store.delete("a");
		expect(await sees()).toBe(true);
		await clock.advance(1000);
		expect(await sees()).toBe(false);
		store.staleMs = 0;
		await store.put("a", body);
		expect(await sees()).toBe(true);
	});

	it("that lies never lets two in by putIfAbsent", async () => {
		bucket.historyMs = 1000;
		store.staleMs = 1000;
		await store.putIfAbsent("a", body);
		expect(await endOf(store.putIfAbsent("a", Buffer.from("x")))).toBe("exists");
	});

	it("gives small pages when told", async () => {
		for (const key of ["a", "b", "c", "d", "e"]) await store.put(key, body);
		store.pageObjects = 2;
		const pages = [await store.list(""), await store.list("", "b"), await store.list("", "d")];
		expect(pages.map(({ objects }) => objects.map(({ key }) => key).join(""))).toEqual(["ab", "cd", "e"]);
		expect(pages.map(({ more }) => more)).toEqual([true, true, false]);
	});

	it("has its own clock, and refuses a gateway whose clock is too far from it", async () => {
		store.maxSkewMs = 900_000;
		await store.put("a", body);
		const first = (await store.head("a"))?.modifiedMs as number;
		clock.step(-1_000_000_000);
		expect(await endOf(store.head("a"))).toBe("skewed");
		store.maxSkewMs = ALWAYS;
		await store.put("a", body);
		expect((await store.head("a"))?.modifiedMs).toBe(first + 60_000);
		clock.step(1_000_000_000);
		bucket.skewMs = 1_000_000;
		store.maxSkewMs = 900_000;
		expect(await endOf(store.head("a"))).toBe("skewed");
	});

	it("has expired credentials, no bucket, no permission to delete, or no room when told", async () => {
		await store.put("a", body);
		store.credentialsExpired = true;
		expect(await endOf(store.get("a", 0, 1))).toBe("denied");
		store.credentialsExpired = false;
		bucket.missing = true;
		expect(await endOf(store.list(""))).toBe("no-bucket");
		bucket.missing = false;
		store.deleteForbidden = true;
		expect(await endOf(store.delete("a"))).toBe("denied");
		expect(await endOf(store.put("b", body))).toBe("ok");
		bucket.capacityBytes = 25;
		const begun = await store.beginUpload("d");
		for (const call of [
			() => store.put("c", body),
			() => store.putIfAbsent("c", body),
			() => store.putPart(begun, 1, body),
		])
			expect(await endOf(call())).toBe("full");
		store.clearFaults();
		await store.delete("a");
		expect(await endOf(store.put("c", body))).toBe("ok");
	});

	it("may be damaged by a test: bytes turned, cut off, put by somebody else", async () => {
		await store.put("a", body);
		bucket.flip("a", 0);
		expect((await store.get("a", 0, 2)).toString()).toBe("11");
		bucket.truncate("a", 3);
		expect((await store.getLast("a", 100)).sizeBytes).toBe(3);
		bucket.plant("b", body);
		expect((await store.list("")).objects.map(({ key }) => key)).toEqual(["a", "b"]);
		expect([...bucket.objects().keys()]).toEqual(["a", "b"]);
	});

	it("counts what was asked of it", async () => {
		await store.put("a", body);
		await store.get("a", 0, 4);
		await store.getLast("a", 2);
		await store.head("a");
		await store.head("a");
		expect(store.counts).toMatchObject({ put: 1, get: 1, getLast: 1, head: 2, list: 0 });
		expect([store.bytesSent, store.bytesReceived]).toEqual([10, 6]);
	});
});

describe("a gateway that crashes", () => {
	it("never hears of what was under way, which happened or not, whole", async () => {
		const seen = new Set<string>();
		for (let seed = 0; seed < 60; seed++) {
			const one = new SimulatedStore({ clock, random: new SimulatedRandom(seed) });
			one.latencyMs = [10, 100];
			let ended = false;
			const end = () => {
				ended = true;
			};
			one.put("a", body).then(end, end);
			await clock.advance(5);
			one.crash();
			const then = one.bucket.objects().get("a")?.toString();
			await clock.advance(1000);
			expect(ended).toBe(false);
			expect(one.bucket.objects().get("a")?.toString()).toBe(then);
			seen.add(String(then));
			expect(await endOf(one.put("b", body))).toBe("never");
			const next = new SimulatedStore({ clock, bucket: one.bucket });
			expect(await endOf(next.get("b", 0, 10))).toBe("not-found");
		}
		expect(seen).toEqual(new Set(["undefined", "0123456789"]));
	});

	it("leaves its uploads", async () => {
		const begun = await store.beginUpload("a");
		store.crash();
		expect(bucket.uploads()).toEqual([begun]);
		expect(await new SimulatedStore({ clock, bucket }).uploads("")).toEqual([begun]);
	});

	it("shares the bucket with another, each with a link of its own", async () => {
		const other = new SimulatedStore({ clock, bucket });
		store.away = true;
		await other.put("a", body);
		expect(await endOf(store.head("a"))).toBe("unreachable");
		store.away = false;
		expect((await store.head("a"))?.sizeBytes).toBe(10);
	});
});

it("does the same again for the same seed, and something else for another", async () => {
	const run = async (seed: number): Promise<string> => {
		const one = new SimulatedStore({ clock: new SimulatedClock(), random: new SimulatedRandom(seed) });
		one.troubleChance = 0.4;
		let story = "";
		for (let i = 0; i < 40; i++) {
			const error = await one.put(`k${i}`, body).catch(({ kind }: { kind: string }) => kind);
			story += `${error ?? ""} ${one.bucket.objects().has(`k${i}`)};`;
		}
		return story;
	};
	expect(await run(1)).toBe(await run(1));
	expect(await run(1)).not.toBe(await run(2));
});

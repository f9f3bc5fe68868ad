/** A store process as a process: when it starts and ends, what happens when it dies or hangs, and what others see of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { StoreProcess } from "../../../tiering/process/store-process.ts";
import { FakeS3 } from "../../support/fake-s3.ts";
import { HEADWATER, until } from "../../support/gateway.ts";
import { s3Options } from "../../support/s3-options.ts";
import { errorOf } from "./store-bench.ts";

const BODY = Buffer.from("kept");
const IDLE_MS = 30_000;

let fake: FakeS3;
let clock: SimulatedClock;
let store: StoreProcess;
const parents: ChildProcess[] = [];

beforeEach(async () => {
	fake = new FakeS3();
	await fake.start("bucket");
	clock = new SimulatedClock();
	store = open(HEADWATER);
});
afterEach(async () => {
	for (const parent of parents.splice(0)) parent.kill("SIGKILL");
	await store.close();
	await fake.stop();
});

function open(script: string): StoreProcess {
	return new StoreProcess(s3Options({ endpoint: fake.endpoint }), {
		script,
		name: "the store",
		clock,
		idleMs: IDLE_MS,
	});
}

/** A gateway in miniature. */
function startParent(program: string): ChildProcess {
	const parent = spawn(process.execPath, ["--input-type=module-typescript", "-e", program]);
	parents.push(parent);
	return parent;
}

/** Until a process is gone, or a zombie that only waits to be told of. */
async function gone(id: number): Promise<void> {
	for (;;) {
		let status: string;
		try {
			status = fs.readFileSync(`/proc/${id}/stat`, "utf8");
		} catch {
			return;
		}
		if (/\) [ZX] /.test(status)) return;
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
}

/** Holds every request until the function that it returns is called. */
function hold(): { arrived: Promise<void>; release: () => void } {
	const { promise, resolve } = Promise.withResolvers<void>();
	fake.fault = () => {
		resolve();
		return "silence";
	};
	return { arrived: promise, release: () => (fake.fault = () => undefined) };
}

describe("a store process", () => {
	it("starts with the first call, stays while there are calls, and ends when it has been idle", async () => {
		expect(store.processId).toBeUndefined();
		await store.put("a", BODY);
		const first = store.processId as number;
		await clock.advance(IDLE_MS - 1);
		await store.head("a");
		await clock.advance(IDLE_MS - 1);
		expect(store.processId).toBe(first);
		await clock.advance(1);
		expect(store.processId).toBeUndefined();
		await gone(first);
		expect((await store.get("a", 0, 4)).equals(BODY)).toBe(true);
		expect(store.processId).not.toBe(first);
	});

	it("that is killed fails what was under way, and the next call starts another", async () => {
		await store.put("a", BODY);
		const first = store.processId as number;
		const held = hold();
		const calls = [store.put("b", BODY), store.get("a", 0, 4)].map(errorOf);
		await held.arrived;
		process.kill(first, "SIGKILL");
		for (const error of await Promise.all(calls)) {
			expect(error).toMatchObject({ name: "StoreError", kind: "unreachable" });
			expect((error as Error).message).toContain("the store: the process that reaches it ended by SIGKILL");
		}
		held.release();
		expect((await store.get("a", 0, 4)).equals(BODY)).toBe(true);
		expect(store.processId).not.toBe(first);
	});

	it("that hangs is killed when it has been silent for longer than any call may be", async () => {
		await store.put("a", BODY);
		const first = store.processId as number;
		process.kill(first, "SIGSTOP");
		const call = errorOf(store.get("a", 0, 4));
		await clock.advance(15_000);
		expect(store.processId).toBe(first);
		await clock.advance(5000);
		expect(await call).toMatchObject({ kind: "unreachable", message: expect.stringContaining("silent") });
		await gone(first);
		expect((await store.get("a", 0, 4)).equals(BODY)).toBe(true);
	});

	it("whose call takes long is not taken for one that hangs", async () => {
		await store.put("a", BODY);
		const first = store.processId;
		const held = hold();
		const call = errorOf(store.get("a", 0, 4));
		await held.arrived;
		for (let look = 0; look < 4; look++) {
			// A sign of life a second, in its own time.
			await new Promise((resolve) => setTimeout(resolve, 1200));
			await clock.advance(5000);
		}
		expect(store.processId).toBe(first);
		await store.close();
		expect(await call).toMatchObject({ kind: "unreachable", message: "the store was closed" });
	});

	it("that cannot be started fails the calls, each time", async () => {
		const broken = open("/nowhere/headwater.js");
		for (let i = 0; i < 2; i++) {
			expect(await errorOf(broken.put("a", BODY))).toMatchObject({
				kind: "unreachable",
				message: expect.stringContaining("ended with exit code 1"),
			});
		}
		await broken.close();
	});

	it("ends with a gateway that is killed", async () => {
		const program = `
			import { StoreProcess } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../../tiering/process/store-process.ts"))};
			const options = ${JSON.stringify(s3Options({ endpoint: fake.endpoint }))};
			const store = new StoreProcess(options, { script: ${JSON.stringify(HEADWATER)}, name: "the store" });
			await store.put("a", Buffer.from("kept"));
			console.log("child " + store.processId + ".");
			setInterval(() => undefined, 1000);
		`;
		const parent = startParent(program);
		const child = Number((await until(parent, /child (\d+)\./))[1]);
		parent.kill("SIGKILL");
		await gone(child);
	});

	it.each([
		["does not keep a program alive that has nothing else to do", ""],
		["is waited for by a program that closes it", "await store.close(); console.log('closed');"],
	])("%s", async (_, end) => {
		const program = `
			import { StoreProcess } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../../tiering/process/store-process.ts"))};
			const options = ${JSON.stringify(s3Options({ endpoint: fake.endpoint }))};
			const store = new StoreProcess(options, { script: ${JSON.stringify(HEADWATER)}, name: "the store", idleMs: 86_400_000 });
			await store.put("a", Buffer.from("kept"));
			console.log("child " + store.processId + ".");
			${end}
		`;
		const parent = startParent(program);
		const child = Number((await until(parent, /child (\d+)\./))[1]);
		const [code] = await once(parent, "exit");
		// 13: it ended while it was waiting.
		expect(code).toBe(0);
		await gone(child);
	});

	it("shows no secret in its command line and environment", async () => {
		await store.put("a", BODY);
		for (const file of ["cmdline", "environ"]) {
			const text = fs.readFileSync(`/proc/${store.processId}/${file}`, "utf8");
			expect(text).not.toContain("fake-secret");
		}
	});

	it("does many calls, a few at a time", async () => {
		let under = 0;
		let most = 0;
		fake.fault = (_, stored) => {
			if (!stored) most = Math.max(most, ++under);
			else under--;
			return { delayMs: 5 };
		};
		await Promise.all(Array.from({ length: 40 }, (_, i) => store.put(`many/${i}`, BODY)));
		fake.fault = () => undefined;
		expect((await store.list("many/")).objects).toHaveLength(40);
		expect(most).toBeLessThanOrEqual(8);
	});

	it("carries parts and windows of megabytes whole, one after another in the same memory", async () => {
		const part = (byte: number, bytes: number) => Buffer.alloc(bytes, byte);
		const upload = await store.beginUpload("large");
		const sizes = [6_000_000, 5_500_000, 123];
		const etags: string[] = [];
		for (const [i, bytes] of sizes.entries()) etags.push(await store.putPart(upload, i + 1, part(i + 1, bytes)));
		await store.completeUpload(upload, etags);
		const whole = Buffer.concat(sizes.map((bytes, i) => part(i + 1, bytes)));
		expect((await store.get("large", 0, whole.length)).equals(whole)).toBe(true);
	});

	it("that is closed while it starts rejects what waited, and may be used again", async () => {
		const waiting = errorOf(store.put("a", BODY));
		await store.close();
		expect(await waiting).toMatchObject({ kind: "unreachable", message: "the store was closed" });
		expect(store.processId).toBeUndefined();
		await store.put("a", BODY);
	});
});

/** One connection of the Kafka door: order of answers, backpressure, endings. */
import { afterEach, describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { ScriptedDoor } from "./scripted-door.ts";

const doors: ScriptedDoor[] = [];
const start = async (options: Parameters<typeof ScriptedDoor.start>[0] = {}): Promise<ScriptedDoor> => {
	const door = await ScriptedDoor.start(options);
	doors.push(door);
	return door;
};

afterEach(async () => {
	for (const door of doors.splice(0)) await door.stop();
});

async function answers(door: ScriptedDoor, wire: Parameters<ScriptedDoor["answer"]>[0], count: number) {
	const names: string[] = [];
	for (let i = 0; i < count; i++) names.push(await door.answer(wire));
	return names;
}

describe("order", () => {
	it("answers in the order of the requests, however long each takes", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = ["now 1", "later 2", "now 3", "later 4", "throws 5", "later 6", "now 7"];
		door.send(wire, ...names);
		await door.until(() => door.begun.length === names.length);
		expect(door.begun).toEqual(names);
		expect(await door.answer(wire)).toBe("now 1");
		door.release("later 6", "later 4");
		await door.rounds();
		expect(wire.answered).toBe(0);
		door.release("later 2");
		expect(await answers(door, wire, 6)).toEqual(["later 2", "now 3", "later 4", "error 16", "later 6", "now 7"]);
	});

	it("keeps the order over random completions", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = Array.from({ length: 200 }, (_, i) => `${i % 3 === 0 ? "now" : "later"} ${i}`);
		door.send(wire, ...names);
		await door.until(() => door.begun.length === names.length);
		const waiting = names.filter((name) => name.startsWith("later"));
		for (let i = 0; waiting.length > 0; i++) {
			door.release(...waiting.splice((i * 7919) % waiting.length, 1));
			if (i % 10 === 0) await door.rounds();
		}
		expect(await answers(door, wire, names.length)).toEqual(names);
	});

	it("sends what one commit releases in one write", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = Array.from({ length: 100 }, (_, i) => `later ${i % 2 === 0 ? "" : "deep "}${i}`);
		door.send(wire, ...names);
		await door.until(() => door.begun.length === names.length);
		door.release(...names);
		expect(await answers(door, wire, names.length)).toEqual(names);
		expect(door.writes).toHaveLength(1);
	});

	it("answers what comes in one chunk in one write", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "now 1", "now 2", "now 3");
		expect(await answers(door, wire, 3)).toEqual(["now 1", "now 2", "now 3"]);
		expect(door.writes).toHaveLength(1);
	});

	it("says nothing to a request that has no answer, and answers the next", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "never 1", "later 2", "never 3", "now 4");
		await door.until(() => door.begun.length === 4);
		door.release("later 2");
		expect(await answers(door, wire, 2)).toEqual(["later 2", "now 4"]);
	});

	it("begins a request that has to be alone only when all before it are answered", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "later 1");
		door.sendAlone(wire, "later 2");
		door.sendAlone(wire, "now 3");
		door.send(wire, "now 4");
		await door.until(() => door.begun.length === 1);
		await door.rounds();
		expect(door.begun).toEqual(["later 1"]);
		door.release("later 1");
		await door.until(() => door.begun.length === 2);
		await door.rounds();
		expect(door.begun).toEqual(["later 1", "later 2"]);
		door.release("later 2");
		await door.until(() => wire.answered === 4);
		expect(door.begun).toEqual(["later 1", "later 2", "now 3", "now 4"]);
	});
});

describe("failures", () => {
	it("refuses with the error's number, and with -1 what nobody foresaw", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "throws 1", "rejects 2", "later 3", "now 4");
		await door.until(() => door.begun.length === 4);
		door.reject("later 3", new BrokerError("KAFKA_STORAGE_ERROR", "no space"));
		expect(await answers(door, wire, 4)).toEqual(["error 16", "error -1", "error 56", "now 4"]);
	});

	it("closes where a failed request has no answer, after the earlier answers and without the later ones", async () => {
		for (const failing of ["throws closes", "rejects closes"]) {
			const door = await start();
			const wire = await door.connect();
			door.send(wire, "later 1", failing, "now 3");
			await door.until(() => door.begun.includes(failing));
			await door.rounds();
			door.release("later 1");
			expect(await door.answer(wire)).toBe("later 1");
			await wire.closed;
			expect(wire.answered).toBe(0);
		}
	});

	it("closes at bytes that are no request, after the earlier answers", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "later 1");
		wire.raw(Buffer.from("ffffffff", "hex"));
		door.send(wire, "now 2");
		await door.until(() => door.begun.length === 1);
		await door.rounds();
		door.release("later 1");
		expect(await door.answer(wire)).toBe("later 1");
		await wire.closed;
		expect(door.begun).toEqual(["later 1"]);
	});
});

describe("backpressure", () => {
	it("begins only so many requests without an answer, reads no more, and goes on when they are answered", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = Array.from({ length: 5000 }, (_, i) => `later ${i}`);
		door.send(wire, ...names);
		let done = 0;
		while (done < names.length) {
			const next = Math.min(done + 256, names.length);
			await door.until(() => door.begun.length === next);
			await door.rounds();
			expect(door.begun.length).toBe(next);
			door.release(...names.slice(done, next));
			done = next;
		}
		expect(await answers(door, wire, names.length)).toEqual(names);
		await door.until(() => door.pressure.bytes === 0);
	});

	it("begins no further request while those without an answer are large", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = Array.from({ length: 200 }, (_, i) => `later ${i}`);
		wire.raw(Buffer.concat(names.map((name) => door.encode(wire, name, 30_000))));
		// 4 MiB of them, and the one that goes beyond.
		await door.until(() => door.begun.length >= 140);
		await door.rounds();
		expect(door.begun).toHaveLength(140);
		door.release(...names.slice(0, 140));
		await door.until(() => door.begun.length === 200);
		door.release(...names.slice(140));
		expect(await answers(door, wire, 200)).toEqual(names);
	});

	it("does not handle more for a peer that does not take its answers", async () => {
		const door = await start();
		const wire = await door.connect();
		wire.socket.pause();
		const names = Array.from({ length: 2000 }, (_, i) => `large ${i}`);
		door.send(wire, ...names);
		let before = -1;
		while (door.begun.length !== before) {
			before = door.begun.length;
			await door.rounds();
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
		// The kernel's buffers take some megabytes, of 64 MB.
		expect(before).toBeLessThan(1000);
		expect(door.pressure.bytes).toBeGreaterThan(32_000);
		expect(door.pressure.bytes).toBeLessThan(1024 * 1024);
		wire.socket.resume();
		for (const name of names) expect((await door.answer(wire)).replace(/x+$/, "")).toBe(name);
		await door.until(() => door.pressure.bytes === 0);
	});

	it("counts answers whose turn has not come as answers that are not taken", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = ["later 0", ...Array.from({ length: 200 }, (_, i) => `large ${i}`)];
		door.send(wire, ...names);
		await door.until(() => door.begun.length > 8);
		await door.rounds();
		expect(door.begun.length).toBeLessThan(12);
		door.release("later 0");
		expect((await answers(door, wire, names.length)).map((name) => name.replace(/x+$/, ""))).toEqual(names);
	});

	it("reads nothing while the gateway is over its memory budget, but finishes a request that has begun to arrive", async () => {
		const door = await start({ budgetBytes: 1024 * 1024 });
		const [arriving, fresh] = [await door.connect(), await door.connect()];
		const whole = door.encode(arriving, "now arriving", 20_000);
		arriving.raw(whole.subarray(0, 10_000));
		await door.until(() => door.pressure.bytes > 0);
		// Parts of others' requests.
		door.pressure.arriving(2 * 1024 * 1024);
		door.send(fresh, "now 1");
		arriving.raw(whole.subarray(10_000, 15_000));
		await door.until(() => door.pressure.bytes > 2 * 1024 * 1024 + 15_000);
		arriving.raw(whole.subarray(15_000));
		expect(await door.answer(arriving)).toContain("now arriving");
		door.send(arriving, "now 2");
		// What comes first is still read, since pausing waits for it; what comes next is not.
		await door.answer(fresh);
		door.send(fresh, "now 3");
		await door.rounds();
		expect(door.begun.toSorted()).toEqual(["now 1", "now arriving"]);
		door.pressure.arriving(-2 * 1024 * 1024);
		expect(await door.answer(fresh)).toBe("now 3");
		expect(await door.answer(arriving)).toBe("now 2");
	});

	it("reads not even the rest of a request while requests that are whole are over the memory budget, and cuts nobody off for it", async () => {
		const door = await start({ budgetBytes: 1024 * 1024 });
		const wire = await door.connect();
		const whole = door.encode(wire, "now arriving", 30_000);
		wire.raw(whole.subarray(0, 10_000));
		await door.until(() => door.pressure.bytes > 0);
		door.pressure.add(2 * 1024 * 1024);
		// What comes first is still read, since pausing waits for it.
		wire.raw(whole.subarray(10_000, 20_000));
		await door.until(() => door.pressure.bytes > 2 * 1024 * 1024 + 19_000);
		wire.raw(whole.subarray(20_000));
		await door.rounds();
		expect(door.begun).toEqual([]);
		await door.look(60_000, true);
		door.pressure.subtract(2 * 1024 * 1024);
		expect(await door.answer(wire)).toContain("now arriving");
	});
});

describe("endings", () => {
	it("handles all that came before the peer's end, and answers it", async () => {
		const door = await start();
		const wire = await door.connect();
		const names = Array.from({ length: 600 }, (_, i) => `later ${i}`);
		wire.socket.end(Buffer.concat(names.map((name) => door.encode(wire, name))));
		for (const begun of [256, 512, 600]) {
			await door.until(() => door.begun.length === begun);
			await door.rounds();
			door.release(...names.slice(0, begun));
		}
		expect(await answers(door, wire, names.length)).toEqual(names);
		await wire.closed;
	});

	it("tells who listens that the connection has gone, once, and not who has taken that back", async () => {
		const door = await start();
		const wire = await door.connect();
		door.send(wire, "later 1");
		await door.until(() => door.peers.length === 1);
		const [peer] = door.peers;
		let [told, toldToo] = [0, 0];
		peer?.onClose(() => told++);
		peer?.onClose(() => toldToo++)();
		expect(peer?.closed).toBe(false);
		wire.socket.resetAndDestroy();
		await door.until(() => door.open === 0);
		expect([told, toldToo, peer?.closed]).toEqual([1, 0, true]);
		door.release("later 1");
		await door.rounds();
		expect(door.pressure.bytes).toBe(0);
	});

	it("closes what is idle, whether it ever said something or not, but not who waits for an answer", async () => {
		const door = await start();
		const [silent, spoke, waits] = [await door.connect(), await door.connect(), await door.connect()];
		door.send(spoke, "now 1");
		door.send(waits, "later 1");
		expect(await door.answer(spoke)).toBe("now 1");
		await door.until(() => door.open === 3 && door.begun.length === 2);
		await door.look(599_999, false);
		await door.rounds();
		expect(door.open).toBe(3);
		await door.look(1, false);
		await Promise.all([silent.closed, spoke.closed]);
		await door.look(6_000_000, false);
		door.release("later 1");
		expect(await door.answer(waits)).toBe("later 1");
		await door.until(() => door.pressure.bytes === 0);
		await door.look(600_000, false);
		await waits.closed;
	});

	it("does not cut off who could not go on because it was not read from", async () => {
		const door = await start();
		const wire = await door.connect();
		const large = Array.from({ length: 9 }, (_, i) => `later ${i} `.padEnd(30_000, "x"));
		const last = door.encode(wire, "now last");
		door.send(wire, "later head", ...large);
		wire.raw(last.subarray(0, 10));
		await door.until(() => door.begun.length === 10);
		await door.rounds();
		door.release(...large);
		await door.rounds();
		await door.look(60_000, true);
		door.release("later head");
		wire.raw(last.subarray(10));
		expect(await answers(door, wire, 11)).toEqual(["later head", ...large, "now last"]);
	});

	it("cuts off who holds memory that others wait for: a request that never ends, answers that are not taken", async () => {
		const door = await start();
		const [slow, reader, busy] = [await door.connect(), await door.connect(), await door.connect()];
		slow.raw(door.encode(slow, "now 1", 1000).subarray(0, 500));
		reader.socket.pause();
		door.send(reader, ...Array.from({ length: 2000 }, (_, i) => `large ${i}`));
		await door.until(() => door.pressure.bytes > 200_000);
		await door.look(29_999, true);
		door.send(busy, "now 2");
		expect(await door.answer(busy)).toBe("now 2");
		await door.look(1, false);
		await door.rounds();
		expect(door.open).toBe(3);
		await door.look(0, true);
		await slow.closed;
		await door.until(() => door.open === 1);
		expect(door.pressure.bytes).toBe(0);
		door.send(busy, "now 3");
		expect(await door.answer(busy)).toBe("now 3");
	});
});

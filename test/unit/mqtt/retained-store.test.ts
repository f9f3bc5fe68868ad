/** The store of retained messages: what a row gives back, what is refused, what damage costs, how few places a filter looks at. */
import { describe, expect, it } from "vitest";
import { type RetainedMessage, RetainedStore } from "../../../bridge/mqtt/retained-store.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { World } from "../../simulation/world.ts";
import { TableLog } from "./retained-log.ts";

const EVERYTHING = { messages: 10_000, bytes: 10_000_000, looks: 1_000_000 };

function message(topic: string, more: Partial<RetainedMessage> = {}): RetainedMessage {
	return {
		topic,
		payload: Buffer.from("21.5"),
		qos: 1,
		timestampMs: 1_000_000.5,
		expirySeconds: -1,
		propertiesBlock: Buffer.of(),
		partition: 3,
		offset: 2 ** 52 + 1,
		...more,
	};
}

function make(maxMessages = 1000) {
	const log = new TableLog();
	const store = new RetainedStore(log.log, { maxMessages });
	const topics = (filter: string, nowMs = 0) => store.page(filter, undefined, nowMs, EVERYTHING).messages.map(topicOf);
	return { log, store, topics };
}

function topicOf({ topic }: { topic: string }): string {
	return topic;
}

describe("a retained message", () => {
	it("is given back whole, before and after it left memory", () => {
		const { log, store } = make();
		const full = message("a/b", {
			qos: 2,
			expirySeconds: 0xffff_ffff,
			propertiesBlock: Buffer.of(1, 1),
			partition: -2,
		});
		store.put(full);
		expect(store.get("a/b", 0)).toEqual(full);
		log.commit();
		log.checkpoint();
		expect(store.get("a/b", 0)).toEqual(full);
		expect(store.page("a/+", undefined, 0, EVERYTHING).messages).toEqual([full]);
		expect(store.get("a", 0)).toBeUndefined();
	});

	it("is a copy: the bytes that it came in are used again", () => {
		const { store } = make();
		const chunk = Buffer.from("before");
		store.put(message("a", { payload: chunk }));
		chunk.fill("x");
		expect(store.get("a", 0)?.payload.toString()).toBe("before");
	});

	it("is there until the millisecond it expires, and counts until it is swept", () => {
		const { store, topics } = make();
		store.put(message("a", { timestampMs: 1000, expirySeconds: 2 }));
		store.put(message("b", { timestampMs: 1000, expirySeconds: 0 }));
		store.put(message("c"));
		expect([store.get("a", 2999)?.topic, store.get("a", 3000)]).toEqual(["a", undefined]);
		expect([topics("#", 999), topics("#", 2999), topics("#", 3000)]).toEqual([["a", "b", "c"], ["a", "c"], ["c"]]);
		expect(store.count).toBe(3);
		expect([store.sweep(3000, 2), store.sweep(3000, 2)]).toEqual([2, 0]);
		expect([store.count, store.bytes]).toEqual([1, 5]);
	});

	it("that expires is looked for only as long as there is one", () => {
		const { log, store } = make();
		store.put(message("a", { expirySeconds: 1 }));
		store.put(message("b", { expirySeconds: 1 }));
		store.put(message("c"));
		log.pages = 0;
		store.sweep(0, 10);
		expect(log.pages).toBe(1);
		store.put(message("a"));
		store.remove("b");
		store.sweep(0, 10);
		expect(log.pages).toBe(1);
	});

	it("takes part in the limit once, and only what is new is refused", () => {
		const { store } = make(2);
		store.put(message("a"));
		store.put(message("b"));
		store.checkRoom("b");
		store.put(message("a", { payload: Buffer.from("longer") }));
		for (const refused of [() => store.put(message("c")), () => store.checkRoom("c")])
			expect(refused).toThrow(
				expect.objectContaining({
					code: "POLICY_VIOLATION",
					message: expect.stringContaining("mqtt.max.retained.messages"),
				}),
			);
		expect([store.count, store.bytes, store.get("c", 0)]).toEqual([2, 12, undefined]);
		expect([store.remove("a"), store.remove("a")]).toEqual([true, false]);
		store.put(message("c"));
		expect(store.count).toBe(2);
	});

	it("changes nothing where storage takes nothing, and the sweep waits", () => {
		const { log, store } = make();
		store.put(message("a", { timestampMs: 0, expirySeconds: 1 }));
		log.refusal = new Error("the disk is full");
		expect(() => store.put(message("b"))).toThrow("full");
		expect(() => store.remove("a")).toThrow("full");
		expect(store.sweep(5000, 10)).toBe(0);
		expect([store.count, store.bytes]).toEqual([1, 5]);
	});

	it("costs a commit no more than it says", async () => {
		const world = openWorld();
		const store = new RetainedStore(world.log, { maxMessages: 9 });
		for (const topic of ["t", "ü".repeat(2000)]) {
			const one = message(topic, { payload: Buffer.alloc(3000), propertiesBlock: Buffer.alloc(70) });
			const before = world.broker.pressure.bytes;
			store.put(one);
			expect(world.broker.pressure.bytes - before).toBeLessThanOrEqual(store.sizeOf(one));
		}
		await world.stop();
	});
});

describe("what is kept", () => {
	it("and its number come and go together, and are there after a crash", async () => {
		const world = openWorld();
		let store = new RetainedStore(world.log, { maxMessages: 10_000 });
		// In one turn more than a commit takes: what a power cut leaves of it is whole commits.
		for (let i = 0; i < 300; i++) store.put(message(`t/${i}`, { payload: Buffer.alloc(8000, i) }));
		for (let i = 0; i < 300; i += 3) store.remove(`t/${i}`);
		await world.finish(world.log.whenCommitted());
		for (let i = 300; i < 600; i++) {
			store.put(message(`t/${i}`, { payload: Buffer.alloc(8000, i) }));
			if (i === 350) world.log.onCommit({ committed: () => world.disk.stop() });
		}
		await world.finish(world.log.whenCommitted()).catch(() => {});
		await world.crash("power cut", new SimulatedRandom(3));
		world.start();
		store = new RetainedStore(world.log, { maxMessages: 10_000 });
		const { messages } = store.page("#", undefined, 0, EVERYTHING);
		expect(messages.length).toBeGreaterThan(250);
		expect(messages.length).toBeLessThan(500);
		expect(store.count).toBe(messages.length);
		expect(store.bytes).toBe(messages.reduce((sum, { topic, payload }) => sum + topic.length + payload.length, 0));
		await world.stop();
	});

	it("is never without its number, nor the number without it, where a commit ends between them", async () => {
		const counts = new Set<number>();
		for (let room = 0; room < 200; room += 20) {
			const world = openWorld();
			const store = new RetainedStore(world.log, { maxMessages: 9 });
			store.put(message("first"));
			await world.finish(world.log.whenCommitted());
			// A commit is closed at 1 MiB.
			world.log.putState(1, "a", Buffer.alloc(1024 * 1024 - 11 - room));
			world.log.onCommit({ committed: () => world.disk.stop() });
			store.put(message("t"));
			await world.finish(world.log.whenCommitted()).catch(() => {});
			await world.crash("power cut", new SimulatedRandom(3));
			world.start();
			const { count } = new RetainedStore(world.log, { maxMessages: 9 });
			expect(count, `room ${room}`).toBe(world.log.getState(StateSpace.MQTT_RETAINED, "t") === undefined ? 1 : 2);
			counts.add(count);
			await world.stop();
		}
		expect([...counts]).toEqual([1, 2]);
	});

	it("goes with all else of the group that it is put in, whatever the size", async () => {
		const world = openWorld();
		const store = new RetainedStore(world.log, { maxMessages: 9 });
		const { counters } = world.log;
		const before = counters.commits;
		world.log.group(3_000_000, () => {
			world.log.putState(1, "a", Buffer.alloc(1_000_000));
			store.put(message("t", { payload: Buffer.alloc(200_000) }));
			store.remove("t");
			world.log.putState(1, "b", Buffer.alloc(1_000_000));
		});
		await world.finish(world.log.whenCommitted());
		expect(counters.commits - before).toBe(1);
		await world.stop();
	});

	it("is passed over where it is damaged, reported once, and can be replaced", () => {
		const { log, store, topics } = make();
		for (const topic of ["a", "b", "c", "d"]) store.put(message(topic));
		const row = Buffer.from(log.getState(StateSpace.MQTT_RETAINED, "b") as Uint8Array);
		for (let at = 0; at < row.length; at++) {
			const bad = Buffer.from(row);
			bad[at]! ^= 0x10;
			log.putState(StateSpace.MQTT_RETAINED, "b", bad);
			expect(store.get("b", 0), `byte ${at}`).toBeUndefined();
		}
		log.putState(StateSpace.MQTT_RETAINED, "c", row.subarray(0, 20));
		expect(topics("#")).toEqual(["a", "d"]);
		expect(log.errors).toHaveLength(1);
		log.putState(StateSpace.MQTT_RETAINED, "b", row);
		store.put(message("c"));
		expect(topics("#")).toEqual(["a", "b", "c", "d"]);
		expect(store.count).toBe(4);
	});

	it("is counted anew where its number cannot be read", () => {
		const { log, store } = make();
		for (let i = 0; i < 200; i++) store.put(message(`t${i}`, { expirySeconds: i % 2 === 0 ? 1 : -1 }));
		log.putState(StateSpace.MQTT_DOOR, "retained", Buffer.from("nonsense"));
		const again = new RetainedStore(log.log, { maxMessages: 1000 });
		expect([again.count, again.bytes]).toEqual([store.count, store.bytes]);
		expect(log.errors).toHaveLength(1);
		expect(again.sweep(1e12, 1000)).toBe(100);
	});
});

describe("a filter", () => {
	function filled() {
		const made = make(100_000);
		for (let device = 0; device < 100; device++) {
			for (let i = 0; i < 100; i++) made.store.put(message(`site/dev-${device}/value/${i}`));
			made.store.put(message(`site/dev-${device}/status`));
		}
		made.log.commit();
		made.log.checkpoint();
		made.log.pages = 0;
		made.log.rows = 0;
		return made;
	}

	it("with a wildcard before its end looks at a few places for each that matches, not at every topic", () => {
		const { log, topics } = filled();
		expect(topics("site/+/status")).toHaveLength(100);
		expect(log.pages).toBeLessThan(250);
		expect(log.rows).toBeLessThan(1000);
		log.rows = 0;
		expect(topics("+/dev-7/value/42")).toEqual(["site/dev-7/value/42"]);
		expect(log.rows).toBeLessThan(20);
	});

	it("that ends with # reads what matches and little else, in large pieces", () => {
		const { log, topics } = filled();
		expect(topics("site/dev-7/#")).toHaveLength(101);
		expect(log.rows).toBeLessThan(110);
		expect(log.pages).toBeLessThan(12);
	});

	it("gives no more bytes at a time than was asked for, and one message more, long topics included", () => {
		const { store } = make();
		for (let i = 0; i < 20; i++) store.put(message(`${i}${"x".repeat(1000)}`));
		const page = (bytes: number) => store.page("#", undefined, 0, { messages: 64, bytes, looks: 1000 }).messages.length;
		expect([page(1), page(1000), page(4500), page(1_000_000)]).toEqual([1, 1, 5, 20]);
	});

	it("gives the turn back after so many looks, though nothing matched, and goes on from there", () => {
		const { log, store } = filled();
		let after: string | undefined;
		let turns = 0;
		for (let done = false; !done; turns++) {
			log.rows = 0;
			const page = store.page("+/+/nothing", after, 0, { messages: 10, bytes: 1000, looks: 50 });
			expect(page.messages).toEqual([]);
			expect(log.rows).toBeLessThanOrEqual(50);
			({ after, done } = page);
		}
		expect(turns).toBeGreaterThan(3);
		expect(turns).toBeLessThan(40);
	});
});

function openWorld(): World {
	const world = new World(new SimulatedRandom(11), {
		journalFileBytes: 8 * 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {},
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	return world;
}

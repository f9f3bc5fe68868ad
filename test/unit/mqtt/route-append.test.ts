/** What becomes of a publish by its routes: records, copies, volatile events, and what is counted. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { appendEvent, type InboundEvent, type Place } from "../../../bridge/mqtt/append-event.ts";
import { Destinations, PublishRefused } from "../../../bridge/mqtt/destinations.ts";
import { type RouteSpec, Routes } from "../../../bridge/mqtt/routes.ts";
import { DoorStats } from "../../../bridge/mqtt/stats.ts";
import { EventReader, type StoredEvent, VOLATILE_PARTITION } from "../../../bridge/mqtt/stored-event.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { decodeRecords, type LogRecord } from "../../../src/record/batch.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";

const BUDGET_BYTES = 1_000_000;

let clock: SimulatedClock;
let broker: Broker;
let stats: DoorStats;
/** What live subscribers were handed, besides the log. */
let volatile: StoredEvent[];

beforeEach(() => {
	clock = new SimulatedClock();
	const disk = new SimulatedDisk();
	disk.makeDirectory("/data");
	broker = Broker.open(
		{
			dataFolder: "/data",
			catalogLocation: { image: undefined, onCommit: () => {} },
			journal: { fileBytes: 8_388_608, filesMax: 4 },
			lingerMs: 0,
			memoryBudgetBytes: BUDGET_BYTES,
			retentionCheckMs: 3_600_000,
			defaultPartitions: 8,
			topicDefaults: {
				"log.segment.bytes": "67108864",
				"log.roll.ms": "604800000",
				"log.index.interval.bytes": "4096",
				"message.max.bytes": "200000",
				"log.retention.ms": "604800000",
				"log.retention.bytes": "-1",
			},
			onFailure: (error) => {
				throw error;
			},
		},
		{ disk, clock, random: new SimulatedRandom("broker"), logger: silentLogger },
	);
	stats = new DoorStats();
	volatile = [];
});

afterEach(async () => {
	const stopped = broker.stop();
	await clock.settle();
	await stopped;
});

function door(specs: readonly RouteSpec[]) {
	const routes = new Routes(specs);
	const destinations = new Destinations(broker, routes);
	const deliveries = { deliverVolatile: (event: StoredEvent) => volatile.push({ ...event }) };
	const publish = (topic: string, payload: string, more: Partial<InboundEvent> = {}, also?: (place: Place) => void) => {
		const source = Buffer.from(`<${payload}>`);
		const event: InboundEvent = {
			qos: 1,
			retain: false,
			properties: undefined,
			clientId: undefined,
			source,
			payloadStart: 1,
			payloadEnd: source.length - 1,
			...more,
		};
		const companion = also === undefined ? undefined : { bytes: 10, work: also };
		appendEvent({ broker, routes, stats, deliveries }, destinations.of(topic), event, clock.now(), companion);
	};
	return { routes, destinations, publish };
}

interface Found extends LogRecord {
	readonly partition: number;
	/** What MQTT subscribers get it under. */
	readonly seen: string | undefined;
	readonly expirySeconds: number;
}

async function records(topic: string, routes: Routes): Promise<Found[]> {
	await clock.settle();
	const found: Found[] = [];
	const reader = new EventReader(routes);
	for (const partition of broker.topics.get(topic)?.partitions ?? []) {
		for (const batch of partition.readTail(0) ?? []) {
			const events: StoredEvent[] = [];
			reader.read(partition, batch, 0, 0, (event) => events.push({ ...event }) > 0);
			decodeRecords(batch, 0).forEach((record, i) => {
				const { topic: seen, expirySeconds } = events[i]!;
				found.push({ ...record, partition: partition.number, seen, expirySeconds });
			});
		}
	}
	return found;
}

const textOf = (headers: LogRecord["headers"]) => headers.map(({ key, value }) => [key, value?.toString()]);

describe("fields of the payload", () => {
	const ROUTES: RouteSpec[] = [
		{ filter: "d/{site}", topic: "t", key: "{json.id}", headers: { a: "{site}-{json.a.b}", c: "{site}" } },
	];

	it("are key and headers; the key decides on the partition", async () => {
		const { routes, publish } = door(ROUTES);
		for (let i = 0; i < 20; i++) publish("d/north", `{"id":"k${i}","a":{"b":${i}}}`);
		publish("d/south", '{"id":"k7","a":{"b":true}}');
		const found = await records("t", routes);
		expect(found.length).toBe(21);
		expect(new Set(found.map(({ partition }) => partition)).size).toBeGreaterThan(3);
		const same = found.filter(({ key }) => key?.toString() === "k7");
		expect(same.map(({ partition }) => partition)).toEqual([same[0]!.partition, same[0]!.partition]);
		expect(textOf(same[0]!.headers)).toEqual([
			["mqtt.topic", "d/north"],
			["c", "north"],
			["a", "north-7"],
		]);
		expect(same.map(({ seen }) => seen)).toEqual(["d/north", "d/south"]);
		expect(stats.routeFieldsMissing).toBe(0);
	});

	it("that are missing leave the key null and the header out, keep the MQTT topic in one partition, and are counted", async () => {
		const { routes, publish } = door(ROUTES);
		publish("d/north", '{"a":{"b":1}}');
		publish("d/north", "no JSON");
		publish("d/north", '{"id":null}');
		const found = await records("t", routes);
		expect(found.map(({ key, headers }) => [key, headers.length])).toEqual([
			[null, 3],
			[null, 2],
			[null, 2],
		]);
		const own = partitionForKey(Buffer.from("d/north"), 8);
		expect(found.map(({ partition }) => partition)).toEqual([own, own, own]);
		expect(stats.routeFieldsMissing).toBe(5);
	});

	it("give no timestamp where the topic has the arrival's", async () => {
		const { routes, publish } = door([{ filter: "#", topic: "t", key: "k", timestamp: "{json.ts}" }]);
		broker.topics.create({ name: "t", config: { "message.timestamp.type": "LogAppendTime" } });
		publish("a", `{"ts":${clock.now() - 5000}}`);
		expect((await records("t", routes)).map(({ timestamp }) => timestamp)).toEqual([clock.now()]);
	});

	it("give the timestamp, in any order, and the arrival's where they are no time that is believed", async () => {
		const { routes, publish } = door([{ filter: "#", topic: "t", key: "k", timestamp: "{json.ts}" }]);
		const now = clock.now();
		const times = [now - 5000, now - 3_600_000, now + 60_000, now - 10];
		for (const ts of [...times, '"x"', now + 90_000_000]) publish("a", `{"ts":${ts}}`);
		publish("a", "{}");
		const found = await records("t", routes);
		expect(found.map(({ timestamp }) => timestamp)).toEqual([...times, now, now, now]);
		expect([stats.routeTimestampsRefused, stats.routeFieldsMissing]).toEqual([2, 1]);
		const partition = broker.topics.get("t")!.partitions[found[0]!.partition]!;
		expect(await offsetForTimestamp(partition, now - 10)).toEqual({ offset: 2, timestamp: now + 60_000 });
	});

	it("do not change when an event expires", async () => {
		const { routes, publish } = door([{ filter: "#", topic: "t", timestamp: "{json.ts}" }]);
		const properties = { messageExpiryInterval: 60 };
		publish("a", `{"ts":${clock.now() - 100_500}}`, { properties });
		publish("a", `{"ts":${clock.now() + 100_500}}`, { properties });
		const [past, future] = await records("t", routes);
		expect([past!.timestamp, past!.expirySeconds]).toEqual([clock.now() - 100_500, 160]);
		expect([future!.timestamp, future!.expirySeconds]).toEqual([clock.now(), 60]);
		expect(stats.routeTimestampsRefused).toBe(1);
		expect(properties.messageExpiryInterval).toBe(60);
	});
});

describe("copies", () => {
	const ROUTES: RouteSpec[] = [
		{ filter: "a/#", topic: "one", key: "k", continue: true },
		{ filter: "a/{b}", topic: "two", key: "{b}", continue: true },
		{ filter: "#", topic: "three", key: "{json.id}" },
	];

	it("are stored in each topic, marked, and MQTT gets the event once", async () => {
		const { routes, publish, destinations } = door(ROUTES);
		const places: Place[] = [];
		publish("a/b", '{"id":"i"}', { qos: 2 }, (place) => places.push(place));
		const [one] = await records("one", routes);
		const [two] = await records("two", routes);
		const [three] = await records("three", routes);
		expect([one, two, three].map((each) => each!.key!.toString())).toEqual(["k", "b", "i"]);
		expect([one, two, three].map((each) => each!.seen)).toEqual(["a/b", undefined, undefined]);
		expect(textOf(one!.headers)).toEqual([
			["mqtt.topic", "a/b"],
			["mqtt.qos", "2"],
		]);
		expect(textOf(two!.headers)).toEqual([
			["mqtt.topic", "a/b"],
			["mqtt.copy", "1"],
			["mqtt.qos", "2"],
		]);
		const { id } = broker.topics.get("one")!.partitions[one!.partition]!;
		expect(places).toEqual([{ partition: id, offset: 0, topic: "a/b" }]);
		expect(destinations.of("a/b").plain).toBe(false);
		expect(destinations.of("x").plain).toBe(false);
	});

	it("are in the commit of the event, also where that is nearly full", async () => {
		const { publish } = door([
			{ filter: "#", topic: "one", key: "k", continue: true },
			{ filter: "#", topic: "two", key: "k" },
		]);
		publish("first", "");
		await clock.settle();
		const written = (topic: string) =>
			broker.topics.get(topic)!.partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0);
		const seen: [number, number][] = [];
		for (const partition of broker.topics.get("one")!.partitions) {
			partition.watch({ advanced: () => seen.push([written("one"), written("two")]) });
		}
		// Of 1 MiB that a commit takes, the event alone would still find room.
		for (let i = 0; i < 7; i++) publish(`fill${i}`, "x".repeat(60_000));
		publish("last", "x".repeat(150_000));
		await clock.settle();
		expect(seen.length).toBeGreaterThan(1);
		for (const [one, two] of seen) expect(two).toBe(one);
		expect(seen.at(-1)).toEqual([9, 9]);
	});

	it("are stored all, or the publish is refused and none is", async () => {
		const { routes, publish } = door(ROUTES);
		broker.topics.create({ name: "two", config: { "max.message.bytes": "1000" } });
		expect(() => publish("a/b", "x".repeat(2000))).toThrow(expect.objectContaining({ code: "MESSAGE_TOO_LARGE" }));
		publish("a/b", "y");
		expect((await records("one", routes)).map(({ value }) => value?.toString())).toEqual(["y"]);
	});

	it("are none where one of them has no key and its topic is compacted", async () => {
		const { routes, publish } = door([
			{ filter: "#", topic: "one", key: "k", continue: true },
			{ filter: "#", topic: "two", key: "{json.id}" },
		]);
		broker.topics.create({ name: "two", config: { "cleanup.policy": "compact" } });
		expect(() => publish("a", "{}")).toThrow(expect.objectContaining({ code: "INVALID_RECORD" }));
		publish("a", '{"id":"i"}');
		expect([(await records("one", routes)).length, (await records("two", routes)).length]).toEqual([1, 1]);
	});
});

describe("a rewritten topic", () => {
	it("is what is stored and delivered; the one published to is kept", async () => {
		const { routes, publish, destinations } = door([
			{ filter: "s/{site}/{device}", topic: "t", rewrite: "plant/{site}/{device}" },
		]);
		const places: Place[] = [];
		publish("s/n/d", "v", {}, (place) => places.push(place));
		const [found] = await records("t", routes);
		expect(found!.seen).toBe("plant/n/d");
		expect(found!.partition).toBe(partitionForKey(Buffer.from("plant/n/d"), 8));
		expect(textOf(found!.headers)).toEqual([
			["mqtt.topic", "plant/n/d"],
			["mqtt.original-topic", "s/n/d"],
		]);
		expect(places[0]!.topic).toBe("plant/n/d");
		const destination = destinations.of("s/n/d");
		expect([destination.plain, destination.bytes.toString(), destination.topic]).toEqual([true, "s/n/d", "plant/n/d"]);
	});

	it("refuses the publish with 0x90 where it is no topic name, and makes no topic for it", () => {
		const { publish } = door([{ filter: "s/{x}", topic: "t", rewrite: "{x}" }]);
		for (const topic of ["s/", "s/$SYS"]) {
			expect(() => publish(topic, "v")).toThrow(PublishRefused);
			expect(() => publish(topic, "v")).toThrow(expect.objectContaining({ reasonCode: 0x90 }));
		}
		expect(broker.topics.get("t")).toBeUndefined();
	});
});

describe("qos0: drop-under-pressure", () => {
	it("drops and counts QoS 0 while more than half of the budget is in use, and nothing else", async () => {
		const { routes, publish } = door([
			{ filter: "c/#", topic: "chatter", qos0: "drop-under-pressure", continue: true },
			{ filter: "c/#", topic: "copies" },
			{ filter: "#", topic: "rest" },
		]);
		const all = () => {
			for (const topic of ["c/a", "r"]) {
				publish(topic, "zero", { qos: 0 }, topic === "c/a" ? () => calls++ : undefined);
				publish(topic, "one", { qos: 1 });
			}
		};
		let calls = 0;
		broker.pressure.add(BUDGET_BYTES / 4);
		all();
		await clock.settle();
		expect([stats.droppedQos0Pressure, calls]).toEqual([0, 1]);
		broker.pressure.add(BUDGET_BYTES / 4 + 1);
		all();
		broker.pressure.subtract(BUDGET_BYTES / 2 + 1);
		expect([stats.droppedQos0Pressure, calls]).toEqual([1, 1]);
		const values = async (topic: string) => (await records(topic, routes)).map(({ value }) => value?.toString());
		expect(await values("chatter")).toEqual(["zero", "one", "one"]);
		expect(await values("copies")).toEqual(["zero", "one", "zero", "one"]);
		expect(await values("rest")).toEqual(["zero", "one", "zero", "one"]);
	});
});

describe("durability: memory", () => {
	const ROUTES: RouteSpec[] = [
		{ filter: "chat/{x}", durability: "memory", rewrite: "c/{x}", qos0: "drop-under-pressure" },
		{ filter: "both", durability: "memory", continue: true },
		{ filter: "#", topic: "t", continue: true },
		{ filter: "late", durability: "memory" },
	];

	it("hands the event with all it has to live subscribers, and stores nothing", async () => {
		const { publish, destinations, routes } = door(ROUTES);
		publish("chat/a", "hello", {
			qos: 2,
			retain: true,
			clientId: "me",
			properties: { messageExpiryInterval: 9, contentType: "text", topicAlias: 3 },
		});
		expect(volatile.length).toBe(1);
		const [event] = volatile;
		expect(event).toMatchObject({
			partition: VOLATILE_PARTITION,
			topic: "c/a",
			qos: 2,
			retain: true,
			clientId: "me",
			expirySeconds: 9,
			timestampMs: clock.now(),
		});
		expect(event!.source.toString("utf8", event!.payloadStart, event!.payloadEnd)).toBe("hello");
		expect(event!.topicSource.toString("utf8", event!.topicStart, event!.topicEnd)).toBe("c/a");
		expect(event!.propertiesBlock.toString("latin1")).toBe("\u0003\u0000\u0004text");
		expect(destinations.of("chat/a").plain).toBe(false);
		publish("chat/a", "");
		expect(volatile[1]).toMatchObject({ qos: 1, retain: false, clientId: undefined, expirySeconds: -1 });
		expect(volatile[1]!.propertiesBlock.length).toBe(0);
		expect(await records("t", routes)).toEqual([]);
		expect(routes.topics).toEqual(["t"]);
	});

	it("has what goes with it in the commit, and delivers only once that was taken", () => {
		const { publish } = door(ROUTES);
		const places: Place[] = [];
		publish("chat/a", "x", {}, (place) => {
			places.push(place);
			expect(volatile.length).toBe(0);
		});
		expect(places).toEqual([{ partition: VOLATILE_PARTITION, offset: 0, topic: "c/a" }]);
		const refuse = () => {
			throw new Error("full");
		};
		expect(() => publish("chat/a", "x", {}, refuse)).toThrow("full");
		expect(volatile.length).toBe(1);
	});

	it("can be dropped under pressure as well", () => {
		const { publish } = door(ROUTES);
		broker.pressure.add(BUDGET_BYTES / 2 + 1);
		publish("chat/a", "zero", { qos: 0 });
		publish("chat/a", "one");
		broker.pressure.subtract(BUDGET_BYTES / 2 + 1);
		expect(volatile.map(({ qos }) => qos)).toEqual([1]);
		expect(stats.droppedQos0Pressure).toBe(1);
	});

	it("may continue to topics that keep a copy, and does nothing as a copy itself", async () => {
		const { publish, routes } = door(ROUTES);
		publish("both", "x");
		expect(volatile.map(({ topic }) => topic)).toEqual(["both"]);
		publish("late", "y");
		expect(volatile.length).toBe(1);
		const found = await records("t", routes);
		const seen = found.map((each) => [each.value?.toString(), each.seen]).toSorted();
		expect(seen).toEqual([
			["x", undefined],
			["y", "late"],
		]);
	});
});

/** What is told below `$SYS`, to whom and when, over a broker on a simulated disk; and that the documentation names all of it. */
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Engine } from "../../../bridge/mqtt/engine.ts";
import { LoadAverage } from "../../../bridge/mqtt/load-average.ts";
import { Session } from "../../../bridge/mqtt/session.ts";
import { RETAINED_PARTITION, type StoredEvent, VOLATILE_PARTITION } from "../../../bridge/mqtt/stored-event.ts";
import { Subscription } from "../../../bridge/mqtt/subscriptions.ts";
import { SysTopics } from "../../../bridge/mqtt/sys-topics.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { DEFAULTS } from "../../contract/mqtt/door.ts";

const DOCUMENT = path.resolve(import.meta.dirname, "../../../docs/from-mosquitto.md");
const INTERVAL_SECONDS = 10;

describe("load averages", () => {
	it("are those that mosquitto 2.0 shows", () => {
		// Two connections within two seconds, then none for two: what `mosquitto_sub -t '$SYS/#'` printed.
		const average = new LoadAverage();
		average.update(2, 2);
		expect(average.rates.map((rate) => rate.toFixed(2))).toEqual(["1.97", "0.40", "0.13"]);
		average.update(2, 2);
		expect(average.rates.map((rate) => rate.toFixed(2))).toEqual(["1.90", "0.40", "0.13"]);
	});

	it("come to the same for a steady rate, however often they are updated", () => {
		const intervals = fc.array(fc.double({ min: 0.1, max: 120, noNaN: true }), { minLength: 1, maxLength: 50 });
		fc.assert(
			fc.property(fc.integer({ min: 0, max: 100_000 }), intervals, (perSecond, seconds) => {
				const [often, once] = [new LoadAverage(), new LoadAverage()];
				let total = 0;
				for (const each of seconds) {
					total += each;
					often.update(total * perSecond, each);
				}
				once.update(total * perSecond, total);
				for (const [i, rate] of often.rates.entries()) expect(rate).toBeCloseTo(once.rates[i]!, 3);
			}),
		);
	});

	it("take no time for no rate", () => {
		const average = new LoadAverage();
		average.update(100, 0);
		expect(average.rates).toEqual([0, 0, 0]);
		average.update(100, 60);
		expect(average.rates[0]).toBeCloseTo(100 * (1 - Math.exp(-1)), 6);
	});
});

describe("topics below $SYS", () => {
	let clock: SimulatedClock;
	let broker: Broker;
	let engine: Engine;
	let sys: SysTopics;
	let tick: number;
	let delivered: { topic: string; text: string; partition: number; qos: number; retain: boolean }[];

	beforeEach(() => {
		clock = new SimulatedClock();
		const disk = new SimulatedDisk();
		disk.makeDirectory("/data");
		broker = Broker.open(
			{
				dataFolder: "/data",
				catalogLocation: { image: undefined, onCommit: () => {} },
				journal: { fileBytes: 1_048_576, filesMax: 4 },
				lingerMs: 0,
				memoryBudgetBytes: 1_000_000,
				retentionCheckMs: 3_600_000,
				defaultPartitions: 1,
				topicDefaults: {},
				onFailure: (error) => {
					throw error;
				},
			},
			{ disk, clock, random: new SimulatedRandom("broker"), logger: silentLogger },
		);
		engine = new Engine(broker, { ...DEFAULTS, listen: "", routes: [{ filter: "#", topic: "mqtt" }] });
		delivered = [];
		vi.spyOn(engine.deliveries, "deliverVolatile").mockImplementation((event) => {
			delivered.push(read(event));
		});
		sys = make(INTERVAL_SECONDS);
		tick = 0;
	});
	afterEach(async () => {
		const stopped = engine.stop().then(() => broker.stop());
		await clock.settle();
		await stopped;
	});

	function make(intervalSeconds: number): SysTopics {
		return new SysTopics(engine, { intervalSeconds, version: "1.2.3" });
	}

	function read(event: StoredEvent) {
		const { topicSource, topicStart, topicEnd, source, payloadStart, payloadEnd, partition, qos, retain } = event;
		const topic = topicSource.toString("utf8", topicStart, topicEnd);
		expect(event.topic).toBe(topic);
		return { topic, text: source.toString("utf8", payloadStart, payloadEnd), partition, qos, retain };
	}

	function subscribe(filter: string): Subscription<Session> {
		const subscription = new Subscription(new Session("c", 0), { filter, qos: 1 });
		engine.deliveries.subscribe(subscription);
		return subscription;
	}

	/** What is delivered in so many seconds. */
	async function pass(seconds: number): Promise<typeof delivered> {
		delivered = [];
		for (let i = 0; i < seconds; i++) {
			await clock.advance(1000);
			sys.publish(++tick);
		}
		return delivered;
	}

	const told = (name: string): string | undefined =>
		sys
			.matching(`$SYS/broker/${name}`)
			.map((event) => read(event).text)
			.at(-1);

	it("go out at every interval to those who subscribe, and then only what has changed", async () => {
		subscribe("$SYS/#");
		const first = await pass(INTERVAL_SECONDS);
		expect(first.map(({ topic }) => topic)).toContain("$SYS/broker/version");
		expect(new Set(first.map(({ topic }) => topic)).size).toBe(first.length);
		for (const each of first) {
			expect(each).toMatchObject({ partition: VOLATILE_PARTITION, qos: 0, retain: true });
		}
		expect(await pass(INTERVAL_SECONDS - 1)).toEqual([]);
		engine.stats.expired = 3;
		const second = (await pass(1)).map(({ topic, text }) => `${topic} ${text}`);
		expect(second).toContain("$SYS/broker/uptime 20 seconds");
		expect(second).toContain("$SYS/broker/publish/messages/dropped 3");
		expect(second).toContain("$SYS/broker/headwater/expired 3");
		expect(second.some((line) => line.includes("version") || line.includes("clients"))).toBe(false);
	});

	it("cost nothing while nobody subscribes to them", async () => {
		const looked = [vi.spyOn(broker.topics, "list"), vi.spyOn(broker.catalog, "lostRecords")];
		looked.push(vi.spyOn(broker.log, "scanState") as never);
		subscribe("#");
		subscribe("sensors/+");
		for (const spy of looked) spy.mockClear();
		expect(await pass(5 * INTERVAL_SECONDS)).toEqual([]);
		for (const spy of looked) expect(spy).not.toHaveBeenCalled();
		const subscription = subscribe("$SYS/broker/uptime");
		expect(await pass(INTERVAL_SECONDS)).not.toEqual([]);
		engine.deliveries.unsubscribe(subscription);
		expect(await pass(5 * INTERVAL_SECONDS)).toEqual([]);
	});

	it("are there at once for a new subscription, as retained messages", () => {
		const all = sys.matching("$SYS/#").map(read);
		expect(all.length).toBeGreaterThan(50);
		for (const each of all) expect(each).toMatchObject({ partition: RETAINED_PARTITION, qos: 0, retain: true });
		expect(sys.matching("$SYS/broker/clients/+").map((event) => read(event).topic)).toEqual(
			all.map(({ topic }) => topic).filter((topic) => /^\$SYS\/broker\/clients\/[^/]+$/.test(topic)),
		);
		for (const filter of ["#", "+/broker/uptime", "sensors/#", "$SYS", "$SYSTEM/#"]) {
			expect(sys.matching(filter), filter).toEqual([]);
		}
	});

	it("have for a new subscription what the others were told last, or the present where there are none", async () => {
		await pass(25);
		expect(told("uptime")).toBe("25 seconds");
		subscribe("$SYS/broker/uptime");
		await clock.advance(3000);
		expect(told("uptime")).toBe("25 seconds");
		tick += 3;
		expect((await pass(2)).find(({ topic }) => topic.endsWith("/uptime"))?.text).toBe("30 seconds");
		await pass(4);
		expect(told("uptime")).toBe("30 seconds");
	});

	it("do not exist with an interval of 0", async () => {
		sys = make(0);
		subscribe("$SYS/#");
		expect(await pass(20)).toEqual([]);
		expect(sys.matching("$SYS/#")).toEqual([]);
	});

	it("have mosquitto's form", async () => {
		await pass(1);
		expect(told("version")).toBe("headwater 1.2.3");
		expect(told("uptime")).toBe("1 seconds");
		for (const event of sys.matching("$SYS/#")) {
			const { topic, text } = read(event);
			if (topic.includes("/load/")) expect(text, topic).toMatch(/^-?\d+\.\d\d$/);
			else if (!/version|uptime/.test(topic)) expect(text, topic).toMatch(/^\d+$/);
		}
	});

	it("average what is counted, also while nobody subscribes", async () => {
		engine.stats.received[1] = 100;
		await pass(INTERVAL_SECONDS);
		expect(told("load/publish/received/1min")).toBe((600 * (1 - Math.exp(-1 / 6))).toFixed(2));
		expect(told("load/publish/received/15min")).toBe((600 * (1 - Math.exp(-1 / 90))).toFixed(2));
		await pass(60);
		expect(told("load/publish/received/1min")).toBe((600 * (1 - Math.exp(-1 / 6)) * Math.exp(-1)).toFixed(2));
	});

	it("remember the most clients there were at one time", async () => {
		for (const name of ["a", "b", "c"]) engine.clients.set(name, {} as never);
		await pass(1);
		engine.clients.clear();
		await pass(INTERVAL_SECONDS);
		expect(told("clients/connected")).toBe("0");
		expect(told("clients/maximum")).toBe("3");
	});

	it("count the sessions whose clients are away, and few rows in a second", async () => {
		const away = (clientId: string) => {
			const session = new Session(clientId, 3600);
			engine.sessions.save(session, engine.deliveries.cursorsOf(session), Number.POSITIVE_INFINITY);
		};
		for (let i = 0; i < 5000; i++) away(`client${i}`);
		await pass(INTERVAL_SECONDS);
		expect(told("clients/disconnected")).toBe("5000");
		expect(told("clients/total")).toBe("5000");
		away("another");
		sys.publish(2 * INTERVAL_SECONDS);
		expect(told("clients/disconnected")).toBe("5000");
		await pass(INTERVAL_SECONDS);
		expect(told("clients/inactive")).toBe("5001");
	});

	it("have every counter of the door", async () => {
		const names = sys.matching("$SYS/broker/headwater/+").map((event) => read(event).topic.split("/").at(-1)!);
		for (const [key, value] of Object.entries(engine.stats)) {
			const name = key.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
			if (typeof value === "number") expect(names).toContain(name);
			else if (Array.isArray(value)) expect(names).toContain(`${name}-qos2`);
		}
		engine.stats.overtakenByRetention = 7;
		engine.stats.received[2] = 9;
		await pass(INTERVAL_SECONDS);
		expect(told("headwater/overtaken-by-retention")).toBe("7");
		expect(told("headwater/received-qos2")).toBe("9");
	});

	it("are all in the documentation, and nothing else is", () => {
		const rows = fs.readFileSync(DOCUMENT, "utf8").match(/^\| `\$SYS\/[^|]*/gm) ?? [];
		const documented = rows.flatMap((row) =>
			[...row.matchAll(/`\$SYS\/broker\/([^`]+)`/g)].flatMap(([, name]) => windows(name!)),
		);
		const names = sys.matching("$SYS/#").map((event) => read(event).topic.slice("$SYS/broker/".length));
		expect(documented.sort()).toEqual(names.sort());
	});
});

/** A name of the documentation that stands for three. */
function windows(name: string): string[] {
	const three = "{1min,5min,15min}";
	return name.includes(three) ? ["1min", "5min", "15min"].map((window) => name.replace(three, window)) : [name];
}

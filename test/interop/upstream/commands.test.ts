/**
 * What Kafka's own producers, with transactions and without, send to a gateway by downlink topics arrives once and in order
 * over kills of either side. And what a link costs on which nothing happens, in bytes counted on the way.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { freePorts } from "../../../device-sim/gateway-process.ts";
import { Central, Operator } from "./central.ts";
import { Edge, numbers, perKey } from "./edge.ts";
import { Relay } from "./relay.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const IDLE_SECONDS = Number(process.env.UPSTREAM_IDLE_SECONDS ?? 10);
/** Of either idle link. */
const BYTES_A_MINUTE = 1000;
/** One long poll and its answer, or a refresh: in a short time one may fall upon it. */
const BYTES_AT_ONCE = 600;

interface IdleLink {
	readonly what: string;
	readonly relay: Relay;
	readonly edge: Edge;
	readonly sinceMs: number;
	readonly up: number;
	readonly down: number;
}

describe.skipIf(!kafka)("downlink from a real Kafka", () => {
	let central: Central;
	let operator: Operator;
	let edge: Edge;
	const relays: Relay[] = [];
	const idle: IdleLink[] = [];
	beforeAll(async () => {
		relays.push(await Relay.open(), await Relay.open());
		const ports = await freePorts(2);
		central = await Central.start({
			listeners: relays.map((relay, i) => `LINK${i}:PLAINTEXT:${ports[i]}:${relay.port}`),
		});
		operator = new Operator(central.bootstrap, kafkaClasses);
		await operator.out("topics", "--create --topic commands --partitions 3");
		await operator.out("topics", "--create --topic settings --partitions 1");
		await operator.out("topics", "--create --topic quiet --partitions 30");
		edge = await Edge.start(central.bootstrap, {
			"upstream.downlink": [
				{ topic: "commands", from: "earliest" },
				{ topic: "settings", key: "{gateway}", from: "earliest" },
			],
			"upstream.topics": ["telemetry"],
		});
		for (const [i, relay] of relays.entries()) {
			relay.leadTo(ports[i] as number);
			const isDown = i === 1;
			const downlink = isDown ? { "upstream.downlink": ["quiet"] } : {};
			const its = await Edge.start(relay.bootstrap, { "upstream.topics": ["telemetry"], ...downlink }, `idle-${i}`);
			idle.push({ what: "", relay, edge: its, sinceMs: 0, up: 0, down: 0 });
			await its.create("telemetry");
			await its.produce("telemetry", numbers(0, 10));
			await its.untilSent("telemetry");
			if (isDown) await its.until((status) => status.downlink[0]?.lag === 0);
			await sleep(1000);
			const what = isDown ? "upstream, and a downlink of 30 partitions" : "upstream alone";
			idle[i] = { what, relay, edge: its, sinceMs: performance.now(), up: relay.up, down: relay.down };
		}
	});
	afterAll(async () => {
		for (const { edge: its } of idle) await its.close();
		await edge?.close();
		await operator?.close();
		await central?.close();
		for (const relay of relays) await relay.close();
	});

	/** What is here is what is there: all, once, each key in its order. */
	async function expectAll(topic: string, count: number): Promise<void> {
		const deadline = performance.now() + 60_000;
		while (performance.now() < deadline && (await edge.stored(topic)).length < count) await sleep(200);
		const [here, there] = [await edge.stored(topic), await operator.read(topic)];
		expect(there).toHaveLength(count);
		expect(here).toHaveLength(count);
		expect(perKey(here)).toEqual(perKey(there));
		const whole = (records: readonly { key: string | null; value: string | null; timestamp: number }[]): string[] =>
			records.map(({ key, value, timestamp }) => JSON.stringify([key, value, timestamp])).sort();
		expect(whole(here)).toEqual(whole(there));
	}

	it("what a transactional producer commits comes once, while the gateway is killed again and again; aborted records never", async () => {
		let isOver = false;
		const writing = operator.out("TransactionalWriter", "commands writer 60 25").finally(() => {
			isOver = true;
		});
		let kills = 0;
		while (!isOver || kills < 4) {
			await sleep(300 + kills * 100);
			await edge.crash();
			kills++;
		}
		await writing;
		await expectAll("commands", 40 * 25);
		console.log(`downlink: the gateway was killed ${kills} times`);
	});

	it("and of a producer without transactions, where a rule wants one key; with headers, and null as it is", async () => {
		const reader = ["parse.headers=true", "parse.key=true", "null.marker=NULL"].map(
			(each) => `--reader-property ${each}`,
		);
		const lines = ["by:console\tline-3\ton", "by:console\tline-4\tnot mine", "NULL\tline-3\tNULL"];
		await operator.out("console-producer", `--topic settings ${reader.join(" ")}`, `${lines.join("\n")}\n`);
		await edge.until(({ downlink }) => downlink.some(({ topic, lag }) => topic === "settings" && lag === 0));
		await expect.poll(() => edge.stored("settings").catch(() => []), { timeout: 30_000 }).toHaveLength(2);
		expect(await edge.stored("settings")).toMatchObject([
			{ key: "line-3", value: "on", headers: [["by", "console"]] },
			{ key: "line-3", value: null, headers: [] },
		]);
		const { downlink } = await edge.status();
		expect(downlink.find(({ topic }) => topic === "settings")).toMatchObject({
			receivedRecords: 2,
			filteredRecords: 1,
		});
	});

	it("an idle link costs next to nothing", async () => {
		for (const { what, relay, sinceMs, up, down } of idle) {
			await sleep(Math.max(0, sinceMs + IDLE_SECONDS * 1000 - performance.now()));
			const minutes = (performance.now() - sinceMs) / 60_000;
			const bytes = relay.up - up + relay.down - down;
			console.log(
				`idle for ${(minutes * 60).toFixed(0)} s, ${what}: ${relay.up - up} bytes up, ${relay.down - down} down: ${Math.round(bytes / minutes)} a minute`,
			);
			expect(bytes).toBeLessThan(BYTES_AT_ONCE + BYTES_A_MINUTE * minutes);
		}
	});

	it("goes on when the broker was killed", async () => {
		await central.kill();
		await central.up();
		await operator.out("TransactionalWriter", "commands again 6 25");
		await expectAll("commands", 44 * 25);
	});
});

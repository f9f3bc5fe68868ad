/** What changes at the gateway: topics made anew, rules, partitions; pauses, windows and budgets; records deleted before they were sent. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import { Hub, numbers, Site } from "../../support/upstream-site.ts";

const DAY_MS = 86_400_000;
let hub: Hub;
let site: Site;

beforeEach(async () => {
	hub = await Hub.start();
});
afterEach(async () => {
	await site?.kill();
	await hub.stop();
});

async function startWith(values: readonly string[], settings: Record<string, unknown> = {}): Promise<void> {
	site = await Site.start(hub, { "upstream.topics": ["telemetry"], ...settings });
	site.create("telemetry", 1);
	await site.produce("telemetry", values);
}

describe("topics and rules", () => {
	it("a topic made anew here begins anew, and goes to the same one there", async () => {
		await startWith(numbers(0, 10));
		await site.untilSent();
		site.broker.topics.delete("telemetry");
		site.create("telemetry", 2);
		await site.produce("telemetry", numbers(10, 15));
		await site.untilSent();
		await site.restart("kill");
		await site.produce("telemetry", [{ value: "n15", partition: 1 }]);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 16));
	});

	it("another name there: what was sent under the old one is not sent again", async () => {
		await startWith(numbers(0, 10));
		await site.untilSent();
		await site.restart("stop", { "upstream.topics": [{ topic: "telemetry", to: "{gateway}.{topic}" }] });
		await site.produce("telemetry", numbers(10, 15));
		await site.untilSent();
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
		expect(await hub.values("line-3.telemetry")).toEqual(numbers(10, 15));
	});

	it("a topic that goes there no more, and later again, goes on where it was", async () => {
		await startWith(numbers(0, 10));
		await site.untilSent();
		await site.restart("kill", { "upstream.topics": ["alarms"] });
		await site.produce("telemetry", numbers(10, 15));
		await site.untilSent();
		await site.restart("kill", { "upstream.topics": ["alarms", "telemetry"] });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 15));
	});

	it("partitions that are added are sent from their start", async () => {
		await startWith(numbers(0, 10), { "upstream.topics": [{ topic: "telemetry", from: "latest" }] });
		await site.untilSent();
		site.broker.topics.alter("telemetry", { partitions: 3 });
		await site.produce("telemetry", [{ value: "n10", partition: 2 }]);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 11));
	});

	it("`from: latest` leaves out what was stored before, and nothing of a topic that is made later", async () => {
		await startWith([], { "upstream.topics": ["alarms"] });
		await site.produce("telemetry", numbers(0, 10));
		await site.until(({ state }) => state === "running");
		await site.restart("stop", { "upstream.topics": [{ topic: "*", from: "latest" }] });
		await site.produce("telemetry", numbers(10, 12));
		site.create("later", 1);
		await site.produce("later", ["all of it"]);
		await site.untilSent();
		expect([await hub.values("telemetry"), await hub.values("later")]).toEqual([numbers(10, 12), ["all of it"]]);
	});
});

describe("what is held back", () => {
	it("a pause lasts over a start", async () => {
		await startWith(numbers(0, 10));
		await site.untilSent();
		await site.upstream.pause();
		await site.restart("kill");
		await site.produce("telemetry", numbers(10, 12));
		await site.until(({ state, topics }) => state === "paused" && topics[0]?.lagRecords === 2);
		await site.upstream.resume();
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 12));
	});

	it("a closed window lets only high priority through", async () => {
		await startWith(numbers(0, 10), {
			"upstream.topics": ["telemetry", { topic: "alarms", priority: "high" }],
			// A minute of the year that is not now.
			"upstream.window": new Date().getMonth() === 0 ? "0 0 1 7 *" : "0 0 1 1 *",
		});
		site.create("alarms", 1);
		await site.produce("alarms", ["fire"]);
		const status = await site.until(({ state, total }) => state === "closed" && total.records === 1);
		expect(status.nextMs).toBeGreaterThan(site.clock.now());
		expect([await hub.values("alarms"), hub.partitionsOf("telemetry")]).toEqual([["fire"], 0]);
		await site.restart("stop", { "upstream.window": "" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
	});

	it("a day's budget that is used up leaves its reserve to high priority, and the rest waits for the next day", async () => {
		await startWith([], {
			"upstream.topics": ["telemetry", { topic: "alarms", priority: "high" }],
			"upstream.compression.type": "none",
			"uplink.bytes.per.day": 400_000,
			"uplink.reserve.percent": 40,
		});
		site.create("alarms", 1);
		const values = numbers(0, 300).map((value) => value.padEnd(1000, "."));
		for (let i = 0; i < 300; i += 10) await site.produce("telemetry", values.slice(i, i + 10));
		const held = await site.until(({ state }) => state === "budget");
		expect(held.nextMs).toBeGreaterThan(site.clock.now());
		const sent = held.total.records;
		expect(sent).toBeGreaterThan(50);
		expect(sent).toBeLessThan(240);
		await site.produce("alarms", ["fire"]);
		await site.until(({ topics }) => topics.find(({ topic }) => topic === "alarms")?.lagRecords === 0);
		expect(await hub.values("alarms")).toEqual(["fire"]);
		expect((await hub.values("telemetry")).length).toBe(sent);
		// A start does not give the day's bytes back.
		await site.restart("stop");
		await site.until(({ state }) => state === "budget");
		site.clock.advance(DAY_MS);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(values);
	});
});

describe("records that are gone before they were sent", () => {
	it("are in the ledger, and the status counts them", async () => {
		await startWith(numbers(0, 10));
		await site.untilSent();
		await site.upstream.pause();
		await site.produce("telemetry", numbers(10, 20));
		const [partition] = site.broker.topics.get("telemetry")?.partitions ?? [];
		if (partition === undefined) throw new Error("no partition");
		deleteRecordsBefore(site.broker.log, partition, 16);
		const { topics } = await site.upstream.status();
		expect(topics[0]).toMatchObject({ lostRecords: 6, lagRecords: 4 });
		expect(site.broker.catalog.losses()).toMatchObject([
			{ topic: "telemetry", partition: 0, firstOffset: 10, count: 6, reason: "deleted before they were sent upstream" },
		]);
		await site.upstream.resume();
		await site.untilSent();
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), ...numbers(16, 20)]);
		expect(site.broker.catalog.lostRecords()).toBe(6);
	});
});

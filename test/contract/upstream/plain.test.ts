/** What arrives at the central cluster is what is stored at the gateway: every part of a record, each record once, keys in order. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { type Given, Hub, numbers, Site } from "../../support/upstream-site.ts";

let hub: Hub;
let site: Site;

beforeEach(async () => {
	hub = await Hub.start();
});
afterEach(async () => {
	await site?.kill();
	await hub.stop();
});

const perKey = (records: readonly { key: Buffer | null; value: Buffer | null }[]): Record<string, string[]> =>
	Object.fromEntries(
		[...Map.groupBy(records, ({ key }) => String(key))]
			.map(([key, its]) => [key, its.map(({ value }) => String(value))] as const)
			.sort(([a], [b]) => (a < b ? -1 : 1)),
	);

describe("records", () => {
	it("arrive whole: keys, null values, headers, times; and in the order of their keys where the partitions differ", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"] });
		hub.create("telemetry", 5);
		site.create("telemetry", 3);
		const given = numbers(0, 3000).map((value, i): Given => {
			const key = `dev${i % 17}`;
			return { key, value, timestamp: 1_700_000_000_000 + i * 7, partition: partitionForKey(Buffer.from(key), 3) };
		});
		for (let i = 0; i < given.length; i += 100) await site.produce("telemetry", given.slice(i, i + 100));
		await site.produce("telemetry", [
			{ key: "dev0", value: null, headers: { "mqtt.topic": "sensors/dev0", empty: "" }, partition: 1 },
			{ key: null, value: "no key", partition: 2 },
			{ key: "", value: "", partition: 0 },
		]);
		await site.untilSent();
		const [here, there] = [await site.stored("telemetry"), await hub.records("telemetry")];
		expect(there).toHaveLength(3003);
		expect(perKey(there)).toEqual(perKey(here));
		const whole = ({ key, value, headers, timestamp }: (typeof here)[number]): string =>
			JSON.stringify([key?.toString(), value?.toString(), headers.map((h) => [h.key, String(h.value)]), timestamp]);
		expect(there.map(whole).sort()).toEqual(here.map(whole).sort());
		for (const { key, partition } of there) expect(partition).toBe(key === null ? 2 : partitionForKey(key, 5));
	});

	it("of aborted transactions stay here, and those of open ones wait", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"] });
		const [partition] = site.create("telemetry", 1).partitions;
		if (partition === undefined) throw new Error("no partition");
		const writer = new TransactionalWriter(site.broker, "w");
		await writer.write(partition, "k", "aborted 1", "aborted 2");
		await writer.end("abort");
		await site.produce("telemetry", ["plain"]);
		await writer.write(partition, "k", "committed");
		await site.produce("telemetry", ["behind an open one"]);
		await site.until(({ total }) => total.records === 1);
		expect(await hub.values("telemetry")).toEqual(["plain"]);
		await writer.end("commit");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(["plain", "committed", "behind an open one"]);
		expect((await site.stored("telemetry")).map(({ value }) => String(value))).toEqual(await hub.values("telemetry"));
	});
});

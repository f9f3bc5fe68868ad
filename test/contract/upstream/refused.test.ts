/** Records that the central cluster does not take are kept aside here, once, and the rest flows on. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Given, Hub, numbers, Site } from "../../support/upstream-site.ts";

const MONTH_MS = 30 * 86_400_000;
const QUARANTINE = "__headwater_quarantine";
let hub: Hub;
let site: Site;

beforeEach(async () => {
	hub = await Hub.start();
});
afterEach(async () => {
	await site?.kill();
	await hub.stop();
});

/** What a batch of 1,000 bytes does not take, and what is of a time that is not yet. */
function mixed(): { given: Given[]; bad: string[]; good: string[] } {
	const given = numbers(0, 200).map((value, i): Given => {
		if (i === 20 || i === 130) return { value: value.padEnd(5000, "!") };
		return i === 77 || i === 199 ? { value, timestamp: Date.now() + MONTH_MS } : { value };
	});
	const isBad = (_: unknown, i: number): boolean => [20, 77, 130, 199].includes(i);
	const values = given.map(({ value }) => String(value));
	return { given, bad: values.filter(isBad), good: values.filter((value, i) => !isBad(value, i)) };
}

async function start(): Promise<void> {
	hub.create("telemetry", 1, { "max.message.bytes": "4000", "message.timestamp.after.max.ms": "3600000" });
	site = await Site.start(hub, { "upstream.topics": ["telemetry", "alarms"], "upstream.compression.type": "none" });
	site.create("telemetry", 1, { "message.timestamp.after.max.ms": String(2 * MONTH_MS) });
	site.create("alarms", 1);
}

async function held(): Promise<{ value: string; offset: number; reason: string }[]> {
	return (await site.stored(QUARANTINE))
		.map(({ value, headers }) => {
			const text = (name: string): string => String(headers.find(({ key }) => key === `headwater.${name}`)?.value);
			expect([text("topic"), text("partition")]).toEqual(["telemetry", "0"]);
			return { value: String(value), offset: Number(text("offset")), reason: text("reason") };
		})
		.sort((a, b) => a.offset - b.offset);
}

describe("a topic that takes only small records of about now", () => {
	it("gets all that it takes; the others are in quarantine, with the reason, and in the ledger", async () => {
		await start();
		const { given, bad, good } = mixed();
		await site.produce("telemetry", given);
		await site.produce("alarms", ["fire"]);
		const status = await site.untilSent();
		expect(status.problem).toBeUndefined();
		expect(status.topics.find(({ topic }) => topic === "telemetry")).toMatchObject({
			...{ quarantinedRecords: 4, lagRecords: 0, problem: undefined },
		});
		expect(await hub.values("telemetry")).toEqual(good);
		expect(await hub.values("alarms")).toEqual(["fire"]);
		const aside = await held();
		expect(aside.map(({ value }) => value)).toEqual(bad);
		expect(aside.map(({ offset }) => offset)).toEqual([20, 77, 130, 199]);
		for (const { value, reason } of aside)
			expect(reason).toMatch(value.length > 100 ? /TOO_LARGE|large/i : /timestamp/i);
		expect(site.broker.catalog.lostRecords()).toBe(4);
		expect(site.broker.catalog.losses().map(({ firstOffset, count }) => [firstOffset, count])).toEqual(
			[20, 77, 130, 199].map((offset) => [expect.toSatisfy((at) => at === offset), 1]).sort(),
		);
	});

	it("is the same when the gateway is killed each time that one has been put aside", async () => {
		await start();
		const { given, bad, good } = mixed();
		await site.produce("telemetry", given);
		const aside = (): number => site.broker.topics.get(QUARANTINE)?.partitions[0]?.highWatermark ?? 0;
		for (let count = 1; count <= 4; count++) {
			await site.until(() => aside() >= count);
			await site.restart("kill");
		}
		await site.untilSent();
		expect((await held()).map(({ value }) => value)).toEqual(bad);
		expect(await hub.values("telemetry")).toEqual(good);
		expect(site.broker.catalog.lostRecords()).toBe(4);
	});
});

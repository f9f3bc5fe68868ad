/** Both ends are killed while records come in: nothing is missing, and nothing comes twice; and what comes first after an outage. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Hub, numbers, Site } from "../../support/upstream-site.ts";

let hub: Hub;
let site: Site;

beforeEach(async () => {
	hub = await Hub.start();
});
afterEach(async () => {
	await site?.kill();
	await hub.stop();
});

const tick = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Records come in while hub and gateway are killed in turn, at other moments each time. Returns their values. */
async function rough(rounds: number): Promise<string[]> {
	let next = 0;
	const produceSome = async (count: number): Promise<void> => {
		await site.produce(
			"telemetry",
			numbers(next, next + count).map((value, i) => ({ key: `k${i % 3}`, value })),
		);
		next += count;
	};
	for (let round = 0; round < rounds; round++) {
		await produceSome(20);
		await tick((round * 7) % 40);
		if (round % 2 === 0) {
			await hub.restart(async () => {
				await produceSome(20);
				await tick(10);
			});
		} else {
			await site.restart("kill");
		}
		await produceSome(20);
		// Pauses between attempts grow to minutes.
		site.clock.advance(60_000);
	}
	return numbers(0, next);
}

describe("hub and gateway killed again and again", () => {
	it("each record arrives once, in order", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"] });
		site.create("telemetry", 1);
		const values = await rough(10);
		await site.hurried(site.untilSent());
		expect(await hub.values("telemetry")).toEqual(values);
		expect((await site.stored("telemetry")).map(({ value }) => String(value))).toEqual(values);
	});

	it("at-least-once: nothing is missing, and the progress topic is not needed", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"], "upstream.mode": "at-least-once" });
		site.create("telemetry", 1);
		const values = await rough(6);
		await site.hurried(site.untilSent());
		const arrived = await hub.values("telemetry");
		expect([...new Set(arrived)].sort()).toEqual(values.toSorted());
		expect(hub.partitionsOf("__headwater_progress")).toBe(0);
	});
});

describe("without transactions", () => {
	it("a topic made anew there is noticed, and a reset does what it says", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"], "upstream.mode": "at-least-once" });
		site.create("telemetry", 1);
		await site.produce("telemetry", numbers(0, 10));
		await site.untilSent();
		await site.stop();
		hub.delete("telemetry");
		await site.start();
		await site.produce("telemetry", numbers(10, 12));
		await site.until(({ topics }) => topics.some(({ problem }) => /made anew/.test(problem?.message ?? "")));
		expect(await site.plan({ to: "progress" })).toMatchObject([{ from: 10, to: 10, skippedRecords: 0 }]);
		await site.reset({ to: "earliest", topic: "telemetry" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 12));
	});

	it("and with them from then on: nothing comes twice", async () => {
		site = await Site.start(hub, { "upstream.topics": ["telemetry"], "upstream.mode": "at-least-once" });
		site.create("telemetry", 1);
		await site.produce("telemetry", numbers(0, 10));
		await site.untilSent();
		await site.restart("stop", { "upstream.mode": "exactly-once" });
		await site.produce("telemetry", numbers(10, 12));
		const { topics } = await site.untilSent();
		expect(topics[0]?.problem).toBeUndefined();
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 12));
	});
});

describe("after an outage", () => {
	it("live-first sends what comes now, then what waited, each record once", async () => {
		site = await Site.start(hub, {
			"upstream.topics": [{ topic: "telemetry", order: "live-first" }],
			"upstream.batch.bytes": 65_536,
			"upstream.transaction.bytes": 65_536,
		});
		site.create("telemetry", 1);
		await site.produce("telemetry", ["first"]);
		await site.untilSent();
		await hub.gateway.kill();
		const waited = numbers(0, 12_000).map((value) => value.padEnd(200, "."));
		for (let i = 0; i < waited.length; i += 500) await site.produce("telemetry", waited.slice(i, i + 500));
		await hub.comeBack();
		site.clock.advance(600_000);
		await site.until(
			({ topics: [telemetry] }) => (telemetry?.backfillRecords ?? 0) > 0 && (telemetry?.sentRecords ?? 0) > 1,
		);
		await site.produce("telemetry", ["live"]);
		const { sentRecords = 0 } = (await site.upstream.status()).topics[0] ?? {};
		await site.until(({ total }) => total.records > 2000);
		await site.restart("kill");
		await site.untilSent();
		const arrived = await hub.values("telemetry");
		expect(arrived.filter((value) => value !== "live")).toEqual(["first", ...waited]);
		// A transaction may have been under way.
		expect(arrived.indexOf("live")).toBeLessThan(sentRecords + 1000);
	});
});

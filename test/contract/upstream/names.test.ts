/** Who may send under a gateway's name: a second gateway, a copied data directory and a new one are recognised, and a reset says what it does. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Hub, numbers, Site } from "../../support/upstream-site.ts";

const TOPICS = { "upstream.topics": ["telemetry"] };
let hub: Hub;
const sites: Site[] = [];

beforeEach(async () => {
	hub = await Hub.start();
});
afterEach(async () => {
	for (const site of sites.splice(0)) await site.kill();
	await hub.stop();
});

async function start(copyOf?: Site): Promise<Site> {
	const site = await Site.start(hub, TOPICS, copyOf);
	sites.push(site);
	return site;
}

async function startWith(values: readonly string[]): Promise<Site> {
	const site = await start();
	site.create("telemetry", 1);
	await site.produce("telemetry", values);
	return site;
}

describe("two gateways with one name", () => {
	it("the second stops with the explanation, and the first goes on", async () => {
		const first = await startWith(numbers(0, 10));
		await first.untilSent();
		const second = await startWith(["other"]);
		expect((await second.untilHalted()).problem).toMatchObject({
			message:
				"another data directory has replicated as gateway line-3: this one is new, or two gateways have the same gateway.id",
			action: expect.stringMatching(
				/^if it replaces the other: headwater upstream reset --to earliest .* set another gateway\.id$/,
			),
		});
		await first.produce("telemetry", numbers(10, 20));
		await first.untilSent();
		await second.upstream.resume();
		await second.untilHalted();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 20));
	});

	it("where the second takes the name over, the first stops, and what it sends arrives as a whole or not at all", async () => {
		const first = await startWith(numbers(0, 10));
		await first.untilSent();
		const second = await startWith(["other"]);
		await second.untilHalted();
		expect(await second.plan({ to: "earliest" })).toMatchObject([{ topic: "telemetry", partition: 0, to: 0 }]);
		await second.reset({ to: "earliest" });
		await second.untilSent();
		await first.produce("telemetry", numbers(10, 20));
		await first.hurried(
			first.until(({ problem }) =>
				/^somebody else has begun to use transactional id headwater-line-3/.test(problem?.message ?? ""),
			),
		);
		const { problem } = await first.hurried(first.untilHalted());
		expect(problem?.message).toMatch(/^another data directory has replicated as gateway line-3/);
		await second.produce("telemetry", ["more"]);
		await second.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), "other", "more"]);
	});
});

describe("a copied data directory", () => {
	it("is recognised, whichever of the two starts first", async () => {
		const first = await startWith(numbers(0, 10));
		await first.untilSent();
		await first.stop();
		const copy = await start(first);
		await copy.produce("telemetry", ["copy"]);
		await copy.untilSent();
		await first.start();
		expect((await first.untilHalted()).problem).toMatchObject({
			message: expect.stringMatching(/^a copy of this data directory has replicated as gateway line-3: a copied card/),
			action: expect.stringMatching(/stop the other one and here: headwater upstream reset --to progress$/),
		});
		await first.produce("telemetry", ["own"]);
		await copy.kill();
		// The cluster has another record of the same offset: it is the copy's, and says nothing about this one.
		expect(await first.plan({ to: "progress" })).toMatchObject([
			{ from: 10, to: 10, againRecords: 0, skippedRecords: 0 },
		]);
		await first.restart("stop");
		await first.untilHalted();
		await first.reset({ to: "progress" });
		await first.produce("telemetry", ["own 2"]);
		await first.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), "copy", "own", "own 2"]);
	});

	it("that is a backup put back keeps what was stored since", async () => {
		const first = await startWith(numbers(0, 10));
		await first.untilSent();
		await first.stop();
		const backup = await start(first);
		await backup.kill();
		await first.start();
		await first.produce("telemetry", numbers(10, 30));
		await first.untilSent();
		await first.kill();
		await backup.start();
		await backup.produce("telemetry", numbers(30, 35));
		await backup.untilHalted();
		await backup.plan({ to: "progress" });
		await backup.reset({ to: "progress" });
		await backup.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 35));
	});

	it("is recognised while both run", async () => {
		const first = await startWith(numbers(0, 10));
		await first.untilSent();
		await first.stop();
		const copy = await start(first);
		await first.start();
		const halted = (site: Site) => site.hurried(site.untilHalted()).then(() => site);
		const stopped = await Promise.any([halted(copy), halted(first)]);
		const other = stopped === first ? copy : first;
		await other.produce("telemetry", ["goes on"]);
		await other.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), "goes on"]);
	});
});

describe("a gateway that gets another name", () => {
	it("stops, and after a reset to what it knows goes on under the new one", async () => {
		const site = await startWith(numbers(0, 10));
		await site.untilSent();
		await site.restart("stop", { "gateway.id": "line-4" });
		await site.produce("telemetry", numbers(10, 12));
		const { problem } = await site.untilHalted();
		expect(problem).toMatchObject({
			message: "this data directory has replicated as gateway line-3, and gateway.id is line-4 now",
			action: expect.stringMatching(/^put gateway\.id back; or, .*reset --to local goes on where it was/),
		});
		await site.reset({ to: "local" });
		await site.untilSent();
		await site.restart("kill");
		await site.produce("telemetry", ["n12"]);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 13));
	});
});

describe("a new data directory under an old name", () => {
	async function replaced(): Promise<Site> {
		const old = await startWith(numbers(0, 10));
		await old.untilSent();
		await old.stop();
		const site = await startWith(numbers(100, 105));
		await site.untilHalted();
		return site;
	}

	it.each([
		["earliest", { to: 0, againRecords: 0, skippedRecords: 0 }, numbers(100, 106)],
		["latest", { to: 5, againRecords: 0, skippedRecords: 5 }, numbers(105, 106)],
		["progress", { to: 0, againRecords: 0, skippedRecords: 0 }, numbers(100, 106)],
		["local", { to: 0, againRecords: 0, skippedRecords: 0 }, numbers(100, 106)],
	] as const)("reset --to %s says what it does, and does it", async (to, step, sent) => {
		const site = await replaced();
		expect(await site.plan({ to })).toEqual([{ topic: "telemetry", partition: 0, from: undefined, ...step }]);
		expect((await site.upstream.status()).state).toBe("halted");
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
		expect(await site.reset({ to })).toMatchObject([step]);
		await site.produce("telemetry", ["n105"]);
		await site.untilSent();
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), ...sent]);
	});
});

describe("a reset of a gateway that is known", () => {
	it.each([
		["earliest", { from: 10, to: 0, againRecords: 10, skippedRecords: 0 }, numbers(0, 15)],
		["latest", { from: 10, to: 15, againRecords: 0, skippedRecords: 5 }, []],
		["progress", { from: 10, to: 10, againRecords: 0, skippedRecords: 0 }, numbers(10, 15)],
		["local", { from: 10, to: 10, againRecords: 0, skippedRecords: 0 }, numbers(10, 15)],
	] as const)("--to %s, while it is paused", async (to, step, sent) => {
		const site = await startWith(numbers(0, 10));
		await site.untilSent();
		await site.upstream.pause();
		await site.produce("telemetry", numbers(10, 15));
		expect(await site.plan({ to })).toEqual([{ topic: "telemetry", partition: 0, ...step }]);
		expect(await site.plan({ to })).toEqual([{ topic: "telemetry", partition: 0, ...step }]);
		expect(await site.reset({ to })).toMatchObject([step]);
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
		await site.restart("kill");
		await site.upstream.resume();
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual([...numbers(0, 10), ...sent]);
	});
});

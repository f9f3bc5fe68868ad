/** The central cluster is not what it was: topics missing or made anew, its progress topic gone or of the wrong kind, another cluster at its address. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Hub, numbers, Site } from "../../support/upstream-site.ts";

const PROGRESS = "__headwater_progress";
/** Metadata of topics is asked for anew after so long; and a topic that was refused is tried anew. */
const LOOKS_AGAIN_MS = 301_000;
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
	site = await Site.start(hub, { "upstream.topics": ["telemetry", "alarms"], ...settings });
	site.create("telemetry", 1);
	site.create("alarms", 1);
	await site.produce("telemetry", values);
	await site.untilSent();
}

const untilProblem = (message: RegExp) =>
	site.until(({ topics }) => topics.some(({ problem }) => message.test(problem?.message ?? "")));

describe("a topic of the cluster", () => {
	it("made anew while the gateway runs is noticed, others flow on, and a reset goes on", async () => {
		await startWith(numbers(0, 10));
		hub.delete("telemetry");
		hub.create("telemetry", 1);
		site.clock.advance(LOOKS_AGAIN_MS);
		await site.produce("telemetry", numbers(10, 12));
		const status = await untilProblem(/^topic telemetry of the central cluster was deleted and made anew/);
		expect(status.topics.find(({ topic }) => topic === "telemetry")?.problem?.action).toMatch(
			/^headwater upstream reset --topic telemetry --to progress sends what follows, --to earliest all/,
		);
		await site.produce("alarms", ["fire"]);
		await site.until(({ topics }) => topics.find(({ topic }) => topic === "alarms")?.lagRecords === 0);
		expect(await hub.values("alarms")).toEqual(["fire"]);
		expect(await hub.values("telemetry")).toEqual([]);
		expect(await site.plan({ topic: "telemetry", to: "earliest" })).toMatchObject([{ to: 0, againRecords: 10 }]);
		await site.reset({ topic: "telemetry", to: "progress" });
		await site.untilSent();
		await site.restart("kill");
		await site.produce("telemetry", ["n12"]);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(10, 13));
	});

	it("deleted while the gateway runs is made anew, and nothing goes there before a person has decided", async () => {
		await startWith(numbers(0, 10));
		hub.delete("telemetry");
		await site.produce("telemetry", numbers(10, 12));
		// It is missing for ten seconds before that is believed, and is tried again a minute later.
		const missing = await site.hurried(site.until(({ topics }) => topics.some(({ problem }) => problem !== undefined)));
		expect(missing.topics.find(({ topic }) => topic === "telemetry")?.problem?.message).toMatch(/telemetry/);
		await site.upstream.resume();
		await untilProblem(/was deleted and made anew/);
		await site.reset({ topic: "telemetry", to: "earliest" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 12));
	});

	it("made anew while the gateway was off is noticed at the start", async () => {
		await startWith(numbers(0, 10));
		await site.stop();
		hub.delete("telemetry");
		hub.create("telemetry", 2);
		await site.start();
		await site.produce("telemetry", numbers(10, 12));
		await untilProblem(/was deleted and made anew/);
		expect(await hub.values("telemetry")).toEqual([]);
		await site.reset({ topic: "telemetry", to: "earliest" });
		await site.untilSent();
		expect((await hub.values("telemetry")).sort()).toEqual(numbers(0, 12).sort());
	});

	it("that others have to make is named with the command, and is found once it is there", async () => {
		hub.create(PROGRESS, 2, { "cleanup.policy": "compact" });
		await startWith(numbers(0, 10), { "upstream.create.topics": "false" });
		const { topics } = await untilProblem(/telemetry/);
		expect(topics.find(({ topic }) => topic === "telemetry")?.problem?.action).toMatch(
			/kafka-topics\.sh .*--create --topic telemetry --partitions 1/,
		);
		hub.create("telemetry", 1);
		await site.upstream.resume();
		await site.until(({ topics: its }) => its.every(({ lagRecords }) => lagRecords === 0));
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
	});
});

describe("a reset", () => {
	it("is possible while a topic is missing there", async () => {
		hub.create(PROGRESS, 2, { "cleanup.policy": "compact" });
		hub.create("alarms", 1);
		await startWith(numbers(0, 10), { "upstream.create.topics": "false" });
		await site.reset({ to: "earliest" });
		await untilProblem(/telemetry/);
		hub.create("telemetry", 1);
		await site.upstream.resume();
		await site.until(({ topics }) => topics.every(({ lagRecords }) => lagRecords === 0));
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
	});

	it("says at once that the cluster is away, and changes nothing", async () => {
		await startWith(numbers(0, 10));
		await hub.gateway.kill();
		await expect(site.plan({ to: "earliest" })).rejects.toThrow(/^nothing listens at /);
		await expect(site.reset({ to: "earliest" })).rejects.toThrow(/^nothing listens at /);
		await hub.comeBack();
		await site.produce("telemetry", ["n10"]);
		await site.hurried(site.untilSent());
		expect(await hub.values("telemetry")).toEqual(numbers(0, 11));
	});
});

describe("the progress topic", () => {
	it("deleted while the gateway was off: it stops, and a reset to what it knows goes on", async () => {
		await startWith(numbers(0, 10));
		await site.stop();
		hub.delete(PROGRESS);
		await site.start();
		const { problem } = await site.untilHalted();
		expect(problem?.message).toMatch(/^topic __headwater_progress of the central cluster was deleted and made anew/);
		expect(problem?.action).toMatch(/^headwater upstream reset --to local goes on where this gateway knows it was/);
		await site.produce("telemetry", numbers(10, 12));
		await site.reset({ to: "local" });
		await site.untilSent();
		await site.restart("kill");
		await site.produce("telemetry", ["n12"]);
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 13));
	});

	it("deleted while the gateway runs: it stops, and a reset to what it knows sends nothing twice", async () => {
		await startWith(numbers(0, 10));
		hub.delete(PROGRESS);
		await site.produce("telemetry", numbers(10, 12));
		const { problem } = await site.hurried(site.untilHalted());
		expect(problem?.message).toMatch(/^topic __headwater_progress of the central cluster was deleted/);
		await site.reset({ to: "local" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 12));
	});

	it("that would forget is not used", async () => {
		hub.create(PROGRESS, 2, { "cleanup.policy": "delete" });
		site = await Site.start(hub, { "upstream.topics": ["telemetry"] });
		site.create("telemetry", 1);
		await site.produce("telemetry", numbers(0, 10));
		const { problem } = await site.untilHalted();
		expect(problem).toMatchObject({
			message: expect.stringContaining("has cleanup.policy=delete"),
			action: expect.stringMatching(
				/^kafka-configs\.sh .*--entity-name __headwater_progress --add-config cleanup\.policy=compact/,
			),
		});
		hub.gateway.broker.topics.alter(PROGRESS, { set: { "cleanup.policy": "compact" } });
		await site.upstream.resume();
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
	});
});

describe("another cluster at the same address", () => {
	async function replaceHub(): Promise<void> {
		const { port } = hub;
		await hub.stop();
		hub = await Hub.start(port);
	}

	it.each([
		["earliest", numbers(0, 12)],
		["local", numbers(10, 12)],
	] as const)("is noticed at a start; reset --to %s goes on with it", async (to, sent) => {
		await startWith(numbers(0, 10));
		await site.stop();
		await replaceHub();
		await site.start();
		const { problem } = await site.untilHalted();
		expect(problem?.message).toMatch(/^the central cluster is .{22}, and this gateway has replicated to .{22}$/);
		expect(hub.gateway.broker.topics.list().map(({ name }) => name)).toEqual([]);
		await site.produce("telemetry", numbers(10, 12));
		await site.reset({ to });
		await site.untilSent();
		await site.restart("kill");
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(sent);
	});

	it("is noticed while the gateway runs, before anything goes there", async () => {
		await startWith(numbers(0, 10));
		await replaceHub();
		hub.create("telemetry", 1);
		hub.create(PROGRESS, 2, { "cleanup.policy": "compact" });
		await site.produce("telemetry", numbers(10, 12));
		const { problem } = await site.untilHalted();
		expect(problem?.message).toMatch(/^the central cluster is .{22}, and this gateway has replicated to .{22}$/);
		expect(await hub.values("telemetry")).toEqual([]);
		await site.reset({ to: "local" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(10, 12));
	});
});

describe("a cluster that was put back to an earlier state", () => {
	it("is noticed, also at a second start, and a reset sends again what it lost", async () => {
		await startWith(numbers(0, 10));
		await hub.gateway.kill();
		const before = { files: hub.gateway.disk.files(), image: hub.gateway.catalogImage };
		await hub.comeBack();
		await site.produce("telemetry", numbers(10, 20));
		await site.untilSent();
		await site.stop();
		await hub.putBack(before);
		await site.start();
		const { problem } = await site.untilHalted();
		expect(problem).toMatchObject({
			message: expect.stringMatching(/put back to an earlier state$/),
			action: "headwater upstream reset --to progress sends again what it lost",
		});
		await site.restart("stop");
		await site.untilHalted();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 10));
		await site.reset({ to: "progress" });
		await site.untilSent();
		expect(await hub.values("telemetry")).toEqual(numbers(0, 20));
	});
});

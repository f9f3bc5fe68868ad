/** A commit that arrived and whose answer did not, while a person looks into it: what was sent is there once all the same. */
import { afterEach, expect, it, vi } from "vitest";
import { LinkError } from "../../bridge/upstream/client/link-error.ts";
import { Producer } from "../../bridge/upstream/client/producer.ts";
import { Session } from "../../bridge/upstream/session.ts";
import type { Upstream } from "../../bridge/upstream/upstream.ts";
import { UpstreamLife } from "./upstream-life.ts";

const { commit } = Producer.prototype;

afterEach(() => {
	vi.restoreAllMocks();
});

/** The name is claimed, then three records are on their way, and the link is cut with their commit. */
async function inDoubt(): Promise<UpstreamLife> {
	const life = new UpstreamLife({ seed: "doubt" });
	await life.begin(true);
	life.world.broker.topics.create({ name: "telemetry", partitions: 1 });
	await life.clock.advance(30_000);
	vi.spyOn(Producer.prototype, "commit").mockImplementationOnce(async function (this: Producer, signal) {
		await commit.call(this, signal);
		life.model.cutLink("with resets");
		throw new LinkError("lost", "the link is cut", { maybeSent: true });
	});
	for (let i = 0; i < 3; i++) life.append("telemetry", 10);
	await life.clock.advance(10_000);
	expect(life.model.committed("gw.telemetry", 0)).toHaveLength(3);
	return life;
}

async function goesOn(life: UpstreamLife): Promise<void> {
	life.model.restoreLink();
	life.append("telemetry", 10);
	await life.settle();
	const values = life.model.committed("gw.telemetry", 0).map(({ value }) => String(value));
	expect(values).toEqual([...new Set(values)]);
	expect(values).toHaveLength(4);
}

const plan = (life: UpstreamLife, dryRun: boolean, topic?: string) =>
	(life.upstream as Upstream).reset({ topic, to: "progress", dryRun }).then(
		() => "done",
		(error: unknown) => String(error),
	);

it.each([
	["the plan of a reset", true, undefined],
	["the plan of a topic's reset", true, "telemetry"],
	["a reset", false, undefined],
	["a topic's reset", false, "telemetry"],
])("%s that fails on the cut link changes nothing about it", async (_what, dryRun, topic) => {
	const life = await inDoubt();
	const answer = plan(life, dryRun, topic);
	await life.clock.advance(200_000);
	expect(await answer).toMatch(/kafka-/);
	await goesOn(life);
});

it("where the halt that came of it is ended by a person, it is looked up", async () => {
	const life = await inDoubt();
	const { open } = Session.prototype;
	const { Halt } = await import("../../bridge/upstream/progress/judge.ts");
	vi.spyOn(Session.prototype, "open").mockImplementationOnce(async () => {
		throw new Halt("somebody is said to have the name", "headwater upstream resume");
	});
	await life.clock.advance(400_000);
	expect((await life.status()).state).toBe("halted");
	vi.spyOn(Session.prototype, "open").mockImplementation(open);
	await life.world.finish((life.upstream as Upstream).resume());
	await goesOn(life);
});

it("a topic's reset to the progress goes on behind what this run has sent", async () => {
	const life = new UpstreamLife({ seed: "progress" });
	await life.begin(true);
	life.world.broker.topics.create({ name: "telemetry", partitions: 1 });
	for (let i = 0; i < 3; i++) life.append("telemetry", 10);
	await life.clock.advance(30_000);
	const answer = plan(life, false, "telemetry");
	await life.clock.advance(10_000);
	expect(await answer).toBe("done");
	await goesOn(life);
});

it("a topic that waits for a person waits for him after the next start too", async () => {
	const life = new UpstreamLife({ seed: "undecided" });
	await life.begin(true);
	for (const name of ["telemetry", "alarms"]) life.world.broker.topics.create({ name, partitions: 1 });
	for (let i = 0; i < 3; i++) life.append("telemetry", 10);
	life.append("alarms", 10);
	await life.clock.advance(60_000);
	const { id } = life.world.broker.topics.get("telemetry") as { id: string };
	const toId = life.model.topics.get("gw.telemetry")?.id;
	// As where this log was put back to an earlier state.
	await life.writeProgress("gw", "sent/gw/telemetry/0", {
		...{ next: 1000, epoch: 0, incarnation: 1, topicId: id, to: "gw.telemetry", toId },
	});
	for (let start = 0; start < 2; start++) {
		await life.restart();
		life.append("telemetry", 10);
		life.append("alarms", 10);
		await life.clock.advance(90_000);
		const { topics } = await life.status();
		expect(topics.find(({ topic }) => topic === "telemetry")?.problem?.message).toMatch(
			/up to 1000, and this log ends/,
		);
		expect(topics.find(({ topic }) => topic === "alarms")?.lagRecords).toBe(0);
	}
	expect(life.model.committed("gw.telemetry", 0)).toHaveLength(3);
});

it("progress that nobody can read halts, and a reset gets over it", async () => {
	const life = new UpstreamLife({ seed: "unreadable" });
	await life.begin(true);
	life.world.broker.topics.create({ name: "telemetry", partitions: 1 });
	for (let i = 0; i < 3; i++) life.append("telemetry", 10);
	await life.clock.advance(60_000);
	await life.writeProgress("gw", "sent/gw/telemetry/0", { next: "three" });
	await life.restart(true);
	await life.clock.advance(10_000);
	expect((await life.status()).problem?.message).toMatch(/cannot be read/);
	const answer = (life.upstream as Upstream).reset({ topic: undefined, to: "local", dryRun: false });
	await life.clock.advance(20_000);
	expect(await answer).toMatchObject([{ to: 3, againRecords: 0 }]);
	await life.restart(true);
	await goesOn(life);
});

it("a progress topic that was deleted while a commit is in doubt halts, and says so", async () => {
	const life = await inDoubt();
	life.model.deleteTopic("__headwater_progress");
	life.model.restoreLink();
	await life.clock.advance(300_000);
	const { state, problem } = await life.status();
	expect([state, problem?.message]).toEqual(["halted", expect.stringMatching(/was deleted and made anew/)]);
});

it.each([
	["the same run", false],
	["the next run", true],
])("what the cluster leaves open of a transaction that took too long is closed by %s", async (_which, restarts) => {
	const life = new UpstreamLife({ seed: "left open" });
	await life.begin(true);
	life.world.broker.topics.create({ name: "telemetry", partitions: 1 });
	await life.clock.advance(30_000);
	vi.spyOn(Producer.prototype, "commit").mockImplementationOnce(async () => {
		life.model.setFaults({ forgottenAbort: 1 });
		life.model.cutLink("silently");
		throw new LinkError("lost", "the link is cut", { maybeSent: true });
	});
	for (let i = 0; i < 3; i++) life.append("telemetry", 10);
	await life.clock.advance(90_000);
	expect(life.model.committed("gw.telemetry", 0)).toHaveLength(0);
	if (restarts) await life.restart();
	await goesOn(life);
});

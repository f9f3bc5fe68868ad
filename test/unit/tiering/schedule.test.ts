/** When runs begin: by cron, by what is pending, in a window; and what a clock that steps may not do to it. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Schedule, type ScheduleOptions, scheduleProblem } from "../../../tiering/upload/schedule.ts";

const MINUTE = 60_000;
const HOUR = 3_600_000;

/** By the local clock. */
const at = (text: string): number => Date.parse(`${text}:00`);

/** `09:15:00`. */
const timeOf = (ms: number): string => new Date(ms).toTimeString().slice(0, 8);

/** A schedule that is asked every five seconds, and whose runs take no time. */
class Watched {
	readonly clock: SimulatedClock;
	readonly schedule: Schedule;
	/** `09:15 schedule`, by the wall clock. */
	readonly runs: string[] = [];
	readonly beganMs: number[] = [];
	pendingBytes = 0;
	uploads = true;

	private constructor(clock: SimulatedClock, schedule: Schedule) {
		this.clock = clock;
		this.schedule = schedule;
	}

	static async make(start: string, options: Partial<ScheduleOptions>): Promise<Watched> {
		const clock = new SimulatedClock({ startMs: at(start) });
		const schedule = await Schedule.make(clock, {
			gatewayId: "gw1",
			schedule: "15 * * * *",
			window: "",
			uploadBytes: 0,
			uploadAgeMs: 0,
			lastRunMs: undefined,
			...options,
		});
		return new Watched(clock, schedule);
	}

	async pass(ms: number): Promise<void> {
		const endMs = this.clock.monotonic() + ms;
		while (this.clock.monotonic() < endMs) {
			await this.clock.advance(Math.min(5000, endMs - this.clock.monotonic()));
			this.look();
		}
	}

	look(): void {
		const reason = this.schedule.due(this.pendingBytes);
		if (reason === undefined) return;
		this.runs.push(`${timeOf(this.clock.now()).slice(0, 5)} ${reason}`);
		this.beganMs.push(this.clock.monotonic());
		this.schedule.began();
		if (this.uploads) this.pendingBytes = 0;
		this.schedule.ended(this.uploads);
	}
}

describe("a schedule", () => {
	it("begins one run in each scheduled minute", async () => {
		const watched = await Watched.make("2026-11-21T09:00", {});
		await watched.pass(3 * HOUR);
		expect(watched.runs).toEqual(["09:15 schedule", "10:15 schedule", "11:15 schedule"]);
	});

	it("is hourly by default, at a minute and second that differ from gateway to gateway", async () => {
		const minutes = new Set<string>();
		for (let i = 0; i < 40; i++) {
			const { schedule } = await Watched.make("2026-11-21T09:00", { gatewayId: `gateway-${i}`, schedule: "" });
			const next = schedule.nextRunMs() as number;
			expect(next - at("2026-11-21T09:00")).toBeLessThan(HOUR);
			minutes.add(timeOf(next).slice(3));
		}
		expect(minutes.size).toBeGreaterThan(30);
		const watched = await Watched.make("2026-11-21T09:00", { schedule: "" });
		await watched.pass(24 * HOUR);
		expect(watched.runs).toHaveLength(24);
	});

	it("says when the next run is to begin, and begins it then", async () => {
		const watched = await Watched.make("2026-11-21T09:00", { schedule: "*/20 8-10 * * *" });
		for (let i = 0; i < 5; i++) {
			const nextMs = watched.schedule.nextRunMs() as number;
			await watched.pass(nextMs - watched.clock.now() - 1);
			expect(watched.beganMs).toHaveLength(i);
			await watched.pass(5000);
			expect(watched.beganMs).toHaveLength(i + 1);
		}
	});

	it("never: only what is pending begins a run", async () => {
		const watched = await Watched.make("2026-11-21T09:00", { schedule: "never", uploadBytes: 1000 });
		watched.pendingBytes = 999;
		await watched.pass(48 * HOUR);
		expect(watched.runs).toEqual([]);
		expect(watched.schedule.nextRunMs()).toBeUndefined();
		watched.pendingBytes = 1000;
		watched.look();
		expect(watched.runs).toEqual(["09:00 bytes"]);
	});

	it("begins a run when something has been pending for long", async () => {
		const watched = await Watched.make("2026-11-21T09:20", { uploadAgeMs: 10 * MINUTE });
		await watched.pass(5 * MINUTE);
		watched.pendingBytes = 1;
		await watched.pass(9 * MINUTE);
		expect(watched.runs).toEqual([]);
		await watched.pass(2 * MINUTE);
		expect(watched.runs).toEqual(["09:35 age"]);
	});

	it("counts what came while a run went on from when that began", async () => {
		const watched = await Watched.make("2026-11-21T09:20", { uploadAgeMs: 10 * MINUTE });
		watched.schedule.began();
		await watched.clock.advance(8 * MINUTE);
		watched.schedule.ended(true);
		watched.pendingBytes = 1;
		await watched.pass(3 * MINUTE);
		expect(watched.runs).toEqual(["09:30 age"]);
	});

	it("does not begin a second run while one goes on, and owes none for the minutes that it took", async () => {
		const watched = await Watched.make("2026-11-21T09:14", {});
		watched.schedule.began();
		await watched.pass(3 * HOUR);
		expect(watched.runs).toEqual([]);
		watched.schedule.ended(true);
		await watched.pass(HOUR + 2 * MINUTE);
		expect(watched.runs).toEqual(["12:15 schedule", "13:15 schedule"]);
	});

	it("waits longer and longer after runs that failed, an hour at most", async () => {
		const watched = await Watched.make("2026-11-21T09:20", { schedule: "never", uploadBytes: 1 });
		watched.pendingBytes = 1;
		watched.uploads = false;
		await watched.pass(12 * HOUR);
		const waits = watched.beganMs.map((ms, i) => Math.round((ms - (watched.beganMs[i - 1] ?? 0)) / MINUTE)).slice(1);
		expect(waits.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
		watched.uploads = true;
		await watched.pass(HOUR);
		watched.pendingBytes = 1;
		watched.look();
		expect(watched.pendingBytes).toBe(0);
	});

	it("begins runs inside of its window only, and makes up for the others when it opens", async () => {
		const watched = await Watched.make("2026-11-21T09:00", { window: "30-39 11,23 * * *", uploadBytes: 10 });
		watched.pendingBytes = 10;
		expect(watched.schedule.isOpen).toBe(false);
		expect(timeOf(watched.schedule.nextRunMs() as number)).toMatch(/^11:30/);
		await watched.pass(24 * HOUR);
		expect(watched.runs).toEqual([expect.stringMatching(/^11:30/), "23:30 missed"]);
	});

	it("makes up once for what it missed while the gateway was off", async () => {
		const options = { schedule: "0 3 * * *", lastRunMs: at("2026-11-19T03:00") };
		const watched = await Watched.make("2026-11-21T09:00", options);
		await watched.pass(24 * HOUR);
		expect(watched.runs).toEqual(["09:00 missed", "03:00 schedule"]);
		const fresh = await Watched.make("2026-11-21T09:00", { schedule: "0 3 * * *" });
		await fresh.pass(HOUR);
		expect(fresh.runs).toEqual([]);
	});
});

describe("when the clock steps, a schedule", () => {
	it("makes up once when it is set from 1970 to now", async () => {
		const watched = await Watched.make("1970-01-02T00:00", {});
		await watched.pass(20 * MINUTE);
		watched.clock.step(at("2026-11-21T09:20") - watched.clock.now());
		await watched.pass(3 * HOUR);
		expect(watched.runs).toEqual(["00:15 schedule", "10:15 schedule", "11:15 schedule", "12:15 schedule"]);
		const first = await Watched.make("1970-01-02T00:00", {});
		await first.pass(MINUTE);
		first.clock.step(at("2026-11-21T09:20") - first.clock.now());
		await first.pass(MINUTE);
		expect(first.runs).toEqual(["09:20 missed"]);
	});

	it("goes on at once from where it was set back to", async () => {
		const watched = await Watched.make("2099-11-21T09:00", {});
		await watched.pass(30 * MINUTE);
		watched.clock.step(at("2026-11-21T09:00") - watched.clock.now());
		await watched.pass(HOUR + 30 * MINUTE);
		expect(watched.runs).toEqual(["09:15 schedule", "09:15 schedule", "10:15 schedule"]);
	});

	it("still makes up for what it missed when it was set back", async () => {
		const options = { schedule: "0 3 * * *", window: "0-9 11 * * *" };
		const watched = await Watched.make("2099-11-21T10:00", options);
		await watched.pass(26 * HOUR);
		expect(watched.runs).toEqual(["11:00 missed"]);
		watched.clock.step(at("2026-11-21T10:00") - watched.clock.now());
		await watched.pass(26 * HOUR);
		expect(watched.runs).toEqual(["11:00 missed", "11:00 missed"]);
	});

	it("begins no second run for a minute that comes again", async () => {
		const watched = await Watched.make("2026-11-21T09:14", { gatewayId: "gw" });
		await watched.pass(2 * MINUTE);
		expect(watched.runs).toEqual(["09:15 schedule"]);
		watched.clock.step(-2 * MINUTE);
		await watched.pass(10 * MINUTE);
		expect(watched.runs).toEqual(["09:15 schedule"]);
		expect(timeOf(watched.schedule.nextRunMs() as number)).toMatch(/^10:15/);
	});

	it("begins no storm of runs, however often and far it steps", async () => {
		for (let seed = 0; seed < 40; seed++) {
			const random = new SimulatedRandom(seed);
			const watched = await Watched.make("2026-11-21T09:00", {
				schedule: random.pick(["", "* * * * *", "15 * * * *"]),
			});
			for (let i = 0; i < 200; i++) {
				watched.clock.step(random.pick([1, -1]) * random.pick([30_000, 61_000, HOUR, 40 * 365 * 24 * HOUR]));
				await watched.pass(random.between(1, 120) * 1000);
			}
			for (let i = 1; i < watched.beganMs.length; i++)
				expect((watched.beganMs[i] as number) - (watched.beganMs[i - 1] as number)).toBeGreaterThanOrEqual(MINUTE);
		}
	});
});

describe("the keys of the schedule", () => {
	it("take a cron expression or nothing; tier.schedule the word never", async () => {
		expect(await scheduleProblem("tier.schedule", "")).toBeUndefined();
		expect(await scheduleProblem("tier.schedule", "never")).toBeUndefined();
		expect(await scheduleProblem("tier.window", "* 0-5 * * *")).toBeUndefined();
		expect(await scheduleProblem("tier.window", "never")).toMatchObject({ wrong: expect.stringContaining("never") });
		await expect(
			Schedule.make(new SimulatedClock(), { schedule: "never", window: "x" } as ScheduleOptions),
		).rejects.toThrow(RangeError);
	});
});

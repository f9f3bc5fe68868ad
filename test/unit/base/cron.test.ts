/** Cron expressions: what they name, by the local clock, and what is said of those that are wrong. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { CronTimes } from "../../../src/base/cron.ts";

async function times(expression: string): Promise<CronTimes> {
	const read = await CronTimes.read(expression);
	if (!(read instanceof CronTimes)) throw new Error(`${read.wrong}: ${read.right}`);
	return read;
}

/** By the local clock, whatever that is here: `2026-11-21T09:15`. */
function local(ms: number | undefined): string | undefined {
	if (ms === undefined) return undefined;
	const time = new Date(ms);
	return new Date(ms - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

async function next(expression: string, from: string): Promise<string | undefined> {
	return local((await times(expression)).after(Date.parse(from)));
}

describe("a cron expression", () => {
	it("names the next minute that begins after a time", async () => {
		expect(await next("15 * * * *", "2026-11-21T09:14:59")).toBe("2026-11-21T09:15");
		expect(await next("15 * * * *", "2026-11-21T09:15:00")).toBe("2026-11-21T10:15");
		expect(await next("*/10 22-23,0-5 * * *", "2026-11-21T05:50:00")).toBe("2026-11-21T22:00");
		expect(await next("0 3 * * 1-5", "2026-11-21T00:00:00")).toBe("2026-11-23T03:00");
		expect(await next("0 0 29 feb *", "2026-11-21T00:00:00")).toBe("2028-02-29T00:00");
		expect(await next("@daily", "2026-12-31T00:00:00")).toBe("2027-01-01T00:00");
	});

	it("matches the minutes that it names, and no others", async () => {
		const night = await times("* 22-23,0-5 * * *");
		expect(night.matches(Date.parse("2026-11-21T05:59:59"))).toBe(true);
		expect(night.matches(Date.parse("2026-11-21T06:00:00"))).toBe(false);
		const weekdays = await times("30 9 * * 1-5");
		expect(weekdays.matches(Date.parse("2026-11-20T09:30:10"))).toBe(true);
		expect(weekdays.matches(Date.parse("2026-11-21T09:30:10"))).toBe(false);
	});

	it("passes over an hour that the clocks leave out, and counts one once that comes twice", () => {
		const script = `
			import { CronTimes } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../../src/base/cron.ts"))};
			const next = async (expression, from) =>
				new Date((await CronTimes.read(expression)).after(Date.parse(from))).toISOString().slice(0, 16);
			console.log(JSON.stringify([
				await next("30 3 * * *", "2026-07-01T00:00:00Z"),
				await next("30 2 * * *", "2026-03-28T12:00:00Z"),
				await next("30 2 * * *", "2026-10-25T00:30:00Z"),
				await next("30 * * * *", "2026-10-25T01:45:00Z"),
			]));`;
		// A thread's own TZ changes nothing: it takes a process. In Berlin 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October.
		const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
			env: { ...process.env, TZ: "Europe/Berlin" },
			encoding: "utf8",
		});
		expect(JSON.parse(output)).toEqual([
			"2026-07-01T01:30",
			"2026-03-30T00:30",
			"2026-10-26T01:30",
			"2026-10-25T02:30",
		]);
	});

	it("within another one names what both name", async () => {
		const both = (await times("5 * * * 1-5")).within(await times("* 2-3 * 12 *"));
		expect(local(both.after(Date.parse("2026-11-21T00:00:00")))).toBe("2026-12-01T02:05");
		expect((await times("5 * * * *")).within(await times("6 * * * *")).after(0)).toBeUndefined();
		expect((await times("0 0 30 1 *")).within(await times("* * * 2 *")).after(0)).toBeUndefined();
	});

	it("hourly is every hour at a minute", () => {
		expect(local(CronTimes.hourly(7).after(Date.parse("2026-11-21T23:07:00")))).toBe("2026-11-22T00:07");
	});

	it.each([
		["61 * * * *", /61 \* \* \* \*.*minute/],
		["* * *", /expected 5 or 6 fields/],
		["every hour", /no cron expression/],
		["0 15 * * * *", /has seconds/],
		["0 0 L * *", /L is not understood/],
		["0 0 * * 1#2", /1#2 is not understood/],
		["0 0 31 2 *", /impossible/],
		["", /no cron expression/],
	])("that is wrong is told so, with what is right: %j", async (expression, wrong) => {
		const read = await CronTimes.read(expression);
		expect(read).toMatchObject({ wrong: expect.stringMatching(wrong), right: expect.stringContaining("15 * * * *") });
	});
});

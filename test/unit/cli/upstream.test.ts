/** What `headwater upstream` shows: every state in words, the budget, long names and small terminals. */
import { describe, expect, it } from "vitest";
import { formatPlan } from "../../../src/cli/upstream-reset.ts";
import { formatUpstreamStatus } from "../../../src/cli/upstream-status.ts";
import { wrap } from "../../../src/cli/wrap.ts";
import type {
	UplinkPeriod,
	UpstreamState,
	UpstreamStatus,
	UpstreamTopicStatus,
} from "../../../src/native/client/upstream-types.ts";

const NOW_MS = Date.UTC(2026, 4, 1, 12);
const HOUR_MS = 3_600_000;

const TOPIC: UpstreamTopicStatus = {
	topic: "telemetry",
	to: "telemetry",
	priority: "normal",
	partitions: 1,
	sentRecords: 0,
	sentBytes: 0,
	lagRecords: 10,
	lagBytes: 1024,
	backfillRecords: 0,
	oldestMs: NOW_MS - HOUR_MS,
	quarantinedRecords: 0,
	lostRecords: 0,
};
const PERIOD: UplinkPeriod = { bytes: 0, resetsMs: NOW_MS + HOUR_MS, forecastBytes: 0 };
const STATUS: UpstreamStatus = {
	servers: ["kafka1:9092"],
	mode: "at-least-once",
	state: "running",
	sinceMs: NOW_MS - 60_000,
	rate: { records: 0, bytes: 0, wireBytes: 0 },
	total: { records: 0, bytes: 0, transactions: 0, wireSentBytes: 1000, wireReceivedBytes: 24 },
	uplink: { day: PERIOD, month: PERIOD },
	topics: [TOPIC],
	downlink: [],
	warnings: [],
};

const show = (change: Partial<UpstreamStatus>, columns?: number): string =>
	formatUpstreamStatus({ ...STATUS, ...change }, { nowMs: NOW_MS, colours: false, columns });
const lineOf = (name: string, text: string): string | undefined =>
	text.split("\n").find((line) => line.startsWith(`${name} `));

describe("the state", () => {
	const since = "since 2026-05-01T11:59:00Z (1m ago)";
	const next = "2026-05-01T13:00:00Z (in 1h)";
	it.each([
		["connecting", `connecting ${since}`],
		["running", "running"],
		["waiting", `waiting for the link ${since}; tries again ${next}`],
		["budget", `waiting for the link's budget ${since}; goes on ${next}`],
		["closed", `waiting for upstream.window ${since}; opens ${next}`],
		["paused", `paused ${since}; \`headwater upstream resume\` goes on`],
		["halted", `HALTED ${since}: a person has to decide`],
		["stopped", `stopped ${since}`],
	] as [UpstreamState, string][])("%s", (state, words) => {
		expect(lineOf("state", show({ state, nextMs: NOW_MS + HOUR_MS }))).toBe(`state    ${words}`);
	});

	it("says that everything is sent, and that a time is over", () => {
		const sent = { ...TOPIC, lagRecords: 0, lagBytes: 0 };
		expect(show({ topics: [sent] })).toMatch(/^state {4}running, everything is sent$/m);
		expect(show({ state: "waiting", nextMs: NOW_MS - 5 })).toMatch(/; tries again now$/m);
	});
});

describe("the uplink's budget", () => {
	it.each([
		[{}, "1.0 MiB today, no limit; at this rate 2.0 MiB by its end"],
		[{ left: 1_048_576 }, "1.0 MiB today of 2.0 MiB; at this rate the budget lasts"],
		[
			{ left: 1_048_576, exhaustedMs: NOW_MS + HOUR_MS / 2 },
			"1.0 MiB today of 2.0 MiB; at this rate the budget lasts until 2026-05-01T12:30:00Z (in 30m)",
		],
		[{ left: 0 }, "1.0 MiB today of 1.0 MiB: used up; the next begins 2026-05-01T13:00:00Z (in 1h)"],
	])("%j: %s", (change, words) => {
		const day = { ...PERIOD, bytes: 1_048_576, forecastBytes: 2_097_152, ...change };
		expect(lineOf("uplink", show({ uplink: { day, month: PERIOD } }))).toBe(`uplink   ${words}`);
	});
});

describe("topics", () => {
	it("have a line each, and a second one for what most have nothing of", () => {
		const lost = { ...TOPIC, topic: "audit", lostRecords: 1200, quarantinedRecords: 2, backfillRecords: 7 };
		expect(show({ topics: [TOPIC, lost] })).toMatch(
			/\naudit .*\n {2}7 put off for newer ones, 2 refused there and kept here, 1,200 LOST before they were sent\ntelemetry /,
		);
	});

	it("may be none", () => {
		expect(show({ topics: [] })).toMatch(
			/\n\nno topic goes to the central cluster: no topic fits upstream.topics yet\n$/,
		);
	});

	it("come down too", () => {
		const down = { topic: "fleet.commands", to: "commands", receivedRecords: 12, filteredRecords: 4000 };
		expect(show({ downlink: [down, { ...down, topic: "x", to: "x", lag: 5 }] })).toMatch(
			/\n\nFROM THERE -> HERE +RECEIVED {2}NOT FOR HERE {2}LAG\nfleet\.commands -> commands +12 +4,000 +-\nx +12 +4,000 +5\n$/,
		);
	});

	it("tell what is wrong with one of them, and what else to know", () => {
		const shown = show({
			topics: [{ ...TOPIC, problem: { sinceMs: NOW_MS, message: "not allowed", action: "kafka-acls.sh --add" } }],
			warnings: ["the topic there keeps one day"],
		});
		expect(shown).toMatch(/^PROBLEM {2}telemetry: not allowed; since .*\n {9}-> kafka-acls\.sh --add\n/m);
		expect(shown).toMatch(/^note {5}the topic there keeps one day$/m);
	});
});

describe("a terminal", () => {
	const long = "sensors.building-north.floor-12.temperature-raw";
	const change: Partial<UpstreamStatus> = {
		servers: ["kafka1.example.com:9092", "kafka2.example.com:9092", "kafka3.example.com:9092"],
		topics: [
			{ ...TOPIC, topic: long, to: `gw7.${long}`, sentRecords: 123_456_789, lagRecords: 1_234_567, lagBytes: 2 ** 30 },
			TOPIC,
		],
		problem: { sinceMs: NOW_MS, message: "word ".repeat(60).trim() },
	};

	it.each([80, 100, 120])("of %i columns is not left", (columns) => {
		for (const line of show(change, columns).split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
	});

	it("gets a command that can be copied as it is", () => {
		const action = `kafka-acls.sh ${"--add ".repeat(30)}`.trim();
		expect(show({ problem: { sinceMs: NOW_MS, message: "no", action } }, 80)).toContain(`\n         -> ${action}\n`);
	});

	it("is not asked for where there is none: programs get whole names", () => {
		expect(show(change)).toContain(`\n${long} -> gw7.${long}  normal`);
	});
});

describe("wrap", () => {
	it("breaks at spaces, counts no colours, and lets a long word be", () => {
		expect(wrap("a bb ccc dddd", 6)).toEqual(["a bb", "ccc", "dddd"]);
		expect(wrap("\x1b[1mab cd\x1b[0m", 5)).toEqual(["\x1b[1mab cd\x1b[0m"]);
		expect(wrap("a longer-than-that b", 5)).toEqual(["a", "longer-than-that", "b"]);
		expect(wrap("", 5)).toEqual([""]);
	});
});

describe("the plan of a reset", () => {
	it("says that nothing is lost or twice, where that is so", () => {
		const step = { topic: "t", partition: 0, from: 5, to: 5, againRecords: 0, skippedRecords: 0 };
		expect(formatPlan("progress", [step], false)).toBe(
			"each partition would go on where the central cluster says it stands:\n\n" +
				"TOPIC  PARTITION  FROM  TO  AGAIN  NEVER\nt              0     5   5      0      0\n\n" +
				"sent a second time  nothing, as far as is known here\nnever sent          nothing\n",
		);
	});
});

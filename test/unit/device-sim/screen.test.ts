import { describe, expect, it } from "vitest";
import type { Progress } from "../../../device-sim/fleet.ts";
import { bar, paint, time } from "../../../device-sim/format.ts";
import { Ledger } from "../../../device-sim/ledger.ts";
import { Screen } from "../../../device-sim/screen.ts";
import type { Verdict } from "../../../device-sim/verdict.ts";
import { verdictTable } from "../../../device-sim/verdict-table.ts";
import { Verifier } from "../../../device-sim/verifier.ts";

const PROGRESS: Progress = {
	phase: "running",
	elapsedMs: 1000,
	durationMs: 4000,
	devices: 200,
	connected: 187,
	planned: 4000,
	sent: 1000,
	acked: 900,
	backlog: 60,
	inFlight: 100,
	drops: 13,
	reconnects: 5,
	crashes: 2,
	gatewayUp: true,
	lastRecoveryMs: 250,
	p50Ms: 0.5,
	p99Ms: 12,
	recordsRead: 0,
	problem: "ECONNRESET",
};
const NO_LATENCY = { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };

function screenOf(columns?: number) {
	const written: string[] = [];
	const output = { write: (text: string) => written.push(text), ...(columns ? { isTTY: true, columns } : {}) };
	return { screen: new Screen(output, paint(columns !== undefined)), written };
}

describe("the screen", () => {
	it("draws each panel over the one before, and no line longer than the terminal", () => {
		const { screen, written } = screenOf(50);
		screen.show(PROGRESS);
		screen.show({ ...PROGRESS, elapsedMs: 1500, acked: 1000 });
		screen.end();
		const lines = written[0]!.split("\n").length - 1;
		expect(written[1]!.startsWith(`\x1b[${lines}A`)).toBe(true);
		expect(written[2]).toBe(`\x1b[${lines}A\r\x1b[J`);
		// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with one
		const plain = written[1]!.replaceAll(/\x1b\[\d*[mAJK]|\r/g, "").split("\n");
		for (const line of plain) expect(line.length).toBeLessThan(50);
	});

	it("says what there is to know", () => {
		const { screen, written } = screenOf(120);
		screen.show(PROGRESS);
		screen.show({ ...PROGRESS, elapsedMs: 1500, acked: 1000 });
		for (const text of [
			"2.50 s left",
			"187 of 200",
			"1,000 of 1,000 sent, 200/s",
			"60 waiting, 100 in flight",
			"killed 2 times",
			"ECONNRESET",
		]) {
			expect(written[1]).toContain(text);
		}
	});

	it("writes a plain line every two seconds where there is no terminal, and one for each phase", () => {
		const { screen, written } = screenOf();
		for (let elapsedMs = 0; elapsedMs <= 5000; elapsedMs += 250) screen.show({ ...PROGRESS, elapsedMs });
		screen.show({ ...PROGRESS, phase: "draining", elapsedMs: 5100 });
		screen.end();
		expect(written).toHaveLength(4);
		expect(written.join("")).not.toContain("\x1b");
		expect(written[3]).toContain("5.1 s  draining  connected 187/200");
	});

	it("shows times and bars in the measure that suits them", () => {
		expect([0.42, 12.34, 250, 1240, 12_400, 125_000].map(time)).toEqual([
			"0.42 ms",
			"12.3 ms",
			"250 ms",
			"1.24 s",
			"12.4 s",
			"2 min 5 s",
		]);
		expect([0, 0.5, 1, 2].map((part) => bar(part, 4))).toEqual(["····", "██··", "████", "████"]);
	});
});

describe("the verdict's table", () => {
	function verdictOf(devices: number, change: Partial<Verdict> = {}): Verdict {
		const ledger = new Ledger("run001", 1);
		for (let i = 0; i < devices; i++) {
			const device = ledger.device(`temp-${i}`, "temperature");
			device.noteSent(0);
			if (i === 1) device.acked.add(0);
		}
		return {
			...new Verifier(ledger).verdict(),
			seed: "7",
			qos: 1,
			elapsedMs: 1000,
			latency: { count: 1, p50Ms: 1, p99Ms: 2, maxMs: 3 },
			lateLatency: NO_LATENCY,
			drops: 0,
			reconnects: 0,
			sessionsLost: 0,
			crashes: 0,
			recovery: NO_LATENCY,
			...change,
		};
	}

	it("ends in a plain line with the verdict and its reasons", () => {
		const table = verdictTable(verdictOf(3), paint(false));
		expect(table).toMatch(/verdict: FAIL {2}1 acknowledged event is not stored\n$/);
		expect(table).toContain("temp-1: event 0 acknowledged and not stored");
		expect(verdictTable(verdictOf(3, { pass: true, acked: 3 }), paint(false))).toMatch(
			/verdict: PASS {2}all 3 acknowledged events/,
		);
	});

	it("has a row for each of a few devices; of many, one for each kind and each faulty device; within 80 characters", () => {
		const few = verdictTable(verdictOf(3), paint(false));
		expect(few).toMatch(/^temp-0 +1 +0 +0 +0/m);
		const many = verdictTable(verdictOf(30), paint(false));
		expect(many).toMatch(/^30 temperature +30 +1 +0 +1/m);
		expect(many).toMatch(/^ {2}temp-1 +1 +1 +0 +1/m);
		expect(many).not.toMatch(/temp-2/);
		for (const line of many.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
	});
});

import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { DemoScreen, type DemoView } from "../../../../device-sim/demo/demo-screen.ts";
import { makePlan } from "../../../../device-sim/demo/plan.ts";
import { type StageName, Stages } from "../../../../device-sim/demo/stages.ts";
import { paint } from "../../../../device-sim/format.ts";

const DURATION_MS = 30_000;
const ORDER: readonly StageName[] = ["start", "flow", "firstKill", "cut", "secondKill", "restore", "end", "count"];

function viewOf(elapsedMs: number, stages: Stages, change: Partial<DemoView> = {}): DemoView {
	return {
		seed: "4f2a1c9",
		sensors: 200,
		rate: 1000,
		elapsedMs,
		durationMs: DURATION_MS,
		stages: stages.list,
		acked: elapsedMs,
		gateway: "up",
		gatewayBytes: 64_000_000,
		kills: 0,
		linkUp: true,
		cutForMs: 0,
		hub: elapsedMs,
		bundles: 3,
		store: elapsedMs / 2,
		...change,
	};
}

function screenOf(columns?: number, rows = 24) {
	const written: string[] = [];
	const output = { write: (text: string) => written.push(text), ...(columns ? { isTTY: true, columns, rows } : {}) };
	const lines = () => stripVTControlCharacters(written.at(-1)!.replaceAll("\r", "")).trimEnd().split("\n");
	return { screen: new DemoScreen(output, paint(columns !== undefined)), written, lines };
}

describe("the demo's screen", () => {
	it.each([
		[80, 24],
		[120, 40],
		[200, 50],
	])("fits %i columns and %i rows at every stage, with all its stages", (columns, rows) => {
		const { screen, lines } = screenOf(columns, rows);
		const stages = new Stages(makePlan("4f2a1c9", DURATION_MS));
		for (const [i, name] of ORDER.entries()) {
			stages.begin(name, i * 4000);
			const cut = { linkUp: false, cutForMs: 9123, gateway: "down", kills: 2, hub: 0, acked: 1_234_567 } as const;
			screen.show(viewOf(i * 4000, stages, name === "secondKill" ? cut : {}));
			expect(lines().length).toBeLessThan(24);
			for (const line of lines()) expect(line.length).toBeLessThan(columns);
			expect(lines().join("\n")).toContain("count at the far ends");
			stages.end(name, "ready again after 1.31 s");
		}
		screen.end();
		expect(lines().length).toBeLessThanOrEqual(9);
	});

	it("shows what is down, and what came of what is over", () => {
		const { screen, lines } = screenOf(80);
		const stages = new Stages(makePlan("4f2a1c9", DURATION_MS));
		for (const name of ["start", "flow", "firstKill", "cut"] as const) stages.begin(name, 1000);
		stages.end("firstKill", "ready again after 310 ms");
		for (let atMs = 100; atMs < 6000; atMs += 100) {
			const late = atMs > 3000;
			screen.show(
				viewOf(atMs, stages, {
					linkUp: !late,
					cutForMs: late ? atMs - 3000 : 0,
					kills: late ? 1 : 0,
					gateway: late ? "down" : "up",
					hub: Math.min(atMs, 3000),
				}),
			);
		}
		const text = lines().join("\n");
		expect(text).toMatch(/sensors ── MQTT, QoS 2 ──▶ killed! ╌+ {2}link is cut {2}╌+ {2}hub/);
		expect(text).toMatch(/gateway +━+✖╌+·+ {2}down, killed once/);
		expect(text).toMatch(/link +━+╌+·+ {2}cut, 2\.9 s/);
		expect(text).toMatch(/waiting .*2,900 events/);
		expect(text).toMatch(/✔ {3}1\.0 s {2}kill -9 the gateway +ready again after 310 ms/);
		expect(text).toMatch(/▶ {3}1\.0 s {2}the link to the hub is cut +4\.9 s so far/);
	});

	it("writes plain lines where there is no terminal: each stage as it comes and goes, and one every two seconds", () => {
		const { screen, written } = screenOf();
		const stages = new Stages(makePlan("4f2a1c9", DURATION_MS));
		stages.begin("start", 0);
		screen.show(viewOf(0, stages));
		stages.end("start", "ready in 900 ms");
		stages.begin("flow", 0);
		for (let atMs = 100; atMs <= 5000; atMs += 100) screen.show(viewOf(atMs, stages));
		screen.end();
		expect(written.join("")).not.toContain("\x1b");
		expect(written.map((line) => line.trim())).toEqual([
			"0.0 s  hub, gateway, object store start",
			"0.1 s  hub, gateway, object store start: ready in 900 ms",
			"0.1 s  sensors publish",
			expect.stringMatching(/^2\.0 s {2}acked 2,000 \(1,000\/s\) {2}gateway up {2}link up {2}waiting 0 {2}hub 2,000/),
			expect.stringMatching(/^4\.0 s {2}acked 4,000 .* store 2,000 in 3 bundles$/),
		]);
	});
});

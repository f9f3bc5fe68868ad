import { describe, expect, it } from "vitest";
import { History, type Sample } from "../../../../device-sim/demo/history.ts";

const SAMPLE: Sample = { atMs: 0, acked: 0, hub: 0, store: 0, kills: 0, gatewayUp: true, linkUp: true };

/** Ten seconds, ten samples a second: 1,000 events a second; the hub has nothing from 4 s to 6 s. */
function history(): History {
	const history = new History();
	for (let atMs = 100; atMs <= 10_000; atMs += 100) {
		const cut = atMs >= 4000 && atMs < 6000;
		history.add({
			...SAMPLE,
			atMs,
			acked: atMs,
			hub: cut ? 4000 : atMs,
			store: atMs < 5000 ? 0 : 5000,
			kills: atMs < 2500 ? 0 : 1,
			gatewayUp: atMs < 2500 || atMs >= 2700,
			linkUp: !cut,
		});
	}
	return history;
}

describe("the course of a run", () => {
	it("comes to columns of equal time, as far as it has gone", () => {
		const columns = history().columns(20, 20_000);
		expect(columns).toHaveLength(11);
		expect(columns[1]).toMatchObject({ acked: 1000, hub: 1000, waiting: 0, killed: false, linkUp: true });
		expect(columns.map(({ killed }) => killed).indexOf(true)).toBe(2);
		expect(columns.map(({ stored }) => stored)).toEqual([0, 0, 0, 0, 5000, 0, 0, 0, 0, 0, 0]);
		expect(columns[4]).toMatchObject({ linkUp: false, waiting: 1000, acked: 1000 });
		expect(columns[5]!.waiting).toBe(0);
		expect(columns[5]!.hub).toBeGreaterThan(1500);
	});

	it("has a column for each share of the time, however few samples there are", () => {
		const columns = history().columns(400, 10_000);
		expect(columns).toHaveLength(400);
		expect(columns.filter(({ killed }) => killed)).toHaveLength(1);
		expect(columns[399]).toMatchObject({ acked: 1000, waiting: 0 });
	});

	it("is nothing before its first sample", () => {
		expect(new History().columns(10, 1000)).toEqual([]);
		expect(new History().rate("acked")).toBe(0);
	});

	it("gives the rate of the last moments", () => {
		expect(history().rate("acked")).toBeCloseTo(1000);
		expect(history().rate("hub", 5900)).toBe(0);
	});
});

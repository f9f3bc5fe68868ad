import { describe, expect, it } from "vitest";
import { demoTable } from "../../../../device-sim/demo/demo-table.ts";
import { type DemoVerdict, type Happened, judgeDemo } from "../../../../device-sim/demo/demo-verdict.ts";
import { encodeEvent } from "../../../../device-sim/event.ts";
import { paint } from "../../../../device-sim/format.ts";
import { Ledger } from "../../../../device-sim/ledger.ts";
import type { Verdict } from "../../../../device-sim/verdict.ts";
import { Verifier } from "../../../../device-sim/verifier.ts";

const RUN = "run001";
const EVENTS = 10;
const NO_LATENCY = { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
const HAPPENED: Happened = {
	sensors: 1,
	seed: "7",
	elapsedMs: 38_200,
	kills: [
		{ atMs: 5400, backMs: 310 },
		{ atMs: 15_600, backMs: 290 },
	],
	outage: { atMs: 10_800, lastedMs: 9000, waited: 8900, caughtUpMs: 1200 },
	bundles: 9,
	storedBytes: 1_234_567,
	linkBytes: 765_432,
	linkBytesLost: 0,
	endedEarly: false,
	troubles: [],
};
const ALL = Array.from({ length: EVENTS }, (_, seq) => seq);

function ledgerOf(): Ledger {
	const ledger = new Ledger(RUN, 2);
	const device = ledger.device("temp-0001", "temperature");
	for (const seq of ALL) {
		device.noteSent(seq);
		device.acked.add(seq);
	}
	return ledger;
}

interface Stored {
	readonly gateway?: readonly number[];
	readonly hub?: readonly number[];
	readonly store?: readonly number[];
}

/** Each place with these events, in this order. */
function judge({ gateway = ALL, hub = ALL, store = ALL }: Stored, happened: Partial<Happened> = {}): DemoVerdict {
	const ledger = ledgerOf();
	const look = (events: readonly number[]) => {
		const verifier = new Verifier(ledger);
		for (const [offset, seq] of events.entries()) {
			const value = encodeEvent({ run: RUN, device: "temp-0001", seq, timeMs: 0 }, {});
			verifier.take({ partition: 0, offset, key: Buffer.from("temp-0001"), value });
		}
		return verifier.verdict();
	};
	const log = look(gateway);
	const fleet: Verdict = {
		...log,
		seed: "7",
		qos: 2,
		elapsedMs: 30_000,
		latency: NO_LATENCY,
		lateLatency: NO_LATENCY,
		drops: 3,
		reconnects: 5,
		sessionsLost: 0,
		crashes: 0,
		recovery: NO_LATENCY,
	};
	return judgeDemo(fleet, look(hub), look(store), { ...HAPPENED, ...happened });
}

const without = (...gone: number[]) => ALL.filter((seq) => !gone.includes(seq));

describe("the demo's verdict", () => {
	it("passes where all three places have each event once and in order", () => {
		const verdict = judge({});
		expect(verdict).toMatchObject({ pass: true, reasons: [], acked: EVENTS, examples: [], sensorLinksCut: 3 });
		const place = { events: EVENTS, lost: 0, duplicated: 0, outOfOrder: 0, records: EVENTS };
		expect(verdict.places).toEqual({ gateway: place, hub: place, store: place });
	});

	it.each([
		["a loss", { hub: without(3) }, "hub: 1 acknowledged event is not stored"],
		["a copy, which QoS 2 explains nowhere", { hub: [...ALL, 4] }, "hub: 1 copy is not explained by a resend"],
		["another order", { hub: [...without(3), 3] }, "hub: 1 event is out of order"],
		["a loss in the store", { store: without(0, 1) }, "object store: 2 acknowledged events are not stored"],
		["a loss at the gateway", { gateway: without(9) }, "gateway's log: 1 acknowledged event is not stored"],
	] as const)("names %s, and where", (_what, stored, reason) => {
		const verdict = judge(stored);
		expect(verdict).toMatchObject({ pass: false, reasons: [reason] });
		expect(verdict.examples[0]).toContain("temp-0001");
	});

	it("does not pass when not everything was done, unless it was ended early", () => {
		expect(judge({}, { kills: [] }).reasons).toEqual(["the gateway was killed 0 times, not 2"]);
		expect(judge({}, { outage: undefined }).reasons).toEqual(["the link was not cut"]);
		expect(judge({}, { kills: [], outage: undefined, endedEarly: true })).toMatchObject({ pass: true });
		expect(judge({ hub: without(3) }, { endedEarly: true })).toMatchObject({ pass: false });
		expect(judge({}, { troubles: ["the last upload: no"] }).reasons).toEqual(["the last upload: no"]);
	});

	it("is a table of at most 80 columns and 14 lines, with one last line that says it all", () => {
		const text = demoTable(judge({}), paint(false));
		const lines = text.trimEnd().split("\n");
		expect(lines.length).toBeLessThanOrEqual(14);
		for (const line of lines) expect(line.length).toBeLessThanOrEqual(79);
		expect(text).toMatch(/^acknowledged to sensors +10$/m);
		expect(text).toMatch(/^in the hub +10 +0 +0 +0$/m);
		expect(text).toContain("gateway killed with -9 twice, ready again after 310 ms, 290 ms");
		expect(text).toContain("link cut for 9.00 s: 8,900 events waited, caught up in 1.20 s");
		expect(lines.at(-1)).toBe("verdict: PASS  all 10 events are in all three places, once and in order");
	});

	it("shows the first faults where there are any", () => {
		const text = demoTable(judge({ hub: without(3), store: [...ALL, 4] }), paint(false));
		expect(text).toMatch(/^in the hub +9 +1 +0 +0$/m);
		expect(text).toMatch(/^in the object store +10 +0 +1 +0$/m);
		expect(text).toContain("hub: temp-0001: event 3 acknowledged and not stored");
		expect(text).toMatch(/verdict: FAIL {2}hub: 1 acknowledged event is not stored; object store: 1 copy/);
	});
});

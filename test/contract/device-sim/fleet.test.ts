import { describe, expect, it } from "vitest";
import { type FleetOptions, type Progress, runFleet } from "../../../device-sim/fleet.ts";
import { Ledger } from "../../../device-sim/ledger.ts";
import type { StoredRecord } from "../../../device-sim/verifier.ts";
import { type Faults, MqttPeer } from "./mqtt-peer.ts";

const QUICK = {
	devices: 8,
	rate: 100,
	durationMs: 400,
	qos: 1,
	version: 4,
	profile: "mix",
	window: 10,
	flakyMs: 0,
	offlineMs: 20,
	seed: "contract",
	topicTemplate: "sensors/site{n}/{device}/telemetry",
	host: "127.0.0.1",
} as const satisfies Partial<FleetOptions>;

async function runAgainst(peer: MqttPeer, options: Partial<FleetOptions> = {}, report?: (progress: Progress) => void) {
	return runFleet({ ...QUICK, mqttPort: peer.port, readBack: peer, ...options }, report);
}

async function runWith(faults: Faults, options: Partial<FleetOptions> = {}) {
	await using peer = await new MqttPeer(faults).listen();
	return { verdict: await runAgainst(peer, options), peer };
}

const valuesOf = (peer: MqttPeer) =>
	peer.partitions
		.flat()
		.map(({ value }: StoredRecord) => JSON.parse(value!.toString()) as Record<string, unknown>)
		.map(({ run: _run, t: _t, crc: _crc, ...values }) => JSON.stringify(values))
		.sort();

describe.concurrent("a fleet", () => {
	it.each([
		[0, 3],
		[0, 5],
		[1, 3],
		[1, 4],
		[1, 5],
		[2, 4],
		[2, 5],
	] as const)("passes at QoS %i with protocol level %i, and leaves no session behind", async (qos, version) => {
		await using peer = await new MqttPeer().listen();
		const verdict = await runAgainst(peer, { qos, version });
		expect(verdict.reasons).toEqual([]);
		expect(verdict).toMatchObject({ pass: true, lost: 0, duplicated: 0, drops: 0, reconnects: 0, unacknowledged: 0 });
		expect(verdict.acked).toBe(verdict.sent);
		expect(verdict.sent).toBeGreaterThan(200);
		expect(verdict.latency.count + verdict.lateLatency.count).toBe(qos === 0 ? 0 : verdict.acked);
		expect(peer.sessions.size).toBe(0);
		for (const clientId of peer.clientIds) expect(clientId.length).toBeLessThanOrEqual(23);
	});

	it.each([
		[1, 3],
		[1, 4],
		[2, 4],
		[2, 5],
	] as const)("loses nothing over links that break, QoS %i, level %i", async (qos, version) => {
		await using peer = await new MqttPeer({ hangUp: (event) => event % 40 === 39 }).listen();
		const verdict = await runAgainst(peer, { qos, version, flakyMs: 80 });
		expect(verdict.reasons).toEqual([]);
		expect(verdict).toMatchObject({ lost: 0, outOfOrder: 0, sessionsLost: 0, unacknowledged: 0 });
		expect(verdict.drops).toBeGreaterThan(5);
		expect(verdict.reconnects).toBeGreaterThan(verdict.drops);
		expect(verdict.duplicated).toBe(verdict.explained);
		if (qos === 1) expect(verdict.duplicated).toBeGreaterThan(0);
		expect(verdict.resent).toBeGreaterThan(0);
		// A resend may itself be cut off.
		expect(peer.dupsSeen).toBeGreaterThan(0);
		expect(peer.dupsSeen).toBeLessThanOrEqual(verdict.resent);
		expect(verdict.lateLatency.count).toBeGreaterThan(0);
	});

	it("gives the same events for the same seed, whatever breaks, and others for another", async () => {
		const options = { flakyMs: 60, qos: 2 } as const;
		const first = await runWith({}, options);
		const again = await runWith({ hangUp: (event) => event % 30 === 29 }, options);
		const other = await runWith({}, { ...options, seed: "another" });
		expect(valuesOf(again.peer)).toEqual(valuesOf(first.peer));
		expect(valuesOf(other.peer)).not.toEqual(valuesOf(first.peer));
	});

	it("counts two runs into one log each for itself", async () => {
		await using peer = await new MqttPeer().listen();
		const both = await Promise.all([runAgainst(peer), runAgainst(peer)]);
		for (const verdict of both) expect(verdict).toMatchObject({ pass: true, lost: 0, unknown: 0 });
		expect(both[0]!.recordsRead).toBeGreaterThan(both[0]!.stored);
	});

	it("never has more in flight than the gateway's Receive Maximum", async () => {
		await using peer = await new MqttPeer({ receiveMaximum: 2 }).listen();
		let most = 0;
		const verdict = await runAgainst(peer, { version: 5, devices: 1, rate: 2000, reportMs: 1 }, (progress) => {
			most = Math.max(most, progress.inFlight);
		});
		expect(verdict.pass).toBe(true);
		expect(most).toBeLessThanOrEqual(2);
	});

	it("reports its progress to the end", async () => {
		await using peer = await new MqttPeer().listen();
		const seen: Progress[] = [];
		const verdict = await runAgainst(peer, { reportMs: 20 }, (progress) => seen.push(progress));
		expect(new Set(seen.map(({ phase }) => phase))).toEqual(new Set(["running", "draining", "reading"]));
		expect(seen.at(-1)).toMatchObject({ planned: verdict.sent, sent: verdict.sent, acked: verdict.acked, backlog: 0 });
		expect(Math.max(...seen.map(({ connected }) => connected))).toBe(8);
	});

	it("ends early when it is asked to, with a verdict on what was sent", async () => {
		await using peer = await new MqttPeer().listen();
		const stop = new AbortController();
		const verdict = await runAgainst(
			peer,
			{ durationMs: 3_600_000, signal: stop.signal, reportMs: 10 },
			({ acked }) => {
				if (acked > 50) stop.abort();
			},
		);
		expect(verdict.pass).toBe(true);
		expect(verdict.acked).toBeGreaterThan(50);
	});

	it("keeps the ledger that it is given, and lets its caller's trouble end before it drains, or at once when that fails", async () => {
		await using peer = await new MqttPeer().listen();
		const ledger = new Ledger("mine01", 1);
		const phases: string[] = [];
		let phase = "";
		const trouble = async (stop: AbortSignal) => {
			await new Promise((resolve) => stop.addEventListener("abort", resolve));
			phases.push(phase);
		};
		const verdict = await runAgainst(peer, { ledger, trouble, reportMs: 5 }, (progress) => {
			phase = progress.phase;
		});
		expect(verdict).toMatchObject({ pass: true, run: "mine01" });
		expect([...ledger.devices()].reduce((sum, { acked }) => sum + acked.size, 0)).toBe(verdict.acked);
		expect(phases).toEqual(["running"]);
		const failing = runAgainst(peer, { durationMs: 3_600_000, trouble: () => Promise.reject(new Error("no more")) });
		await expect(failing).rejects.toThrow("no more");
	});
});

describe.concurrent("a fleet finds a gateway's mistakes", () => {
	const oneIn25 = (event: number) => event % 25 === 24;

	it("an acknowledged event that is not there", async () => {
		for (const qos of [1, 2] as const) {
			const { verdict } = await runWith({ lose: oneIn25 }, { qos });
			expect(verdict.pass).toBe(false);
			expect(verdict.lost).toBe(Math.floor(verdict.sent / 25));
			expect(verdict.reasons[0]).toMatch(/acknowledged events are not stored/);
		}
	});

	it("an event out of order", async () => {
		const { verdict } = await runWith({ delay: (event) => event === 100 });
		expect(verdict).toMatchObject({ pass: false, outOfOrder: 1, lost: 0 });
	});

	it("an event in the wrong partition", async () => {
		const { verdict } = await runWith({ misplace: (event) => event === 100 || event === 150 });
		expect(verdict.pass).toBe(false);
		expect(verdict.misplaced).toBeGreaterThanOrEqual(2);
	});

	it("a copy that no resend explains", async () => {
		const { verdict } = await runWith({ repeat: oneIn25 });
		expect(verdict).toMatchObject({ pass: false, explained: 0 });
		expect(verdict.duplicated).toBe(Math.floor(verdict.sent / 25));
	});

	it("a QoS 2 event stored twice because its resend was not recognised", async () => {
		const faults = { forgetReceived: true, hangUp: (event: number) => event % 30 === 29 };
		const { verdict } = await runWith(faults, { qos: 2 });
		expect(verdict).toMatchObject({ pass: false, explained: 0, lost: 0 });
		expect(verdict.duplicated).toBeGreaterThan(0);
	});

	it("a session that is gone: the events are sent as new ones, and nothing is lost", async () => {
		const { verdict, peer } = await runWith({ forgetSessions: true, hangUp: oneIn25 });
		expect(verdict).toMatchObject({ pass: true, lost: 0, outOfOrder: 0 });
		expect(verdict.sessionsLost).toBe(verdict.reconnects);
		expect(verdict.sessionsLost).toBeGreaterThan(0);
		expect(verdict.resent).toBeGreaterThan(0);
		expect(peer.dupsSeen).toBe(0);
	});

	it("a session that is gone between PUBREC and PUBCOMP: there is nothing left to release", async () => {
		const { verdict, peer } = await runWith({ forgetSessions: true, hangUpOnRelease: true }, { qos: 2 });
		expect(verdict).toMatchObject({ pass: true, lost: 0, outOfOrder: 0 });
		expect(verdict.sessionsLost).toBeGreaterThan(0);
		expect(peer.strayReleases).toBe(0);
	});

	it("a refusal, which is not a loss and not a success", async () => {
		const { verdict } = await runWith({ refuse: oneIn25 }, { version: 5 });
		expect(verdict).toMatchObject({ pass: false, lost: 0, unacknowledged: 0, refused: Math.floor(verdict.sent / 25) });
		expect(verdict.reasons.join()).toMatch(/refused .* reason 0x97/s);
	});

	it("a gateway that never acknowledges", async () => {
		const { verdict } = await runWith({ hangUp: () => true }, { drainMs: 50 });
		expect(verdict).toMatchObject({ pass: false, acked: 0, lost: 0 });
		expect(verdict.reasons.join()).toMatch(/never acknowledged.*closed by the gateway/s);
	});
});

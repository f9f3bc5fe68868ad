/** The fleet against the gateway as it is shipped: the built program, as a process of its own. */
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { type FleetOptions, runFleet } from "../../../device-sim/fleet.ts";
import { GatewayError, GatewayProcess } from "../../../device-sim/gateway-process.ts";
import { NativeReadBack } from "../../../device-sim/read-back.ts";
import { joinPath, NodeDisk } from "../../../src/base/disk.ts";
import { systemRandom } from "../../../src/base/random.ts";

async function withGateway<T>(use: (gateway: GatewayProcess) => Promise<T>): Promise<T> {
	const dataDirectory = joinPath(tmpdir(), `headwater-fleet-${systemRandom.bytes(6).toString("hex")}`);
	const gateway = await GatewayProcess.create({ dataDirectory });
	try {
		await gateway.start();
		return await use(gateway);
	} finally {
		await gateway.stop();
		new NodeDisk().removeDirectory(dataDirectory);
	}
}

const fleetOf = (gateway: GatewayProcess, options: Partial<FleetOptions>): FleetOptions => ({
	devices: 20,
	rate: 40,
	durationMs: 2000,
	host: gateway.host,
	mqttPort: gateway.mqttPort,
	readBack: new NativeReadBack(gateway.host, gateway.nativePort, "telemetry"),
	qos: 1,
	version: 4,
	profile: "mix",
	window: 20,
	flakyMs: 400,
	offlineMs: 100,
	seed: "gateway",
	topicTemplate: "sensors/site{n}/{device}/telemetry",
	gateway,
	...options,
});

describe.concurrent("a fleet and a gateway", () => {
	it("keeps every acknowledged event over broken links, QoS 0, 1 and 2, all versions", async () => {
		await withGateway(async (gateway) => {
			const kinds = [
				{ qos: 0, version: 3, flakyMs: 0 },
				{ qos: 1, version: 4 },
				{ qos: 2, version: 5 },
			] as const;
			const verdicts = await Promise.all(
				kinds.map((kind) => runFleet(fleetOf(gateway, { ...kind, durationMs: 1500 }))),
			);
			for (const verdict of verdicts) {
				expect(verdict.reasons).toEqual([]);
				expect(verdict.acked).toBe(verdict.sent);
				expect(verdict.sent).toBeGreaterThan(500);
			}
			expect(verdicts[1]!.drops + verdicts[2]!.drops).toBeGreaterThan(20);
		});
	});

	it.each([1, 2] as const)("keeps every acknowledged event across kill -9, QoS %i", async (qos) => {
		await withGateway(async (gateway) => {
			const verdict = await runFleet(fleetOf(gateway, { qos, version: 5, crashEveryMs: 500 }));
			expect(verdict.reasons).toEqual([]);
			expect(verdict.crashes).toBeGreaterThan(0);
			expect(verdict.reconnects).toBeGreaterThan(0);
			expect(verdict.acked).toBe(verdict.sent);
			expect(gateway.running).toBe(true);
		});
	});
});

describe("a gateway's process", () => {
	it("says what the gateway printed when it ends instead of starting", async () => {
		const gateway = await GatewayProcess.create({
			dataDirectory: "/nonexistent",
			command: "sh -c 'echo cannot use {data} >&2; exit 3'",
		});
		const failure = await gateway.start().catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(GatewayError);
		expect(String(failure)).toMatch(/ended while it started:\ncannot use '?\/nonexistent/);
		expect(gateway.running).toBe(false);
	});

	it("kills a gateway that does not listen in time, with everything it started", async () => {
		const gateway = await GatewayProcess.create({
			dataDirectory: "/nonexistent",
			command: "sh -c 'sleep 600 & wait'",
			readyTimeoutMs: 300,
		});
		// It only comes back when the last process that holds the gateway's output has ended: the sleep too.
		const failure = await gateway.start().catch((error: unknown) => error);
		expect(String(failure)).toMatch(/did not listen/);
		expect(gateway.running).toBe(false);
	});

	it("tells of an end that nobody asked for, and not of one that was", async () => {
		const ends: string[] = [];
		const gateway = await GatewayProcess.create({ dataDirectory: "/nonexistent", command: "sleep 600" });
		gateway.onUnexpectedExit = (how) => ends.push(how);
		gateway.spawn();
		await gateway.kill();
		expect(ends).toEqual([]);
		gateway.spawn();
		process.kill(gateway.pid!, "SIGTERM");
		await expect.poll(() => ends).toEqual(["signal SIGTERM"]);
		expect(gateway.running).toBe(false);
	});
});

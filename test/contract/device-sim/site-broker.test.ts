/** The fleet on a site's own broker, a bridge between it and the gateway, and crashes of the gateway while it runs. */
import { tmpdir } from "node:os";
import { expect, it } from "vitest";
import { runFleet } from "../../../device-sim/fleet.ts";
import { GatewayProcess } from "../../../device-sim/gateway-process.ts";
import { NativeReadBack } from "../../../device-sim/read-back.ts";
import { SiteBrokerProcess } from "../../../device-sim/site-broker-process.ts";
import { joinPath, NodeDisk } from "../../../src/base/disk.ts";
import { systemRandom } from "../../../src/base/random.ts";

it("loses nothing that the site's broker acknowledged, over crashes of the gateway and cuts of the bridge", async () => {
	const dataDirectory = joinPath(tmpdir(), `headwater-site-${systemRandom.bytes(6).toString("hex")}`);
	const site = await SiteBrokerProcess.start({ seed: "site", cutEveryMs: 800 });
	const gateway = await GatewayProcess.create({ dataDirectory, arguments: ["--set", site.bridgeSetting] });
	try {
		await gateway.start();
		await site.bridged();
		const verdict = await runFleet({
			devices: 20,
			rate: 40,
			durationMs: 4000,
			host: site.host,
			mqttPort: site.port,
			readBack: new NativeReadBack(gateway.host, gateway.nativePort, "telemetry"),
			qos: 1,
			version: 4,
			profile: "mix",
			window: 20,
			flakyMs: 1500,
			offlineMs: 100,
			seed: "site",
			topicTemplate: "sensors/site{n}/{device}/telemetry",
			gateway,
			site,
			crashEveryMs: 1500,
		});
		expect(verdict.reasons).toEqual([]);
		expect(verdict.sent).toBeGreaterThan(1500);
		expect(verdict.acked).toBe(verdict.sent);
		expect(verdict.stored).toBe(verdict.sent);
		expect(verdict.crashes).toBeGreaterThan(0);
		expect(site.bridgeConnects).toBeGreaterThan(verdict.crashes);
		expect(site.running).toBe(true);
	} finally {
		await gateway.stop();
		await site.stop();
		new NodeDisk().removeDirectory(dataDirectory);
	}
});

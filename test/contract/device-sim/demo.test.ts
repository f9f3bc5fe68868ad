/** `npm run demo` as it is shipped: the whole of it, short, with its own processes. */
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { DemoVerdict } from "../../../device-sim/demo/demo-verdict.ts";
import { run } from "../../support/gateway.ts";

const PROGRAM = path.join(import.meta.dirname, "../../../dist/device-sim.js");
const demo = (...args: string[]) => run(process.execPath, [PROGRAM, "demo", ...args], { cwd: tmpdir() });

describe("the demo", () => {
	it("loses nothing and doubles nothing over two kills and a cut link", async () => {
		const { code, stdout, stderr } = await demo("--seconds", "6", "--sensors", "20", "--seed", "contract", "--json");
		const verdict = JSON.parse(stdout) as DemoVerdict;
		expect([code, verdict.reasons, stderr]).toEqual([0, [], expect.not.stringContaining("kept")]);
		expect(verdict.acked).toBe(verdict.sent);
		expect(verdict.acked).toBeGreaterThan(400);
		for (const place of Object.values(verdict.places)) {
			expect(place).toMatchObject({ events: verdict.acked, lost: 0, duplicated: 0, outOfOrder: 0 });
		}
		expect(verdict.kills).toHaveLength(2);
		expect(verdict.outage?.waited).toBeGreaterThan(0);
		expect(verdict.outage?.caughtUpMs).toBeDefined();
		expect(verdict.bundles).toBeGreaterThan(0);
		for (const line of stderr.trimEnd().split("\n")) expect(line).toMatch(/^ +\d+\.\d s {2}\S/);
		expect(stderr).toMatch(/kill -9 the gateway: ready again after/);
	});

	it("says what would be right", async () => {
		expect(await demo("--seconds", "1")).toMatchObject({ code: 2, stderr: expect.stringContaining("from 5 to 3600") });
		expect(await demo("--help")).toMatchObject({ code: 0, stdout: expect.stringContaining("npm run demo --") });
	});
});

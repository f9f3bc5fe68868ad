/** Eclipse Paho's Python client, the one most gateways' scripts are written with. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { consumeAll, type Gateway, run, startGateway, temporaryFolder } from "../support/gateway.ts";

const { python } = inject("runtimes");
const COUNT = 20;

describe.skipIf(python === undefined)("paho-mqtt", () => {
	const folder = temporaryFolder("paho");
	let gateway: Gateway;
	beforeAll(async () => {
		gateway = await startGateway({ dataDirectory: folder });
	});
	afterAll(async () => {
		await gateway.kill();
		fs.rmSync(folder, { recursive: true });
	});

	for (const version of ["3.1.1", "5"]) {
		it(`publishes and receives at every QoS, version ${version}`, async () => {
			const script = path.join(import.meta.dirname, "kit", "paho_round_trip.py");
			const { code, stdout, stderr } = await run(python ?? "", [script, String(gateway.mqttPort), version]);
			expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
			const arrived = stdout
				.trim()
				.split("\n")
				.map((line): Record<string, unknown> => JSON.parse(line));
			const extra = (n: number): object =>
				version === "5"
					? {
							contentType: "application/json",
							userProperties: [
								["n", String(n)],
								["n", "again"],
							],
						}
					: {};
			// Order holds within a QoS; a QoS 2 exchange may be overtaken by others.
			const byNumber = arrived.toSorted((a, b) => Number(a.n) - Number(b.n));
			expect(byNumber).toEqual(
				Array.from({ length: COUNT }, (_, n) => ({
					topic: `sensors/paho/${version}/telemetry`,
					qos: n % 3,
					n,
					...extra(n),
				})),
			);
			const stored = (await consumeAll(gateway, "telemetry")).filter((record) => record.key === version);
			expect(stored.map((record) => record.value).toSorted()).toEqual(
				Array.from({ length: COUNT }, (_, n) => `{"n": ${n}}`).toSorted(),
			);
		});
	}
});

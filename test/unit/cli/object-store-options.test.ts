import { describe, expect, it } from "vitest";
import { gatewayId, objectStoreOptions } from "../../../src/cli/object-store-options.ts";
import { readConfig } from "../../../src/cli/read-config.ts";
import { loadConfig } from "../../../src/config/load.ts";

describe("the object store of a configuration", () => {
	it("is a folder in the data directory where none is named", () => {
		const options = objectStoreOptions(loadConfig().config, "/var/lib/head water");
		expect(options).toEqual({
			url: "file:///var/lib/head%20water/objects",
			endpoint: undefined,
			region: undefined,
			addressing: "auto",
			accessKey: undefined,
			secretKey: undefined,
			sessionToken: undefined,
			credentialsFile: undefined,
			profile: undefined,
			caFile: undefined,
			timeoutMs: 30_000,
			partBytes: 8_388_608,
			bytesPerSecond: 0,
		});
		expect(objectStoreOptions(loadConfig().config, "data").url).toBe(`file://${process.cwd()}/data/objects`);
	});

	it("is what the keys say", () => {
		const values = {
			url: "s3://bucket/p",
			endpoint: "https://s3.example.com",
			region: "eu-west-1",
			addressing: "path",
			accessKey: "a",
			secretKey: "s",
			sessionToken: "t",
			credentialsFile: "/c",
			profile: "p",
			caFile: "/ca.pem",
			timeoutMs: 5000,
			partBytes: 5_242_880,
			bytesPerSecond: 1000,
		};
		const set = Object.entries(values).map(([name, value]) =>
			name === "bytesPerSecond"
				? `uplink.bytes.per.second=${value}`
				: `objectStore.${name.replaceAll(/[A-Z]/g, (letter) => `.${letter.toLowerCase()}`)}=${value}`,
		);
		expect(objectStoreOptions(loadConfig({ set }).config, "data")).toEqual(values);
	});
});

describe("the gateway's name in the store", () => {
	it.each([
		["gw7.factory.example", "gw7.factory.example"],
		["Müllers Gerät", "M-llers-Ger-t"],
		["..x", "x"],
		["-.x", "x"],
		["", "gateway"],
		["é", "gateway"],
		["x".repeat(100), "x".repeat(64)],
	])("from the host's name %j is %j", (host, id) => {
		expect(gatewayId(loadConfig().config, host)).toBe(id);
		expect(gatewayId(loadConfig({ set: [`gateway.id=${id}`] }).config, "other")).toBe(id);
	});
});

describe("the times of uploads", () => {
	it("are checked with the configuration, both at once, with where they were set", async () => {
		const set = ["tier.schedule=61 * * * *", "tier.window=night"];
		await expect(readConfig({ set }, {})).rejects.toThrow(
			/^--set tier\.schedule=61 \* \* \* \*: tier\.schedule: .* right would be .*\n--set tier\.window=night: tier\.window: /,
		);
	});

	it("may be never, a cron expression, or nothing", async () => {
		for (const set of [["tier.schedule=never"], ["tier.schedule=*/5 * * * *", "tier.window=* 1-5 * * *"], []])
			await expect(readConfig({ set }, {})).resolves.toBeDefined();
	});
});

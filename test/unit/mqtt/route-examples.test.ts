/** The examples of docs/routes.md are configurations that start, and do what the page says. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Routes } from "../../../bridge/mqtt/routes.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const page = readFileSync(new URL("../../../docs/routes.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);

function routesOf(example: string): Routes {
	return new Routes(loadConfig({ file: { name: "routes.md", content: readYaml(example) } }).config.routes);
}

/** The example that has this in it. */
function having(part: string): Routes {
	return routesOf(examples.find((text) => text.includes(part))!);
}

describe("docs/routes.md", () => {
	it.each(examples)("has an example that starts: %#", (example) => {
		expect(() => routesOf(example)).not.toThrow();
	});

	it("says what its examples do", () => {
		const topics = (routes: Routes, topic: string) => routes.routesOf(topic).map((routed) => routed.topic);
		expect(examples.length).toBe(7);
		expect(topics(having("priority: 10"), "alarms/fire")).toEqual(["alarms"]);
		expect(topics(having("continue: true"), "sensors/n/d/telemetry")).toEqual(["telemetry", "archive"]);
		const machines = having("rewrite:");
		expect(machines.route("legacy/1/press/a/b")?.rewritten).toBe("plant/1/press/a/b");
		expect(machines.route("legacy/1/press")?.rewritten).toBe("plant/1/press");
		expect(having("timestamp:").route("gateways/g/up")).toMatchObject({ topic: "readings", timestampSlot: 2 });
		expect(having("qos0:").route("debug/x")?.dropsUnderPressure).toBe(true);
		expect(having("durability: memory").route("presence/x")?.topic).toBeUndefined();
	});

	it("names every setting of a route that the JSON Schema has", async () => {
		const { configJsonSchema } = await import("../../../src/config/json-schema.ts");
		const { $defs } = configJsonSchema() as { $defs: { routes: { items: { properties: object } } } };
		for (const name of Object.keys($defs.routes.items.properties)) expect(page).toContain(`| \`${name}\` |`);
	});
});

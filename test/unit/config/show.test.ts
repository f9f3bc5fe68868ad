import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { configJsonSchema } from "../../../src/config/json-schema.ts";
import { definitionOf, KEY_NAMES, type KeyName } from "../../../src/config/keys.ts";
import { type LoadedConfig, loadConfig } from "../../../src/config/load.ts";
import { configReference } from "../../../src/config/reference.ts";
import { showConfig, showConfigObjects } from "../../../src/config/show.ts";
import { formatValue, isListKind } from "../../../src/config/values.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });

const SHAPED: { readonly [K in KeyName]?: readonly string[] } = {
	"advertised.listeners": ["", "PLAINTEXT://gateway.local:9092", "[fe80::1]:9092"],
	"gateway.id": ["", "gw", "line-3.gw_7"],
	"objectStore.url": ["", "s3://bucket/a/b", "file:///mnt/my stick"],
	"objectStore.endpoint": ["", "https://s3.example.com", "http://[::1]:9000"],
	"objectStore.region": ["", "eu-central-1"],
	"upstream.bootstrap.servers": ["", "kafka1:9092", "10.0.0.1:9093, [fe80::1]:9094"],
	"upstream.progress.topic": ["__headwater_progress", "progress.all"],
	"upstream.quarantine.topic": ["__headwater_quarantine", "refused"],
};

/** Any value that a key may have, as --set takes it. */
function anyValue(key: KeyName): fc.Arbitrary<string> {
	const definition = definitionOf(key);
	switch (definition.kind) {
		case "integer": {
			const number = fc.integer({ min: definition.minimum, max: definition.maximum });
			const { minusOne, minusTwo } = definition;
			const special = [...(minusOne === undefined ? [] : [-1]), ...(minusTwo === undefined ? [] : [-2])];
			return (special.length === 0 ? number : fc.oneof(number, fc.constantFrom(...special))).map(String);
		}
		case "fraction":
			return fc.integer({ min: 0, max: 1000 }).map((thousandths) => String(thousandths / 1000));
		case "address":
			return fc
				.tuple(
					fc.oneof(
						fc.ipV4(),
						fc.domain(),
						fc.ipV6().map((ip) => `[${ip}]`),
					),
					fc.integer({ min: 0, max: 65_535 }),
				)
				.map(([host, port]) => `${host}:${port}`);
		case "text":
			if (SHAPED[key] !== undefined) return fc.constantFrom(...SHAPED[key]);
			// Secrets are not shown.
			return definition.secret ? fc.constant("") : text;
		case "choice":
			return fc.constantFrom(...definition.choices);
		case "routes":
			return fc
				.array(
					fc.record(
						{
							filter: text,
							topic: text,
							key: text,
							headers: fc.dictionary(text, text),
							timestamp: text,
							rewrite: text,
							priority: fc.integer(),
							continue: fc.boolean(),
							qos0: fc.constantFrom("wait", "drop-under-pressure"),
							durability: fc.constantFrom("disk", "memory"),
						},
						{ requiredKeys: ["filter", "topic"] },
					),
					{ maxLength: 3 },
				)
				.map((routes) => JSON.stringify(routes));
		case "bridges":
			// Without passwords, which are not shown.
			return fc
				.uniqueArray(
					fc.record(
						{
							name: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
							address: fc.constantFrom("mqtt://10.0.0.1", "mqtts://[::1]:8884", "mqtts://broker.example.com"),
							version: fc.constantFrom("5", "3.1.1"),
							"client.id": text,
							username: text,
							qos: fc.integer({ min: 0, max: 1 }),
							"max.inflight": fc.integer({ min: 1, max: 32_000 }),
							"keep.alive.seconds": fc.integer({ min: 0, max: 65_535 }),
							in: fc.array(fc.record({ filter: text, "remote.prefix": text }, { requiredKeys: ["filter"] })),
							out: fc.array(
								fc.record(
									{ filter: text, order: fc.constantFrom("oldest-first", "newest-first") },
									{ requiredKeys: ["filter"] },
								),
								{ minLength: 1 },
							),
						},
						{ requiredKeys: ["name", "address", "out"] },
					),
					{ maxLength: 3, selector: ({ name }) => name },
				)
				.map((bridges) => JSON.stringify(bridges));
		case "upstream-topics":
			return rulesOf(
				fc.record(
					{
						topic: fc.stringMatching(/^[A-Za-z][A-Za-z0-9.-]{0,20}$/),
						to: fc.constantFrom("{topic}", "{gateway}.{topic}", "all"),
						partitioner: fc.constantFrom("key", "same"),
						priority: fc.constantFrom("high", "normal", "low"),
						order: fc.constantFrom("oldest-first", "live-first"),
						from: fc.constantFrom("earliest", "latest"),
					},
					{ requiredKeys: ["topic"] },
				),
			);
		case "downlink":
			return rulesOf(
				fc.record(
					{
						topic: fc.stringMatching(/^[A-Za-z][A-Za-z0-9.-]{0,20}$/),
						to: fc.stringMatching(/^[A-Za-z]{1,9}$/),
						key: fc.constantFrom("{gateway}", "*", "gw-*"),
						header: fc.record({ name: text, value: fc.constantFrom("{gateway}/*", "x") }),
						from: fc.constantFrom("earliest", "latest"),
						retain: fc.boolean(),
					},
					{ requiredKeys: ["topic"] },
				),
			);
	}
}

/** A list of rules as JSON, at most one for a topic; now and then names alone. */
function rulesOf(rule: fc.Arbitrary<{ readonly topic: string }>): fc.Arbitrary<string> {
	return fc
		.tuple(fc.uniqueArray(rule, { maxLength: 3, selector: ({ topic }) => topic }), fc.boolean())
		.map(([rules, names]) =>
			names && rules.length > 0 ? rules.map(({ topic }) => topic).join(",") : JSON.stringify(rules),
		);
}

const anySettings = fc
	.subarray(KEY_NAMES)
	.chain((keys) => fc.tuple(...keys.map((key) => anyValue(key).map((value) => `${key}=${value}`))));

/** What is shown of one key: to read all of it for each would take a minute. */
function linesOf(key: KeyName, shown: string): string {
	const lines = shown.split("\n");
	const first = lines.findIndex((line) => line.startsWith(`${key}:`));
	const count = lines.slice(first + 1).findIndex((line) => !line.startsWith("  "));
	return lines.slice(first, first + 1 + count).join("\n");
}

function loadIfSound(set: readonly string[]): LoadedConfig | undefined {
	try {
		return loadConfig({ set });
	} catch {
		return undefined; // contradictions among values that are right each for itself
	}
}

describe("config show", () => {
	it("prints YAML that loads to the same configuration, whatever was set", () => {
		let checked = 0;
		fc.assert(
			fc.property(anySettings, (set) => {
				const shown = loadIfSound(set);
				if (shown === undefined) return;
				checked++;
				const again = loadConfig({ file: { name: "shown", content: readYaml(showConfig(shown)) } });
				expect(again.config).toEqual(shown.config);
			}),
			{ numRuns: 300 },
		);
		expect(checked).toBeGreaterThan(10);
	});

	it("prints every single value so that it loads again", () => {
		for (const key of KEY_NAMES) {
			const definition = definitionOf(key);
			if (definition.kind === "text" && definition.shape !== undefined) expect(SHAPED).toHaveProperty([key]);
			// Without a bucket these contradict the store's being a folder.
			const set = key.startsWith("objectStore.") && key !== "objectStore.url" ? ["objectStore.url=s3://bucket"] : [];
			if (key === "upstream.topics" || key === "upstream.downlink") set.push("upstream.bootstrap.servers=kafka:9092");
			fc.assert(
				fc.property(anyValue(key), (value) => {
					const shown = loadIfSound([...set, `${key}=${value}`]);
					if (shown === undefined) return;
					const content = readYaml(linesOf(key, showConfig(shown)));
					const again = loadConfig({ file: { name: "shown", content }, set });
					expect(again.config[key]).toEqual(shown.config[key]);
				}),
				{ numRuns: 25 },
			);
		}
	});

	it("says where each value came from", () => {
		const shown = showConfig(loadConfig({ set: ["num.partitions=9"], environment: { HEADWATER_LOG_LEVEL: "debug" } }));
		expect(shown).toContain("num.partitions: 9  # --set num.partitions=9\n");
		expect(shown).toContain("log.level: debug  # environment HEADWATER_LOG_LEVEL\n");
		expect(shown).toContain("commit.linger.ms: 0  # default\n");
	});

	it("gives programs one object for each key with the plain value", () => {
		const objects = showConfigObjects(loadConfig({ set: ["log.retention.ms=7d", "mqtt.listen=[::1]:0"] }));
		expect(objects.map(({ key }) => key)).toEqual(KEY_NAMES);
		expect(objects).toContainEqual({
			key: "log.retention.ms",
			value: 604_800_000,
			isDefault: false,
			source: "--set log.retention.ms=7d",
		});
		expect(objects).toContainEqual({
			key: "mqtt.listen",
			value: "[::1]:0",
			isDefault: false,
			source: "--set mqtt.listen=[::1]:0",
		});
		expect(objects).toContainEqual({ key: "journal.files.max", value: 4, isDefault: true, source: "default" });
	});
});

describe("the reference", () => {
	it("is what docs/configuration.md holds (npm run docs writes it anew)", () => {
		expect(readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8")).toBe(configReference());
	});

	it("names every key, its default and its variable", () => {
		const reference = configReference();
		for (const key of KEY_NAMES) {
			expect(reference).toContain(`### \`${key}\`\n`);
			const definition = definitionOf(key);
			expect(reference).toContain(definition.documentation);
			if (!isListKind(definition.kind))
				expect(reference).toContain(`- Default: \`${formatValue(definition, definition.fallback)}\``);
		}
	});
});

describe("the JSON Schema", () => {
	type Schema = {
		properties?: Record<string, Schema>;
		$ref?: string;
		$defs?: Record<string, unknown>;
		additionalProperties?: boolean;
	};
	const schema = configJsonSchema() as Schema;

	it("has every key dotted and nested, and nothing else", () => {
		for (const key of KEY_NAMES) {
			expect(schema.properties?.[key]?.$ref).toBe(`#/$defs/${key}`);
			let at: Schema | undefined = schema;
			for (const part of key.split(".")) at = at?.properties?.[part];
			expect(at?.$ref).toBe(`#/$defs/${key}`);
		}
		expect(schema.additionalProperties).toBe(false);
		expect(Object.keys(schema.$defs ?? {})).toEqual(KEY_NAMES);
	});

	it("gives limits, defaults and choices", () => {
		expect(schema.$defs?.["journal.files.max"]).toMatchObject({
			default: 4,
			anyOf: [{ type: "integer", minimum: 2, maximum: 64 }, {}],
		});
		expect(schema.$defs?.["log.level"]).toMatchObject({ default: "info", enum: ["debug", "info", "warn", "error"] });
		expect(schema.$defs?.["mqtt.listen"]).toMatchObject({ default: "127.0.0.1:1883", type: "string" });
	});
});

/** The keys of upstream: both spellings of rules, defaults, what is refused and how, what cannot hold together, no secret shown. */

import { describe, expect, it } from "vitest";
import { fitsTopic } from "../../../src/base/topic-pattern.ts";
import { configAsText } from "../../../src/config/as-text.ts";
import { configJsonSchema } from "../../../src/config/json-schema.ts";
import { type ConfigSources, loadConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/problems.ts";
import { showConfig, showConfigObjects } from "../../../src/config/show.ts";
import { parseServers } from "../../../src/config/upstream-servers.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const SERVERS = "upstream.bootstrap.servers=kafka1:9092";
const TOPICS = "upstream.topics=telemetry";

function told(sources: ConfigSources): string {
	try {
		loadConfig(sources);
	} catch (error) {
		if (error instanceof ConfigError) return error.message;
		throw error;
	}
	throw new Error("it was taken");
}

const file = (text: string): ConfigSources => ({ file: { name: "h.yaml", content: readYaml(text) } });
const withRules = (topics: string, downlink = "[]"): ConfigSources => ({
	set: [SERVERS, `upstream.topics=${topics}`, `upstream.downlink=${downlink}`],
});

const TELEMETRY = {
	topic: "telemetry",
	to: "{topic}",
	partitioner: "key",
	priority: "normal",
	order: "oldest-first",
	from: "earliest",
};

describe("upstream.bootstrap.servers", () => {
	it.each([
		["", []],
		["kafka1:9092", [{ host: "kafka1", port: 9092 }]],
		[
			"10.0.0.1:9092, [fe80::1]:9093",
			[
				{ host: "10.0.0.1", port: 9092 },
				{ host: "fe80::1", port: 9093 },
			],
		],
	])("takes %j", (text, addresses) => {
		const { config } = loadConfig({ set: [`upstream.bootstrap.servers=${text}`, ...(text === "" ? [] : [TOPICS])] });
		expect(parseServers(config["upstream.bootstrap.servers"])).toEqual(addresses);
	});

	it.each([
		["kafka1", "has no port behind kafka1; right would be host:port"],
		["kafka1:9092 kafka2:9092", "has a space where a comma belongs"],
		["kafka1:9092,,kafka2:9092", "has an empty entry"],
		["SASL_SSL://kafka1:9092", "begins with SASL_SSL://; upstream.security.protocol says that"],
		["kafka1:0", "has no such port as 0"],
		["kafka1:70000", "has no such port as 70000"],
		["a/b:9092", "is not of the right form"],
	])("refuses %s: %s", (text, why) => {
		expect(told({ set: [`upstream.bootstrap.servers=${text}`, TOPICS] })).toContain(why);
	});
});

describe("upstream.topics", () => {
	it("takes names, in a line or a list, with every default", () => {
		const alarms = { ...TELEMETRY, topic: "alarms" };
		for (const text of [
			"upstream.topics: telemetry, alarms",
			"upstream.topics: [telemetry, alarms]",
			"upstream:\n  topics:\n    - telemetry\n    - { topic: alarms }",
		]) {
			const { config } = loadConfig({ set: [SERVERS], ...file(text) });
			expect(config["upstream.topics"]).toEqual([TELEMETRY, alarms]);
		}
		expect(loadConfig(withRules(" telemetry ,alarms ")).config["upstream.topics"]).toEqual([TELEMETRY, alarms]);
		expect(loadConfig(withRules('["telemetry", {"topic": "alarms"}]')).config["upstream.topics"]).toEqual([
			TELEMETRY,
			alarms,
		]);
	});

	it("takes every member", () => {
		const rule = {
			topic: "sensors.*",
			to: "{gateway}.{topic}",
			partitioner: "same",
			priority: "high",
			order: "live-first",
			from: "latest",
		};
		expect(loadConfig(withRules(JSON.stringify([rule]))).config["upstream.topics"]).toEqual([rule]);
	});

	it("takes a narrower rule before a wider one, and the gateway's own topics by name", () => {
		const text = '[{"topic": "alarms", "priority": "high"}, "*", "__metrics"]';
		expect(loadConfig(withRules(text)).config["upstream.topics"]).toHaveLength(3);
	});

	it.each([
		["telemetry,,alarms", "has an empty name"],
		["[telemetry", "is no JSON"],
		['{"topic": "telemetry"}', "is no list"],
		["a b", 'rule 1 (a b): "topic" is "a b"; right would be 1 to 249 of letters'],
		["__*", "is a pattern for topics that begin with __"],
		['[{"to": "x"}]', 'rule 1: "topic" is missing'],
		['[{"topic": "a", "too": "x"}]', 'rule 1 (a): there is no "too"; did you mean to?'],
		['[{"topic": "a", "priority": "urgent"}]', '"priority": "urgent" is not right; right would be one of high, normal'],
		['[{"topic": "a", "to": "{gw}.x"}]', 'rule 1 (a): "to": there is no {gw}; right would be {topic} or {gateway}'],
		['[{"topic": "a", "to": "x y"}]', '"to" gives "x y", which is no topic'],
		['[{"topic": "a", "to": "{topic"}]', "which is no topic"],
		["telemetry,telemetry", "rule 2: rule 1 is for telemetry too"],
		["*,alarms", "rule 2 (alarms): is never reached, for rule 1 (*) stands before it"],
		["a*,ab*", "rule 2 (ab*): is never reached"],
		["[3]", "rule 1: is no map"],
	])("refuses %s: %s", (text, why) => {
		expect(told(withRules(text))).toContain(why);
	});

	it("says in which line of the file", () => {
		const message = told(
			file("upstream.bootstrap.servers: k:9092\nupstream.topics:\n  - { topic: a, order: newest }\n"),
		);
		expect(message).toBe(
			'h.yaml:2: upstream.topics: rule 1 (a): "order": "newest" is not right; right would be one of oldest-first, live-first',
		);
	});

	it.each([
		["*", "telemetry", true],
		["*", "__consumer", false],
		["_*", "__consumer", false],
		["__consumer", "__consumer", true],
		["a.*", "a.b", true],
		["a.*", "ab", false],
		["*-x-*", "a-x-b", true],
		["a*", "ba", false],
	])("%s fits %s: %s", (pattern, topic, yes) => {
		expect(fitsTopic(pattern, topic)).toBe(yes);
	});
});

describe("upstream.downlink", () => {
	it("takes names and rules", () => {
		const text = `
upstream.bootstrap.servers: k:9092
upstream.downlink:
  - commands
  - topic: fleet.settings
    to: settings
    key: "{gateway}"
    header: { name: site, value: "north-*" }
    from: earliest
    retain: true
`;
		expect(loadConfig(file(text)).config["upstream.downlink"]).toEqual([
			{ topic: "commands", to: "commands", from: "latest", retain: false },
			{
				topic: "fleet.settings",
				to: "settings",
				key: "{gateway}",
				header: { name: "site", value: "north-*" },
				from: "earliest",
				retain: true,
			},
		]);
	});

	it.each([
		["commands*", "full names, each in a rule"],
		["commands,commands", "rule 2: rule 1 is for commands too"],
		["__commands", "comes to __commands, and what begins with __ is the gateway's own"],
		['[{"topic": "a", "header.name": "x"}]', 'has only one of "header.name" and "header.value"'],
		['[{"topic": "a", "key": "{device}"}]', '"key": there is no {device}; right would be {gateway}'],
		['[{"topic": "a", "retain": "yes"}]', "true or false"],
		['[{"topic": "a", "to": ".."}]', '"to" is ".."'],
	])("refuses %s: %s", (text, why) => {
		expect(told(withRules("telemetry", text))).toContain(why);
	});
});

describe("what cannot hold together", () => {
	const SASL = "upstream.security.protocol=SASL_SSL";

	it.each([
		[[SERVERS], "nothing goes there (upstream.topics) or comes from it (upstream.downlink)"],
		[[TOPICS], "no central cluster is named (upstream.bootstrap.servers)"],
		[["upstream.downlink=commands"], "no central cluster is named"],
		[["upstream.bootstrap.servers=localhost:9092", TOPICS], "is this gateway's own Kafka door"],
		[
			[SERVERS, TOPICS, "upstream.sasl.username=u"],
			"is for a login, and PLAINTEXT (upstream.security.protocol) has none",
		],
		[[SERVERS, TOPICS, SASL], "SASL_SSL needs a login, and there is no user name"],
		[[SERVERS, TOPICS, SASL, "upstream.sasl.username=u"], "SASL_SSL needs a login, and there is no password"],
		[
			[SERVERS, TOPICS, SASL, "upstream.sasl.username=u", "upstream.sasl.password=p", "upstream.sasl.secret.file=f"],
			"is given, and upstream.sasl.secret.file too",
		],
		[[SERVERS, TOPICS, "upstream.tls.ca=ca.pem"], "is for TLS, and PLAINTEXT (upstream.security.protocol) has none"],
		[[SERVERS, TOPICS, "upstream.tls.insecure=true"], "is for TLS"],
		[
			[SERVERS, TOPICS, "upstream.security.protocol=SSL", "upstream.tls.key=k.pem"],
			"is given without upstream.tls.certificate",
		],
		[[SERVERS, TOPICS, "upstream.batch.bytes=8MiB"], "is more than upstream.transaction.bytes (4194304)"],
		[[SERVERS, "upstream.topics=__headwater_quarantine"], "which has what the central cluster refused"],
		[
			[SERVERS, 'upstream.topics=[{"topic": "a", "to": "__headwater_progress"}]'],
			"goes to __headwater_progress, which is the gateways' own",
		],
		[[SERVERS, "upstream.topics=*", "upstream.downlink=commands"], "a loop without end"],
		[
			[
				SERVERS,
				'upstream.topics=[{"topic": "a", "to": "x"}, {"topic": "b", "to": "y"}]',
				'upstream.downlink=[{"topic": "x", "to": "b"}, {"topic": "y", "to": "a"}]',
			],
			"a loop without end",
		],
	])("%j: %s", (set, why) => {
		expect(told({ set })).toContain(why);
	});

	it.each([
		[[SERVERS, TOPICS, SASL, "upstream.sasl.username=u", "upstream.sasl.secret.file=f"]],
		[[SERVERS, TOPICS, "upstream.security.protocol=SSL", "upstream.tls.key=k", "upstream.tls.certificate=c"]],
		[["upstream.bootstrap.servers=localhost:9092", "kafka.listen=127.0.0.1:9192", TOPICS]],
		[[SERVERS, "upstream.topics=telemetry", "upstream.downlink=commands"]],
		// What this gateway sends has its own name there.
		[[SERVERS, 'upstream.topics=[{"topic": "*", "to": "{gateway}.{topic}"}]', "upstream.downlink=commands"]],
		[[SERVERS, "upstream.downlink=commands"]],
	])("%j is taken", (set) => {
		expect(() => loadConfig({ set })).not.toThrow();
	});
});

describe("the password", () => {
	const secret = "hunter2";
	const set = [
		SERVERS,
		TOPICS,
		"upstream.security.protocol=SASL_SSL",
		"upstream.sasl.username=u",
		`upstream.sasl.password=${secret}`,
	];

	it("is used and never shown", () => {
		const loaded = loadConfig({ set });
		expect(loaded.config["upstream.sasl.password"]).toBe(secret);
		const shown = showConfig(loaded) + JSON.stringify(showConfigObjects(loaded));
		expect(shown).toContain('upstream.sasl.password: "(hidden)"');
		expect(shown + JSON.stringify(configAsText(loaded.config, ""))).not.toContain(secret);
	});

	it("is in no message", () => {
		expect(told({ set: [`upstream.sasl.password=${secret}`] })).not.toContain(secret);
		expect(told({ set: [`upstream.sasl.pasword=${secret}`] })).not.toContain(secret);
		expect(told(file(`upstream: { sasl: { password: [${secret}] } }\n`))).not.toContain(secret);
	});
});

describe("the JSON Schema", () => {
	it("takes names and rules", () => {
		const { $defs } = configJsonSchema() as { $defs: Record<string, { anyOf: unknown[] }> };
		expect($defs["upstream.topics"]!.anyOf).toMatchObject([
			{ type: "string" },
			{ type: "array", items: { anyOf: [{ type: "string" }, { required: ["topic"] }] } },
		]);
		expect($defs["upstream.downlink"]!.anyOf).toHaveLength(2);
	});
});

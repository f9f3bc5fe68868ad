/** DescribeConfigs, AlterConfigs and IncrementalAlterConfigs: what Apache Kafka 4.3.1 answered to the same requests, where one node can. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { configAsText } from "../../../src/config/as-text.ts";
import { DEFAULT_CONFIG } from "../../../src/config/keys.ts";
import { describeConfigs } from "../../../src/kafka/handlers/32-describe-configs.ts";
import { alterConfigs } from "../../../src/kafka/handlers/33-alter-configs.ts";
import { incrementalAlterConfigs } from "../../../src/kafka/handlers/44-incremental-alter-configs.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

const E = ERROR_CODES;
const [TOPIC, BROKER, LOGGER, METRICS, GROUP] = [2, 4, 8, 16, 32];
const [SET, DELETE, APPEND, SUBTRACT] = [0, 1, 2, 3];

let gateway: KafkaGateway;
let wire: KafkaWire;
beforeEach(async () => {
	const settings = configAsText(
		{ ...DEFAULT_CONFIG, "num.partitions": 7, "data.directory": "/data" },
		"9223372036854775807",
	);
	gateway = await KafkaGateway.start({ kafka: { settings } });
	wire = await gateway.connect();
	gateway.broker.topics.create({ name: "t", config: { "cleanup.policy": "compact" } });
});
afterEach(() => gateway.stop());

const configOf = (name = "t") => gateway.broker.topics.get(name)?.config;

describe("DescribeConfigs", () => {
	async function describeOne(
		resourceType: number,
		resourceName: string,
		{ keys = null as string[] | null, version = 4, includeSynonyms = true, includeDocumentation = false } = {},
	) {
		const resources = [{ resourceType, resourceName, configurationKeys: keys }];
		const { results } = await wire.request(describeConfigs, version, {
			resources,
			includeSynonyms,
			includeDocumentation,
		});
		expect(results).toHaveLength(1);
		return results[0] as (typeof results)[number];
	}

	it("gives every setting of a topic, those at their defaults too", async () => {
		const { errorCode, configs } = await describeOne(TOPIC, "t");
		expect([errorCode, configs.length]).toEqual([0, 33]);
		for (const config of configs) expect([config.name, typeof config.value]).toEqual([config.name, "string"]);
		expect(configs.find(({ name }) => name === "retention.ms")).toEqual({
			name: "retention.ms",
			value: "604800000",
			readOnly: false,
			configSource: 5,
			isSensitive: false,
			synonyms: [{ name: "log.retention.ms", value: "604800000", source: 5 }],
			configType: 5,
			documentation: null,
		});
	});

	it.each([1, 2, 3, 4])(
		"version %i gives the keys that are asked for, with what stands behind them",
		async (version) => {
			const keys = ["cleanup.policy", "nonsense"];
			const { configs } = await describeOne(TOPIC, "t", { keys, version, includeDocumentation: version >= 3 });
			expect(configs).toEqual([
				{
					name: "cleanup.policy",
					value: "compact",
					readOnly: false,
					configSource: 1,
					isSensitive: false,
					synonyms: [
						{ name: "cleanup.policy", value: "compact", source: 1 },
						{ name: "log.cleanup.policy", value: "delete", source: 5 },
					],
					configType: version >= 3 ? 7 : 0,
					documentation: version >= 3 ? expect.stringContaining("compact:") : "",
				},
			]);
			const without = await describeOne(TOPIC, "t", { keys, version, includeSynonyms: false });
			expect(without.configs).toMatchObject([{ synonyms: [] }]);
			expect((await describeOne(TOPIC, "t", { keys: [], version })).configs).toHaveLength(33);
		},
	);

	it("says which of a topic's defaults are from the gateway's configuration", async () => {
		const other = await KafkaGateway.start({ broker: { topicDefaults: { "log.retention.ms": "5000" } } });
		other.broker.topics.create({ name: "t" });
		const resources = [{ resourceType: TOPIC as number, resourceName: "t", configurationKeys: ["retention.ms"] }];
		const { results } = await (await other.connect()).request(describeConfigs, 4, { resources, includeSynonyms: true });
		expect(results[0]?.configs).toMatchObject([
			{
				value: "5000",
				configSource: 4,
				synonyms: [
					{ name: "log.retention.ms", value: "5000", source: 4 },
					{ name: "log.retention.ms", value: "604800000", source: 5 },
				],
			},
		]);
		await other.stop();
	});

	it("gives the broker's settings in force, read only", async () => {
		const { errorCode, configs } = await describeOne(BROKER, "1");
		expect(errorCode).toBe(0);
		expect(configs.every(({ readOnly }) => readOnly)).toBe(true);
		const value = new Map(configs.map((config) => [config.name, config.value]));
		expect(Object.fromEntries(WANTED_OF_BROKER.map((name) => [name, value.get(name)]))).toEqual({
			"advertised.listeners": `PLAINTEXT://127.0.0.1:${gateway.port}`,
			"auto.create.topics.enable": "true",
			"broker.id": "1",
			"default.replication.factor": "1",
			"delete.topic.enable": "true",
			"log.dirs": "/data",
			"log.retention.ms": "604800000",
			"message.max.bytes": "1048588",
			"min.insync.replicas": "1",
			"node.id": "1",
			"num.partitions": "7",
			"offsets.topic.replication.factor": "1",
			"process.roles": "broker,controller",
			"transaction.state.log.min.isr": "1",
		});
		expect(configs.find(({ name }) => name === "num.partitions")).toMatchObject({
			configSource: 4,
			configType: 3,
			synonyms: [
				{ name: "num.partitions", value: "7", source: 4 },
				{ name: "num.partitions", value: "4", source: 5 },
			],
		});
		const names = configs.map(({ name }) => name);
		expect(names).toEqual([...new Set(names)].sort());
	});

	it.each<[string, number, string, number]>([
		["a topic that is not there", TOPIC as number, "none", E.UNKNOWN_TOPIC_OR_PARTITION],
		["a name that is no topic's", TOPIC as number, "..", E.INVALID_TOPIC_EXCEPTION],
		["another broker", BROKER as number, "2", E.INVALID_REQUEST],
		["a broker that is no number", BROKER as number, "x", E.INVALID_REQUEST],
		["another broker's loggers", LOGGER as number, "2", E.INVALID_REQUEST],
		["loggers of no broker", LOGGER as number, "", E.INVALID_REQUEST],
		["client metrics", METRICS as number, "m", E.INVALID_REQUEST],
		["a group", GROUP as number, "g", E.INVALID_REQUEST],
		["nothing known", 3, "x", E.INVALID_REQUEST],
	])("refuses %s", async (_what, type, name, errorCode) => {
		expect(await describeOne(type, name)).toMatchObject({ errorCode, resourceName: name, configs: [] });
	});

	it("knows of nothing that is set for all brokers together, and of no loggers", async () => {
		expect(await describeOne(BROKER as number, "")).toMatchObject({ errorCode: 0, configs: [] });
		expect(await describeOne(LOGGER as number, "1")).toMatchObject({ errorCode: 0, configs: [] });
	});
});

const WANTED_OF_BROKER = [
	"advertised.listeners",
	"auto.create.topics.enable",
	"broker.id",
	"default.replication.factor",
	"delete.topic.enable",
	"log.dirs",
	"log.retention.ms",
	"message.max.bytes",
	"min.insync.replicas",
	"node.id",
	"num.partitions",
	"offsets.topic.replication.factor",
	"process.roles",
	"transaction.state.log.min.isr",
];

describe("AlterConfigs", () => {
	const alter = async (configs: { name: string; value: string | null }[], version = 2, more: object = {}) => {
		const resources = [{ resourceType: TOPIC as number, resourceName: "t", configs }];
		return (await wire.request(alterConfigs, version, { resources, ...more })).responses;
	};

	it.each([0, 1, 2])("version %i replaces all of a topic's own settings", async (version) => {
		expect(await alter([{ name: "retention.ms", value: " 5000 " }], version)).toEqual([
			{ errorCode: 0, errorMessage: null, resourceType: TOPIC, resourceName: "t" },
		]);
		expect(configOf()).toEqual({ "retention.ms": "5000" });
	});

	it("changes nothing where it refuses, or is to check only", async () => {
		const before = configOf();
		expect(await alter([{ name: "retention.ms", value: null }])).toMatchObject([{ errorCode: E.INVALID_REQUEST }]);
		expect(await alter([{ name: "nonsense", value: "1" }])).toMatchObject([{ errorCode: E.INVALID_CONFIG }]);
		expect(await alter([{ name: "retention.ms", value: "x" }])).toMatchObject([{ errorCode: E.INVALID_CONFIG }]);
		const twice = ["1", "2"].map((value) => ({ name: "retention.ms", value }));
		expect(await alter(twice)).toMatchObject([{ errorCode: E.INVALID_REQUEST }]);
		expect(await alter([], 2, { validateOnly: true })).toMatchObject([{ errorCode: 0 }]);
		expect(configOf()).toEqual(before);
	});
});

describe("IncrementalAlterConfigs", () => {
	type Change = { name: string; configOperation: number; value: string | null };
	const change = (name: string, configOperation: number | undefined, value: string | null): Change => ({
		name,
		configOperation: configOperation as number,
		value,
	});
	const alter = async (
		configs: Change[],
		{ type = TOPIC as number, name = "t", validateOnly = false, version = 1 } = {},
	) => {
		const resources = [{ resourceType: type, resourceName: name, configs }];
		const { responses } = await wire.request(incrementalAlterConfigs, version, { resources, validateOnly });
		expect(responses).toMatchObject([{ resourceType: type, resourceName: name }]);
		return responses[0]?.errorCode;
	};

	it.each([0, 1])("version %i sets, takes back, adds to and takes from", async (version) => {
		const steps: [Change[], Record<string, string>][] = [
			[[change("retention.ms", SET, "7777")], { "cleanup.policy": "compact", "retention.ms": "7777" }],
			[[change("cleanup.policy", APPEND, "delete")], { "cleanup.policy": "compact,delete", "retention.ms": "7777" }],
			[[change("cleanup.policy", APPEND, "delete")], { "cleanup.policy": "compact,delete", "retention.ms": "7777" }],
			[
				[change("cleanup.policy", SUBTRACT, "compact"), change("retention.ms", DELETE, null)],
				{ "cleanup.policy": "delete" },
			],
			[[change("retention.ms", DELETE, null), change("nonsense", DELETE, null)], { "cleanup.policy": "delete" }],
			[[change("cleanup.policy", SUBTRACT, "delete")], { "cleanup.policy": "" }],
			[[change("cleanup.policy", DELETE, null)], {}],
			[[change("cleanup.policy", APPEND, "compact")], { "cleanup.policy": "delete,compact" }],
		];
		for (const [changes, expected] of steps) {
			expect(await alter(changes, { version })).toBe(0);
			expect(configOf()).toEqual(expected);
		}
	});

	it.each<[string, Change[], number]>([
		["a list's operation on what is none", [change("retention.ms", APPEND, "1")], E.INVALID_CONFIG],
		["an unknown operation", [change("retention.ms", 9, "1")], E.INVALID_REQUEST],
		["null", [change("retention.ms", SET, null)], E.INVALID_REQUEST],
		["an unknown setting", [change("nonsense", SET, "1")], E.INVALID_CONFIG],
		["an unknown list", [change("nonsense", APPEND, "1")], E.INVALID_CONFIG],
		["a wrong value", [change("retention.ms", SET, "x")], E.INVALID_CONFIG],
		["a wrong item", [change("cleanup.policy", APPEND, "burn")], E.INVALID_CONFIG],
		["a setting given twice", [change("retention.ms", SET, "1"), change("retention.ms", SET, "2")], E.INVALID_REQUEST],
	])("refuses %s, and all that comes with it", async (_what, changes, errorCode) => {
		expect(await alter([change("segment.ms", SET, "1000"), ...changes])).toBe(errorCode);
		expect(configOf()).toEqual({ "cleanup.policy": "compact" });
	});

	it.each<[string, number | undefined, string, number]>([
		["a topic that is not there", TOPIC, "none", E.UNKNOWN_TOPIC_OR_PARTITION],
		["a name that is no topic's", TOPIC, "..", E.INVALID_TOPIC_EXCEPTION],
		["all topics together", TOPIC, "", E.INVALID_REQUEST],
		["this broker, whose configuration is a file", BROKER, "1", E.INVALID_REQUEST],
		["all brokers together", BROKER, "", E.INVALID_REQUEST],
		["another broker", BROKER, "2", E.INVALID_REQUEST],
		["a logger, of which there are none", LOGGER, "1", E.INVALID_CONFIG],
		["client metrics", METRICS, "m", E.INVALID_REQUEST],
		["a group", GROUP, "g", E.INVALID_REQUEST],
	])("refuses %s", async (_what, type, name, errorCode) => {
		expect(await alter([change("retention.ms", SET, "5")], { type: type as number, name })).toBe(errorCode);
	});

	it("only checks where that is asked", async () => {
		expect(await alter([change("retention.ms", SET, "5")], { validateOnly: true })).toBe(0);
		expect(await alter([change("retention.ms", SET, "x")], { validateOnly: true })).toBe(E.INVALID_CONFIG);
		expect(configOf()).toEqual({ "cleanup.policy": "compact" });
	});

	it("serves each resource for itself, but none that is there twice", async () => {
		gateway.broker.topics.create({ name: "u" });
		const resource = (resourceName: string) => ({
			resourceType: TOPIC as number,
			resourceName,
			configs: [change("retention.ms", SET, "5")],
		});
		const { responses } = await wire.request(incrementalAlterConfigs, 1, { resources: ["t", "u", "t"].map(resource) });
		expect(responses.map(({ errorCode }) => errorCode)).toEqual([E.INVALID_REQUEST, 0, E.INVALID_REQUEST]);
		expect([configOf("t"), configOf("u")]).toEqual([{ "cleanup.policy": "compact" }, { "retention.ms": "5" }]);
	});

	it("holds for the records that come next, and across a restart", async () => {
		await alter([change("max.message.bytes", SET, "1000")]);
		expect(gateway.broker.topics.get("t")?.partitions[0]?.config.maxMessageBytes).toBe(1000);
		await gateway.kill();
		await gateway.start();
		expect(gateway.broker.topics.get("t")?.partitions[0]?.config.maxMessageBytes).toBe(1000);
	});
});

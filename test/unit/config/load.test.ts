import { describe, expect, it } from "vitest";
import { DEFAULT_CONFIG, KEY_NAMES } from "../../../src/config/keys.ts";
import { type ConfigSources, loadConfig } from "../../../src/config/load.ts";
import { ConfigError, formatProblem } from "../../../src/config/problems.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const file = (text: string) => ({ name: "headwater.yaml", content: readYaml(text) });

function problemsOf(sources: ConfigSources): string[] {
	try {
		loadConfig(sources);
	} catch (error) {
		expect(error).toBeInstanceOf(ConfigError);
		return (error as ConfigError).problems.map(formatProblem);
	}
	throw new Error("the configuration was taken");
}

describe("where values come from", () => {
	it("starts on the defaults alone", () => {
		const { config, sources } = loadConfig();
		expect(config).toEqual(DEFAULT_CONFIG);
		expect(new Set(Object.values(sources))).toEqual(new Set(["default"]));
		expect(config["mqtt.listen"]).toEqual({ host: "127.0.0.1", port: 1883 });
		expect(config["native.listen"]).toEqual({ host: "127.0.0.1", port: 9470 });
	});

	it("takes --set before the environment, that before the file, that before the default", () => {
		const all = {
			file: file("num.partitions: 2\ncommit.linger.ms: 2\nnative.max.connections: 2"),
			environment: { HEADWATER_NUM_PARTITIONS: "3", HEADWATER_COMMIT_LINGER_MS: "3" },
			set: ["num.partitions=4"],
		};
		const { config, sources } = loadConfig(all);
		expect([config["num.partitions"], config["commit.linger.ms"], config["native.max.connections"]]).toEqual([4, 3, 2]);
		expect(config["mqtt.max.connections"]).toBe(10_000);
		expect(sources["num.partitions"]).toBe("--set num.partitions=4");
		expect(sources["commit.linger.ms"]).toBe("environment HEADWATER_COMMIT_LINGER_MS");
		expect(sources["native.max.connections"]).toBe("headwater.yaml:3");
	});

	it("takes --data over every other source of data.directory, and the last of two --set", () => {
		const { config } = loadConfig({
			environment: { HEADWATER_DATA_DIRECTORY: "/e" },
			set: ["data.directory=/s", "num.partitions=1", "num.partitions=7"],
			dataDirectory: "/d",
		});
		expect(config["data.directory"]).toBe("/d");
		expect(config["num.partitions"]).toBe(7);
	});

	it("reads nested and dotted maps alike, at any depth", () => {
		const values = [
			"mqtt.listen: 1.2.3.4:5\nlog.retention.ms: 400000",
			"mqtt: {listen: '1.2.3.4:5'}\nlog:\n  retention:\n    ms: 400000",
			"mqtt:\n  listen: 1.2.3.4:5\nlog.retention: {ms: 400000}",
		].map((text) => loadConfig({ file: file(text) }).config);
		for (const config of values) {
			expect(config["mqtt.listen"]).toEqual({ host: "1.2.3.4", port: 5 });
			expect(config["log.retention.ms"]).toBe(400_000);
		}
	});

	it("takes an empty file and a file of comments as no settings", () => {
		expect(loadConfig({ file: file("") }).config).toEqual(DEFAULT_CONFIG);
		expect(loadConfig({ file: file("# nothing yet\n") }).config).toEqual(DEFAULT_CONFIG);
	});

	it("leaves variables of the commands and of other programs alone", () => {
		const environment = {
			HEADWATER_CONNECT: "x:1",
			HEADWATER_DEBUG: "1",
			HEADWATER_CONFIG: "f",
			PATH: "/bin",
			HEADWATERX: "1",
		};
		expect(loadConfig({ environment }).config).toEqual(DEFAULT_CONFIG);
	});

	it("has an environment variable of its own for every key, and no key that is a prefix of another", () => {
		const names = KEY_NAMES.map((key) => key.toUpperCase().replaceAll(".", "_"));
		expect(new Set(names).size).toBe(KEY_NAMES.length);
		for (const key of KEY_NAMES) expect(KEY_NAMES.filter((other) => other.startsWith(`${key}.`))).toEqual([]);
	});

	it("takes sizes and times with units", () => {
		const set = [
			"log.segment.bytes=16MiB",
			"log.retention.ms=1.5d",
			"mqtt.max.session.expiry.seconds=2h",
			"log.roll.ms=90s",
		];
		const { config } = loadConfig({ set });
		expect(config["log.segment.bytes"]).toBe(16_777_216);
		expect(config["log.retention.ms"]).toBe(129_600_000);
		expect(config["mqtt.max.session.expiry.seconds"]).toBe(7200);
		expect(config["log.roll.ms"]).toBe(90_000);
	});

	it("takes -1 only where it means something", () => {
		expect(loadConfig({ set: ["log.retention.ms=-1"] }).config["log.retention.ms"]).toBe(-1);
		expect(problemsOf({ set: ["commit.linger.ms=-1"] })[0]).toContain('commit.linger.ms: "-1" is too small');
	});

	it("takes a list of routes from the file and, as JSON, from --set", () => {
		const route = { filter: "a/{b}", topic: "t", key: "{b}", headers: { h: "{b}" } };
		expect(loadConfig({ set: [`routes=${JSON.stringify([route])}`] }).config.routes).toEqual([route]);
		const text = "routes:\n  - filter: a/{b}\n    topic: t\n    key: '{b}'\n    headers: {h: '{b}'}\n";
		expect(loadConfig({ file: file(text) }).config.routes).toEqual([route]);
	});

	it("takes everything that a route can have", () => {
		const routes = [
			{
				filter: "a/{b}",
				topic: "t",
				timestamp: "{json.ts}",
				rewrite: "c/{b}",
				priority: -1,
				continue: true,
				qos0: "drop-under-pressure",
				durability: "disk",
			},
			{ filter: "#", durability: "memory" },
		];
		expect(loadConfig({ set: [`routes=${JSON.stringify(routes)}`] }).config.routes).toEqual(routes);
	});

	it("takes an IPv6 address in brackets", () => {
		expect(loadConfig({ set: ["mqtt.listen=[::1]:0"] }).config["mqtt.listen"]).toEqual({ host: "::1", port: 0 });
	});
});

describe("what is wrong", () => {
	it("says key, fault, place and remedy of each problem, all at once", () => {
		const told = problemsOf({
			file: file("mqtt:\n  lsten: 1\n  listen: 1883\n"),
			environment: { HEADWATER_MQTT_LITSEN: "x" },
			set: ["log.level=warning"],
		});
		expect(told).toEqual([
			"headwater.yaml:2: mqtt.lsten: there is no such key; did you mean mqtt.listen?",
			"environment HEADWATER_MQTT_LITSEN: sets no key that there is; did you mean HEADWATER_MQTT_LISTEN (mqtt.listen)?",
			'headwater.yaml:3: mqtt.listen: 1883 has no host; did you mean "127.0.0.1:1883"?',
			'--set log.level=warning: log.level: "warning" is no choice here; did you mean warn? one of debug, info, warn, error',
		]);
	});

	it.each([
		["retention.ms=1", "did you mean log.retention.ms?"],
		["log.retention.hours=1", "did you mean log.retention.ms?"],
		["listen=a:1", "did you mean mqtt.listen?"],
		["qqqq=1", "right would be a key that `headwater config show` lists"],
	])("--set %s: there is no such key; %s", (set, right) => {
		expect(problemsOf({ set: [set] })).toEqual([`--set ${set}: ${set.split("=")[0]}: there is no such key; ${right}`]);
	});

	it.each([
		["mqtt.listen=1883", 'did you mean "127.0.0.1:1883"?'],
		["mqtt.listen=gateway", 'did you mean "gateway:1883"?'],
		["mqtt.listen=a:99999", "no such port as 99999"],
		["mqtt.listen=a:-1", "no such port as -1"],
		["mqtt.listen=a:", "no port"],
		["mqtt.listen=::1:1883", 'an IPv6 address in brackets, as "[::1]:1883"'],
		["mqtt.listen=a b:1", "is no address"],
		["mqtt.listen=", "has no value"],
		["log.segment.bytes=64MB", "did you mean 64MiB?"],
		["log.segment.bytes=much", '"much" is no number'],
		["log.segment.bytes=1.5", "is no whole number"],
		["log.segment.bytes=4GiB", "is too large; right would be a whole number of bytes from 1024 to 2147483647"],
		["log.retention.ms=7x", '"7x" is no number'],
		["num.partitions=4h", '"4h" is no number'],
		["journal.files.max=1", "from 2 to 64"],
		["routes=[", "is no JSON"],
		["routes={}", "is a map"],
		['routes=[{"filter":"a"}]', 'route 1: "topic" is missing'],
		[
			'routes=[{"filter":"a","topic":"t"},{"filtr":"a","topic":"t"}]',
			'route 2: there is no "filtr" in a route; did you mean filter?',
		],
		['routes=[{"filter":"a","topic":"t","key":7}]', '"key" is a number'],
		['routes=[{"filter":"a","topic":"t","key":""}]', '"key" is empty'],
		['routes=[{"filter":"a","topic":"t","headers":{"a":1}}]', 'header "a" is a number'],
		['routes=[{"filter":"a","durability":"disk"}]', 'route 1: "topic" is missing'],
		['routes=[{"filter":"a","topic":"t","rewrite":5}]', '"rewrite" is a number'],
		['routes=[{"filter":"a","topic":"t","timestamp":""}]', '"timestamp" is empty'],
		['routes=[{"filter":"a","topic":"t","priority":"1"}]', '"priority" is "1"; right would be a whole number'],
		['routes=[{"filter":"a","topic":"t","priority":1.5}]', '"priority" is 1.5'],
		['routes=[{"filter":"a","topic":"t","continue":"yes"}]', '"continue" is "yes"; right would be true or false'],
		['routes=[{"filter":"a","topic":"t","durability":"ram"}]', '"durability": "ram" is no choice here; right would be'],
		['routes=[{"filter":"a","topic":"t","qos0":"drop"}]', '"qos0": "drop" is no choice here'],
		["novalue", "is no key=value"],
	])("--set %s is refused with: %s", (set, told) => {
		const problems = problemsOf({ set: [set] });
		expect(problems).toHaveLength(1);
		expect(problems[0]).toContain(told);
		expect(problems[0]?.startsWith(`--set ${set}: `)).toBe(true);
	});

	it.each([
		["log.level: [info]", 'headwater.yaml:1: log.level: ["info"] is no choice here'],
		["\ndata.directory: 5", 'headwater.yaml:2: data.directory: 5 is a number; right would be text; in quotes: "5"'],
		["mqtt.listen:", "headwater.yaml:1: mqtt.listen: has no value"],
		["num.partitions: true", "num.partitions: true is the word true"],
		["mqtt: {listen: {host: a}}", 'mqtt.listen: {"host":"a"} is a map'],
		[
			"routes: [{filter: a, topic: t, key: {device}}]",
			'"key" is a map; right would be a template in quotes, as "{device}"',
		],
		["a: [1\nb: 2", "headwater.yaml:2: "],
		["num.partitions: 1\nnum.partitions: 2", "headwater.yaml:2: the same key stands twice in one map"],
		["num.partitions: 1\nnum: {partitions: 2}", "headwater.yaml:2: num.partitions: is set twice, in line 1 too"],
		["- a\n- b", "headwater.yaml:1: is no map of keys and values"],
		["mqtt: 5", "headwater.yaml:1: mqtt: there is no such key"],
		["log.level: &a info\ndata.directory: *a", "right would be no anchors and aliases"],
	])("a file that says %j is refused with: %s", (text, told) => {
		expect(problemsOf({ file: file(text) }).join("\n")).toContain(told);
	});

	it.each(["gateway.local", "SSL://gateway.local:9093", "PLAINTEXT://a:1,PLAINTEXT://b:2", "a:123456"])(
		"advertised.listeners=%s is refused",
		(value) => {
			expect(problemsOf({ set: [`advertised.listeners=${value}`] })).toEqual([
				expect.stringContaining("right would be host:port or PLAINTEXT://host:port"),
			]);
		},
	);

	it.each(["gateway.local:9092", "PLAINTEXT://gateway.local:9092", "PLAINTEXT://[fe80::1]:9092", ""])(
		"advertised.listeners=%s is taken",
		(value) => {
			expect(loadConfig({ set: [`advertised.listeners=${value}`] }).config["advertised.listeners"]).toBe(value);
		},
	);

	it("refuses an empty variable rather than guessing", () => {
		expect(problemsOf({ environment: { HEADWATER_LOG_LEVEL: "" } })).toEqual([
			"environment HEADWATER_LOG_LEVEL: log.level: has no value; right would be one of debug, info, warn, error",
		]);
	});
});

describe("contradictions", () => {
	it.each([
		[["mqtt.listen=127.0.0.1:9470"], "mqtt.listen: 127.0.0.1:9470 is the port of native.listen too"],
		[
			["native.listen=0.0.0.0:1883"],
			"mqtt.listen (with native.listen): 127.0.0.1:1883 is the port of native.listen too (0.0.0.0:1883)",
		],
		[
			[
				"message.max.bytes=40MiB",
				"native.max.frame.bytes=64MiB",
				"socket.request.max.bytes=64MiB",
				"memory.budget.bytes=64MiB",
			],
			"more than journal.file.bytes (33554432) lets",
		],
		[
			["log.segment.bytes=1MiB"],
			"message.max.bytes (with log.segment.bytes): 1048588 is more than log.segment.bytes (1048576) lets",
		],
		[
			["memory.budget.bytes=4MiB"],
			"native.max.frame.bytes (with memory.budget.bytes): 8388608 is more than memory.budget.bytes",
		],
		[["mqtt.max.packet.bytes=2MiB"], "a packet that large could not be stored"],
		[["native.max.frame.bytes=64KiB"], "a record batch has to fit a frame"],
		[["socket.request.max.bytes=64KiB"], "a record batch has to fit a request"],
		[["kafka.listen=127.0.0.1:9480"], "kafka.listen: 127.0.0.1:9480 is the port of http.listen too"],
		[["log.retention.bytes=1MiB"], "less than one segment (log.segment.bytes 67108864)"],
		[["log.retention.ms=1s"], "log.retention.ms: 1000 is less than the time between two looks"],
	])("%j: %s", (set, told) => {
		const problems = problemsOf({ set });
		expect(problems).toHaveLength(1);
		expect(problems[0]).toContain(told);
		expect(problems[0]?.startsWith("--set ")).toBe(true);
	});

	it("lets two doors share a port number on different addresses, or take free ones", () => {
		loadConfig({ set: ["mqtt.listen=127.0.0.1:7000", "native.listen=127.0.0.2:7000"] });
		loadConfig({ set: ["mqtt.listen=127.0.0.1:0", "native.listen=127.0.0.1:0"] });
	});

	it("holds none among the defaults", () => {
		expect(() => loadConfig()).not.toThrow();
	});
});

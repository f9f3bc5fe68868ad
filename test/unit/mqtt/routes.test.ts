import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RouteSpec, Routes } from "../../../bridge/mqtt/routes.ts";
import { filterMatches } from "../../../bridge/mqtt/topic-filter.ts";

const DEFAULTS: RouteSpec[] = [
	{ filter: "sensors/{site}/{device}/telemetry", topic: "telemetry", key: "{device}", headers: { site: "{site}" } },
	{ filter: "#", topic: "mqtt", key: "{topic}" },
];

describe("a route", () => {
	it("fills topic, key and headers from the named levels", () => {
		expect(new Routes(DEFAULTS).route("sensors/north/dev7/telemetry")).toMatchObject({
			topic: "telemetry",
			key: "dev7",
			headers: [["site", "north"]],
		});
	});

	it("gives the whole MQTT topic for {topic}", () => {
		expect(new Routes(DEFAULTS).route("home/light")).toMatchObject({ topic: "mqtt", key: "home/light", headers: [] });
	});

	it("wins over the routes after it", () => {
		const routes = new Routes([
			{ filter: "a/{x}", topic: "first" },
			{ filter: "{y}/b", topic: "second" },
		]);
		expect(routes.route("a/b")?.topic).toBe("first");
		expect(routes.route("c/b")?.topic).toBe("second");
		expect(routes.route("c/d")).toBeUndefined();
	});

	it("joins text and levels in a template, and matches + and #", () => {
		const routes = new Routes([{ filter: "{a}/+/{b}/#", topic: "t", key: "<{b}-{a}>" }]);
		expect(routes.route("x/y/z/u/v")?.key).toBe("<z-x>");
		expect(routes.route("x/y/z")?.key).toBe("<z-x>");
		expect(routes.route("x/y")).toBeUndefined();
	});

	it("gives what # took for {#}, which may be nothing", () => {
		const routes = new Routes([{ filter: "a/{b}/#", topic: "t", key: "{#}", headers: { rest: "<{#}>" } }]);
		expect(routes.route("a/b/c/d")).toMatchObject({ key: "c/d", headers: [["rest", "<c/d>"]] });
		expect(routes.route("a/b")?.key).toBe("");
	});

	it("of a higher priority comes first, equal ones in the list's order", () => {
		const routes = new Routes([
			{ filter: "a/+", topic: "low" },
			{ filter: "#", topic: "lowest", priority: -1 },
			{ filter: "+/b", topic: "high", priority: 1 },
			{ filter: "a/#", topic: "low-too" },
		]);
		const topicOf = (topic: string) => routes.route(topic)?.topic;
		expect(["a/b", "a/c", "a", "x"].map(topicOf)).toEqual(["high", "low", "low-too", "lowest"]);
		expect(routes.topics).toEqual(["low", "lowest", "high", "low-too"]);
	});

	it("that continues lets the next one apply as well, until one does not", () => {
		const routes = new Routes([
			{ filter: "a/#", topic: "one", continue: true },
			{ filter: "a/b", topic: "two", continue: true },
			{ filter: "+/+", topic: "three" },
			{ filter: "#", topic: "four" },
		]);
		const topicsOf = (topic: string) => routes.routesOf(topic).map((routed) => routed.topic);
		expect(topicsOf("a/b")).toEqual(["one", "two", "three"]);
		expect(topicsOf("a/x")).toEqual(["one", "three"]);
		expect(topicsOf("a")).toEqual(["one", "four"]);
		expect(topicsOf("x/y")).toEqual(["three"]);
	});

	it("keeps fields of the payload apart from what is known before it, the same field under one number", () => {
		const spec = { filter: "{a}", topic: "t", key: "{a}-{json.b.c}", headers: { h: "{json.b.c}", i: "{a}" } };
		const routed = new Routes([{ ...spec, timestamp: "{json.ts}" }]).route("x");
		expect(routed).toMatchObject({
			key: ["x-", 0],
			headers: [
				["h", [0]],
				["i", "x"],
			],
			timestampSlot: 1,
		});
	});

	it.each([
		["plant/{site}/{device}", "plant/north/d7"],
		["{topic}", "s/north/d7/x/y"],
		["all/{topic}/end", "all/s/north/d7/x/y/end"],
		["new/{site}/{#}", "new/north/x/y"],
		["site-{site}", "site-north"],
		["fixed", "fixed"],
	])("with rewrite %s makes %s", (rewrite, made) => {
		const routes = new Routes([{ filter: "s/{site}/{device}/#", topic: "t", rewrite }]);
		expect(routes.route("s/north/d7/x/y")?.rewritten).toBe(made);
		expect(routes.filtersOf("t").some((filter) => filterMatches(filter, made))).toBe(true);
	});

	it("whose rewrite ends with {#} leaves no empty level where # takes nothing", () => {
		const routes = new Routes([{ filter: "old/#", topic: "t", rewrite: "new/{#}" }]);
		expect(routes.route("old")?.rewritten).toBe("new");
		expect(routes.route("old/")?.rewritten).toBe("new/");
		expect(routes.route("old/x")?.rewritten).toBe("new/x");
	});

	it("tells where the levels make no topic name", () => {
		const routes = new Routes([{ filter: "{a}/{b}", topic: "t", rewrite: "{b}" }]);
		expect(routes.route("x/y")?.rewritten).toBe("y");
		expect(routes.route("x/")?.rewritten).toBe("");
		expect(routes.route("x/$SYS")?.rewritten).toBe("");
		const long = new Routes([{ filter: "{a}", topic: "t", rewrite: "{a}{a}" }]);
		expect(long.route("x".repeat(40_000))?.rewritten).toBe("");
	});

	it("of durability memory has no topic", () => {
		const routes = new Routes([{ filter: "a", durability: "memory", rewrite: "b" }]);
		expect(routes.route("a")).toMatchObject({ topic: undefined, rewritten: "b" });
		expect(routes.topics).toEqual([]);
	});

	it("does not take topics that begin with $", () => {
		expect(new Routes(DEFAULTS).route("$SYS/broker")).toBeUndefined();
	});

	const refused: [name: string, spec: RouteSpec[], message: RegExp][] = [
		["a name that is part of a level", [{ filter: "a/x{b}", topic: "t" }], /routes\[0\].*a\/x\{b\}.*whole level/],
		["two levels of one name", [{ filter: "{a}/{a}", topic: "t" }], /names two levels/],
		["a level called topic", [{ filter: "{topic}/a", topic: "t" }], /whole MQTT topic/],
		[
			"a key with an unknown name",
			[{ filter: "{a}", topic: "t", key: "{b}" }],
			/key: \{b\}.*known here: \{a\}, \{topic\}/,
		],
		["an unpaired brace", [{ filter: "{a}", topic: "t", key: "{a" }], /brace without its partner/],
		["# before the end", [{ filter: "a/#/b", topic: "t" }], /# must be the whole last level/],
		["+ in a level", [{ filter: "a+/b", topic: "t" }], /\+ must be a whole level/],
		["a $ topic", [{ filter: "$SYS/#", topic: "t" }], /belong to the broker/],
		["a topic that is no topic name", [{ filter: "a", topic: "x/y" }], /"x\/y" is not a topic name/],
		["a header of the door's own", [{ filter: "a", topic: "t", headers: { "mqtt.topic": "x" } }], /the door's own/],
		["an empty filter", [{ filter: "", topic: "t" }], /at least one character/],
		[
			"a route behind the catch-all",
			[
				{ filter: "#", topic: "t" },
				{ filter: "a", topic: "u" },
			],
			/routes\[1\].*never reached: routes\[0\].*catch-all last/,
		],
		[
			"the same filter twice",
			[
				{ filter: "a/{b}", topic: "t" },
				{ filter: "a/+", topic: "u" },
			],
			/routes\[1\].*never reached/,
		],
		[
			"a narrower filter behind a wider one",
			[
				{ filter: "a/#", topic: "t" },
				{ filter: "a/+/c", topic: "u" },
			],
			/routes\[1\] \(a\/\+\/c\) ?:? ?is never reached: routes\[0\]/,
		],
		[
			"a wider one of a higher priority, though it is listed later",
			[
				{ filter: "a/b", topic: "t" },
				{ filter: "a/+", topic: "u", priority: 1 },
			],
			/routes\[0\].*never reached: routes\[1\].*priority/,
		],
		["a priority that is no whole number", [{ filter: "a", topic: "t", priority: 0.5 }], /priority 0\.5/],
		[
			"continue where nothing comes after",
			[
				{ filter: "b", topic: "t" },
				{ filter: "a/+", topic: "t", continue: true },
			],
			/routes\[1\].*continue has no effect/,
		],
		["no topic", [{ filter: "a" }], /has no topic; only .* durability memory/],
		[
			"memory and a topic",
			[{ filter: "a", topic: "t", durability: "memory" }],
			/topic has no effect with durability memory/,
		],
		["memory and a key", [{ filter: "a", key: "k", durability: "memory" }], /key has no effect/],
		["memory and headers", [{ filter: "a", headers: {}, durability: "memory" }], /headers has no effect/],
		[
			"memory and a timestamp",
			[{ filter: "a", timestamp: "{json.t}", durability: "memory" }],
			/timestamp has no effect/,
		],
		[
			"a field without a name",
			[{ filter: "a", topic: "t", key: "{json.a..b}" }],
			/key: \{json\.a\.\.b\}.*empty field name/,
		],
		[
			"a field too deep to be read",
			[{ filter: "a", topic: "t", key: `{json${".x".repeat(33)}}` }],
			/goes 33 levels deep; a payload is read to 32/,
		],
		[
			"a timestamp that is no field",
			[{ filter: "{a}", topic: "t", timestamp: "{a}" }],
			/timestamp: "\{a\}".*one field/,
		],
		["a timestamp of two", [{ filter: "a", topic: "t", timestamp: "{json.d}{json.t}" }], /one field of the payload/],
		[
			"a rewrite with a field",
			[{ filter: "a", topic: "t", rewrite: "b/{json.x}" }],
			/rewrite: \{json\.x\} cannot stand here/,
		],
		["a rewrite with a wildcard", [{ filter: "a/#", topic: "t", rewrite: "b/#" }], /rewrite: .*wildcard.*\{#\}/],
		["a rewrite to $SYS", [{ filter: "a", topic: "t", rewrite: "$SYS/x" }], /rewrite: .*belong to the broker/],
		["a rewrite with a line break", [{ filter: "a", topic: "t", rewrite: "b\nc" }], /"b\\nc" has characters/],
		["an empty rewrite", [{ filter: "a", topic: "t", rewrite: "" }], /rewrite: is empty/],
		["{#} where the filter has none", [{ filter: "a/+", topic: "t", rewrite: "b/{#}" }], /\{#\} names no level/],
	];
	it.each(refused)("is refused with %s, saying which and what would be right", (_name, specs, message) => {
		expect(() => new Routes(specs)).toThrow(message);
	});
});

describe("the MQTT topic of a record from another door", () => {
	const none = () => undefined;

	it("is the route's filter where key and headers fill it", () => {
		const topic = new Routes(DEFAULTS).topicOf("telemetry", "dev7", (name) => (name === "site" ? "north" : undefined));
		expect(topic).toBe("sensors/north/dev7/telemetry");
	});

	it("takes a header under the name the route gives it", () => {
		const routes = new Routes([{ filter: "s/{site}/{d}", topic: "t", key: "{d}", headers: { place: "{site}" } }]);
		expect(routes.topicOf("t", "k", (name) => (name === "place" ? "p" : undefined))).toBe("s/p/k");
	});

	it("is the key where the key is the whole topic", () => {
		expect(new Routes(DEFAULTS).topicOf("mqtt", "home/light", none)).toBe("home/light");
	});

	it("is topic and key where a level stays empty, and the topic where the key cannot stand in a name", () => {
		const routes = new Routes(DEFAULTS);
		expect(routes.topicOf("telemetry", "dev7", none)).toBe("telemetry/dev7");
		expect(routes.topicOf("telemetry", "a+b", none)).toBe("telemetry");
		expect(routes.topicOf("telemetry", "", none)).toBe("telemetry");
		expect(routes.topicOf("telemetry", undefined, none)).toBe("telemetry");
		expect(routes.topicOf("telemetry", "a/b", () => "x/y")).toBe("telemetry/a/b");
	});

	it("is the rewritten one where the levels that were published to can be told", () => {
		const routes = new Routes([
			{
				filter: "s/{site}/{device}",
				topic: "t",
				key: "{device}",
				headers: { site: "{site}" },
				rewrite: "p/{device}/{site}",
			},
			{ filter: "#", topic: "u", key: "{topic}", rewrite: "all/{topic}" },
		]);
		expect(routes.topicOf("t", "d", () => "north")).toBe("p/d/north");
		expect(routes.topicOf("t", "d", none)).toBe("t/d");
		expect(routes.topicOf("u", "x/y", none)).toBe("all/x/y");
	});

	it("has no control character in it, and is not longer than a topic name may be", () => {
		const routes = new Routes(DEFAULTS);
		expect(routes.topicOf("mqtt", "a\u0007b", none)).toBe("mqtt");
		expect(routes.topicOf("telemetry", "x".repeat(65_530), none)).toBe("telemetry");
	});

	it("is always matched by the filters that are watched for its topic", () => {
		const routes = new Routes(DEFAULTS);
		const text = fc.option(fc.string({ maxLength: 8, unit: fc.constantFrom("a", "/", "+", "#", "$", "é") }), {
			nil: undefined,
		});
		fc.assert(
			fc.property(fc.constantFrom("telemetry", "mqtt"), text, text, (topic, key, site) => {
				const mqtt = routes.topicOf(topic, key, () => site);
				expect(mqtt).not.toMatch(/[+#]/);
				expect(routes.filtersOf(topic).some((filter) => filterMatches(filter, mqtt))).toBe(true);
			}),
			{ numRuns: 500 },
		);
	});
});

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
		expect(new Routes(DEFAULTS).route("sensors/north/dev7/telemetry")).toEqual({
			topic: "telemetry",
			key: "dev7",
			headers: [["site", "north"]],
		});
	});

	it("gives the whole MQTT topic for {topic}", () => {
		expect(new Routes(DEFAULTS).route("home/light")).toEqual({ topic: "mqtt", key: "home/light", headers: [] });
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

/** Which topics pass a bridge and what they are called on the other side. */
import { describe, expect, it } from "vitest";
import { TopicMapping } from "../../../bridge/mqtt/remote/mapping.ts";
import type { BridgeInRule, BridgeOutRule } from "../../../src/config/definition.ts";

const inRule = (filter: string, remotePrefix = "", localPrefix = ""): BridgeInRule => ({
	filter,
	remotePrefix,
	localPrefix,
});
const outRule = (filter: string, localPrefix = "", remotePrefix = ""): BridgeOutRule => ({
	filter,
	localPrefix,
	remotePrefix,
	order: "oldest-first",
	from: "latest",
});
const mapping = (inbound: readonly BridgeInRule[], outbound: readonly BridgeOutRule[] = []): TopicMapping =>
	new TopicMapping({ name: "site", in: inbound, out: outbound });

describe("inbound", () => {
	it("takes one prefix off and puts the other before the rest", () => {
		const map = mapping([inRule("sensors/#", "plant/", "site1/")]);
		expect(map.subscriptions).toEqual(["plant/sensors/#"]);
		expect(map.incoming("plant/sensors/a/b")).toBe("site1/sensors/a/b");
		expect(map.incoming("plant/sensors")).toBe("site1/sensors");
		expect(map.incoming("plant/other")).toBeUndefined();
		expect(map.incoming("sensors/a")).toBeUndefined();
	});

	it("reaches into $SYS only where a prefix or filter names it", () => {
		expect(mapping([inRule("#")]).incoming("$SYS/broker/uptime")).toBeUndefined();
		expect(mapping([inRule("#", "$SYS/", "far/")]).incoming("$SYS/broker/uptime")).toBe("far/broker/uptime");
	});
});

describe("outbound", () => {
	it("gives the first rule that takes a topic, and its name there as bytes", () => {
		const map = mapping([], [outRule("urgent/#", "", "gw/"), outRule("#", "all/", "")]);
		expect(map.localFilters).toEqual(["urgent/#", "all/#"]);
		expect(map.outgoing("urgent/ü")).toEqual({ rule: 0, topic: Buffer.from("gw/urgent/ü") });
		expect(map.outgoing("all/urgent/x")).toEqual({ rule: 1, topic: Buffer.from("urgent/x") });
		expect(map.outgoing("elsewhere").rule).toBe(-1);
	});

	it("sends nothing under an empty topic or one that is too long", () => {
		expect(mapping([], [outRule("#", "a/", "")]).outgoing("a/").rule).toBe(-1);
		expect(mapping([], [outRule("#", "", "p".repeat(40_000))]).outgoing("q".repeat(30_000)).rule).toBe(-1);
	});
});

describe("rules that cannot be", () => {
	const cases: [string, () => TopicMapping, RegExp][] = [
		["a filter that is not well formed", () => mapping([inRule("a/#/b")]), /site: in 1 \(a\/#\/b\): # must be/],
		["a prefix that makes it so", () => mapping([inRule("#", "plant")]), /# must be the whole last level/],
		["a wildcard in a prefix", () => mapping([inRule("a", "", "+/")]), /has a wildcard/],
		["a local prefix of the gateway's own", () => mapping([inRule("a", "", "$SYS/")]), /gateway's own/],
		["a shared subscription", () => mapping([inRule("#", "$share/g/")]), /shared subscription/],
		["inbound filters that meet", () => mapping([inRule("a/#"), inRule("+/b")]), /in 2 .*meets in 1/],
		["an outbound rule behind a catch-all", () => mapping([], [outRule("#"), outRule("a")]), /out 2 .*never reached/],
		["outbound from $SYS", () => mapping([], [outRule("$SYS/#")]), /not stored/],
	];
	for (const [name, make, error] of cases) it(`refuses ${name}`, () => expect(make).toThrow(error));
});

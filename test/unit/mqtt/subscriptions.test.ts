import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { topicFilterProblem } from "../../../bridge/mqtt/codec/topic.ts";
import { Subscription, SubscriptionTrie } from "../../../bridge/mqtt/subscriptions.ts";
import { filterMatches, filtersOverlap } from "../../../bridge/mqtt/topic-filter.ts";

const level = fc.constantFrom("a", "b", "c", "", "$x");
const topics = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/"));
const filters = fc
	.tuple(fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 }), fc.boolean())
	.map(([levels, hash]) => (hash ? [...levels, "#"] : levels).join("/"))
	.filter((filter) => filter !== "");

/** The standard's words, one level at a time (4.7.1): independent of the code under test. */
function naive(filter: string, topic: string): boolean {
	if (/^[+#]/.test(filter) && topic.startsWith("$")) return false;
	const pattern = filter
		.split("/")
		.map((each) => (each === "+" ? "[^/]*" : each === "#" ? "HASH" : each.replaceAll("$", "\\$")))
		.join("/")
		.replace(/^HASH$/, ".*")
		.replace(/\/HASH$/, "(/.*)?");
	return new RegExp(`^${pattern}$`, "s").test(topic);
}

describe("topic filters", () => {
	it.each([
		["sport/#", "sport", true],
		["sport/+", "sport", false],
		["sport/+", "sport/", true],
		["+/+", "/finance", true],
		["/+", "/finance", true],
		["+", "/finance", false],
		["#", "$SYS/a", false],
		["+/a", "$SYS/a", false],
		["$SYS/#", "$SYS/a", true],
		["a/#", "$SYS/a", false],
	])("%s and %s: %s", (filter, topic, expected) => {
		expect(filterMatches(filter, topic)).toBe(expected);
	});

	it("match as the standard says", () => {
		fc.assert(fc.property(filters, topics, (filter, topic) => filterMatches(filter, topic) === naive(filter, topic)));
	});

	it("overlap whenever some topic is matched by both", () => {
		fc.assert(
			fc.property(filters, filters, topics, (left, right, topic) => {
				if (naive(left, topic) && naive(right, topic)) expect(filtersOverlap(left, right)).toBe(true);
			}),
			{ numRuns: 2000 },
		);
		expect(filtersOverlap("a/+/c", "a/b/d")).toBe(false);
		expect(filtersOverlap("a/#", "a")).toBe(true);
		expect(filtersOverlap("#", "$SYS/a")).toBe(false);
		expect(filtersOverlap("a/b", "a")).toBe(false);
	});

	it("are refused when a wildcard does not take its level", () => {
		expect(topicFilterProblem("a/b#")).toMatch(/MQTT-4.7.1-1/);
		expect(topicFilterProblem("a/#/b")).toMatch(/MQTT-4.7.1-1/);
		expect(topicFilterProblem("a+")).toMatch(/MQTT-4.7.1-2/);
		expect(topicFilterProblem("+/#")).toBeUndefined();
	});
});

describe("the subscription trie", () => {
	it("finds for every topic exactly the subscribers that a naive matcher finds, as subscriptions come and go", () => {
		const step = fc.record({ subscriber: fc.integer({ min: 0, max: 3 }), filter: filters, add: fc.boolean() });
		fc.assert(
			fc.property(fc.array(step, { maxLength: 30 }), topics, (steps, topic) => {
				const trie = new SubscriptionTrie<number>();
				const held = new Map<string, Subscription<number>>();
				for (const { subscriber, filter, add } of steps) {
					const key = `${subscriber} ${filter}`;
					const former = held.get(key);
					if (former !== undefined) {
						expect(trie.remove(former)).toBe(true);
						held.delete(key);
					}
					if (add) {
						const subscription = new Subscription(subscriber, { filter, qos: 0 });
						held.set(key, subscription);
						trie.add(subscription);
					}
					const expected = [...held.values()]
						.filter((each) => naive(each.filter, topic))
						.map((each) => each.subscriber);
					const found = trie.match(topic).map((interest) => interest.subscriber);
					expect([...found].sort()).toEqual([...new Set(expected)].sort());
				}
				expect(trie.size).toBe(held.size);
			}),
			{ numRuns: 300 },
		);
	});

	it("joins one subscriber's overlapping subscriptions: highest QoS, all identifiers", () => {
		const trie = new SubscriptionTrie<string>();
		trie.add(new Subscription("s", { filter: "a/+", qos: 0, identifier: 7 }));
		trie.add(new Subscription("s", { filter: "a/#", qos: 2, retainAsPublished: true }));
		trie.add(new Subscription("s", { filter: "#", qos: 1, identifier: 9 }));
		const [interest, ...others] = trie.match("a/b");
		expect(others).toEqual([]);
		expect(interest).toMatchObject({ subscriber: "s", qos: 2, retainAsPublished: true });
		expect([...interest!.identifiers!].sort()).toEqual([7, 9]);
	});

	it("leaves out No Local subscriptions for the client itself, and only those", () => {
		const trie = new SubscriptionTrie<string>();
		trie.add(new Subscription("s", { filter: "a", qos: 2, noLocal: true }));
		expect(trie.match("a")[0]!.withoutLocal()).toBeUndefined();
		trie.add(new Subscription("s", { filter: "+", qos: 1 }));
		expect(trie.match("a")[0]!.qos).toBe(2);
		expect(trie.match("a")[0]!.withoutLocal()).toMatchObject({ qos: 1, noLocal: false });
	});

	it("holds nothing once every subscription is gone", () => {
		const trie = new SubscriptionTrie<number>();
		const all = ["a/b/c", "a/b", "a/+", "#"].map((filter) => new Subscription(1, { filter, qos: 0 }));
		for (const each of all) trie.add(each);
		for (const each of all) trie.remove(each);
		expect(trie.match("a/b")).toEqual([]);
		expect(trie.remove(all[0]!)).toBe(false);
		expect(trie.size).toBe(0);
	});
});

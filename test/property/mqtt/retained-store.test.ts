/** Retained messages by filter: page by page, all that match and nothing else, and never a place passed over that could. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RetainedFilter } from "../../../bridge/mqtt/retained-filter.ts";
import { RetainedStore } from "../../../bridge/mqtt/retained-store.ts";
import { filterMatches } from "../../../bridge/mqtt/topic-filter.ts";
import { compareKeys } from "../../../src/log/key-order.ts";
import { TableLog } from "../../unit/mqtt/retained-log.ts";

/** Around "/" in the order and around "$", and what UTF-16 sorts elsewhere. Short, so that topics share levels. */
const letters = fc.constantFrom("", "a", "a", "b", "-", ".", "0", "$", "!", "\ue000", "\uffff", "\u{1f600}");
const level = fc.array(letters, { maxLength: 2 }).map((list) => list.join(""));
const topic = fc
	.array(level, { minLength: 1, maxLength: 4 })
	.map((levels) => levels.join("/"))
	.filter((text) => text !== "");
const filter = fc
	.tuple(
		fc.array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom("+", "+", "a", "") }, level), { maxLength: 4 }),
		fc.boolean(),
	)
	.map(([levels, rest]) => [...levels, ...(rest ? ["#"] : [])].join("/"))
	.filter((text) => text !== "");
const limits = fc.record({
	messages: fc.integer({ min: 1, max: 6 }),
	bytes: fc.constantFrom(1, 100, 100_000),
	looks: fc.constantFrom(1, 2, 5, 1000),
});

function message(name: string, payload: string, expirySeconds = -1) {
	return {
		topic: name,
		payload: Buffer.from(payload),
		qos: 1 as const,
		timestampMs: 1000,
		expirySeconds,
		propertiesBlock: Buffer.from("p"),
		partition: 3,
		offset: 77,
	};
}

const changes = fc.oneof(
	{ weight: 12, arbitrary: fc.record({ kind: fc.constant("put" as const), topic, expires: fc.boolean() }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("remove" as const), topic }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("commit" as const, "checkpoint" as const) }) },
);

describe("the way of a filter through the topics", () => {
	it("leads on, and past no topic that matches", () => {
		fc.assert(
			fc.property(filter, topic, fc.array(fc.tuple(fc.nat(6), topic), { maxLength: 40 }), (text, at, ends) => {
				const way = new RetainedFilter(text);
				// Neighbours of `at`: the same beginning, another end.
				const topics = ends.map(([same, end]) => [...at].slice(0, same).join("") + end);
				const behind = way.behind(at);
				if (behind !== undefined) expect(compareKeys(behind, at)).toBeGreaterThan(0);
				expect(way.matched).toBe(filterMatches(text, at));
				for (const other of [...topics, at].filter((name) => filterMatches(text, name))) {
					expect(compareKeys(other, way.first)).toBeGreaterThanOrEqual(0);
					if (way.end !== undefined) expect(compareKeys(other, way.end)).toBeLessThan(0);
					if (compareKeys(other, at) <= 0) continue;
					expect(behind, other).toBeDefined();
					expect(compareKeys(other, behind!), `${other} behind ${at}`).toBeGreaterThanOrEqual(0);
				}
			}),
			{ numRuns: 1500 },
		);
	});
});

describe("retained messages", () => {
	it("come page by page, each that matches once, in order, whatever the pages' limits", () => {
		fc.assert(
			fc.property(
				fc.array(changes, { minLength: 10, maxLength: 80 }),
				fc.array(fc.tuple(filter, limits, fc.constantFrom(0, 10_000)), { minLength: 4, maxLength: 8 }),
				(list, questions) => {
					const log = new TableLog();
					const store = new RetainedStore(log.log, { maxMessages: 1000 });
					const model = new Map<string, { payload: string; expires: boolean }>();
					for (const [i, change] of list.entries()) {
						if (change.kind === "put") {
							store.put(message(change.topic, `${i}`, change.expires ? 5 : -1));
							model.set(change.topic, { payload: `${i}`, expires: change.expires });
						} else if (change.kind === "remove") {
							expect(store.remove(change.topic)).toBe(model.delete(change.topic));
						} else log[change.kind]();
					}
					expect(store.count).toBe(model.size);
					for (const [text, each, nowMs] of questions) {
						const expected = [...model]
							.filter(([name, { expires }]) => filterMatches(text, name) && !(expires && nowMs > 0))
							.map(([name, { payload }]) => [name, payload])
							.sort(([a], [b]) => Buffer.compare(Buffer.from(a!), Buffer.from(b!)));
						const found: string[][] = [];
						let turns = 0;
						for (let after: string | undefined, done = false; !done; turns++) {
							const page = store.page(text, after, nowMs, each);
							expect(page.messages.length).toBeLessThanOrEqual(each.messages);
							if (each.bytes === 1) expect(page.messages.length).toBeLessThanOrEqual(1);
							for (const { topic: name, payload } of page.messages) found.push([name, payload.toString()]);
							({ after, done } = page);
							// Each turn looks at a row further on, or it would go on for ever.
							expect(turns).toBeLessThanOrEqual(model.size + 1);
						}
						expect(found).toEqual(expected);
					}
					// A subscriber that stopped anywhere, at a topic that it got or not, goes on behind it.
					const everything = { messages: 1000, bytes: 1_000_000, looks: 100_000 };
					for (const [text] of questions) {
						const all = store.page(text, undefined, 0, everything).messages.map(({ topic: name }) => name);
						for (const name of model.keys()) {
							expect(store.page(text, name, 0, everything).messages.map((one) => one.topic)).toEqual(
								all.filter((other) => compareKeys(other, name) > 0),
							);
						}
					}
					log.catalog.close();
				},
			),
			{ numRuns: 150 },
		);
	});

	it("are counted, with their bytes, as often as they are swept, whatever comes and goes", () => {
		fc.assert(
			fc.property(fc.array(changes, { maxLength: 60 }), fc.integer({ min: 1, max: 7 }), (list, looks) => {
				const log = new TableLog();
				let store = new RetainedStore(log.log, { maxMessages: 1000 });
				const model = new Map<string, boolean>();
				for (const change of list) {
					if (change.kind === "put") {
						store.put(message(change.topic, "x".repeat(change.topic.length), change.expires ? 5 : -1));
						model.set(change.topic, change.expires);
					} else if (change.kind === "remove") {
						store.remove(change.topic);
						model.delete(change.topic);
					} else {
						log[change.kind]();
						store = new RetainedStore(log.log, { maxMessages: 1000 });
					}
				}
				const counted = () => {
					const names = [...model.keys()];
					expect(store.count).toBe(names.length);
					expect(store.bytes).toBe(names.reduce((sum, name) => sum + Buffer.byteLength(name) + name.length, 0));
				};
				counted();
				expect(store.sweep(5_999, looks)).toBe(0);
				const expiring = [...model].filter(([, expires]) => expires).map(([name]) => name);
				let swept = 0;
				// Twice round at most: the sweep may have begun in the middle.
				for (let turn = 0; turn <= 2 * model.size + 2; turn++) swept += store.sweep(6_000, looks);
				expect(swept).toBe(expiring.length);
				for (const name of expiring) model.delete(name);
				counted();
				log.catalog.close();
			}),
			{ numRuns: 150 },
		);
	});
});

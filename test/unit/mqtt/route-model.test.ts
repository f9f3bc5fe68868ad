/** Random routes against a model that is as plain as can be: what applies, what it makes, and what is delivered. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { topicFilterProblem } from "../../../bridge/mqtt/codec/topic.ts";
import { type RouteSpec, Routes } from "../../../bridge/mqtt/routes.ts";
import { filterMatches } from "../../../bridge/mqtt/topic-filter.ts";

const level = fc.constantFrom("a", "b", "", "$x", "{p}", "{q}", "+");
const filter = fc
	.tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
	.map(([levels, open]) => [...levels, ...(open ? ["#"] : [])].join("/"));
const template = fc
	.array(fc.constantFrom("{p}", "{q}", "{topic}", "{#}", "/", "x", "-", "$"), { minLength: 1, maxLength: 5 })
	.map((pieces) => pieces.join(""));
const spec = fc.record(
	{
		filter: fc.oneof(filter, fc.constant("#")),
		topic: fc.constantFrom("t1", "t2", "t3"),
		key: template,
		rewrite: template,
		priority: fc.integer({ min: -1, max: 1 }),
		continue: fc.boolean(),
	},
	{ requiredKeys: ["filter", "topic"] },
) satisfies fc.Arbitrary<RouteSpec>;
const topicName = fc
	.array(fc.constantFrom("a", "b", "", "$x", "é"), { minLength: 1, maxLength: 5 })
	.map((levels) => levels.join("/"))
	.filter((name) => name !== "");

function made(specs: readonly RouteSpec[]): Routes | undefined {
	try {
		return new Routes(specs);
	} catch {
		return undefined;
	}
}

function problemOf(specs: readonly RouteSpec[]): string {
	try {
		new Routes(specs);
		return "";
	} catch (error) {
		return (error as Error).message;
	}
}

/** The filter as a regular expression with a group for each name. */
function expression(text: string): RegExp {
	const levels = text.split("/").map((each) => {
		if (each === "+") return "[^/]*";
		const name = /^\{(.*)\}$/.exec(each)?.[1];
		return name === undefined ? each.replaceAll("$", "\\$") : `(?<${name}>[^/]*)`;
	});
	const open = levels.at(-1) === "#";
	if (!open) return new RegExp(`^${levels.join("/")}$`);
	levels.pop();
	return levels.length === 0 ? /^(?<rest>.*)$/s : new RegExp(`^${levels.join("/")}(?:/(?<rest>.*))?$`, "s");
}

function applied(specs: readonly RouteSpec[], topic: string): RouteSpec[] {
	const order: RouteSpec[] = [];
	for (const priority of [1, 0, -1]) order.push(...specs.filter((each) => (each.priority ?? 0) === priority));
	const found: RouteSpec[] = [];
	for (const each of order) {
		if (!expression(each.filter).test(topic)) continue;
		if (topic.startsWith("$") && !each.filter.startsWith("$")) continue;
		found.push(each);
		if (each.continue !== true) break;
	}
	return found;
}

function filled(text: string, from: RouteSpec, topic: string): string {
	const groups = expression(from.filter).exec(topic)!.groups ?? {};
	return text.replaceAll(/\{([^}]*)\}/g, (_, name: string) =>
		name === "topic" ? topic : ((name === "#" ? groups.rest : groups[name]) ?? ""),
	);
}

describe("routes at random", () => {
	it("apply as a plain model has it, and make keys as it does", () => {
		let several = 0;
		fc.assert(
			fc.property(
				fc.array(spec, { minLength: 1, maxLength: 5 }),
				fc.array(topicName, { minLength: 1 }),
				(specs, names) => {
					const routes = made(specs);
					fc.pre(routes !== undefined);
					for (const name of names) {
						const expected = applied(specs, name);
						if (expected.length > 1) several++;
						const routed = routes.routesOf(name);
						expect(routed.map(({ topic }) => topic)).toEqual(expected.map(({ topic }) => topic));
						expect(routed.map(({ key }) => key)).toEqual(
							expected.map((each) => (each.key === undefined ? undefined : filled(each.key, each, name))),
						);
					}
				},
			),
			{ numRuns: 500 },
		);
		expect(several).toBeGreaterThan(20);
	});

	it("rewrite to valid topic names only, which are delivered", () => {
		let rewrote = 0;
		fc.assert(
			fc.property(
				fc.array(spec, { minLength: 1, maxLength: 3 }),
				fc.array(topicName, { minLength: 1 }),
				(specs, names) => {
					const routes = made(specs);
					fc.pre(routes !== undefined);
					for (const name of names) {
						for (const { topic, rewritten } of routes.routesOf(name)) {
							if (rewritten === "") continue;
							const seen = rewritten ?? name;
							if (rewritten !== undefined) rewrote++;
							expect(seen).not.toMatch(/^\$|[+#\0]|^$/);
							expect(routes.filtersOf(topic!).some((each) => filterMatches(each, seen))).toBe(true);
						}
					}
				},
			),
			{ numRuns: 500 },
		);
		expect(rewrote).toBeGreaterThan(100);
	});

	it("are refused as never reached, or continued in vain, only where no topic shows otherwise", () => {
		let refused = 0;
		const names = fc.array(topicName, { minLength: 20, maxLength: 40 });
		fc.assert(
			fc.property(fc.array(spec, { minLength: 2, maxLength: 4 }), names, (specs, topics) => {
				const plain = specs.map(({ key: _key, rewrite: _rewrite, ...rest }) => rest);
				const [, index, why] =
					/^routes\[(\d+)\].*(is never reached|continue has no effect)/.exec(problemOf(plain)) ?? [];
				fc.pre(index !== undefined);
				refused++;
				const one = plain[Number(index)]!;
				for (const topic of topics) {
					const found = applied(plain, topic);
					if (why === "is never reached") expect(found).not.toContain(one);
					else if (found.includes(one)) expect(found.at(-1)).toBe(one);
				}
			}),
			{ numRuns: 300 },
		);
		expect(refused).toBeGreaterThan(50);
	});

	it("are refused or have only filters that are filters", () => {
		fc.assert(
			fc.property(spec, (one) => {
				const routes = made([one]);
				fc.pre(routes !== undefined);
				for (const each of routes.filtersOf(one.topic)) expect(topicFilterProblem(each)).toBeUndefined();
			}),
			{ numRuns: 500 },
		);
	});

	it("give records of other doors a topic that is delivered", () => {
		const part = fc.option(fc.string({ unit: fc.constantFrom("a", "b", "/", "+", "$", "\u0007", "é"), maxLength: 5 }), {
			nil: undefined,
		});
		fc.assert(
			fc.property(fc.array(spec, { minLength: 1, maxLength: 3 }), part, part, (specs, key, header) => {
				const routes = made(specs);
				fc.pre(routes !== undefined);
				for (const topic of routes.topics) {
					const seen = routes.topicOf(topic, key, () => header);
					expect(seen).not.toMatch(/^\$|[+#\0]|\p{Cc}|^$/u);
					expect(routes.filtersOf(topic).some((each) => filterMatches(each, seen))).toBe(true);
				}
			}),
			{ numRuns: 500 },
		);
	});
});

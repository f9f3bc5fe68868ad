/**
 * The values of the keys `upstream.topics` and `upstream.downlink`: from what YAML, JSON or a line of names gives to rules with
 * every default filled in, or what is wrong and where.
 */
import { fitsTopic } from "../base/topic-pattern.ts";
import type { DownlinkRule, UpstreamTopicRule } from "./definition.ts";
import { isMap, type Members, parseMembers, stated, Wrong } from "./members.ts";

export const UPSTREAM_TOPIC_MEMBERS: Members = {
	topic: {
		type: "text",
		required: true,
		documentation:
			"The topic here. `*` stands for any characters, and then needs quotes in YAML; topics that begin with `__` are meant only by their full name.",
	},
	to: {
		type: "text",
		fallback: "{topic}",
		documentation: "The topic there: `{topic}` stands for the name here, `{gateway}` for `gateway.id`.",
	},
	partitioner: {
		type: "choice",
		choices: ["key", "same"],
		fallback: "key",
		documentation:
			"`key`: the partition there follows from the key, as Kafka's own producers choose it. `same`: it has the number that it has here.",
	},
	priority: {
		type: "choice",
		choices: ["high", "normal", "low"],
		fallback: "normal",
		documentation:
			"Higher ones are sent first. `high` waits neither for `upstream.linger.ms` nor for `upstream.window`, and has `uplink.reserve.percent`.",
	},
	order: {
		type: "choice",
		choices: ["oldest-first", "live-first"],
		fallback: "oldest-first",
		documentation:
			"In which a backlog is sent after an outage. `live-first`: what comes now at once, what waited behind it.",
	},
	from: {
		type: "choice",
		choices: ["earliest", "latest"],
		fallback: "earliest",
		documentation:
			"Where a topic begins that was never sent: with all that is stored, or with what comes from then on.",
	},
};

export const DOWNLINK_MEMBERS: Members = {
	topic: { type: "text", required: true, documentation: "The topic in the central cluster." },
	to: { type: "text", documentation: "The topic here. Default: the same name." },
	key: {
		type: "text",
		documentation:
			"Only records with this key: `*` stands for any characters, `{gateway}` for `gateway.id`. Default: all.",
	},
	"header.name": { type: "text", documentation: "Only records with a header of this name ..." },
	"header.value": { type: "text", documentation: "... and this value; as `key`." },
	from: {
		type: "choice",
		choices: ["earliest", "latest"],
		fallback: "latest",
		documentation:
			"Where a rule that is new begins: with all that the central cluster has, or with what comes from then on.",
	},
	retain: {
		type: "flag",
		fallback: false,
		documentation: "`true`: the last record of each MQTT topic is kept for new subscribers, as a retained message.",
	},
};

export const UPSTREAM_TOPICS_EXAMPLE =
	'names, as telemetry, alarms, or a list of rules, as [{"topic": "alarms", "priority": "high"}, {"topic": "telemetry"}]';

export const DOWNLINK_EXAMPLE =
	'names, as commands, or a list of rules, as [{"topic": "commands", "key": "{gateway}"}, {"topic": "settings"}]';

type Result<T> = { readonly value: readonly T[] } | { readonly wrong: string; readonly right: string };

/** `text`: a line of names, or JSON. */
export function parseUpstreamTopics(raw: unknown, text: boolean): Result<UpstreamTopicRule> {
	return parsed(raw, text, UPSTREAM_TOPIC_MEMBERS, UPSTREAM_TOPICS_EXAMPLE, upstreamTopic, checkReached);
}

export function parseDownlink(raw: unknown, text: boolean): Result<DownlinkRule> {
	return parsed(raw, text, DOWNLINK_MEMBERS, DOWNLINK_EXAMPLE, downlink, checkOnce);
}

function parsed<T>(
	raw: unknown,
	text: boolean,
	members: Members,
	right: string,
	rule: (values: ReadonlyMap<string, unknown>, where: string) => T,
	check: (rules: readonly T[]) => void,
): Result<T> {
	try {
		const rules = listOf(raw, text, right).map((each, i) => {
			const map = typeof each === "string" ? { topic: each } : each;
			const name = isMap(map) && typeof map.topic === "string" ? ` (${map.topic.slice(0, 64)})` : "";
			const where = `rule ${i + 1}${name}`;
			return rule(parseMembers(map, members, where), where);
		});
		check(rules);
		return { value: rules };
	} catch (error) {
		if (error instanceof Wrong) return { wrong: error.message, right: error.right };
		throw error;
	}
}

/** A line of names is one with commas between; JSON only where nothing else may be a list. */
function listOf(raw: unknown, text: boolean, right: string): readonly unknown[] {
	if (Array.isArray(raw)) return raw;
	if (typeof raw !== "string") throw new Wrong("is no list", right);
	if (!/^\s*[[{"]/.test(raw)) {
		const names = raw.split(",").map((name) => name.trim());
		if (names.includes("")) throw new Wrong("has an empty name", right);
		return names;
	}
	if (!text) throw new Wrong("is text that looks like a list", `${right}; without quotes around the whole`);
	try {
		const list: unknown = JSON.parse(raw);
		if (Array.isArray(list)) return list;
	} catch (error) {
		throw new Wrong(`is no JSON (${(error as Error).message})`, right);
	}
	throw new Wrong("is no list", right);
}

const NAME = /^[A-Za-z0-9._-]{1,249}$/;
const NAME_RIGHT = "1 to 249 of letters, digits, `.`, `_` and `-`";

function upstreamTopic(values: ReadonlyMap<string, unknown>, where: string): UpstreamTopicRule {
	const rule = Object.fromEntries(values) as unknown as UpstreamTopicRule;
	if (!/^[A-Za-z0-9._*-]{1,249}$/.test(rule.topic)) {
		throw new Wrong(`${where}: "topic" is ${quote(rule.topic)}`, `${NAME_RIGHT}, and \`*\` for any characters`);
	}
	if (rule.topic.startsWith("__") && rule.topic.includes("*")) {
		throw new Wrong(
			`${where}: "topic" is a pattern for topics that begin with __, which are the gateway's own`,
			"their full names, each in a rule",
		);
	}
	checkBraces(rule.to, ["topic", "gateway"], `${where}: "to"`);
	// With the shortest names that there can be: longer ones are seen when the topic is.
	const shortest = rule.to
		.replaceAll("{topic}", rule.topic.includes("*") ? "t" : rule.topic)
		.replaceAll("{gateway}", "g");
	if (!isName(shortest)) throw new Wrong(`${where}: "to" gives ${quote(shortest)}, which is no topic`, NAME_RIGHT);
	return rule;
}

function downlink(values: ReadonlyMap<string, unknown>, where: string): DownlinkRule {
	const text = (key: string) => values.get(key) as string | undefined;
	const topic = text("topic")!;
	const to = text("to") ?? topic;
	for (const [key, name] of Object.entries({ topic, to })) {
		if (isName(name)) continue;
		const right = name.includes("*") ? `full names, each in a rule: ${NAME_RIGHT}` : NAME_RIGHT;
		throw new Wrong(`${where}: "${key}" is ${quote(name)}`, right);
	}
	if (to.startsWith("__")) {
		throw new Wrong(`${where}: comes to ${to}, and what begins with __ is the gateway's own`, 'another name in "to"');
	}
	const [key, name, value] = ["key", "header.name", "header.value"].map(text);
	if ((name === undefined) !== (value === undefined)) {
		throw new Wrong(`${where}: has only one of "header.name" and "header.value"`, "both or none");
	}
	if (key !== undefined) checkBraces(key, ["gateway"], `${where}: "key"`);
	if (value !== undefined) checkBraces(value, ["gateway"], `${where}: "header.value"`);
	return {
		topic,
		to,
		...(key === undefined ? {} : { key }),
		...(name === undefined ? {} : { header: { name, value: value! } }),
		from: values.get("from") as DownlinkRule["from"],
		retain: values.get("retain") as boolean,
	};
}

function isName(name: string): boolean {
	return NAME.test(name) && name !== "." && name !== "..";
}

function checkBraces(template: string, names: readonly string[], where: string): void {
	for (const [brace, name] of template.matchAll(/\{([^{}]*)\}/g)) {
		if (names.includes(name!)) continue;
		throw new Wrong(`${where}: there is no ${brace.slice(0, 80)}`, names.map((each) => `{${each}}`).join(" or "));
	}
}

/** The first rule that fits a topic holds: one that no topic can reach is a mistake, as a priority that never applies. */
function checkReached(rules: readonly UpstreamTopicRule[]): void {
	for (const [i, { topic }] of rules.entries()) {
		const before = rules.findIndex((other, j) => j < i && fitsTopic(other.topic, topic));
		if (before < 0) continue;
		const { topic: other } = rules[before]!;
		if (other === topic) {
			throw new Wrong(`rule ${i + 1}: rule ${before + 1} is for ${topic} too`, "one rule for a topic");
		}
		throw new Wrong(
			`rule ${i + 1} (${topic}): is never reached, for rule ${before + 1} (${other}) stands before it`,
			"the narrower rule before the wider one",
		);
	}
}

/** One position in the central topic is kept for each. */
function checkOnce(rules: readonly DownlinkRule[]): void {
	for (const [i, { topic }] of rules.entries()) {
		const before = rules.findIndex((other, j) => j < i && other.topic === topic);
		if (before < 0) continue;
		throw new Wrong(`rule ${i + 1}: rule ${before + 1} is for ${topic} too`, "one rule for a topic");
	}
}

function quote(text: string): string {
	return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

/** As the file would state it. */
export function showUpstreamTopic(rule: UpstreamTopicRule): Record<string, unknown> {
	return stated({ ...rule }, UPSTREAM_TOPIC_MEMBERS);
}

/** As the file would state it. */
export function showDownlink({ topic, to, key, header, from, retain }: DownlinkRule): Record<string, unknown> {
	const all = { topic, key, "header.name": header?.name, "header.value": header?.value, from, retain };
	return stated({ ...all, to: to === topic ? undefined : to }, DOWNLINK_MEMBERS);
}

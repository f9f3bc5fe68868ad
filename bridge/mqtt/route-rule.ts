/** One route: its filter taken apart, its templates parsed, everything that can be wrong refused (StartError). */
import { topicFilterProblem } from "./codec/topic.ts";
import type { JsonFields } from "./route-json.ts";
import { isTopicText, Rewrite } from "./route-rewrite.ts";
import { fault, isOnly, type Known, parseTemplate, type Template } from "./route-template.ts";
import type { RouteSpec } from "./routes.ts";
import { levelsMatch } from "./topic-filter.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;
const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/;

export class Route {
	readonly where: string;
	/** Undefined: its events are stored nowhere. */
	readonly topic: string | undefined;
	/** The filter with `+` for every name. */
	readonly pattern: string;
	readonly levels: readonly string[];
	readonly key: Template | undefined;
	readonly headers: readonly (readonly [name: string, template: Template])[];
	/** The field that gives the timestamp, as a slot of JsonFields; -1: the arrival does. */
	readonly timestampSlot: number;
	readonly rewrite: Rewrite | undefined;
	readonly priority: number;
	readonly continues: boolean;
	readonly dropsUnderPressure: boolean;
	readonly inMemory: boolean;
	/** Level names, by level. */
	readonly #nameOf = new Map<number, string>();

	/** `where` begins every message; JSON fields are taken up in `fields`. */
	constructor(spec: RouteSpec, where: string, fields: JsonFields) {
		this.where = where;
		const { levels, names } = namedLevels(spec.filter, where);
		this.levels = levels;
		for (const [name, level] of names) this.#nameOf.set(level, name);
		this.pattern = levels.join("/");
		const wrong = topicFilterProblem(this.pattern);
		if (wrong !== undefined) fault(where, wrong);
		if (this.pattern.startsWith("$")) {
			fault(where, "topics that begin with $ belong to the broker; clients cannot publish to them");
		}
		this.inMemory = spec.durability === "memory";
		this.topic = storedTopic(spec, where);
		const rest = levels.at(-1) === "#" ? levels.length - 1 : undefined;
		const known: Known = { names, rest, fields };
		this.key = spec.key === undefined ? undefined : parseTemplate(spec.key, `${where}, key`, known);
		this.headers = Object.entries(spec.headers ?? {}).map(([name, text]) => {
			if (name.length === 0 || name.startsWith("mqtt.")) {
				fault(where, `header "${name}": names that begin with "mqtt." are the door's own, and none is empty`);
			}
			return [name, parseTemplate(text, `${where}, header "${name}"`, known)] as const;
		});
		this.timestampSlot = timestampSlot(spec.timestamp, `${where}, timestamp`, known);
		this.rewrite = spec.rewrite === undefined ? undefined : new Rewrite(spec.rewrite, `${where}, rewrite`, known);
		this.priority = spec.priority ?? 0;
		if (!Number.isSafeInteger(this.priority)) fault(where, `priority ${this.priority} is no whole number`);
		this.continues = spec.continue ?? false;
		this.dropsUnderPressure = spec.qos0 === "drop-under-pressure";
	}

	matches(levels: readonly string[]): boolean {
		return levelsMatch(this.levels, levels);
	}

	/** Whether every topic that the other one matches is matched by this one. */
	covers(other: Route): boolean {
		for (let i = 0; ; i++) {
			const [own, theirs] = [this.levels[i], other.levels[i]];
			if (own === "#") return true;
			if (own === undefined || theirs === undefined) return own === theirs;
			if (own === "+" ? theirs === "#" : own !== theirs) return false;
		}
	}

	/** A filter for every MQTT topic that its events can have for subscribers. */
	get seenAs(): string {
		return this.rewrite?.pattern ?? this.pattern;
	}

	/** The MQTT topic of the event that this route would have made such a key and headers from, if all it takes is known. */
	invert(key: string | undefined, header: (name: string) => string | undefined): string | undefined {
		const published = this.#published(key, header);
		if (published === undefined || this.rewrite === undefined) return published;
		return this.rewrite.of(published, published.split("/"));
	}

	#published(key: string | undefined, header: (name: string) => string | undefined): string | undefined {
		if (isOnly(this.key, "topic")) {
			return key && isTopicText(key) && this.matches(key.split("/")) ? key : undefined;
		}
		const levels: string[] = [];
		for (let i = 0; i < this.levels.length; i++) {
			const level = this.levels[i]!;
			if (level !== "+" && level !== "#") {
				levels.push(level);
				continue;
			}
			const name = this.#nameOf.get(i);
			if (name === undefined) return undefined;
			const own = this.headers.find(([, template]) => isOnly(template, "level", i))?.[0];
			const inKey = isOnly(this.key, "level", i);
			const value = inKey ? key : (header(name) ?? (own === undefined ? undefined : header(own)));
			if (!value || value.includes("/") || !isTopicText(value)) return undefined;
			levels.push(value);
		}
		const topic = levels.join("/");
		return isTopicText(topic) ? topic : undefined;
	}
}

function namedLevels(filter: string, where: string): { levels: string[]; names: Map<string, number> } {
	const levels = filter.split("/");
	const names = new Map<string, number>();
	for (let i = 0; i < levels.length; i++) {
		const level = levels[i]!;
		if (!level.includes("{") && !level.includes("}")) continue;
		const name = level.slice(1, -1);
		if (!level.startsWith("{") || !level.endsWith("}") || !NAME.test(name)) {
			fault(
				where,
				`level "${level}" is not right: a name takes a whole level, as {device}, of letters, digits, _ and -`,
			);
		}
		if (name === "topic") fault(where, "{topic} stands for the whole MQTT topic; give the level another name");
		if (names.has(name)) fault(where, `{${name}} names two levels; each name may stand once`);
		names.set(name, i);
		levels[i] = "+";
	}
	return { levels, names };
}

/** What only makes sense for records must not stand on a route whose events never become any. */
function storedTopic(spec: RouteSpec, where: string): string | undefined {
	const { topic } = spec;
	if (spec.durability === "memory") {
		for (const name of ["topic", "key", "headers", "timestamp"] as const) {
			if (spec[name] === undefined) continue;
			fault(where, `${name} has no effect with durability memory, which stores nothing: leave one of the two out`);
		}
		return undefined;
	}
	if (topic === undefined)
		fault(where, "has no topic; only a route with durability memory stores nothing and needs none");
	if (!TOPIC_NAME.test(topic) || topic === "." || topic === "..") {
		fault(
			where,
			`topic "${topic}" is not a topic name: 1 to 249 of letters, digits, ".", "_" and "-"; no placeholders`,
		);
	}
	return topic;
}

function timestampSlot(text: string | undefined, where: string, known: Known): number {
	if (text === undefined) return -1;
	const [piece, ...more] = parseTemplate(text, where, known);
	if (piece?.kind !== "field" || more.length > 0) {
		fault(where, `"${text}" is not right: it is one field of the payload and nothing else, as "{json.ts}"`);
	}
	return piece.slot;
}

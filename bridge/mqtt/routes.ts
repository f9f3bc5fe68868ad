/**
 * Routes: which topic, key and headers an MQTT topic's events get. A route is an MQTT filter whose `+` levels may be
 * named, `sensors/{site}/{device}/telemetry`, and templates over those names; `{topic}` is the whole MQTT topic. The
 * first route that matches wins. Everything that can be wrong is refused when the routes are made, never at a publish.
 * This file is text in, text out; destinations.ts binds it to partitions.
 */
import { StartError } from "../../src/base/errors.ts";
import { topicFilterProblem } from "./codec/topic.ts";
import { levelsMatch } from "./topic-filter.ts";

export interface RouteSpec {
	/** An MQTT topic filter; a level may be `{name}`, which matches as `+` does. */
	readonly filter: string;
	/** The topic, by its name. */
	readonly topic: string;
	/** Template; absent: no key, and the partition follows the MQTT topic. */
	readonly key?: string | undefined;
	/** Header name to template. */
	readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What a route makes of one MQTT topic. */
export interface Routed {
	readonly topic: string;
	readonly key: string | undefined;
	readonly headers: readonly (readonly [name: string, value: string])[];
}

/** A template in pieces: text, the index of a level, or WHOLE_TOPIC. */
type Template = readonly (string | number)[];
const WHOLE_TOPIC = -1;
const NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;
const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/;

class Route {
	readonly topic: string;
	/** The filter with `+` for every name. */
	readonly pattern: string;
	readonly levels: readonly string[];
	/** Level index by name. */
	readonly names = new Map<string, number>();
	readonly key: Template | undefined;
	readonly headers: readonly (readonly [name: string, template: Template])[];

	constructor(spec: RouteSpec, where: string) {
		const levels = spec.filter.split("/");
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
			if (this.names.has(name)) fault(where, `{${name}} names two levels; each name may stand once`);
			this.names.set(name, i);
			levels[i] = "+";
		}
		this.levels = levels;
		this.pattern = levels.join("/");
		const wrong = topicFilterProblem(this.pattern);
		if (wrong !== undefined) fault(where, wrong);
		if (this.pattern.startsWith("$")) {
			fault(where, "topics that begin with $ belong to the broker; clients cannot publish to them");
		}
		if (!TOPIC_NAME.test(spec.topic) || spec.topic === "." || spec.topic === "..") {
			fault(
				where,
				`topic "${spec.topic}" is not a topic name: 1 to 249 of letters, digits, ".", "_" and "-"; no placeholders`,
			);
		}
		this.topic = spec.topic;
		this.key = spec.key === undefined ? undefined : this.#template(spec.key, `${where}, key`);
		this.headers = Object.entries(spec.headers ?? {}).map(([name, text]) => {
			if (name.length === 0 || name.startsWith("mqtt.")) {
				fault(where, `header "${name}": names that begin with "mqtt." are the door's own, and none is empty`);
			}
			return [name, this.#template(text, `${where}, header "${name}"`)] as const;
		});
	}

	#template(text: string, where: string): Template {
		const pieces: (string | number)[] = [];
		let end = 0;
		for (const match of text.matchAll(/\{([^{}]*)\}/g)) {
			if (match.index > end) pieces.push(text.slice(end, match.index));
			end = match.index + match[0].length;
			const name = match[1]!;
			const level = name === "topic" ? WHOLE_TOPIC : this.names.get(name);
			if (level === undefined) {
				const known = [...this.names.keys(), "topic"].map((each) => `{${each}}`).join(", ");
				fault(where, `{${name}} names no level of the filter; known here: ${known}`);
			}
			pieces.push(level);
		}
		if (end < text.length) pieces.push(text.slice(end));
		if (pieces.some((piece) => typeof piece === "string" && /[{}]/.test(piece))) {
			fault(where, `"${text}" has a brace without its partner`);
		}
		return pieces;
	}

	/** The MQTT topic that this route would have made such a key and headers from, if all its levels can be filled. */
	invert(key: string | undefined, header: (name: string) => string | undefined): string | undefined {
		if (isOne(this.key, WHOLE_TOPIC)) {
			const levels = key?.split("/");
			return key && isTopicText(key) && levelsMatch(this.levels, levels!) ? key : undefined;
		}
		const nameOf = new Map([...this.names].map(([name, level]) => [level, name]));
		const levels: string[] = [];
		for (let i = 0; i < this.levels.length; i++) {
			const level = this.levels[i]!;
			if (level !== "+" && level !== "#") {
				levels.push(level);
				continue;
			}
			const name = nameOf.get(i);
			if (name === undefined) return undefined;
			const own = this.headers.find(([, template]) => isOne(template, i))?.[0];
			const value = isOne(this.key, i) ? key : (header(name) ?? (own === undefined ? undefined : header(own)));
			if (!value || value.includes("/") || !isTopicText(value)) return undefined;
			levels.push(value);
		}
		const topic = levels.join("/");
		return isTopicText(topic) ? topic : undefined;
	}
}

function isOne(template: Template | undefined, piece: number): boolean {
	return template?.length === 1 && template[0] === piece;
}

/** Usable as a topic name that clients may see: not empty, no wildcard, no U+0000, not the broker's own. */
function isTopicText(text: string): boolean {
	return text.length > 0 && !/[+#\0]/.test(text) && !text.startsWith("$") && Buffer.byteLength(text) <= 65_535;
}

function fault(where: string, message: string): never {
	throw new StartError(`${where}: ${message}`);
}

export class Routes {
	readonly #routes: readonly Route[];
	/** The topics that routes name, each once, in the routes' order. */
	readonly topics: readonly string[];

	/** Throws StartError naming the route and what would be right. */
	constructor(specs: readonly RouteSpec[]) {
		const routes: Route[] = [];
		specs.forEach((spec, index) => {
			const where = `routes[${index}] (${spec.filter})`;
			const route = new Route(spec, where);
			const before = routes.findIndex((each) => each.pattern === "#" || each.pattern === route.pattern);
			if (before >= 0) {
				fault(
					where,
					`is never reached: routes[${before}] (${specs[before]!.filter}) takes all of it; the first match wins, so put the narrower route first and a catch-all last`,
				);
			}
			routes.push(route);
		});
		this.#routes = routes;
		this.topics = [...new Set(routes.map((route) => route.topic))];
	}

	/** Undefined when no route takes the topic: so for all that begin with $. */
	route(topic: string): Routed | undefined {
		const levels = topic.split("/");
		const route = this.#routes.find((each) => levelsMatch(each.levels, levels));
		if (route === undefined) return undefined;
		const fill = (template: Template) =>
			template
				.map((piece) => (typeof piece === "string" ? piece : piece === WHOLE_TOPIC ? topic : levels[piece]))
				.join("");
		return {
			topic: route.topic,
			key: route.key === undefined ? undefined : fill(route.key),
			headers: route.headers.map(([name, template]) => [name, fill(template)] as const),
		};
	}

	/**
	 * The MQTT topic of a record that another door wrote to a routed topic: what a route's filter gives when key and
	 * headers fill its levels, else `<topic>/<key>`, or `<topic>` where the key cannot stand in a topic name.
	 */
	topicOf(topic: string, key: string | undefined, header: (name: string) => string | undefined): string {
		for (const route of this.#routes) {
			if (route.topic !== topic) continue;
			const inverted = route.invert(key, header);
			if (inverted !== undefined) return inverted;
		}
		return key !== undefined && isTopicText(key) ? `${topic}/${key}` : topic;
	}

	/** The filters that between them match every MQTT topic which an event in `topic` can have. */
	filtersOf(topic: string): string[] {
		const own = this.#routes.filter((route) => route.topic === topic).map((route) => route.pattern);
		return [...own, `${topic}/#`]; // "a/#" matches "a" as well
	}
}

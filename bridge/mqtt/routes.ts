/**
 * Routes: which topic, key and headers an MQTT topic's events get. A route is an MQTT filter whose `+` levels may be
 * named, `sensors/{site}/{device}/telemetry`, and templates over those names; `{topic}` is the whole MQTT topic. The
 * first route that matches wins; those of a higher priority are tried first. Everything that can be wrong is refused when
 * the routes are made, but for a rewritten topic that some levels spoil. This file is text in, text out; destinations.ts
 * binds it to partitions. docs/routes.md is for users.
 */
import { JsonFields } from "./route-json.ts";
import { isTopicText } from "./route-rewrite.ts";
import { Route } from "./route-rule.ts";
import { type Filled, fault, fillTemplate } from "./route-template.ts";
import { filtersOverlap } from "./topic-filter.ts";

export interface RouteSpec {
	/** An MQTT topic filter; a level may be `{name}`, which matches as `+` does. */
	readonly filter: string;
	/** The topic, by its name; not with durability memory. */
	readonly topic?: string | undefined;
	/** Template; absent: no key, and the partition follows the MQTT topic. */
	readonly key?: string | undefined;
	/** Header name to template. */
	readonly headers?: Readonly<Record<string, string>> | undefined;
	/** `{json.FIELD}` of the payload; absent: the arrival. */
	readonly timestamp?: string | undefined;
	/** Template of the MQTT topic that the event is stored and delivered under. */
	readonly rewrite?: string | undefined;
	/** Higher ones are tried first; default 0. Equal ones in the list's order. */
	readonly priority?: number | undefined;
	/** The next route that matches applies as well, to a copy. */
	readonly continue?: boolean | undefined;
	readonly qos0?: "wait" | "drop-under-pressure" | undefined;
	readonly durability?: "disk" | "memory" | undefined;
}

/** What a route makes of one MQTT topic. */
export interface Routed {
	/** Undefined: the event is stored nowhere. */
	readonly topic: string | undefined;
	readonly key: Filled | undefined;
	readonly headers: readonly (readonly [name: string, value: Filled])[];
	/** A slot of the routes' fields; -1: the arrival. */
	readonly timestampSlot: number;
	/** What subscribers see in place of the topic published to; undefined: that one; "": the levels make no topic name. */
	readonly rewritten: string | undefined;
	readonly dropsUnderPressure: boolean;
}

export class Routes {
	/** In the order in which they are tried. */
	readonly #routes: readonly Route[];
	/** The topics that routes name, each once, in the list's order. */
	readonly topics: readonly string[];
	/** The fields of payloads that routes ask for. */
	readonly fields = new JsonFields();

	/** Throws StartError naming the route and what would be right. */
	constructor(specs: readonly RouteSpec[]) {
		const listed = specs.map((spec, index) => new Route(spec, `routes[${index}] (${spec.filter})`, this.fields));
		this.topics = [...new Set(listed.map(({ topic }) => topic).filter((topic) => topic !== undefined))];
		this.#routes = listed.toSorted((a, b) => b.priority - a.priority); // keeps the order of equals
		this.#routes.forEach((route, index) => {
			const before = this.#routes.slice(0, index);
			const taker = before.find((each) => !each.continues && each.covers(route));
			if (taker !== undefined) {
				fault(
					route.where,
					`is never reached: ${taker.where} takes all of it; the first match wins, so put the narrower route first and a catch-all last${taker.priority > route.priority ? ", and mind that a higher priority comes before the list's order" : ""}`,
				);
			}
			const after = this.#routes.slice(index + 1);
			if (route.continues && !after.some((each) => filtersOverlap(each.pattern, route.pattern))) {
				fault(route.where, "continue has no effect: no route tried after it takes any of its topics");
			}
		});
	}

	/** What the first route that matches makes of it. Undefined when no route takes the topic: so for all that begin with $. */
	route(topic: string): Routed | undefined {
		return this.routesOf(topic)[0];
	}

	/** The same of all routes that apply: first the event itself, then its copies. */
	routesOf(topic: string): Routed[] {
		const levels = topic.split("/");
		const routed: Routed[] = [];
		for (const route of this.#routes) {
			if (!route.matches(levels)) continue;
			routed.push({
				topic: route.topic,
				key: route.key === undefined ? undefined : fillTemplate(route.key, topic, levels),
				headers: route.headers.map(([name, template]) => [name, fillTemplate(template, topic, levels)] as const),
				timestampSlot: route.timestampSlot,
				rewritten: route.rewrite === undefined ? undefined : (route.rewrite.of(topic, levels) ?? ""),
				dropsUnderPressure: route.dropsUnderPressure,
			});
			if (!route.continues) break;
		}
		return routed;
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
		const joined = `${topic}/${key}`;
		return key !== undefined && isTopicText(key) && isTopicText(joined) ? joined : topic;
	}

	/** The filters that between them match every MQTT topic which an event in `topic` can have for subscribers. */
	filtersOf(topic: string): string[] {
		const own = this.#routes.filter((route) => route.topic === topic).map((route) => route.seenAs);
		return [...own, `${topic}/#`]; // "a/#" matches "a" as well
	}
}

/**
 * A route's rewrite: the MQTT topic that its events are stored and delivered under, made from the levels of the one they
 * were published to. What can be wrong with it is found when the routes are made; what depends on the levels, at the publish.
 */
import { topicNameProblem } from "./codec/topic.ts";
import { isMqttText } from "./event-headers.ts";
import { fault, fillTemplate, type Known, parseTemplate, type Template } from "./route-template.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a topic name must not have.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Text that subscribers may see as a topic name: well formed, no wildcard, no control character, not the broker's own. */
export function isTopicText(text: string): boolean {
	return topicNameProblem(text) === undefined && !text.startsWith("$") && !CONTROL.test(text) && isMqttText(text);
}

export class Rewrite {
	readonly #template: Template;
	/** A topic filter that matches whatever the template gives. */
	readonly pattern: string;

	/** Throws StartError, beginning with `where`. */
	constructor(text: string, where: string, known: Known) {
		const template = parseTemplate(text, where, { ...known, fields: undefined });
		for (const piece of template) {
			if (piece.kind !== "text") continue;
			if (/[+#]/.test(piece.text)) {
				const hint = known.rest === undefined ? "" : "; what the filter's # takes is {#}";
				fault(where, `"${text}" has a wildcard; a topic name has none, name the level instead, as {site}${hint}`);
			}
			if (CONTROL.test(piece.text) || !piece.text.isWellFormed()) {
				fault(where, `${JSON.stringify(text)} has characters that no topic name may have`);
			}
		}
		if (text === "") fault(where, "is empty; leave it out to keep the topic published to");
		if (text.startsWith("$")) fault(where, "topics that begin with $ belong to the broker");
		if (Buffer.byteLength(text) > 65_535) fault(where, "is longer than a topic name may be, 65,535 bytes");
		this.#template = template;
		this.pattern = patternOf(template);
	}

	/** The topic for one that the route's filter matched; undefined where these levels make no topic name. */
	of(topic: string, levels: readonly string[]): string | undefined {
		let text = fillTemplate(this.#template, topic, levels) as string; // no fields in it, so it is text
		const last = this.#template.at(-1)!;
		// With nothing for # to take, "new/{#}" is "new", as "old/#" takes "old".
		if (last.kind === "rest" && last.from >= levels.length && text.length > 1 && text.endsWith("/")) {
			text = text.slice(0, -1);
		}
		return isTopicText(text) ? text : undefined;
	}
}

function patternOf(template: Template): string {
	const levels: string[] = [];
	let open = "";
	let wild = false;
	for (const piece of template) {
		if (piece.kind === "topic" || piece.kind === "rest") return [...levels, "#"].join("/");
		if (piece.kind !== "text") {
			wild = true;
			continue;
		}
		const [first, ...more] = piece.text.split("/");
		open += first;
		for (const next of more) {
			levels.push(wild ? "+" : open);
			open = next;
			wild = false;
		}
	}
	return [...levels, wild ? "+" : open].join("/");
}

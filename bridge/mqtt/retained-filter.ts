/**
 * A topic filter as a way through topic names in the order of their code points: whether a name matches, and from a name
 * on, the place before which nothing else can. Going from place to place, `site/+/status` costs a few looks for each
 * device, however many topics a device has.
 *
 * In that order all names with the same first levels stand together: those below "a/b/" from there up to "a/b0", as "0"
 * comes next to "/". They stand apart from "a/b" itself: "a/b!" lies between.
 */
import { behindPrefix, compareKeys, keyBehind } from "../../src/log/key-order.ts";

/** Next to "/" in the order: ends what is below a level. */
const BEHIND_SLASH = "0";
const BEHIND_DOLLAR = behindPrefix("$");

export class RetainedFilter {
	/** No matching name is before it. */
	readonly first: string;
	/** Every matching name is before it; undefined: they may go on to the end. */
	readonly end: string | undefined;
	/** After `behind`: whether its topic matches. */
	matched = false;
	readonly #levels: readonly string[];

	/** `filter` is well formed. */
	constructor(filter: string) {
		const levels = filter.split("/");
		this.#levels = levels;
		this.first = this.#start("", 0);
		const wild = levels.findIndex(isWildcard);
		if (wild < 0) this.end = keyBehind(filter);
		else if (wild > 0) this.end = levels.slice(0, wild).join("/") + BEHIND_SLASH;
	}

	/** A place behind `topic` such that no matching name lies between; undefined: there is none behind it at all. */
	behind(topic: string): string | undefined {
		const filter = this.#levels;
		this.matched = false;
		if (isWildcard(filter[0]!) && topic.startsWith("$")) return BEHIND_DOLLAR; // [MQTT-4.7.2-1]
		/** Where the level at hand begins, and the literal ones that it ends. */
		let at = 0;
		let literalsAt = 0;
		for (let i = 0; i < filter.length; i++) {
			const wanted = filter[i]!;
			if (wanted === "#") {
				this.matched = true;
				return keyBehind(topic);
			}
			// The name ends too early. A longer one may be next, but behind others that match, if any text does for its end.
			if (at > topic.length) return at === literalsAt ? keyBehind(topic) : this.#start(`${topic}/`, i);
			const slash = topic.indexOf("/", at);
			const end = slash < 0 ? topic.length : slash;
			if (wanted === "+") literalsAt = end + 1;
			else if (end - at !== wanted.length || !topic.startsWith(wanted, at)) {
				return this.#startBehind(topic, at, i) ?? behindLevels(topic, literalsAt);
			}
			at = end + 1;
		}
		// It matches, or goes on where it should end.
		this.matched = at > topic.length;
		if (literalsAt < at) return behindLevels(topic, literalsAt);
		return this.matched ? keyBehind(topic) : behindLevels(topic, at);
	}

	/**
	 * The first place behind `topic` that can match, of what has the same levels before level i, which begins at `at` and is
	 * not as it should be.
	 */
	#startBehind(topic: string, at: number, i: number): string | undefined {
		const before = topic.slice(0, at);
		const first = this.#start(before, i);
		if (compareKeys(first, topic) > 0) return first;
		// Where "a/#" was passed at "a", "a/" may be to come.
		if (this.#levels[i + 1] !== "#") return undefined;
		const below = `${before}${this.#levels[i]}/`;
		return compareKeys(below, topic) > 0 ? below : undefined;
	}

	/** The first place that can match of what begins with `before`, which has the levels before i and ends with their "/". */
	#start(before: string, i: number): string {
		let start = before;
		for (let next = i; next < this.#levels.length; next++) {
			const level = this.#levels[next]!;
			// "a/#" matches "a" too.
			if (level === "#") return next > i ? start.slice(0, -1) : start;
			if (level === "+") return start;
			start += next === this.#levels.length - 1 ? level : `${level}/`;
		}
		return start;
	}
}

/** Behind all that has the same levels as `topic` up to that which begins at `at`. */
function behindLevels(topic: string, at: number): string | undefined {
	return at === 0 ? undefined : topic.slice(0, at - 1) + BEHIND_SLASH;
}

function isWildcard(level: string): boolean {
	return level === "+" || level === "#";
}

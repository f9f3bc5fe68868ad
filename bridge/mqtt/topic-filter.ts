/**
 * MQTT topic filters as text (MQTT 5.0 section 4.7): does one match a topic, can two match the same topic. The trie in
 * subscriptions.ts answers the first question for many filters at once; whether one is well formed is the codec's.
 */

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/**
 * Whether a well-formed filter matches a topic name. Wildcards do not reach into topics that begin with $ [MQTT-4.7.2-1].
 * Asked for every event that a subscriber catches up with: nothing is allocated.
 */
export function filterMatches(filter: string, topic: string): boolean {
	const first = filter.charCodeAt(0);
	if ((first === HASH || first === PLUS) && topic.charCodeAt(0) === DOLLAR) return false;
	for (let i = 0, j = 0; ; i++, j++) {
		// A level begins in both.
		const begins = filter.charCodeAt(i);
		if (begins === HASH) return true;
		if (begins === PLUS) {
			i++;
			while (j < topic.length && topic.charCodeAt(j) !== SLASH) j++;
		} else {
			for (; i < filter.length && filter.charCodeAt(i) !== SLASH; i++, j++) {
				if (filter.charCodeAt(i) !== topic.charCodeAt(j)) return false;
			}
		}
		if (i === filter.length) return j === topic.length;
		// "a/#" matches "a" itself [MQTT-4.7.1-2].
		if (j === topic.length) return i + 2 === filter.length && filter.charCodeAt(i + 1) === HASH;
		if (topic.charCodeAt(j) !== SLASH) return false;
	}
}

/** The same on levels already split: where one of the two is asked about often. */
export function levelsMatch(filter: readonly string[], topic: readonly string[]): boolean {
	const first = filter[0];
	if ((first === "#" || first === "+") && topic[0]!.startsWith("$")) return false;
	for (let i = 0; i < filter.length; i++) {
		const level = filter[i]!;
		if (level === "#") return true;
		if (i >= topic.length) return false;
		if (level !== "+" && level !== topic[i]) return false;
	}
	return filter.length === topic.length;
}

/** Whether any topic name is matched by both filters. */
export function filtersOverlap(left: string, right: string): boolean {
	const a = left.split("/");
	const b = right.split("/");
	const wild = (level: string | undefined) => level === "#" || level === "+";
	if ((wild(a[0]) && b[0]!.startsWith("$")) || (wild(b[0]) && a[0]!.startsWith("$"))) return false;
	for (let i = 0; ; i++) {
		// "a/#" matches "a" itself, so a # one level beyond the other's end still meets it.
		if (a[i] === "#" || b[i] === "#") return true;
		if (i === a.length || i === b.length) return a.length === b.length;
		if (a[i] !== b[i] && a[i] !== "+" && b[i] !== "+") return false;
	}
}

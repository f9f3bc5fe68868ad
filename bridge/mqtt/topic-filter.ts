/**
 * MQTT topic filters as text (MQTT 5.0 section 4.7): does one match a topic, can two match the same topic. The trie in
 * subscriptions.ts answers the first question for many filters at once; whether one is well formed is the codec's.
 */

/** Whether a well-formed filter matches a topic name. Wildcards do not reach into topics that begin with $ [MQTT-4.7.2-1]. */
export function filterMatches(filter: string, topic: string): boolean {
	return levelsMatch(filter.split("/"), topic.split("/"));
}

/** The same on levels already split. */
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

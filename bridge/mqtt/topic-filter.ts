/**
 * MQTT topic filters as text (MQTT 5.0 section 4.7): are they well formed, does one match a topic, can two match the
 * same topic. The trie in subscriptions.ts answers the second question for many filters at once.
 */

/** What is wrong with the filter, or undefined. Length and UTF-8 are the codec's. */
export function filterFault(filter: string): string | undefined {
	if (filter.length === 0) return "a topic filter has at least one character [MQTT-4.7.3-1]";
	if (filter.includes("\0")) return "a topic filter has no U+0000 [MQTT-4.7.3-2]";
	const levels = filter.split("/");
	for (let i = 0; i < levels.length; i++) {
		const level = levels[i]!;
		if (level.includes("#") && (level !== "#" || i !== levels.length - 1)) {
			return "# stands alone in the last level [MQTT-4.7.1-1]";
		}
		if (level.includes("+") && level !== "+") return "+ takes a whole level [MQTT-4.7.1-2]";
	}
	return undefined;
}

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

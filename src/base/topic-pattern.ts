/** Topics named by a pattern, as rules of the configuration do it. */

/**
 * `*` in `pattern` stands for any characters; a topic that begins with __ is meant only by its full name. `topic` may be a
 * pattern itself: then whether all that it means is meant.
 */
export function fitsTopic(pattern: string, topic: string): boolean {
	if (pattern === topic) return true;
	if (!pattern.includes("*") || topic.startsWith("__")) return false;
	const parts = pattern.split("*").map((part) => part.replace(/[.-]/g, "\\$&"));
	return new RegExp(`^${parts.join(".*")}$`).test(topic);
}

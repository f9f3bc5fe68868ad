/**
 * Topic names and topic filters (sections 4.7 and 4.8.2). Both are compared byte by byte, never normalised
 * [MQTT-4.7.3-4], so validating is all that happens here; matching is the subscriptions' business.
 *
 * An ill-formed name or filter is a Malformed Packet (0x81): 0x90 Topic Name invalid and 0x8F Topic Filter invalid are, in
 * the words of tables 3-1, 3-4, 3-8 and 3-10, for one that "is correctly formed, but is not accepted".
 */
import type { Version } from "./packets.ts";
import { readText } from "./primitives.ts";
import { cite, malformed } from "./refusals.ts";

const HASH = 0x23;
const PLUS = 0x2b;
const SHARE_PREFIX = "$share/";

/**
 * The topic name in buffer[start..end), checked: well-formed UTF-8, no U+0000, not empty, no wildcard characters.
 * Throws MqttError 0x81. `version` only chooses which standard's clause is cited.
 */
export function validateTopicName(buffer: Buffer, start: number, end: number, version: Version = 5): string {
	if (start >= end) throw malformed(version, "MQTT-4.7.3-1", "the Topic Name is empty");
	for (let at = start; at < end; at++) {
		const byte = buffer[at]!;
		if (byte === HASH || byte === PLUS) {
			throw malformed(
				version,
				"MQTT-3.3.2-2",
				`the Topic Name contains the wildcard character ${byte === HASH ? "#" : "+"}`,
			);
		}
	}
	return printable(readText(buffer, start, end, version, "the Topic Name"), version, "the Topic Name");
}

/**
 * Refuses control characters, U+0001 to U+001F and U+007F to U+009F, in what names things: section 1.5.4 leaves that to the
 * receiver. Names end up in logs and on terminals, where these would act. Properties may have them: a text of several lines is
 * legitimate.
 */
export function printable(text: string, version: Version, what: string): string {
	for (let at = 0; at < text.length; at++) {
		const code = text.charCodeAt(at);
		if (code >= 0x20 && (code < 0x7f || code > 0x9f)) continue;
		throw malformed(
			version,
			"1.5.4",
			`${what} contains the control character U+00${code.toString(16).padStart(2, "0")}`,
		);
	}
	return text;
}

/** What is wrong with a topic name given as text, undefined when nothing is; for what we are about to send. */
export function topicNameProblem(name: string): string | undefined {
	if (name.length === 0) return "is empty";
	if (name.includes("#") || name.includes("+")) return "contains a wildcard character";
	return undefined;
}

/** A topic filter taken apart. */
export interface TopicFilter {
	/** The share name of `$share/{name}/{filter}`, undefined for a filter that is not shared. */
	readonly shareName: string | undefined;
	/** What is matched against topic names: `text` itself or what follows the share name. */
	readonly filter: string;
}

/**
 * Checks a topic filter (text that was decoded, so U+0000 and ill-formed UTF-8 are out already) and takes it apart.
 * Throws MqttError 0x81. Shared subscriptions are offered to every version, so their syntax binds every version.
 */
export function validateTopicFilter(text: string, version: Version = 5): TopicFilter {
	if (text.length === 0) throw malformed(version, "MQTT-4.7.3-1", "the Topic Filter is empty");
	printable(text, version, "the Topic Filter");
	if (!text.startsWith(SHARE_PREFIX) && text !== "$share") {
		checkWildcards(text, version);
		return { shareName: undefined, filter: text };
	}
	const nameEnd = text.indexOf("/", SHARE_PREFIX.length);
	const shareName = text.slice(SHARE_PREFIX.length, nameEnd < 0 ? text.length : nameEnd);
	if (shareName.length === 0) {
		throw malformed(version, "MQTT-4.8.2-1", `the shared subscription ${quoted(text)} has no ShareName`);
	}
	if (shareName.includes("#") || shareName.includes("+")) {
		throw malformed(version, "MQTT-4.8.2-2", `the ShareName of ${quoted(text)} contains a wildcard character`);
	}
	const filter = nameEnd < 0 ? "" : text.slice(nameEnd + 1);
	if (filter.length === 0) {
		throw malformed(
			version,
			"MQTT-4.8.2-2",
			`the shared subscription ${quoted(text)} has no Topic Filter after its ShareName`,
		);
	}
	checkWildcards(filter, version);
	return { shareName, filter };
}

function checkWildcards(filter: string, version: Version): void {
	const problem = wildcardProblem(filter);
	if (problem !== undefined)
		throw malformed(version, problem.clause, `${problem.what} of the Topic Filter ${quoted(filter)}`);
}

/** What is wrong with the wildcards of a filter given as text, in a sentence with its clause; undefined when nothing is. */
export function topicFilterProblem(filter: string): string | undefined {
	if (filter.length === 0) return `a topic filter has at least one character ${cite("MQTT-4.7.3-1", 5)}`;
	if (filter.includes("\0")) return `a topic filter has no U+0000 ${cite("MQTT-4.7.3-2", 5)}`;
	const problem = wildcardProblem(filter);
	return problem === undefined ? undefined : `${problem.what} of a topic filter ${cite(problem.clause, 5)}`;
}

function wildcardProblem(filter: string): { clause: string; what: string } | undefined {
	for (let at = 0; at < filter.length; at++) {
		const code = filter.charCodeAt(at);
		if (code !== HASH && code !== PLUS) continue;
		const last = at === filter.length - 1;
		const startsLevel = at === 0 || filter[at - 1] === "/";
		if (code === HASH && !(startsLevel && last)) {
			return { clause: "MQTT-4.7.1-1", what: "# must be the whole last level" };
		}
		if (code === PLUS && !(startsLevel && (last || filter[at + 1] === "/"))) {
			return { clause: "MQTT-4.7.1-2", what: "+ must be a whole level" };
		}
	}
	return undefined;
}

/** For messages: a filter may be 64 KB of anything. */
function quoted(text: string): string {
	return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

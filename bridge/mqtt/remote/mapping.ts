/**
 * Which topics pass a bridge and what they are called on the other side. Rules are checked when they are made, with errors
 * that name the rule; the first rule that takes a topic holds.
 */
import { StartError } from "../../../src/base/errors.ts";
import type { BridgeConfig, BridgeInRule, BridgeOutRule } from "../../../src/config/definition.ts";
import { BoundedCache } from "../bounded-cache.ts";
import { topicFilterProblem } from "../codec/topic.ts";
import { filterMatches, filtersOverlap } from "../topic-filter.ts";

const CACHE_ENTRIES = 4096;
const TOPIC_BYTES_MAX = 65_535;
const TAKEN_BY_NONE: Outgoing = { rule: -1, topic: Buffer.alloc(0) };

/** Where an event of ours goes. */
export interface Outgoing {
	/** The index of the rule; -1: none takes it. */
	readonly rule: number;
	/** The topic there, as bytes. */
	readonly topic: Buffer;
}

export class TopicMapping {
	/** What to subscribe to there, one for each rule. */
	readonly subscriptions: readonly string[];
	/** What each outbound rule takes here, as a filter. */
	readonly localFilters: readonly string[];
	readonly #in: readonly BridgeInRule[];
	readonly #out: readonly BridgeOutRule[];
	readonly #outgoing = new BoundedCache<Outgoing>(CACHE_ENTRIES);

	/** Throws StartError. */
	constructor({ name, in: inbound, out: outbound }: Pick<BridgeConfig, "name" | "in" | "out">) {
		this.#in = inbound;
		this.#out = outbound;
		this.subscriptions = inbound.map((rule) => rule.remotePrefix + rule.filter);
		this.localFilters = outbound.map((rule) => rule.localPrefix + rule.filter);
		const fault = (where: string, what: string): never => {
			throw new StartError(`bridges: ${name}: ${where}: ${what}`);
		};
		for (const [i, { filter, localPrefix }] of inbound.entries()) {
			const where = `in ${i + 1} (${filter})`;
			const subscription = this.subscriptions[i]!;
			const wrong = topicFilterProblem(filter) ?? topicFilterProblem(subscription);
			if (wrong !== undefined) fault(where, wrong);
			if (subscription.startsWith("$share/")) {
				fault(where, "a shared subscription would leave part of the events to others; name the filter alone");
			}
			const bad = prefixProblem(localPrefix) ?? prefixProblem(inbound[i]!.remotePrefix);
			if (bad !== undefined) fault(where, bad);
			if (localPrefix.startsWith("$"))
				fault(where, "topics that begin with $ are the gateway's own; another local.prefix");
			const before = this.subscriptions.findIndex((other, j) => j < i && filtersOverlap(other, subscription));
			if (before >= 0) {
				fault(
					where,
					`meets in ${before + 1} (${inbound[before]!.filter}): the other broker might send an event once for each; make them apart`,
				);
			}
		}
		for (const [i, { filter, localPrefix, remotePrefix }] of outbound.entries()) {
			const where = `out ${i + 1} (${filter})`;
			const local = this.localFilters[i]!;
			const wrong = topicFilterProblem(filter) ?? topicFilterProblem(local);
			if (wrong !== undefined) fault(where, wrong);
			if (local.startsWith("$")) fault(where, "topics that begin with $ are not stored, so there is nothing to send");
			const bad = prefixProblem(localPrefix) ?? prefixProblem(remotePrefix);
			if (bad !== undefined) fault(where, bad);
			const before = this.localFilters.findIndex((other, j) => j < i && (other === "#" || other === local));
			if (before >= 0) fault(where, `is never reached: out ${before + 1} takes all of it; put the narrower rule first`);
		}
	}

	/** What a topic of the other broker is called here; undefined when no rule takes it. */
	incoming(topic: string): string | undefined {
		for (const { filter, remotePrefix, localPrefix } of this.#in) {
			const rest = restOf(topic, remotePrefix, filter);
			if (rest === undefined) continue;
			const local = localPrefix + rest;
			return Buffer.byteLength(local) > TOPIC_BYTES_MAX ? undefined : local;
		}
		return undefined;
	}

	/** Which rule takes a topic of ours, and what it is called there. */
	outgoing(topic: string): Outgoing {
		let found = this.#outgoing.get(topic);
		if (found === undefined) {
			found = this.#resolve(topic);
			this.#outgoing.set(topic, found);
		}
		return found;
	}

	#resolve(topic: string): Outgoing {
		for (const [rule, { filter, localPrefix, remotePrefix }] of this.#out.entries()) {
			const rest = restOf(topic, localPrefix, filter);
			if (rest === undefined) continue;
			const bytes = Buffer.from(remotePrefix + rest, "utf8");
			return bytes.length === 0 || bytes.length > TOPIC_BYTES_MAX ? TAKEN_BY_NONE : { rule, topic: bytes };
		}
		return TAKEN_BY_NONE;
	}
}

function restOf(topic: string, prefix: string, filter: string): string | undefined {
	if (!topic.startsWith(prefix)) return undefined;
	// Matched whole: "#" must not reach into "$SYS" where a prefix names it, nor be kept from it by the rest's first letter.
	return filterMatches(prefix + filter, topic) ? topic.slice(prefix.length) : undefined;
}

function prefixProblem(prefix: string): string | undefined {
	if (/[+#]/.test(prefix))
		return `the prefix ${JSON.stringify(prefix)} has a wildcard; a prefix is put before topics as it is`;
	for (let at = 0; at < prefix.length; at++) {
		if (prefix.charCodeAt(at) < 0x20) return `the prefix ${JSON.stringify(prefix)} has a control character`;
	}
	return undefined;
}

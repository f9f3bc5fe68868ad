/**
 * Every subscription of every session in one trie, so that an event finds its subscribers in time proportional to its
 * levels, not to the subscriptions. Results are cached per topic name until the next change. A subscriber comes once
 * per topic, however many of its filters match.
 */
import type { Qos } from "./codec/packets.ts";
import type { FilterKind } from "./filter-kind.ts";

/** What one subscriber wants of the events of a topic: one subscription, or several that overlap. */
export interface Interest<Subscriber> {
	readonly subscriber: Subscriber;
	/** It is a group's, of which one member gets the event. */
	readonly shared: boolean;
	/** The highest that was granted [MQTT-3.3.4-2]. */
	readonly qos: Qos;
	readonly retainAsPublished: boolean;
	/** All that match [MQTT-3.3.4-3, -4]; undefined: none. */
	readonly identifiers: readonly number[] | undefined;
	/** Whether any of it must not reach the client which published the event. */
	readonly noLocal: boolean;
	/** The interest that remains when the subscriber is that client; undefined: none [MQTT-3.8.3-3]. */
	withoutLocal(): Interest<Subscriber> | undefined;
}

export class Subscription<Subscriber> implements Interest<Subscriber> {
	readonly subscriber: Subscriber;
	/** As the client wrote it, and as it is known by. */
	readonly filter: string;
	/** The filter that topics have to match. */
	readonly match: string;
	readonly kind: FilterKind["kind"];
	readonly shared: boolean;
	/** By partition id: events before that offset are not for it. Only while its session catches up. */
	since: Map<number, number> | undefined;
	readonly qos: Qos;
	readonly retainAsPublished: boolean;
	readonly retainHandling: 0 | 1 | 2;
	readonly noLocal: boolean;
	readonly identifiers: readonly number[] | undefined;

	constructor(
		subscriber: Subscriber,
		options: {
			filter: string;
			/** What the filter is; absent: a plain one. */
			kind?: FilterKind;
			/** The subscriber is a group. */
			shared?: boolean;
			qos: Qos;
			noLocal?: boolean;
			retainAsPublished?: boolean;
			retainHandling?: 0 | 1 | 2;
			identifier?: number | undefined;
		},
	) {
		this.subscriber = subscriber;
		this.filter = options.filter;
		this.match = options.kind?.match ?? options.filter;
		this.kind = options.kind?.kind ?? "plain";
		this.shared = options.shared ?? false;
		this.qos = options.qos;
		this.noLocal = options.noLocal ?? false;
		this.retainAsPublished = options.retainAsPublished ?? false;
		this.retainHandling = options.retainHandling ?? 0;
		this.identifiers = options.identifier === undefined ? undefined : [options.identifier];
	}

	withoutLocal(): Interest<Subscriber> | undefined {
		return this.noLocal ? undefined : this;
	}
}

class OverlappingSubscriptions<Subscriber> implements Interest<Subscriber> {
	readonly subscriber: Subscriber;
	readonly shared = false;
	readonly #parts: Subscription<Subscriber>[];
	qos: Qos = 0;
	retainAsPublished = false;
	identifiers: number[] | undefined;
	noLocal = false;

	constructor(parts: Subscription<Subscriber>[]) {
		this.#parts = parts;
		this.subscriber = parts[0]!.subscriber;
		for (const part of parts) {
			if (part.qos > this.qos) this.qos = part.qos;
			this.retainAsPublished ||= part.retainAsPublished;
			this.noLocal ||= part.noLocal;
			if (part.identifiers !== undefined) this.identifiers = [...(this.identifiers ?? []), ...part.identifiers];
		}
	}

	withoutLocal(): Interest<Subscriber> | undefined {
		return joined(this.#parts.filter((part) => !part.noLocal));
	}
}

/** One subscriber's subscriptions that match a topic, as one interest; undefined for none. */
export function joined<Subscriber>(parts: Subscription<Subscriber>[]): Interest<Subscriber> | undefined {
	return parts.length > 1 ? new OverlappingSubscriptions(parts) : parts[0];
}

/** A level of filters. Most have one child, kept without a Map. */
class Node<Subscriber> {
	only: string | undefined;
	onlyChild: Node<Subscriber> | undefined;
	children: Map<string, Node<Subscriber>> | undefined;
	subscriptions: Subscription<Subscriber>[] | undefined;

	child(level: string): Node<Subscriber> | undefined {
		return this.only === level ? this.onlyChild : this.children?.get(level);
	}

	childForAdding(level: string): Node<Subscriber> {
		const found = this.child(level);
		if (found !== undefined) return found;
		const made = new Node<Subscriber>();
		if (this.only === undefined && this.children === undefined) {
			this.only = level;
			this.onlyChild = made;
			return made;
		}
		if (this.children === undefined) {
			this.children = new Map([[this.only!, this.onlyChild!]]);
			this.only = undefined;
			this.onlyChild = undefined;
		}
		this.children.set(level, made);
		return made;
	}

	drop(level: string): void {
		if (this.only === level) {
			this.only = undefined;
			this.onlyChild = undefined;
		} else {
			this.children?.delete(level);
			if (this.children?.size === 0) this.children = undefined;
		}
	}

	get empty(): boolean {
		return this.only === undefined && this.children === undefined && this.subscriptions === undefined;
	}
}

/** What the cached results may hold together: topics, and interests in them. */
const CACHE_TOPICS = 8_192;
const CACHE_INTERESTS = 131_072;
/** Characters of a topic that is worth it. */
const CACHED_TOPIC_MAX = 512;

export class SubscriptionTrie<Subscriber> {
	#root = new Node<Subscriber>();
	#size = 0;
	#generation = 0;
	readonly #cache = new Map<string, readonly Interest<Subscriber>[]>();
	#cachedInterests = 0;

	get size(): number {
		return this.#size;
	}

	/** Counts changes: a result of `match` holds while this stays. */
	get generation(): number {
		return this.#generation;
	}

	/** Its `match` is well formed, and its subscriber does not have it yet: `remove` the former one first. */
	add(subscription: Subscription<Subscriber>): void {
		let node = this.#root;
		for (const level of subscription.match.split("/")) node = node.childForAdding(level);
		if (node.subscriptions === undefined) node.subscriptions = [subscription];
		else node.subscriptions.push(subscription);
		this.#size++;
		this.#changed();
	}

	remove(subscription: Subscription<Subscriber>): boolean {
		const levels = subscription.match.split("/");
		const path = [this.#root];
		for (const level of levels) {
			const next = path.at(-1)!.child(level);
			if (next === undefined) return false;
			path.push(next);
		}
		const last = path.at(-1)!;
		const at = last.subscriptions?.indexOf(subscription) ?? -1;
		if (at < 0) return false;
		const subscriptions = last.subscriptions!;
		subscriptions[at] = subscriptions.at(-1)!;
		subscriptions.pop();
		if (subscriptions.length === 0) last.subscriptions = undefined;
		for (let i = levels.length; i > 0 && path[i]!.empty; i--) path[i - 1]!.drop(levels[i - 1]!);
		this.#size--;
		this.#changed();
		return true;
	}

	/** Who wants the events of a topic name: each subscriber once, groups first. The array is the trie's own. */
	match(topic: string): readonly Interest<Subscriber>[] {
		const cached = this.#cache.get(topic);
		if (cached !== undefined) return cached;
		const found: Subscription<Subscriber>[] = [];
		this.#collect(this.#root, topic.split("/"), 0, found);
		const interests = eachSubscriberOnce(found);
		if (topic.length > CACHED_TOPIC_MAX) return interests; // clients choose them, and a thousand such are much memory
		if (this.#cache.size >= CACHE_TOPICS || this.#cachedInterests + interests.length > CACHE_INTERESTS) {
			this.#cache.clear();
			this.#cachedInterests = 0;
		}
		this.#cache.set(topic, interests);
		this.#cachedInterests += interests.length;
		return interests;
	}

	#collect(node: Node<Subscriber>, levels: string[], depth: number, found: Subscription<Subscriber>[]): void {
		// Wildcards in the first level do not reach topics that begin with $ [MQTT-4.7.2-1].
		const wild = depth > 0 || !levels[0]!.startsWith("$");
		if (wild) gather(node.child("#")?.subscriptions, found);
		if (depth === levels.length) {
			gather(node.subscriptions, found);
			return;
		}
		const exact = node.child(levels[depth]!);
		if (exact !== undefined) this.#collect(exact, levels, depth + 1, found);
		const plus = wild ? node.child("+") : undefined;
		if (plus !== undefined) this.#collect(plus, levels, depth + 1, found);
	}

	#changed(): void {
		this.#generation++;
		if (this.#cache.size > 0) this.#cache.clear();
		this.#cachedInterests = 0;
	}
}

function gather<Item>(from: readonly Item[] | undefined, into: Item[]): void {
	if (from === undefined) return;
	for (const item of from) into.push(item);
}

function eachSubscriberOnce<Subscriber>(found: Subscription<Subscriber>[]): readonly Interest<Subscriber>[] {
	if (found.length < 2) return found;
	const parts = new Map<Subscriber, Subscription<Subscriber>[]>();
	for (const subscription of found) {
		const own = parts.get(subscription.subscriber);
		if (own === undefined) parts.set(subscription.subscriber, [subscription]);
		else own.push(subscription);
	}
	const interests = parts.size === found.length ? found : [...parts.values()].map((own) => joined(own)!);
	return interests.some(({ shared }) => shared) ? interests.toSorted(groupsFirst) : interests;
}

function groupsFirst(a: Interest<unknown>, b: Interest<unknown>): number {
	return Number(b.shared) - Number(a.shared);
}

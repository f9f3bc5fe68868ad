/**
 * Topic aliases towards one client (MQTT 5.0 section 3.3.2.3.4): the first topics that it is sent get a number each, and
 * from then on the number stands for the name. Numbers are not given to other names later: an alias that changed hands
 * between two packets would have to be sure of their order.
 */
/** Of all names together that one client has numbers for. */
const CHARACTERS_MAX = 4096;

export class TopicAliases {
	readonly #maximum: number;
	readonly #aliases = new Map<string, number>();
	#characters = 0;

	/** `maximum`: as the client allows, at most as we want; at least 1. */
	constructor(maximum: number) {
		this.#maximum = maximum;
	}

	/** The topic's number, sent with its name before; 0: none. */
	of(topic: string): number {
		return this.#aliases.get(topic) ?? 0;
	}

	/** The number that the topic would get; 0: none. */
	nextFor(topic: string): number {
		if (this.#characters + topic.length > CHARACTERS_MAX) return 0;
		return this.#aliases.size < this.#maximum ? this.#aliases.size + 1 : 0;
	}

	/** `nextFor` was sent together with the topic's name. */
	sent(topic: string): void {
		this.#characters += topic.length;
		this.#aliases.set(topic, this.#aliases.size + 1);
	}
}

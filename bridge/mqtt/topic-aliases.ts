/**
 * Topic aliases towards one client (MQTT 5.0 section 3.3.2.3.4): the first topics that it is sent get a number each, and
 * from then on the number stands for the name. Numbers are not given to other names later: an alias that changed hands
 * between two packets would have to be sure of their order.
 */
export class TopicAliases {
	readonly #maximum: number;
	readonly #aliases = new Map<string, number>();

	/** `maximum`: as the client allows, at most as we want; at least 1. */
	constructor(maximum: number) {
		this.#maximum = maximum;
	}

	/** The topic's number, sent with its name before; 0: none. */
	of(topic: string): number {
		return this.#aliases.get(topic) ?? 0;
	}

	/** The number that the topic would get; 0: all are taken. */
	get next(): number {
		return this.#aliases.size < this.#maximum ? this.#aliases.size + 1 : 0;
	}

	/** `next` was sent together with the topic's name. */
	sent(topic: string): void {
		this.#aliases.set(topic, this.#aliases.size + 1);
	}
}

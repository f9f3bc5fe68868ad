/** What was stored durably of topics whose records go, by retention, by a person, or with their topic: for who compares in the end. */
import type { Broker } from "../../src/broker/broker.ts";
import type { Partition } from "../../src/log/partition.ts";

interface Noted {
	readonly topic: string;
	readonly number: number;
	readonly offset: number;
	readonly line: string;
}

export class UpstreamBook {
	readonly #broker: () => Broker;
	/** By place: an offset that a crash took is given to another record. */
	#present = new Map<string, Noted>();
	readonly #past = new Map<string, Set<string>>();

	constructor(broker: () => Broker) {
		this.#broker = broker;
	}

	note(topic: string, { number }: Partition, offset: number, line: string): void {
		this.#present.set(`${topic}-${number}@${offset}`, { topic, number, offset, line });
	}

	/** After a start: what was not durable is not there. */
	forgetLost(): void {
		for (const [place, { topic, number, offset }] of this.#present) {
			const partition = this.#broker().topics.get(topic)?.partitions[number];
			if (partition === undefined || offset >= partition.endOffset) this.#present.delete(place);
		}
	}

	/** What it has so far need not be there in the end: its topic goes, here or there. */
	close(topic: string): void {
		const past = this.#past.get(topic) ?? new Set();
		this.#past.set(topic, past);
		for (const [place, noted] of this.#present) {
			if (noted.topic !== topic) continue;
			past.add(noted.line);
			this.#present.delete(place);
		}
	}

	of(topic: string): { readonly present: ReadonlySet<string>; readonly past: ReadonlySet<string> } {
		const present = [...this.#present.values()].filter((noted) => noted.topic === topic).map(({ line }) => line);
		return { present: new Set(present), past: this.#past.get(topic) ?? new Set() };
	}
}

/**
 * The topics below `$SYS`: what they say, and who gets it when. They are in no log: a subscriber gets each one's value at
 * once, as if it were retained, and then at every interval what has changed. While nobody subscribes nothing is
 * looked up or written; only the averages and the maximum go on.
 */
import type { Engine } from "./engine.ts";
import { RETAINED_PARTITION, StoredEvent, VOLATILE_PARTITION } from "./stored-event.ts";
import { SysValues } from "./sys-values.ts";
import { filterMatches } from "./topic-filter.ts";

const SYS_ROOT = "$SYS";

interface SysTopic {
	readonly name: string;
	readonly nameBytes: Buffer;
	readonly value: () => string;
	/** As it was published last. */
	text: string;
}

export interface SysOptions {
	/** mqtt.sys.interval.seconds; 0: there are no such topics. */
	readonly intervalSeconds: number;
	/** Headwater's. */
	readonly version: string;
}

export class SysTopics {
	readonly #engine: Engine;
	readonly #intervalSeconds: number;
	readonly #values: SysValues;
	readonly #topics: SysTopic[];
	/** The interval that has begun last, and the one that the topics' texts are of. */
	#interval = 0;
	#taken = -1;
	/** Whether anybody subscribes to any of them, as of a state of the subscriptions. */
	#wanted = false;
	#generation = -1;

	constructor(engine: Engine, { intervalSeconds, version }: SysOptions) {
		this.#engine = engine;
		this.#intervalSeconds = intervalSeconds;
		this.#values = new SysValues(engine, version);
		this.#topics = [...this.#values.all()].map(([name, value]) => topicOf(name, value));
	}

	/** One more, below `$SYS/broker/`. */
	add(name: string, value: () => string): void {
		this.#topics.push(topicOf(name, value));
		this.#generation = -1;
		this.#taken = -1;
	}

	/** The engine's sweep, once a second. */
	publish(tick: number): void {
		if (this.#intervalSeconds === 0) return;
		this.#values.noteMaximum();
		if (tick % this.#intervalSeconds !== 0) return;
		this.#interval++;
		this.#values.average();
		if (!this.#anybodySubscribes()) return;
		const nowMs = this.#engine.broker.clock.now();
		for (const topic of this.#topics) {
			const text = topic.value();
			if (text === topic.text) continue;
			topic.text = text;
			this.#engine.deliveries.deliverVolatile(eventOf(topic, VOLATILE_PARTITION, nowMs));
		}
		this.#taken = this.#interval;
	}

	/** What a new subscription gets at once, as retained messages. The events are the caller's. */
	matching(filter: string): StoredEvent[] {
		if (this.#intervalSeconds === 0 || !filter.startsWith(SYS_ROOT)) return [];
		if (this.#taken !== this.#interval) {
			// Nobody subscribed when the interval began: its values are taken now, and nobody has missed them.
			for (const topic of this.#topics) topic.text = topic.value();
			this.#taken = this.#interval;
		}
		const nowMs = this.#engine.broker.clock.now();
		const matching = this.#topics.filter(({ name }) => filterMatches(filter, name));
		return matching.map((topic) => eventOf(topic, RETAINED_PARTITION, nowMs));
	}

	#anybodySubscribes(): boolean {
		const { trie } = this.#engine.deliveries;
		if (this.#generation !== trie.generation) {
			this.#generation = trie.generation;
			this.#wanted = this.#topics.some(({ name }) => trie.match(name).length > 0);
		}
		return this.#wanted;
	}
}

function topicOf(name: string, value: () => string): SysTopic {
	const whole = `${SYS_ROOT}/broker/${name}`;
	return { name: whole, nameBytes: Buffer.from(whole), value, text: "" };
}

/** At QoS 0: the next value makes up for one that was lost, and a hundred at once fit no window. */
function eventOf({ nameBytes, name, text }: SysTopic, partition: number, nowMs: number): StoredEvent {
	const event = new StoredEvent();
	event.partition = partition;
	event.timestampMs = nowMs;
	event.topic = name;
	event.topicSource = nameBytes;
	event.topicEnd = nameBytes.length;
	event.source = Buffer.from(text);
	event.payloadEnd = event.source.length;
	event.qos = 0;
	event.retain = true;
	return event;
}

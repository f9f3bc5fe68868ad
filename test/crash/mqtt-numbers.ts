/**
 * Numbered messages: 1, 2, 3 ... for each topic, sent at one QoS over kept sessions, and the judges of what subscribers got of
 * them. A topic of QoS 2 has each number once in the log; one of QoS 1 may have some again, behind those after them.
 */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Court } from "./mqtt-court.ts";
import type { MqttSession } from "./mqtt-session.ts";
import type { PublishPacket } from "./mqtt-wire.ts";

interface Numbers {
	readonly qos: 1 | 2;
	sent: number;
	acknowledged: number;
}

/** What was published, by topic. */
export class NumberedTopics {
	readonly topics = new Map<string, Numbers>();
}

const WINDOW = 12;
const PAD_BYTES = 600;

/** Sends to some topics in turns, as long as its window is open. */
export class NumberedPublisher {
	readonly session: MqttSession;
	readonly #numbers: NumberedTopics;
	readonly #topics: readonly string[];
	readonly #qos: 1 | 2;
	readonly #random: SimulatedRandom;

	constructor(
		session: MqttSession,
		numbers: NumberedTopics,
		topics: readonly string[],
		qos: 1 | 2,
		random: SimulatedRandom,
	) {
		this.session = session;
		this.#numbers = numbers;
		this.#topics = topics;
		this.#qos = qos;
		this.#random = random.fork(`${session.clientId} publishes`);
		for (const topic of topics) numbers.topics.set(topic, { qos, sent: 0, acknowledged: 0 });
	}

	publish(most: number): void {
		for (let i = 0; i < most && this.session.waiting < WINDOW; i++) this.publishTo(this.#random.pick(this.#topics));
	}

	/** One to each of its topics. */
	publishToAll(): void {
		for (const topic of this.#topics) this.publishTo(topic);
	}

	publishTo(topic: string): void {
		const numbers = this.#numbers.topics.get(topic)!;
		const number = ++numbers.sent;
		const payload = `${number};${".".repeat(this.#random.between(0, PAD_BYTES))}`;
		this.session.publish(topic, payload, { qos: this.#qos }, () => {
			numbers.acknowledged = Math.max(numbers.acknowledged, number);
		});
	}
}

/** What a kept session that subscribes for itself must get: everything, and in order. */
export class OwnArrivals {
	readonly #court: Court;
	readonly #session: MqttSession;
	readonly #numbers: NumberedTopics;
	readonly #qos: 1 | 2;
	/** By topic: every number up to it has come. */
	readonly #upTo = new Map<string, number>();
	/** By topic: the latest over this connection. */
	readonly #latest = new Map<string, number>();
	#connection = 0;

	constructor(court: Court, session: MqttSession, numbers: NumberedTopics, qos: 1 | 2) {
		this.#court = court;
		this.#session = session;
		this.#numbers = numbers;
		this.#qos = qos;
		session.onMessage = (message) => this.#take(message);
	}

	/** What is still to come of `sent`; empty: nothing. */
	missing(): string[] {
		const missing: string[] = [];
		for (const [topic, { sent }] of this.#numbers.topics) {
			const upTo = this.#upTo.get(topic) ?? 0;
			if (upTo < sent) missing.push(`${this.#session.clientId} has ${topic} up to ${upTo} of ${sent}`);
		}
		return missing;
	}

	#take({ topic, payload, qos }: PublishPacket): void {
		const { connections, clientId } = this.#session;
		if (this.#connection !== connections) {
			this.#connection = connections;
			this.#latest.clear();
		}
		const wrong = (why: string) => this.#court.accuse(clientId, `${topic} ${number}: ${why}`);
		const numbers = this.#numbers.topics.get(topic);
		const number = numberOf(payload);
		if (numbers === undefined || !(number <= numbers.sent)) {
			wrong("was never sent");
			return;
		}
		if (qos !== Math.min(numbers.qos, this.#qos)) wrong(`at QoS ${qos}`);
		const upTo = this.#upTo.get(topic) ?? 0;
		if (number > upTo + 1) wrong(`comes after ${upTo}`);
		if (qos === 2 && number <= upTo) wrong(`comes a second time; the newest is ${upTo}`);
		const latest = this.#latest.get(topic) ?? 0;
		// Over one connection nothing of a topic that has each once goes back, whatever was sent before.
		if (numbers.qos === 2 && number <= latest) wrong(`comes after ${latest} over the same connection`);
		this.#latest.set(topic, number);
		if (number === upTo + 1) this.#upTo.set(topic, number);
	}
}

/** What the members of one group must get together: all at QoS 1, all and each once at QoS 2. */
export class GroupArrivals {
	/** False from when a member went until all begin anew: what it left comes to others, behind newer ones. */
	inOrder = true;
	readonly #court: Court;
	readonly #numbers: NumberedTopics;
	readonly #qos: 1 | 2;
	readonly #members: readonly MqttSession[];
	readonly #got = new Map<string, Set<number>>();

	constructor(court: Court, members: readonly MqttSession[], numbers: NumberedTopics, qos: 1 | 2) {
		this.#court = court;
		this.#numbers = numbers;
		this.#qos = qos;
		this.#members = members;
		for (const member of members) {
			const latest = new Map<string, number>();
			let connection = 0;
			member.onMessage = (message) => {
				if (connection !== member.connections) latest.clear();
				connection = member.connections;
				this.#take(member, message, latest);
			};
		}
	}

	missing(): string[] {
		const missing: string[] = [];
		for (const [topic, { sent }] of this.#numbers.topics) {
			const got = this.#got.get(topic);
			for (let number = 1; number <= sent; number++) {
				if (got?.has(number) !== true) missing.push(`nobody of ${this.#who()} has ${topic} ${number} of ${sent}`);
			}
		}
		return missing;
	}

	#who(): string {
		return this.#members.map(({ clientId }) => clientId).join(", ");
	}

	#take(member: MqttSession, { topic, payload, qos }: PublishPacket, latest: Map<string, number>): void {
		const numbers = this.#numbers.topics.get(topic);
		const number = numberOf(payload);
		const wrong = (why: string) => this.#court.accuse(member.clientId, `${topic} ${number}: ${why}`);
		if (numbers === undefined || !(number <= numbers.sent)) {
			wrong("was never sent");
			return;
		}
		if (qos !== Math.min(numbers.qos, this.#qos)) wrong(`at QoS ${qos}`);
		const got = this.#got.get(topic) ?? new Set();
		this.#got.set(topic, got);
		if (qos === 2 && got.has(number)) wrong(`has come to ${this.#who()} before`);
		got.add(number);
		const before = latest.get(topic) ?? 0;
		if (this.inOrder && numbers.qos === 2 && number <= before) wrong(`comes after ${before} over the same connection`);
		latest.set(topic, number);
	}
}

/** A session that is the only member of a group and subscribes for itself as well, at QoS 2: what is of QoS 2 comes just twice. */
export class DoubleArrivals {
	readonly #session: MqttSession;
	readonly #numbers: NumberedTopics;
	readonly #times = new Map<string, number>();

	constructor(court: Court, session: MqttSession, numbers: NumberedTopics) {
		this.#session = session;
		this.#numbers = numbers;
		session.onMessage = ({ topic, payload, qos }) => {
			if (qos !== 2) return;
			const name = `${topic} ${numberOf(payload)}`;
			const times = (this.#times.get(name) ?? 0) + 1;
			this.#times.set(name, times);
			if (times > 2) court.accuse(session.clientId, `${name} comes ${times} times`);
		};
	}

	missing(): string[] {
		const missing: string[] = [];
		for (const [topic, { sent, qos }] of this.#numbers.topics) {
			for (let number = 1; qos === 2 && number <= sent; number++) {
				const times = this.#times.get(`${topic} ${number}`) ?? 0;
				if (times < 2) missing.push(`${this.#session.clientId} has ${topic} ${number} ${times} times`);
			}
		}
		return missing;
	}
}

function numberOf(payload: string): number {
	return Number(payload.slice(0, payload.indexOf(";")));
}

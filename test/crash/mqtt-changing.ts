/** Subscriptions that come and go while the gateway is killed, and the judges of what SUBACK and UNSUBACK promised. */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Court } from "./mqtt-court.ts";
import type { MqttSession } from "./mqtt-session.ts";

/**
 * Subscribes to a topic of its own, has one message published there after SUBACK, which must come, and one after UNSUBACK,
 * which must not; and again with the next topic.
 */
export class ChangingSubscriber {
	/** Topics that it is done with. */
	done = 0;
	readonly #session: MqttSession;
	readonly #publisher: MqttSession;
	#stopped = false;
	#turn = 0;
	#acknowledged = false;
	#came = false;
	#leaving = false;

	constructor(court: Court, session: MqttSession, publisher: MqttSession) {
		this.#session = session;
		this.#publisher = publisher;
		session.onMessage = ({ topic, payload }) => {
			if (payload !== "due")
				court.accuse(session.clientId, `${topic} was unsubscribed before ${payload} was published`);
			if (topic !== this.#topic) return; // a second copy of a former one
			this.#came = true;
			this.#goOn();
		};
		this.#next();
	}

	/** With the topic that it is at. */
	stop(): void {
		this.#stopped = true;
	}

	missing(): string[] {
		if (this.#stopped && this.#turn === this.done) return [];
		return [`${this.#session.clientId} waits with ${this.#topic}${this.#came ? "" : ", which has not come"}`];
	}

	get #topic(): string {
		return `changing/${this.#turn}`;
	}

	#next(): void {
		this.#turn++;
		this.#came = false;
		this.#acknowledged = false;
		this.#leaving = false;
		this.#session.subscribe(this.#topic, 1, () => {
			this.#publisher.publish(this.#topic, "due", { qos: 1 }, () => {
				this.#acknowledged = true;
				this.#goOn();
			});
		});
	}

	#goOn(): void {
		if (!this.#came || !this.#acknowledged || this.#leaving) return;
		this.#leaving = true;
		this.#session.unsubscribe(this.#topic, () => {
			this.#publisher.publish(this.#topic, "not due", { qos: 1 }, () => {
				this.done = this.#turn;
				if (!this.#stopped) this.#next();
			});
		});
	}
}

/**
 * Subscribes again and again to messages that are retained and stay as they are: each time it must get them all, whatever
 * happens while they come, and at QoS 2 none more often than it asked.
 */
export class RetainedWalker {
	/** How often it had them all. */
	rounds = 0;
	readonly #session: MqttSession;
	readonly #random: SimulatedRandom;
	readonly #topics: readonly string[];
	readonly #qos: 1 | 2;
	readonly #times = new Map<string, number>();
	readonly #round = new Set<string>();
	#asks = 0;
	#asking = false;
	#stopped = false;

	constructor(court: Court, session: MqttSession, topics: readonly string[], qos: 1 | 2, random: SimulatedRandom) {
		this.#session = session;
		this.#topics = topics;
		this.#qos = qos;
		this.#random = random.fork(`${session.clientId} walks`);
		session.onConnected = () => {
			if (this.#asking) this.#asks++;
		};
		session.onMessage = ({ topic, qos: at, retain }) => {
			if (!retain || at !== this.#qos) court.accuse(session.clientId, `${topic} at QoS ${at}, retained: ${retain}`);
			const times = (this.#times.get(topic) ?? 0) + 1;
			this.#times.set(topic, times);
			if (this.#qos === 2 && times > this.#asks)
				court.accuse(session.clientId, `${topic} ${times} times; asked ${this.#asks}`);
			this.#round.add(topic);
			this.#goOn();
		};
	}

	start(): void {
		this.#ask();
	}

	stop(): void {
		this.#stopped = true;
	}

	missing(): string[] {
		if (this.#asking) return [`${this.#session.clientId} waits for SUBACK`];
		return this.#topics
			.filter((topic) => !this.#round.has(topic))
			.map((topic) => `${this.#session.clientId} has no ${topic}`);
	}

	#ask(): void {
		this.#round.clear();
		this.#asking = true;
		this.#asks++;
		this.#session.subscribe("fixed/#", this.#qos, () => {
			this.#asking = false;
			this.#goOn();
		});
	}

	#goOn(): void {
		if (this.#asking || this.#stopped || this.#round.size < this.#topics.length) return;
		this.rounds++;
		if (this.#random.chance(0.5)) {
			this.#ask();
		} else {
			this.#asking = true;
			this.#session.unsubscribe("fixed/#", () => this.#ask());
		}
	}
}

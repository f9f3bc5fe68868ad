/** Retained messages that change all the time, and the judge of what a new subscriber is told that they are. */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Court } from "./mqtt-court.ts";
import { MqttSession } from "./mqtt-session.ts";

/** Sorts behind all others: when a subscriber has it, it has all. */
const LAST = "state/~";
const WINDOW = 12;
const REMOVALS = 0.2;

interface Values {
	/** How many were published. */
	sent: number;
	/** The newest of which it is known that it is stored; 0: none. */
	acknowledged: number;
	/** Numbers that removed what was there. */
	readonly removals: Set<number>;
}

export class RetainedTopics {
	readonly values = new Map<string, Values>();
	/** What was looked at. */
	looks = 0;

	/**
	 * `told`: what a new subscriber was told, by topic; `known`: what was acknowledged before it subscribed; `quiet`: nobody published
	 * meanwhile. Else what is newer than the subscription comes live, and may do so after all that is retained.
	 */
	judge(
		court: Court,
		known: ReadonlyMap<string, number>,
		told: ReadonlyMap<string, readonly number[]>,
		quiet: boolean,
	): void {
		this.looks++;
		for (const [topic, { sent, removals }] of this.values) {
			const oldest = known.get(topic) ?? 0;
			const numbers = told.get(topic) ?? [];
			for (const number of numbers) {
				if (number >= oldest && number <= sent && !removals.has(number)) continue;
				court.accuse("retained", `${topic} is told to be ${number}; ${oldest} was acknowledged, ${sent} sent`);
			}
			const mayBeGone = oldest === 0 || (!quiet && sent > oldest) || [...removals].some((number) => number >= oldest);
			if (numbers.length === 0 && !mayBeGone) court.accuse("retained", `${topic} is gone; ${oldest} was acknowledged`);
		}
		for (const topic of told.keys()) {
			if (!this.values.has(topic)) court.accuse("retained", `${topic} was never published`);
		}
	}

	acknowledged(): Map<string, number> {
		return new Map([...this.values].map(([topic, { acknowledged }]) => [topic, acknowledged]));
	}
}

export class RetainedPublisher {
	readonly session: MqttSession;
	readonly #retained: RetainedTopics;
	readonly #topics: readonly string[];
	readonly #qos: 1 | 2;
	readonly #random: SimulatedRandom;

	constructor(
		session: MqttSession,
		retained: RetainedTopics,
		topics: readonly string[],
		qos: 1 | 2,
		random: SimulatedRandom,
	) {
		this.session = session;
		this.#retained = retained;
		this.#topics = topics;
		this.#qos = qos;
		this.#random = random.fork(`${session.clientId} retains`);
		for (const topic of topics) retained.values.set(topic, { sent: 0, acknowledged: 0, removals: new Set() });
	}

	publish(most: number): void {
		for (let i = 0; i < most && this.session.waiting < WINDOW; i++) {
			const topic = this.#random.pick(this.#topics);
			const values = this.#retained.values.get(topic)!;
			const number = ++values.sent;
			const isRemoval = this.#random.chance(REMOVALS);
			if (isRemoval) values.removals.add(number);
			this.session.publish(topic, isRemoval ? "" : String(number), { qos: this.#qos, retain: true }, () => {
				values.acknowledged = Math.max(values.acknowledged, number);
			});
		}
	}
}

/** Publishes what tells a subscriber that it has all. */
export function publishLast(session: MqttSession, acknowledged: () => void): void {
	session.publish(LAST, "last", { qos: 1, retain: true }, acknowledged);
}

/** A new subscriber, once: resolves with what it was told, by topic; undefined when its connection ended before. */
export function lookAtRetained(
	court: Court,
	random: SimulatedRandom,
	port: number,
): Promise<ReadonlyMap<string, readonly number[]> | undefined> {
	const session = new MqttSession(court, random, {
		clientId: `look${court.life}`,
		expirySeconds: 0,
		receiveMaximum: 20,
	});
	const told = new Map<string, number[]>();
	return new Promise((resolve) => {
		session.onConnected = () => session.subscribe("state/#", 1, () => {});
		session.onEnded = () => resolve(undefined);
		session.onMessage = ({ topic, payload, retain }) => {
			if (topic === LAST) {
				if (!retain) return;
				session.onEnded = () => {};
				session.cut();
				resolve(told);
				return;
			}
			// What comes live may be a removal.
			if (payload === "") {
				if (retain) court.accuse("retained", `${topic} is retained without a payload`);
				told.delete(topic);
				told.set(topic, []);
			} else if (retain && told.has(topic)) court.accuse("retained", `${topic} comes twice from what is retained`);
			else told.set(topic, [...(told.get(topic) ?? []), Number(payload)]);
		};
		session.connect(port, { clean: true });
	});
}

/**
 * Clients with wills that come, are cut or say goodbye at any moment, and the judge of which wills were published. A will has a
 * number; a kept QoS 2 subscriber counts how often each comes.
 */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Court } from "./mqtt-court.ts";
import { type Ending, MqttSession } from "./mqtt-session.ts";
import type { WillPacket } from "./mqtt-wire.ts";

/** `may`: what became of its connection is not known to its client. */
type Fate = "open" | "may" | "must" | "never";

interface Will {
	readonly name: string;
	fate: Fate;
	times: number;
}

export class WillBook {
	readonly #court: Court;
	readonly #wills = new Map<string, Will>();

	/** `watcher` is the kept QoS 2 subscriber. */
	constructor(court: Court, watcher: MqttSession) {
		this.#court = court;
		watcher.onMessage = ({ payload }) => {
			const will = this.#wills.get(payload);
			if (will === undefined) return court.accuse(watcher.clientId, `the will ${payload} is nobody's`);
			will.times++;
			if (will.times > 1) court.accuse(watcher.clientId, `the will ${payload} comes ${will.times} times`);
			this.#judge(will);
		};
	}

	new(clientId: string): Will {
		const will: Will = { name: `${clientId}:${this.#wills.size + 1}`, fate: "open", times: 0 };
		this.#wills.set(will.name, will);
		return will;
	}

	decide(will: Will, fate: Fate): void {
		if (will.fate === "must" || will.fate === "never") return;
		this.#court.say("wills", `${will.name} ${fate}`);
		will.fate = fate;
		this.#judge(will);
	}

	missing(): string[] {
		return [...this.#wills.values()]
			.filter(({ fate, times }) => fate === "must" && times === 0)
			.map(({ name }) => `the will ${name} has not come`);
	}

	count(fate: Fate): number {
		return [...this.#wills.values()].filter((will) => will.fate === fate).length;
	}

	#judge({ name, fate, times }: Will): void {
		if (fate === "never" && times > 0)
			this.#court.accuse("wills", `${name} was published; its client went in order or came back`);
	}
}

/** How a will client lives: its delay, how long its session is kept, and whether it comes back to it. */
const WAYS = {
	now: { delaySeconds: 0, expirySeconds: 0, returns: false },
	later: { delaySeconds: 1, expirySeconds: 3600, returns: false },
	withSession: { delaySeconds: 300, expirySeconds: 0, returns: false },
	returns: { delaySeconds: 300, expirySeconds: 3600, returns: true },
} as const;

type Way = keyof typeof WAYS;

export class WillClient {
	readonly #court: Court;
	readonly #book: WillBook;
	readonly #random: SimulatedRandom;
	readonly #name: string;
	readonly #way: Way;
	#session: MqttSession;
	#will: Will | undefined;
	/** Of earlier connections, which may still come; `sure`: the gateway has it. */
	#pending: { readonly will: Will; readonly sure: boolean }[] = [];
	#clean = false;
	#generation = 0;

	constructor(court: Court, book: WillBook, random: SimulatedRandom, name: string, way: Way) {
		this.#court = court;
		this.#book = book;
		this.#random = random.fork(name);
		this.#name = name;
		this.#way = way;
		this.#session = this.#newSession();
	}

	get offline(): boolean {
		return this.#session.offline;
	}

	/** One thing that such a client does now. */
	act(port: number): void {
		if (this.#session.offline) {
			if (this.#random.chance(0.3)) this.#connect(port);
		} else if (this.#session.online) {
			const draw = this.#random.fraction();
			if (draw < 0.03) this.#session.cut();
			else if (draw < 0.06) this.#session.disconnect(0);
			else if (draw < 0.075) this.#session.disconnect(4);
			else if (draw < 0.09) this.#connect(port);
		}
	}

	/** For the end: no more wills are made; what is left is decided. */
	leave(): void {
		this.#session.cut();
	}

	/** Ends the session to which it might come back: what waits is due. */
	endSession(port: number): void {
		if (!WAYS[this.#way].returns || this.#pending.length === 0) return;
		this.#clean = true;
		this.#session.connect(port, { clean: true });
	}

	#newSession(): MqttSession {
		const { expirySeconds, returns } = WAYS[this.#way];
		this.#generation++;
		const clientId = returns ? this.#name : `${this.#name}.${this.#generation}`;
		const session = new MqttSession(this.#court, this.#random, { clientId, expirySeconds, receiveMaximum: 10 });
		session.onConnected = (sessionPresent) => this.#connected(sessionPresent);
		session.onEnded = (ending) => this.#ended(ending);
		return session;
	}

	#connect(port: number): void {
		const { delaySeconds, returns } = WAYS[this.#way];
		if (this.#session.offline && !returns) this.#session = this.#newSession();
		const will = this.#book.new(this.#session.clientId);
		// A connection that it takes over ends with this, and with what is known of it.
		const packet: WillPacket = { topic: `wills/${this.#name}`, payload: will.name, qos: 2, delaySeconds };
		this.#session.connect(port, { clean: !returns, will: packet });
		this.#will = will;
	}

	#connected(sessionPresent: boolean): void {
		const pending = this.#pending;
		this.#pending = [];
		for (const { will, sure } of pending) {
			if (sessionPresent)
				this.#book.decide(will, "never"); // [MQTT-3.1.3-9]
			else if (this.#clean && sure && pending.length === 1) this.#book.decide(will, "must"); // the session has ended
		}
	}

	#ended({ accepted, saidGoodbye, inOrder }: Ending): void {
		const will = this.#will;
		this.#will = undefined;
		if (will === undefined) return;
		const sure = accepted && saidGoodbye !== 0;
		if (saidGoodbye === 0 && inOrder) this.#book.decide(will, "never");
		else if (WAYS[this.#way].returns) this.#pending.push({ will, sure });
		else this.#book.decide(will, sure ? "must" : "may");
	}
}

/**
 * Wills (MQTT 5.0 section 3.1.2.5): published when the connection ends without DISCONNECT, or, with a Will Delay Interval
 * (3.1.3.2.2), when it is over or the session ends, whichever is first, and not at all when the client continues its
 * session before. All of them are rows; those whose delay runs are in memory as well.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { Companion } from "./append-event.ts";
import type { Will } from "./codec/packets.ts";
import type { WillSender, WillStore } from "./will-store.ts";

export type { WillSender } from "./will-store.ts";

interface DelayedWill {
	readonly sender: WillSender;
	readonly will: Will;
	readonly dueTick: number;
}

export interface WillServices {
	/** Adds the will's event to the commit being gathered, `also` with it. Throws what an append throws. */
	publish(sender: WillSender, will: Will, also: Companion): void;
	/** Runs what must not throw here; what it throws is reported, and false returned. */
	guarded(what: string, work: () => void): boolean;
}

/** What may wait in memory; beyond, the oldest are published early rather than lost. */
const BYTES_MAX = 4 * 1024 * 1024;
const OVERHEAD_BYTES = 256;

export class Wills {
	/** By client id, oldest first. */
	readonly #waiting = new Map<string, DelayedWill>();
	/** Client ids whose wills are void, but storage did not let their rows go yet. */
	readonly #void = new Set<string>();
	readonly #store: WillStore;
	readonly #services: WillServices;
	#bytes = 0;

	constructor(store: WillStore, services: WillServices) {
		this.#store = store;
		this.#services = services;
	}

	/** After a start: clients that were connected then, or whose delay ran, have gone. */
	start(): void {
		for (let page = this.#store.page(""); page.length > 0; page = this.#store.page(page.at(-1)![0].clientId)) {
			for (const [sender, will] of page) this.left(sender, will, 0);
		}
	}

	/** A client connects with a will. Throws BrokerError where storage takes nothing. */
	keep(sender: WillSender, will: Will): void {
		this.#store.put(sender, will);
		this.#void.delete(sender.clientId);
	}

	/** A client connects without a will; returns whether there was one still. Throws BrokerError where storage takes nothing. */
	forget(clientId: string): boolean {
		if (!this.#store.has(clientId)) return false;
		this.#store.delete(clientId);
		return true;
	}

	/** The will of a connected client is void. False: storage takes nothing now, and a start before it does would publish it. */
	drop({ clientId }: WillSender): boolean {
		this.#void.add(clientId);
		this.#dropVoid();
		return !this.#void.has(clientId);
	}

	#dropVoid(): void {
		for (const clientId of this.#void) {
			if (!this.#services.guarded("dropping a will", () => this.#store.delete(clientId))) return;
			this.#void.delete(clientId);
		}
	}

	/** The client went without DISCONNECT at `tick` (seconds); its session is what `sender` says. */
	left(sender: WillSender, will: Will, tick: number): void {
		// The session's end comes first where it expires earlier [MQTT-3.1.2-8].
		const delay = Math.min(will.properties.willDelayInterval ?? 0, sender.expirySeconds);
		if (delay === 0) {
			this.#publish(sender, will);
			return;
		}
		// The tick under way does not count: never early, late by less than a second.
		this.#wait(sender, will, tick + 1 + delay);
		for (const oldest of [...this.#waiting.keys()]) {
			if (this.#bytes <= BYTES_MAX) return;
			this.#publishNow(oldest);
		}
	}

	#wait(sender: WillSender, will: Will, dueTick: number): void {
		this.#take(sender.clientId);
		this.#waiting.set(sender.clientId, { sender, will, dueTick });
		this.#bytes += willBytes(will);
	}

	/**
	 * The client is back at `tick`: with its session, and a will that is not due is void [MQTT-3.1.3-9], or that session has
	 * ended and the will is due. Returns whether there was one. Throws BrokerError where it cannot be stored now.
	 */
	returned(clientId: string, continues: boolean, tick: number): boolean {
		const waiting = this.#waiting.get(clientId);
		if (waiting === undefined) return false;
		if (continues && waiting.dueTick > tick) {
			this.#take(clientId);
			this.drop(waiting.sender);
			return true;
		}
		this.#publishNow(clientId);
		if (this.#waiting.has(clientId))
			throw new BrokerError("KAFKA_STORAGE_ERROR", "the client's last will cannot be stored");
		return true;
	}

	publishDue(tick: number): void {
		this.#dropVoid();
		for (const [clientId, { dueTick }] of [...this.#waiting]) {
			if (dueTick > tick) continue;
			this.#publishNow(clientId);
			if (this.#waiting.has(clientId)) return; // storage takes nothing now
		}
	}

	publishAll(): void {
		for (const clientId of [...this.#waiting.keys()]) this.#publishNow(clientId);
	}

	get size(): number {
		return this.#waiting.size;
	}

	#publishNow(clientId: string): void {
		const waiting = this.#take(clientId);
		if (waiting !== undefined) this.#publish(waiting.sender, waiting.will);
	}

	/** With its row gone in the same commit: once, also when the gateway is killed now. */
	#publish(sender: WillSender, will: Will): void {
		const { clientId } = sender;
		this.#services.guarded("publishing a will", () => {
			const bytes = clientId.length * 3 + OVERHEAD_BYTES;
			try {
				this.#services.publish(sender, will, { bytes, work: () => this.#store.delete(clientId) });
			} catch (error) {
				if (error instanceof BrokerError && error.code === "KAFKA_STORAGE_ERROR")
					this.#wait(sender, will, 0); // tried again
				else this.drop(sender);
				throw error;
			}
		});
	}

	#take(clientId: string): DelayedWill | undefined {
		const waiting = this.#waiting.get(clientId);
		if (waiting === undefined) return undefined;
		this.#waiting.delete(clientId);
		this.#bytes -= willBytes(waiting.will);
		return waiting;
	}
}

/** Roughly the memory of a will. */
export function willBytes({ topic, payload, properties }: Will): number {
	let bytes = OVERHEAD_BYTES + topic.length + payload.length + (properties.correlationData?.length ?? 0);
	bytes += (properties.contentType?.length ?? 0) + (properties.responseTopic?.length ?? 0);
	for (const [name, value] of properties.userProperties ?? []) bytes += OVERHEAD_BYTES + name.length + value.length;
	return bytes;
}

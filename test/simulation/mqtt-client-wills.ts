/** A client's wills, and what must become of each: the model holds the door to it. */
import type { Will } from "../../bridge/mqtt/codec/packets.ts";
import { NO_PROPERTIES } from "../../bridge/mqtt/codec/packets.ts";
import type { Link } from "./mqtt-link.ts";
import type { ModelEvent } from "./mqtt-model.ts";
import type { ClientTraits, ClientWorld, WillPlan } from "./mqtt-traits.ts";

interface WillUnderWay {
	readonly event: ModelEvent;
	readonly delayMs: number;
	/** CONNACK came. */
	accepted: boolean;
	/** When its connection ended. */
	endedMs: number;
	/** A CONNECT after it was sent, and may have made it void. */
	isTried: boolean;
}

/** A delay is counted in the door's seconds. */
const LATE_MS = 2500;

export class ClientWills {
	/** Of the connection. */
	#current: WillUnderWay | undefined;
	/** Of connections that are over: they may still come. */
	#former: WillUnderWay[] = [];
	readonly #name: string;
	readonly #traits: ClientTraits;
	readonly #world: ClientWorld;

	constructor(name: string, traits: ClientTraits, world: ClientWorld) {
		this.#name = name;
		this.#traits = traits;
		this.#world = world;
	}

	/** A CONNECT is sent. */
	connects(plan: WillPlan | undefined): Will | undefined {
		const { clock, model, startedMs } = this.#world;
		for (const will of this.#former) {
			const due = Math.max(will.endedMs, startedMs) + will.delayMs + LATE_MS;
			if (will.accepted && !will.isTried && clock.monotonic() > due) will.event.fate = "must";
			will.isTried = true;
		}
		if (plan === undefined) return undefined;
		const { topic, qos, retain, delaySeconds } = plan;
		const event = model.publish({ topic, qos, retain, expires: false, by: this.#name, isWill: true });
		const delayMs = this.#traits.version === 5 ? delaySeconds * 1000 : 0;
		this.#current = { event, delayMs, accepted: false, endedMs: 0, isTried: false };
		model.tell(
			`${this.#name}: has the will e${event.id} to ${topic}, QoS ${qos}, retained ${retain}, after ${delayMs} ms`,
		);
		const properties = delayMs > 0 ? { willDelayInterval: delaySeconds } : NO_PROPERTIES;
		return { topic, payload: Buffer.from(`e${event.id};`), qos, retain, properties };
	}

	/** CONNACK came. `continues`: the session of before. */
	accepted(continues: boolean): void {
		const { clock, startedMs } = this.#world;
		if (this.#current !== undefined) this.#current.accepted = true;
		for (const { event, accepted, endedMs, delayMs } of this.#former) {
			// An orderly stop publishes at once what waits.
			const isInTime = endedMs > startedMs && clock.monotonic() < endedMs + delayMs;
			if (continues && accepted && isInTime && event.places.length === 0) event.fate = "never";
		}
		this.#former = [];
	}

	/** The connection is over. `goodbye`: after DISCONNECT; the close said that it is stored, or it is not known whether. */
	ended(link: Link, goodbye: "stored" | "unknown" | undefined): void {
		const will = this.#current;
		this.#current = undefined;
		if (will === undefined) return;
		if (goodbye !== undefined) {
			if (goodbye === "stored" && will.event.places.length === 0) will.event.fate = "never";
		} else if (will.accepted && will.delayMs === 0) will.event.fate = "must";
		else {
			will.endedMs = Math.min(this.#world.clock.monotonic(), link.endedMs);
			this.#former.push(will);
		}
	}
}

/**
 * What a client gets from the door: held against the rules for packet identifiers, windows and topic aliases, told to the
 * model, and acknowledged when the script says so.
 */
import { NO_PROPERTIES, type Packet, type PublishPacket } from "../../bridge/mqtt/codec/packets.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Violation } from "./log-model.ts";
import type { Link } from "./mqtt-link.ts";
import type { ModelSession } from "./mqtt-model.ts";
import type { ClientTraits, ClientWorld } from "./mqtt-traits.ts";

/** Of an event's payload; 0: it has none. */
export function eventIdOf(payload: Buffer): number {
	return Number(/^e(\d+);/.exec(payload.toString("latin1", 0, Math.min(payload.length, 20)))?.[1] ?? 0);
}

export class Inbox {
	/** Of the session: QoS 2 events that it has and that are not released, by packet identifier. */
	readonly #received = new Map<number, number>();
	// Of the connection:
	readonly #aliases = new Map<number, string>();
	/** Publishes of the door that are not acknowledged for good. */
	readonly #unacknowledged = new Set<number>();
	readonly #pubacks: number[] = [];
	readonly #pubrecs: number[] = [];
	readonly #others: Packet[] = [];
	readonly #name: string;
	readonly #traits: ClientTraits;
	readonly #random: SimulatedRandom;
	readonly #world: ClientWorld;

	constructor(name: string, traits: ClientTraits, random: SimulatedRandom, world: ClientWorld) {
		this.#name = name;
		this.#traits = traits;
		this.#random = random;
		this.#world = world;
	}

	/** Nothing waits to be sent. */
	get done(): boolean {
		return this.#pubacks.length + this.#pubrecs.length + this.#others.length === 0;
	}

	/** QoS 2 events that the door has not released. */
	get unreleased(): readonly number[] {
		return [...this.#received.values()];
	}

	newSession(): void {
		this.#received.clear();
	}

	newConnection(): void {
		this.#aliases.clear();
		this.#unacknowledged.clear();
		this.#pubacks.length = 0;
		this.#pubrecs.length = 0;
		this.#others.length = 0;
	}

	/** PUBREL and PUBCOMP, which have an order of their own. */
	later(packet: Packet): void {
		this.#others.push(packet);
	}

	/** What to send next, of any kind; those of one kind keep their order [MQTT-4.6.0-2, -3, -4]. */
	next(session: ModelSession): Packet | undefined {
		const kinds: ("puback" | "pubrec" | "other")[] = [];
		if (this.#pubacks.length > 0) kinds.push("puback");
		if (this.#pubrecs.length > 0) kinds.push("pubrec");
		if (this.#others.length > 0) kinds.push("other");
		if (kinds.length === 0) return undefined;
		const kind = this.#random.pick(kinds);
		const packet: Packet =
			kind === "other"
				? this.#others.shift()!
				: {
						type: kind,
						packetId: (kind === "puback" ? this.#pubacks : this.#pubrecs).shift()!,
						reasonCode: 0,
						properties: NO_PROPERTIES,
					};
		if (!("packetId" in packet)) return packet;
		if (packet.type === "puback" || packet.type === "pubcomp") this.#unacknowledged.delete(packet.packetId!);
		this.#world.model.tell(`${session.name}: sends ${packet.type} ${packet.packetId}`);
		return packet;
	}

	pubrel(session: ModelSession, packetId: number): void {
		const known = this.#received.delete(packetId);
		this.#world.model.tell(`${session.name}: pubrel ${packetId}`);
		const reasonCode = known || this.#traits.version !== 5 ? 0 : 0x92;
		this.later({ type: "pubcomp", packetId, reasonCode, properties: NO_PROPERTIES });
	}

	publish(session: ModelSession, link: Link, packet: PublishPacket): void {
		const { model } = this.#world;
		const { payload, qos, retain, dup, packetId } = packet;
		const topic = this.#topicOf(packet.topic, packet.properties.topicAlias);
		const id = eventIdOf(payload);
		const how = `QoS ${qos}${dup ? " DUP" : ""}${retain ? " retained" : ""}`;
		model.tell(`${session.name}: gets e${id} of ${topic} ${how} as ${packetId}`);
		const seen = packetId === undefined || this.#take(session, id, packetId, packet);
		if (id === 0) return;
		const { version, retainHandling } = this.#traits;
		if (retain && !session.retainAsPublished && version === 5 && retainHandling === 2) {
			throw new Violation(`${session.name} got e${id} as retained, which it did not ask for`);
		}
		const linkOver = () => link.endedByDoor || link.over || link.saidGoodbye;
		const { turn, crashes } = model;
		model.arrived(session, id, topic, { turn, qos, retain, dup, seen, linkOver, crashes });
	}

	/** A publish at QoS 1 or 2; false for one that the session has already. */
	#take(session: ModelSession, id: number, packetId: number, { qos, dup }: PublishPacket): boolean {
		const { version, receiveMaximum } = this.#traits;
		const under = `${session.name}: e${id} at QoS ${qos}${dup ? " (DUP)" : ""} under the packet identifier ${packetId}`;
		if (this.#unacknowledged.has(packetId)) throw new Violation(`${under}, which is in use`);
		this.#unacknowledged.add(packetId);
		const window = Math.min(this.#world.maxInflight, version === 5 ? receiveMaximum : 65_535);
		const { size } = this.#unacknowledged;
		if (size > window) throw new Violation(`${this.#name}: ${size} under way; ${window} may be`);
		const had = this.#received.get(packetId);
		if (qos === 1) {
			if (had !== undefined) throw new Violation(`${under} of e${had}, which is not released`);
			this.#pubacks.push(packetId);
			return true;
		}
		if (had !== undefined && !(dup && had === id)) throw new Violation(`${under} of e${had}, which is not released`);
		this.#received.set(packetId, id);
		this.#pubrecs.push(packetId);
		return had === undefined;
	}

	#topicOf(topic: string, alias: number | undefined): string {
		if (alias === undefined) {
			if (topic === "") throw new Violation(`${this.#name}: neither topic nor alias`);
			return topic;
		}
		const { topicAliasMaximum } = this.#traits;
		if (alias > topicAliasMaximum)
			throw new Violation(`${this.#name}: Topic Alias ${alias}; ${topicAliasMaximum} may be`);
		if (topic !== "") this.#aliases.set(alias, topic);
		const known = this.#aliases.get(alias);
		if (known === undefined) throw new Violation(`${this.#name}: Topic Alias ${alias} was given no topic`);
		return known;
	}
}

/**
 * A scripted MQTT client, 3.1.1 or 5: it keeps the standard's rules, and its session's state through anything that happens
 * to the gateway, and holds every packet that it gets against the rules for servers.
 */
import { decodePacket } from "../../bridge/mqtt/codec/decode.ts";
import { encodePacket } from "../../bridge/mqtt/codec/encode.ts";
import { packetLength } from "../../bridge/mqtt/codec/framing.ts";
import {
	type ConnackPacket,
	NO_PROPERTIES,
	type Packet,
	type PublishPacket,
	type PublishResponsePacket,
	type Qos,
	type SubackPacket,
} from "../../bridge/mqtt/codec/packets.ts";
import { filterKind } from "../../bridge/mqtt/filter-kind.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Violation } from "./log-model.ts";
import { ClientWills } from "./mqtt-client-wills.ts";
import { Inbox } from "./mqtt-inbox.ts";
import type { Link, LinkEnd } from "./mqtt-link.ts";
import { type ModelEvent, ModelSession, type ModelSubscription } from "./mqtt-model.ts";
import type { ClientTraits, ClientWorld, WillPlan, Wish } from "./mqtt-traits.ts";

interface Outgoing {
	readonly event: ModelEvent;
	readonly packet: PublishPacket;
	released: boolean;
}

interface Asked {
	readonly kind: "suback" | "unsuback";
	readonly subscriptions: readonly ModelSubscription[];
}

const MAX_UNACKNOWLEDGED = 30;

export class MqttClient implements LinkEnd {
	readonly name: string;
	readonly traits: ClientTraits;
	session: ModelSession;
	link: Link | undefined;
	online = false;
	readonly #world: ClientWorld;
	readonly #random: SimulatedRandom;
	#bytes = Buffer.alloc(0);
	/** Of its session: publishes that are not done, oldest first. */
	readonly #outgoing = new Map<number, Outgoing>();
	readonly #inbox: Inbox;
	readonly #wills: ClientWills;
	/** A new session was asked for and may not have been made. */
	#mustClean = false;
	/** A CONNECT that got no answer may have made a session. */
	#mayBeMade = false;
	#sessions = 0;
	#lastPacketId = 0;
	// Of the connection:
	#wasClean = false;
	#wasMade = false;
	#saidGoodbye = false;
	#saidItEnds = false;
	#serverReceiveMaximum = 65_535;
	#serverAliases = 0;
	readonly #ownAliases = new Map<string, number>();
	#heardGoodbye = false;
	#isAccepted = false;
	/** Identifiers of publishes sent over this connection, in order: as the answers have to come. */
	#answersDue: number[] = [];
	readonly #asked = new Map<number, Asked>();
	#early: readonly Wish[] = [];
	#earlyId = 0;
	/** Asked for without ever hearing of it. */
	#lost: readonly Wish[] = [];
	constructor(name: string, traits: ClientTraits, random: SimulatedRandom, world: ClientWorld) {
		this.name = name;
		this.traits = traits;
		this.#random = random;
		this.#world = world;
		this.#inbox = new Inbox(name, traits, random, world);
		this.#wills = new ClientWills(name, traits, world);
		this.session = this.#newSession(false);
		this.session.over = true;
	}

	get offline(): boolean {
		return this.link === undefined;
	}

	/** Nothing of it waits for an answer. */
	get done(): boolean {
		return this.#outgoing.size === 0 && this.#asked.size === 0 && this.#inbox.done;
	}

	get unreleased(): readonly number[] {
		return this.#inbox.unreleased;
	}

	/** Takes over from its own former connection, if there is one. */
	connect(
		options: {
			clean?: boolean;
			will?: WillPlan | undefined;
			keepAliveSeconds?: number;
			/** Asked for right behind CONNECT, as clients may [MQTT-3.1.2 of 3.1.1]. */
			subscriptions?: readonly Wish[];
			topic?: string;
		} = {},
	): void {
		const { model } = this.#world;
		if (this.link !== undefined) {
			const { link: former } = this;
			former.left = true;
			// What it asked for must not come behind what it asks for now.
			if (!this.#isAccepted && (this.#wasClean || options.clean === true || this.#early.length > 0)) former.cut();
			this.#left(false);
		}
		const link = this.#world.dial(this);
		if (link === undefined) return;
		this.link = link;
		const { version, kept, receiveMaximum, topicAliasMaximum, expirySeconds, maximumPacketSize } = this.traits;
		// One that may have expired, and been made anew without its client hearing of that, is of no use.
		if (version === 5 && expirySeconds < Number.POSITIVE_INFINITY && this.#mayBeMade) this.#mustClean = true;
		const cleanStart = !kept || this.#mustClean || (options.clean ?? false);
		if (cleanStart) this.#mustClean = true;
		this.#wasMade = this.#mayBeMade;
		this.#mayBeMade ||= !cleanStart;
		this.#wasClean = cleanStart;
		const will = this.#wills.connects(options.will);
		model.tell(`${this.name}: CONNECT over link ${link.number}, clean ${cleanStart}`);
		this.#send({
			type: "connect",
			version,
			cleanStart,
			keepAliveSeconds: options.keepAliveSeconds ?? 0,
			clientId: this.name,
			will,
			properties:
				version === 5
					? {
							receiveMaximum,
							...(kept && { sessionExpiryInterval: Math.min(expirySeconds, 0xffff_ffff) }),
							...(maximumPacketSize > 0 && { maximumPacketSize }),
							...(topicAliasMaximum > 0 && { topicAliasMaximum }),
						}
					: NO_PROPERTIES,
		});
		// It does not know yet which session they are for.
		if (options.subscriptions !== undefined) this.#early = options.subscriptions;
		if (this.#early.length > 0) this.#askEarly();
		if (options.topic !== undefined)
			this.publish(options.topic, 0, { retain: false, empty: false, expirySeconds: 0, pad: 0 });
	}

	#askEarly(): void {
		const packetId = this.#freePacketId();
		if (packetId === undefined) {
			this.#early = [];
			return;
		}
		this.#earlyId = packetId;
		this.#world.model.tell(
			`${this.name}: SUBSCRIBE early ${this.#early.map(({ filter, qos }) => `${filter} QoS ${qos}`).join(", ")}`,
		);
		this.#sendSubscribe(packetId, this.#early);
	}

	subscribe(asked: readonly Wish[]): void {
		const { model } = this.#world;
		const packetId = this.#freePacketId();
		if (packetId === undefined) return;
		this.#asked.set(packetId, { kind: "suback", subscriptions: this.#note(asked) });
		model.tell(`${this.session.name}: SUBSCRIBE ${asked.map(({ filter, qos }) => `${filter} QoS ${qos}`).join(", ")}`);
		this.#sendSubscribe(packetId, asked);
	}

	#note(asked: readonly Wish[]): ModelSubscription[] {
		const { model } = this.#world;
		return asked.map(({ filter, qos }) => {
			const askedTurn = ++model.turn;
			const current = this.session.current(filter);
			if (current !== undefined && current.leftTurn === undefined) {
				current.times++;
				return current;
			}
			const kind = filterKind(filter)!;
			const made: ModelSubscription = {
				filter,
				match: kind.match,
				kind: kind.kind,
				group: kind.kind === "share" ? kind.group : "",
				qos,
				askedTurn,
				ackTurn: undefined,
				leftTurn: undefined,
				overTurn: undefined,
				noLocal: this.traits.version === 5 && this.traits.noLocal && kind.kind !== "share",
				times: 1,
			};
			this.session.subscriptions.push(made);
			return made;
		});
	}

	#sendSubscribe(packetId: number, asked: readonly Wish[]): void {
		const { version, retainAsPublished, retainHandling, noLocal } = this.traits;
		this.#send({
			type: "subscribe",
			packetId,
			subscriptions: asked.map(({ filter, qos }) => ({
				filter,
				qos,
				noLocal: version === 5 && noLocal && !filter.startsWith("$share/"),
				retainAsPublished: version === 5 && retainAsPublished,
				retainHandling: version === 5 ? retainHandling : 0,
			})),
			properties: NO_PROPERTIES,
		});
	}

	unsubscribe(filters: readonly string[]): void {
		const { model } = this.#world;
		const packetId = this.#freePacketId();
		if (packetId === undefined) return;
		const subscriptions = filters.map((filter) => {
			const current = this.session.current(filter)!;
			current.leftTurn ??= ++model.turn;
			return current;
		});
		this.#asked.set(packetId, { kind: "unsuback", subscriptions });
		model.tell(`${this.session.name}: UNSUBSCRIBE ${filters.join(", ")}`);
		this.#send({ type: "unsubscribe", packetId, filters, properties: NO_PROPERTIES });
	}

	publish(
		topic: string,
		qos: Qos,
		options: { retain: boolean; empty: boolean; expirySeconds: number; pad: number },
	): void {
		const { model } = this.#world;
		const { version } = this.traits;
		const limit = Math.min(this.#serverReceiveMaximum, MAX_UNACKNOWLEDGED);
		if (qos > 0 && this.#outgoing.size >= limit) return;
		const packetId = qos > 0 ? this.#freePacketId() : undefined;
		if (qos > 0 && packetId === undefined) return;
		const expires = version === 5 && options.expirySeconds > 0;
		const event = model.publish({ topic, qos, retain: options.retain, expires, by: this.name, isWill: false });
		if (options.empty) model.events.delete(event.id);
		const payload = options.empty ? Buffer.alloc(0) : Buffer.from(`e${event.id};${".".repeat(options.pad)}`);
		const properties = expires ? { messageExpiryInterval: options.expirySeconds } : NO_PROPERTIES;
		const packet: PublishPacket = {
			type: "publish",
			topic,
			payload,
			qos,
			retain: options.retain,
			dup: false,
			packetId,
			properties,
		};
		event.bytes = payload.length + 100;
		model.tell(
			`${this.session.name}: PUBLISH e${event.id}${options.empty ? " (empty)" : ""} to ${topic} QoS ${qos}${options.retain ? " retained" : ""} as ${packetId}`,
		);
		if (packetId !== undefined) this.#outgoing.set(packetId, { event, packet, released: false });
		this.#sendPublish(event, packet);
	}

	/** Sends some of the acknowledgements that are due. */
	acknowledge(count: number): void {
		for (let i = 0; i < count && this.online; i++) {
			const packet = this.#inbox.next(this.session);
			if (packet === undefined) return;
			this.#send(packet);
		}
	}

	ping(): void {
		if (this.online) this.#send({ type: "pingreq" });
	}

	/** `withWill`: reason code 0x04 of MQTT 5. */
	disconnect(withWill: boolean, endsSession = false): void {
		if (this.link === undefined) return;
		const isLast = endsSession && this.traits.version === 5 && this.session.kept;
		if (isLast) this.#saidItEnds = true;
		const reasonCode = withWill && this.traits.version === 5 ? 4 : 0;
		if (reasonCode === 0) this.#saidGoodbye = true;
		this.link.saidGoodbye = true;
		this.#world.model.tell(`${this.session.name}: DISCONNECT ${reasonCode}${isLast ? ", with its session" : ""}`);
		this.#send({ type: "disconnect", reasonCode, properties: isLast ? { sessionExpiryInterval: 0 } : NO_PROPERTIES });
		this.online = false;
	}

	// The link.

	bytes(link: Link, chunk: Buffer): void {
		if (link !== this.link) return;
		this.#bytes = Buffer.concat([this.#bytes, chunk]);
		while (this.link === link) {
			const length = packetLength(this.#bytes, 0, this.#bytes.length, Number.MAX_SAFE_INTEGER);
			if (length === 0) return;
			const { packetBytes } = this.session;
			if (packetBytes > 0 && length > packetBytes) throw new Violation(`${this.name}: a packet of ${length} bytes`);
			const packet = decodePacket(this.#bytes, 0, length, this.traits.version, "server");
			this.#bytes = this.#bytes.subarray(length);
			if (packet.type !== "pingresp") this.#world.model.turn++;
			this.#packet(packet);
		}
	}

	gone(link: Link, inOrder: boolean): void {
		if (link !== this.link) return;
		this.#world.model.tell(`${this.session.name}: link ${link.number} is gone${inOrder ? " in order" : ""}`);
		this.#left(inOrder);
	}

	#left(inOrder: boolean): void {
		// Earlier versions are not told that it was the door that ended it.
		const mayBeItsEnd = this.#answersDue.length > 0 || this.#world.wasFull;
		const isItsEnd = this.#heardGoodbye || (this.traits.version !== 5 && mayBeItsEnd);
		const goodbye = inOrder && !isItsEnd ? "stored" : "unknown";
		this.#wills.ended(this.link!, this.#saidGoodbye ? goodbye : undefined);
		this.link = undefined;
		this.online = false;
		if (this.#saidItEnds) {
			this.session.confirmed = false;
			if (inOrder) this.session.over = true;
		}
		this.#saidItEnds = false;
		this.#saidGoodbye = false;
		this.#heardGoodbye = false;
		this.#isAccepted = false;
		this.#bytes = Buffer.alloc(0);
		this.#inbox.newConnection();
		this.#ownAliases.clear();
		this.#answersDue = [];
		this.#asked.clear();
		this.#lost = [...this.#lost, ...this.#early];
		this.#early = [];
		if (!this.session.kept) this.session.over = true;
	}

	#newSession(kept: boolean): ModelSession {
		const { version, retainAsPublished, maximumPacketSize } = this.traits;
		const session = new ModelSession(this.name, ++this.#sessions, kept, version === 5 && retainAsPublished);
		session.packetBytes = version === 5 ? maximumPacketSize : 0;
		this.#world.model.sessions.push(session);
		this.#outgoing.clear();
		this.#inbox.newSession();
		return session;
	}

	#send(packet: Packet): void {
		this.link?.send(encodePacket(packet, this.traits.version));
	}

	#sendPublish(event: ModelEvent, packet: PublishPacket): void {
		event.sends++;
		if (packet.packetId !== undefined) this.#answersDue.push(packet.packetId);
		if (this.#serverAliases === 0 || !this.#random.chance(0.5)) this.#send(packet);
		else this.#sendAliased(packet);
	}

	#sendAliased(packet: PublishPacket): void {
		const known = this.#ownAliases.get(packet.topic);
		const isFull = this.#ownAliases.size >= this.#serverAliases;
		if (known === undefined && isFull) {
			this.#send(packet);
			return;
		}
		const topicAlias = known ?? this.#ownAliases.size + 1;
		this.#ownAliases.set(packet.topic, topicAlias);
		const topic = known === undefined ? packet.topic : "";
		this.#send({ ...packet, topic, properties: { ...packet.properties, topicAlias } });
	}

	#freePacketId(): number | undefined {
		for (let i = 0; i < this.traits.packetIds; i++) {
			this.#lastPacketId = (this.#lastPacketId % this.traits.packetIds) + 1;
			if (!this.#outgoing.has(this.#lastPacketId) && !this.#asked.has(this.#lastPacketId)) return this.#lastPacketId;
		}
		return undefined;
	}

	// What the door says.

	#packet(packet: Packet): void {
		if (this.#heardGoodbye) throw new Violation(`${this.name}: ${packet.type} after DISCONNECT`);
		if (this.#isAccepted === (packet.type === "connack"))
			throw new Violation(`${this.name}: ${JSON.stringify(packet)} out of turn`);
		switch (packet.type) {
			case "connack":
				this.#connack(packet);
				return;
			case "publish":
				this.#inbox.publish(this.session, this.link!, packet);
				return;
			case "puback":
			case "pubrec":
				this.#answer(packet);
				return;
			case "pubcomp":
				if (this.#outgoing.get(packet.packetId)?.released !== true)
					throw new Violation(`${this.name}: PUBCOMP ${packet.packetId} for nothing`);
				this.#outgoing.delete(packet.packetId);
				return;
			case "pubrel":
				this.#inbox.pubrel(this.session, packet.packetId);
				return;
			case "suback":
			case "unsuback":
				this.#subscribed(packet);
				return;
			case "disconnect":
				this.#world.model.tell(
					`${this.name}: told DISCONNECT ${packet.reasonCode} ${packet.properties.reasonString ?? ""}`,
				);
				this.#heardGoodbye = true;
				return;
			case "pingresp":
				return;
			default:
				throw new Violation(`${this.name}: the door sent ${packet.type}`);
		}
	}

	#connack({ reasonCode, sessionPresent, properties }: ConnackPacket): void {
		const { model } = this.#world;
		model.tell(`${this.name}: CONNACK ${reasonCode}${sessionPresent ? " session present" : ""}`);
		if (reasonCode !== 0) return;
		this.online = true;
		this.#isAccepted = true;
		this.#serverReceiveMaximum = properties.receiveMaximum ?? 65_535;
		this.#serverAliases = properties.topicAliasMaximum ?? 0;
		if (sessionPresent && this.#wasClean) throw new Violation(`${this.name}: a session is present after a clean start`);
		if (!sessionPresent || (this.session.over && this.#wasMade)) {
			const mayExpire = this.traits.version === 5 && this.traits.expirySeconds < Number.POSITIVE_INFINITY;
			if (!this.#wasClean && this.session.confirmed && !this.session.over && !mayExpire)
				throw new Violation(`${this.session.name} was to be kept and is not there`);
			this.session.over = true;
			this.session = this.#newSession(this.traits.kept && (this.traits.version === 5 || !this.#wasClean));
		} else if (this.session.over) throw new Violation(`${this.session.name} had ended and is present`);
		this.session.confirmed = true;
		this.#mustClean = false;
		this.#mayBeMade = false;
		if (sessionPresent) this.#note(this.#lost);
		this.#lost = [];
		if (this.#early.length > 0)
			this.#asked.set(this.#earlyId, { kind: "suback", subscriptions: this.#note(this.#early) });
		this.#early = [];
		this.#wills.accepted(sessionPresent);
		for (const [packetId, outgoing] of this.#outgoing) {
			if (this.#answersDue.includes(packetId)) continue;
			const { event, packet, released } = outgoing;
			if (released) this.#send({ type: "pubrel", packetId, reasonCode: 0, properties: NO_PROPERTIES });
			else this.#sendPublish(event, { ...packet, dup: true });
		}
	}

	#answer({ type, packetId, reasonCode }: PublishResponsePacket): void {
		const outgoing = this.#outgoing.get(packetId);
		if (outgoing === undefined) throw new Violation(`${this.name}: ${type} ${packetId} for nothing`);
		if (type !== (outgoing.packet.qos === 1 ? "puback" : "pubrec"))
			throw new Violation(`${this.name}: ${type} for QoS ${outgoing.packet.qos}`);
		if (this.#answersDue[0] !== packetId)
			throw new Violation(`${this.name}: ${type} ${packetId} where that of ${this.#answersDue[0]} was due`);
		this.#answersDue.shift();
		const { event } = outgoing;
		const isRefused = reasonCode >= 0x80;
		this.#world.model.tell(`${this.session.name}: ${type} of e${event.id} ${reasonCode}`);
		if (!isRefused) {
			event.acked = true;
			this.session.confirmed = true;
		}
		if (type === "puback" || isRefused) this.#outgoing.delete(packetId);
		else {
			outgoing.released = true;
			this.#inbox.later({ type: "pubrel", packetId, reasonCode: 0, properties: NO_PROPERTIES });
		}
	}

	#subscribed({ type, packetId, reasonCodes }: SubackPacket): void {
		const { model } = this.#world;
		const asked = this.#asked.get(packetId);
		if (asked?.kind !== type) throw new Violation(`${this.name}: ${type} ${packetId} for nothing`);
		this.#asked.delete(packetId);
		this.session.confirmed = true;
		model.tell(
			`${this.session.name}: ${type} ${asked.subscriptions.map(({ filter }, i) => `${filter} ${reasonCodes[i] ?? ""}`).join(", ")}`,
		);
		asked.subscriptions.forEach((subscription, i) => {
			const isRefused = (reasonCodes[i] ?? 0) >= 0x80;
			if (type === "unsuback") {
				if (!isRefused) subscription.overTurn ??= ++model.turn;
			} else if (!isRefused) subscription.ackTurn ??= ++model.turn;
			else if (subscription.ackTurn === undefined) subscription.leftTurn ??= ++model.turn;
		});
	}
}

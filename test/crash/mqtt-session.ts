/**
 * An MQTT 5 client that keeps its session's state over connections as the standard asks (4.1, 4.3, 4.4): publishes are sent again
 * until they are answered, QoS 2 publishes from the gateway are handed on once, answers keep their order. What the
 * gateway does against the standard it tells the court.
 */
import { connect, type Socket } from "node:net";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Court } from "./mqtt-court.ts";
import {
	answerPacket,
	CONNACK,
	connectPacket,
	decodePublish,
	disconnectPacket,
	firstPacket,
	type Packet,
	PUBACK,
	PUBCOMP,
	PUBLISH,
	PUBREC,
	PUBREL,
	type PublishPacket,
	publishPacket,
	type Qos,
	reasonCodeOf,
	SUBACK,
	subscribePacket,
	UNSUBACK,
	unsubscribePacket,
	type WillPacket,
} from "./mqtt-wire.ts";

export interface SessionTraits {
	readonly clientId: string;
	/** 0: it ends with its connection. */
	readonly expirySeconds: number;
	readonly receiveMaximum: number;
}

interface Outgoing {
	readonly packet: PublishPacket;
	readonly acknowledged: () => void;
	/** QoS 2: the PUBREC has come. */
	released: boolean;
	/** The PUBREL was sent again: the gateway may have had it before, and then knows the identifier no more. */
	releasedAgain: boolean;
}

interface Asked {
	readonly type: number;
	readonly bytes: Buffer;
	readonly granted: () => void;
	/** Asked before over another connection, and perhaps granted there. */
	again: boolean;
}

/** How a connection ended: accepted by CONNACK or not, closed by the gateway while it ran, or cut. */
export interface Ending {
	readonly accepted: boolean;
	/** Of the DISCONNECT that was sent, if any. */
	readonly saidGoodbye: number | undefined;
	/** The gateway closed it, and was not being killed. */
	readonly inOrder: boolean;
}

const PACKET_IDS = 65_535;
/** Reason codes of MQTT 5. */
const NO_SUBSCRIPTION = 0x11;
const UNKNOWN_IDENTIFIER = 0x92;

export class MqttSession {
	readonly clientId: string;
	/** Its connections so far. */
	connections = 0;
	online = false;
	onMessage: (message: PublishPacket) => void = () => {};
	onConnected: (sessionPresent: boolean) => void = () => {};
	onEnded: (ending: Ending) => void = () => {};
	readonly #court: Court;
	readonly #random: SimulatedRandom;
	readonly #traits: SessionTraits;
	/** The gateway said that there is a session, so it has to be there. */
	#promised = false;
	/** Oldest first, by packet identifier. */
	readonly #outgoing = new Map<number, Outgoing>();
	readonly #asked = new Map<number, Asked>();
	/** QoS 2, by packet identifier: here, and not released. */
	readonly #received = new Map<number, PublishPacket>();
	#lastPacketId = 0;
	// Of the connection:
	#socket: Socket | undefined;
	#bytes = Buffer.alloc(0);
	#saidGoodbye: number | undefined;
	#cleanStart = false;
	/** Of publishes sent over this connection, as their answers have to come. */
	#answersDue: number[] = [];
	/** Acknowledgements still to be sent. */
	#answers: { readonly bytes: Buffer; readonly packetId: number; readonly ends: boolean }[] = [];
	/** Publishes of the gateway that are not acknowledged over this connection. */
	readonly #unacknowledged = new Set<number>();
	#timer: NodeJS.Timeout | undefined;

	constructor(court: Court, random: SimulatedRandom, traits: SessionTraits) {
		this.clientId = traits.clientId;
		this.#court = court;
		this.#traits = traits;
		this.#random = random.fork(traits.clientId);
	}

	get offline(): boolean {
		return this.#socket === undefined;
	}

	/** Publishes and requests that have no answer. */
	get waiting(): number {
		return this.#outgoing.size + this.#asked.size;
	}

	/** Where there is a connection, the new one takes over from it [MQTT-3.1.4-3]. */
	connect(port: number, options: { clean?: boolean; will?: WillPacket | undefined } = {}): void {
		const former = this.#socket;
		if (former !== undefined) this.#over(former, false);
		const { clientId, expirySeconds, receiveMaximum } = this.#traits;
		const socket = connect({ host: "127.0.0.1", port, noDelay: true });
		const connection = ++this.connections;
		const cleanStart = options.clean ?? false;
		this.#socket = socket;
		this.#cleanStart = cleanStart;
		this.#say(`connection ${connection}${cleanStart ? ", clean" : ""}${former === undefined ? "" : ", taking over"}`);
		socket.on("connect", () => {
			socket.write(connectPacket({ clientId, cleanStart, expirySeconds, receiveMaximum, will: options.will }));
		});
		socket.on("data", (chunk) => {
			// The former one stays until the gateway has taken this one for it.
			former?.destroy();
			if (this.#socket === socket) this.#read(chunk);
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			former?.destroy();
			if (this.#socket === socket) this.#over(socket, !this.#court.killing);
		});
	}

	/** As if the network went. */
	cut(): void {
		const socket = this.#socket;
		if (socket === undefined) return;
		this.#say("cut");
		this.#over(socket, false);
		socket.destroy();
	}

	/** The gateway closes, when that is durable. */
	disconnect(reasonCode: number): void {
		this.#say(`DISCONNECT ${reasonCode}`);
		this.#saidGoodbye = reasonCode;
		this.online = false;
		this.#socket?.write(disconnectPacket(reasonCode));
	}

	/** `acknowledged`: it is the gateway's now. */
	publish(topic: string, payload: string, options: { qos: 1 | 2; retain?: boolean }, acknowledged: () => void): void {
		const { qos, retain = false } = options;
		const packet: PublishPacket = { topic, payload, qos, retain, dup: false, packetId: this.#freePacketId() };
		this.#outgoing.set(packet.packetId, { packet, acknowledged, released: false, releasedAgain: false });
		if (this.online) this.#sendPublish(packet);
	}

	/** Asks again after every connection until it is granted. */
	subscribe(filter: string, qos: Qos, granted: () => void): void {
		const packetId = this.#freePacketId();
		this.#ask(packetId, { type: SUBACK, bytes: subscribePacket(packetId, filter, qos), granted, again: false });
	}

	unsubscribe(filter: string, granted: () => void): void {
		const packetId = this.#freePacketId();
		this.#ask(packetId, { type: UNSUBACK, bytes: unsubscribePacket(packetId, filter), granted, again: false });
	}

	#ask(packetId: number, asked: Asked): void {
		this.#asked.set(packetId, asked);
		if (this.online) this.#socket?.write(asked.bytes);
	}

	#over(socket: Socket, inOrder: boolean): void {
		if (this.#socket !== socket) return;
		const accepted = this.online || this.#saidGoodbye !== undefined;
		const saidGoodbye = this.#saidGoodbye;
		this.#say(`over${inOrder ? ", closed by the gateway" : ""}${accepted ? "" : ", not accepted"}`);
		if (inOrder && saidGoodbye === undefined) this.#wrong("the gateway ended the connection");
		this.#socket = undefined;
		this.online = false;
		this.#bytes = Buffer.alloc(0);
		this.#saidGoodbye = undefined;
		this.#answersDue = [];
		this.#answers = [];
		this.#unacknowledged.clear();
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.onEnded({ accepted, saidGoodbye, inOrder });
	}

	#read(chunk: Buffer): void {
		const socket = this.#socket;
		this.#bytes = Buffer.concat([this.#bytes, chunk]);
		for (let next = firstPacket(this.#bytes); next !== undefined; next = firstPacket(this.#bytes)) {
			this.#bytes = this.#bytes.subarray(next.length);
			this.#packet(next.packet);
			if (this.#socket !== socket) return;
		}
	}

	#packet(packet: Packet): void {
		const { type, body } = packet;
		const packetId = body.length >= 2 ? body.readUInt16BE(0) : 0;
		const reasonCode = reasonCodeOf(packet);
		if (type === CONNACK) this.#onConnack(body[0] === 1, body[1] ?? 0x80);
		else if (type === PUBLISH) this.#onPublish(decodePublish(packet));
		else if (type === PUBREL) this.#onPubrel(packetId);
		else if (type === PUBCOMP) this.#onPubcomp(packetId, reasonCode);
		else if (type === PUBACK || type === PUBREC) this.#onAnswer(type, packetId, reasonCode);
		else if (type === SUBACK || type === UNSUBACK) this.#onGranted(type, packetId, reasonCode);
		else this.#wrong(`gets packet ${type}: ${body.toString("hex")}`);
	}

	#onConnack(sessionPresent: boolean, reasonCode: number): void {
		this.#say(`CONNACK ${reasonCode}${sessionPresent ? ", session present" : ""}`);
		if (reasonCode !== 0) {
			this.#wrong(`CONNACK ${reasonCode}`);
			return;
		}
		if (sessionPresent && this.#cleanStart) this.#wrong("a session after a clean start");
		if (!sessionPresent && this.#promised && !this.#cleanStart) this.#wrong("its session is lost");
		if (!sessionPresent) this.#received.clear();
		this.#promised = this.#traits.expirySeconds > 0;
		this.online = true;
		for (const [packetId, outgoing] of this.#outgoing) {
			outgoing.releasedAgain = outgoing.released;
			if (outgoing.released) this.#socket?.write(answerPacket(PUBREL, packetId));
			else this.#sendPublish({ ...outgoing.packet, dup: true });
		}
		for (const asked of this.#asked.values()) {
			asked.again = true;
			this.#socket?.write(asked.bytes);
		}
		this.onConnected(sessionPresent);
	}

	#sendPublish(packet: PublishPacket): void {
		this.#answersDue.push(packet.packetId);
		this.#socket?.write(publishPacket(packet));
	}

	#onPubcomp(packetId: number, reasonCode: number): void {
		const outgoing = this.#outgoing.get(packetId);
		if (outgoing?.released !== true) this.#wrong(`PUBCOMP ${packetId} for nothing`);
		else if (reasonCode !== 0 && !(reasonCode === UNKNOWN_IDENTIFIER && outgoing.releasedAgain)) {
			this.#wrong(`PUBCOMP ${packetId} with ${reasonCode}`);
		}
		this.#outgoing.delete(packetId);
	}

	#onAnswer(type: number, packetId: number, reasonCode: number): void {
		const due = this.#answersDue.shift();
		const what = `packet ${type} for ${packetId}`;
		if (due !== packetId) this.#wrong(`${what}; that for ${due} is due`);
		if (reasonCode >= 0x80) this.#wrong(`${what} refuses with ${reasonCode}`);
		const outgoing = this.#outgoing.get(packetId);
		if (outgoing === undefined || type !== (outgoing.packet.qos === 1 ? PUBACK : PUBREC)) {
			this.#wrong(`${what}, which waits for no such`);
			return;
		}
		const { topic, payload } = outgoing.packet;
		this.#say(`${what}, ${topic} ${payload.slice(0, 20)}`);
		if (type === PUBREC) {
			outgoing.released = true;
			this.#answer(PUBREL, packetId, false);
		} else {
			this.#outgoing.delete(packetId);
		}
		outgoing.acknowledged();
	}

	#onGranted(type: number, packetId: number, reasonCode: number): void {
		const asked = this.#asked.get(packetId);
		this.#asked.delete(packetId);
		this.#say(`packet ${type} for ${packetId}: ${reasonCode}`);
		const isDone = reasonCode === NO_SUBSCRIPTION && asked?.again === true;
		if (asked?.type !== type || (reasonCode > 2 && !isDone))
			this.#wrong(`packet ${type} for ${packetId} with ${reasonCode}`);
		asked?.granted();
	}

	#onPublish(message: PublishPacket): void {
		const { topic, payload, qos, retain, dup, packetId } = message;
		const what = `${topic} ${payload.slice(0, 20)} QoS ${qos}${dup ? " DUP" : ""}${retain ? " retained" : ""} as ${packetId}`;
		this.#say(`gets ${what}`);
		if (qos === 0) {
			this.onMessage(message);
			return;
		}
		if (this.#unacknowledged.has(packetId)) this.#wrong(`${what}: the identifier is in use`);
		this.#unacknowledged.add(packetId);
		if (this.#unacknowledged.size > this.#traits.receiveMaximum) {
			this.#wrong(`${what}: above its Receive Maximum`);
		}
		const former = this.#received.get(packetId);
		if (former !== undefined) {
			// The same again: a retained message as it is now.
			const isSame = former.topic === topic && (former.payload === payload || retain);
			if (qos === 1 || !dup || !isSame) {
				const of = `${former.topic} ${former.payload.slice(0, 20)}`;
				this.#wrong(`${what}: the identifier is that of ${of}, which is not released`);
			}
			this.#answer(PUBREC, packetId, false);
			return;
		}
		if (qos === 2) this.#received.set(packetId, message);
		this.#answer(qos === 1 ? PUBACK : PUBREC, packetId, qos === 1);
		this.onMessage(message);
	}

	#onPubrel(packetId: number): void {
		const known = this.#received.delete(packetId);
		this.#say(`PUBREL ${packetId}${known ? "" : ", unknown"}`);
		this.#answer(PUBCOMP, packetId, true, known ? 0 : UNKNOWN_IDENTIFIER);
	}

	/** At once or a little later, as clients do; in order [MQTT-4.6.0-2, -3, -4]. `ends`: the identifier is free with it. */
	#answer(type: number, packetId: number, ends: boolean, reasonCode = 0): void {
		this.#answers.push({ bytes: answerPacket(type, packetId, reasonCode), packetId, ends });
		if (this.#timer !== undefined) return;
		const delayMs = this.#court.draining || this.#random.chance(0.6) ? 0 : this.#random.between(1, 20);
		this.#timer = setTimeout(() => this.#flush(), delayMs);
	}

	#flush(): void {
		this.#timer = undefined;
		if (!this.online) return;
		for (const { packetId, ends } of this.#answers) if (ends) this.#unacknowledged.delete(packetId);
		this.#socket?.write(Buffer.concat(this.#answers.map(({ bytes }) => bytes)));
		this.#answers = [];
	}

	#freePacketId(): number {
		do this.#lastPacketId = (this.#lastPacketId % PACKET_IDS) + 1;
		while (this.#outgoing.has(this.#lastPacketId) || this.#asked.has(this.#lastPacketId));
		return this.#lastPacketId;
	}

	#wrong(what: string): void {
		this.#court.accuse(this.clientId, what);
	}

	#say(what: string): void {
		this.#court.say(this.clientId, what);
	}
}

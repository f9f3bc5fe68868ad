/** One client of the door under test: bytes go out as they are, what comes back is taken apart strictly, packet by packet. */
import type { RawSocket, TestDoor } from "../../contract/mqtt/door.ts";
import {
	type ConnectFields,
	connect,
	type Level,
	type PublishFields,
	pingRequest,
	publish,
	subscribe,
} from "./packets.ts";
import { type Property, type PropertyValue, Reader } from "./properties.ts";

const NAMES = [
	"reserved",
	"CONNECT",
	"CONNACK",
	"PUBLISH",
	"PUBACK",
	"PUBREC",
	"PUBREL",
	"PUBCOMP",
	"SUBSCRIBE",
	"SUBACK",
	"UNSUBSCRIBE",
	"UNSUBACK",
	"PINGREQ",
	"PINGRESP",
	"DISCONNECT",
	"AUTH",
] as const;
export type PacketName = (typeof NAMES)[number];

/** How long anything may take before the test fails; nothing is measured with it. */
const DEADLINE_MS = 10_000;

/** A packet of the server. Fields that its kind does not have keep the values below. */
export class Received {
	readonly name: PacketName;
	/** The packet as it came. */
	readonly bytes: Buffer;
	/** The four low bits of the first byte. */
	readonly flags: number;
	id = 0;
	/** CONNACK, acknowledgements, DISCONNECT, AUTH: the code; where it may be left out and is: 0. */
	reason = 0;
	/** SUBACK, UNSUBACK: one code for each filter. */
	reasons: number[] = [];
	/** CONNACK: its first byte. */
	acknowledgeFlags = 0;
	topic = "";
	payload = "";
	properties: readonly Property[] = [];

	constructor(first: number, body: Buffer, bytes: Buffer, level: Level) {
		this.name = NAMES[first >> 4]!;
		this.flags = first & 15;
		this.bytes = bytes;
		this.#read(new Reader(body), level);
	}

	get qos(): number {
		return (this.flags >> 1) & 3;
	}
	get dup(): boolean {
		return (this.flags & 8) !== 0;
	}
	get retain(): boolean {
		return (this.flags & 1) !== 0;
	}
	get sessionPresent(): boolean {
		return this.acknowledgeFlags === 1;
	}
	/** The only value of a property, or undefined. */
	property(id: number): PropertyValue | undefined {
		const all = this.propertyValues(id);
		if (all.length > 1) throw new Error(`property ${id} came ${all.length} times`);
		return all[0];
	}
	/** Every value of a property, in the order they came. */
	propertyValues(id: number): PropertyValue[] {
		return this.properties.filter(([each]) => each === id).map(([, value]) => value);
	}

	#read(from: Reader, level: Level): void {
		switch (this.name) {
			case "CONNACK":
				this.acknowledgeFlags = from.byte();
				this.reason = from.byte();
				if (level === 5) this.properties = from.properties();
				break;
			case "PUBLISH":
				this.topic = from.text();
				if (this.qos > 0) this.id = from.short();
				if (level === 5) this.properties = from.properties();
				this.payload = from.take(from.left).toString();
				break;
			case "PUBACK":
			case "PUBREC":
			case "PUBREL":
			case "PUBCOMP":
				this.id = from.short();
				this.#readReason(from, level);
				break;
			case "SUBACK":
			case "UNSUBACK":
				this.id = from.short();
				if (level === 5) this.properties = from.properties();
				this.reasons = [...from.take(from.left)];
				break;
			case "DISCONNECT":
			case "AUTH":
				this.#readReason(from, level);
				break;
			case "PINGRESP":
				break;
			default:
				throw new Error(`a server never sends ${this.name}`);
		}
		if (from.left > 0) throw new Error(`${this.name} has ${from.left} bytes too many: ${this.bytes.toString("hex")}`);
	}

	/** MQTT 5 may leave out the reason code, and the properties behind it. */
	#readReason(from: Reader, level: Level): void {
		if (level !== 5 || from.left === 0) return;
		this.reason = from.byte();
		if (from.left > 0) this.properties = from.properties();
	}
}

export class Peer {
	readonly raw: RawSocket;
	readonly level: Level;
	connack: Received | undefined;

	private constructor(raw: RawSocket, level: Level) {
		this.raw = raw;
		this.level = level;
	}

	/** A socket on which nothing has been sent. */
	static async silent(door: TestDoor, level: Level = 5): Promise<Peer> {
		return new Peer(await door.socket(), level);
	}

	/** A connection whose CONNECT was answered; the answer, whatever it is, is in `connack`. */
	static async connected(door: TestDoor, fields: ConnectFields = {}): Promise<Peer> {
		const peer = await Peer.silent(door, fields.level);
		peer.send(connect(fields));
		peer.connack = await peer.expect("CONNACK");
		return peer;
	}

	send(...packets: Buffer[]): void {
		this.raw.send(...packets);
	}

	/** The next packet. Fails when the connection closes or the deadline passes before it is whole. */
	next(): Promise<Received> {
		return within(this.#next(), "a packet");
	}

	async #next(): Promise<Received> {
		const head = [await this.raw.take(1)];
		do head.push(await this.raw.take(1));
		while (head.at(-1)![0]! >= 128 && head.length < 5);
		const body = await this.raw.take(new Reader(Buffer.concat(head.slice(1))).variable());
		return new Received(head[0]![0]!, body, Buffer.concat([...head, body]), this.level);
	}

	/** The next packet, which must be of this kind. */
	async expect(name: PacketName): Promise<Received> {
		const received = await this.next();
		if (received.name !== name) throw new Error(`${received.bytes.toString("hex")} is not a ${name}`);
		return received;
	}

	/** Every packet that still comes, until the server closes the connection. */
	async untilClosed(): Promise<Received[]> {
		const bytes = new Reader(await within(this.raw.rest(), "the connection's end"));
		const all: Received[] = [];
		while (bytes.left > 0) {
			const first = bytes.byte();
			const length = bytes.variable();
			const body = bytes.take(length);
			all.push(new Received(first, body, Buffer.from(body), this.level));
		}
		return all;
	}

	/** Packets until the answer to a PINGREQ that is sent now; the answer is left out. */
	async untilPong(): Promise<Received[]> {
		this.send(pingRequest());
		const all: Received[] = [];
		for (;;) {
			const received = await this.next();
			if (received.name === "PINGRESP") return all;
			all.push(received);
		}
	}

	/** Subscribes to one filter and returns the reason code; retained messages may follow. */
	async subscribe(filter: string, options = 0, list: readonly Property[] = []): Promise<number> {
		this.send(subscribe([[filter, options]], { level: this.level, id: 9, properties: list }));
		const reasons = (await this.expect("SUBACK")).reasons;
		return reasons[0]!;
	}

	/** Publishes and waits until that is acknowledged: at least QoS 1, at most what `fields` says. */
	async publish(topic: string, payload: string, fields: PublishFields = {}): Promise<Received> {
		const qos = fields.qos ?? 1;
		this.send(publish(topic, payload, { level: this.level, id: 7, ...fields, qos }));
		const answer = await this.expect(qos === 2 ? "PUBREC" : "PUBACK");
		if (qos === 2 && answer.reason < 0x80) {
			this.send(Buffer.from([0x62, 2, answer.id >> 8, answer.id & 0xff]));
			await this.expect("PUBCOMP");
		}
		return answer;
	}

	/** PUBLISH packets up to the one with this payload, which is left out; QoS 1 ones are acknowledged. */
	async publishedUntil(payload: string): Promise<Received[]> {
		const all: Received[] = [];
		for (;;) {
			const received = await this.expect("PUBLISH");
			if (received.qos === 1) this.send(Buffer.from([0x40, 2, received.id >> 8, received.id & 0xff]));
			if (received.payload === payload) return all;
			all.push(received);
		}
	}

	/** The network connection breaks, without DISCONNECT. */
	vanish(): void {
		this.raw.socket.destroy();
	}
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const deadline = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(`waited too long for ${what}`)), DEADLINE_MS);
	});
	try {
		return await Promise.race([promise, deadline]);
	} finally {
		clearTimeout(timer);
	}
}

/** Until the door has seen what the test did. */
export async function until(condition: () => boolean): Promise<void> {
	const end = performance.now() + DEADLINE_MS;
	while (!condition()) {
		if (performance.now() > end) throw new Error(`waited too long until ${condition}`);
		await new Promise((resolve) => setImmediate(resolve));
	}
}

/** Until the door knows that a client's connection is gone. */
export async function untilGone(door: TestDoor, clientId: string): Promise<void> {
	await until(() => !door.door.engine.clients.has(clientId));
}

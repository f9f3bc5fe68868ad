/**
 * A publisher in a few lines of MQTT 3.1.1 bytes, its own so that no mistake is shared with the door.
 * It numbers its messages 1, 2, 3 ..., keeps a window of them in flight, and after a lost connection
 * resends what was not acknowledged, in order, as clause 4.4 asks. What it knows outlives the gateway.
 */
import { connect, type Socket } from "node:net";

const CONNACK = 2;
const PUBACK = 4;
const PUBREC = 5;
const PUBCOMP = 7;

interface InFlight {
	readonly number: number;
	/** QoS 2: the PUBREC has come, the PUBREL is out. */
	released: boolean;
}

export class MqttPublisher {
	readonly clientId: string;
	readonly qos: 1 | 2;
	/** Numbers of the messages acknowledged: by PUBACK or, for QoS 2, by PUBREC, after which they are stored. */
	readonly acked = new Set<number>();
	sent = 0;
	/** True when the gateway ever said that it does not know the session of a client that has one. */
	lostSession = false;
	readonly protocolErrors: string[] = [];
	readonly #topic: string;
	readonly #window: number;
	#inFlight: InFlight[] = [];
	#socket: Socket | undefined;
	#received = Buffer.alloc(0);
	#connected = false;
	#hadSession = false;
	#paused = false;
	#waiters: (() => void)[] = [];

	constructor(clientId: string, qos: 1 | 2, topic: string, window: number) {
		this.clientId = clientId;
		this.qos = qos;
		this.#topic = topic;
		this.#window = window;
	}

	/** Connects and publishes until the connection ends; `paused` ones only finish what is in flight. */
	start(port: number): void {
		const socket = connect({ host: "127.0.0.1", port, noDelay: true });
		this.#socket = socket;
		this.#received = Buffer.alloc(0);
		socket.on("connect", () => socket.write(connectPacket(this.clientId)));
		socket.on("data", (chunk) => {
			if (this.#socket === socket) this.#read(chunk);
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			if (this.#socket === socket) this.#connected = false;
		});
	}

	stop(): void {
		this.#connected = false;
		this.#socket?.destroy();
		this.#socket = undefined;
	}

	/** Sends nothing new any more; resolves when nothing is in flight. */
	drain(): Promise<void> {
		this.#paused = true;
		return new Promise((resolve) => {
			this.#waiters.push(resolve);
			this.#settle();
		});
	}

	#read(chunk: Buffer): void {
		this.#received = Buffer.concat([this.#received, chunk]);
		// Every packet that a publisher gets is shorter than 128 bytes: its length takes one byte.
		while (this.#received.length >= 2 && this.#received.length >= 2 + (this.#received[1] as number)) {
			const end = 2 + (this.#received[1] as number);
			const packet = this.#received.subarray(0, end);
			this.#received = this.#received.subarray(end);
			this.#packet(packet);
		}
		this.#pump();
	}

	#packet(packet: Buffer): void {
		const type = (packet[0] as number) >> 4;
		if (type === CONNACK) this.#onConnack(packet);
		else {
			const problem = this.#onAnswer(type, packet.readUInt16BE(2));
			if (problem !== undefined) this.protocolErrors.push(problem);
			this.#settle();
		}
	}

	/** Returns what is wrong with the answer, if anything. */
	#onAnswer(type: number, packetId: number): string | undefined {
		const index = this.#inFlight.findIndex(({ number }) => idOf(number) === packetId);
		const entry = this.#inFlight[index];
		if (entry === undefined) return `packet ${type} for ${packetId}, which is not in flight`;
		if (type === (this.qos === 1 ? PUBACK : PUBREC)) this.acked.add(entry.number);
		if (type === PUBREC && this.qos === 2) {
			entry.released = true;
			this.#write(pubrelPacket(packetId));
		} else if ((type === PUBACK && this.qos === 1) || (type === PUBCOMP && entry.released)) {
			this.#inFlight.splice(index, 1);
		} else return `packet ${type} for ${packetId} at QoS ${this.qos}`;
		return undefined;
	}

	#onConnack(packet: Buffer): void {
		if (packet[3] !== 0) {
			this.protocolErrors.push(`CONNACK ${packet[3]}`);
			return;
		}
		if (this.#hadSession && packet[2] === 0) this.lostSession = true;
		this.#hadSession = true;
		this.#connected = true;
		for (const { number, released } of this.#inFlight) {
			this.#write(
				released ? pubrelPacket(idOf(number)) : publishPacket(this.#topic, this.qos, number, this.clientId, true),
			);
		}
	}

	#pump(): void {
		const packets: Buffer[] = [];
		while (this.#connected && !this.#paused && this.#inFlight.length < this.#window) {
			this.sent += 1;
			this.#inFlight.push({ number: this.sent, released: false });
			packets.push(publishPacket(this.#topic, this.qos, this.sent, this.clientId, false));
		}
		if (packets.length > 0) this.#write(Buffer.concat(packets));
	}

	#write(packet: Buffer): void {
		this.#socket?.write(packet);
	}

	#settle(): void {
		if (!this.#paused || this.#inFlight.length > 0) return;
		for (const resolve of this.#waiters.splice(0)) resolve();
	}
}

/** A packet identifier is 1 to 65535 and free again long before it comes round. */
function idOf(number: number): number {
	return ((number - 1) % 65_535) + 1;
}

/** Session kept (clean session 0), keep alive off. */
function connectPacket(clientId: string): Buffer {
	return packet(0x10, Buffer.concat([text("MQTT"), Buffer.from([4, 0, 0, 0]), text(clientId)]));
}

function publishPacket(topic: string, qos: 1 | 2, number: number, clientId: string, duplicate: boolean): Buffer {
	const id = Buffer.from([idOf(number) >> 8, idOf(number) & 0xff]);
	return packet(
		0x30 | (qos << 1) | (duplicate ? 8 : 0),
		Buffer.concat([text(topic), id, Buffer.from(`${clientId}:${number}`)]),
	);
}

function pubrelPacket(packetId: number): Buffer {
	return Buffer.from([0x62, 2, packetId >> 8, packetId & 0xff]);
}

function packet(first: number, body: Buffer): Buffer {
	if (body.length > 127) throw new RangeError("longer than one byte of length can say");
	return Buffer.concat([Buffer.from([first, body.length]), body]);
}

function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

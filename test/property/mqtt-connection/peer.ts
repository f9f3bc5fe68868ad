/**
 * One peer of a fuzzed life: what it sent, as far as that can be read, and what it got, which must be readable to the last
 * byte and in the order that the standard allows. Throws where it is not.
 */
import { decodePacket } from "../../../bridge/mqtt/codec/decode.ts";
import { packetLength } from "../../../bridge/mqtt/codec/framing.ts";
import type { Packet, PublishPacket, Version } from "../../../bridge/mqtt/codec/packets.ts";
import type { Connection } from "../../../bridge/mqtt/connection.ts";
import { MemoryTransport } from "./transport.ts";
import type { World } from "./world.ts";

/** A publish that was acknowledged, so that it has to be in the log. */
export interface Acknowledged {
	readonly topic: string;
	readonly payload: string;
}

const PACKET_BYTES_MAX = 4096;

export class FuzzPeer {
	readonly transport = new MemoryTransport();
	readonly connection: Connection;
	version: Version = 4;
	/** Since the stream went wrong nothing is known of what it means. */
	broken = false;
	connected = false;
	readonly acknowledged: Acknowledged[] = [];
	pongs = 0;
	#maxPacketBytes = Number.MAX_SAFE_INTEGER;
	#startsAnew = false;
	#disconnected = false;
	#outRead = 0;
	#in = Buffer.alloc(0);
	readonly #aliases = new Map<number, string>();
	/** Packet identifiers that QoS 2 publishes had. */
	readonly #used = new Set<number>();
	readonly #sent: Record<"puback" | "pubrec", PublishPacket[]> = { puback: [], pubrec: [] };

	constructor(world: World) {
		const connection = world.engine.accept(this.transport);
		if (connection === undefined) throw new Error("the engine accepts no connection");
		this.connection = connection;
		this.transport.attach(connection);
	}

	/** Sends bytes, and notes what a server would read in them. False: it does not read now. */
	send(bytes: Buffer): boolean {
		const ended = this.connection.ended;
		if (!this.transport.receive(bytes)) return false;
		if (!this.broken && !ended) this.#note(bytes);
		return true;
	}

	/** Whether the stream stands between two packets. */
	get atBoundary(): boolean {
		return this.#in.length === 0;
	}

	#note(bytes: Buffer): void {
		this.#in = Buffer.concat([this.#in, bytes]);
		try {
			for (;;) {
				const length = packetLength(this.#in, 0, this.#in.length, PACKET_BYTES_MAX);
				if (length === 0) return;
				const packet = decodePacket(this.#in, 0, length, this.version, "client");
				this.#in = Buffer.from(this.#in.subarray(length));
				this.#noteSent(packet);
			}
		} catch {
			this.broken = true;
			this.#in = Buffer.alloc(0);
		}
	}

	#noteSent(packet: Packet): void {
		if (packet.type === "connect") {
			this.version = packet.version;
			this.#startsAnew = packet.cleanStart;
			this.#maxPacketBytes = packet.properties.maximumPacketSize ?? Number.MAX_SAFE_INTEGER;
		}
		if (packet.type !== "publish") return;
		const { topicAlias } = packet.properties;
		if (topicAlias !== undefined && packet.topic !== "") this.#aliases.set(topicAlias, packet.topic);
		const topic = packet.topic === "" ? (this.#aliases.get(topicAlias ?? 0) ?? "") : packet.topic;
		if (packet.qos === 0) return;
		const kept = { ...packet, topic, payload: Buffer.from(packet.payload) };
		this.#sent[packet.qos === 1 ? "puback" : "pubrec"].push(kept);
	}

	/** Reads what came since the last call. */
	readAnswers(): void {
		const { written } = this.transport;
		if (this.#outRead === written.length) return;
		let bytes = Buffer.concat(written.slice(this.#outRead));
		this.#outRead = written.length;
		while (bytes.length > 0) {
			const length = packetLength(bytes, 0, bytes.length, Number.MAX_SAFE_INTEGER);
			if (length === 0) throw new Error(`a packet is cut off: ${bytes.toString("hex")}`);
			const packet = decodePacket(bytes, 0, length, this.#answersIn(), "server");
			if (this.version === 5 && length > this.#maxPacketBytes && packet.type !== "connack") {
				throw new Error(`${packet.type} of ${length} bytes for a client that takes ${this.#maxPacketBytes}`);
			}
			this.#noteAnswer(packet);
			bytes = bytes.subarray(length);
		}
	}

	#answersIn(): Version {
		return this.connection.version;
	}

	#noteAnswer(packet: Packet): void {
		if (this.#disconnected) throw new Error(`${packet.type} after DISCONNECT`);
		if (packet.type === "connack") {
			if (this.connected) throw new Error("a second CONNACK");
			this.connected = true;
			// A refusal ends it: nothing may follow.
			this.#disconnected = packet.reasonCode !== 0;
			return;
		}
		if (!this.connected) throw new Error(`${packet.type} before CONNACK`);
		if (packet.type === "pingresp") this.pongs++;
		if (packet.type === "disconnect") this.#disconnected = true;
		if (packet.type === "puback" || packet.type === "pubrec") this.#noteAcknowledgement(packet.type, packet);
	}

	/** Acknowledgements keep the order of the publishes [MQTT-4.6.0-2], [MQTT-4.6.0-3]: the first is for the oldest. */
	#noteAcknowledgement(type: "puback" | "pubrec", answer: { packetId: number; reasonCode: number }): void {
		const publish = this.#sent[type].shift();
		if (publish === undefined) {
			if (this.broken) return;
			throw new Error(`${type} ${answer.packetId} for a publish that was never sent`);
		}
		if (publish.packetId !== answer.packetId) {
			throw new Error(`${type} ${answer.packetId}, and ${publish.packetId} is the oldest that waits for one`);
		}
		if (answer.reasonCode >= 0x80) return;
		// At QoS 2 it may be a repetition of one before, which is stored already: also of an earlier connection's.
		const again = type === "pubrec" && (this.#used.has(answer.packetId) || !this.#startsAnew);
		if (type === "pubrec") this.#used.add(answer.packetId);
		// What begins with $ is the broker's own: acknowledged before MQTT 5, and dropped.
		if (again || publish.topic.startsWith("$")) return;
		this.acknowledged.push({ topic: publish.topic, payload: publish.payload.toString("hex") });
	}
}

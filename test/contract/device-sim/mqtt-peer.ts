/**
 * A stand-in for the gateway, in this process: takes MQTT publishes, keeps them in arrays as a log would,
 * acknowledges them, keeps sessions, and makes exactly the mistakes that a test asks for.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { ReadBack } from "../../../device-sim/read-back.ts";
import type { StoredRecord } from "../../../device-sim/verifier.ts";

export interface Faults {
	/** Acknowledge, and do not store. */
	lose?(event: number): boolean;
	/** Store in the other partition. */
	misplace?(event: number): boolean;
	/** Store twice. */
	repeat?(event: number): boolean;
	/** Store behind the next event of the connection. */
	delay?(event: number): boolean;
	/** Version 5: acknowledge with reason code 0x97, and do not store. */
	refuse?(event: number): boolean;
	/** Take a resent QoS 2 packet for a new one. */
	forgetReceived?: boolean;
	/** End every session with its connection. */
	forgetSessions?: boolean;
	/** Cut the connection instead of acknowledging. */
	hangUp?(event: number): boolean;
	/** Cut the connection instead of completing every second release. */
	hangUpOnRelease?: boolean;
	/** Version 5: what CONNACK says. */
	receiveMaximum?: number;
}

interface Session {
	/** QoS 2 packet identifiers received and not yet released. */
	readonly received: Set<number>;
	socket: Socket | undefined;
}

interface Delayed {
	partition: number;
	key: Buffer;
	value: Buffer;
}

const PARTITIONS = 2;

export class MqttPeer implements ReadBack {
	readonly faults: Faults;
	readonly partitions: StoredRecord[][] = Array.from({ length: PARTITIONS }, () => []);
	readonly clientIds = new Set<string>();
	readonly sessions = new Map<string, Session>();
	dupsSeen = 0;
	/** PUBRELs for a packet that this session has not received. */
	strayReleases = 0;
	#releases = 0;
	#events = 0;
	#server: Server;
	#sockets = new Set<Socket>();

	constructor(faults: Faults = {}) {
		this.faults = faults;
		this.#server = createServer((socket) => this.#serve(socket));
	}

	get port(): number {
		const address = this.#server.address();
		return typeof address === "object" && address !== null ? address.port : 0;
	}

	async listen(): Promise<this> {
		await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
		return this;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	async end(): Promise<Record<number, number>> {
		return Object.fromEntries(this.partitions.map((records, partition) => [partition, records.length]));
	}

	async *read(position: Readonly<Record<number, number>>): AsyncGenerator<StoredRecord> {
		for (const [partition, records] of this.partitions.entries()) yield* records.slice(position[partition] ?? 0);
	}

	#serve(socket: Socket): void {
		let rest: Buffer = Buffer.alloc(0);
		let version = 4;
		let session: Session = { received: new Set(), socket };
		let delayed: Delayed | undefined;
		this.#sockets.add(socket);
		socket.on("error", () => {});
		socket.on("close", () => this.#sockets.delete(socket));
		socket.on("data", (chunk: Buffer) => {
			rest = Buffer.concat([rest, chunk]);
			for (;;) {
				if (socket.destroyed) return;
				let length = 0;
				let at = 1;
				for (; at < 5; at++) {
					const byte = rest[at];
					if (byte === undefined) return;
					length += (byte & 0x7f) * 128 ** (at - 1);
					if (byte < 0x80) break;
				}
				if (rest.length < at + 1 + length) return;
				const first = rest[0]!;
				const body = rest.subarray(at + 1, at + 1 + length);
				rest = rest.subarray(at + 1 + length);
				switch (first >> 4) {
					case 1: {
						const nameBytes = body.readUInt16BE(0);
						version = body[2 + nameBytes]!;
						const clean = (body[3 + nameBytes]! & 2) !== 0;
						let idAt = 6 + nameBytes;
						if (version === 5) idAt += 1 + body[idAt]!;
						const clientId = body.toString("utf8", idAt + 2, idAt + 2 + body.readUInt16BE(idAt));
						this.clientIds.add(clientId);
						const known = this.sessions.get(clientId);
						known?.socket?.destroy();
						const resume = known !== undefined && !clean && !this.faults.forgetSessions;
						session = { received: resume ? known.received : new Set(), socket };
						if (clean) this.sessions.delete(clientId);
						else this.sessions.set(clientId, session);
						const present = resume && version !== 3 ? 1 : 0;
						const maximum = this.faults.receiveMaximum ?? 100;
						socket.write(
							Buffer.from(version === 5 ? [0x20, 6, present, 0, 3, 0x21, 0, maximum] : [0x20, 2, present, 0]),
						);
						break;
					}
					case 3: {
						const qos = (first >> 1) & 3;
						const topicBytes = body.readUInt16BE(0);
						const key = Buffer.from(body.toString("utf8", 2, 2 + topicBytes).split("/")[2]!);
						let start = 2 + topicBytes;
						const packetId = qos > 0 ? body.readUInt16BE(start) : 0;
						if (qos > 0) start += 2;
						if (version === 5) start += 1;
						if (first & 8) this.dupsSeen++;
						const again = qos === 2 && session.received.has(packetId) && !this.faults.forgetReceived;
						const event = again ? -1 : this.#events++;
						if (this.faults.refuse?.(event)) {
							socket.write(Buffer.from([qos === 2 ? 0x50 : 0x40, 3, packetId >> 8, packetId & 255, 0x97]));
							break;
						}
						if (!again) {
							const value = Buffer.from(body.subarray(start));
							const home = key.reduce((sum, byte) => sum + byte, 0) % PARTITIONS;
							const partition = this.faults.misplace?.(event) ? 1 - home : home;
							if (this.faults.delay?.(event)) delayed = { partition, key, value };
							else if (!this.faults.lose?.(event)) this.#store(partition, key, value);
							if (this.faults.repeat?.(event)) this.#store(partition, key, value);
							if (delayed && !this.faults.delay?.(event)) {
								this.#store(delayed.partition, delayed.key, delayed.value);
								delayed = undefined;
							}
						}
						if (qos === 2) session.received.add(packetId);
						if (this.faults.hangUp?.(event)) {
							socket.destroy();
							return;
						}
						if (qos > 0) socket.write(Buffer.from([qos === 2 ? 0x50 : 0x40, 2, packetId >> 8, packetId & 255]));
						break;
					}
					case 6: {
						if (!session.received.delete(body.readUInt16BE(0))) this.strayReleases++;
						if (this.faults.hangUpOnRelease && ++this.#releases % 2 === 0) {
							socket.destroy();
							return;
						}
						socket.write(Buffer.from([0x70, 2, body[0]!, body[1]!]));
						break;
					}
					case 12:
						socket.write(Buffer.from([0xd0, 0]));
						break;
					case 14: {
						if (version === 5 && body.length > 0)
							for (const [id, { socket: its }] of this.sessions) if (its === socket) this.sessions.delete(id);
						socket.end();
						break;
					}
				}
			}
		});
	}

	#store(partition: number, key: Buffer, value: Buffer): void {
		this.partitions[partition]!.push({ partition, offset: this.partitions[partition]!.length, key, value });
	}
}

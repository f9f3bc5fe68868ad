/**
 * One MQTT connection to another broker, seen from the client's side: CONNECT and its answer, packets put together from what
 * the socket brings, keep alive both ways. What the packets mean is the handler's.
 */
import type { Socket } from "node:net";
import { AckView } from "../codec/ack-view.ts";
import { decodePacket } from "../codec/decode.ts";
import { encodePacket } from "../codec/encode.ts";
import { type ConnackPacket, MqttError, type Packet, PacketType, type SubackPacket } from "../codec/packets.ts";
import { PublishView } from "../codec/publish-view.ts";
import { ReasonCode } from "../codec/reason-codes.ts";
import type { Engine } from "../engine.ts";
import { Output } from "../output.ts";
import { SocketTransport, type TransportHandler } from "../transport.ts";
import { type Dialect, encodeConnect, type Login, refusedVersion } from "./login.ts";
import { PacketStream } from "./packet-stream.ts";

/** Seconds that an answer to PINGREQ may take. */
const PING_SECONDS = 10;

/** Why a connection ended. */
export interface LinkEnd {
	readonly reason: string;
	/** The other broker does not speak this version of MQTT. */
	readonly versionRefused?: boolean;
	/** It closed without an answer to CONNECT, which is how some refuse a version. */
	readonly unanswered?: boolean;
	/** Trying again soon will not help. */
	readonly lasting?: boolean;
}

export interface LinkHandler {
	connected(connack: ConnackPacket): void;
	/** A PUBLISH, in place: valid until this returns. */
	publish(bytes: Buffer, view: PublishView): void;
	/** A PUBLISH that is larger than what is read, without its payload. */
	oversized(bytes: Buffer, sizeBytes: number): void;
	/** PUBACK. */
	acknowledged(packetId: number, reasonCode: number): void;
	released(packetId: number): void;
	subscribed(packet: SubackPacket): void;
	/** All of a chunk was handled. */
	chunkDone(): void;
	/** The socket takes more. */
	drained(): void;
	/** Exactly once. */
	ended(end: LinkEnd): void;
}

// One for all connections: what they read does not outlive the call.
const view = new PublishView();
const ack = new AckView();

export class Link implements TransportHandler {
	readonly dialect: Dialect;
	readonly version: 4 | 5;
	readonly output: Output;
	/** CONNACK has come. */
	up = false;
	gone = false;
	/** Seconds; what the other broker says holds. */
	keepAliveSeconds: number;
	readonly #engine: Engine;
	readonly #handler: LinkHandler;
	readonly #transport: SocketTransport;
	readonly #packets: PacketStream;
	readonly #startTick: number;
	#sentTick: number;
	#heardTick: number;
	#pingTick = -1;
	#paused = false;
	#end: LinkEnd | undefined;
	#socketError = "";
	#flushing = false;

	constructor(engine: Engine, socket: Socket, login: Login, dialect: Dialect, handler: LinkHandler) {
		this.#engine = engine;
		this.#handler = handler;
		this.dialect = dialect;
		this.version = dialect === "5" ? 5 : 4;
		this.keepAliveSeconds = login.keepAliveSeconds;
		this.#startTick = this.#sentTick = this.#heardTick = engine.tick;
		this.#packets = new PacketStream(engine.broker.pressure, engine.options.maxPacketBytes, this.version === 4, () =>
			this.#readOrNot(),
		);
		socket.on("error", (error: Error) => {
			this.#socketError = error.message;
		});
		this.#transport = new SocketTransport(socket);
		this.output = new Output(this.#transport, engine.outputBudget);
		this.#transport.attach(this);
		this.output.packet(encodeConnect(login, dialect));
		this.flush();
	}

	send(packet: Packet): void {
		this.output.packet(encodePacket(packet, this.version));
		this.flushLater();
	}

	/** Writes what is queued at the end of this turn. */
	flushLater(): void {
		if (this.#flushing) return;
		this.#flushing = true;
		queueMicrotask(() => {
			this.#flushing = false;
			this.flush();
		});
	}

	flush(): void {
		if (this.gone) return;
		if (this.output.pending) this.#sentTick = this.#engine.tick;
		this.output.flush();
		this.output.flushAcks();
	}

	received(chunk: Buffer): void {
		if (this.gone || this.#end !== undefined) return;
		this.#heardTick = this.#engine.tick;
		try {
			this.#packets.feed(chunk, this);
			this.#handler.chunkDone();
		} catch (error) {
			this.#failed(error);
			return;
		}
		this.#readOrNot();
	}

	/** The memory budget has room again. */
	relieved(): void {
		this.#readOrNot();
	}

	/** Over the budget nothing is read but the rest of a packet, and of a large one only once it has room. */
	#readOrNot(): void {
		if (this.gone) return;
		const { pressure } = this.#engine.broker;
		const { holdsPart, waits } = this.#packets;
		const over = holdsPart ? pressure.full : pressure.over;
		if (over) pressure.onRelief(this, holdsPart);
		if (this.#paused === (over || waits)) return;
		this.#paused = !this.#paused;
		this.#heardTick = this.#engine.tick;
		if (this.#paused) this.#transport.pause();
		else this.#transport.resume();
	}

	/** One packet of the stream. */
	packet(bytes: Buffer, start: number, end: number): void {
		if (this.#end !== undefined) return;
		const type = bytes[start]! >> 4;
		if (!this.up) {
			this.#first(bytes, start, end);
			return;
		}
		if (type === PacketType.publish) {
			view.read(bytes, start, end, this.version);
			this.#handler.publish(bytes, view);
		} else if (type === PacketType.puback) {
			ack.read(bytes, start, end, this.version, "server");
			this.#handler.acknowledged(ack.packetId, ack.reasonCode);
		} else if (type === PacketType.pubrel) {
			ack.read(bytes, start, end, this.version, "server");
			this.#handler.released(ack.packetId);
		} else this.#other(decodePacket(bytes, start, end, this.version, "server"));
	}

	/** The head of a PUBLISH whose payload is not read. */
	oversized(bytes: Buffer, sizeBytes: number): void {
		if (this.up) this.#handler.oversized(bytes, sizeBytes);
		else throw new MqttError(ReasonCode.ProtocolError, "5.0 section 3.2", "a PUBLISH before CONNACK");
	}

	#first(bytes: Buffer, start: number, end: number): void {
		if (refusedVersion(bytes, start, end)) {
			this.drop({ reason: `it does not speak MQTT ${this.dialect}`, versionRefused: true });
			return;
		}
		const packet = decodePacket(bytes, start, end, this.version, "server");
		if (packet.type !== "connack") {
			throw new MqttError(ReasonCode.ProtocolError, "[MQTT-3.2.0-1]", `${packet.type.toUpperCase()} before CONNACK`);
		}
		if (packet.reasonCode !== ReasonCode.Success) {
			const { reasonCode, properties } = packet;
			this.drop({
				reason: `it refuses the connection: ${describe(reasonCode, properties.reasonString)}`,
				lasting: LASTING.has(reasonCode),
			});
			return;
		}
		this.up = true;
		this.keepAliveSeconds = packet.properties.serverKeepAlive ?? this.keepAliveSeconds; // [MQTT-3.2.2-21]
		this.#handler.connected(packet);
	}

	#other(packet: Packet): void {
		switch (packet.type) {
			case "suback":
				this.#handler.subscribed(packet);
				return;
			case "unsuback":
				return;
			case "pingresp":
				this.#pingTick = -1;
				return;
			case "disconnect":
				this.drop({
					reason: `it ended the connection: ${describe(packet.reasonCode, packet.properties.reasonString)}`,
					lasting: LASTING.has(packet.reasonCode),
				});
				return;
			default:
				throw new MqttError(
					ReasonCode.ProtocolError,
					"5.0 section 4.12",
					`${packet.type.toUpperCase()} was not asked for`,
				);
		}
	}

	/** Once a second. */
	swept(): void {
		if (this.gone) return;
		const { tick } = this.#engine;
		if (!this.up) {
			// The tick under way does not count.
			if ((tick - this.#startTick - 1) * 1000 >= this.#engine.options.connectTimeoutMs) {
				this.drop({ reason: "it does not answer CONNECT" });
			}
			return;
		}
		// What it sent may lie unread.
		if (this.#paused || this.keepAliveSeconds === 0) return;
		if (this.#pingTick >= 0) {
			if (tick - this.#pingTick > PING_SECONDS && tick - this.#heardTick > PING_SECONDS) {
				this.drop({ reason: "it does not answer PINGREQ" });
			}
			return;
		}
		const idle = Math.max(1, this.keepAliveSeconds - 1);
		if (tick - this.#sentTick >= idle || tick - this.#heardTick >= this.keepAliveSeconds) {
			this.#pingTick = tick;
			this.send({ type: "pingreq" });
		}
	}

	drained(): void {
		this.output.account();
		this.#handler.drained();
	}

	#failed(error: unknown): void {
		const known = error instanceof MqttError;
		const what = known ? `it breaks the protocol: ${error.message} (${error.clause})` : String(error);
		if (!known) this.#engine.broker.logger.error("a bridge's connection failed", { error: String(error) });
		if (this.up && this.version === 5 && known) {
			this.output.packet(encodePacket({ type: "disconnect", reasonCode: error.reasonCode, properties: {} }, 5));
			this.flush();
		}
		this.drop({ reason: what });
	}

	/** Says good-bye and closes, the session being kept by the other broker. */
	leave(): void {
		this.#end ??= { reason: "the gateway is stopping" };
		if (this.up) this.output.packet(encodePacket({ type: "disconnect", reasonCode: 0, properties: {} }, this.version));
		this.flush();
		this.#transport.end();
	}

	/** Closes at once. */
	drop(end: LinkEnd): void {
		this.#end ??= end;
		this.#transport.destroy();
	}

	/** The socket is gone. */
	closed(): void {
		this.gone = true;
		this.#packets.discard();
		this.output.discard();
		this.#handler.ended(this.#end ?? this.#unexpected());
	}

	#unexpected(): LinkEnd {
		if (this.#socketError !== "") return { reason: `the connection broke: ${this.#socketError}` };
		return this.up
			? { reason: "it closed the connection" }
			: { reason: "it closed the connection without an answer to CONNECT", unanswered: true };
	}
}

/** Reason codes after which only a person can help. */
const LASTING: ReadonlySet<number> = new Set([
	ReasonCode.ClientIdentifierNotValid,
	ReasonCode.BadUserNameOrPassword,
	ReasonCode.NotAuthorized,
	ReasonCode.Banned,
	ReasonCode.BadAuthenticationMethod,
	ReasonCode.UseAnotherServer,
	ReasonCode.ServerMoved,
	ReasonCode.SessionTakenOver,
]);

const WORDS: Readonly<Record<number, string>> = {
	[ReasonCode.UnspecifiedError]: "unspecified error",
	[ReasonCode.MalformedPacket]: "malformed packet",
	[ReasonCode.ProtocolError]: "protocol error",
	[ReasonCode.ImplementationSpecificError]: "implementation specific error",
	[ReasonCode.ClientIdentifierNotValid]: "client identifier not valid; choose another client.id",
	[ReasonCode.BadUserNameOrPassword]: "bad user name or password",
	[ReasonCode.NotAuthorized]: "not authorized; does it know this user name and password?",
	[ReasonCode.ServerUnavailable]: "server unavailable",
	[ReasonCode.ServerBusy]: "server busy",
	[ReasonCode.Banned]: "banned",
	[ReasonCode.ServerShuttingDown]: "server shutting down",
	[ReasonCode.KeepAliveTimeout]: "keep alive timeout",
	[ReasonCode.SessionTakenOver]:
		"session taken over: another client has the same client.id; give this bridge one of its own",
	[ReasonCode.ReceiveMaximumExceeded]: "receive maximum exceeded",
	[ReasonCode.PacketTooLarge]: "packet too large",
	[ReasonCode.QuotaExceeded]: "quota exceeded",
	[ReasonCode.AdministrativeAction]: "administrative action",
	[ReasonCode.UseAnotherServer]: "use another server",
	[ReasonCode.ServerMoved]: "server moved",
	[ReasonCode.ConnectionRateExceeded]: "connection rate exceeded",
};

/** A reason code in words, with what the other broker says beside it. */
export function describe(reasonCode: number, said?: string): string {
	const code = `0x${reasonCode.toString(16).padStart(2, "0")}`;
	const words = WORDS[reasonCode];
	const text = words === undefined ? code : `${words} (${code})`;
	// Its text may be 64 KB of anything.
	return said === undefined ? text : `${text}: ${JSON.stringify(said.slice(0, 200))}`;
}

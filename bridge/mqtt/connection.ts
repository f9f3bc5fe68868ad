/**
 * One MQTT connection: bytes in, packets found and handled in place. The hot path is a QoS 1 PUBLISH to the topic that
 * was published to last: no object, string or copy is made for it. Its acknowledgement leaves when its commit is
 * durable, with all others of that commit in one write. Whatever goes wrong here ends this connection and no other.
 */
import { BrokerError } from "../../src/base/errors.ts";
import { type AckType, AckView } from "./codec/ack-view.ts";
import { decodePacket } from "./codec/decode.ts";
import { encodePacket, encodeWithin } from "./codec/encode.ts";
import { packetLength } from "./codec/framing.ts";
import { connackReturnCode, MqttError, type Packet, PacketType, type Version, type Will } from "./codec/packets.ts";
import { PublishView } from "./codec/publish-view.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { reasonAllowed } from "./codec/reason-table.ts";
import type { Destination } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import { handleAcknowledgement } from "./handle-acknowledgement.ts";
import { handleConnect } from "./handle-connect.ts";
import { handlePublish } from "./handle-publish.ts";
import { handleSubscribe, handleUnsubscribe } from "./handle-subscribe.ts";
import type { Recipient } from "./outbox.ts";
import { Output } from "./output.ts";
import { PartialPacket } from "./partial-packet.ts";
import type { Session } from "./session.ts";
import type { TopicAliases } from "./topic-aliases.ts";
import { OUTPUT_HIGH_BYTES, type Transport, type TransportHandler } from "./transport.ts";

const PUBACK = 0x40;
/** For what a packet has no code of its own. */
const UNSPECIFIED = ReasonCode.UnspecifiedError;
/** Why nothing is read from the socket. */
const PAUSED_BY_PRESSURE = 1;
const PAUSED_BY_OUTPUT = 2;
const PAUSED_FOR_GOOD = 4;
const PAUSED_BY_WORK = 8;

// One of each for all connections: they are used up before the next packet.
const view = new PublishView();
const ack = new AckView();

export class Connection implements TransportHandler, Recipient {
	readonly engine: Engine;
	readonly transport: Transport;
	readonly output: Output;
	version: Version = 4;
	/** From a successful CONNECT until the connection ends. */
	session: Session | undefined;
	ended = false;
	/** The client's Maximum Packet Size. */
	maxPacketBytes = Number.MAX_SAFE_INTEGER;
	window = 0;
	/** Request Problem Information. */
	explains = true;
	will: Will | undefined;
	/** Where the last PUBLISH went. */
	destination: Destination | undefined;
	/** The topics that the client has given numbers to (5.0 section 3.3.2.3.4). */
	topicAliases: Map<number, string> | undefined;
	/** Those that we have given numbers to. */
	aliases: TopicAliases | undefined;
	/** Publishes of QoS 1 and 2 that the client waits for an answer to. */
	unanswered = 0;
	/** Ticks without a packet after which the client is gone; 0: never. */
	keepAliveTicks = 0;
	heardTick: number;
	#paused = 0;
	#willFlush = false;
	#willAcknowledge = false;
	#partial: PartialPacket | undefined;

	constructor(engine: Engine, transport: Transport) {
		this.engine = engine;
		this.transport = transport;
		this.output = new Output(transport, engine.outputBudget);
		this.heardTick = engine.tick;
	}

	received(chunk: Buffer): void {
		if (this.ended) return;
		this.heardTick = this.engine.tick;
		try {
			this.#consume(chunk);
			this.#waitForCommit();
			const outbox = this.session?.outbox;
			if (outbox?.behind === true) this.engine.catchUp.run(outbox);
		} catch (error) {
			this.fail(error);
			return;
		}
		if (this.engine.broker.pressure.over) this.#pause(PAUSED_BY_PRESSURE);
		if (this.transport.unsentBytes >= OUTPUT_HIGH_BYTES) this.#pause(PAUSED_BY_OUTPUT);
	}

	/** What was added for the commit being gathered leaves with it. */
	#waitForCommit(): void {
		if (!this.output.unmarked) return;
		this.output.mark();
		this.engine.broker.log.onCommit(this);
	}

	#consume(chunk: Buffer): void {
		const end = chunk.length;
		const { maxPacketBytes } = this.engine.options;
		const nowMs = this.engine.broker.clock.now();
		let at = 0;
		if (this.#partial !== undefined) {
			at = this.#partial.take(chunk, maxPacketBytes);
			const whole = this.#partial.whole();
			if (whole === undefined) return;
			this.#partial.discard();
			this.#partial = undefined;
			this.#packet(whole, 0, whole.length, nowMs);
		}
		while (at < end && !this.ended) {
			// Decided by its first byte, whatever length it promises [MQTT-3.1.0-1].
			if (this.session === undefined && chunk[at]! >> 4 !== PacketType.connect) throw notConnect();
			const length = packetLength(chunk, at, end, maxPacketBytes);
			if (length === 0) {
				this.#partial = new PartialPacket(this.engine.broker.pressure, this.engine.tick);
				this.#partial.take(at === 0 ? chunk : chunk.subarray(at), maxPacketBytes);
				return;
			}
			this.#packet(chunk, at, at + length, nowMs);
			at += length;
		}
	}

	#packet(bytes: Buffer, start: number, end: number, nowMs: number): void {
		const { traffic } = this.engine.stats;
		traffic.received(end - start);
		const { session } = this;
		if (session === undefined) {
			this.#first(bytes, start, end);
			return;
		}
		const type = bytes[start]! >> 4;
		if (type === 3) {
			const { version } = this;
			view.read(bytes, start, end, version);
			traffic.publishBytesReceived += view.payloadEnd - view.payloadStart;
			const { destination } = this;
			if (
				destination !== undefined &&
				(bytes[start]! & 0x07) === 0x02 && // QoS 1 without RETAIN
				view.propertiesStart === view.propertiesEnd &&
				destination.generation === this.engine.destinations.generation &&
				!session.noLocal &&
				sameBytes(destination.bytes, bytes, view.topicStart, view.topicEnd) &&
				this.unanswered < this.engine.options.receiveMaximum
			) {
				this.engine.stats.received[1]++;
				try {
					destination.partition.appendRecord(
						nowMs,
						destination.keyBlock,
						bytes,
						view.payloadStart,
						view.payloadEnd,
						destination.headersBlock,
					);
				} catch (error) {
					handlePublish.refused(this, session, view, error);
					return;
				}
				this.unanswered++;
				this.output.answeredOnCommit();
				this.output.responseOnCommit(PUBACK, view.packetId);
				return;
			}
			handlePublish(this, session, bytes, view, nowMs);
		} else if (type >= 4 && type <= 7) {
			ack.read(bytes, start, end, this.version, "client");
			handleAcknowledgement(this, session, ack.type satisfies AckType, ack.packetId, ack.reasonCode);
		} else if (type === PacketType.connect) {
			throw new MqttError(ReasonCode.ProtocolError, "[MQTT-3.1.0-2]", "a second CONNECT");
		} else {
			this.#other(session, decodePacket(bytes, start, end, this.version, "client"));
		}
	}

	#first(bytes: Buffer, start: number, end: number): void {
		const packet = decodePacket(bytes, start, end, 4, "client");
		if (packet.type === "connect") handleConnect(this, packet);
	}

	#other(session: Session, packet: Packet): void {
		switch (packet.type) {
			case "subscribe":
				handleSubscribe(this, session, packet);
				return;
			case "unsubscribe":
				handleUnsubscribe(this, session, packet);
				return;
			case "pingreq":
				this.send({ type: "pingresp" });
				return;
			case "disconnect": {
				const expiry = packet.properties.sessionExpiryInterval;
				if (expiry !== undefined) {
					if (session.expirySeconds === 0 && expiry > 0) {
						throw new MqttError(
							ReasonCode.ProtocolError,
							"5.0 section 3.14.2.2.2",
							"a Session Expiry Interval in DISCONNECT where CONNECT had 0",
						);
					}
					session.expirySeconds = Math.min(expiry, this.engine.options.maxSessionExpirySeconds);
				}
				if (packet.reasonCode !== ReasonCode.DisconnectWithWillMessage) this.dropWill(session); // [MQTT-3.14.4-3]
				this.#leave();
				this.transport.end();
				return;
			}
			default:
				throw new MqttError(
					ReasonCode.ProtocolError,
					"5.0 section 4.12",
					`${packet.type.toUpperCase()} was not asked for`,
				);
		}
	}

	/**
	 * Sends a packet at the end of this turn; one above the client's Maximum Packet Size without its reason, or not at all,
	 * and then returns false.
	 */
	send(packet: Packet): boolean {
		const bytes = encodeWithin(packet, this.version, this.maxPacketBytes);
		if (bytes === undefined) return false;
		this.output.packet(bytes);
		this.outputPending();
		return true;
	}

	/** The same, once the commit being gathered is durable. */
	sendOnCommit(packet: Packet): void {
		const bytes = encodeWithin(packet, this.version, this.maxPacketBytes);
		if (bytes !== undefined) this.output.packetOnCommit(bytes);
	}

	/** It will not be published. */
	dropWill(session: Session): void {
		if (this.will !== undefined) this.engine.wills.drop(session);
		this.will = undefined;
	}

	/** A reason string, where the client wants them (5.0 section 3.1.2.11.7). */
	reason(text: string): { reasonString?: string } {
		return this.explains ? { reasonString: text } : {};
	}

	outputPending(): void {
		if (this.#willFlush) return;
		this.#willFlush = true;
		this.engine.flushLater(this);
	}

	flushOutput(): void {
		this.#willFlush = false;
		if (this.ended) return;
		this.output.flush();
		this.#waitForCommit();
		// What stopped a subscriber may have been this turn's packets, and the socket took them all: no drain will follow.
		this.#catchUp();
	}

	/** The log: a commit that this connection waits for is durable. */
	committed(): void {
		if (this.ended) return;
		this.unanswered -= this.output.release();
		if (this.#willAcknowledge) return;
		this.#willAcknowledge = true;
		this.engine.acknowledgeLater(this);
	}

	flushAcknowledgements(): void {
		this.#willAcknowledge = false;
		if (this.ended) return;
		this.output.flushAcks();
		this.#catchUp();
	}

	#pause(why: number): void {
		if ((this.#paused & why) !== 0) return;
		if (this.#paused === 0) this.transport.pause();
		this.#paused |= why;
		if (why === PAUSED_BY_PRESSURE) this.engine.broker.pressure.onRelief(this);
	}

	#resume(why: number): void {
		if ((this.#paused & why) === 0) return;
		this.#paused &= ~why;
		if (this.#paused === 0 && !this.ended) this.transport.resume();
	}

	relieved(): void {
		this.heardTick = this.engine.tick;
		this.#resume(PAUSED_BY_PRESSURE);
	}

	drained(): void {
		this.output.account();
		this.heardTick = this.engine.tick;
		this.#resume(PAUSED_BY_OUTPUT);
		this.#catchUp();
	}

	#catchUp(): void {
		const outbox = this.session?.outbox;
		if (outbox?.behind !== true) return;
		try {
			this.engine.catchUp.run(outbox);
		} catch (error) {
			this.fail(error);
		}
	}

	/** Something that its packets ask for takes longer than this turn: none is read until `idle`. */
	busy(): void {
		this.#pause(PAUSED_BY_WORK);
	}

	idle(): void {
		this.heardTick = this.engine.tick;
		this.#resume(PAUSED_BY_WORK);
	}

	stopReading(): void {
		this.#pause(PAUSED_FOR_GOOD);
	}

	/** Once a second. */
	swept(tick: number): void {
		if (this.ended) return;
		try {
			this.#sweep(tick);
		} catch (error) {
			this.fail(error);
		}
	}

	#sweep(tick: number): void {
		const silent = tick - this.heardTick;
		if (this.session === undefined) {
			if (silent * 1000 > this.engine.options.connectTimeoutMs || this.#partialFor(tick)) {
				this.engine.stats.connectTimeouts++;
				this.#leave();
				this.transport.destroy();
			}
			return;
		}
		this.output.account();
		this.output.rest();
		this.session.outbox?.rest();
		const { over } = this.engine.broker.pressure;
		const stalledTicks = Math.ceil(this.engine.options.connectTimeoutMs / 1000);
		if (over && silent > stalledTicks && (this.#partial !== undefined || this.transport.unsentBytes > 0)) {
			// It holds memory that all wait for: half a packet, or output that it does not read.
			this.engine.stats.stalled++;
			this.end(ReasonCode.QuotaExceeded, "the gateway's memory for packets under way is used up");
			return;
		}
		if ((this.#paused & (PAUSED_BY_PRESSURE | PAUSED_BY_WORK)) !== 0) return; // we do not listen, so silence says nothing
		if (this.keepAliveTicks > 0 && silent > this.keepAliveTicks) {
			this.engine.stats.keepAliveTimeouts++;
			this.end(ReasonCode.KeepAliveTimeout, "nothing was heard for one and a half times the keep alive"); // [MQTT-3.1.2-22]
			return;
		}
		this.#catchUp();
	}

	/** A CONNECT that comes byte by byte does not hold its place for longer than one that does not come. */
	#partialFor(tick: number): boolean {
		return (
			this.#partial !== undefined && (tick - this.#partial.sinceTick) * 1000 > this.engine.options.connectTimeoutMs
		);
	}

	/** What was thrown while a packet was handled. Never throws itself: the socket's callbacks have nobody above them. */
	fail(error: unknown): void {
		if (this.ended) return;
		try {
			this.#failed(error);
		} catch (second) {
			this.engine.broker.logger.error("an MQTT connection could not be ended in order", {
				peer: this.transport.peer,
				error: second instanceof Error ? (second.stack ?? second.message) : String(second),
			});
			this.#leave();
			this.transport.destroy();
		}
	}

	#failed(error: unknown): void {
		const { engine } = this;
		if (error instanceof MqttError) {
			engine.stats.protocolErrors++;
			engine.broker.logger.debug("an MQTT connection broke the protocol", {
				peer: this.transport.peer,
				clientId: this.session?.clientId,
				reasonCode: error.reasonCode,
				clause: error.clause,
				error: error.message,
			});
			if (this.session !== undefined) this.end(error.reasonCode, `${error.message} ${error.clause}`);
			else if (error.version !== undefined)
				this.refuse(error.version, error.reasonCode, `${error.message} ${error.clause}`);
			else this.#drop();
			return;
		}
		if (error instanceof BrokerError) {
			this.end(ReasonCode.QuotaExceeded, error.message); // storage takes nothing now, not even a session's change
			return;
		}
		engine.broker.logger.error("an MQTT connection failed", {
			peer: this.transport.peer,
			clientId: this.session?.clientId,
			error: error instanceof Error ? (error.stack ?? error.message) : String(error),
		});
		this.end(ReasonCode.ImplementationSpecificError, "the gateway could not go on with this connection");
	}

	/** Answers CONNECT with a refusal and closes; `serverReference`: where to go instead. */
	refuse(version: Version, reasonCode: number, why: string, serverReference?: string): void {
		this.engine.stats.refusedConnections++;
		this.version = version;
		if (version === 5 || connackReturnCode(reasonCode) !== undefined) {
			const reference = serverReference === undefined ? {} : { serverReference };
			const properties = version === 5 ? { reasonString: why, ...reference } : {};
			const code = version !== 5 || reasonAllowed(PacketType.connack, reasonCode, "server") ? reasonCode : UNSPECIFIED;
			const packet = { type: "connack", sessionPresent: false, reasonCode: code, properties } as const;
			this.output.packet(
				encodeWithin(packet, version, this.maxPacketBytes) ?? encodePacket({ ...packet, properties: {} }, version),
			);
			this.output.flush();
		}
		this.#drop();
	}

	/** Ends the connection: MQTT 5 clients are told why. The session stays if it is to; a will is published. */
	end(reasonCode: number, why: string, serverReference?: string): void {
		if (this.ended) return;
		if (this.session !== undefined && this.version === 5) {
			const code = reasonAllowed(PacketType.disconnect, reasonCode, "server") ? reasonCode : UNSPECIFIED;
			const reference = serverReference === undefined ? {} : { serverReference };
			const packet = { type: "disconnect", reasonCode: code, properties: { reasonString: why, ...reference } } as const;
			const bytes = encodeWithin(packet, 5, this.maxPacketBytes);
			if (bytes !== undefined) this.output.packet(bytes);
		}
		this.output.flush();
		this.#drop();
	}

	#drop(): void {
		this.#leave();
		// What still comes is thrown away; unread, it would hide that the peer closes too.
		if (this.#paused !== 0) this.transport.resume();
		// A peer that does not read would never see the end of what is queued.
		if (this.transport.unsentBytes >= OUTPUT_HIGH_BYTES) this.transport.destroy();
		else this.transport.end();
	}

	closed(): void {
		this.#leave();
		this.engine.connections.delete(this);
	}

	/** Leaves the engine: once, whoever ended the connection. */
	#leave(): void {
		if (this.ended) return;
		const { engine, session, will } = this;
		// What was appended in this turn is stored all the same; its acknowledgements die with the connection.
		this.ended = true;
		this.#partial?.discard();
		this.#partial = undefined;
		this.output.discard();
		if (session === undefined) return;
		if (engine.clients.get(session.clientId) === this) engine.clients.delete(session.clientId);
		if (will !== undefined) engine.wills.left(session, will, engine.tick);
		engine.leave(session);
		this.session = undefined;
	}
}

/** Nothing can be answered to a client whose version is not known. */
function notConnect(): MqttError {
	return new MqttError(ReasonCode.ProtocolError, "[MQTT-3.1.0-1]", "the first packet is not CONNECT");
}

function sameBytes(expected: Buffer, bytes: Buffer, start: number, end: number): boolean {
	const length = end - start;
	if (expected.length !== length) return false;
	// From the end: names of one fleet begin alike.
	for (let i = length - 1; i >= 0; i--) if (expected[i] !== bytes[start + i]) return false;
	return true;
}

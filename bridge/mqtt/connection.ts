/**
 * One MQTT connection: bytes in, packets found and handled in place. The hot path is a QoS 1 PUBLISH to the topic that
 * was published to last: no object, string or copy is made for it. Its acknowledgement leaves when its commit is
 * durable, with all others of that commit in one write. Whatever goes wrong here ends this connection and no other.
 */
import { type AckType, AckView } from "./codec/ack-view.ts";
import { decodePacket } from "./codec/decode.ts";
import { encodeWithin } from "./codec/encode.ts";
import { PUBACK } from "./codec/first-bytes.ts";
import { MqttError, type Packet, PacketType, type Version, type Will } from "./codec/packets.ts";
import { PublishView } from "./codec/publish-view.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { explainFailure } from "./connection-failure.ts";
import type { Destination } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import { farewell, refusal } from "./goodbye.ts";
import { handleAcknowledgement } from "./handle-acknowledgement.ts";
import { handleConnect } from "./handle-connect.ts";
import { handlePublish } from "./handle-publish.ts";
import { handleSubscribe, handleUnsubscribe } from "./handle-subscribe.ts";
import { Inbox, type PacketHandler } from "./inbox.ts";
import type { Recipient } from "./outbox.ts";
import { Output } from "./output.ts";
import { PAUSED, type Pause, Reading } from "./reading.ts";
import type { Session } from "./session.ts";
import type { KeptSession } from "./session-store.ts";
import type { TopicAliases } from "./topic-aliases.ts";
import { OUTPUT_HIGH_BYTES, type Transport, type TransportHandler } from "./transport.ts";

/** Seconds that a packet may take to arrive while all wait for memory. */
const SLOW_TICKS = 60;
/** A topic name may have 65,535 bytes. */
const ALIAS_CHARACTERS_MAX = 65_536;
/** How long a peer may take to close its side of a connection that has ended here. */
const GOODBYE_TICKS = 5;

// One of each for all connections: they are used up before the next packet.
const view = new PublishView();
const ack = new AckView();

export class Connection implements TransportHandler, PacketHandler, Recipient {
	readonly engine: Engine;
	readonly transport: Transport;
	readonly output: Output;
	version: Version = 4;
	/** From a successful CONNECT until the connection ends. */
	session: Session | undefined;
	ended = false;
	/** CONNACK was sent: nothing may come before it [MQTT-3.2.0-1]. */
	accepted = false;
	/** The kept session that it goes on with, until CONNACK has left. */
	pending: KeptSession | undefined;
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
	/** Under way: a SUBSCRIBE or UNSUBSCRIBE that waits for the log. handle-subscribe.ts owns it. */
	subscribing: Promise<void> | undefined;
	/** Publishes of QoS 1 and 2 that the client waits for an answer to. */
	unanswered = 0;
	/** Ticks without a packet after which the client is gone; 0: never. */
	keepAliveTicks = 0;
	heardTick: number;
	#aliasCharacters = 0;
	/** When the packets came that are being handled. */
	#nowMs = 0;
	#willFlush = false;
	#willAcknowledge = false;
	readonly #inbox: Inbox;
	readonly #reading: Reading;

	constructor(engine: Engine, transport: Transport) {
		this.engine = engine;
		this.transport = transport;
		this.output = new Output(transport, engine.outputBudget);
		this.#inbox = new Inbox(this, engine.broker.pressure, engine.options.maxPacketBytes);
		this.#reading = new Reading(transport);
		this.heardTick = engine.tick;
	}

	received(chunk: Buffer): void {
		if (this.ended) return;
		this.heardTick = this.engine.tick;
		this.#nowMs = this.engine.broker.clock.now();
		try {
			this.#inbox.take(chunk, this.heardTick);
			this.#afterPackets();
		} catch (error) {
			this.fail(error);
			return;
		}
		this.#reading.stayWithin(this.engine.broker.pressure, this.#inbox, this);
		if (this.transport.unsentBytes >= OUTPUT_HIGH_BYTES) this.#reading.pause(PAUSED.byOutput);
		// A commit may be long in coming, as with a full disk, and answers to it add up.
		if (this.output.heldBytes >= OUTPUT_HIGH_BYTES) this.#reading.pause(PAUSED.byAnswers);
	}

	#afterPackets(): void {
		this.#waitForCommit();
		const outbox = this.session?.outbox;
		if (outbox?.behind === true) this.engine.catchUp.run(outbox);
	}

	/** What was added for the commit being gathered leaves with it. */
	#waitForCommit(): void {
		if (!this.output.unmarked) return;
		this.output.mark();
		this.engine.broker.log.onCommit(this);
	}

	get greeted(): boolean {
		return this.session !== undefined;
	}

	get isBusy(): boolean {
		return this.#reading.pausedFor(PAUSED.byWork);
	}

	packet(bytes: Buffer, start: number, end: number): void {
		const { traffic } = this.engine.stats;
		traffic.received(end - start);
		const { session } = this;
		if (session === undefined) {
			handleConnect(this, bytes, start, end);
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
				destination.isFor(bytes, view.topicStart, view.topicEnd) &&
				this.unanswered < this.engine.options.receiveMaximum
			) {
				this.engine.stats.received[1]++;
				try {
					destination.partition.appendRecord(
						this.#nowMs,
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
			handlePublish(this, session, bytes, view, this.#nowMs);
		} else if (type >= 4 && type <= 7) {
			ack.read(bytes, start, end, this.version, "client");
			handleAcknowledgement(this, session, ack.type satisfies AckType, ack.packetId, ack.reasonCode);
		} else if (type === PacketType.connect) {
			throw new MqttError(ReasonCode.ProtocolError, "[MQTT-3.1.0-2]", "a second CONNECT");
		} else {
			this.#other(session, decodePacket(bytes, start, end, this.version, "client"));
		}
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
				// Only then [MQTT-3.14.4-3]. An end in order would promise that it is void.
				if (packet.reasonCode === ReasonCode.Success && !this.dropWill(session)) this.transport.destroy();
				this.#goInOrder();
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

	/** It will not be published. False: not yet so for certain. */
	dropWill(session: Session): boolean {
		const dropped = this.will === undefined || this.engine.wills.drop(session);
		this.will = undefined;
		return dropped;
	}

	/** Throws MqttError 0x97 where the names that the client has given numbers to are too much memory. */
	setTopicAlias(alias: number, topic: string): void {
		this.topicAliases ??= new Map();
		this.#aliasCharacters += topic.length - (this.topicAliases.get(alias)?.length ?? 0);
		if (this.#aliasCharacters > ALIAS_CHARACTERS_MAX) {
			const why = `topic aliases for more than ${ALIAS_CHARACTERS_MAX} characters`;
			throw new MqttError(ReasonCode.QuotaExceeded, "5.0 section 3.3.2.3.4", why);
		}
		this.topicAliases.set(alias, topic);
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
		if (this.output.heldBytes < OUTPUT_HIGH_BYTES) this.#reading.resume(PAUSED.byAnswers);
		this.#catchUp();
	}

	relieved(): void {
		this.#readOn(PAUSED.byPressure);
	}

	roomGranted(): void {
		this.#readOn(PAUSED.forRoom);
	}

	#readOn(why: Pause): void {
		this.heardTick = this.engine.tick;
		this.#inbox.excuse(this.heardTick);
		this.#reading.resume(why);
	}

	drained(): void {
		this.output.account();
		this.heardTick = this.engine.tick;
		this.#reading.resume(PAUSED.byOutput);
		this.#catchUp();
	}

	#catchUp(patiently = false): void {
		const outbox = this.session?.outbox;
		if (outbox?.behind !== true) return;
		try {
			this.engine.catchUp.run(outbox, patiently);
		} catch (error) {
			this.fail(error);
		}
	}

	/** Something that its packets ask for takes longer than this turn: none is read until `idle`. */
	busy(): void {
		this.#reading.pause(PAUSED.byWork);
	}

	idle(): void {
		if (this.ended) return;
		this.heardTick = this.engine.tick;
		this.#nowMs = this.engine.broker.clock.now();
		this.#reading.lift(PAUSED.byWork);
		try {
			this.#inbox.goOn(this.heardTick);
			this.#afterPackets(); // also where nothing came: an answer may wait for its commit
			this.#reading.stayWithin(this.engine.broker.pressure, this.#inbox, this);
		} catch (error) {
			this.fail(error);
		}
		if (!this.#reading.isPaused && !this.ended) this.transport.resume();
	}

	stopReading(): void {
		this.#reading.pause(PAUSED.forGood);
	}

	/** Once a second. */
	swept(tick: number): void {
		if (this.ended) {
			// A peer that does not close its side keeps no place.
			if (tick - this.heardTick > GOODBYE_TICKS) this.transport.destroy();
			return;
		}
		try {
			this.#sweep(tick);
		} catch (error) {
			this.fail(error);
		}
	}

	#sweep(tick: number): void {
		const silent = tick - this.heardTick;
		if (this.session === undefined) {
			// A CONNECT that comes byte by byte does not hold its place for longer than one that does not come.
			const { connectTimeoutMs } = this.engine.options;
			if (silent * 1000 > connectTimeoutMs || this.#inbox.partialFor(tick) * 1000 > connectTimeoutMs) {
				this.engine.stats.connectTimeouts++;
				this.#leave();
				this.transport.destroy();
			}
			return;
		}
		if (!this.accepted && silent * 1000 > this.engine.options.connectTimeoutMs) {
			this.close(); // its CONNACK waits for a commit that does not come
			return;
		}
		this.output.swept(tick);
		this.session.outbox?.rest();
		const { broker, outputBudget } = this.engine;
		const { heldUp } = this.#reading;
		const over = broker.pressure.othersWait || outputBudget.outstandingBytes > outputBudget.limitBytes;
		const stalledTicks = Math.ceil(this.engine.options.connectTimeoutMs / 1000);
		const part = this.#inbox.partialFor(tick);
		const stands = !heldUp && (part > SLOW_TICKS || (part > 0 && silent > stalledTicks));
		if (over && (stands || this.output.stuckFor(tick) > stalledTicks)) {
			// It holds memory that all wait for: half a packet, or output that it does not read.
			this.engine.stats.stalled++;
			this.end(ReasonCode.QuotaExceeded, "the gateway's memory for packets under way is used up");
			return;
		}
		if (heldUp) return;
		if (this.keepAliveTicks > 0 && silent > this.keepAliveTicks) {
			this.engine.stats.keepAliveTimeouts++;
			this.end(ReasonCode.KeepAliveTimeout, "nothing was heard for one and a half times the keep alive"); // [MQTT-3.1.2-22]
			return;
		}
		this.#catchUp(true);
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
		const { reasonCode, why, version } = explainFailure(this, error);
		if (this.session !== undefined) this.end(reasonCode, why);
		else if (version !== undefined) this.refuse(version, reasonCode, why);
		else this.close();
	}

	/** Answers CONNECT with a refusal and closes; `serverReference`: where to go instead. */
	refuse(version: Version, reasonCode: number, why: string, serverReference?: string): void {
		this.engine.stats.refusedConnections++;
		this.version = version;
		const { maxPacketBytes } = this;
		this.#last(refusal({ version, reasonCode, why, serverReference, maxPacketBytes }));
	}

	/** Ends the connection: MQTT 5 clients are told why. The session stays if it is to; a will is published. */
	end(reasonCode: number, why: string, serverReference?: string): void {
		if (this.ended) return;
		const { session, version, maxPacketBytes } = this;
		this.#last(
			session && this.accepted ? farewell({ version, reasonCode, why, serverReference, maxPacketBytes }) : undefined,
		);
	}

	/** Closes without a word. */
	close(): void {
		if (!this.ended) this.#last(undefined);
	}

	#last(packet: Buffer | undefined): void {
		if (packet !== undefined) this.output.packet(packet);
		this.output.flush();
		this.#drop();
	}

	#drop(): void {
		this.#leave();
		// What still comes is thrown away; unread, it would hide that the peer closes too.
		if (this.#reading.isPaused) this.transport.resume();
		// A peer that does not read would never see the end of what is queued.
		if (this.transport.unsentBytes >= OUTPUT_HIGH_BYTES) this.transport.destroy();
		else this.transport.end();
	}

	/** After DISCONNECT: what is still to be answered leaves with its commit, and then the end says that all is durable. */
	#goInOrder(): void {
		const { engine, output, transport } = this;
		output.flush();
		this.#leave(true);
		if (output.unmarked) output.mark();
		const end = () => {
			output.releaseAll();
			output.flushAcks();
			output.discard();
			transport.end();
		};
		if (engine.broker.log.idle) end();
		else engine.broker.log.onCommit({ committed: end, failed: () => transport.destroy() });
	}

	closed(): void {
		this.#leave();
		this.engine.connections.delete(this);
	}

	/** Leaves the engine: once, whoever ended the connection. */
	#leave(answers = false): void {
		if (this.ended) return;
		const { engine, session, will } = this;
		// What was appended in this turn is stored all the same; without `answers` its acknowledgements die with the connection.
		this.ended = true;
		this.heardTick = engine.tick;
		this.#inbox.discard();
		if (!answers) this.output.discard();
		if (session === undefined) return;
		if (engine.clients.get(session.clientId) === this) engine.clients.delete(session.clientId);
		if (will !== undefined) engine.wills.left(session, will, engine.tick);
		engine.leave(session, this.pending);
		this.session = undefined;
	}
}

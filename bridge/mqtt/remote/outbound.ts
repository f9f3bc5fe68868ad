/**
 * From the log to the other broker. Nothing is queued: each rule has a cursor per partition (cursor.ts), which moves when the
 * other broker acknowledges; an outage costs no memory and loses nothing. Events are read out of memory where they still are
 * there, else by one read at a time (backlog.ts), whose result is held while the window is closed.
 */
import type { Logger } from "../../../src/base/logger.ts";
import type { BridgeConfig } from "../../../src/config/definition.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import type { ConnackPacket } from "../codec/packets.ts";
import { ReasonCode } from "../codec/reason-codes.ts";
import type { Engine } from "../engine.ts";
import type { EventReader, StoredEvent } from "../stored-event.ts";
import { Backlog, type Held } from "./backlog.ts";
import type { BridgeCounters } from "./bridge-stats.ts";
import type { Run } from "./cursor.ts";
import { Flow, type FlowPartition } from "./flow.ts";
import { hasLoopedBlock, hopOf } from "./hops.ts";
import { publisherOf } from "./inbound.ts";
import { describe, type Link } from "./link.ts";
import type { TopicMapping } from "./mapping.ts";
import { PreparedPackets, type Sent } from "./prepared.ts";
import type { RareLog } from "./rare-log.ts";
import { type EventForm, eventLength, writeEvent } from "./write-event.ts";

/** Higher identifiers are for SUBSCRIBE. */
const PACKET_ID_MAX = 65_000;
const PACKET_BYTES_MAX = 268_435_460;
const RECEIVE_MAXIMUM_DEFAULT = 65_535;
/** An event that the other broker refuses so often for want of space is passed over. */
const QUOTA_TRIES = 10;

export interface OutboundServices {
	readonly engine: Engine;
	readonly config: BridgeConfig;
	readonly mapping: TopicMapping;
	readonly counters: BridgeCounters;
	readonly gatewayId: string;
	readonly reader: EventReader;
	readonly rare: RareLog;
	readonly logger: Logger;
}

export class Outbound {
	readonly flows: readonly Flow[];
	readonly #services: OutboundServices;
	readonly #publisher: string;
	/** With something to send, in turn. */
	readonly #ready = new Set<FlowPartition>();
	readonly #backlog: Backlog;
	readonly #inflight = new Map<number, Sent>();
	/** Identifiers of an earlier connection that are to be used again. */
	readonly #reserved = new Set<number>();
	#link: Link | undefined;
	#form: EventForm;
	#window = 1;
	readonly #prepared = new PreparedPackets();
	#lastPacketId = 0;
	#pumping = false;
	/** The gateway stops: nothing more is sent, and this is called when all that was is acknowledged. */
	#onSettled: (() => void) | undefined;
	/** The event that was refused last for want of space. */
	#quota = { place: undefined as FlowPartition | undefined, offset: -1, tries: 0 };

	// What `#take` works on, so that no closure is made per batch.
	#place!: FlowPartition;
	#run!: Run;
	#nowMs = 0;

	constructor(services: OutboundServices) {
		this.#services = services;
		const { engine, config, gatewayId } = services;
		this.#publisher = publisherOf(config.name);
		this.#backlog = new Backlog(engine.broker.clock, {
			ready: (place) => {
				this.#ready.add(place);
				this.pumpLater();
			},
			failed: ({ partition: { topic, number } }, error) =>
				services.rare.warn("a bridge cannot read; it will be tried again", {
					bridge: config.name,
					topic,
					partition: number,
					error: String(error),
				}),
		});
		this.flows = config.out.map((rule, i) => new Flow(engine, config.name, i, rule));
		this.#form = {
			version: 4,
			qos: config.qos,
			retainAvailable: true,
			maxPacketBytes: PACKET_BYTES_MAX,
			hop: hopOf(config.clientId, gatewayId),
		};
	}

	/** Takes its place in every partition, durably. */
	start(): void {
		this.topicsChanged();
		this.save();
	}

	topicsChanged(): void {
		for (const flow of this.flows) {
			for (const place of flow.follow()) {
				place.unwatch = place.partition.watch({ advanced: () => this.#advanced(place) });
				this.#ready.add(place);
			}
		}
		for (const place of this.#ready) if (place.gone) this.#ready.delete(place);
		this.#backlog.dropGone();
		this.pumpLater();
	}

	/** Right after a commit: what it brought is sent at the end of this turn. */
	#advanced(place: FlowPartition): void {
		if (this.#link === undefined) return;
		this.#ready.add(place);
		this.pumpLater();
	}

	connected(link: Link, connack: ConnackPacket): void {
		const { config, rare } = this.#services;
		const { properties } = connack;
		this.#link = link;
		this.#window = Math.min(config.maxInflight, properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT);
		const qos = Math.min(config.qos, properties.maximumQos ?? 2) as 0 | 1;
		if (qos < config.qos) {
			rare.warn("the other broker takes QoS 0 only: events may be lost on the way", { bridge: config.name });
		}
		this.#form = {
			...this.#form,
			version: link.version,
			qos,
			retainAvailable: properties.retainAvailable ?? true, // [MQTT-3.2.2-14]
			maxPacketBytes: Math.min(properties.maximumPacketSize ?? PACKET_BYTES_MAX, PACKET_BYTES_MAX), // [MQTT-3.2.2-15]
		};
		this.#reserved.clear();
		for (const flow of this.flows) {
			for (const place of flow.partitions.values()) {
				// It knows nothing of the identifiers any more.
				if (!connack.sessionPresent) place.again.clear();
				for (const packetId of place.again.values()) this.#reserved.add(packetId);
				place.cursor.cut(place.partition.lastStableOffset);
				this.#ready.add(place);
			}
		}
		this.pumpLater();
	}

	/** What was not acknowledged will be sent again. */
	disconnected(): void {
		this.#link = undefined;
		for (const [packetId, { place, offset }] of this.#inflight) place.again.set(offset, packetId);
		this.#inflight.clear();
		this.#prepared.discard();
		this.#ready.clear();
		this.#backlog.clear();
		for (const flow of this.flows) for (const { cursor } of flow.partitions.values()) cursor.reset();
	}

	acknowledged(link: Link, packetId: number, reasonCode: number): void {
		const sent = this.#inflight.get(packetId);
		if (sent === undefined) return;
		const { place, run, offset } = sent;
		if (reasonCode >= 0x80 && !this.#refused(link, sent, reasonCode)) return;
		this.#inflight.delete(packetId);
		run.acknowledged(offset);
		if (!place.gone) this.#ready.add(place);
		this.#services.counters.acknowledged++;
		if (this.#onSettled === undefined) this.pumpLater();
		else if (this.#inflight.size === 0) this.#onSettled();
	}

	/** Sends nothing more; `done` is called when what was sent is acknowledged. */
	settle(done: () => void): void {
		this.#onSettled = done;
		if (this.#inflight.size === 0) done();
	}

	/** Whether the event is given up. One for which the other broker has no space now is kept, and the connection tried again later. */
	#refused(link: Link, { place, offset }: Sent, reasonCode: number): boolean {
		const { config, counters, rare } = this.#services;
		const fields = { bridge: config.name, topic: place.partition.topic, offset, reason: describe(reasonCode) };
		if (reasonCode === ReasonCode.QuotaExceeded) {
			const same = this.#quota.place === place && this.#quota.offset === offset;
			this.#quota = { place, offset, tries: same ? this.#quota.tries + 1 : 1 };
			if (this.#quota.tries < QUOTA_TRIES) {
				link.drop({ reason: `it has no space: ${describe(reasonCode)}` });
				return false;
			}
		}
		counters.refusedThere++;
		rare.warn("the other broker refuses an event", fields);
		return true;
	}

	pumpLater(): void {
		if (this.#pumping || this.#link === undefined) return;
		this.#pumping = true;
		queueMicrotask(() => {
			this.#pumping = false;
			try {
				this.pump();
			} catch (error) {
				this.#services.logger.error("a bridge could not send", {
					bridge: this.#services.config.name,
					error: String(error),
				});
				this.#link?.drop({ reason: `events could not be sent: ${String(error)}` });
			}
		});
	}

	/** Sends what the window and the socket take. */
	pump(): void {
		const link = this.#link;
		if (link === undefined || this.#onSettled !== undefined) return;
		this.#nowMs = this.#services.engine.broker.clock.now();
		do {
			this.#prepared.send(link.output, this.#window - this.#inflight.size, () => this.#newPacketId(), this.#isSent);
			while (this.#ready.size > 0 && this.#hasRoom(link)) {
				const place = this.#ready.values().next().value!;
				this.#ready.delete(place);
				if (!place.gone && this.#advance(place)) this.#ready.add(place);
			}
			link.flush();
			// What the socket has taken whole makes no call of `drained`.
		} while (this.#canGoOn(link));
	}

	#canGoOn(link: Link): boolean {
		if (this.#ready.size > 0 && this.#hasRoom(link)) return true;
		return this.#prepared.size > 0 && this.#inflight.size < this.#window && !link.output.blocked && !link.gone;
	}

	/** Whether one more event can be sent or made ahead. */
	#hasRoom(link: Link): boolean {
		if (link.output.blocked || link.gone) return false;
		return (this.#inflight.size < this.#window && this.#prepared.size === 0) || !this.#prepared.full;
	}

	readonly #isSent = (packetId: number, event: Sent): void => {
		this.#inflight.set(packetId, event);
		this.#services.counters.sent++;
	};

	/** One run's events, as far as they are at hand. True: there may be more to send now. */
	#advance(place: FlowPartition): boolean {
		const { partition, cursor } = place;
		this.#trim(place);
		const run = cursor.take(partition.lastStableOffset);
		this.#backlog.withdraw(place);
		if (run === undefined) return false;
		const held = this.#backlog.held(place);
		if (held?.run === run) {
			this.#sendHeld(held);
			return true;
		}
		if (held !== undefined) this.#backlog.release(held);
		const batches = run.next < partition.localStartOffset ? undefined : partition.readTail(run.next);
		if (batches === undefined || batches.length === 0) {
			this.#backlog.ask(place, run);
			return false;
		}
		for (const batch of batches) {
			this.#send(place, run, batch, 0);
			if (run.next >= run.end || this.#isStopped) break;
		}
		return true;
	}

	#sendHeld(held: Held): void {
		while (held.at < held.bytes.length && held.run.next < held.run.end) {
			const next = this.#send(held.place, held.run, held.bytes, held.at);
			if (this.#isStopped) return;
			held.at = next;
		}
		this.#backlog.release(held);
	}

	/** The visitor did not take an event: window or socket are full. */
	#isStopped = false;

	#send(place: FlowPartition, run: Run, bytes: Buffer, at: number): number {
		const { reader } = this.#services;
		this.#place = place;
		this.#run = run;
		this.#isStopped = false;
		try {
			const next = reader.read(place.partition, bytes, at, run.next, this.#take);
			run.next = Math.min(Math.max(run.next, reader.nextOffset), run.end);
			this.#isStopped = reader.stopped && run.next < run.end;
			return next;
		} catch (error) {
			// Storage's own checks report what is damaged; the bridge goes on behind it.
			const header = readBatchHeader(bytes, at);
			this.#services.logger.error("events could not be read for a bridge", {
				bridge: this.#services.config.name,
				topic: place.partition.topic,
				partition: place.partition.number,
				fromOffset: run.next,
				toOffset: header.lastOffset + 1,
				error: String(error),
			});
			run.next = Math.min(Math.max(run.next, header.lastOffset + 1), run.end);
			return at + header.sizeBytes;
		}
	}

	readonly #take = (event: StoredEvent): boolean => {
		const run = this.#run;
		const place = this.#place;
		const { offset } = event;
		if (offset >= run.end) return false;
		if (event.topic === undefined || event.clientId === this.#publisher) return this.#skip(place, offset);
		const { mapping, counters, gatewayId } = this.#services;
		const outgoing = mapping.outgoing(event.topic);
		if (outgoing.rule !== place.flow.index) return this.#skip(place, offset);
		let expirySeconds = -1;
		if (event.expirySeconds >= 0) {
			const left = event.expirySeconds - Math.floor((this.#nowMs - event.timestampMs) / 1000);
			if (left <= 0) {
				counters.expired++; // [MQTT-3.3.2-5]
				return this.#skip(place, offset);
			}
			expirySeconds = Math.min(left, event.expirySeconds); // [MQTT-3.3.2-6]
		}
		if (event.propertiesBlock.length > 0 && hasLoopedBlock(event.propertiesBlock, gatewayId)) {
			counters.looped++;
			return this.#skip(place, offset);
		}
		const link = this.#link!;
		if (!this.#hasRoom(link)) return false;
		const form = this.#form;
		const length = eventLength(event, outgoing.topic, expirySeconds, form);
		if (length > form.maxPacketBytes) {
			counters.tooLarge++;
			this.#services.rare.warn("an event is larger than the other broker takes", {
				bridge: this.#services.config.name,
				topic: event.topic,
				maximumPacketSize: form.maxPacketBytes,
			});
			return this.#skip(place, offset);
		}
		if (form.qos === 0) {
			const at = link.output.reserve(length);
			writeEvent(link.output.buffer, at, event, outgoing.topic, false, expirySeconds, form);
			counters.sent++;
			return this.#skip(place, offset);
		}
		const before = place.again.get(offset);
		if (before !== undefined) place.again.delete(offset);
		run.sent(offset);
		if (this.#inflight.size >= this.#window || this.#prepared.size > 0) {
			const bytes = Buffer.allocUnsafe(length);
			const identifierAt = writeEvent(bytes, 0, event, outgoing.topic, before !== undefined, expirySeconds, form);
			this.#prepared.push({ place, run, offset, packetId: before ?? 0, bytes, identifierAt });
			return true;
		}
		const packetId = before ?? this.#newPacketId();
		const at = link.output.reserve(length);
		const { buffer } = link.output;
		const identifierAt = writeEvent(buffer, at, event, outgoing.topic, before !== undefined, expirySeconds, form);
		buffer.writeUInt16BE(packetId, identifierAt);
		this.#isSent(packetId, { place, run, offset });
		return true;
	};

	#skip(place: FlowPartition, offset: number): true {
		if (place.again.size > 0) place.again.delete(offset);
		return true;
	}

	#newPacketId(): number {
		do {
			this.#lastPacketId = (this.#lastPacketId % PACKET_ID_MAX) + 1;
		} while (this.#inflight.has(this.#lastPacketId) || this.#reserved.has(this.#lastPacketId));
		return this.#lastPacketId;
	}

	#trim(place: FlowPartition): void {
		const { partition, cursor, again } = place;
		const start = partition.logStartOffset;
		const taken = cursor.trim(start);
		if (taken === 0) return;
		for (const offset of again.keys()) if (offset < start) again.delete(offset);
		this.#services.counters.overtakenByRetention += taken;
		this.#services.rare.warn("retention took events before a bridge had sent them", {
			bridge: this.#services.config.name,
			topic: partition.topic,
			partition: partition.number,
			offsets: taken,
		});
	}

	/** Once a second: whatever was missed is found. */
	swept(): void {
		if (this.#link === undefined) return;
		for (const flow of this.flows) {
			for (const place of flow.partitions.values()) this.#ready.add(place);
		}
		this.#backlog.swept();
		this.pumpLater();
	}

	get inflight(): number {
		return this.#inflight.size;
	}

	/** Whether all that is there is sent and acknowledged. */
	get idle(): boolean {
		return this.#inflight.size + this.#prepared.size === 0 && this.#ready.size === 0 && this.#backlog.isEmpty;
	}

	get lag(): number {
		return this.flows.reduce((sum, flow) => sum + flow.lag, 0);
	}

	/** Throws KAFKA_STORAGE_ERROR. */
	save(): void {
		if (this.#services.engine.broker.log.refusal !== undefined) return; // the disk is full, as everybody knows
		for (const flow of this.flows) flow.save();
	}

	stop(): void {
		for (const flow of this.flows) for (const place of flow.partitions.values()) place.unwatch();
	}
}

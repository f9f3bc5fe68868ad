/**
 * From the other broker into the log. It keeps a session for us and queues while we are away; each of its publishes is
 * acknowledged only when the commit that has it is durable, in order. Subscriptions are made once and remembered, for every
 * further SUBSCRIBE would bring its retained messages again.
 */
import { BrokerError } from "../../../src/base/errors.ts";
import type { Logger } from "../../../src/base/logger.ts";
import type { BridgeConfig } from "../../../src/config/definition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { encodePacket } from "../codec/encode.ts";
import { PUBACK, PUBCOMP, PUBREC } from "../codec/first-bytes.ts";
import { type ConnackPacket, MqttError, type Properties, type SubackPacket, type Version } from "../codec/packets.ts";
import { decodePublishProperties, PublishView, validateTopicName } from "../codec/publish-view.ts";
import { ReasonCode } from "../codec/reason-codes.ts";
import { PublishRefused } from "../destinations.ts";
import type { Engine } from "../engine.ts";
import { publishEvent } from "../publish-event.ts";
import type { BridgeCounters } from "./bridge-stats.ts";
import { hasLooped } from "./hops.ts";
import { describe, type Link } from "./link.ts";
import type { TopicMapping } from "./mapping.ts";
import type { RareLog } from "./rare-log.ts";

const FILTERS_PER_SUBSCRIBE = 50;

/** What is subscribed to there, as far as is known. */
interface SubscribedRow {
	readonly session: string;
	readonly filters: readonly string[];
}

export interface InboundServices {
	readonly engine: Engine;
	readonly config: BridgeConfig;
	readonly mapping: TopicMapping;
	readonly counters: BridgeCounters;
	readonly gatewayId: string;
	readonly rare: RareLog;
	readonly logger: Logger;
	/** Something is wrong that does not end the connection. */
	readonly trouble: (what: string) => void;
}

/** The publisher of what a bridge brings: so no bridge sends back what it brought. */
export function publisherOf(name: string): string {
	return `$bridge/${name}`;
}

export class Inbound {
	readonly #services: InboundServices;
	/** SUBSCRIBE packets under way, by identifier. */
	readonly #asked = new Map<number, readonly string[]>();
	#subscribed = new Set<string>();
	/** Publishes that wait for a commit (Receive Maximum). */
	#unanswered = 0;
	#storedInChunk = 0;
	#link: Link | undefined;

	constructor(services: InboundServices) {
		this.#services = services;
	}

	connected(link: Link, connack: ConnackPacket): void {
		const { mapping } = this.#services;
		this.#link = link;
		this.#unanswered = 0;
		this.#storedInChunk = 0;
		this.#asked.clear();
		this.#subscribed = new Set(connack.sessionPresent ? this.#load() : []);
		const wanted = new Set(mapping.subscriptions);
		const gone = [...this.#subscribed].filter((filter) => !wanted.has(filter));
		const missing = [...wanted].filter((filter) => !this.#subscribed.has(filter));
		// Identifiers from the end: the outbound side counts from 1.
		let packetId = 65_535;
		for (let i = 0; i < gone.length; i += FILTERS_PER_SUBSCRIBE) {
			const filters = gone.slice(i, i + FILTERS_PER_SUBSCRIBE);
			link.send({ type: "unsubscribe", packetId: packetId--, filters, properties: {} });
			for (const filter of filters) this.#subscribed.delete(filter);
		}
		for (let i = 0; i < missing.length; i += FILTERS_PER_SUBSCRIBE) {
			const filters = missing.slice(i, i + FILTERS_PER_SUBSCRIBE);
			const five = link.version === 5;
			link.send({
				type: "subscribe",
				packetId,
				subscriptions: filters.map((filter) => ({
					filter,
					qos: this.#services.config.qos,
					noLocal: five,
					retainAsPublished: five,
					retainHandling: five ? 1 : 0,
				})),
				properties: {},
			});
			this.#asked.set(packetId--, filters);
		}
		if (missing.length === 0) this.#save();
	}

	disconnected(): void {
		this.#link = undefined;
	}

	subscribed({ packetId, reasonCodes }: SubackPacket): void {
		const filters = this.#asked.get(packetId);
		if (filters === undefined || filters.length !== reasonCodes.length) {
			throw new MqttError(ReasonCode.ProtocolError, "[MQTT-3.8.4-2]", "a SUBACK for what was not asked");
		}
		this.#asked.delete(packetId);
		for (const [i, filter] of filters.entries()) {
			const code = reasonCodes[i]!;
			if (code < 0x80) {
				this.#subscribed.add(filter);
				continue;
			}
			const what = `the other broker refuses the subscription ${filter}: ${describe(code)}`;
			this.#services.logger.error("a bridge cannot subscribe", { bridge: this.#services.config.name, error: what });
			this.#services.trouble(what);
		}
		if (this.#asked.size === 0) this.#save();
	}

	publish(link: Link, bytes: Buffer, view: PublishView): void {
		const { engine, config, mapping, counters, gatewayId, rare } = this.#services;
		counters.received++;
		const { qos } = view;
		if (qos > 0 && link.version === 5 && this.#unanswered >= engine.options.receiveMaximum) {
			throw new MqttError(ReasonCode.ReceiveMaximumExceeded, "[MQTT-3.3.4-7]", "more publishes than Receive Maximum");
		}
		let properties: Properties | undefined;
		if (view.propertiesStart < view.propertiesEnd) {
			properties = decodePublishProperties(bytes, view.propertiesStart, view.propertiesEnd, "server");
			if (properties.topicAlias !== undefined) {
				throw new MqttError(ReasonCode.TopicAliasInvalid, "[MQTT-3.1.2-26]", "a Topic Alias, and none was allowed");
			}
		}
		let topic = "";
		let reasonCode: number = ReasonCode.Success;
		if (hasLooped(properties, gatewayId)) counters.looped++;
		else {
			try {
				topic = topicOf(bytes, view, link.version);
				const local = mapping.incoming(topic);
				if (local === undefined || local === "")
					throw new PublishRefused(ReasonCode.TopicNameInvalid, "no rule takes it");
				publishEvent(engine, {
					topic: local,
					payload: bytes.subarray(view.payloadStart, view.payloadEnd),
					qos,
					retain: view.retain,
					properties,
					clientId: publisherOf(config.name),
				});
				this.#storedInChunk++;
			} catch (error) {
				if (error instanceof BrokerError && error.code === "KAFKA_STORAGE_ERROR") {
					// Not acknowledged, so the other broker keeps it.
					link.drop({ reason: `nothing can be stored here: ${error.message}` });
					return;
				}
				if (!(error instanceof PublishRefused || error instanceof BrokerError)) throw error;
				counters.refused++;
				reasonCode = error instanceof PublishRefused ? error.reasonCode : ReasonCode.QuotaExceeded;
				rare.warn("an event from another broker is not taken", { bridge: config.name, topic, error: error.message });
			}
		}
		if (qos > 0) this.#answer(link, qos, view.packetId, reasonCode);
	}

	/** A PUBLISH above mqtt.max.packet.bytes, of which only the head came through. */
	oversized(link: Link, head: Buffer, sizeBytes: number): void {
		const { counters, rare, config } = this.#services;
		counters.received++;
		counters.refused++;
		const view = new PublishView();
		view.read(head, 0, head.length, link.version);
		rare.warn("an event from another broker is larger than mqtt.max.packet.bytes", {
			bridge: config.name,
			topic: head.toString("utf8", view.topicStart, view.topicEnd),
			sizeBytes,
		});
		if (view.qos > 0) this.#answer(link, view.qos, view.packetId, ReasonCode.Success);
	}

	/** Also what is not taken is answered in its turn, with the commit. */
	#answer(link: Link, qos: 1 | 2 | 0, packetId: number, reasonCode: number): void {
		this.#unanswered++;
		link.output.answeredOnCommit();
		if (reasonCode === ReasonCode.Success || link.version !== 5) {
			link.output.responseOnCommit(qos === 1 ? PUBACK : PUBREC, packetId);
			return;
		}
		const type = qos === 1 ? "puback" : "pubrec";
		link.output.packetOnCommit(encodePacket({ type, packetId, reasonCode, properties: {} }, 5));
	}

	/** PUBREL of an event that came at QoS 2, which no subscription of ours asks for. */
	released(link: Link, packetId: number): void {
		link.output.response(PUBCOMP, packetId);
		link.flushLater();
	}

	/** What a chunk brought waits for one commit; its acknowledgements leave in one write. */
	chunkDone(link: Link): void {
		const stored = this.#storedInChunk;
		this.#storedInChunk = 0;
		const { output } = link;
		if (!output.unmarked) {
			// At QoS 0 nothing waits for the commit.
			this.#services.counters.stored += stored;
			return;
		}
		output.mark();
		this.#services.engine.broker.log.onCommit({
			committed: () => {
				this.#services.counters.stored += stored;
				if (link.gone) return;
				const answered = output.release();
				if (this.#link === link) this.#unanswered -= answered;
				link.flushLater();
			},
		});
	}

	get #key(): string {
		return `in\n${this.#services.config.name}`;
	}

	/** The session that the subscriptions belong to: another address or client id has none of them. */
	get #session(): string {
		const { address, clientId } = this.#services.config;
		return `${address.host}:${address.port}\n${clientId}`;
	}

	#load(): readonly string[] {
		const row = this.#services.engine.broker.log.getState(StateSpace.MQTT_BRIDGE, this.#key);
		if (row === undefined) return [];
		const { session, filters } = JSON.parse(Buffer.from(row).toString("utf8")) as SubscribedRow;
		return session === this.#session ? filters : [];
	}

	#save(): void {
		const row: SubscribedRow = { session: this.#session, filters: [...this.#subscribed].sort() };
		const bytes = Buffer.from(JSON.stringify(row));
		const { log } = this.#services.engine.broker;
		const before = log.getState(StateSpace.MQTT_BRIDGE, this.#key);
		if (before !== undefined && bytes.equals(before)) return;
		try {
			log.putState(StateSpace.MQTT_BRIDGE, this.#key, bytes);
		} catch (error) {
			// Then it subscribes again with the next connection.
			this.#services.rare.warn("a bridge's subscriptions could not be noted", { error: (error as Error).message });
		}
	}
}

/** Throws PublishRefused for a name that is none here: an event that ended the connection would come again for ever. */
function topicOf(bytes: Buffer, { topicStart, topicEnd }: PublishView, version: Version): string {
	try {
		return validateTopicName(bytes, topicStart, topicEnd, version);
	} catch (error) {
		if (!(error instanceof MqttError)) throw error;
		throw new PublishRefused(ReasonCode.TopicNameInvalid, error.message);
	}
}

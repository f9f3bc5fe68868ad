/**
 * Destinations: for each MQTT topic that is published to, everything an append needs, prepared once: partition, key and
 * headers as bytes. Kept in a bounded cache, thrown away when topics change.
 */
import type { Broker } from "../../src/broker/broker.ts";
import { pickPartition } from "../../src/broker/pick-partition.ts";
import type { Topic } from "../../src/broker/topics.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { RecordHeader } from "../../src/record/batch.ts";
import { encodeHeadersBlock, encodeKeyBlock, NULL_KEY_BLOCK } from "../../src/record/builder.ts";
import { BoundedCache } from "./bounded-cache.ts";
import type { Properties, Qos } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { CLIENT_HEADER, headersOfProperties, QOS_HEADER, RETAIN_HEADER, TOPIC_HEADER } from "./event-headers.ts";
import { COPY_HEADER, ORIGINAL_TOPIC_HEADER } from "./route-headers.ts";
import type { Filled } from "./route-template.ts";
import type { Routed, Routes } from "./routes.ts";

/** A publish that is not taken; the connection goes on where the protocol lets it. */
export class PublishRefused extends Error {
	override readonly name: string = "PublishRefused";
	/** For PUBACK and PUBREC of MQTT 5. */
	readonly reasonCode: number;

	constructor(reasonCode: number, message: string) {
		super(message);
		this.reasonCode = reasonCode;
	}
}

/** A topic that begins with $: the standard keeps clients from exchanging messages over these (section 4.7.2). */
export class BrokersOwnTopic extends PublishRefused {
	constructor() {
		super(ReasonCode.TopicNameInvalid, "topics that begin with $ are the broker's own");
	}
}

/** What a destination is made of. */
interface Prepared {
	/** The MQTT topic published to. */
	readonly text: string;
	readonly routed: Routed;
	/** Undefined: nothing is stored. */
	readonly stored: Topic | undefined;
	readonly generation: number;
	/** Itself one of those that a publish is copied to. */
	readonly isCopy: boolean;
	readonly copies: readonly Destination[];
}

export class Destination {
	/** The MQTT topic published to, as text and as the packet carries it. */
	readonly text: string;
	readonly bytes: Buffer;
	/** The MQTT topic that subscribers see. */
	readonly topic: string;
	readonly topicBytes: Buffer;
	/**
	 * A QoS 1 publish without RETAIN and properties is one record with `keyBlock` and `headersBlock`, in `partition`, at its
	 * arrival, whatever its payload; nothing else has to be looked at.
	 */
	readonly plain: boolean;
	readonly keyBlock: Uint8Array;
	/** Headers of a QoS 1 publish without properties. */
	readonly headersBlock: Buffer;
	/** Of the destinations' owner: older ones are not used again. */
	readonly generation: number;
	/** What else the routes make of a publish, each with a destination of its own. */
	readonly copies: readonly Destination[];
	/** What of it waits for the payload; undefined: neither key, headers nor timestamp. */
	readonly waiting: Routed | undefined;
	/** Undefined: the event is stored nowhere. */
	readonly stored: Topic | undefined;
	readonly dropsUnderPressure: boolean;
	readonly #partition: Partition | undefined;
	readonly #headers: readonly RecordHeader[];
	#qos0: Buffer | undefined;
	#qos2: Buffer | undefined;

	constructor({ text, routed, stored, generation, isCopy, copies }: Prepared) {
		this.text = text;
		this.bytes = Buffer.from(text, "utf8");
		this.topic = routed.rewritten ?? text;
		this.topicBytes = routed.rewritten === undefined ? this.bytes : Buffer.from(this.topic, "utf8");
		this.stored = stored;
		this.generation = generation;
		this.copies = copies;
		this.waiting = needsPayload(routed) ? routed : undefined;
		this.dropsUnderPressure = routed.dropsUnderPressure;
		this.plain = stored !== undefined && this.waiting === undefined && copies.length === 0;
		const key = typeof routed.key === "string" ? Buffer.from(routed.key, "utf8") : undefined;
		this.#partition = stored === undefined ? undefined : this.partitionOf(key);
		this.keyBlock = key === undefined ? NULL_KEY_BLOCK : encodeKeyBlock(key);
		const headers: RecordHeader[] = [{ key: TOPIC_HEADER, value: this.topicBytes }];
		if (routed.rewritten !== undefined) headers.push({ key: ORIGINAL_TOPIC_HEADER, value: this.bytes });
		if (isCopy) headers.push({ key: COPY_HEADER, value: Buffer.from("1") });
		for (const [name, value] of routed.headers) {
			if (typeof value === "string") headers.push({ key: name, value: Buffer.from(value, "utf8") });
		}
		this.#headers = headers;
		this.headersBlock = encodeHeadersBlock(headers);
	}

	/** Whether it is the destination of the topic in bytes[start..end); hot path. */
	isFor(bytes: Buffer, start: number, end: number): boolean {
		const { bytes: own } = this;
		const length = end - start;
		if (own.length !== length) return false;
		// From the end: names of one fleet begin alike.
		for (let i = length - 1; i >= 0; i--) if (own[i] !== bytes[start + i]) return false;
		return true;
	}

	/** Where records without a key of their payload's go. Only of what is stored. */
	get partition(): Partition {
		return this.#partition!;
	}

	/** Without a key the MQTT topic decides: its events stay in order [MQTT-4.6.0-5]. Only of what is stored. */
	partitionOf(key: Buffer | undefined): Partition {
		return pickPartition(this.stored!, key ?? this.topicBytes);
	}

	/** The headers of any publish; `more` are those of its payload. */
	headersBlockFor(
		qos: Qos,
		retain: boolean,
		properties: Properties | undefined,
		clientId: string | undefined,
		more?: readonly RecordHeader[],
	): Buffer {
		if (!retain && properties === undefined && clientId === undefined && more === undefined) {
			if (qos === 1) return this.headersBlock;
			if (qos === 0) {
				this.#qos0 ??= this.#encode(qos, false, undefined, undefined, undefined);
				return this.#qos0;
			}
			this.#qos2 ??= this.#encode(qos, false, undefined, undefined, undefined);
			return this.#qos2;
		}
		return this.#encode(qos, retain, properties, clientId, more);
	}

	#encode(
		qos: Qos,
		retain: boolean,
		properties: Properties | undefined,
		clientId: string | undefined,
		more: readonly RecordHeader[] | undefined,
	): Buffer {
		const headers = more === undefined ? [...this.#headers] : [...this.#headers, ...more];
		if (qos !== 1) headers.push({ key: QOS_HEADER, value: Buffer.from(String(qos)) });
		if (retain) headers.push({ key: RETAIN_HEADER, value: Buffer.from("1") });
		if (clientId !== undefined) headers.push({ key: CLIENT_HEADER, value: Buffer.from(clientId) });
		if (properties !== undefined) headers.push(...headersOfProperties(properties));
		return encodeHeadersBlock(headers);
	}
}

function needsPayload({ key, headers, timestampSlot }: Routed): boolean {
	const isFixed = (value: Filled | undefined) => value === undefined || typeof value === "string";
	return timestampSlot >= 0 || !isFixed(key) || headers.some(([, value]) => !isFixed(value));
}

const CACHE_ENTRIES = 16_384;
/** Topic, key and headers, as text and as bytes. */
const DESTINATION_WEIGHT = 8;

export class Destinations {
	/** Counts changes of the topics; a Destination of another generation is stale. */
	generation = 0;
	readonly #broker: Broker;
	readonly #routes: Routes;
	readonly #cache = new BoundedCache<Destination>(CACHE_ENTRIES);

	constructor(broker: Broker, routes: Routes) {
		this.#broker = broker;
		this.#routes = routes;
	}

	/** To be called when topics were made, changed or deleted. */
	topicsChanged(): void {
		this.generation++;
		this.#cache.clear();
	}

	/** Throws PublishRefused, or BrokerError when the routed topic cannot be made. `text` is a valid topic name. */
	of(text: string): Destination {
		return this.#cache.get(text, DESTINATION_WEIGHT) ?? this.#resolve(text);
	}

	#resolve(text: string): Destination {
		const [first, ...others] = this.#routes.routesOf(text);
		if (first === undefined) {
			if (text.startsWith("$")) throw new BrokersOwnTopic();
			throw new PublishRefused(ReasonCode.TopicNameInvalid, "no route takes this topic");
		}
		// A copy is for who reads the topic it is in; where nothing is stored there is nobody.
		const copied = others.filter(({ topic }) => topic !== undefined);
		for (const { rewritten } of [first, ...copied]) {
			if (rewritten !== "") continue;
			throw new PublishRefused(ReasonCode.TopicNameInvalid, "what the route rewrites this topic to is no topic name");
		}
		// Made before anything refers to them: each topic that is made takes the generation with it.
		const topics = [first, ...copied].map(({ topic }) => (topic === undefined ? undefined : this.#topic(topic)));
		const { generation } = this;
		const copies = copied.map(
			(routed, i) => new Destination({ text, routed, stored: topics[i + 1], generation, isCopy: true, copies: [] }),
		);
		const destination = new Destination({ text, routed: first, stored: topics[0], generation, isCopy: false, copies });
		this.#cache.set(text, destination, DESTINATION_WEIGHT);
		return destination;
	}

	#topic(name: string): Topic {
		const { topics } = this.#broker;
		return topics.get(name) ?? topics.create({ name, ifNotExists: true });
	}
}

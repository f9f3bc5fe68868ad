/**
 * Destinations: for each MQTT topic that is published to, everything an append needs, prepared once: partition, key and
 * headers as bytes. Kept in a bounded cache, thrown away when topics change.
 */
import type { Broker } from "../../src/broker/broker.ts";
import { pickPartition } from "../../src/broker/pick-partition.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { RecordHeader } from "../../src/record/batch.ts";
import { encodeHeadersBlock, encodeKeyBlock, NULL_KEY_BLOCK } from "../../src/record/builder.ts";
import { BoundedCache } from "./bounded-cache.ts";
import type { Properties, Qos } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { CLIENT_HEADER, headersOfProperties, QOS_HEADER, RETAIN_HEADER, TOPIC_HEADER } from "./event-headers.ts";
import type { Routes } from "./routes.ts";

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

export class Destination {
	/** The MQTT topic, as text and as the packet carries it. */
	readonly text: string;
	readonly bytes: Buffer;
	readonly partition: Partition;
	readonly keyBlock: Uint8Array;
	/** Headers of a QoS 1 publish without properties. */
	readonly headersBlock: Buffer;
	/** Of the destinations' owner: older ones are not used again. */
	readonly generation: number;
	readonly #headers: readonly RecordHeader[];
	#qos0: Buffer | undefined;
	#qos2: Buffer | undefined;

	constructor(
		text: string,
		partition: Partition,
		keyBlock: Uint8Array,
		headers: readonly RecordHeader[],
		generation: number,
	) {
		this.text = text;
		this.bytes = headers[0]!.value!;
		this.partition = partition;
		this.keyBlock = keyBlock;
		this.#headers = headers;
		this.headersBlock = encodeHeadersBlock(headers);
		this.generation = generation;
	}

	/** The headers of any other publish. */
	headersBlockFor(qos: Qos, retain: boolean, properties: Properties | undefined, clientId: string | undefined): Buffer {
		if (!retain && properties === undefined && clientId === undefined) {
			if (qos === 1) return this.headersBlock;
			if (qos === 0) {
				this.#qos0 ??= this.#encode(qos, false, undefined, undefined);
				return this.#qos0;
			}
			this.#qos2 ??= this.#encode(qos, false, undefined, undefined);
			return this.#qos2;
		}
		return this.#encode(qos, retain, properties, clientId);
	}

	#encode(qos: Qos, retain: boolean, properties: Properties | undefined, clientId: string | undefined): Buffer {
		const headers = [...this.#headers];
		if (qos !== 1) headers.push({ key: QOS_HEADER, value: Buffer.from(String(qos)) });
		if (retain) headers.push({ key: RETAIN_HEADER, value: Buffer.from("1") });
		if (clientId !== undefined) headers.push({ key: CLIENT_HEADER, value: Buffer.from(clientId) });
		if (properties !== undefined) headers.push(...headersOfProperties(properties));
		return encodeHeadersBlock(headers);
	}
}

const CACHE_ENTRIES = 16_384;

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
		return this.#cache.get(text) ?? this.#resolve(text);
	}

	#resolve(text: string): Destination {
		const routed = this.#routes.route(text);
		if (routed === undefined) {
			if (text.startsWith("$")) throw new BrokersOwnTopic();
			throw new PublishRefused(ReasonCode.TopicNameInvalid, "no route takes this topic");
		}
		const { topics } = this.#broker;
		const topic = topics.get(routed.topic) ?? topics.create({ name: routed.topic, ifNotExists: true });
		const bytes = Buffer.from(text, "utf8");
		const key = routed.key === undefined ? undefined : Buffer.from(routed.key, "utf8");
		const destination = new Destination(
			text,
			// Without a key the MQTT topic decides: its events stay in order [MQTT-4.6.0-5].
			pickPartition(topic, key ?? bytes),
			key === undefined ? NULL_KEY_BLOCK : encodeKeyBlock(key),
			[
				{ key: TOPIC_HEADER, value: bytes },
				...routed.headers.map(([name, value]) => ({ key: name, value: Buffer.from(value, "utf8") })),
			],
			this.generation,
		);
		this.#cache.set(text, destination);
		return destination;
	}
}

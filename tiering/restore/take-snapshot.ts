/**
 * Takes a snapshot (snapshot.ts) of a running broker: topics, and of the state what stays true when the newest records are gone.
 * In slices, between which others get their turn; so it is of no one instant, which does no harm: each row is true for itself.
 *
 * Not in it is what tells of records that may not come back. Producers' sequences would take a batch that is sent again for
 * stored when it is lost; so would transactions, and the positions of MQTT sessions and shared subscriptions lie in records that
 * are given to somebody else.
 */
import type { Broker } from "../../src/broker/broker.ts";
import type { Topic } from "../../src/broker/topics.ts";
import { keyBehind } from "../../src/log/key-order.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { endLine, headLine, metaLine, partitionLine, rowLine, type SnapshotHead, topicLine } from "./snapshot.ts";

/** In the order in which they are given room. A group's row comes before its offsets, which are worth nothing without it. */
export const SNAPSHOT_SPACES: readonly number[] = [
	StateSpace.KAFKA_PRODUCER_IDS,
	StateSpace.KAFKA_GROUP,
	StateSpace.KAFKA_OFFSET,
	StateSpace.MQTT_RETAINED,
	StateSpace.DOWNLINK,
];

/** Of the catalog: Kafka's clients know a cluster by its id. */
export const SNAPSHOT_META: readonly string[] = ["kafka.cluster.id"];

export interface TakenSnapshot {
	readonly bytes: Buffer;
	/** Another one when there is something new in it that no record tells. */
	readonly hash: number;
}

/** Topics are in it whatever they take; rows of state while all of it is less than this. */
const BYTES_MAX = 8 * 1024 * 1024;
/** What one slice does: well below a millisecond. */
const PARTITIONS_AT_ONCE = 128;
const ROWS_AT_ONCE = 128;
const ROW_BYTES_AT_ONCE = 32 * 1024;

/** `bytesMax`: for tests. */
export function takeSnapshot(broker: Broker, head: SnapshotHead, bytesMax = BYTES_MAX): Promise<TakenSnapshot> {
	return new Taking(broker, bytesMax).take(head);
}

class Taking {
	readonly #broker: Broker;
	readonly #bytesMax: number;
	readonly #slices: Buffer[] = [];
	/** Of the slice under way. */
	#text = "";
	#lines = 0;
	#bytes = 0;
	#hash = 0;

	constructor(broker: Broker, bytesMax: number) {
		this.#broker = broker;
		this.#bytesMax = bytesMax;
	}

	async take(head: SnapshotHead): Promise<TakenSnapshot> {
		this.#add(headLine(head));
		for (const key of SNAPSHOT_META) {
			const value = this.#broker.catalog.getMeta(key);
			if (value !== undefined) this.#addHashed(metaLine(key, value));
		}
		for (const { id } of this.#broker.topics.list()) {
			// Deleted meanwhile, or with more partitions.
			const topic = this.#broker.topics.getById(id);
			if (topic !== undefined) await this.#topic(topic);
		}
		const leftOut = new Map<number, string>();
		for (const space of SNAPSHOT_SPACES) {
			const key = await this.#rows(space);
			if (key !== undefined) leftOut.set(space, key);
		}
		this.#add(endLine(this.#lines, leftOut));
		this.#endSlice();
		return { bytes: Buffer.concat(this.#slices), hash: this.#hash };
	}

	async #topic(topic: Topic): Promise<void> {
		this.#addHashed(topicLine(topic));
		for (const partition of topic.partitions) {
			const { id, number, logStartOffset, tieredOffset, highWatermark, epochs } = partition;
			const places = { id, number, logStartOffset, epochs: epochs.list };
			// How far the records go they tell themselves.
			this.#count(partitionLine({ ...places, tieredOffset: 0, endOffset: 0 }));
			this.#add(partitionLine({ ...places, tieredOffset, endOffset: highWatermark }));
			if (this.#lines % PARTITIONS_AT_ONCE === 0) await this.#yield();
		}
	}

	/** Returns the key of the first row that has no room. */
	async #rows(space: number): Promise<string | undefined> {
		for (let from = ""; ; ) {
			const rows = this.#broker.log.pageState(space, from, undefined, ROWS_AT_ONCE, ROW_BYTES_AT_ONCE);
			for (const [key, value] of rows) {
				const line = rowLine(space, key, value);
				if (this.#bytes + Buffer.byteLength(line) >= this.#bytesMax) return key;
				this.#addHashed(line);
				from = keyBehind(key);
			}
			if (rows.length === 0) return undefined;
			await this.#yield();
		}
	}

	#addHashed(line: string): void {
		this.#count(line);
		this.#add(line);
	}

	#count(line: string): void {
		this.#hash = crc32c(Buffer.from(`${line}\n`), undefined, undefined, this.#hash);
	}

	#add(line: string): void {
		this.#text += `${line}\n`;
		this.#lines += 1;
		this.#bytes += Buffer.byteLength(line) + 1;
	}

	#yield(): Promise<void> {
		this.#endSlice();
		return new Promise((resolve) => this.#broker.clock.soon(resolve));
	}

	#endSlice(): void {
		this.#slices.push(Buffer.from(this.#text));
		this.#text = "";
	}
}

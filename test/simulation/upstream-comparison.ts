/** What is committed in the model of the central cluster in the end, beside what is stored here: each record once, in the order of its key. */
import type { Clock } from "../../src/base/clock.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { KafkaModel } from "./kafka-cluster/kafka-model.ts";
import { Violation } from "./log-model.ts";
import type { UpstreamBook } from "./upstream-book.ts";
import { BOOKED, COMPARED, GATEWAY, SMALL_BYTES } from "./upstream-topics.ts";
import type { World } from "./world.ts";

export interface ComparisonOptions {
	readonly world: World;
	readonly model: KafkaModel;
	readonly clock: Clock;
	readonly book: UpstreamBook;
	readonly tally: { arrived: number; aside: number; ledger: number };
	/** Topics there that got more partitions: a key's records may be in two of them. */
	readonly grown: ReadonlySet<string>;
	readonly isExact: boolean;
}

export class UpstreamComparison {
	readonly #options: ComparisonOptions;

	constructor(options: ComparisonOptions) {
		this.#options = options;
	}

	async run(): Promise<void> {
		const { partitions: observed } = await this.#observe();
		const quarantined = new Set(observed.get("__headwater_quarantine-0")?.map(({ origin }) => origin) ?? []);
		for (const topic of BOOKED) this.#compareBooked(topic);
		for (const topic of COMPARED) {
			const here: string[] = [];
			const aside: string[] = [];
			for (const [name, records] of observed) {
				if (name.replace(/-\d+$/, "") !== topic) continue;
				for (const { line, place } of records) (quarantined.has(place) ? aside : here).push(line);
			}
			this.#compareTopic(topic, here, aside);
			for (const line of aside) {
				const [, bytes, timestamp] = line.slice(line.indexOf("=") + 1).split(" ");
				const isUnwanted =
					topic === "small" ? Number(bytes) > SMALL_BYTES / 2 : Number(timestamp) > this.#options.clock.now();
				if (!isUnwanted) throw new Violation(`${topic}: ${line} is in quarantine for nothing`);
				this.#options.tally.aside++;
			}
		}
	}

	/** Records of a topic of which some are gone, here or there. */
	#compareBooked(topic: string): void {
		const name = `${GATEWAY}.${topic}`;
		const there = new Map<string, number>();
		for (const index of (this.#options.model.topics.get(name)?.partitions ?? []).keys())
			for (const { value } of this.#options.model.committed(name, index))
				there.set(String(value), (there.get(String(value)) ?? 0) + 1);
		const { present, past } = this.#options.book.of(topic);
		for (const [line, count] of there) {
			if (count > 1 && this.#options.isExact) throw new Violation(`${topic}: ${line} is there ${count} times`);
			if (!present.has(line) && !past.has(line)) throw new Violation(`${topic}: ${line} is there and was never stored`);
		}
		const missing = [...present].filter((line) => !there.has(line));
		const losses = this.#options.world.broker.catalog.losses().filter((loss) => loss.topic === topic);
		const lost = topic === "kept" ? losses.reduce((sum, { count }) => sum + count, 0) : 0;
		this.#options.tally.ledger += lost;
		if (missing.length > lost)
			throw new Violation(
				`${topic}: ${missing.length} records are missing there, ${lost} in the ledger: ${missing[0]}`,
			);
	}

	#compareTopic(topic: string, here: readonly string[], aside: readonly string[]): void {
		const name = `${GATEWAY}.${topic}`;
		const there = new Map<string, number>();
		const order = new Map<string, string[]>();
		for (const index of (this.#options.model.topics.get(name)?.partitions ?? []).keys())
			for (const { key, value, timestamp, headers } of this.#options.model.committed(name, index)) {
				const line = lineOf(key, value as Buffer, timestamp, headers);
				there.set(line, (there.get(line) ?? 0) + 1);
				if (key !== null) order.set(String(key), [...(order.get(String(key)) ?? []), line]);
			}
		for (const line of here) {
			const count = there.get(line) ?? 0;
			if (count === 0) throw new Violation(`${topic}: ${line} is stored here and not there`);
			if (count > 1 && this.#options.isExact) throw new Violation(`${topic}: ${line} is there ${count} times`);
			there.delete(line);
			this.#options.tally.arrived++;
		}
		for (const line of there.keys())
			throw new Violation(
				`${topic}: ${line} is there and ${aside.includes(line) ? "in quarantine" : "not stored"} here`,
			);
		if (!this.#options.isExact || topic === "live" || this.#options.grown.has(topic)) return;
		const expected = new Map<string, string[]>();
		for (const line of here) {
			const [key = ""] = line.split("=");
			if (key !== "null") expected.set(key, [...(expected.get(key) ?? []), line]);
		}
		for (const [key, lines] of expected)
			if (lines.join() !== order.get(key)?.join()) throw new Violation(`${topic}: key ${key} is out of order there`);
	}

	async #observe(): Promise<{
		partitions: Map<string, { line: string; place: string; origin: string }[]>;
	}> {
		const partitions = new Map<string, { line: string; place: string; origin: string }[]>();
		for (const { name, partitions: list } of this.#options.world.broker.topics.list())
			for (const partition of list) {
				const records = await this.#options.world.finish(visibleRecords(partition), 5000);
				partitions.set(
					`${name}-${partition.number}`,
					records.map(({ offset, key, value, timestamp, headers }) => {
						const header = (wanted: string) => String(headers.find((each) => each.key === wanted)?.value);
						return {
							line: lineOf(key, value ?? Buffer.alloc(0), timestamp, headers),
							place: `${name}-${partition.number}@${offset}`,
							origin: `${header("headwater.topic")}-${header("headwater.partition")}@${header("headwater.offset")}`,
						};
					}),
				);
			}
		return { partitions };
	}
}

function lineOf(
	key: Buffer | null,
	value: Buffer,
	timestamp: number,
	headers: readonly { readonly key: string; readonly value: Buffer | null }[],
): string {
	return `${key}=${value.toString().slice(0, 30)} ${value.length} ${timestamp} ${headers.map(({ key }) => key).join()}`;
}

/** What everybody may read, in order. */
async function visibleRecords(partition: Partition) {
	const { decodeRecords, readBatchHeader } = await import("../../src/record/batch.ts");
	const records = [];
	for (let offset = partition.logStartOffset; offset < partition.lastStableOffset; ) {
		const bytes = await partition.read(offset, 65_536);
		if (bytes.length === 0) break;
		for (let position = 0; position < bytes.length; ) {
			const header = readBatchHeader(bytes, position);
			if (partition.isVisible(header))
				records.push(...decodeRecords(bytes, position).filter((record) => record.offset >= offset));
			position += header.sizeBytes;
			offset = Math.max(offset, header.lastOffset + 1);
		}
	}
	return records;
}

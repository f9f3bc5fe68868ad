/**
 * The bytes of a snapshot: what a gateway has beside its records, as the bundles carry it (docs/bundle-format.md). Lines of
 * JSON, so that it can be read without this program:
 *
 *     {"snapshot":1,"gateway":...,"incarnation":...,"takenMs":...,"writer":...,"scheduleMs":...}
 *     {"meta":KEY,"value":...}                                  of the catalog, as it is there
 *     {"topic":UUID,"name":...,"createdMs":...,"config":{...}}  each topic, and behind it
 *     {"partition":0,"id":1,"start":0,"tiered":90,"end":100}    each of its partitions, by number
 *     {"space":15,"key":...,"value":BASE64}                     rows of state (docs/disk-format.md)
 *     {"lines":6,"leftOut":{"4":"a/b"}}                         the last: lines before it; rows of a space from a key on that had no room
 *
 * A partition with other leader epochs than 0 has "epochs":[{"epoch":0,"startOffset":0},...] too.
 */
import { BrokerError, DamageError } from "../../src/base/errors.ts";
import { type LeaderEpoch, LeaderEpochs } from "../../src/log/leader-epochs.ts";
import { JsonFields, parseBoundedJson } from "../bundle/json-fields.ts";

export interface SnapshotHead {
	readonly gateway: string;
	readonly incarnation: number;
	readonly takenMs: number;
	/** Name and version of the software; for people. */
	readonly writer: string;
	/** How far apart uploads are, milliseconds: who hears nothing for much longer may take the gateway for dead. */
	readonly scheduleMs: number;
}

export interface SnapshotPartition {
	readonly id: number;
	readonly number: number;
	readonly logStartOffset: number;
	/** Records before it are in older bundles than this. */
	readonly tieredOffset: number;
	/** Of what was durable. */
	readonly endOffset: number;
	/** As in LeaderEpochs. */
	readonly epochs: readonly LeaderEpoch[];
}

export interface SnapshotTopic {
	readonly id: string;
	readonly name: string;
	readonly createdMs: number;
	readonly config: Readonly<Record<string, string>>;
	/** By number. */
	readonly partitions: readonly SnapshotPartition[];
}

/** A row of the log's state table. */
export interface SnapshotRow {
	readonly space: number;
	readonly key: string;
	readonly value: Buffer;
}

export interface Snapshot extends SnapshotHead {
	/** Of the catalog. */
	readonly meta: ReadonlyMap<string, string>;
	readonly topics: readonly SnapshotTopic[];
	readonly rows: readonly SnapshotRow[];
	/** By space: rows from this key on had no room. */
	readonly leftOut: ReadonlyMap<number, string>;
}

const FORMAT = 1;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const EPOCH_MAX = 0x7fffffff;

export function headLine(head: SnapshotHead): string {
	const { gateway, incarnation, takenMs, writer, scheduleMs } = head;
	return JSON.stringify({ snapshot: FORMAT, gateway, incarnation, takenMs, writer, scheduleMs });
}

export function metaLine(key: string, value: string): string {
	return JSON.stringify({ meta: key, value });
}

export function topicLine({ id, name, createdMs, config }: Omit<SnapshotTopic, "partitions">): string {
	return JSON.stringify({ topic: id, name, createdMs, config });
}

/** Of partitions with only epoch 0 there is nothing to say about epochs. */
export function partitionLine(partition: SnapshotPartition): string {
	const { number, id, logStartOffset: start, tieredOffset: tiered, endOffset: end } = partition;
	const [first, second] = partition.epochs;
	const hasOthers = first?.epoch !== 0 || second !== undefined;
	return JSON.stringify({
		partition: number,
		id,
		start,
		tiered,
		end,
		...(hasOthers ? { epochs: partition.epochs } : {}),
	});
}

export function rowLine(space: number, key: string, value: Uint8Array): string {
	const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	return JSON.stringify({ space, key, value: bytes.toString("base64") });
}

/** `lines`: how many there are before it. */
export function endLine(lines: number, leftOut: ReadonlyMap<number, string>): string {
	return JSON.stringify({ lines, leftOut: Object.fromEntries(leftOut) });
}

/**
 * `name`: of the object that it is from. Throws DamageError where it is not whole and sound, with `position` in `bytes`; and
 * BrokerError (UNSUPPORTED_VERSION) where its format is a later one.
 */
export function decodeSnapshot(bytes: Buffer, name: string): Snapshot {
	return new Decoder(bytes, name).decode();
}

class Decoder {
	readonly #bytes: Buffer;
	readonly #name: string;
	/** Where the line begins that is being decoded. */
	#at = 0;
	#next = 0;
	#lines = 0;
	readonly #known = new Set<string | number>();

	constructor(bytes: Buffer, name: string) {
		this.#bytes = bytes;
		this.#name = name;
	}

	decode(): Snapshot {
		const head = this.#head(this.#line());
		const topics: (SnapshotTopic & { readonly partitions: SnapshotPartition[] })[] = [];
		const meta = new Map<string, string>();
		const rows: SnapshotRow[] = [];
		for (;;) {
			const line = this.#line();
			if (line.has("lines")) return { ...head, meta, topics, rows, leftOut: this.#end(line) };
			if (line.has("meta")) meta.set(line.text("meta"), line.text("value"));
			else if (line.has("topic")) topics.push(this.#topic(line));
			else if (line.has("partition")) {
				const partitions = topics.at(-1)?.partitions;
				if (partitions === undefined) throw this.#damage("a partition without a topic");
				partitions.push(this.#partition(line, partitions.length));
			} else if (line.has("space")) rows.push(this.#row(line));
			else throw this.#damage("a line of no known kind");
		}
	}

	#line(): JsonFields {
		this.#at = this.#next;
		const end = this.#bytes.indexOf(0x0a, this.#at);
		if (end < 0) throw this.#damage("it is cut short");
		this.#next = end + 1;
		this.#lines += 1;
		const fail = (what: string) => this.#damage(what);
		return new JsonFields(parseBoundedJson(this.#bytes.subarray(this.#at, end), fail), "", fail);
	}

	#head(line: JsonFields): SnapshotHead {
		const format = line.integer("snapshot", 1);
		if (format > FORMAT)
			throw new BrokerError(
				"UNSUPPORTED_VERSION",
				`the snapshot in ${this.#name} is of format ${format}; this program knows formats up to ${FORMAT}: use a newer one`,
			);
		return {
			gateway: line.text("gateway"),
			incarnation: line.integer("incarnation", 1),
			takenMs: line.integer("takenMs"),
			writer: line.text("writer"),
			scheduleMs: line.integer("scheduleMs"),
		};
	}

	#topic(line: JsonFields): SnapshotTopic & { readonly partitions: SnapshotPartition[] } {
		const [id, name] = [line.text("topic", UUID), line.text("name")];
		this.#once(line, "topic", id);
		this.#once(line, "name", `name ${name}`);
		return { id, name, createdMs: line.integer("createdMs"), config: line.texts("config"), partitions: [] };
	}

	#partition(line: JsonFields, number: number): SnapshotPartition {
		line.integer("partition", number, number);
		const id = line.integer("id", 1);
		this.#once(line, "id", id);
		const logStartOffset = line.integer("start");
		const tieredOffset = line.integer("tiered");
		const endOffset = line.integer("end", Math.max(logStartOffset, tieredOffset));
		return { id, number, logStartOffset, tieredOffset, endOffset, epochs: this.#epochs(line) };
	}

	#epochs(line: JsonFields): readonly LeaderEpoch[] {
		if (!line.has("epochs")) return LeaderEpochs.FIRST.list;
		const epochs = line.objects("epochs").map((each) => ({
			epoch: each.integer("epoch", 0, EPOCH_MAX),
			startOffset: each.integer("startOffset"),
		}));
		try {
			return LeaderEpochs.of(epochs).list;
		} catch (error) {
			throw line.wrong("epochs", (error as Error).message);
		}
	}

	#row(line: JsonFields): SnapshotRow {
		const text = line.text("value");
		const value = Buffer.from(text, "base64");
		// What is no base64 is passed over there.
		if (value.toString("base64") !== text) throw line.wrong("value", "it is no base64");
		return { space: line.integer("space", 1), key: line.text("key"), value };
	}

	#end(line: JsonFields): Map<number, string> {
		line.integer("lines", this.#lines - 1, this.#lines - 1);
		if (this.#next !== this.#bytes.length) throw this.#damage("something follows the last line");
		return new Map(Object.entries(line.texts("leftOut")).map(([space, key]) => [Number(space), key]));
	}

	#once(line: JsonFields, member: string, value: string | number): void {
		if (this.#known.has(value)) throw line.wrong(member, "it is there twice");
		this.#known.add(value);
	}

	#damage(what: string): DamageError {
		return new DamageError(this.#name, this.#at, `the snapshot: ${what}`);
	}
}

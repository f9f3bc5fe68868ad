/** The local partitions that are on their way to the central cluster: which, where each stands, and which have something to send. */
import type { Clock } from "../../src/base/clock.ts";
import { fitsTopic } from "../../src/base/topic-pattern.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Topic } from "../../src/broker/topics.ts";
import type { UpstreamProblem } from "../../src/broker/upstream-admin.ts";
import type { UpstreamTopicRule } from "../../src/config/definition.ts";
import type { Partition, Watcher } from "../../src/log/partition.ts";
import type { LocalRows, PositionRow } from "./local-rows.ts";
import { type Gap, lowestOf, type Position, positionAt, runOf, trim } from "./position.ts";
import { type Sent, sentKey } from "./progress/progress-record.ts";

/** Until one was sent: of a record as it is stored, in bytes. */
const RECORD_BYTES = 100;
/** Who sends so many at a time looks for a bad record no longer. */
const RECORDS_MANY = 100_000;

/** A local topic on its way. */
export class Flow {
	readonly topic: Topic;
	readonly rule: UpstreamTopicRule;
	/** Its name in the central cluster. */
	readonly to: string;
	sources: Source[] = [];
	/** In the way of the whole topic. `retryAtMs`, by the monotonic clock: when to try again; undefined: a person has to do something. */
	problem: (UpstreamProblem & { readonly retryAtMs: number | undefined }) | undefined;
	/** While a batch is refused, and it is not said for which record. */
	recordsMax = Number.POSITIVE_INFINITY;
	/** What the central topic takes of a batch before compression, as far as it is known. */
	batchBytesMax = Number.POSITIVE_INFINITY;
	/** Of a stored record, roughly. */
	recordBytes = RECORD_BYTES;
	/** Since the process started. */
	readonly counters = { records: 0, bytes: 0, quarantined: 0, lost: 0 };

	constructor(topic: Topic, rule: UpstreamTopicRule, to: string) {
		this.topic = topic;
		this.rule = rule;
		this.to = to;
	}

	/** So many offsets of it, of records of so many bytes, where there were any. */
	arrived(offsets: number, recordBytes: number | undefined): void {
		this.counters.records += offsets;
		this.counters.bytes += offsets * this.recordBytes;
		this.recordsMax = this.recordsMax < RECORDS_MANY ? this.recordsMax * 2 : Number.POSITIVE_INFINITY;
		if (recordBytes !== undefined) this.recordBytes = (this.recordBytes * 3 + recordBytes) / 4;
	}
}

/** A local partition on its way. */
export class Source implements Watcher {
	readonly flow: Flow;
	readonly partition: Partition;
	readonly #changed: (source: Source) => void;
	/** What the central cluster has, as far as it is known. */
	position: Position;
	/** Which topic there has it. */
	sent: PositionRow["sent"];
	/** Whether `position` is what the central cluster said, in this run of the program. */
	isJudged = false;
	/** Since when there is something to send, by the monotonic clock; undefined: there is nothing. */
	readySinceMs: number | undefined;
	/** Nothing is read before, by the monotonic clock: the object store, or the disk, could not give it. */
	retryAtMs = 0;
	/** Offsets that the central cluster does not want, and that are in the quarantine; undefined: not looked up yet. */
	excluded: Set<number> | undefined;
	/** The central cluster has more than there is here: its progress is not taken over. */
	isAhead = false;
	/** `position` is not yet in its row. */
	isDirty = false;
	isGone = false;

	constructor(flow: Flow, partition: Partition, row: PositionRow, changed: (source: Source) => void) {
		this.flow = flow;
		this.partition = partition;
		this.position = row.position;
		this.sent = row.sent;
		this.#changed = changed;
		partition.watch(this);
	}

	/** What is to be sent next, if `position` is where it stands. */
	run(position = this.position): Gap | undefined {
		return runOf(position, this.partition.lastStableOffset, this.flow.rule.order);
	}

	advanced(): void {
		this.#changed(this);
	}

	closed(): void {
		this.isGone = true;
	}

	leave(): void {
		this.isGone = true;
		this.partition.unwatch(this);
	}
}

export class Sources {
	readonly flows = new Map<string, Flow>();
	/** By partition id. */
	readonly #sources = new Map<number, Source>();
	/** With something to send, who waited longest first. */
	readonly ready = new Set<Source>();
	readonly #broker: Broker;
	readonly #rules: readonly UpstreamTopicRule[];
	readonly #rows: LocalRows;
	readonly #gatewayId: string;
	readonly #clock: Clock;
	/** Something became ready, or changed. */
	onReady: () => void = () => {};

	constructor(broker: Broker, rows: LocalRows, rules: readonly UpstreamTopicRule[], gatewayId: string) {
		this.#broker = broker;
		this.#rows = rows;
		this.#rules = rules;
		this.#gatewayId = gatewayId;
		this.#clock = broker.clock;
	}

	/** Takes its place in the partitions that there are now. Throws KAFKA_STORAGE_ERROR where that cannot be noted. */
	follow(): void {
		const known = this.#rows.session.highestPartition;
		let highest = known ?? -1;
		const present = new Set<string>();
		for (const topic of this.#broker.topics.list()) {
			for (const { id } of topic.partitions) highest = Math.max(highest, id);
			const flow = this.#flowOf(topic);
			if (flow === undefined) continue;
			present.add(topic.name);
			for (const partition of topic.partitions.slice(flow.sources.length)) this.#add(flow, partition, known);
		}
		for (const [name, flow] of this.flows) if (!present.has(name)) this.#drop(flow);
		if (highest !== known) this.#rows.change({ highestPartition: highest });
		this.onReady();
	}

	/** As `rules` have it; what has been deleted and made anew is another one. */
	#flowOf(topic: Topic): Flow | undefined {
		const known = this.flows.get(topic.name);
		if (known !== undefined) {
			if (known.topic.id === topic.id) return known;
			this.#drop(known);
		}
		const rule = this.#rules.find((each) => fitsTopic(each.topic, topic.name));
		if (rule === undefined) return undefined;
		const to = rule.to.replaceAll("{topic}", topic.name).replaceAll("{gateway}", this.#gatewayId);
		const flow = new Flow(topic, rule, to);
		this.flows.set(topic.name, flow);
		return flow;
	}

	#add(flow: Flow, partition: Partition, highestKnown: number | undefined): void {
		let row = this.#rows.position(flow.topic.id, partition.number);
		if (row === undefined) {
			const isNew = highestKnown !== undefined && partition.id > highestKnown;
			const fromStart = isNew || flow.rule.from === "earliest";
			row = {
				position: positionAt(fromStart ? partition.logStartOffset : partition.lastStableOffset),
				sent: undefined,
			};
			this.#rows.setPosition(flow.topic.id, partition.number, row);
		}
		const source = new Source(flow, partition, row, (changed) => this.look(changed));
		flow.sources.push(source);
		this.#sources.set(partition.id, source);
		// What waits since before the start has waited long enough.
		this.look(source, Number.NEGATIVE_INFINITY);
	}

	#drop(flow: Flow): void {
		for (const source of flow.sources) {
			source.leave();
			this.ready.delete(source);
			this.#sources.delete(source.partition.id);
		}
		flow.sources = [];
		this.flows.delete(flow.topic.name);
		if (this.#broker.topics.getById(flow.topic.id) === undefined) this.#rows.forget(flow.topic.id);
	}

	/** Whether it has something to send now: since when, where it has not been known yet. */
	look(source: Source, sinceMs = this.#clock.monotonic()): void {
		if (source.isGone) return;
		this.trim(source);
		if (source.run() === undefined) {
			source.readySinceMs = undefined;
			this.ready.delete(source);
			return;
		}
		if (source.readySinceMs !== undefined) return;
		source.readySinceMs = sinceMs;
		this.ready.add(source);
		this.onReady();
	}

	/**
	 * It had its turn: what it still has comes behind the others. What there was no room for (`isFull`), and a backlog, have waited
	 * for company already; what came meanwhile waits from now on.
	 */
	served(source: Source, isFull: boolean): void {
		this.ready.delete(source);
		const had = source.readySinceMs;
		source.readySinceMs = undefined;
		this.look(source, isFull || had === Number.NEGATIVE_INFINITY ? had : undefined);
	}

	/**
	 * What the central cluster says of partitions that nothing has been sent of in this run: to be noted with the next that is,
	 * so that a note is never older than the progress that it stands for.
	 */
	learn(progress: ReadonlyMap<string, Sent>): void {
		this.learnOfOthers(progress);
		for (const source of this.#sources.values()) {
			const { flow, partition, isJudged } = source;
			const sent = progress.get(sentKey(partition.topic, partition.number));
			if (isJudged || sent?.topicId !== flow.topic.id) continue;
			source.isAhead = sent.position.next > partition.lastStableOffset;
			if (source.isAhead) continue;
			source.position = sent.position;
			source.sent = { to: sent.to, toId: sent.toId };
			source.isDirty = true;
			source.readySinceMs = undefined;
			this.look(source, Number.NEGATIVE_INFINITY);
		}
	}

	/**
	 * What it says of topics that the rules leave out in this run goes into their rows at once: what this run notes of its own
	 * progress stands for theirs too, and a later run may have them again.
	 */
	learnOfOthers(progress: ReadonlyMap<string, Sent>): void {
		for (const [key, { topicId, position, to, toId }] of progress) {
			const [topic, number] = key.split("/") as [string, string];
			if (this.flows.has(topic) || this.#broker.topics.get(topic)?.id !== topicId) continue;
			this.#rows.setPosition(topicId, Number(number), { position, sent: { to, toId } });
		}
	}

	/** What is before the log's start is not there to be sent any more; whoever took it has recorded that. */
	trim(source: Source): void {
		const { position, lost } = trim(source.position, source.partition.logStartOffset);
		if (position === source.position) return;
		source.position = position;
		source.flow.counters.lost += lost;
		source.isDirty = true;
	}

	/** Whether a person has to decide about progress that is in no row: a later run has to see it too. */
	get hasUndecided(): boolean {
		for (const { isJudged, isAhead, flow } of this.#sources.values()) {
			if (isJudged) continue;
			if (isAhead || (flow.problem !== undefined && flow.problem.retryAtMs === undefined)) return true;
		}
		return false;
	}

	of(partition: Partition): Source | undefined {
		return this.#sources.get(partition.id);
	}

	*all(): Generator<Source> {
		yield* this.#sources.values();
	}

	/** For retention: the first offset that is still needed. */
	neededFrom(partition: Partition): number | undefined {
		const source = this.of(partition);
		return source === undefined ? undefined : lowestOf(source.position);
	}
}

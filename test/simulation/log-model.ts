/**
 * What the log must be, in memory and in the plainest words. Operations added without returning to
 * the event loop are one group. The groups have one order, the journal's. After a crash
 *
 * - a prefix of that order is there, each group as a whole or not at all;
 * - every acknowledged group is in that prefix;
 * - each partition's offsets are dense and its records those that were appended, bit for bit;
 * - the state table is what the prefix's operations add up to.
 */

export interface ModelRecord {
	readonly offset: number;
	readonly timestamp: number;
	readonly key: Buffer | null;
	readonly value: Buffer | null;
	readonly headers: readonly (readonly [string, Buffer | null])[];
}

export interface StateChange {
	readonly space: number;
	readonly key: string;
	/** undefined deletes. */
	readonly value: Buffer | undefined;
}

interface Group {
	readonly number: number;
	readonly appends: { readonly partition: ModelPartition; readonly record: ModelRecord }[];
	readonly state: StateChange[];
	acked: boolean;
}

export class ModelPartition {
	readonly topic: string;
	readonly number: number;
	records: ModelRecord[] = [];
	/** The first record's offset in `records`, whether or not retention has dropped it in the log. */
	readonly firstOffset = 0;
	/** Records before it may be gone: retention ran. */
	mayBeGoneBefore = 0;
	/** Records at these offsets may be gone or changed: the test damaged them. */
	readonly damaged = new Set<number>();

	constructor(topic: string, number: number) {
		this.topic = topic;
		this.number = number;
	}

	get endOffset(): number {
		return this.records.length;
	}
}

/** What a restarted log shows. */
export interface Observed {
	/** By topic name, then partition number; `undefined` for a topic that is not there. */
	partition(topic: string, number: number): ObservedPartition | undefined;
	/** `space:key` to value. */
	readonly state: ReadonlyMap<string, Buffer>;
}

export interface ObservedPartition {
	readonly logStartOffset: number;
	readonly endOffset: number;
	readonly records: readonly ModelRecord[];
}

export class Violation extends Error {
	override readonly name = "Violation";
}

export class LogModel {
	readonly topics = new Map<string, ModelPartition[]>();
	/** Not yet settled by a restart or by time; the oldest first. */
	#groups: Group[] = [];
	#nextGroup = 1;
	/** State as of the groups before `#groups`. */
	#baseState = new Map<string, Buffer>();

	createTopic(name: string, partitions: number): void {
		this.topics.set(
			name,
			Array.from({ length: partitions }, (_, number) => new ModelPartition(name, number)),
		);
	}

	deleteTopic(name: string): void {
		this.topics.delete(name);
	}

	partition(topic: string, number: number): ModelPartition {
		const partition = this.topics.get(topic)?.[number];
		if (partition === undefined) throw new Error(`the model has no ${topic}-${number}`);
		return partition;
	}

	partitions(): ModelPartition[] {
		return [...this.topics.values()].flat();
	}

	begin(): ModelGroup {
		const group: Group = { number: this.#nextGroup++, appends: [], state: [], acked: false };
		this.#groups.push(group);
		return {
			append: (partition, record) => {
				if (record.offset !== partition.endOffset) {
					throw new Violation(`${name(partition)} gave offset ${record.offset} where ${partition.endOffset} was due`);
				}
				partition.records.push(record);
				group.appends.push({ partition, record });
			},
			change: (change) => {
				group.state.push(change);
			},
			acknowledge: () => {
				group.acked = true;
			},
			isAcked: () => group.acked,
		};
	}

	/** State as a running log shows it: with every group so far. */
	state(): Map<string, Buffer> {
		return this.#stateAfter(this.#groups.length);
	}

	/** Roughly, of what was appended and is not yet acknowledged. */
	unackedBytes(): number {
		let bytes = 0;
		for (const group of this.#groups) {
			if (!group.acked) for (const { record } of group.appends) bytes += 50 + (record.value?.length ?? 0);
		}
		return bytes;
	}

	/** Compares with what a restart shows, and goes on from there. */
	restart(observed: Observed): void {
		const low = this.#mustBeThere(observed);
		const high = this.#mayBeThere(observed, low);
		let kept = -1;
		for (let count = high; count >= low && kept < 0; count--) {
			if (sameState(this.#stateAfter(count), observed.state)) kept = count;
		}
		if (kept < 0) {
			throw new Violation(
				`the state table is not what ${low === high ? low : `${low} to ${high}`} groups add up to: ` +
					difference(this.#stateAfter(high), observed.state),
			);
		}
		this.#baseState = this.#stateAfter(kept);
		for (const group of this.#groups.slice(kept)) {
			for (const { partition, record } of group.appends)
				partition.records.length = Math.min(partition.records.length, record.offset);
		}
		this.#groups = [];
		for (const partition of this.partitions()) checkRecords(partition, observed);
	}

	/** The shortest prefix that explains what is there: all that was acknowledged, and all whose records are seen. */
	#mustBeThere(observed: Observed): number {
		let low = 0;
		this.#groups.forEach((group, i) => {
			const seen = this.#seen(group, observed);
			const appends = group.appends.filter(({ partition }) => this.#exists(partition));
			if (group.acked && seen.length < appends.length) {
				const lost = appends.find((append) => !seen.includes(append));
				throw new Violation(`acknowledged, and lost: ${where(lost)} of group ${group.number}`);
			}
			if (seen.length > 0 && seen.length < appends.length) {
				const lost = appends.find((append) => !seen.includes(append));
				throw new Violation(`group ${group.number} is there in part: ${where(seen[0])} is, ${where(lost)} is not`);
			}
			if (group.acked || seen.length > 0) low = i + 1;
		});
		this.#groups.slice(0, low).forEach((group) => {
			const appends = group.appends.filter(({ partition }) => this.#exists(partition));
			if (appends.length > 0 && this.#seen(group, observed).length === 0) {
				throw new Violation(`group ${group.number} is missing (${where(appends[0])}) although a later one is there`);
			}
		});
		return low;
	}

	/** The longest prefix that contradicts nothing: groups behind `low` that only changed state. */
	#mayBeThere(observed: Observed, low: number): number {
		let high = low;
		for (const group of this.#groups.slice(low)) {
			const appends = group.appends.filter(({ partition }) => this.#exists(partition));
			if (appends.length > 0 && this.#seen(group, observed).length === 0) break;
			high++;
		}
		return high;
	}

	#exists(partition: ModelPartition): boolean {
		return this.topics.get(partition.topic)?.[partition.number] === partition;
	}

	#seen(group: Group, observed: Observed) {
		return group.appends.filter(({ partition, record }) => {
			if (!this.#exists(partition)) return false;
			const end = observed.partition(partition.topic, partition.number)?.endOffset ?? 0;
			return record.offset < end;
		});
	}

	#stateAfter(groups: number): Map<string, Buffer> {
		const state = new Map(this.#baseState);
		for (const group of this.#groups.slice(0, groups)) {
			for (const { space, key, value } of group.state) {
				if (value === undefined) state.delete(`${space}:${key}`);
				else state.set(`${space}:${key}`, value);
			}
		}
		return state;
	}
}

export interface ModelGroup {
	append(partition: ModelPartition, record: ModelRecord): void;
	change(change: StateChange): void;
	acknowledge(): void;
	isAcked(): boolean;
}

/** Every record that `observed` shows is the model's, and none that must be there is missing. */
export function checkRecords(partition: ModelPartition, observed: Observed): void {
	const seen = observed.partition(partition.topic, partition.number);
	if (seen === undefined) throw new Violation(`${name(partition)} is gone`);
	if (seen.endOffset !== partition.endOffset) {
		throw new Violation(`${name(partition)} ends at ${seen.endOffset} instead of ${partition.endOffset}`);
	}
	if (seen.logStartOffset > partition.mayBeGoneBefore) {
		throw new Violation(
			`${name(partition)} begins at ${seen.logStartOffset}; retention never went beyond ${partition.mayBeGoneBefore}`,
		);
	}
	compareRecords(partition, seen.records, seen.logStartOffset, seen.endOffset);
}

/** `records` must be the model's from `from` to before `to`, but for those that the test damaged. */
export function compareRecords(
	partition: ModelPartition,
	records: readonly ModelRecord[],
	from: number,
	to: number,
): void {
	let at = from;
	for (const record of records) {
		while (at < record.offset && partition.damaged.has(at)) at++;
		const expected = partition.records[at];
		if (record.offset !== at || expected === undefined) {
			throw new Violation(`${name(partition)}: offset ${record.offset} where ${at} was due`);
		}
		const what = differs(expected, record);
		if (what !== undefined)
			throw new Violation(`${name(partition)}: the ${what} of offset ${at} is not what was appended`);
		at++;
	}
	while (at < to && partition.damaged.has(at)) at++;
	if (at !== to) throw new Violation(`${name(partition)}: offsets ${at} to ${to - 1} cannot be read`);
}

function differs(expected: ModelRecord, record: ModelRecord): string | undefined {
	if (!sameBytes(expected.key, record.key)) return "key";
	if (!sameBytes(expected.value, record.value)) return "value";
	if (expected.timestamp !== record.timestamp) return `timestamp (${record.timestamp}, not ${expected.timestamp})`;
	if (expected.headers.length !== record.headers.length) return "number of headers";
	const header = expected.headers.findIndex(([key, value], i) => {
		const other = record.headers[i];
		return other === undefined || key !== other[0] || !sameBytes(value, other[1]);
	});
	return header < 0 ? undefined : `header ${header}`;
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
	return a === null || b === null ? a === b : a.equals(b);
}

function sameState(a: ReadonlyMap<string, Buffer>, b: ReadonlyMap<string, Buffer>): boolean {
	return a.size === b.size && [...a].every(([key, value]) => b.get(key)?.equals(value) === true);
}

function difference(expected: ReadonlyMap<string, Buffer>, seen: ReadonlyMap<string, Buffer>): string {
	const keys = [...new Set([...expected.keys(), ...seen.keys()])];
	const differing = keys.filter((key) => !(expected.get(key)?.equals(seen.get(key) ?? Buffer.alloc(0)) ?? false));
	const show = (value: Buffer | undefined) => (value === undefined ? "absent" : value.toString("hex").slice(0, 16));
	return differing
		.slice(0, 3)
		.map((key) => `${key} is ${show(seen.get(key))}, not ${show(expected.get(key))}`)
		.join("; ");
}

function name(partition: ModelPartition): string {
	return `${partition.topic}-${partition.number}`;
}

function where(append: { partition: ModelPartition; record: ModelRecord } | undefined): string {
	return append === undefined ? "?" : `${name(append.partition)} offset ${append.record.offset}`;
}

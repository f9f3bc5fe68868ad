/**
 * Holds a run's ledger against what is stored. It takes the records one by one, in the order in which
 * the log gives them (by offset within a partition; partitions may be mixed), and never keeps one:
 * per device it holds ranges of sequence numbers, so that millions of events verify in little memory.
 */
import { readEvent } from "./event.ts";
import type { DeviceLedger, Ledger } from "./ledger.ts";
import { SequenceSet } from "./sequence-set.ts";
import { addUp, type Counts, type DeviceVerdict, type LogVerdict } from "./verdict.ts";

export interface StoredRecord {
	readonly partition: number;
	readonly offset: number;
	readonly key: Uint8Array | null;
	readonly value: Uint8Array | null;
}

const MAX_EXAMPLES = 20;

interface DeviceFindings {
	readonly stored: SequenceSet;
	/** Copies beyond the first, by sequence number. */
	readonly extraCopies: Map<number, number>;
	partition: number;
	outOfOrder: number;
	misplaced: number;
	unknown: number;
}

export class Verifier {
	readonly #ledger: Ledger;
	readonly #nextOffsets: Map<number, number>;
	readonly #mayLeaveOut: boolean;
	readonly #findings = new Map<string, DeviceFindings>();
	readonly #partitionOfKey = new Map<string, number>();
	readonly #splitKeys = new Set<string>();
	readonly #examples: string[] = [];
	#recordsRead = 0;
	#damaged = 0;
	#offsetGaps = 0;
	#strangers = 0;

	/**
	 * @param from the offset that must come first, by partition; where it is not given, any may
	 * @param mayLeaveOut whether offsets need only rise: where transactions write, each ends in a marker, which has one
	 */
	constructor(ledger: Ledger, from: Readonly<Record<number, number>> = {}, mayLeaveOut = false) {
		this.#ledger = ledger;
		this.#mayLeaveOut = mayLeaveOut;
		this.#nextOffsets = new Map(Object.entries(from).map(([partition, offset]) => [Number(partition), offset]));
	}

	get recordsRead(): number {
		return this.#recordsRead;
	}

	/** Where to go on reading, by partition: behind the last record taken, or where it was to begin. */
	nextOffsets(): Record<number, number> {
		return Object.fromEntries(this.#nextOffsets);
	}

	take(record: StoredRecord): void {
		const { partition, offset } = record;
		this.#recordsRead++;
		const expected = this.#nextOffsets.get(partition);
		if (expected !== undefined && (this.#mayLeaveOut ? offset < expected : offset !== expected)) {
			this.#offsetGaps++;
			this.#example(`partition ${partition}: offset ${offset} where ${expected} was to follow`);
		}
		this.#nextOffsets.set(partition, offset + 1);
		const event = readEvent(record.value, this.#ledger.run);
		if (event.kind === "foreign") return;
		if (event.kind === "damaged") {
			this.#damaged++;
			this.#example(`partition ${partition} offset ${offset}: not the bytes that were sent`);
			return;
		}
		this.#checkKey(record);
		const device = this.#ledger.find(event.device);
		if (!device) {
			this.#strangers++;
			this.#example(`partition ${partition} offset ${offset}: no device of this run is called ${event.device}`);
			return;
		}
		this.#takeEvent(device, event.seq, partition, offset);
	}

	/** What is found so far; every record must have been taken for it to be the last word. */
	verdict(): LogVerdict {
		const devices = [...this.#ledger.devices()].map((device) => this.#judge(device));
		const sum = addUp(devices);
		const counts = { ...sum, unknown: sum.unknown + this.#strangers };
		const reasons = this.#reasons(counts);
		return {
			pass: reasons.length === 0,
			reasons,
			run: this.#ledger.run,
			...counts,
			recordsRead: this.#recordsRead,
			damaged: this.#damaged,
			offsetGaps: this.#offsetGaps,
			splitKeys: this.#splitKeys.size,
			examples: [...this.#lossExamples(), ...this.#examples].slice(0, MAX_EXAMPLES),
			devices,
		};
	}

	#checkKey({ partition, offset, key }: StoredRecord): void {
		// Records without a key may go anywhere.
		if (key === null) return;
		const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
		const first = this.#partitionOfKey.get(text);
		if (first === undefined) this.#partitionOfKey.set(text, partition);
		else if (first !== partition) {
			this.#splitKeys.add(text);
			this.#example(`partition ${partition} offset ${offset}: key ${text} was in partition ${first} before`);
		}
	}

	#takeEvent(device: DeviceLedger, seq: number, partition: number, offset: number): void {
		const found = this.#findingsOf(device.name, partition);
		const where = `${device.name}: event ${seq} at partition ${partition} offset ${offset}`;
		if (seq >= device.sent) {
			found.unknown++;
			this.#example(`${where} was never sent`);
			return;
		}
		if (found.partition !== partition) {
			found.misplaced++;
			this.#example(`${where}, the device's other events in partition ${found.partition}`);
		}
		const behind = seq < found.stored.highest;
		if (!found.stored.add(seq)) {
			const extra = (found.extraCopies.get(seq) ?? 0) + 1;
			found.extraCopies.set(seq, extra);
			if (extra > this.#explainable(device, seq)) this.#example(`${where} is stored again, not by a resend`);
		} else if (behind) {
			found.outOfOrder++;
			if (!this.#ledger.relayed) this.#example(`${where} comes behind event ${found.stored.highest}`);
		}
	}

	#findingsOf(name: string, partition: number): DeviceFindings {
		let found = this.#findings.get(name);
		if (!found) {
			const stored = new SequenceSet();
			found = { stored, extraCopies: new Map(), partition, outOfOrder: 0, misplaced: 0, unknown: 0 };
			this.#findings.set(name, found);
		}
		return found;
	}

	#explainable(device: DeviceLedger, seq: number): number {
		if (this.#ledger.relayed) return Number.POSITIVE_INFINITY;
		return this.#ledger.resendsMayRepeat ? device.resendsOf(seq) : 0;
	}

	#judge(device: DeviceLedger): DeviceVerdict {
		const found = this.#findings.get(device.name);
		const stored = found?.stored ?? new SequenceSet();
		const lost = sizeOf(device.acked.without(stored));
		const refusedOnly = sizeOf(device.refused.without(device.acked));
		const unacknowledged = device.sent - device.acked.size - refusedOnly;
		let storedOfOthers = 0;
		for (const { start, end } of stored.without(device.acked)) {
			for (let seq = start; seq < end; seq++) if (!device.refused.has(seq)) storedOfOthers++;
		}
		let duplicated = 0;
		let explained = 0;
		for (const [seq, extra] of found?.extraCopies ?? []) {
			duplicated += extra;
			explained += Math.min(extra, this.#explainable(device, seq));
		}
		const counts = {
			sent: device.sent,
			acked: device.acked.size,
			refused: refusedOnly,
			unacknowledged,
			dropped: unacknowledged - storedOfOthers,
			resent: device.resent,
			stored: stored.size,
			lost,
			duplicated,
			explained,
			outOfOrder: found?.outOfOrder ?? 0,
			misplaced: found?.misplaced ?? 0,
			unknown: found?.unknown ?? 0,
		};
		const disorder = this.#ledger.relayed ? 0 : counts.outOfOrder;
		const faults = lost + (duplicated - explained) + disorder + counts.misplaced + counts.unknown;
		return { device: device.name, group: device.group, faulty: faults > 0, ...counts };
	}

	#reasons(counts: Counts): string[] {
		const unexplained = counts.duplicated - counts.explained;
		const faults: [count: number, one: string, many: string][] = [
			[counts.lost, "acknowledged event is not stored", "acknowledged events are not stored"],
			[this.#damaged, "stored event is not what was sent", "stored events are not what was sent"],
			[this.#ledger.relayed ? 0 : counts.outOfOrder, "event is out of order", "events are out of order"],
			[unexplained, "copy is not explained by a resend", "copies are not explained by a resend"],
			[counts.misplaced, "event is in another partition", "events are in another partition"],
			[this.#splitKeys.size, "key is in two partitions", "keys are in two partitions"],
			[this.#offsetGaps, "offset does not follow the one before", "offsets do not follow the one before"],
			[counts.unknown, "stored event was never sent", "stored events were never sent"],
		];
		return faults.filter(([count]) => count > 0).map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
	}

	#example(text: string): void {
		if (this.#examples.length < MAX_EXAMPLES) this.#examples.push(text);
	}

	*#lossExamples(): Generator<string> {
		const nothing = new SequenceSet();
		for (const device of this.#ledger.devices()) {
			for (const { start, end } of device.acked.without(this.#findings.get(device.name)?.stored ?? nothing)) {
				const events = end - start === 1 ? `event ${start}` : `events ${start} to ${end - 1}`;
				yield `${device.name}: ${events} acknowledged and not stored`;
			}
		}
	}
}

function sizeOf(ranges: Iterable<{ start: number; end: number }>): number {
	let size = 0;
	for (const { start, end } of ranges) size += end - start;
	return size;
}

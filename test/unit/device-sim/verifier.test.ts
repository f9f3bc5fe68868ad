import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeEvent } from "../../../device-sim/event.ts";
import { Ledger } from "../../../device-sim/ledger.ts";
import { type StoredRecord, Verifier } from "../../../device-sim/verifier.ts";

const RUN = "run001";
const DEVICES = ["temp-0001", "truck-0002"] as const;

/** Two devices, ten events each, all acknowledged. */
function ledgerOf(qos: 0 | 1 | 2 = 1): Ledger {
	const ledger = new Ledger(RUN, qos);
	for (const name of DEVICES) {
		const device = ledger.device(name, "group");
		for (let seq = 0; seq < 10; seq++) {
			device.noteSent(seq);
			device.acked.add(seq);
		}
	}
	return ledger;
}

interface Placed {
	partition: number;
	device: string;
	seq: number;
	key?: string;
	value?: Buffer;
}

/** The log as it should be: each device in its own partition, in order. */
const wholeLog = (): Placed[] =>
	Array.from({ length: 10 }, (_, seq) => DEVICES.map((device, partition) => ({ partition, device, seq }))).flat();

/** Offsets follow from the order within each partition, from 100 on. */
function records(log: readonly Placed[]): StoredRecord[] {
	const next = new Map<number, number>();
	return log.map(({ partition, device, seq, key = device, value }) => {
		const offset = next.get(partition) ?? 100;
		next.set(partition, offset + 1);
		return {
			partition,
			offset,
			key: Buffer.from(key),
			value: value ?? encodeEvent({ run: RUN, device, seq, timeMs: 0 }, {}),
		};
	});
}

function judge(stored: readonly StoredRecord[], ledger = ledgerOf()) {
	const verifier = new Verifier(ledger, { 0: 100, 1: 100 });
	for (const record of stored) verifier.take(record);
	return verifier.verdict();
}

describe("the verifier", () => {
	it("passes a log that holds everything once and in order, with others' records in between", () => {
		const log = wholeLog();
		log.splice(7, 0, { partition: 0, device: "x", seq: 0, value: Buffer.from("someone else's") });
		const verdict = judge(records(log));
		expect(verdict).toMatchObject({
			pass: true,
			reasons: [],
			sent: 20,
			acked: 20,
			stored: 20,
			recordsRead: 21,
			examples: [],
		});
		expect(verdict.devices.map(({ device, stored, faulty }) => ({ device, stored, faulty }))).toEqual([
			{ device: "temp-0001", stored: 10, faulty: false },
			{ device: "truck-0002", stored: 10, faulty: false },
		]);
	});

	it("where another broker is between, takes copies and another order, and no loss", () => {
		const ledger = new Ledger(RUN, 1, true);
		const device = ledger.device(DEVICES[0], "group");
		for (let seq = 0; seq < 10; seq++) {
			device.noteSent(seq);
			device.acked.add(seq);
		}
		const stored = (order: readonly number[]) =>
			records(order.map((seq) => ({ partition: 0, device: DEVICES[0], seq })));
		const order = [0, 1, 2, 5, 6, 3, 4, 2, 7, 8, 9, 9];
		expect(judge(stored(order), ledger)).toMatchObject({ pass: true, duplicated: 2, explained: 2, outOfOrder: 2 });
		expect(judge(stored(order.filter((seq) => seq !== 4)), ledger)).toMatchObject({ pass: false, lost: 1 });
	});

	it("takes offsets that are left out where transactions write, and none that goes back", () => {
		const stored = records(wholeLog()).map((record) => ({ ...record, offset: 2 * record.offset }));
		const look = (list: readonly StoredRecord[], mayLeaveOut: boolean) => {
			const verifier = new Verifier(ledgerOf(), {}, mayLeaveOut);
			for (const record of list) verifier.take(record);
			return verifier.verdict();
		};
		expect(look(stored, true)).toMatchObject({ pass: true, offsetGaps: 0 });
		expect(look(stored, false)).toMatchObject({ pass: false, offsetGaps: 18 });
		expect(look([...stored, stored[0]!], true)).toMatchObject({ pass: false, offsetGaps: 1, duplicated: 1 });
	});

	it("finds what is lost, and says which", () => {
		const log = wholeLog().filter(
			({ device, seq }) => !(device === "truck-0002" && (seq === 3 || seq === 4 || seq === 9)),
		);
		const verdict = judge(records(log));
		expect(verdict).toMatchObject({ pass: false, lost: 3, stored: 17, outOfOrder: 0 });
		expect(verdict.reasons).toEqual(["3 acknowledged events are not stored"]);
		expect(verdict.examples).toEqual([
			"truck-0002: events 3 to 4 acknowledged and not stored",
			"truck-0002: event 9 acknowledged and not stored",
		]);
		expect(verdict.devices.map(({ faulty }) => faulty)).toEqual([false, true]);
	});

	it("calls everything lost when nothing is stored", () => {
		expect(judge([])).toMatchObject({ pass: false, lost: 20, stored: 0 });
	});

	it("does not miss what was never acknowledged, and counts it when it is stored all the same", () => {
		const ledger = ledgerOf();
		for (let seq = 10; seq < 13; seq++) ledger.device("temp-0001").noteSent(seq);
		const log = [...wholeLog(), { partition: 0, device: "temp-0001", seq: 10 }];
		expect(judge(records(log), ledger)).toMatchObject({
			pass: true,
			unacknowledged: 3,
			dropped: 2,
			stored: 21,
			lost: 0,
		});
	});

	it("does not expect what was refused", () => {
		const ledger = ledgerOf();
		ledger.device("temp-0001").noteSent(10);
		ledger.device("temp-0001").refused.add(10);
		expect(judge(records(wholeLog()), ledger)).toMatchObject({ pass: true, refused: 1, unacknowledged: 0, dropped: 0 });
	});

	it("explains a second copy by a resend at QoS 1, and only as many as there were resends", () => {
		const ledger = ledgerOf();
		ledger.device("temp-0001").noteSent(8);
		ledger.device("temp-0001").noteSent(9);
		const again = (seq: number) => ({ partition: 0, device: "temp-0001", seq });
		expect(judge(records([...wholeLog(), again(8), again(9)]), ledger)).toMatchObject({
			pass: true,
			duplicated: 2,
			explained: 2,
			outOfOrder: 0,
			resent: 2,
		});
		const thrice = judge(records([...wholeLog(), again(8), again(9), again(9)]), ledger);
		expect(thrice).toMatchObject({ pass: false, duplicated: 3, explained: 2 });
		expect(thrice.reasons).toEqual(["1 copy is not explained by a resend"]);
		expect(thrice.examples).toEqual(["temp-0001: event 9 at partition 0 offset 112 is stored again, not by a resend"]);
	});

	it("takes no duplicate without a resend, and at QoS 2 and 0 none at all", () => {
		const log = [...wholeLog(), { partition: 0, device: "temp-0001", seq: 9 }];
		expect(judge(records(log))).toMatchObject({ pass: false, duplicated: 1, explained: 0 });
		for (const qos of [0, 2] as const) {
			const ledger = ledgerOf(qos);
			ledger.device("temp-0001").noteSent(9);
			expect(judge(records(log), ledger)).toMatchObject({ pass: false, duplicated: 1, explained: 0 });
		}
	});

	it("finds what is out of order within a device", () => {
		const log = wholeLog();
		const of = (seq: number) => log.findIndex((placed) => placed.device === "temp-0001" && placed.seq === seq);
		const [moved] = log.splice(of(4), 1);
		log.splice(of(6) + 1, 0, moved!);
		const verdict = judge(records(log));
		expect(verdict).toMatchObject({ pass: false, outOfOrder: 1, lost: 0, duplicated: 0 });
		expect(verdict.examples).toEqual(["temp-0001: event 4 at partition 0 offset 106 comes behind event 6"]);
	});

	it("finds a device, and a key, in two partitions", () => {
		const log = wholeLog().map((placed) =>
			placed.device === "temp-0001" && placed.seq === 5 ? { ...placed, partition: 1 } : placed,
		);
		expect(judge(records(log))).toMatchObject({ pass: false, misplaced: 1, splitKeys: 1, lost: 0 });
		const shared = wholeLog().map((placed) => ({ ...placed, key: "one key" }));
		expect(judge(records(shared))).toMatchObject({ pass: false, misplaced: 0, splitKeys: 1 });
	});

	it("finds offsets left out, given twice, and not beginning where they should", () => {
		const all = records(wholeLog());
		const gap = all.map((record) =>
			record.partition === 0 && record.offset > 105 ? { ...record, offset: record.offset + 1 } : record,
		);
		expect(judge(gap)).toMatchObject({ pass: false, offsetGaps: 1, lost: 0 });
		const twice = all.map((record) =>
			record.partition === 1 && record.offset === 105 ? { ...record, offset: 104 } : record,
		);
		expect(judge(twice)).toMatchObject({ pass: false, offsetGaps: 2 });
		const late = all.map((record) => (record.partition === 1 ? { ...record, offset: record.offset + 3 } : record));
		const verdict = judge(late);
		expect(verdict).toMatchObject({ pass: false, offsetGaps: 1 });
		expect(verdict.examples).toEqual(["partition 1: offset 103 where 100 was to follow"]);
	});

	it("finds what is not what was sent, and what was never sent", () => {
		const cut = encodeEvent({ run: RUN, device: "temp-0001", seq: 3, timeMs: 0 }, { v: 1 }).subarray(0, -4);
		const damaged = wholeLog().map((placed) =>
			placed.device === "temp-0001" && placed.seq === 3 ? { ...placed, value: cut } : placed,
		);
		expect(judge(records(damaged))).toMatchObject({ pass: false, damaged: 1, lost: 1 });
		const future = [...wholeLog(), { partition: 0, device: "temp-0001", seq: 10 }];
		expect(judge(records(future))).toMatchObject({ pass: false, unknown: 1, stored: 20 });
		const stranger = [...wholeLog(), { partition: 0, device: "nobody", seq: 0 }];
		expect(judge(records(stranger))).toMatchObject({ pass: false, unknown: 1 });
	});

	it("counts as a plain model does, whatever is stored", () => {
		const step = fc.record({ seq: fc.integer({ min: 0, max: 9 }), device: fc.constantFrom(...DEVICES) });
		fc.assert(
			fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
				const log = steps.map(({ seq, device }) => ({ seq, device, partition: DEVICES.indexOf(device) }));
				const model = { lost: 20, duplicated: 0, outOfOrder: 0 };
				const seen = new Set<string>();
				for (const [i, { seq, device }] of steps.entries()) {
					if (seen.has(`${device}/${seq}`)) model.duplicated++;
					else {
						model.lost--;
						if (steps.slice(0, i).some((before) => before.device === device && before.seq > seq)) model.outOfOrder++;
					}
					seen.add(`${device}/${seq}`);
				}
				expect(judge(records(log))).toMatchObject(model);
			}),
			{ numRuns: 200 },
		);
	});
});

describe("a device's ledger", () => {
	it("takes events in order only, and counts resends", () => {
		const device = new Ledger(RUN, 1).device("temp-0001");
		device.noteSent(0);
		expect(() => device.noteSent(2)).toThrow(RangeError);
		device.noteSent(0);
		device.noteSent(0);
		expect({ sent: device.sent, resent: device.resent, of0: device.resendsOf(0), of1: device.resendsOf(1) }).toEqual({
			sent: 1,
			resent: 2,
			of0: 2,
			of1: 0,
		});
	});
});

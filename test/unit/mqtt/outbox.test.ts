import { describe, expect, it } from "vitest";
import { MqttError } from "../../../bridge/mqtt/codec/packets.ts";
import { AWAITS_PUBCOMP, AWAITS_PUBREC, type Delivery, Outbox, type Recipient } from "../../../bridge/mqtt/outbox.ts";
import { Output, OutputBudget } from "../../../bridge/mqtt/output.ts";
import { Session } from "../../../bridge/mqtt/session.ts";
import { SessionStore } from "../../../bridge/mqtt/session-store.ts";
import { DoorStats } from "../../../bridge/mqtt/stats.ts";
import { StoredEvent } from "../../../bridge/mqtt/stored-event.ts";
import { Subscription } from "../../../bridge/mqtt/subscriptions.ts";
import { Pressure } from "../../../src/base/pressure.ts";
import { StateRows } from "./state-rows.ts";

const PARTITION = 7;

function make(options: { kept?: boolean; window?: number; rows?: StateRows } = {}) {
	const written: string[] = [];
	const transport = {
		peer: "test",
		unsentBytes: 0,
		write: (bytes: Buffer) => written.push(bytes.toString("hex")) > 0,
		pause() {},
		resume() {},
		end() {},
		destroy() {},
	};
	const output = new Output(transport, new OutputBudget(new Pressure(1_000_000), 100_000));
	const link: Recipient = {
		version: 4,
		output,
		maxPacketBytes: 1000,
		window: options.window ?? 10,
		aliases: undefined,
		outputPending() {},
	};
	const session = new Session("c", 60);
	const rows = options.rows ?? new StateRows();
	const store = new SessionStore(rows.log, () => {});
	const outbox = new Outbox(
		session,
		link,
		new DoorStats(),
		options.kept === false ? undefined : store.ledgerOf(session),
	);
	const interest = new Subscription(session, { filter: "#", qos: 2 });
	/** Packets that have left, after the commit too if told so. */
	const sent = (committed: boolean): string[] => {
		output.flush();
		if (committed) {
			if (output.unmarked) output.mark();
			while (output.release() > 0);
			output.flushAcks();
		}
		return written.splice(0);
	};
	const offer = (offset: number, qos: 0 | 1 | 2): boolean => outbox.offer(event(offset, qos), interest, 0);
	return { outbox, rows, store, sent, offer, interest };
}

function event(offset: number, qos: 0 | 1 | 2): StoredEvent {
	const made = new StoredEvent();
	made.partition = PARTITION;
	made.offset = offset;
	made.qos = qos;
	made.topic = "t";
	made.topicSource = Buffer.from("t");
	made.topicEnd = 1;
	made.source = Buffer.from("p");
	made.payloadEnd = 1;
	return made;
}

const restored = (offset: number, state: 2 | 3, packetId: number, order: number): Delivery => ({
	partition: PARTITION,
	offset,
	state,
	packetId,
	order,
	sent: false,
});

describe("an outbox", () => {
	it("lets a QoS 2 publish of a kept session leave only when its identifier is durable, others at once", () => {
		const kept = make();
		kept.offer(1, 2);
		kept.offer(2, 1);
		expect(kept.sent(false)).toEqual(["3206000174000270"]);
		expect(kept.sent(true)).toEqual(["3406000174000170"]);
		const passing = make({ kept: false });
		passing.offer(1, 2);
		expect(passing.sent(false)).toEqual(["3406000174000170"]);
		expect(passing.rows.rows.size).toBe(0);
	});

	it("takes nothing more where the delivery cannot be kept, and goes on when it can", () => {
		const { outbox, rows, offer, sent } = make();
		rows.full = true;
		expect(offer(1, 2)).toBe(false);
		expect(sent(true)).toEqual([]);
		expect(outbox.inflight.size).toBe(0);
		rows.full = false;
		expect(offer(1, 2)).toBe(true);
		expect(sent(true).length).toBe(1);
	});

	it("keeps what it knows of a delivery until the cursor is behind it", () => {
		const { outbox, store, offer } = make();
		const cursors = { next: [], highestPartition: 9, inflight: [], lastPacketId: 0, lastOrder: 0 };
		offer(5, 2);
		expect(outbox.pubrec(1, false)).toBe(true);
		store.save(outbox.session, cursors, Number.NaN);
		expect(store.load("c", 0)?.sent).toMatchObject([{ state: AWAITS_PUBCOMP, packetId: 1, offset: 5 }]);
		outbox.pubcomp(1);
		expect(outbox.takeSettled(new Map([[PARTITION, 5]]))).toEqual([]);
		expect(outbox.takeSettled(new Map([[PARTITION, 6]]))).toEqual([{ partition: PARTITION, offset: 5, order: 1 }]);
		expect(outbox.takeSettled(new Map())).toEqual([]);
	});

	it("refuses acknowledgements that its deliveries do not wait for, and ignores those of unknown identifiers", () => {
		const { outbox, offer } = make();
		offer(1, 1);
		offer(2, 2);
		offer(3, 2);
		outbox.pubrec(3, false);
		for (const wrong of [
			() => outbox.pubrec(1, false),
			() => outbox.pubcomp(1),
			() => outbox.puback(2),
			() => outbox.pubcomp(2),
			() => outbox.puback(3),
		]) {
			expect(wrong).toThrow(MqttError);
		}
		expect(outbox.pubrec(3, false)).toBe(true); // PUBREC may come again
		outbox.puback(99);
		expect(outbox.pubrec(99, false)).toBe(false);
		outbox.pubcomp(99);
		expect(outbox.unacknowledged).toBe(3);
	});

	it("has room for its window, and again after each acknowledgement for good", () => {
		const { outbox, offer } = make({ window: 2 });
		expect([offer(1, 1), offer(2, 2), offer(3, 1), offer(3, 0)]).toEqual([true, true, false, true]);
		outbox.pubrec(2, false);
		expect(offer(3, 1)).toBe(false);
		outbox.pubcomp(2);
		expect([offer(3, 1), offer(4, 1)]).toEqual([true, false]);
		outbox.pubrec(2, true);
	});

	it("repeats what a crash left unanswered under its identifier with DUP, and passes over what was taken", () => {
		const { outbox, interest, sent } = make();
		outbox.restore(restored(10, AWAITS_PUBCOMP, 3, 1), 5);
		outbox.restore(restored(11, AWAITS_PUBREC, 4, 2), 5);
		expect(outbox.repeatsOf(PARTITION, 10)?.length).toBe(1);
		expect(outbox.offerAgain(event(10, 2), interest, 0)).toBe(true);
		expect(outbox.offerAgain(event(11, 2), interest, 0)).toBe(true);
		expect(sent(true)).toEqual(["3c06000174000470"]);
		outbox.pubcomp(3);
		outbox.pubrec(4, false);
		outbox.pubcomp(4);
		expect([outbox.inflight.size, outbox.unacknowledged]).toEqual([0, 0]);
	});

	it("does not send anew what is acknowledged before its turn to be repeated has come", () => {
		const { outbox, interest, sent } = make();
		outbox.restore(restored(11, AWAITS_PUBREC, 4, 2), 5);
		outbox.pubrec(4, false);
		outbox.pubcomp(4);
		expect(outbox.repeatsOf(PARTITION, 11)?.length).toBe(1);
		expect(outbox.offerAgain(event(11, 2), interest, 0)).toBe(true);
		expect(sent(true)).toEqual([]);
	});

	it("takes the later of two deliveries with one identifier for the one under way, the earlier for done", () => {
		const { outbox, interest, sent } = make();
		outbox.restore(restored(10, AWAITS_PUBREC, 4, 1), 5);
		outbox.restore(restored(12, AWAITS_PUBREC, 4, 2), 5);
		for (const offset of [10, 12]) outbox.offerAgain(event(offset, 2), interest, 0);
		expect(sent(true)).toEqual(["3c06000174000470"]);
		expect(outbox.inflight.get(4)?.offset).toBe(12);
	});
});

import { describe, expect, it } from "vitest";
import { expiryMs, NEVER_EXPIRES, Session } from "../../../bridge/mqtt/session.ts";
import { type Cursors, SessionStore } from "../../../bridge/mqtt/session-store.ts";
import { Subscription } from "../../../bridge/mqtt/subscriptions.ts";
import { StateRows } from "./state-rows.ts";

const NOWHERE: Cursors = { next: [], highestPartition: -1, inflight: [], lastPacketId: 0, lastOrder: 0 };

function make() {
	const rows = new StateRows();
	return { rows, store: new SessionStore(rows.log, () => {}) };
}

describe("a session's rows", () => {
	it("give back subscriptions with all their options, cursors, received identifiers and QoS 2 deliveries", () => {
		const { store } = make();
		const session = new Session("c/é", 60);
		const cursors: Cursors = {
			next: [[3, 17]],
			highestPartition: 9,
			inflight: [[5, 3, 16, 8]],
			lastPacketId: 5,
			lastOrder: 8,
		};
		const subscriptions = [
			{ filter: "a/#", qos: 1 as const },
			{
				filter: "s/q1.2",
				qos: 2 as const,
				noLocal: true,
				retainAsPublished: true,
				retainHandling: 2 as const,
				identifier: 7,
			},
		];
		for (const each of subscriptions) store.putSubscription(new Subscription(session, each));
		store.putReceived(session, 12);
		const ledger = store.ledgerOf(session);
		const delivery = { packetId: 9, partition: 3, offset: 5_000_000_000, order: 7_000_000_000, sent: true };
		ledger.record({ ...delivery, state: 2 });
		ledger.record({ ...delivery, offset: 4, order: 3, state: 3 });
		store.save(session, cursors, Number.NaN);
		const kept = store.load("c/é", 1)!;
		expect(kept.cursors).toEqual(cursors);
		expect(kept.session.expirySeconds).toBe(60);
		expect(kept.session.noLocal).toBe(true);
		expect([...kept.session.received!]).toEqual([12]);
		expect(kept.sent.map(({ order, state, packetId, offset }) => [order, state, packetId, offset])).toEqual([
			[3, 3, 9, 4],
			[7_000_000_000, 2, 9, 5_000_000_000],
		]);
		expect(kept.session.subscriptions?.get("s/q1.2")).toMatchObject({
			qos: 2,
			noLocal: true,
			retainAsPublished: true,
			retainHandling: 2,
			identifiers: [7],
		});
		expect(kept.session.subscriptions?.get("a/#")).toMatchObject({ qos: 1, noLocal: false, retainHandling: 0 });
	});

	it("cost the same for the thousandth subscription as for the first", () => {
		const { rows, store } = make();
		const session = new Session("c", 60);
		const costs: number[] = [];
		for (let i = 1000; i < 2000; i++) {
			const before = rows.writtenBytes;
			store.putSubscription(new Subscription(session, { filter: `a/${i}`, qos: 1 }));
			store.save(session, NOWHERE, Number.NaN);
			costs.push(rows.writtenBytes - before);
		}
		expect(new Set(costs).size).toBe(1);
	});

	it("are all gone when the session is, and no other session's", () => {
		const { rows, store } = make();
		for (const clientId of ["c", "c2", "c\u0001"]) {
			const session = new Session(clientId, 60);
			store.save(session, NOWHERE, 5000);
			store.putReceived(session, 1);
			store.putSubscription(new Subscription(session, { filter: "x", qos: 0 }));
			store.ledgerOf(session).record({ packetId: 1, partition: 1, offset: 1, order: 1, state: 2, sent: true });
		}
		store.delete("c");
		expect(rows.rows.size).toBe(8);
		expect(store.load("c", 0)).toBeUndefined();
		expect(store.load("c2", 0)?.sent.length).toBe(1);
		expect(store.expire(5000, 100)).toBe(2);
		expect(rows.rows.size).toBe(0);
	});

	it("of settled deliveries go with the cursor that is behind them", () => {
		const { rows, store } = make();
		const session = new Session("c", 60);
		const ledger = store.ledgerOf(session);
		for (const offset of [1, 2])
			ledger.record({ packetId: offset, partition: 4, offset, order: offset, state: 3, sent: true });
		store.save(session, NOWHERE, Number.NaN, [{ partition: 4, offset: 1, order: 1 }]);
		expect(store.load("c", 0)?.sent.map(({ offset }) => offset)).toEqual([2]);
		expect(rows.rows.size).toBe(2);
	});

	it("begin to expire after a crash, where their client was connected", () => {
		const { store } = make();
		store.save(new Session("on", 10), NOWHERE, Number.NaN);
		store.save(new Session("for ever", NEVER_EXPIRES), NOWHERE, Number.NaN);
		store.save(new Session("off", 10), NOWHERE, expiryMs(10, 0));
		store.allDisconnected(50_000);
		expect(store.expire(59_999, 100)).toBe(1);
		expect(store.load("off", 59_999)).toBeUndefined();
		expect(store.load("on", 59_999)).toBeDefined();
		expect(store.load("on", 60_000)).toBeUndefined();
		expect(store.load("for ever", 1e15)).toBeDefined();
	});

	it("of another format are refused by name", () => {
		const { rows, store } = make();
		const row = Buffer.concat([Buffer.alloc(8, 0x7f), Buffer.from('{"format":9}')]);
		row.writeDoubleLE(Number.POSITIVE_INFINITY, 0);
		rows.rows.set("1/c", row);
		expect(() => store.load("c", 0)).toThrow(/format 9/);
	});
});

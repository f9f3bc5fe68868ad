import { describe, expect, it } from "vitest";
import type { Will } from "../../../bridge/mqtt/codec/packets.ts";
import { Session } from "../../../bridge/mqtt/session.ts";
import { WillStore } from "../../../bridge/mqtt/will-store.ts";
import { Wills } from "../../../bridge/mqtt/wills.ts";
import { StateRows } from "./state-rows.ts";

function will(willDelayInterval: number, bytes = 3): Will {
	return { topic: "w", payload: Buffer.alloc(bytes), qos: 1, retain: false, properties: { willDelayInterval } };
}

function make(rows = new StateRows()) {
	const published: string[] = [];
	const wills = new Wills(new WillStore(rows.log), {
		publish(sender, _will, also) {
			published.push(sender.clientId);
			also.work({ partition: 0, offset: 0, topic: "w" });
		},
		guarded(_what, work) {
			try {
				work();
				return true;
			} catch {
				return false;
			}
		},
	});
	return { published, wills, rows };
}

describe("a will", () => {
	it("is published when its delay is over or its session ends, whichever is first", () => {
		const { published, wills } = make();
		wills.left(new Session("no delay", 100), will(0), 10);
		wills.left(new Session("no session", 0), will(50), 10);
		expect(published).toEqual(["no delay", "no session"]);
		wills.left(new Session("delay", 100), will(5), 10);
		wills.left(new Session("expiry", 3), will(50), 10);
		wills.publishDue(13); // may be 2.1 seconds later
		expect(published.length).toBe(2);
		wills.publishDue(14);
		expect(published.at(-1)).toBe("expiry");
		wills.publishDue(15);
		expect(published.at(-1)).toBe("expiry");
		wills.publishDue(16);
		expect(published.at(-1)).toBe("delay");
		expect(wills.size).toBe(0);
	});

	it("is void when the client continues its session, and due when it starts clean", () => {
		const { published, wills } = make();
		wills.left(new Session("continues", 100), will(5), 0);
		wills.left(new Session("clean", 100), will(5), 0);
		expect(wills.returned("continues", true, 1)).toBe(true);
		expect(wills.returned("clean", false, 1)).toBe(true);
		expect(wills.returned("unknown", false, 1)).toBe(false);
		wills.publishDue(100);
		expect(published).toEqual(["clean"]);
	});

	it("does not wait where too many bytes wait, and is not lost", () => {
		const { published, wills } = make();
		for (let i = 0; i < 100; i++) wills.left(new Session(`${i}`, 100), will(50, 60_000), 0);
		expect(wills.size).toBeLessThan(72);
		expect(wills.size + published.length).toBe(100);
		expect(published[0]).toBe("0");
		wills.publishAll();
		expect(published.length).toBe(100);
	});

	it("is published at the next start after a crash, once, with all that it carries", () => {
		const rows = new StateRows();
		const connected: Will = {
			topic: "w/é",
			payload: Buffer.from([0, 255, 1]),
			qos: 2,
			retain: true,
			properties: {
				contentType: "text",
				correlationData: Buffer.from([9, 8]),
				userProperties: [
					["a", "1"],
					["a", "2"],
				],
			},
		};
		const before = make(rows);
		before.wills.keep(new Session("connected", 0), connected);
		before.wills.keep(new Session("waits", 100), will(5));
		before.wills.left(new Session("waits", 100), will(5), 0);
		before.wills.keep(new Session("left in order", 100), will(0));
		before.wills.drop(new Session("left in order", 100));

		const { published, wills } = make(rows);
		expect(new WillStore(rows.log).page("").find(([sender]) => sender.clientId === "connected")?.[1]).toEqual(
			connected,
		);
		wills.start();
		expect(published).toEqual(["connected"]);
		wills.publishDue(6);
		expect(published).toEqual(["connected", "waits"]);
		expect(rows.rows.size).toBe(0);
		make(rows).wills.start();
		expect(published.length).toBe(2);
	});
});

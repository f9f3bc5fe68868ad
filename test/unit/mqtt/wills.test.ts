import { describe, expect, it } from "vitest";
import type { Will } from "../../../bridge/mqtt/codec/packets.ts";
import { Session } from "../../../bridge/mqtt/session.ts";
import { DelayedWills } from "../../../bridge/mqtt/wills.ts";

function will(willDelayInterval: number, bytes = 3): Will {
	return { topic: "w", payload: Buffer.alloc(bytes), qos: 1, retain: false, properties: { willDelayInterval } };
}

function make() {
	const published: string[] = [];
	return { published, wills: new DelayedWills((session) => published.push(session.clientId)) };
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
		wills.returned("continues", true);
		wills.returned("clean", false);
		wills.returned("unknown", false);
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
});

/** Sections 3.3.4 to 3.7 and 4.9 of MQTT 5.0: answers to PUBLISH, identifiers of subscriptions, and the quota both ways. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import {
	acknowledge,
	PUBACK,
	PUBCOMP,
	PUBREC,
	PUBREL,
	packet,
	publish,
	subscribe,
	unsubscribe,
} from "../support/packets.ts";
import type { Peer, Received } from "../support/peer.ts";
import { RECEIVE_MAXIMUM, SUBSCRIPTION_IDENTIFIER, u16 } from "../support/properties.ts";
import { client, cutOff, expiry, lose, MALFORMED, PROTOCOL_ERROR, payloadsOn, publishOnce } from "./kit.ts";

let door: TestDoor;
/** One where a topic may be without a route. */
let strict: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open({ receiveMaximum: 5 });
	strict = await TestDoor.open({ receiveMaximum: 3, routes: [{ filter: "routed/#", topic: "t" }] });
});
afterAll(() => Promise.all([door.close(), strict.close()]));

const NOT_ROUTED = 0x90;

test("[MQTT-3.3.4-1] QoS 0 gets no answer, QoS 1 PUBACK, QoS 2 PUBREC", async () => {
	const peer = await client(door, "answers");
	peer.send(publish("a", "x"), publish("a", "x", { qos: 1, id: 3 }), publish("a", "x", { qos: 2, id: 4 }));
	expect(await peer.next()).toMatchObject({ name: "PUBACK", id: 3, reason: 0 });
	expect(await peer.next()).toMatchObject({ name: "PUBREC", id: 4, reason: 0 });
	expect(await peer.untilPong()).toEqual([]);
});

async function overlapping(name: string, subscriptions: [filter: string, qos: number, identifier?: number][]) {
	const peer = await client(door, name);
	for (const [filter, qos, identifier] of subscriptions) {
		await peer.subscribe(filter, qos, identifier === undefined ? [] : [[SUBSCRIPTION_IDENTIFIER, identifier]]);
	}
	await publishOnce(door, `${name}/x`, "x", { qos: 2 });
	const received = await peer.expect("PUBLISH");
	if (received.qos === 1) peer.send(acknowledge(PUBACK, received.id));
	const rest = await payloadsOn(door, peer, `${name}/x`);
	return { received, rest, identifiers: received.propertyValues(SUBSCRIPTION_IDENTIFIER).sort() };
}

test("[MQTT-3.3.4-2] overlapping subscriptions deliver with the highest QoS among them, once", async () => {
	expect(
		await overlapping("highest", [
			["highest/+", 0],
			["highest/#", 2],
			["highest/x", 1],
		]),
	).toMatchObject({ received: { qos: 2 }, rest: [] });
	expect(
		await overlapping("lower", [
			["lower/#", 1],
			["lower/x", 0],
		]),
	).toMatchObject({ received: { qos: 1 }, rest: [] });
});

test("[MQTT-3.3.4-3] [MQTT-3.3.4-4] a delivery has the identifiers of all subscriptions that match, and of no others", async () => {
	const { identifiers, rest } = await overlapping("named", [
		["named/+", 1, 7],
		["named/#", 1, 268_435_455],
		["named/x", 1],
		["named/y", 1, 9],
	]);
	expect([identifiers, rest]).toEqual([[268_435_455, 7], []]);
});

test("[MQTT-3.3.4-3] an identifier lasts with its subscription and goes when that is replaced without one", async () => {
	const peer = await client(door, "renamed");
	for (const list of [[[SUBSCRIPTION_IDENTIFIER, 5]], [[SUBSCRIPTION_IDENTIFIER, 6]], []] as const) {
		await peer.subscribe("renamed", 0, list);
		await publishOnce(door, "renamed", "x");
		const received = await peer.expect("PUBLISH");
		expect(received.propertyValues(SUBSCRIPTION_IDENTIFIER)).toEqual(list.map(([, value]) => value));
	}
});

test("[MQTT-3.3.4-6] a subscription identifier from a client is a protocol error", async () => {
	await cutOff(door, PROTOCOL_ERROR, publish("a", "x", { properties: [[SUBSCRIPTION_IDENTIFIER, 1]] }));
});

test("[MQTT-3.3.4-7] more publishes under way than the server's Receive Maximum end with 0x93", async () => {
	const peer = await client(door, "greedy");
	expect(peer.connack!.property(RECEIVE_MAXIMUM)).toBe(5);
	for (let id = 1; id <= 5; id++) peer.send(publish("a", "x", { qos: 2, id }));
	for (let id = 1; id <= 5; id++) await peer.expect("PUBREC");
	// QoS 0 and repetitions do not count.
	peer.send(publish("a", "x"), publish("a", "x", { qos: 2, id: 5, dup: true }));
	await peer.expect("PUBREC");
	peer.send(publish("a", "x", { qos: 1, id: 6 }));
	expect(await peer.untilClosed()).toMatchObject([{ name: "DISCONNECT", reason: 0x93 }]);
});

test("[MQTT-3.3.4-7] PUBACK, PUBCOMP and a refusing PUBREC give the quota back", async () => {
	const peer = await client(strict, "fair", { properties: [expiry(100)] });
	for (let i = 0; i < 30; i++) {
		const id = 1 + (i % 3);
		const [topic, qos] = i % 3 === 0 ? ["not/routed", 2] : ["routed/a", 1 + (i % 2)];
		const answer = await peer.publish(topic as string, "x", { qos: qos as number, id });
		expect(answer.reason).toBe(i % 3 === 0 ? NOT_ROUTED : 0);
	}
});

/** A subscriber at QoS 2 that takes `maximum` at a time, and everything it can get without acknowledging. */
async function full(name: string, maximum: number): Promise<[Peer, Received[]]> {
	const peer = await client(door, name, { properties: [[RECEIVE_MAXIMUM, maximum]] });
	await peer.subscribe(name, 2);
	for (let i = 0; i < 8; i++) await publishOnce(door, name, `${i}`, { qos: 1 + (i % 2) });
	await publishOnce(door, `${name}/other`, "x");
	return [peer, (await peer.untilPong()).filter((received) => received.name === "PUBLISH")];
}

test("[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] no more deliveries are under way than the client's Receive Maximum", async () => {
	for (const maximum of [1, 3]) {
		const [peer, first] = await full(`quota${maximum}`, maximum);
		expect(first.length).toBe(maximum);
		const outstanding = [...first];
		const payloads = first.map(({ payload }) => payload);
		const take = (received: Received): void => {
			outstanding.push(received);
			payloads.push(received.payload);
			expect(outstanding.length).toBeLessThanOrEqual(maximum);
		};
		while (payloads.length < 8) {
			const { id, qos } = outstanding[0]!;
			if (qos === 2) {
				// PUBREC alone gives nothing back.
				peer.send(acknowledge(PUBREC, id));
				await peer.expect("PUBREL");
				expect(await peer.untilPong()).toEqual([]);
			}
			outstanding.shift();
			peer.send(acknowledge(qos === 2 ? PUBCOMP : PUBACK, id));
			for (const received of await peer.untilPong()) take(received);
			// With everything acknowledged there has to be more.
			if (outstanding.length === 0) take(await peer.expect("PUBLISH"));
		}
		expect(payloads).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
	}
});

test("[MQTT-3.3.4-9] a PUBREC that refuses gives the quota back", async () => {
	const peer = await client(door, "refusing", { properties: [[RECEIVE_MAXIMUM, 1]] });
	await peer.subscribe("refusing", 2);
	for (const payload of ["a", "b", "c"]) await publishOnce(door, "refusing", payload, { qos: 2 });
	for (const payload of ["a", "b", "c"]) {
		const received = await peer.expect("PUBLISH");
		expect(received.payload).toBe(payload);
		peer.send(acknowledge(PUBREC, received.id, 0x80));
	}
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.3.4-10] [MQTT-4.9.0-3] with the quota used up, everything else is sent and answered", async () => {
	const [peer] = await full("busy", 2);
	peer.send(
		subscribe([["busy/zero", 0]], { id: 20 }),
		unsubscribe(["nothing"], { id: 21 }),
		publish("a", "x", { qos: 1, id: 22 }),
		publish("a", "x", { qos: 2, id: 23 }),
		acknowledge(PUBREL, 23),
	);
	const names = [];
	for (let i = 0; i < 5; i++) names.push((await peer.next()).name);
	expect(names.sort()).toEqual(["PUBACK", "PUBCOMP", "PUBREC", "SUBACK", "UNSUBACK"]);
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.4.2-1] [MQTT-3.5.2-1] PUBACK and PUBREC have codes of their tables: taken, or why not", async () => {
	const peer = await client(strict, "codes");
	for (const qos of [1, 2]) {
		expect((await peer.publish("routed/a", "x", { qos })).reason).toBe(0);
		expect((await peer.publish("not/routed", "x", { qos })).reason).toBe(NOT_ROUTED);
		expect((await peer.publish("routed/a", "x".repeat(200_000), { qos })).reason).toBe(0x97);
		expect((await peer.publish("$SYS/of/the/broker", "x", { qos })).reason).toBe(NOT_ROUTED);
	}
});

test("[MQTT-3.4.2-1] [MQTT-3.5.2-1] a code that is not in the table is a protocol error", async () => {
	for (const first of [PUBACK, PUBREC]) {
		await cutOff(door, PROTOCOL_ERROR, acknowledge(first, 1, 0x01));
		await cutOff(door, PROTOCOL_ERROR, acknowledge(first, 1, 0x92));
	}
});

test("[MQTT-3.6.1-1] PUBREL with flags other than 0010 is malformed", async () => {
	for (const flags of [0x00, 0x01, 0x03, 0x06, 0x0a]) await cutOff(door, MALFORMED, packet(0x60 | flags, u16(1)));
});

test("[MQTT-3.6.2-1] [MQTT-3.7.2-1] PUBREL and PUBCOMP say 0x00, or 0x92 for an identifier that is not known", async () => {
	const peer = await client(door, "unknown");
	peer.send(acknowledge(PUBREC, 77), acknowledge(PUBREL, 78));
	expect(await peer.expect("PUBREL")).toMatchObject({ id: 77, reason: 0x92, flags: 2 });
	expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 78, reason: 0x92 });
	await peer.subscribe("unknown", 2);
	await publishOnce(door, "unknown", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(acknowledge(PUBREC, id));
	expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0, flags: 2 });
	// Once more: the identifier is in use, and PUBREL is still due.
	peer.send(acknowledge(PUBREC, id));
	expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0, flags: 2 });
});

test("[MQTT-3.6.2-1] [MQTT-3.7.2-1] a code that is not in the table is a protocol error", async () => {
	for (const first of [PUBREL, PUBCOMP]) await cutOff(door, PROTOCOL_ERROR, acknowledge(first, 1, 0x80));
});

test("[MQTT-4.9.0-1] a Receive Maximum of 0 is a protocol error, and none means 65,535", async () => {
	const peer = await client(door, "default");
	await peer.subscribe("default", 1);
	await publishOnce(door, "default", "x");
	expect((await peer.expect("PUBLISH")).qos).toBe(1);
	await lose(door, peer, "default");
});

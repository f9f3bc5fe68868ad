/** Sections 4.3 and 4.4 of MQTT 5.0: the three ways of delivery, both ways, and what is repeated when. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, PUBCOMP, PUBREC, PUBREL, packet, publish } from "../support/packets.ts";
import type { Peer, Received } from "../support/peer.ts";
import { MESSAGE_EXPIRY, text, u16 } from "../support/properties.ts";
import { client, keptClient, lose, payloadsOn, publishOnce } from "./kit.ts";

let door: TestDoor;
/** One where a topic may be without a route. */
let strict: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
	strict = await TestDoor.open({ routes: [{ filter: "routed/#", topic: "t" }] });
});
afterAll(() => Promise.all([door.close(), strict.close()]));

/** What was stored under this MQTT topic. */
async function stored(topic: string): Promise<(string | undefined)[]> {
	const records = await door.records("mqtt");
	return records.filter(({ key }) => key?.toString() === topic).map(({ value }) => value?.toString());
}

/** A kept session with one delivery under way. */
async function underWay(name: string, qos: number): Promise<[Peer, Received]> {
	const peer = await keptClient(door, name);
	await peer.subscribe(name, qos);
	await publishOnce(door, name, "x", { qos });
	return [peer, await peer.expect("PUBLISH")];
}
async function comeBack(peer: Peer, name: string): Promise<Peer> {
	await lose(door, peer, name);
	return keptClient(door, name);
}

test("[MQTT-4.3.2-2] QoS 1 goes out with a new identifier, QoS 1 and DUP 0", async () => {
	const [, sent] = await underWay("one", 1);
	expect(sent.bytes).toEqual(packet(0x32, text("one"), u16(sent.id), 0, Buffer.from("x")));
});

test("[MQTT-4.3.2-3] a QoS 1 delivery stays unacknowledged until its PUBACK, over any number of connections", async () => {
	let [peer, sent] = await underWay("until-puback", 1);
	for (let i = 0; i < 3; i++) {
		peer = await comeBack(peer, "until-puback");
		expect(await peer.expect("PUBLISH")).toMatchObject({ id: sent.id, dup: true, payload: "x" });
	}
	peer.send(acknowledge(PUBACK, sent.id));
	expect(await peer.untilPong()).toEqual([]);
	peer = await comeBack(peer, "until-puback");
	expect(await payloadsOn(door, peer, "until-puback")).toEqual([]);
});

test("[MQTT-4.3.2-4] PUBACK says that the message is owned: it is there after the gateway was killed", async () => {
	const answer = await publishOnce(door, "owned/one", "x", { qos: 1 });
	expect(answer).toMatchObject({ name: "PUBACK", reason: 0 });
	const next = await door.killed();
	try {
		expect((await next.records("mqtt")).map(({ key }) => key?.toString())).toContain("owned/one");
	} finally {
		await next.close();
	}
});

test("[MQTT-4.3.2-5] after PUBACK the same identifier is a new message, with DUP or without", async () => {
	const peer = await client(door, "anew");
	await peer.publish("anew", "a", { id: 7 });
	await peer.publish("anew", "a", { id: 7, dup: true });
	await peer.publish("anew", "b", { id: 7 });
	expect(await stored("anew")).toEqual(["a", "a", "b"]);
});

test("[MQTT-4.3.3-2] QoS 2 goes out with a new identifier, QoS 2 and DUP 0", async () => {
	const [, sent] = await underWay("two", 2);
	expect(sent.bytes).toEqual(packet(0x34, text("two"), u16(sent.id), 0, Buffer.from("x")));
});

test("[MQTT-4.3.3-3] a QoS 2 delivery stays unacknowledged until its PUBREC, over any number of connections", async () => {
	let [peer, sent] = await underWay("until-pubrec", 2);
	for (let i = 0; i < 3; i++) {
		peer = await comeBack(peer, "until-pubrec");
		expect(await peer.expect("PUBLISH")).toMatchObject({ id: sent.id, qos: 2, dup: true, payload: "x" });
	}
	peer.send(acknowledge(PUBREC, sent.id));
	await peer.expect("PUBREL");
});

test("[MQTT-4.3.3-4] a PUBREC below 0x80 is answered with PUBREL, one that refuses with nothing", async () => {
	for (const reason of [0x00, 0x10]) {
		const [peer, { id }] = await underWay(`taken/${reason}`, 2);
		peer.send(acknowledge(PUBREC, id, reason));
		expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0 });
	}
	const [peer, { id }] = await underWay("refused", 2);
	peer.send(acknowledge(PUBREC, id, 0x83));
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-4.3.3-5] [MQTT-4.3.3-6] PUBREL is repeated until its PUBCOMP, and the PUBLISH is not", async () => {
	let [peer, { id }] = await underWay("until-pubcomp", 2);
	peer.send(acknowledge(PUBREC, id));
	await peer.expect("PUBREL");
	for (let i = 0; i < 3; i++) {
		peer = await comeBack(peer, "until-pubcomp");
		expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0 });
		expect(await peer.untilPong()).toEqual([]);
	}
	peer.send(acknowledge(PUBCOMP, id));
	expect(await peer.untilPong()).toEqual([]);
	peer = await comeBack(peer, "until-pubcomp");
	expect(await payloadsOn(door, peer, "until-pubcomp")).toEqual([]);
});

test("[MQTT-4.3.3-7] a delivery that was sent once does not expire any more", async () => {
	const own = await TestDoor.open();
	try {
		const peer = await keptClient(own, "unexpired");
		await peer.subscribe("unexpired", 2);
		await publishOnce(own, "unexpired", "x", { qos: 2, properties: [[MESSAGE_EXPIRY, 10]] });
		const { id } = await peer.expect("PUBLISH");
		await lose(own, peer, "unexpired");
		own.clock.advance(30_000);
		const again = await keptClient(own, "unexpired");
		expect(await again.expect("PUBLISH")).toMatchObject({ id, qos: 2, dup: true, payload: "x" });
	} finally {
		await own.close();
	}
});

test("[MQTT-4.3.3-8] PUBREC says that the message is owned: it is there after the gateway was killed", async () => {
	const peer = await client(door, "owned");
	peer.send(publish("owned/two", "x", { qos: 2 }));
	expect(await peer.expect("PUBREC")).toMatchObject({ id: 1, reason: 0 });
	const next = await door.killed();
	try {
		expect((await next.records("mqtt")).map(({ key }) => key?.toString())).toContain("owned/two");
	} finally {
		await next.close();
	}
});

test("[MQTT-4.3.3-9] after a PUBREC that refuses, the identifier means a new message", async () => {
	const peer = await client(strict, "refused");
	peer.send(publish("not/routed", "x", { qos: 2, id: 9 }));
	expect((await peer.expect("PUBREC")).reason).toBeGreaterThanOrEqual(0x80);
	peer.send(publish("routed/a", "y", { qos: 2, id: 9 }));
	expect(await peer.expect("PUBREC")).toMatchObject({ id: 9, reason: 0 });
	peer.send(acknowledge(PUBREL, 9));
	expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 9, reason: 0 });
	expect((await strict.records("t")).map(({ value }) => value?.toString())).toEqual(["y"]);
});

test("[MQTT-4.3.3-10] until PUBREL a repetition gets PUBREC and is delivered to nobody again", async () => {
	const watcher = await client(door, "once-watcher");
	await watcher.subscribe("once", 1);
	let peer = await keptClient(door, "once");
	const twice = [publish("once", "x", { qos: 2, id: 5 }), publish("once", "x", { qos: 2, id: 5, dup: true })];
	peer.send(...twice);
	for (let i = 0; i < 2; i++) expect(await peer.expect("PUBREC")).toMatchObject({ id: 5, reason: 0 });
	peer = await comeBack(peer, "once");
	peer.send(publish("once", "x", { qos: 2, id: 5, dup: true }));
	expect(await peer.expect("PUBREC")).toMatchObject({ id: 5, reason: 0 });
	expect(await payloadsOn(door, watcher, "once")).toEqual(["x"]);
});

test("[MQTT-4.3.3-11] [MQTT-4.3.3-12] PUBREL is answered with PUBCOMP, and then the identifier means a new message", async () => {
	const peer = await client(door, "released");
	for (const payload of ["a", "b"]) {
		peer.send(publish("released", payload, { qos: 2, id: 6 }));
		expect(await peer.expect("PUBREC")).toMatchObject({ id: 6, reason: 0 });
		peer.send(acknowledge(PUBREL, 6));
		expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 6, reason: 0 });
	}
	expect(await stored("released")).toEqual(["a", "b"]);
});

test("[MQTT-4.3.3-13] the exchange is completed for a message that has expired meanwhile", async () => {
	const own = await TestDoor.open();
	try {
		const peer = await keptClient(own, "publisher");
		peer.send(publish("expired", "x", { qos: 2, properties: [[MESSAGE_EXPIRY, 1]] }));
		await peer.expect("PUBREC");
		own.clock.advance(10_000);
		peer.send(publish("expired", "x", { qos: 2, dup: true, properties: [[MESSAGE_EXPIRY, 1]] }));
		expect(await peer.expect("PUBREC")).toMatchObject({ id: 1, reason: 0 });
		peer.send(acknowledge(PUBREL, 1));
		expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 1, reason: 0 });
	} finally {
		await own.close();
	}
});

test("[MQTT-4.4.0-1] what is unacknowledged is repeated on resumption, in its order, with its identifiers", async () => {
	let peer = await keptClient(door, "repeated");
	await peer.subscribe("repeated", 2);
	const sent: Received[] = [];
	for (const [i, qos] of [2, 1, 2, 1, 2].entries()) {
		await publishOnce(door, "repeated", `${i}`, { qos });
		sent.push(await peer.expect("PUBLISH"));
	}
	peer.send(acknowledge(PUBREC, sent[0]!.id), acknowledge(PUBACK, sent[1]!.id));
	await peer.expect("PUBREL");
	await peer.untilPong();
	peer = await comeBack(peer, "repeated");
	const again: Received[] = [];
	while (again.length < 4) again.push(await peer.next());
	const publishes = again.filter(({ name }) => name === "PUBLISH");
	const rest = sent.slice(2);
	expect(publishes.map(({ qos }) => qos).sort()).toEqual([1, 2, 2]);
	// In their order, for each QoS.
	for (const wanted of [1, 2]) {
		expect(publishes.filter(({ qos }) => qos === wanted).map(({ id, payload, dup }) => [id, payload, dup])).toEqual(
			rest.filter(({ qos }) => qos === wanted).map(({ id, payload }) => [id, payload, true]),
		);
	}
	expect(again.find(({ name }) => name === "PUBREL")?.id).toBe(sent[0]!.id);
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-4.4.0-1] nothing is repeated as long as the connection lasts", async () => {
	const own = await TestDoor.open();
	try {
		const peer = await keptClient(own, "patient");
		await peer.subscribe("patient", 2);
		for (const qos of [1, 2]) await publishOnce(own, "patient", "x", { qos });
		const [, second] = [await peer.expect("PUBLISH"), await peer.expect("PUBLISH")];
		peer.send(acknowledge(PUBREC, second.id));
		await peer.expect("PUBREL");
		for (let i = 0; i < 5; i++) {
			own.clock.advance(3_600_000);
			expect(await peer.untilPong()).toEqual([]);
		}
	} finally {
		await own.close();
	}
});

test("[MQTT-4.4.0-1] nothing is repeated to a session that starts anew", async () => {
	const [peer] = await underWay("anew-session", 1);
	await lose(door, peer, "anew-session");
	const again = await client(door, "anew-session");
	expect(await again.untilPong()).toEqual([]);
});

test("[MQTT-4.4.0-2] a PUBACK or PUBREC that refuses ends the delivery: it is not repeated", async () => {
	for (const [name, qos, first] of [
		["refuses/one", 1, PUBACK],
		["refuses/two", 2, PUBREC],
	] as const) {
		const [peer, { id }] = await underWay(name, qos);
		peer.send(acknowledge(first, id, 0x80));
		expect(await peer.untilPong()).toEqual([]);
		const again = await comeBack(peer, name);
		expect(await payloadsOn(door, again, name)).toEqual([]);
	}
});

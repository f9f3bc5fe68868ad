/** Chapters 1 and 2 of MQTT 5.0: strings, integers, flags, packet identifiers and properties, as they are on the wire. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, connect, PUBACK, PUBREC, packet, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { CONTENT_TYPE, text, USER_PROPERTY, u16 } from "../support/properties.ts";
import { client, cutOff, MALFORMED, PROTOCOL_ERROR, receivedOn, refused } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const SURROGATE = Buffer.from("61eda080", "hex");
const OVERLONG = Buffer.from("c0af", "hex");
const CUT = Buffer.from("61c3", "hex");
const NUL = Buffer.from("610062", "hex");

test("[MQTT-1.5.4-1] a string that is not well-formed UTF-8, or holds a surrogate, is malformed", async () => {
	for (const wrong of [SURROGATE, OVERLONG, CUT]) {
		await cutOff(door, MALFORMED, publish(wrong, "x"));
		await cutOff(door, MALFORMED, subscribe([[wrong, 0]]));
		await refused(door, MALFORMED, connect({ userName: wrong }));
	}
});

test("[MQTT-1.5.4-2] a string that holds U+0000 is malformed", async () => {
	await cutOff(door, MALFORMED, publish(NUL, "x"));
	await cutOff(door, MALFORMED, publish("a", "x", { properties: [[CONTENT_TYPE, NUL]] }));
	await refused(door, MALFORMED, connect({ clientId: NUL }));
});

test("[MQTT-1.5.4-3] U+FEFF stays in topic names and values, wherever it stands", async () => {
	const subscriber = await client(door, "bom");
	await subscriber.subscribe("\uFEFFmark/#", 1);
	const list = [[USER_PROPERTY, ["\uFEFFname", "va\uFEFFlue"]]] as const;
	const publisher = await client(door, "bom-publisher");
	await publisher.publish("mark/\uFEFFx", "without");
	await publisher.publish("\uFEFFmark/\uFEFFx", "with", { properties: list });
	const [received] = await receivedOn(door, subscriber, "\uFEFFmark/\uFEFFx");
	expect(received).toMatchObject({ topic: "\uFEFFmark/\uFEFFx", payload: "with", properties: list });
});

test("[MQTT-1.5.5-1] a variable byte integer longer than it need be is malformed", async () => {
	await cutOff(door, MALFORMED, Buffer.from("c08000", "hex"));
	await cutOff(door, MALFORMED, packet(0x30, text("a"), 0x80, 0x00));
	await cutOff(door, MALFORMED, packet(0x82, u16(1), Buffer.from("030b8100", "hex"), text("a"), 0));
});

test("[MQTT-1.5.5-1] the server writes lengths as short as they can be", async () => {
	const subscriber = await client(door, "lengths");
	await subscriber.subscribe("lengths", 0);
	const publisher = await client(door, "lengths-publisher");
	// The strict reader of the tests refuses longer ones: bodies around each border.
	for (const size of [115, 116, 117, 118, 119, 16_371, 16_372, 16_373, 16_374]) {
		await publisher.publish("lengths", "x".repeat(size));
		expect((await subscriber.expect("PUBLISH")).payload.length).toBe(size);
	}
});

test("[MQTT-1.5.7-1] both halves of a user property are checked as strings", async () => {
	const pair = (name: Buffer, value: Buffer) =>
		packet(0x30, text("a"), 1 + 4 + name.length + value.length, 0x26, text(name), text(value));
	for (const wrong of [SURROGATE, NUL, OVERLONG]) {
		await cutOff(door, MALFORMED, pair(wrong, Buffer.from("v")));
		await cutOff(door, MALFORMED, pair(Buffer.from("n"), wrong));
	}
});

test("[MQTT-2.1.3-1] reserved flags of a packet's first byte have to have their value", async () => {
	for (const flags of [1, 2, 8]) {
		// Of a CONNECT that is no CONNECT nobody knows how to answer it.
		const peer = await Peer.silent(door);
		peer.send(Buffer.of(0x10 | flags), connect().subarray(1));
		expect(await peer.untilClosed()).toEqual([]);
		await cutOff(door, MALFORMED, packet(0xc0 | flags));
		await cutOff(door, MALFORMED, packet(0x40 | flags, u16(1)));
		await cutOff(door, MALFORMED, packet(0x50 | flags, u16(1)));
		await cutOff(door, MALFORMED, packet(0x70 | flags, u16(1)));
	}
});

test("[MQTT-2.2.1-2] [MQTT-4.3.1-1] a QoS 0 PUBLISH has no packet identifier, QoS 0 and DUP 0", async () => {
	const subscriber = await client(door, "plain");
	await subscriber.subscribe("plain", 1);
	const publisher = await client(door, "plain-publisher");
	publisher.send(publish("plain", "x", { qos: 0 }));
	expect((await subscriber.expect("PUBLISH")).bytes).toEqual(packet(0x30, text("plain"), 0, Buffer.from("x")));
});

test("[MQTT-2.2.1-3] packet identifier 0 is a protocol error", async () => {
	await cutOff(door, PROTOCOL_ERROR, publish("a", "x", { qos: 1, id: 0 }));
	await cutOff(door, PROTOCOL_ERROR, publish("a", "x", { qos: 2, id: 0 }));
	await cutOff(door, PROTOCOL_ERROR, subscribe([["a", 0]], { id: 0 }));
	await cutOff(door, PROTOCOL_ERROR, unsubscribe(["a"], { id: 0 }));
});

test("[MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] every delivery under way has an identifier of its own, not 0", async () => {
	const subscriber = await client(door, "identifiers");
	await subscriber.subscribe("identifiers", 2);
	const publisher = await client(door, "identifiers-publisher");
	const used = new Set<number>();
	let first: number | undefined;
	for (let i = 0; i < 18; i++) {
		await publisher.publish("identifiers", `${i}`, { qos: 1 + (i % 2) });
		const { id, qos } = await subscriber.expect("PUBLISH");
		expect([id > 0, used.has(id)]).toEqual([true, false]);
		used.add(id);
		// One that is over may come again; the others may not.
		if (qos === 1 && first === undefined) {
			first = id;
			used.delete(id);
			subscriber.send(acknowledge(PUBACK, id));
		}
	}
});

test("[MQTT-2.2.1-5] PUBACK, PUBREC, PUBREL and PUBCOMP have the identifier of their PUBLISH", async () => {
	const peer = await client(door, "answers");
	await peer.publish("answers", "x", { qos: 1, id: 65_535 }).then(({ id }) => expect(id).toBe(65_535));
	peer.send(publish("answers", "x", { qos: 2, id: 0x1234 }));
	expect(await peer.expect("PUBREC")).toMatchObject({ id: 0x1234, reason: 0 });
	peer.send(packet(0x62, u16(0x1234)));
	expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 0x1234, reason: 0 });
	await peer.subscribe("answers/two", 2);
	const publisher = await client(door, "answers-publisher");
	await publisher.publish("answers/two", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(acknowledge(PUBREC, id));
	expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0 });
});

test("[MQTT-2.2.1-6] SUBACK and UNSUBACK have the identifier of their request", async () => {
	const peer = await client(door, "requests");
	peer.send(subscribe([["a", 0]], { id: 0xfffe }), unsubscribe(["a"], { id: 0x0102 }));
	expect((await peer.expect("SUBACK")).id).toBe(0xfffe);
	expect((await peer.expect("UNSUBACK")).id).toBe(0x0102);
});

test("[MQTT-2.2.2-1] a packet without properties says so with a length of zero", async () => {
	const peer = await client(door, "bare");
	peer.send(subscribe([["bare", 0]]));
	expect((await peer.next()).bytes.toString("hex")).toBe("900400010000");
	peer.send(publish("bare", "x", { qos: 0 }));
	expect((await peer.next()).bytes).toEqual(packet(0x30, text("bare"), 0, Buffer.from("x")));
	peer.send(unsubscribe(["bare"]));
	expect((await peer.next()).bytes.toString("hex")).toBe("b00400010000");
});

test("[MQTT-2.2.2-1] a request without the length of its properties is malformed", async () => {
	await cutOff(door, MALFORMED, packet(0x82, u16(1)));
	await cutOff(door, MALFORMED, packet(0x30, text("a")));
});

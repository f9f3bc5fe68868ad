/** What holds for every packet of MQTT 3.1.1 (sections 1.5 and 2): strings, flags, packet identifiers; and sections 4.8 and 7. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import {
	acknowledge,
	connect,
	PUBACK,
	packet,
	pingRequest,
	publish,
	subscribe,
	unsubscribe,
} from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { u16 } from "../support/properties.ts";
import { client, closesSilently, cutOff, refused } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;

/** A packet or CONNECT with these bytes in each of its strings. */
async function inEveryString(bytes: Buffer): Promise<void> {
	await refused(door, connect({ ...v4, clientId: bytes }));
	await refused(door, connect({ ...v4, userName: bytes }));
	await refused(door, connect({ ...v4, will: { topic: bytes, payload: "" } }));
	await cutOff(door, publish(bytes, "x", v4));
	await cutOff(door, publish(bytes, "x", { ...v4, qos: 1 }));
	await cutOff(door, subscribe([[bytes, 0]], v4));
	await cutOff(door, unsubscribe([bytes], v4));
}

test("[MQTT-1.5.3-1] ill-formed UTF-8 and surrogates close the connection", async () => {
	for (const hex of ["ff", "c3", "c080", "e08080", "f0808080", "eda080", "edbfbf", "f4908080", "80", "e282"]) {
		await inEveryString(Buffer.from(hex, "hex"));
	}
});

test("[MQTT-1.5.3-2] U+0000 closes the connection", async () => {
	for (const value of ["\0", "a\0", "\0a", "a\0b", "é\0"]) await inEveryString(Buffer.from(value));
});

test("[MQTT-1.5.3-3] U+FEFF is part of the string wherever it stands", async () => {
	const subscriber = await client(door, "bom");
	await subscriber.subscribe("+/bom", 0);
	const publisher = await client(door, "bom-publisher");
	await publisher.publish("\ufeffx\ufeff/bom", "marked");
	expect((await subscriber.expect("PUBLISH")).topic).toBe("\ufeffx\ufeff/bom");
	const exact = await client(door, "bom-exact");
	await exact.subscribe("\ufeffy", 0);
	await publisher.publish("y", "without");
	await publisher.publish("\ufeffy", "with");
	expect(await exact.expect("PUBLISH")).toMatchObject({ topic: "\ufeffy", payload: "with" });
});

/** Every packet of a client, whole, with its flags as they must be. */
const WELL_FORMED = [
	acknowledge(PUBACK, 1),
	packet(0x50, u16(1)),
	packet(0x62, u16(1)),
	packet(0x70, u16(1)),
	subscribe([["a", 0]], v4),
	unsubscribe(["a"], v4),
	pingRequest(),
	packet(0xe0),
];

test("[MQTT-2.2.2-1] the server's reserved flags are those of the table", async () => {
	const peer = await client(door, "flags", { clean: false });
	peer.send(subscribe([["flags/a", 2]], v4), unsubscribe(["flags/b"], v4), publish("flags/a", "2", { ...v4, qos: 2 }));
	const seen = new Map<string, number>();
	while (!seen.has("PUBREL") || !seen.has("PUBCOMP") || !seen.has("UNSUBACK")) {
		const { name, flags, id } = await peer.next();
		if (name !== "PUBLISH") seen.set(name, flags);
		if (name === "PUBREC") peer.send(packet(0x62, u16(id)));
		if (name === "PUBLISH") peer.send(packet(0x50, u16(id)));
	}
	expect(Object.fromEntries(seen)).toEqual({ SUBACK: 0, UNSUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0 });
	expect(peer.connack?.flags).toBe(0);
});

test("[MQTT-2.2.2-2] wrong flags close the connection, for every packet that has them", async () => {
	for (const bytes of WELL_FORMED) {
		for (let flags = 0; flags < 16; flags++) {
			if (flags === (bytes[0]! & 15)) continue;
			await cutOff(door, Buffer.concat([Buffer.of((bytes[0]! & 0xf0) | flags), bytes.subarray(1)]));
		}
	}
	const whole = connect({ ...v4, clientId: "flagged" });
	for (let flags = 1; flags < 16; flags++) {
		await refused(door, Buffer.concat([Buffer.of(0x10 | flags), whole.subarray(1)]));
	}
});

test("[MQTT-2.3.1-1] packet identifier 0 closes the connection", async () => {
	await cutOff(door, subscribe([["a", 0]], { ...v4, id: 0 }));
	await cutOff(door, unsubscribe(["a"], { ...v4, id: 0 }));
	await cutOff(door, publish("a", "x", { ...v4, qos: 1, id: 0 }));
	await cutOff(door, publish("a", "x", { ...v4, qos: 2, id: 0 }));
});

test("[MQTT-2.3.1-4] the server's identifiers are not 0 and not in use", async () => {
	const peer = await client(door, "identifiers");
	await peer.subscribe("identifiers", 2);
	const publisher = await client(door, "identifiers-publisher");
	const inUse = new Set<number>();
	for (let i = 0; i < 60; i++) {
		await publisher.publish("identifiers", `${i}`, { qos: i % 2 === 0 ? 1 : 2 });
		const { id } = await peer.expect("PUBLISH");
		expect(id).toBeGreaterThan(0);
		expect(inUse.has(id)).toBe(false);
		inUse.add(id);
		if (i % 3 !== 0 || i % 2 !== 0) continue; // the others stay in use
		peer.send(acknowledge(PUBACK, id));
		await peer.untilPong();
		inUse.delete(id);
		if (inUse.size > 12) break;
	}
	expect(inUse.size).toBeGreaterThan(12);
});

test("[MQTT-2.3.1-5] a QoS 0 PUBLISH has no identifier, in either direction", async () => {
	const peer = await client(door, "quality-0");
	await peer.subscribe("quality/0", 0);
	peer.send(publish("quality/0", "\0\x01payload", v4));
	expect((await peer.expect("PUBLISH")).bytes).toEqual(publish("quality/0", "\0\x01payload", v4));
});

test("[MQTT-2.3.1-6] PUBACK, PUBREC, PUBREL and PUBCOMP repeat the identifier of the PUBLISH", async () => {
	const peer = await client(door, "repeats");
	for (const id of [1, 255, 256, 65_535]) {
		expect((await peer.publish("repeats", "x", { qos: 1, id })).id).toBe(id);
		peer.send(publish("repeats", "x", { ...v4, qos: 2, id }));
		expect((await peer.expect("PUBREC")).id).toBe(id);
		peer.send(packet(0x62, u16(id)));
		expect((await peer.expect("PUBCOMP")).id).toBe(id);
	}
	await peer.subscribe("repeated", 2);
	await (await client(door, "repeats-publisher")).publish("repeated", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(packet(0x50, u16(id)));
	expect((await peer.expect("PUBREL")).id).toBe(id);
});

test("[MQTT-2.3.1-7] SUBACK and UNSUBACK repeat the identifier of their request", async () => {
	const peer = await client(door, "requests");
	for (const id of [1, 255, 256, 65_535]) {
		peer.send(subscribe([["requests", 0]], { ...v4, id }));
		expect((await peer.expect("SUBACK")).id).toBe(id);
		peer.send(unsubscribe(["requests"], { ...v4, id }));
		expect((await peer.expect("UNSUBACK")).id).toBe(id);
	}
});

test("[MQTT-4.8.0-1] a protocol violation ends its connection and no other", async () => {
	const bystander = await client(door, "bystander");
	const violations = [
		packet(0xf0),
		packet(0x00),
		packet(0x20, 0, 0),
		packet(0x90, u16(1), 0),
		packet(0xb0, u16(1)),
		packet(0xd0),
		packet(0x82, u16(1)),
		packet(0xa2, u16(1)),
		packet(0xc0, 0),
		packet(0x40, 0),
		packet(0x30, u16(3), 0x61),
		Buffer.from("30ffffffff7f", "hex"),
	];
	for (const bytes of violations) {
		await cutOff(door, bytes);
		await bystander.publish("bystander", "still served");
	}
});

test("[MQTT-4.8.0-2] a message that storage refuses closes the connection without PUBACK", async () => {
	for (const qos of [1, 2]) {
		const peer = await client(door, `too-large-${qos}`);
		peer.send(publish("too/large", Buffer.alloc(200_000), { ...v4, qos }));
		await closesSilently(peer);
	}
	expect((await door.records("mqtt")).some((record) => record.key?.toString() === "too/large")).toBe(false);
});

test("[MQTT-7.0.0-2] a session needs nothing beyond the standard", async () => {
	const peer = await client(door, "plain");
	await peer.subscribe("plain/+/topic", 2);
	const publisher = await client(door, "plain-publisher");
	for (const qos of [1, 2]) {
		await publisher.publish("plain/any/topic", `at ${qos}`, { qos });
		expect(await peer.expect("PUBLISH")).toMatchObject({ payload: `at ${qos}`, qos });
	}
	peer.send(packet(0xe0));
	await closesSilently(peer);
});

test("[MQTT-7.1.1-1] the stream may come in pieces of any size", async () => {
	const peer = await Peer.silent(door, 4);
	const all = Buffer.concat([
		connect({ ...v4, clientId: "pieces" }),
		publish("pieces", "x".repeat(300), { ...v4, qos: 1, id: 3 }),
		packet(0xc0),
	]);
	peer.raw.socket.setNoDelay(true);
	for (const byte of all) {
		peer.send(Buffer.of(byte));
		await new Promise((resolve) => setImmediate(resolve));
	}
	expect((await peer.expect("CONNACK")).reason).toBe(0);
	const answers = [await peer.next(), await peer.next()].map((each) => each.name).sort();
	expect(answers).toEqual(["PINGRESP", "PUBACK"]);
});

test("a Remaining Length in more bytes than it needs, which only 5.0 forbids, is taken", async () => {
	const raw = await door.socket();
	const body = connect({ ...v4, clientId: "padded" }).subarray(2);
	raw.send(Buffer.concat([Buffer.of(0x10, body.length | 0x80, 0x80, 0), body]), Buffer.of(0xc0, 0x80, 0));
	expect((await raw.packet()).toString("hex")).toBe("20020000");
	expect((await raw.packet()).toString("hex")).toBe("d000");
	const five = await door.socket();
	const connect5 = connect({ level: 5, clientId: "padded5" }).subarray(2);
	five.send(Buffer.concat([Buffer.of(0x10, connect5.length | 0x80, 0), connect5]));
	expect((await five.rest()).subarray(0, 1).toString("hex")).toBe("20");
});

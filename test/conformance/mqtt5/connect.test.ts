/** Sections 3.1.0, 3.1.2.1 to 3.1.2.4, 3.1.3 and 3.1.4 of MQTT 5.0: who is let in, as which session, and who is not. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import {
	acknowledge,
	connect,
	disconnect,
	PUBACK,
	packet,
	pingRequest,
	publish,
	subscribe,
	unsubscribe,
} from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import {
	ASSIGNED_CLIENT_ID,
	AUTHENTICATION_METHOD,
	properties,
	RECEIVE_MAXIMUM,
	text,
	u16,
} from "../support/properties.ts";
import {
	client,
	expiry,
	keptClient,
	lose,
	MALFORMED,
	PROTOCOL_ERROR,
	payloadsOn,
	publishOnce,
	refused,
} from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const WRONG = Buffer.from("61ff", "hex");
const none = Buffer.alloc(0);
/** CONNECT from its flags on. */
const connectWith = (flags: number, ...payload: Buffer[]) =>
	packet(0x10, text("MQTT"), 5, flags, u16(0), properties(), ...payload);

test("[MQTT-3.1.0-1] a first packet that is not CONNECT closes the connection", async () => {
	const others = [
		publish("first", "x"),
		subscribe([["a", 0]]),
		unsubscribe(["a"]),
		pingRequest(),
		disconnect(),
		acknowledge(PUBACK, 1),
		packet(0xf0, 0x18, properties([[AUTHENTICATION_METHOD, "m"]])),
	];
	for (const bytes of others) {
		const peer = await Peer.silent(door);
		peer.send(bytes, connect({ clientId: "too-late" }));
		expect(await peer.untilClosed()).toEqual([]);
	}
	expect(door.door.engine.clients.has("too-late")).toBe(false);
});

test("[MQTT-3.1.0-2] [MQTT-3.2.0-2] a second CONNECT is a protocol error, closes, and gets no second CONNACK", async () => {
	const peer = await client(door, "twice");
	peer.send(connect({ clientId: "twice" }), publish("twice", "x"));
	expect(await peer.untilClosed()).toMatchObject([{ name: "DISCONNECT", reason: PROTOCOL_ERROR }]);
	expect((await door.records("mqtt")).some((record) => record.key?.toString() === "twice")).toBe(false);
});

test("[MQTT-3.1.2-1] another protocol name closes the connection", async () => {
	for (const protocolName of ["mqtt", "MQTT5", "MQT", "", "HTTP", "MQTT\u0000"]) {
		const peer = await Peer.silent(door);
		peer.send(connect({ protocolName }));
		expect(await peer.untilClosed()).toEqual([]);
	}
});

test("[MQTT-3.1.2-2] a version that is not known is told so and closed", async () => {
	for (const protocolLevel of [0, 1, 3, 6, 0x84, 0x85, 255]) {
		const raw = await door.socket();
		raw.send(connect({ protocolLevel }));
		// As 3.1.1 says it: nobody knows whether the client would understand the CONNACK of 5.0.
		expect((await raw.rest()).toString("hex")).toBe("20020001");
	}
});

test("[MQTT-3.1.2-3] the reserved flag of CONNECT is malformed when set", async () => {
	await refused(door, MALFORMED, connect({ flags: 0x03 }));
});

test("[MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] Clean Start discards the former session", async () => {
	const first = await keptClient(door, "clean");
	await first.subscribe("clean/#", 1);
	await lose(door, first, "clean");
	await publishOnce(door, "clean/a", "of the former session");
	const second = await client(door, "clean", { clean: true, properties: [expiry(1000)] });
	expect(second.connack!.sessionPresent).toBe(false);
	await second.subscribe("clean/b", 1);
	expect(await payloadsOn(door, second, "clean/b")).toEqual([]);
	await lose(door, second, "clean");
	// The new session is a whole one: it can be continued.
	expect((await keptClient(door, "clean")).connack!.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-5] [MQTT-3.1.4-4] [MQTT-3.2.2-3] without Clean Start the session goes on where it was", async () => {
	const first = await keptClient(door, "resume");
	await first.subscribe("resume", 1);
	await publishOnce(door, "resume", "under way");
	const { id } = await first.expect("PUBLISH");
	await lose(door, first, "resume");
	await publishOnce(door, "resume", "later");
	const second = await keptClient(door, "resume");
	expect(second.connack).toMatchObject({ reason: 0, sessionPresent: true });
	expect(await second.expect("PUBLISH")).toMatchObject({ id, payload: "under way", dup: true });
	expect(await second.expect("PUBLISH")).toMatchObject({ payload: "later", dup: false });
});

test("[MQTT-3.1.2-6] [MQTT-3.2.2-3] without Clean Start a missing session is made, and Session Present is 0", async () => {
	const first = await keptClient(door, "fresh");
	expect(first.connack).toMatchObject({ reason: 0, sessionPresent: false });
	await first.subscribe("fresh", 1);
	expect(await payloadsOn(door, first, "fresh")).toEqual([]);
	await lose(door, first, "fresh");
	expect((await keptClient(door, "fresh")).connack!.sessionPresent).toBe(true);
});

test("[MQTT-3.1.3-1] the payload's fields are read in their order", async () => {
	const watcher = await client(door, "order-watcher");
	await watcher.subscribe("order/topic", 2);
	const peer = await client(door, "order", {
		will: { topic: "order/topic", payload: "order-payload", qos: 1 },
		userName: "order-name",
		password: "order-password",
	});
	expect(door.door.engine.clients.has("order")).toBe(true);
	peer.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "order/topic", payload: "order-payload" });
});

test("[MQTT-3.1.3-2] the client identifier, as it is written, names the session", async () => {
	for (const clientId of ["Name", "name", "name ", "näme", "na\u0308me"]) {
		const peer = await keptClient(door, clientId);
		expect(peer.connack!.sessionPresent).toBe(false);
		await peer.subscribe(`of/${clientId}`, 1);
		await lose(door, peer, clientId);
	}
	await publishOnce(door, "of/name", "for name alone");
	const other = await keptClient(door, "Name");
	expect(other.connack!.sessionPresent).toBe(true);
	expect(await payloadsOn(door, other, "of/Name")).toEqual([]);
	expect(await (await keptClient(door, "name")).expect("PUBLISH")).toMatchObject({ payload: "for name alone" });
});

test("[MQTT-3.1.3-3] a CONNECT without a client identifier is malformed", async () => {
	await refused(door, MALFORMED, connectWith(0x02));
	await refused(door, MALFORMED, connectWith(0x02, Buffer.of(0, 5, 0x61)));
});

test("[MQTT-3.1.3-4] [MQTT-3.1.3-8] a client identifier that is no UTF-8 string is refused, and closed", async () => {
	await refused(door, MALFORMED, connect({ clientId: WRONG }));
	await refused(door, MALFORMED, connect({ clientId: Buffer.from("eda080", "hex") }));
});

test("[MQTT-3.1.3-5] identifiers of 1 to 23 letters and digits are accepted", async () => {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	for (const clientId of [letters.slice(0, 1), letters.slice(0, 23), letters.slice(23, 46), letters.slice(39, 62)]) {
		await client(door, clientId);
		expect(door.door.engine.clients.has(clientId)).toBe(true);
	}
});

test("[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] an empty identifier is replaced by a unique one that CONNACK tells", async () => {
	const assigned = new Set<unknown>();
	for (const clean of [true, false, true, false]) {
		const peer = await client(door, "", { clean, properties: [expiry(1000)] });
		expect(peer.connack!.sessionPresent).toBe(false);
		const clientId = peer.connack!.property(ASSIGNED_CLIENT_ID) as string;
		expect(clientId.length).toBeGreaterThan(0);
		expect(door.door.engine.clients.has(clientId)).toBe(true);
		assigned.add(clientId);
		// It is a name like others: the session can be continued with it.
		await lose(door, peer, clientId);
		const again = await keptClient(door, clientId);
		expect(again.connack!.sessionPresent).toBe(true);
		expect(again.connack!.property(ASSIGNED_CLIENT_ID)).toBeUndefined();
	}
	expect(assigned.size).toBe(4);
});

test("[MQTT-3.1.3-11] a will topic that is no UTF-8 string is malformed", async () => {
	await refused(door, MALFORMED, connect({ will: { topic: WRONG, payload: "x" } }));
});

test("[MQTT-3.1.3-12] a user name that is no UTF-8 string is malformed", async () => {
	await refused(door, MALFORMED, connect({ userName: WRONG }));
});

test("[MQTT-3.1.4-1] [MQTT-3.2.2-6] [MQTT-3.2.2-7] a CONNECT of the wrong form is refused with Session Present 0, and closed", async () => {
	const former = await keptClient(door, "wrong-form");
	await lose(door, former, "wrong-form");
	const wrong: [number, Buffer][] = [
		[MALFORMED, connectWith(0, text("wrong-form"), Buffer.of(0))],
		[MALFORMED, packet(0x10, text("MQTT"), 5, 0, u16(0))],
		[MALFORMED, packet(0x10, text("MQTT"), 5, 0, u16(0), Buffer.from("037f0000", "hex"), text("wrong-form"))],
		[PROTOCOL_ERROR, connect({ clientId: "wrong-form", clean: false, properties: [[RECEIVE_MAXIMUM, 0]] })],
		[PROTOCOL_ERROR, connect({ clientId: "wrong-form", clean: false, properties: [expiry(1), expiry(1)] })],
	];
	for (const [reason, bytes] of wrong) await refused(door, reason, bytes);
	expect((await keptClient(door, "wrong-form")).connack!.sessionPresent).toBe(true);
});

test("[MQTT-3.1.4-2] further checks that a CONNECT fails close the connection", async () => {
	const small = await TestDoor.open({ maxConnections: 1, routes: [{ filter: "a/#", topic: "a" }] });
	try {
		await refused(small, 0x90, connect({ will: { topic: "no/route", payload: "x" } }));
		await refused(small, 0x8c, connect({ properties: [[AUTHENTICATION_METHOD, "unknown"]] }));
		await client(small, "the only one");
		await refused(small, 0x97, connect({ clientId: "one too many" }));
	} finally {
		await small.close();
	}
});

test("[MQTT-3.1.4-3] a client that connects again ends its former connection with 0x8E", async () => {
	const first = await client(door, "double");
	const second = await client(door, "double");
	expect(await first.untilClosed()).toMatchObject([{ name: "DISCONNECT", reason: 0x8e }]);
	expect(await second.untilPong()).toEqual([]);
});

test("[MQTT-3.1.4-5] [MQTT-3.2.0-1] an accepted CONNECT gets CONNACK 0x00 before anything else", async () => {
	const first = await keptClient(door, "first");
	await first.subscribe("first", 1);
	await lose(door, first, "first");
	for (let i = 0; i < 5; i++) await publishOnce(door, "first", "waiting");
	const peer = await Peer.silent(door);
	peer.send(
		connect({ clientId: "first", clean: false, properties: [expiry(1000)] }),
		pingRequest(),
		subscribe([["other", 0]]),
		publish("first", "x", { qos: 1 }),
	);
	expect(await peer.next()).toMatchObject({ name: "CONNACK", reason: 0, sessionPresent: true });
	const names = [];
	for (let i = 0; i < 8; i++) names.push((await peer.next()).name);
	expect(names).not.toContain("CONNACK");
});

test("[MQTT-3.1.4-6] nothing that follows a refused CONNECT is processed", async () => {
	const refusing = [
		connect({ clientId: "behind", properties: [[AUTHENTICATION_METHOD, "unknown"]] }),
		connect({ clientId: "behind", flags: 0x03 }),
	];
	for (const bytes of refusing) {
		const peer = await Peer.silent(door);
		peer.send(bytes, publish("behind", "x", { qos: 1 }), subscribe([["behind", 1]]), connect({ clientId: "behind" }));
		expect((await peer.untilClosed()).map(({ name }) => name)).toEqual(["CONNACK"]);
	}
	await publishOnce(door, "behind", "stored");
	const stored = (await door.records("mqtt")).filter((record) => record.key?.toString() === "behind");
	expect(stored.map((record) => record.value?.toString())).toEqual(["stored"]);
});

/** Flags of CONNECT that do not fit what follows. */
const unfitting: [name: string, bytes: Buffer][] = [
	["[MQTT-3.1.2-9] Will Flag 1 without the will's properties is malformed", connectWith(0x06, text("c"))],
	["[MQTT-3.1.2-9] Will Flag 1 without the will's topic is malformed", connectWith(0x06, text("c"), properties())],
	[
		"[MQTT-3.1.2-9] Will Flag 1 without the will's payload is malformed",
		connectWith(0x06, text("c"), properties(), text("topic")),
	],
	["[MQTT-3.1.2-11] Will QoS 1 without a will is malformed", connectWith(0x0a, text("c"))],
	[
		"[MQTT-3.1.2-12] Will QoS 3 is malformed",
		connectWith(0x1e, text("c"), properties(), text("topic"), text("payload")),
	],
	["[MQTT-3.1.2-13] Will Retain without a will is malformed", connectWith(0x22, text("c"))],
	["[MQTT-3.1.2-16] a user name without its flag is malformed", connectWith(0x02, text("c"), text("name"))],
	["[MQTT-3.1.2-17] a User Name Flag without a user name is malformed", connectWith(0x82, text("c"), none)],
	["[MQTT-3.1.2-18] a password without its flag is malformed", connectWith(0x82, text("c"), text("name"), text("p"))],
	["[MQTT-3.1.2-19] a Password Flag without a password is malformed", connectWith(0xc2, text("c"), text("name"))],
];
for (const [name, bytes] of unfitting) {
	test(name, async () => {
		await refused(door, MALFORMED, bytes);
	});
}

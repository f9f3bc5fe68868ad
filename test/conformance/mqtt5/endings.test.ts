/** Sections 3.10 to 3.15, 4.1 and 4.13 of MQTT 5.0: UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH, and how things end. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import {
	acknowledge,
	connect,
	disconnect,
	PUBACK,
	PUBCOMP,
	PUBREC,
	packet,
	pingRequest,
	publish,
	subscribe,
	unsubscribe,
} from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { AUTHENTICATION_METHOD, properties, SESSION_EXPIRY, text, u16 } from "../support/properties.ts";
import {
	client,
	cutOff,
	endsWith,
	expiry,
	keptClient,
	lose,
	MALFORMED,
	PROTOCOL_ERROR,
	payloadsOn,
	publishOnce,
} from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

test("[MQTT-3.10.1-1] UNSUBSCRIBE with flags other than 0010 is malformed", async () => {
	const body = [u16(1), properties(), text("a")] as const;
	for (const flags of [0x00, 0x01, 0x03, 0x06, 0x0a]) await cutOff(door, MALFORMED, packet(0xa0 | flags, ...body));
});

test("[MQTT-3.10.3-1] a filter of UNSUBSCRIBE that is no UTF-8 string is malformed", async () => {
	await cutOff(door, MALFORMED, unsubscribe([Buffer.from("61ff", "hex")]));
});

test("[MQTT-3.10.3-2] an UNSUBSCRIBE without a filter is a protocol error", async () => {
	await cutOff(door, PROTOCOL_ERROR, unsubscribe([]));
});

test("[MQTT-3.10.4-1] only the filter that is written the same ends", async () => {
	const peer = await client(door, "exact");
	await peer.subscribe("exact/+", 1);
	peer.send(unsubscribe(["exact/#", "exact/a", "Exact/+", "exact/+/", "+/+"]));
	expect((await peer.expect("UNSUBACK")).reasons).toEqual([0x11, 0x11, 0x11, 0x11, 0x11]);
	await publishOnce(door, "exact/a", "still");
	expect(await payloadsOn(door, peer, "exact/a")).toEqual(["still"]);
	peer.send(unsubscribe(["exact/+"]), unsubscribe(["exact/+"]));
	expect((await peer.expect("UNSUBACK")).reasons).toEqual([0x00]);
	expect((await peer.expect("UNSUBACK")).reasons).toEqual([0x11]);
});

test("[MQTT-3.10.4-2] nothing new comes for a subscription that ended; others stay", async () => {
	const peer = await keptClient(door, "ended");
	await peer.subscribe("ended/a", 1);
	await peer.subscribe("ended/b", 1);
	peer.send(unsubscribe(["ended/a"]));
	await peer.expect("UNSUBACK");
	for (const topic of ["ended/a", "ended/b"]) await publishOnce(door, topic, topic);
	expect(await payloadsOn(door, peer, "ended/b")).toEqual(["ended/b"]);
	await lose(door, peer, "ended");
	await publishOnce(door, "ended/a", "while away");
	expect(await payloadsOn(door, await keptClient(door, "ended"), "ended/b")).toEqual([]);
});

test("[MQTT-3.10.4-3] a QoS 2 delivery that had begun is completed after UNSUBSCRIBE", async () => {
	const peer = await client(door, "completes");
	await peer.subscribe("completes", 2);
	await publishOnce(door, "completes", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(unsubscribe(["completes"]));
	await peer.expect("UNSUBACK");
	peer.send(acknowledge(PUBREC, id));
	expect(await peer.expect("PUBREL")).toMatchObject({ id, reason: 0 });
	peer.send(acknowledge(PUBCOMP, id));
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.10.4-3] deliveries that had begun are repeated to a session that returns after UNSUBSCRIBE", async () => {
	const peer = await keptClient(door, "repeats");
	await peer.subscribe("repeats", 2);
	for (const qos of [1, 2]) await publishOnce(door, "repeats", `of ${qos}`, { qos });
	await peer.expect("PUBLISH");
	await peer.expect("PUBLISH");
	peer.send(unsubscribe(["repeats"]));
	await peer.expect("UNSUBACK");
	await lose(door, peer, "repeats");
	const again = await keptClient(door, "repeats");
	const payloads = [(await again.expect("PUBLISH")).payload, (await again.expect("PUBLISH")).payload];
	expect(payloads.sort()).toEqual(["of 1", "of 2"]);
});

test("[MQTT-3.10.4-4] [MQTT-3.10.4-5] UNSUBSCRIBE is answered with UNSUBACK of its identifier, also where nothing ends", async () => {
	const peer = await client(door, "unsubscribes");
	for (const id of [1, 0x1000, 0xffff]) {
		peer.send(unsubscribe(["never/subscribed"], { id }));
		expect(await peer.next()).toMatchObject({ name: "UNSUBACK", id, reasons: [0x11] });
	}
});

test("[MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] several filters get one UNSUBACK with a code for each, in their order", async () => {
	const peer = await client(door, "together");
	peer.send(
		subscribe([
			["t/a", 0],
			["t/b", 0],
		]),
	);
	await peer.expect("SUBACK");
	peer.send(unsubscribe(["t/x", "t/b", "t/a", "t/b"]));
	expect((await peer.next()).reasons).toEqual([0x11, 0x00, 0x00, 0x11]);
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.12.4-1] every PINGREQ is answered with PINGRESP", async () => {
	const peer = await client(door, "pings");
	peer.send(pingRequest(), pingRequest(), pingRequest());
	for (let i = 0; i < 3; i++) expect((await peer.next()).bytes.toString("hex")).toBe("d000");
});

test("[MQTT-3.14.0-1] the server sends no DISCONNECT where it has not accepted the CONNECT", async () => {
	for (const bytes of [
		connect({ properties: [[AUTHENTICATION_METHOD, "m"]] }),
		connect({ flags: 0x03 }),
		pingRequest(),
		Buffer.from("00", "hex"),
	]) {
		const peer = await Peer.silent(door);
		peer.send(bytes);
		expect((await peer.untilClosed()).map(({ name }) => name)).not.toContain("DISCONNECT");
	}
	const silent = await Peer.silent(door);
	await new Promise((resolve) => setImmediate(resolve));
	door.clock.advance(60_000);
	expect(await silent.untilClosed()).toEqual([]);
});

test("[MQTT-3.14.1-1] DISCONNECT with reserved bits is answered with DISCONNECT 0x81", async () => {
	for (const flags of [1, 2, 4, 8]) await cutOff(door, MALFORMED, packet(0xe0 | flags));
});

test("[MQTT-3.14.2-1] a code that is not in the table, or not a client's, is a protocol error", async () => {
	for (const reason of [0x01, 0x03, 0x8b, 0x8e]) await cutOff(door, PROTOCOL_ERROR, disconnect(reason));
});

test("[MQTT-3.14.2-2] a server's DISCONNECT has no Session Expiry Interval", async () => {
	const peer = await keptClient(door, "expiring");
	const second = await keptClient(door, "expiring");
	expect((await endsWith(peer, 0x8e)).property(SESSION_EXPIRY)).toBeUndefined();
	second.send(packet(0xf0, 0x18, 0));
	expect((await endsWith(second, PROTOCOL_ERROR)).property(SESSION_EXPIRY)).toBeUndefined();
});

test("a client's DISCONNECT changes the session's expiry, but not from 0", async () => {
	const peer = await keptClient(door, "changes");
	peer.send(disconnect(0, [expiry(0)]));
	expect(await peer.untilClosed()).toEqual([]);
	expect((await keptClient(door, "changes")).connack!.sessionPresent).toBe(false);
	await cutOff(door, PROTOCOL_ERROR, disconnect(0, [expiry(10)]));
});

test("[MQTT-3.14.4-1] nothing follows a DISCONNECT that the server sends", async () => {
	const peer = await client(door, "last");
	await peer.subscribe("last", 1);
	peer.send(
		publish("last", "x", { qos: 1, id: 1 }),
		publish("last", "y", { qos: 1, id: 2 }),
		packet(0xf0, 0x18, 0),
		pingRequest(),
		publish("last", "z", { qos: 1, id: 3 }),
	);
	const names = (await peer.untilClosed()).map(({ name }) => name);
	expect(names.at(-1)).toBe("DISCONNECT");
	expect(names.filter((name) => name === "DISCONNECT" || name === "PINGRESP")).toEqual(["DISCONNECT"]);
	expect((await door.records("mqtt")).map((record) => record.value?.toString())).not.toContain("z");
});

test("[MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1] a violation is told in DISCONNECT, and the server closes", async () => {
	const violations: [number, Buffer][] = [
		[MALFORMED, packet(0x82, u16(1), 0)],
		[MALFORMED, Buffer.from("c0ffffffff01", "hex")],
		[PROTOCOL_ERROR, packet(0xd0)],
		[PROTOCOL_ERROR, packet(0x90, u16(1), 0, 0)],
		[PROTOCOL_ERROR, packet(0x20, 0, 0, 0)],
		[MALFORMED, packet(0x00)],
	];
	for (const [reason, bytes] of violations) {
		const peer = await client(door, "violates");
		peer.send(bytes);
		const all = await peer.untilClosed();
		expect(all.map(({ name }) => name)).toEqual(["DISCONNECT"]);
		// The standard leaves open which of the two a packet in the wrong direction is.
		expect([reason, MALFORMED, PROTOCOL_ERROR]).toContain(all[0]!.reason);
	}
});

test("[MQTT-4.13.1-1] one violation ends one connection and no other", async () => {
	const other = await client(door, "bystander");
	await other.subscribe("bystander", 1);
	await cutOff(door, MALFORMED, packet(0x82, u16(1), 0, text("a#"), 0));
	await publishOnce(door, "bystander", "x");
	expect(await other.expect("PUBLISH")).toMatchObject({ payload: "x" });
});

test("[MQTT-3.15.1-1] AUTH with flags other than 0 is malformed", async () => {
	for (const flags of [1, 2, 4, 8]) {
		await cutOff(door, MALFORMED, packet(0xf0 | flags, 0x18, properties([[AUTHENTICATION_METHOD, "m"]])));
	}
});

test("[MQTT-4.1.0-1] a session stays while its connection is open, however short its expiry", async () => {
	const peer = await client(door, "stays", { properties: [expiry(5)] });
	await peer.subscribe("stays", 1);
	await publishOnce(door, "stays", "under way");
	const { id } = await peer.expect("PUBLISH");
	door.clock.advance(100_000);
	await publishOnce(door, "stays", "later");
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "later" });
	peer.send(acknowledge(PUBACK, id));
	await lose(door, peer, "stays");
	expect((await keptClient(door, "stays")).connack!.sessionPresent).toBe(true);
});

test("[MQTT-4.1.0-2] a session ends when it has been without a connection for its expiry, and not before", async () => {
	const peer = await client(door, "expires", { properties: [expiry(10)] });
	await peer.subscribe("expires", 1);
	await lose(door, peer, "expires");
	door.clock.advance(8000);
	const again = await client(door, "expires", { clean: false, properties: [expiry(10)] });
	expect(again.connack!.sessionPresent).toBe(true);
	await lose(door, again, "expires");
	await publishOnce(door, "expires", "never seen");
	door.clock.advance(13_000);
	const late = await client(door, "expires", { clean: false, properties: [expiry(10)] });
	expect(late.connack!.sessionPresent).toBe(false);
	await late.subscribe("expires", 1);
	expect(await payloadsOn(door, late, "expires")).toEqual([]);
});

test("[MQTT-4.1.0-2] without an expiry the session ends with its connection", async () => {
	const peer = await client(door, "unkept");
	await peer.subscribe("unkept", 1);
	await lose(door, peer, "unkept");
	expect((await client(door, "unkept", { clean: false })).connack!.sessionPresent).toBe(false);
});

test("[MQTT-4.2.0-1] packets may be cut anywhere on their way", async () => {
	const bytes = Buffer.concat([
		connect({ clientId: "pieces" }),
		subscribe([["pieces", 1]]),
		publish("pieces", "x", { qos: 1 }),
	]);
	const peer = await Peer.silent(door);
	peer.raw.socket.setNoDelay(true);
	for (const byte of bytes) {
		peer.send(Buffer.of(byte));
		await new Promise((resolve) => setImmediate(resolve));
	}
	expect((await peer.next()).name).toBe("CONNACK");
	expect((await peer.next()).name).toBe("SUBACK");
	expect([(await peer.next()).name, (await peer.next()).name].sort()).toEqual(["PUBACK", "PUBLISH"]);
});

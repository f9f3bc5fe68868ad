/** CONNECT of MQTT 3.1.1 (section 3.1): what is let in, what is refused and how. Wills and sessions have files of their own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, disconnect, packet, pingRequest, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { client, cutOff, refused } from "./kit.ts";

const SURROGATE = Buffer.from("eda080", "hex");
const NAMES = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

/** CONNECT with these flags and this payload. */
const bare = (flags: number, ...payload: Buffer[]) => packet(0x10, text("MQTT"), 4, flags, u16(0), ...payload);

/** A CONNECT that is answered with this return code, and nothing else, before the connection closes. */
async function answered(code: number, bytes: Buffer): Promise<void> {
	const peer = await Peer.silent(door, 4);
	peer.send(bytes);
	const all = await peer.untilClosed();
	expect(all.map(({ name, reason, sessionPresent }) => ({ name, reason, sessionPresent }))).toEqual([
		{ name: "CONNACK", reason: code, sessionPresent: false },
	]);
}

test("[MQTT-3.1.0-1] anything before CONNECT closes the connection", async () => {
	const first = [
		publish("a", "b", { level: 4 }),
		publish("a", "b", { level: 4, qos: 1 }),
		packet(0x40, u16(1)),
		packet(0x62, u16(1)),
		subscribe([["a", 0]], { level: 4 }),
		unsubscribe(["a"], { level: 4 }),
		pingRequest(),
		disconnect(),
		packet(0x20, 0, 0),
		packet(0xd0),
		packet(0xf0),
		packet(0x00),
	];
	for (const bytes of first) await refused(door, bytes);
});

test("[MQTT-3.1.0-2] a second CONNECT closes the connection", async () => {
	await cutOff(door, connect({ level: 4, clientId: "twice" }));
	expect(door.door.engine.clients.has("twice")).toBe(false);
});

test("[MQTT-3.1.2-1] another protocol name is not served", async () => {
	for (const protocolName of ["mqtt", "MQTTX", "MQT", "AMQP", ""]) {
		await refused(door, connect({ level: 4, protocolName }), publish("name/wrong", "x", { level: 4 }));
	}
	expect((await door.records("mqtt")).length).toBe(0);
});

test("[MQTT-3.1.2-2] a protocol level that is not known is answered 0x01, then closed", async () => {
	for (const protocolLevel of [0, 1, 2, 3, 6, 127, 128, 255]) await answered(1, connect({ level: 4, protocolLevel }));
});

test("[MQTT-3.1.2-3] the reserved connect flag closes the connection", async () => {
	await refused(door, connect({ level: 4, flags: 0x03 }));
	await refused(door, connect({ level: 4, flags: 0x01 }));
});

test("[MQTT-3.1.2-11] without the will flag there are no will fields and no will bits", async () => {
	await refused(door, bare(0x02, text("id"), text("will/topic"), text("message")));
	await refused(door, bare(0x3a, text("id"), text("will/topic"), text("message")));
});

test("[MQTT-3.1.2-13] a will QoS without the will flag closes the connection", async () => {
	await refused(door, bare(0x0a, text("id")));
	await refused(door, bare(0x12, text("id")));
});

test("[MQTT-3.1.2-15] will retain without the will flag closes the connection", async () => {
	await refused(door, bare(0x22, text("id")));
});

test("[MQTT-3.1.2-18] a user name without its flag closes the connection", async () => {
	await refused(door, bare(0x02, text("id"), text("user")));
});

test("[MQTT-3.1.2-19] the user name flag without a user name closes the connection", async () => {
	await refused(door, bare(0x82, text("id")));
	await answeredWith0(bare(0x82, text("id19"), text("user")));
});

test("[MQTT-3.1.2-20] a password without its flag closes the connection", async () => {
	await refused(door, bare(0x82, text("id"), text("user"), text("password")));
});

test("[MQTT-3.1.2-21] the password flag without a password closes the connection", async () => {
	await refused(door, bare(0xc2, text("id"), text("user")));
	await answeredWith0(bare(0xc2, text("id21"), text("user"), text(Buffer.of(0, 255))));
});

test("[MQTT-3.1.2-22] a password without a user name closes the connection", async () => {
	await refused(door, bare(0x42, text("id"), text("password")));
});

async function answeredWith0(bytes: Buffer): Promise<void> {
	const peer = await Peer.silent(door, 4);
	peer.send(bytes);
	expect((await peer.expect("CONNACK")).reason).toBe(0);
	peer.vanish();
}

test("[MQTT-3.1.2-24] silence of one and a half keep alives ends the connection, any packet prevents it", async () => {
	const silent = await client(door, "silent", { keepAlive: 10 });
	const active = await client(door, "active", { keepAlive: 10 });
	const patient = await client(door, "patient", { keepAlive: 0 });
	door.clock.advance(14_000);
	expect(await silent.untilPong()).toEqual([]); // not before
	expect(await active.untilPong()).toEqual([]);
	door.clock.advance(8000);
	await active.publish("keep/alive", "x");
	door.clock.advance(10_000);
	expect(await silent.untilClosed()).toEqual([]);
	expect(await active.untilPong()).toEqual([]);
	expect(await patient.untilPong()).toEqual([]);
});

test("[MQTT-3.1.3-1] the payload's fields are read in the order of the standard", async () => {
	const subscriber = await client(door, "order-watch");
	await subscriber.subscribe("order/#", 1);
	const peer = await Peer.silent(door, 4);
	peer.send(bare(0xc6, text("order"), text("order/will"), text("last words"), text("user"), text("secret")));
	expect((await peer.expect("CONNACK")).reason).toBe(0);
	expect(door.door.engine.clients.has("order")).toBe(true);
	peer.vanish();
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ topic: "order/will", payload: "last words" });
});

test("[MQTT-3.1.3-2] the client identifier names the session", async () => {
	const one = await client(door, "session-one", { clean: false });
	await one.subscribe("names/one", 1);
	one.send(disconnect());
	await one.untilClosed();
	expect((await client(door, "session-One", { clean: false })).connack?.sessionPresent).toBe(false);
	expect((await client(door, "session-one", { clean: false })).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.3-3] a CONNECT without a client identifier closes the connection", async () => {
	await refused(door, bare(0x02));
	await refused(door, bare(0x02, Buffer.of(0)));
});

test("[MQTT-3.1.3-4] a client identifier that is not UTF-8 closes the connection", async () => {
	for (const clientId of [Buffer.of(0xff), Buffer.from("c0af", "hex"), SURROGATE, Buffer.from("a\0b")]) {
		await refused(door, connect({ level: 4, clientId }));
	}
});

test("[MQTT-3.1.3-5] every identifier of 1 to 23 letters and digits is allowed", async () => {
	for (let length = 1; length <= 23; length++) await client(door, NAMES.slice(length, length * 2));
	for (let from = 0; from < NAMES.length; from += 23) await client(door, NAMES.slice(from, from + 23));
});

test("[MQTT-3.1.3-6] an empty identifier gets a unique one, and is served like others", async () => {
	const [one, two] = [await client(door, ""), await client(door, "")];
	await one.subscribe("nameless/a", 0);
	await two.publish("nameless/a", "x");
	expect((await one.expect("PUBLISH")).payload).toBe("x");
	expect(await two.untilPong()).toEqual([]);
	expect(door.door.engine.clients.has("")).toBe(false);
});

test("[MQTT-3.1.3-8] an empty identifier with Clean Session 0 is answered 0x02, then closed", async () => {
	await answered(2, connect({ level: 4, clientId: "", clean: false }));
});

test("[MQTT-3.1.3-9] a refused identifier is answered 0x02, then closed, also in MQTT 3.1", async () => {
	await answered(2, packet(0x10, text("MQIsdp"), 3, 0x02, u16(0), text("")));
	await answered(2, packet(0x10, text("MQIsdp"), 3, 0x00, u16(0), text("")));
});

test("[MQTT-3.1.3-10] a will topic that is not UTF-8 closes the connection", async () => {
	for (const topic of [Buffer.of(0xc3), SURROGATE, Buffer.from("a\0b")]) {
		await refused(door, connect({ level: 4, will: { topic, payload: "x" } }));
	}
});

test("[MQTT-3.1.3-11] a user name that is not UTF-8 closes the connection", async () => {
	for (const userName of [Buffer.of(0xc3), SURROGATE, Buffer.from("a\0b")]) {
		await refused(door, connect({ level: 4, userName }));
	}
});

test("[MQTT-3.1.4-1] a CONNECT that does not conform closes without CONNACK", async () => {
	const whole = connect({ level: 4, clientId: "malformed" });
	await refused(door, Buffer.concat([Buffer.of(0x10, whole[1]! + 1), whole.subarray(2), Buffer.of(0)]));
	await refused(door, Buffer.concat([Buffer.of(0x11), whole.subarray(1)]));
	await refused(door, bare(0x1e, text("id"), text("topic"), text("message"))); // will QoS 3
	await refused(door, packet(0x10, text("MQTT"), 4, 2));
});

test("[MQTT-3.1.4-2] a client that connects again ends its former connection", async () => {
	const former = await client(door, "same");
	const later = await client(door, "same");
	expect(await former.untilClosed()).toEqual([]);
	expect(await later.untilPong()).toEqual([]);
});

test("[MQTT-3.1.4-3] Clean Session is obeyed when the CONNECT is valid", async () => {
	const first = await client(door, "cleaning", { clean: false });
	await first.subscribe("cleaning/a", 1);
	first.vanish();
	const second = await client(door, "cleaning", { clean: true });
	expect(second.connack?.sessionPresent).toBe(false);
	await second.publish("cleaning/a", "x");
	expect(await second.untilPong()).toEqual([]);
});

test("[MQTT-3.1.4-4] a valid CONNECT is answered with return code 0", async () => {
	const peer = await client(door, "welcome", { keepAlive: 65_535, userName: "u", password: "p" });
	expect(peer.connack?.bytes.toString("hex")).toBe("20020000");
});

test("[MQTT-3.1.4-4] the answer comes also when DISCONNECT follows at once", async () => {
	const peer = await Peer.silent(door, 4);
	peer.send(connect({ level: 4, clientId: "hasty" }), disconnect());
	expect((await peer.untilClosed()).map(({ name, reason }) => [name, reason])).toEqual([["CONNACK", 0]]);
});

test("[MQTT-3.1.4-5] nothing that follows a refused CONNECT is processed", async () => {
	const before = (await door.records("mqtt")).length;
	const after = publish("after/refusal", "x", { level: 4 });
	await answered(1, Buffer.concat([connect({ level: 4, protocolLevel: 6 }), after]));
	await answered(2, Buffer.concat([connect({ level: 4, clientId: "", clean: false }), after]));
	expect((await door.records("mqtt")).length).toBe(before);
});

test("[MQTT-3.2.0-1] CONNACK is the first packet, whatever came with the CONNECT", async () => {
	const kept = await client(door, "eager", { clean: false });
	await kept.subscribe("eager/#", 1);
	kept.vanish();
	await (await client(door, "eager-publisher")).publish("eager/a", "waiting");
	const peer = await Peer.silent(door, 4);
	peer.send(
		connect({ level: 4, clientId: "eager", clean: false }),
		pingRequest(),
		subscribe([["eager/b", 1]], { level: 4 }),
		publish("eager/b", "own", { level: 4, qos: 1 }),
	);
	expect((await peer.next()).name).toBe("CONNACK");
	const names = new Set([await peer.next(), await peer.next(), await peer.next()].map((each) => each.name));
	expect(names.has("CONNACK")).toBe(false);
});

test("[MQTT-3.2.2-1] Clean Session 1 is answered with Session Present 0", async () => {
	(await client(door, "present-clean", { clean: false })).vanish();
	expect((await client(door, "present-clean", { clean: true })).connack?.bytes.toString("hex")).toBe("20020000");
});

test("[MQTT-3.2.2-2] Session Present is 1 where a session was kept", async () => {
	(await client(door, "present-kept", { clean: false })).vanish();
	expect((await client(door, "present-kept", { clean: false })).connack?.bytes.toString("hex")).toBe("20020100");
});

test("[MQTT-3.2.2-3] Session Present is 0 where no session was kept", async () => {
	expect((await client(door, "present-new", { clean: false })).connack?.bytes.toString("hex")).toBe("20020000");
	(await client(door, "present-gone", { clean: true })).vanish();
	expect((await client(door, "present-gone", { clean: false })).connack?.bytes.toString("hex")).toBe("20020000");
});

test("[MQTT-3.2.2-4] a refusing CONNACK has Session Present 0", async () => {
	(await client(door, "present-refused", { clean: false })).vanish();
	await answered(1, connect({ level: 4, clientId: "present-refused", clean: false, protocolLevel: 9 }));
});

test("[MQTT-3.2.2-5] a refusing CONNACK is followed by closing", async () => {
	await answered(1, connect({ level: 4, protocolLevel: 6 }));
	await answered(2, connect({ level: 4, clientId: "", clean: false }));
});

test("[MQTT-3.2.2-6] where no return code fits, the connection closes without CONNACK", async () => {
	await refused(door, connect({ level: 4, will: { topic: "$SYS/not/yours", payload: "x" } }));
});

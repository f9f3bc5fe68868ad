/** Sections 3.1.2.10, 3.1.2.11 and 3.2 of MQTT 5.0: what CONNECT asks for, what CONNACK tells, and that both hold. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, connect, PUBACK, packet, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer, type Received } from "../support/peer.ts";
import {
	AUTHENTICATION_METHOD,
	MAXIMUM_PACKET_SIZE,
	MAXIMUM_QOS,
	properties,
	REASON_STRING,
	RECEIVE_MAXIMUM,
	REQUEST_PROBLEM_INFORMATION,
	REQUEST_RESPONSE_INFORMATION,
	RESPONSE_INFORMATION,
	RETAIN_AVAILABLE,
	SERVER_KEEP_ALIVE,
	SHARED_SUBSCRIPTION_AVAILABLE,
	TOPIC_ALIAS,
	TOPIC_ALIAS_MAXIMUM,
	USER_PROPERTY,
	u16,
} from "../support/properties.ts";
import { client, cutOff, endsWith, expiry, keptClient, lose, payloadsOn, publishOnce, refused } from "./kit.ts";

let door: TestDoor;
beforeEach(async () => {
	door = await TestDoor.open();
});
afterEach(() => door.close());

/** The same data folder, another configuration. */
async function reopen(options: Parameters<TestDoor["start"]>[0]): Promise<void> {
	await door.stop();
	await door.start(options);
}

test("[MQTT-3.1.2-22] [MQTT-3.2.2-22] silence of one and a half keep alives closes, not before, and publishes the will", async () => {
	const watcher = await client(door, "watcher");
	await watcher.subscribe("will", 1);
	const peer = await client(door, "silent", { keepAlive: 10, will: { topic: "will", payload: "silent" } });
	expect(peer.connack!.property(SERVER_KEEP_ALIVE)).toBeUndefined();
	door.clock.advance(14_000);
	expect(await peer.untilPong()).toEqual([]);
	door.clock.advance(14_000);
	expect(door.door.engine.clients.has("silent")).toBe(true);
	door.clock.advance(4000);
	await endsWith(peer, 0x8d);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "silent" });
});

test("[MQTT-3.1.2-22] any packet is a sign of life, and Keep Alive 0 asks for none", async () => {
	const forever = await client(door, "forever");
	const lively = await client(door, "lively", { keepAlive: 10 });
	await lively.subscribe("echo", 0);
	const signs = [
		[publish("echo", "x"), "PUBLISH"],
		[publish("a", "x", { qos: 1 }), "PUBACK"],
		[publish("a", "x", { qos: 2 }), "PUBREC"],
		[packet(0x62, u16(1)), "PUBCOMP"],
		[subscribe([["b", 0]]), "SUBACK"],
		[unsubscribe(["b"]), "UNSUBACK"],
		[packet(0xc0), "PINGRESP"],
	] as const;
	for (const [sign, answer] of signs) {
		door.clock.advance(14_000);
		lively.send(sign);
		await lively.expect(answer);
	}
	door.clock.advance(86_400_000);
	expect(await forever.untilPong()).toEqual([]);
});

test("[MQTT-3.1.2-22] the keep alive that CONNACK tells holds in place of the client's", async () => {
	await reopen({ maxKeepAliveSeconds: 10 });
	const peer = await client(door, "limited", { keepAlive: 1000 });
	expect(peer.connack!.property(SERVER_KEEP_ALIVE)).toBe(10);
	door.clock.advance(20_000);
	await endsWith(peer, 0x8d);
});

test("[MQTT-3.1.2-23] a session with an expiry outlives its connection, also a restart of the gateway", async () => {
	const first = await keptClient(door, "kept");
	await first.subscribe("kept", 1);
	await lose(door, first, "kept");
	await publishOnce(door, "kept", "missed");
	door.clock.advance(500_000);
	await reopen({});
	const again = await keptClient(door, "kept");
	expect(again.connack!.sessionPresent).toBe(true);
	expect(await payloadsOn(door, again, "kept")).toEqual(["missed"]);
});

test("[MQTT-3.1.2-24] no PUBLISH above the client's Maximum Packet Size; one of exactly that size", async () => {
	const peer = await client(door, "small", { properties: [[MAXIMUM_PACKET_SIZE, 40]] });
	await peer.subscribe("t", 1);
	// Fixed header 2, topic 3, identifier 2, properties 1: 32 bytes of payload fill the rest.
	for (const size of [32, 33, 31]) await publishOnce(door, "t", "x".repeat(size));
	expect((await payloadsOn(door, peer, "t")).map((payload) => payload.length)).toEqual([32, 31]);
});

test("[MQTT-3.1.2-24] no answer above the client's Maximum Packet Size", async () => {
	await reopen({ routes: [{ filter: "a", topic: "a" }] });
	const limit: [number, number] = [MAXIMUM_PACKET_SIZE, 40];
	const tight = await client(door, "tight", { properties: [limit] });
	tight.send(publish("not/routed", "x", { qos: 1 }), publish("not/routed", "x", { qos: 2, id: 2 }));
	expect((await tight.expect("PUBACK")).bytes.length).toBeLessThanOrEqual(40);
	expect((await tight.expect("PUBREC")).bytes.length).toBeLessThanOrEqual(40);
	// An answer that cannot be made small enough is not sent.
	tight.send(subscribe(Array.from({ length: 50 }, (_, i) => [`a/${i}`, 0] as const)));
	expect(await tight.untilPong()).toEqual([]);
	tight.send(publish("wild/#", "x"));
	expect((await tight.expect("DISCONNECT")).bytes.length).toBeLessThanOrEqual(40);
});

test("[MQTT-3.1.2-25] what is too large counts as delivered: it fills no window and does not come later", async () => {
	const narrow: ConnectArguments = { properties: [expiry(1000), [MAXIMUM_PACKET_SIZE, 40], [RECEIVE_MAXIMUM, 1]] };
	const peer = await client(door, "narrow", { clean: false, ...narrow });
	await peer.subscribe("t", 2);
	for (const qos of [1, 2, 1, 2]) await publishOnce(door, "t", "x".repeat(100), { qos });
	await publishOnce(door, "t", "small", { qos: 1 });
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "small" });
	await lose(door, peer, "narrow");
	const wide = await keptClient(door, "narrow");
	expect(await wide.expect("PUBLISH")).toMatchObject({ payload: "small", dup: true });
	expect(await wide.untilPong()).toEqual([]);
});
type ConnectArguments = NonNullable<Parameters<typeof client>[2]>;

/** Thirty deliveries over ten topics, with their aliases resolved as a client does. */
async function aliased(maximum: number | undefined): Promise<{ aliases: number[]; topics: string[]; all: Received[] }> {
	const peer = await client(door, `aliases${maximum}`, {
		properties: maximum === undefined ? [] : [[TOPIC_ALIAS_MAXIMUM, maximum]],
	});
	await peer.subscribe("alias/#", 1);
	const publisher = await client(door, "publisher");
	const names = new Map<number, string>();
	const aliases: number[] = [];
	const topics: string[] = [];
	const all: Received[] = [];
	for (let i = 0; i < 30; i++) {
		await publisher.publish(`alias/${i % 10}`, `${i}`);
		const received = await peer.expect("PUBLISH");
		peer.send(acknowledge(PUBACK, received.id));
		all.push(received);
		const alias = received.property(TOPIC_ALIAS) as number | undefined;
		if (alias !== undefined) {
			aliases.push(alias);
			if (received.topic !== "") names.set(alias, received.topic);
		}
		topics.push(received.topic === "" ? (names.get(alias!) ?? "unknown") : received.topic);
	}
	return { aliases, topics, all };
}
const TOPICS = Array.from({ length: 30 }, (_, i) => `alias/${i % 10}`);

test("[MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8] no topic alias above the client's maximum, nor 0", async () => {
	const { aliases, topics, all } = await aliased(4);
	expect(topics).toEqual(TOPICS);
	expect(aliases.filter((alias) => alias < 1 || alias > 4)).toEqual([]);
	// They are used: what is sent without its topic's name is what they are for.
	expect(all.filter(({ topic }) => topic === "").length).toBeGreaterThan(0);
});

test("[MQTT-3.1.2-27] without a maximum, or with 0, no topic alias is sent", async () => {
	for (const maximum of [undefined, 0]) {
		const { aliases, topics } = await aliased(maximum);
		expect(aliases).toEqual([]);
		expect(topics).toEqual(TOPICS);
	}
});

test("[MQTT-3.1.2-28] Response Information is not sent where it was not asked for", async () => {
	for (const list of [[], [[REQUEST_RESPONSE_INFORMATION, 0]]] as const) {
		const { connack } = await client(door, "uninformed", { properties: list });
		expect(connack!.property(RESPONSE_INFORMATION)).toBeUndefined();
	}
});

test("[MQTT-3.1.2-29] Request Problem Information 0 keeps explanations off all but CONNACK and DISCONNECT", async () => {
	await reopen({ routes: [{ filter: "a", topic: "a" }] });
	const explained: Record<string, number> = {};
	for (const wanted of [0, 1]) {
		const peer = await client(door, "problems", { properties: [[REQUEST_PROBLEM_INFORMATION, wanted]] });
		peer.send(
			publish("not/routed", "x", { qos: 1 }),
			publish("not/routed", "x", { qos: 2, id: 2 }),
			packet(0x62, u16(999)),
			packet(0x50, u16(998)),
			subscribe([["$replay/nothing", 0]]),
			unsubscribe(["not subscribed"]),
		);
		const all = new Map<string, Received>();
		while (all.size < 6) {
			const received = await peer.next();
			all.set(received.name, received);
		}
		for (const received of all.values()) {
			const told = received.propertyValues(REASON_STRING).length + received.propertyValues(USER_PROPERTY).length;
			explained[wanted] = (explained[wanted] ?? 0) + told;
		}
	}
	expect(explained[0]).toBe(0);
	expect(explained[1]).toBeGreaterThan(0);
});

test("[MQTT-3.2.2-1] the reserved bits of CONNACK's flags are 0", async () => {
	const first = await keptClient(door, "flags");
	expect(first.connack!.acknowledgeFlags).toBe(0);
	await lose(door, first, "flags");
	expect((await keptClient(door, "flags")).connack!.acknowledgeFlags).toBe(1);
});

test("[MQTT-3.2.2-7] [MQTT-3.2.2-6] [MQTT-4.13.2-1] a CONNACK of 0x80 or above has Session Present 0, and the connection closes", async () => {
	await lose(door, await keptClient(door, "refused"), "refused");
	const method: [number, string] = [AUTHENTICATION_METHOD, "none"];
	await refused(door, 0x8c, connect({ clientId: "refused", clean: false, properties: [method] }));
	expect((await keptClient(door, "refused")).connack!.sessionPresent).toBe(true);
});

test("[MQTT-3.2.2-8] every CONNACK has a code of its table", async () => {
	const table = [
		0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
		0x9c, 0x9d, 0x9f,
	];
	await reopen({ maxRetainedMessages: 0, routes: [{ filter: "a", topic: "a" }], maxPacketBytes: 1000 });
	const attempts = [
		connect(),
		connect({ flags: 0xff }),
		connect({ will: { topic: "a", payload: "x", retain: true } }),
		connect({ will: { topic: "not/routed", payload: "x" } }),
		connect({ will: { topic: "wild/#", payload: "x" } }),
		connect({ will: { topic: "a", payload: "x".repeat(2000) } }),
		connect({ properties: [[RECEIVE_MAXIMUM, 0]] }),
		connect({ properties: [[AUTHENTICATION_METHOD, "m"]] }),
		connect({ properties: [[RETAIN_AVAILABLE, 1]] }),
	];
	for (const bytes of attempts) {
		const peer = await Peer.silent(door);
		peer.send(bytes);
		const first = await peer.next().catch(() => undefined);
		// What is longer than anything that is read is closed unread.
		if (first !== undefined) expect(table).toContain(first.reason);
		peer.vanish();
	}
});

test("[MQTT-3.2.2-13] a retained will is refused with 0x9A where nothing is retained", async () => {
	await reopen({ maxRetainedMessages: 0 });
	const peer = await client(door, "told");
	expect(peer.connack!.property(RETAIN_AVAILABLE)).toBe(0);
	await refused(door, 0x9a, connect({ will: { topic: "a", payload: "x", retain: true } }));
});

test("[MQTT-3.2.2-14] RETAIN where it is not available ends with 0x9A", async () => {
	await reopen({ maxRetainedMessages: 0 });
	await cutOff(door, 0x9a, publish("a", "x", { retain: true }));
});

test("[MQTT-3.2.2-15] a packet above the server's Maximum Packet Size ends with 0x95; one of that size does not", async () => {
	await reopen({ maxPacketBytes: 1000 });
	const peer = await client(door, "large");
	expect(peer.connack!.property(MAXIMUM_PACKET_SIZE)).toBe(1000);
	// Fixed header 3, topic 3, identifier 2, properties 1.
	expect((await peer.publish("t", "x".repeat(991))).reason).toBe(0);
	await cutOff(door, 0x95, publish("t", "x".repeat(992), { qos: 1 }));
});

test("[MQTT-3.2.2-17] [MQTT-3.3.2-9] a topic alias above the server's maximum ends with 0x94", async () => {
	await reopen({ topicAliasMaximum: 3 });
	const peer = await client(door, "told");
	expect(peer.connack!.property(TOPIC_ALIAS_MAXIMUM)).toBe(3);
	await cutOff(door, 0x94, publish("a", "x", { properties: [[TOPIC_ALIAS, 4]] }));
	await cutOff(door, 0x94, publish("a", "x", { properties: [[TOPIC_ALIAS, 65_535]] }));
});

test("[MQTT-3.2.2-18] a topic alias where the server takes none ends with 0x94", async () => {
	await reopen({ topicAliasMaximum: 0 });
	const peer = await client(door, "told");
	expect(peer.connack!.property(TOPIC_ALIAS_MAXIMUM) ?? 0).toBe(0);
	await cutOff(door, 0x94, publish("a", "x", { properties: [[TOPIC_ALIAS, 1]] }));
});

test("[MQTT-3.2.2-19] a refusing CONNACK goes without its reason string where that would be too long", async () => {
	const asking = (size: number) =>
		connect({
			properties: [[AUTHENTICATION_METHOD, "m"], ...(size > 0 ? [[MAXIMUM_PACKET_SIZE, size] as const] : [])],
		});
	const long = await refused(door, 0x8c, asking(0));
	expect(long.property(REASON_STRING)).toBeDefined();
	const short = await refused(door, 0x8c, asking(10));
	expect(short.properties).toEqual([]);
});

test("CONNACK tells no Maximum QoS, and all three are there", async () => {
	const peer = await client(door, "every-qos");
	expect(peer.connack!.property(MAXIMUM_QOS)).toBeUndefined();
	expect(peer.connack!.property(RETAIN_AVAILABLE) ?? 1).toBe(1);
	expect(peer.connack!.property(SHARED_SUBSCRIPTION_AVAILABLE) ?? 1).toBe(1);
	for (const qos of [0, 1, 2]) expect(await peer.subscribe(`q/${qos}`, qos)).toBe(qos);
});

test("[MQTT-4.12.0-6] [MQTT-4.12.0-7] without a method CONNACK names none, and AUTH is a protocol error", async () => {
	const peer = await client(door, "no-method");
	expect(peer.connack!.property(AUTHENTICATION_METHOD)).toBeUndefined();
	peer.send(packet(0xf0, 0x18, properties([[AUTHENTICATION_METHOD, "m"]])));
	await endsWith(peer, 0x82);
	await cutOff(door, 0x82, packet(0xf0, 0x19, properties([[AUTHENTICATION_METHOD, "m"]])));
});

test("[MQTT-4.12.0-1] an authentication method that is not known is refused with 0x8C", async () => {
	await refused(door, 0x8c, connect({ properties: [[AUTHENTICATION_METHOD, "SCRAM-SHA-256"]] }));
});

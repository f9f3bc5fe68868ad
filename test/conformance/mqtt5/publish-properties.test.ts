/** Section 3.3.2 of MQTT 5.0: the topic name, aliases for it, and the properties of PUBLISH. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, packet, publish } from "../support/packets.ts";
import {
	CONTENT_TYPE,
	CORRELATION_DATA,
	MESSAGE_EXPIRY,
	PAYLOAD_FORMAT,
	type Property,
	RECEIVE_MAXIMUM,
	RESPONSE_TOPIC,
	TOPIC_ALIAS,
	text,
	USER_PROPERTY,
} from "../support/properties.ts";
import { client, cutOff, endsWith, expiry, keptClient, lose, MALFORMED, payloadsOn, publishOnce } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open({ topicAliasMaximum: 10 });
});
afterAll(() => door.close());

const WRONG = Buffer.from("61ff", "hex");

test("[MQTT-3.3.2-1] a topic name that is missing or no UTF-8 string is malformed", async () => {
	await cutOff(door, MALFORMED, packet(0x30));
	await cutOff(door, MALFORMED, packet(0x30, 0, 9, 0x61));
	await cutOff(door, MALFORMED, publish(WRONG, "x"));
});

test("[MQTT-3.3.2-2] [MQTT-4.7.0-1] a wildcard in a topic name ends the connection", async () => {
	for (const topic of ["#", "+", "a/#", "a/+/b", "a+", "a#b"]) await cutOff(door, MALFORMED, publish(topic, "x"));
});

test("[MQTT-3.3.2-3] what is delivered matches the filter that was subscribed to", async () => {
	const subscriber = await client(door, "matching");
	await subscriber.subscribe("matching/+/c", 1);
	for (const topic of ["matching/a/b", "matching/a/c/d", "matching/c", "matching", "other/a/c"]) {
		await publishOnce(door, topic, topic);
	}
	await publishOnce(door, "matching/a/c", "the first");
	const received = await subscriber.expect("PUBLISH");
	expect(received).toMatchObject({ topic: "matching/a/c", payload: "the first" });
	subscriber.send(acknowledge(PUBACK, received.id));
	expect(await payloadsOn(door, subscriber, "matching/a/c")).toEqual([]);
});

/** Properties that arrive as they were sent, whoever gets them: a live subscriber, one that was away, one of both QoS. */
async function forwarded(name: string, list: readonly Property[]): Promise<readonly Property[][]> {
	const live = await client(door, `${name}-live`);
	const away = await keptClient(door, `${name}-away`);
	await live.subscribe(name, 0);
	await away.subscribe(name, 2);
	await lose(door, away, `${name}-away`);
	await publishOnce(door, name, "x", { qos: 2, properties: list });
	const back = await keptClient(door, `${name}-away`);
	return Promise.all([live, back].map(async (peer) => [...(await peer.expect("PUBLISH")).properties]));
}

test("[MQTT-3.3.2-4] Payload Format Indicator arrives unaltered", async () => {
	for (const value of [0, 1]) {
		const list: Property[] = [[PAYLOAD_FORMAT, value]];
		expect(await forwarded(`format/${value}`, list)).toEqual([list, list]);
	}
});

test("[MQTT-3.3.2-5] a message that has expired is not delivered to who comes later or has no room before", async () => {
	const own = await TestDoor.open();
	try {
		const away = await keptClient(own, "away");
		await away.subscribe("t", 1);
		await lose(own, away, "away");
		const full = await client(own, "full", { properties: [[RECEIVE_MAXIMUM, 1]] });
		await full.subscribe("t", 1);
		await publishOnce(own, "t", "fills the window");
		await publishOnce(own, "t", "expires", { properties: [[MESSAGE_EXPIRY, 10]] });
		await publishOnce(own, "t", "stays", { properties: [[MESSAGE_EXPIRY, 100]] });
		own.clock.advance(11_000);
		expect(await payloadsOn(own, full, "t")).toEqual(["fills the window", "stays"]);
		expect(await payloadsOn(own, await keptClient(own, "away"), "t")).toEqual(["fills the window", "stays"]);
	} finally {
		await own.close();
	}
});

test("[MQTT-3.3.2-6] Message Expiry Interval goes out less the time the message has waited", async () => {
	const own = await TestDoor.open();
	try {
		const live = await client(own, "live");
		await live.subscribe("t", 1);
		const away = await keptClient(own, "away");
		await away.subscribe("t", 1);
		await lose(own, away, "away");
		await publishOnce(own, "t", "x", { properties: [[MESSAGE_EXPIRY, 100]] });
		expect((await live.expect("PUBLISH")).property(MESSAGE_EXPIRY)).toBe(100);
		own.clock.advance(30_500);
		const left = (await (await keptClient(own, "away")).expect("PUBLISH")).property(MESSAGE_EXPIRY) as number;
		// The clock of the test moves by hand and runs on besides.
		expect(left).toBeLessThanOrEqual(70);
		expect(left).toBeGreaterThan(60);
	} finally {
		await own.close();
	}
});

test("[MQTT-3.3.2-7] topic aliases end with their connection", async () => {
	const first = await keptClient(door, "alias");
	await first.publish("alias/topic", "x", { properties: [[TOPIC_ALIAS, 1]] });
	expect((await first.publish("", "y", { properties: [[TOPIC_ALIAS, 1]] })).reason).toBe(0);
	await lose(door, first, "alias");
	const again = await keptClient(door, "alias");
	expect(again.connack!.sessionPresent).toBe(true);
	again.send(publish("", "z", { qos: 1, properties: [[TOPIC_ALIAS, 1]] }));
	const all = await again.untilClosed();
	expect(all.map(({ name }) => name)).toEqual(["DISCONNECT"]);
	expect([0x82, 0x94]).toContain(all[0]!.reason);
});

test("[MQTT-3.3.2-8] topic alias 0 ends with 0x94", async () => {
	await cutOff(door, 0x94, publish("a", "x", { properties: [[TOPIC_ALIAS, 0]] }));
});

test("[MQTT-3.3.2-12] every topic alias up to the server's maximum is taken, kept apart, and can be given anew", async () => {
	const subscriber = await client(door, "every-alias");
	await subscriber.subscribe("every/#", 1);
	const publisher = await client(door, "every-alias-publisher");
	const alias = (value: number) => ({ properties: [[TOPIC_ALIAS, value]] as Property[] });
	for (let i = 1; i <= 10; i++) await publisher.publish(`every/${i}`, "named", alias(i));
	for (let i = 1; i <= 10; i++) await publisher.publish("", "by alias", alias(i));
	await publisher.publish("every/other", "named", alias(3));
	await publisher.publish("", "by alias", alias(3));
	const topics: string[] = [];
	for (let i = 0; i < 22; i++) {
		const received = await subscriber.expect("PUBLISH");
		subscriber.send(acknowledge(PUBACK, received.id));
		topics.push(received.topic);
	}
	const each = Array.from({ length: 10 }, (_, i) => `every/${i + 1}`);
	expect(topics).toEqual([...each, ...each, "every/other", "every/other"]);
});

test("[MQTT-3.3.2-13] a response topic that is no UTF-8 string is malformed", async () => {
	await cutOff(door, MALFORMED, publish("a", "x", { properties: [[RESPONSE_TOPIC, WRONG]] }));
});

test("[MQTT-3.3.2-14] a response topic with a wildcard ends the connection", async () => {
	for (const topic of ["a/#", "+/a"]) {
		const peer = await client(door, "wild-response");
		peer.send(publish("a", "x", { properties: [[RESPONSE_TOPIC, topic]] }));
		const [last] = await peer.untilClosed();
		expect([MALFORMED, 0x82, 0x90]).toContain(last!.reason);
	}
});

test("[MQTT-3.3.2-15] the response topic arrives unaltered", async () => {
	const list: Property[] = [[RESPONSE_TOPIC, "answers/ü/\uFEFF"]];
	expect(await forwarded("response", list)).toEqual([list, list]);
});

test("[MQTT-3.3.2-16] correlation data arrive unaltered", async () => {
	for (const [i, bytes] of [Buffer.alloc(0), Buffer.from("00ff80c0fe", "hex"), Buffer.alloc(3000, 7)].entries()) {
		const list: Property[] = [[CORRELATION_DATA, bytes]];
		expect(await forwarded(`correlation/${i}`, list)).toEqual([list, list]);
	}
});

test("[MQTT-3.3.2-17] [MQTT-3.3.2-18] user properties arrive unaltered and in their order, repeated and empty ones too", async () => {
	const pairs = [
		["b", "1"],
		["a", "2"],
		["b", "3"],
		["", ""],
		["mqtt.topic", "not ours"],
		["é", "\u{1F600}"],
		["a", "2"],
	] as const;
	const list: Property[] = pairs.map((pair) => [USER_PROPERTY, pair]);
	expect(await forwarded("user", list)).toEqual([list, list]);
});

test("[MQTT-3.3.2-19] a content type that is no UTF-8 string is malformed", async () => {
	await cutOff(door, MALFORMED, publish("a", "x", { properties: [[CONTENT_TYPE, WRONG]] }));
});

test("[MQTT-3.3.2-20] the content type arrives unaltered", async () => {
	const list: Property[] = [[CONTENT_TYPE, "Text/Plain; charset=ü"]];
	expect(await forwarded("content", list)).toEqual([list, list]);
});

test("[MQTT-3.3.2-1] neither a topic name nor an alias is a protocol error", async () => {
	const peer = await client(door, "nameless", { properties: [expiry(10)] });
	peer.send(packet(0x30, text(""), 0));
	await endsWith(peer, 0x82);
});

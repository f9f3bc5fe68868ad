/** Sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 and 3.14.4 of MQTT 5.0: wills, when they are published, and when not. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { type ConnectFields, disconnect, packet, publish, type Will } from "../support/packets.ts";
import type { Peer } from "../support/peer.ts";
import {
	CONTENT_TYPE,
	CORRELATION_DATA,
	PAYLOAD_FORMAT,
	type Property,
	RESPONSE_TOPIC,
	USER_PROPERTY,
	WILL_DELAY,
} from "../support/properties.ts";
import { client, endsWith, expiry, keptClient, lose, payloadsOn, RETAIN_AS_PUBLISHED, receivedOn } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

/** One that watches `name/will`, and a client called `name` with a will there. */
async function pair(name: string, will: Partial<Will> = {}, fields: ConnectFields = {}): Promise<[Peer, Peer]> {
	const watcher = await client(door, `${name}-watcher`);
	await watcher.subscribe(`${name}/will`, 2 | RETAIN_AS_PUBLISHED);
	const mortal = await client(door, name, { will: { topic: `${name}/will`, payload: "gone", ...will }, ...fields });
	return [watcher, mortal];
}
const delay = (seconds: number): { properties: Property[] } => ({ properties: [[WILL_DELAY, seconds]] });
const published = (name: string, watcher: Peer) => payloadsOn(door, watcher, `${name}/will`);

test("[MQTT-3.1.2-7] [MQTT-3.1.2-8] the will is kept, and published when the connection breaks", async () => {
	const list: Property[] = [
		[PAYLOAD_FORMAT, 1],
		[CONTENT_TYPE, "text/plain"],
		[RESPONSE_TOPIC, "answer/here"],
		[CORRELATION_DATA, Buffer.of(0, 255)],
		[USER_PROPERTY, ["a", "b"]],
	];
	const [watcher, mortal] = await pair("breaks", { qos: 1, properties: list });
	expect(await published("breaks", watcher)).toEqual([]);
	mortal.vanish();
	const received = await watcher.expect("PUBLISH");
	expect(received).toMatchObject({ payload: "gone", qos: 1, retain: false });
	expect(new Set(received.properties.map(String))).toEqual(new Set(list.map(String)));
});

const ENDINGS: [name: string, end: (mortal: Peer) => void | Promise<void>][] = [
	["DISCONNECT 0x04", (mortal) => mortal.send(disconnect(0x04))],
	["DISCONNECT 0x80, which is not 0x00", (mortal) => mortal.send(disconnect(0x80))],
	["a violation of the protocol", (mortal) => mortal.send(packet(0xf0, 0x18, 0))],
	["one and a half keep alives of silence", () => door.clock.advance(20_000)],
	["a take-over that starts anew", async () => void (await client(door, "a take-over that starts anew"))],
];
for (const [name, end] of ENDINGS) {
	test(`[MQTT-3.1.2-8] the will is published after ${name}`, async () => {
		const [watcher, mortal] = await pair(name, {}, { keepAlive: 10 });
		await end(mortal);
		expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: `${name}/will`, payload: "gone" });
	});
}

test("[MQTT-3.1.2-8] the will waits for its delay", async () => {
	const [watcher, mortal] = await pair("delayed", delay(30), { properties: [expiry(1000)] });
	await lose(door, mortal, "delayed");
	door.clock.advance(28_000);
	expect(await published("delayed", watcher)).toEqual([]);
	door.clock.advance(5000);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone" });
});

test("[MQTT-3.1.2-8] the will does not wait longer than its session exists", async () => {
	const [watcher, mortal] = await pair("expires", delay(1000), { properties: [expiry(10)] });
	await lose(door, mortal, "expires");
	door.clock.advance(13_000);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone" });
	const [second, unkept] = await pair("unkept", delay(1000));
	unkept.vanish();
	expect(await second.expect("PUBLISH")).toMatchObject({ payload: "gone" });
});

test("[MQTT-3.1.2-8] a Clean Start that ends the session publishes the will that waited", async () => {
	const [watcher, mortal] = await pair("restarts", delay(1000), { properties: [expiry(2000)] });
	await lose(door, mortal, "restarts");
	await client(door, "restarts");
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone" });
});

test("[MQTT-3.1.2-8] a session made to end by DISCONNECT 0x04 publishes the will at once", async () => {
	const [watcher, mortal] = await pair("ends", delay(1000), { properties: [expiry(2000)] });
	mortal.send(disconnect(0x04, [expiry(0)]));
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone" });
});

test("[MQTT-3.1.2-8] a will that waits survives the end of the gateway", async () => {
	const [watcher, mortal] = await pair("survives", delay(30), { properties: [expiry(1000)] });
	await lose(door, mortal, "survives");
	watcher.vanish();
	await door.broker.log.whenCommitted();
	const next = await door.killed();
	try {
		const again = await client(next, "survives-watcher");
		await again.subscribe("survives/will", 1);
		next.clock.advance(40_000);
		expect(await again.expect("PUBLISH")).toMatchObject({ payload: "gone" });
	} finally {
		await next.close();
	}
});

test("[MQTT-3.1.2-10] a will is published once, not again for a later connection without one", async () => {
	const [watcher, mortal] = await pair("once", {}, { properties: [expiry(1000)] });
	await lose(door, mortal, "once");
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone" });
	await lose(door, await keptClient(door, "once"), "once");
	door.clock.advance(5000);
	expect(await published("once", watcher)).toEqual([]);
});

test("[MQTT-3.1.2-10] [MQTT-3.14.4-3] DISCONNECT 0x00 takes the will back, for good", async () => {
	for (const [name, bytes] of [
		["normal", disconnect()],
		["normal-too", disconnect(0x00)],
		["normal-with-more", disconnect(0x00, [[USER_PROPERTY, ["a", "b"]]])],
	] as const) {
		const [watcher, mortal] = await pair(name, delay(5), { properties: [expiry(1000)] });
		mortal.send(bytes);
		expect(await mortal.untilClosed()).toEqual([]);
		await lose(door, await keptClient(door, name), name);
		door.clock.advance(10_000);
		expect(await published(name, watcher)).toEqual([]);
	}
});

test("[MQTT-3.1.2-14] Will Retain 0: nothing is retained, and what is stays", async () => {
	const keeper = await client(door, "unretained-keeper");
	await keeper.publish("unretained/will", "before", { retain: true });
	const [watcher, mortal] = await pair("unretained", { retain: false });
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "before", retain: true });
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone", retain: false });
	const late = await client(door, "unretained-late");
	await late.subscribe("unretained/will", 1);
	expect(await late.expect("PUBLISH")).toMatchObject({ payload: "before", retain: true });
});

test("[MQTT-3.1.2-15] Will Retain 1: the will becomes the retained message", async () => {
	const [watcher, mortal] = await pair("retained", { retain: true });
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone", retain: true });
	const late = await client(door, "retained-late");
	await late.subscribe("retained/will", 1);
	expect(await late.expect("PUBLISH")).toMatchObject({ payload: "gone", retain: true });
});

test("[MQTT-3.1.2-15] an empty will with Will Retain 1 removes what is retained", async () => {
	const keeper = await client(door, "emptied-keeper");
	await keeper.publish("emptied/will", "before", { retain: true });
	const [watcher, mortal] = await pair("emptied", { retain: true, payload: "" });
	await watcher.expect("PUBLISH");
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "" });
	const late = await client(door, "emptied-late");
	await late.subscribe("emptied/will", 1);
	expect(await receivedOn(door, late, "emptied/will")).toEqual([]);
});

test("[MQTT-3.1.3-9] [MQTT-3.1.2-8] a client that continues its session within the delay makes the will void", async () => {
	const [watcher, mortal] = await pair("returns", delay(30), { properties: [expiry(1000)] });
	await lose(door, mortal, "returns");
	door.clock.advance(10_000);
	const again = await keptClient(door, "returns");
	expect(again.connack!.sessionPresent).toBe(true);
	door.clock.advance(60_000);
	await lose(door, again, "returns");
	door.clock.advance(60_000);
	expect(await published("returns", watcher)).toEqual([]);
});

test("[MQTT-3.1.3-9] a take-over that continues the session makes a delayed will void too", async () => {
	const [watcher, mortal] = await pair("replaced", delay(30), { properties: [expiry(1000)] });
	await keptClient(door, "replaced");
	await endsWith(mortal, 0x8e);
	door.clock.advance(60_000);
	expect(await published("replaced", watcher)).toEqual([]);
});

test("[MQTT-3.1.3-10] user properties of a will keep their order", async () => {
	const list: Property[] = ["z", "a", "z", "m"].map((name, i) => [USER_PROPERTY, [name, `${i}`]]);
	const [watcher, mortal] = await pair("properties", { properties: list });
	mortal.vanish();
	expect((await watcher.expect("PUBLISH")).properties).toEqual(list);
});

test("[MQTT-3.14.4-3] what follows DISCONNECT changes nothing: the will stays taken back", async () => {
	const [watcher, mortal] = await pair("talks-on");
	mortal.send(disconnect(), publish("talks-on/will", "after the end", { qos: 1 }));
	expect(await mortal.untilClosed()).toEqual([]);
	expect(await published("talks-on", watcher)).toEqual([]);
});

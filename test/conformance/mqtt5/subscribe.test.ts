/** Sections 3.8 and 3.9 of MQTT 5.0: SUBSCRIBE and SUBACK. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, packet, publish, subscribe } from "../support/packets.ts";
import { properties, SUBSCRIPTION_IDENTIFIER, text, u16 } from "../support/properties.ts";
import {
	client,
	cutOff,
	keptClient,
	lose,
	MALFORMED,
	NO_LOCAL,
	PROTOCOL_ERROR,
	payloadsOn,
	publishOnce,
} from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const WRONG = Buffer.from("61ff", "hex");

test("[MQTT-3.8.1-1] SUBSCRIBE with flags other than 0010 is malformed", async () => {
	const body = [u16(1), properties(), text("a"), 0] as const;
	for (const flags of [0x00, 0x01, 0x03, 0x06, 0x0a]) await cutOff(door, MALFORMED, packet(0x80 | flags, ...body));
});

test("[MQTT-3.8.3-1] a filter that is no UTF-8 string is malformed", async () => {
	await cutOff(door, MALFORMED, subscribe([[WRONG, 0]]));
});

test("[MQTT-3.8.3-2] a SUBSCRIBE without a filter is a protocol error", async () => {
	await cutOff(door, PROTOCOL_ERROR, subscribe([]));
});

test("[MQTT-3.8.3-3] No Local keeps a client's own messages from it, whichever connection published them", async () => {
	const peer = await keptClient(door, "own");
	await peer.subscribe("own/a", 1 | NO_LOCAL);
	await peer.subscribe("own/b", 1);
	await peer.publish("own/a", "mine");
	peer.send(publish("own/b", "mine too", { qos: 1 }));
	const two = [await peer.next(), await peer.next()];
	expect(two.map(({ name }) => name).sort()).toEqual(["PUBACK", "PUBLISH"]);
	const received = two.find(({ name }) => name === "PUBLISH")!;
	expect(received.payload).toBe("mine too");
	peer.send(acknowledge(PUBACK, received.id));
	await peer.publish("own/a", "mine, before I left");
	await lose(door, peer, "own");
	const again = await keptClient(door, "own");
	await publishOnce(door, "own/a", "another's");
	expect(await payloadsOn(door, again, "own/a")).toEqual(["another's"]);
});

test("[MQTT-3.8.3-4] No Local on a shared subscription is a protocol error", async () => {
	await cutOff(door, PROTOCOL_ERROR, subscribe([["$share/g/a", 1 | NO_LOCAL]]));
});

test("[MQTT-3.8.3-5] reserved bits of the options are malformed", async () => {
	for (const bits of [0x40, 0x80, 0xc0]) await cutOff(door, MALFORMED, subscribe([["a", bits]]));
});

test("[MQTT-3.8.4-1] [MQTT-3.8.4-2] SUBSCRIBE is answered with SUBACK of its identifier", async () => {
	const peer = await client(door, "answered");
	for (const id of [1, 2, 0x7fff, 0xffff]) {
		peer.send(subscribe([["a", 0]], { id }));
		expect(await peer.next()).toMatchObject({ name: "SUBACK", id, reasons: [0] });
	}
});

test("[MQTT-3.8.4-3] the same filter again replaces the subscription, options and identifier", async () => {
	const peer = await client(door, "replaced");
	await peer.subscribe("replaced/#", 0, [[SUBSCRIPTION_IDENTIFIER, 1]]);
	await peer.subscribe("replaced/#", 1, [[SUBSCRIPTION_IDENTIFIER, 2]]);
	await publishOnce(door, "replaced/a", "x");
	const received = await peer.expect("PUBLISH");
	expect(received).toMatchObject({ qos: 1, properties: [[SUBSCRIPTION_IDENTIFIER, 2]] });
	peer.send(acknowledge(PUBACK, received.id));
	expect(await payloadsOn(door, peer, "replaced/a")).toEqual([]);
});

test("[MQTT-3.8.4-4] replacing a subscription sends what is retained again", async () => {
	await publishOnce(door, "again", "kept", { retain: true });
	const peer = await client(door, "again");
	for (let i = 0; i < 3; i++) {
		await peer.subscribe("again", 0);
		expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "kept", retain: true });
	}
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.8.4-4] no message is lost while a subscription is replaced", async () => {
	for (const clean of [true, false]) {
		const topic = `lossless/${clean}`;
		const peer = clean ? await client(door, topic) : await keptClient(door, topic);
		await peer.subscribe(topic, 1);
		const publisher = await client(door, `publisher-${clean}`);
		const payloads: string[] = [];
		for (let i = 0; i < 60; i++) {
			publisher.send(publish(topic, `${i}`, { qos: 1, id: i + 1 }));
			peer.send(subscribe([[topic, 1]], { id: i + 100 }));
			for (let answers = 0; answers < 2; answers++) {
				const received = await peer.next();
				if (received.name === "SUBACK") continue;
				payloads.push(received.payload);
				peer.send(acknowledge(PUBACK, received.id));
			}
		}
		expect(payloads).toEqual(Array.from({ length: 60 }, (_, i) => `${i}`));
	}
});

test("[MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] several filters get one SUBACK with a code for each, in their order", async () => {
	const peer = await client(door, "several");
	const deep = Array(300).fill("a").join("/");
	peer.send(
		subscribe([
			["several/2", 2],
			["several/0", 0],
			[deep, 1],
			["several/1", 1],
			["several/0", 1],
		]),
	);
	const suback = await peer.expect("SUBACK");
	expect(suback.reasons.toSpliced(2, 1)).toEqual([2, 0, 1, 1]);
	expect(suback.reasons[2]).toBeGreaterThanOrEqual(0x80);
	// Each is as if it had come alone, the last one for the same filter too.
	for (const [topic, qos] of [
		["several/2", 2],
		["several/1", 1],
		["several/0", 1],
	] as const) {
		await publishOnce(door, topic, topic, { qos: 2 });
		expect(await peer.expect("PUBLISH")).toMatchObject({ topic, qos });
	}
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.8.4-8] a delivery has the lower of the QoS published and the QoS granted", async () => {
	const peer = await client(door, "lower");
	for (const granted of [0, 1, 2]) expect(await peer.subscribe(`lower/${granted}`, granted)).toBe(granted);
	const publisher = await client(door, "lower-publisher");
	for (const granted of [0, 1, 2]) {
		for (const published of [0, 1, 2]) {
			publisher.send(publish(`lower/${granted}`, "x", { qos: published, id: 1 + granted * 3 + published }));
			expect((await peer.expect("PUBLISH")).qos).toBe(Math.min(granted, published));
		}
	}
});

test("[MQTT-3.9.3-2] SUBACK has codes of its table", async () => {
	const small = await TestDoor.open({ maxSubscriptionsPerSession: 3 });
	try {
		const peer = await client(small, "table");
		const filters = ["a", "$share/g/a", "$replay/x", "$SYS/#", "b", "c", "d", "e"];
		peer.send(subscribe(filters.map((filter) => [filter, 1] as const)));
		const { reasons } = await peer.expect("SUBACK");
		expect(reasons.length).toBe(filters.length);
		const table = [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2];
		for (const reason of reasons) expect(table).toContain(reason);
		expect(reasons).toContain(0x97);
	} finally {
		await small.close();
	}
});

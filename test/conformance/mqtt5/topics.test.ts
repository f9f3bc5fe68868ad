/** Sections 4.5 to 4.7 of MQTT 5.0: who gets a message, in which order, and how topic names and filters are read. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBREC, packet, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { text } from "../support/properties.ts";
import { client, cutOff, keptClient, lose, MALFORMED, publishOnce } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

test("[MQTT-4.5.0-1] a message goes to every session whose subscription matches, connected or not", async () => {
	const filters = ["every/one", "every/+", "every/#", "+/one", "#"];
	for (const [i, filter] of filters.entries()) {
		const live = await client(door, `live${i}`);
		await live.subscribe(filter, 1);
		const away = await keptClient(door, `away${i}`);
		await away.subscribe(filter, 1);
		await lose(door, away, `away${i}`);
		await publishOnce(door, "every/one", `for ${filter}`);
		expect(await live.expect("PUBLISH")).toMatchObject({ topic: "every/one", payload: `for ${filter}` });
		live.vanish();
		const back = await keptClient(door, `away${i}`);
		expect(await back.expect("PUBLISH")).toMatchObject({ topic: "every/one", payload: `for ${filter}` });
		back.vanish();
	}
});

test("[MQTT-4.6.0-2] PUBACKs come in the order of their PUBLISHes", async () => {
	const peer = await client(door, "pubacks");
	const order = Array.from({ length: 200 }, (_, i) => ((i * 37) % 200) + 1);
	peer.send(...order.map((id) => publish(`pubacks/${id % 7}`, "x", { qos: 1, id })));
	const got = [];
	for (let i = 0; i < 200; i++) got.push((await peer.expect("PUBACK")).id);
	expect(got).toEqual(order);
});

test("[MQTT-4.6.0-3] PUBRECs come in the order of their PUBLISHes", async () => {
	const peer = await client(door, "pubrecs");
	const order = Array.from({ length: 200 }, (_, i) => ((i * 37) % 200) + 1);
	peer.send(...order.map((id) => publish(`pubrecs/${id % 7}`, "x", { qos: 2, id })));
	const got = [];
	for (let i = 0; i < 200; i++) got.push((await peer.expect("PUBREC")).id);
	expect(got).toEqual(order);
});

test("[MQTT-4.6.0-4] PUBRELs come in the order of their PUBRECs", async () => {
	for (const kept of [false, true]) {
		const name = `pubrels/${kept}`;
		const peer = kept ? await keptClient(door, name) : await client(door, name);
		await peer.subscribe(name, 2);
		const ids: number[] = [];
		for (let i = 0; i < 10; i++) {
			await publishOnce(door, name, "x", { qos: 2 });
			ids.push((await peer.expect("PUBLISH")).id);
		}
		const order = [3, 9, 0, 1, 7, 2, 8, 4, 6, 5].map((i) => ids[i]!);
		peer.send(...order.map((id) => acknowledge(PUBREC, id)));
		const got = [];
		for (let i = 0; i < 10; i++) got.push((await peer.expect("PUBREL")).id);
		expect(got).toEqual(order);
	}
});

test("[MQTT-4.6.0-5] [MQTT-4.6.0-6] each topic is delivered in the order it came in, at each QoS, also to who was away", async () => {
	const live = await client(door, "ordered-live");
	const away = await keptClient(door, "ordered-away");
	for (const peer of [live, away]) await peer.subscribe("ordered/#", 1);
	await lose(door, away, "ordered-away");
	const publisher = await client(door, "ordered-publisher");
	for (let i = 0; i < 300; i++) publisher.send(publish(`ordered/${i % 3}`, `${i}`, { qos: 1, id: i + 1 }));
	for (let i = 0; i < 300; i++) await publisher.expect("PUBACK");
	for (const peer of [live, await keptClient(door, "ordered-away")]) {
		const byTopic = new Map<string, number[]>();
		for (let i = 0; i < 300; i++) {
			const { topic, payload, id } = await peer.expect("PUBLISH");
			peer.send(Buffer.of(0x40, 2, id >> 8, id & 0xff));
			byTopic.set(topic, [...(byTopic.get(topic) ?? []), Number(payload)]);
		}
		for (const numbers of byTopic.values()) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
		expect([...byTopic.values()].flat().length).toBe(300);
	}
});

test("[MQTT-4.7.0-1] a will's topic has no wildcards either", async () => {
	const peer = await Peer.connected(door, {
		clientId: "wild-will",
		will: { topic: "a/#", payload: "x" },
	});
	expect(peer.connack!.reason).toBeGreaterThanOrEqual(0x80);
});

/** Whether a filter gets what is published to a topic. A delivery leaves before the publish is acknowledged. */
async function matches(filter: string, topic: string): Promise<boolean> {
	const peer = await client(door, "matcher");
	await peer.subscribe(filter, 0);
	await publishOnce(door, topic, "x", { qos: 1 });
	const got = await peer.untilPong();
	expect(got.filter((received) => received.topic !== topic)).toEqual([]);
	return got.length > 0;
}

test("[MQTT-4.7.1-1] # stands alone or behind a slash, and last", async () => {
	for (const filter of ["a#", "#/a", "a/#/b", "##", "a/b#", "#a"]) {
		await cutOff(door, MALFORMED, subscribe([[filter, 0]]));
		await cutOff(door, MALFORMED, unsubscribe([filter]));
	}
	for (const topic of ["multi", "multi/a", "multi/a/b", "multi/"]) {
		expect(await matches("multi/#", topic)).toBe(true);
		expect(await matches("#", topic)).toBe(true);
	}
	for (const topic of ["multia", "Multi/a", "other/multi"]) expect(await matches("multi/#", topic)).toBe(false);
});

test("[MQTT-4.7.1-2] + takes a whole level, at any place", async () => {
	for (const filter of ["a+", "+a", "a/b+/c", "++", "a/+b"]) await cutOff(door, MALFORMED, subscribe([[filter, 0]]));
	for (const [filter, topic] of [
		["one/+", "one/a"],
		["one/+", "one/"],
		["+/two", "one/two"],
		["+/+", "/finance"],
		["/+", "/finance"],
		["+", "finance"],
		["+/b/#", "a/b"],
	] as const) {
		expect([filter, topic, await matches(filter, topic)]).toEqual([filter, topic, true]);
	}
	for (const [filter, topic] of [
		["one/+", "one"],
		["one/+", "one/a/b"],
		["+", "/finance"],
		["+", "a/b"],
	] as const) {
		expect([filter, topic, await matches(filter, topic)]).toEqual([filter, topic, false]);
	}
});

test("[MQTT-4.7.2-1] a leading wildcard does not match the broker's own topics, which begin with $", async () => {
	const own = await TestDoor.open({ sysIntervalSeconds: 1 });
	try {
		const all: Peer[] = [];
		for (const filter of ["#", "+/#", "+/broker/#", "$SYS/#"]) {
			const peer = await client(own, `watches ${filter}`);
			await peer.subscribe(filter, 0);
			all.push(peer);
		}
		own.clock.advance(5000);
		expect((await all[3]!.expect("PUBLISH")).topic.startsWith("$SYS/")).toBe(true);
		for (const peer of all.slice(0, 3)) expect(await peer.untilPong()).toEqual([]);
	} finally {
		await own.close();
	}
});

test("[MQTT-4.7.3-1] topic names and filters have at least one character", async () => {
	await cutOff(door, MALFORMED, subscribe([["", 0]]));
	await cutOff(door, MALFORMED, unsubscribe([""]));
	await cutOff(door, 0x82, packet(0x30, text(""), 0));
	expect(await matches("/", "/")).toBe(true);
});

test("[MQTT-4.7.3-2] topic names and filters hold no U+0000", async () => {
	await cutOff(door, MALFORMED, subscribe([["a\u0000", 0]]));
	await cutOff(door, MALFORMED, unsubscribe(["a\u0000"]));
	await cutOff(door, MALFORMED, publish("a\u0000b", "x"));
});

test("[MQTT-4.7.3-3] a topic name of 65,535 bytes is a topic name, and more cannot be said", async () => {
	// Without the topic in the key: name and header together stay below message.max.bytes.
	const own = await TestDoor.open({ routes: [{ filter: "#", topic: "t" }] });
	try {
		const peer = await client(own, "long");
		await peer.subscribe("long/#", 1);
		const topic = `long/${"é".repeat(32_765)}`;
		expect(Buffer.byteLength(topic)).toBe(65_535);
		expect((await publishOnce(own, topic, "x")).reason).toBe(0);
		expect((await peer.expect("PUBLISH")).topic).toBe(topic);
	} finally {
		await own.close();
	}
});

test("[MQTT-4.7.3-4] nothing is normalized: case, accents, slashes and blanks are as they are", async () => {
	const names = [
		"norm",
		"Norm",
		"norm ",
		" norm",
		"norm/",
		"/norm",
		"norm//",
		"n\u00f6rm",
		"no\u0308rm",
		"%6eorm",
		"norm/.",
		"norm/../norm",
	];
	for (const filter of names) {
		const peer = await client(door, "normal");
		await peer.subscribe(filter, 0);
		const publisher = await client(door, "normal-publisher");
		for (const topic of names) await publisher.publish(topic, topic);
		const got = [];
		for (const received of await peer.untilPong()) got.push(received.topic);
		expect(got).toEqual([filter]);
	}
});

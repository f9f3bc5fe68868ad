/** Quality of Service and order of MQTT 3.1.1 (sections 4.3 and 4.6), in both directions. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, PUBCOMP, PUBREC, PUBREL, publish } from "../support/packets.ts";
import { type Peer, type Received, untilGone } from "../support/peer.ts";
import { client, payloadsOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;
const kept = { clean: false } as const;

async function stored(topic: string): Promise<string[]> {
	const records = await door.records("mqtt");
	return records.filter(({ key }) => key?.toString() === topic).map(({ value }) => value?.toString() ?? "");
}

async function next(peer: Peer, count: number): Promise<Received[]> {
	const all: Received[] = [];
	for (let i = 0; i < count; i++) all.push(await peer.next());
	return all;
}

test("[MQTT-4.3.1-1] as a sender of QoS 0 the server sends QoS 0 and DUP 0", async () => {
	const peer = await client(door, "zero");
	await peer.subscribe("zero", 0);
	for (const qos of [1, 2]) {
		await publisher.publish("zero", "x", { qos });
		expect((await peer.expect("PUBLISH")).bytes).toEqual(publish("zero", "x", v4));
	}
});

test("[MQTT-4.3.2-1] as a sender of QoS 1 the server uses free identifiers and DUP 0, until PUBACK", async () => {
	const peer = await client(door, "one", kept);
	await peer.subscribe("one", 1);
	for (const payload of ["a", "b", "c"]) await publisher.publish("one", payload);
	const got = await next(peer, 3);
	expect(got.map(({ qos, dup, payload }) => ({ qos, dup, payload }))).toEqual(
		["a", "b", "c"].map((payload) => ({ qos: 1, dup: false, payload })),
	);
	expect(new Set(got.map((each) => each.id)).size).toBe(3);
	peer.send(acknowledge(PUBACK, got[1]!.id));
	await peer.untilPong();
	peer.vanish();
	await untilGone(door, "one");
	const again = await next(await client(door, "one", kept), 2);
	expect(again.map(({ id, dup, payload }) => ({ id, dup, payload }))).toEqual(
		[got[0]!, got[2]!].map(({ id, payload }) => ({ id, dup: true, payload })),
	);
});

test("[MQTT-4.3.2-2] as a receiver of QoS 1 the server takes an acknowledged identifier for a new message", async () => {
	const peer = await client(door, "receiver-1");
	for (const dup of [false, true, false]) {
		peer.send(publish("receiver/1", dup ? "dup" : "new", { ...v4, qos: 1, id: 40, dup }));
		expect((await peer.next()).bytes).toEqual(acknowledge(PUBACK, 40));
	}
	expect(await stored("receiver/1")).toEqual(["new", "dup", "new"]);
});

test("[MQTT-4.3.3-1] as a sender of QoS 2 the server goes from PUBLISH over PUBREL to the end", async () => {
	const peer = await client(door, "two");
	await peer.subscribe("two", 2);
	await publisher.publish("two", "x", { qos: 2 });
	const { id, dup, qos } = await peer.expect("PUBLISH");
	expect([id > 0, dup, qos]).toEqual([true, false, 2]);
	peer.send(acknowledge(PUBREC, id));
	expect((await peer.next()).bytes).toEqual(acknowledge(PUBREL, id));
	peer.send(acknowledge(PUBREC, id)); // as if the PUBREL had not come
	expect((await peer.next()).bytes).toEqual(acknowledge(PUBREL, id));
	peer.send(acknowledge(PUBCOMP, id));
	expect(await payloadsOn(door, peer, "two")).toEqual([]);
});

test("[MQTT-4.3.3-1] the server does not send a PUBLISH again once its PUBREL has gone out", async () => {
	const peer = await client(door, "two-kept", kept);
	await peer.subscribe("two/kept", 2);
	await publisher.publish("two/kept", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(acknowledge(PUBREC, id));
	await peer.expect("PUBREL");
	peer.vanish();
	await untilGone(door, "two-kept");
	const back = await client(door, "two-kept", kept);
	expect((await back.next()).bytes).toEqual(acknowledge(PUBREL, id));
	back.send(acknowledge(PUBCOMP, id));
	expect(await payloadsOn(door, back, "two/kept")).toEqual([]);
});

test("[MQTT-4.3.3-2] as a receiver of QoS 2 the server answers every step, and stores once", async () => {
	const subscriber = await client(door, "receiver-2-watch");
	await subscriber.subscribe("receiver/2", 2);
	const peer = await client(door, "receiver-2");
	for (const dup of [false, true, true]) {
		peer.send(publish("receiver/2", "once", { ...v4, qos: 2, id: 50, dup }));
		expect((await peer.next()).bytes).toEqual(acknowledge(PUBREC, 50));
	}
	for (let i = 0; i < 2; i++) {
		peer.send(acknowledge(PUBREL, 50));
		expect((await peer.next()).bytes).toEqual(acknowledge(PUBCOMP, 50));
	}
	peer.send(publish("receiver/2", "anew", { ...v4, qos: 2, id: 50 }));
	expect((await peer.next()).bytes).toEqual(acknowledge(PUBREC, 50));
	expect(await stored("receiver/2")).toEqual(["once", "anew"]);
	expect((await next(subscriber, 2)).map((each) => each.payload)).toEqual(["once", "anew"]);
});

test("[MQTT-4.3.3-2] a QoS 2 message that was not released is known over a new connection", async () => {
	const peer = await client(door, "receiver-2-kept", kept);
	peer.send(publish("receiver/2/kept", "once", { ...v4, qos: 2, id: 51 }));
	await peer.expect("PUBREC");
	peer.vanish();
	await untilGone(door, "receiver-2-kept");
	const back = await client(door, "receiver-2-kept", kept);
	back.send(publish("receiver/2/kept", "once", { ...v4, qos: 2, id: 51, dup: true }), acknowledge(PUBREL, 51));
	expect((await next(back, 2)).map((each) => each.name)).toEqual(["PUBREC", "PUBCOMP"]);
	expect(await stored("receiver/2/kept")).toEqual(["once"]);
});

test("[MQTT-4.6.0-1] PUBLISH packets are sent again in the order they were first sent", async () => {
	const peer = await client(door, "resending", kept);
	await peer.subscribe("resending", 1);
	for (let i = 0; i < 15; i++) await publisher.publish("resending", `${i}`);
	const first = await next(peer, 15);
	peer.vanish();
	await untilGone(door, "resending");
	const again = await next(await client(door, "resending", kept), 15);
	expect(again.map(({ id, payload }) => [id, payload])).toEqual(first.map(({ id, payload }) => [id, payload]));
});

test("[MQTT-4.6.0-2] PUBACK packets come in the order of the PUBLISH packets", async () => {
	const peer = await client(door, "acknowledged");
	const ids = Array.from({ length: 100 }, (_, i) => 1 + ((i * 37) % 101));
	peer.send(...ids.map((id) => publish(`acknowledged/${id % 7}`, `${id}`, { ...v4, qos: 1, id })));
	expect((await next(peer, 100)).map((each) => each.bytes)).toEqual(ids.map((id) => acknowledge(PUBACK, id)));
});

test("[MQTT-4.6.0-3] PUBREC packets come in the order of the PUBLISH packets", async () => {
	const peer = await client(door, "received");
	const ids = Array.from({ length: 50 }, (_, i) => 1 + ((i * 37) % 101));
	peer.send(...ids.map((id) => publish(`received/${id % 7}`, `${id}`, { ...v4, qos: 2, id })));
	expect((await next(peer, 50)).map((each) => each.bytes)).toEqual(ids.map((id) => acknowledge(PUBREC, id)));
});

test("[MQTT-4.6.0-4] PUBREL packets come in the order of the PUBREC packets", async () => {
	for (const [clientId, fields] of [
		["releasing", {}],
		["releasing-kept", kept],
	] as const) {
		const peer = await client(door, clientId, fields);
		await peer.subscribe(clientId, 2);
		for (let i = 0; i < 6; i++) await publisher.publish(clientId, `${i}`, { qos: 2 });
		const ids = (await next(peer, 6)).map((each) => each.id);
		const shuffled = [3, 0, 5, 1, 4, 2].map((i) => ids[i]!);
		peer.send(...shuffled.map((id) => acknowledge(PUBREC, id)));
		expect((await next(peer, 6)).map((each) => each.bytes)).toEqual(shuffled.map((id) => acknowledge(PUBREL, id)));
	}
});

test("[MQTT-4.6.0-5] every topic is ordered, without any setting", async () => {
	const peer = await client(door, "ordered");
	await peer.subscribe("ordered/#", 1);
	for (let i = 0; i < 40; i++) publisher.send(publish(`ordered/${i % 4}`, `${i}`, { ...v4, qos: 1, id: 100 + i }));
	await next(publisher, 40);
	const byTopic = new Map<string, number[]>();
	for (let i = 0; i < 40; i++) {
		const { topic, payload, id } = await peer.expect("PUBLISH");
		byTopic.set(topic, [...(byTopic.get(topic) ?? []), Number(payload)]);
		peer.send(acknowledge(PUBACK, id));
	}
	expect(byTopic.size).toBe(4);
	for (const numbers of byTopic.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
});

test("[MQTT-4.6.0-6] messages of one client, topic and QoS are delivered in the order they came", async () => {
	const peer = await client(door, "in-order");
	await peer.subscribe("in/order", 2);
	const late = await client(door, "in-order-late", kept);
	await late.subscribe("in/order", 2);
	late.vanish();
	await untilGone(door, "in-order-late");
	for (let i = 0; i < 60; i++) {
		publisher.send(publish("in/order", `${i}`, { ...v4, qos: i % 3, id: 200 + i }));
		if (i % 3 > 0) await publisher.next();
	}
	const seen: number[][] = [[], [], []];
	const take = async (from: Peer, count: number) => {
		for (const all of seen) all.length = 0;
		while (seen.flat().length < count) {
			const { name, qos, id, payload } = await from.next();
			if (name === "PUBREL") from.send(acknowledge(PUBCOMP, id));
			if (name !== "PUBLISH") continue;
			seen[qos]!.push(Number(payload));
			if (qos > 0) from.send(acknowledge(qos === 1 ? PUBACK : PUBREC, id));
		}
		for (const numbers of seen) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
	};
	await take(peer, 60);
	await take(await client(door, "in-order-late", kept), 40); // QoS 0 is not kept
});

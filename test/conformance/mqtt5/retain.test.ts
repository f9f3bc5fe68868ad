/** Section 3.3.1 of MQTT 5.0: DUP, QoS and RETAIN of PUBLISH; retained messages and the options that concern them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, packet, publish, subscribe } from "../support/packets.ts";
import type { Peer, Received } from "../support/peer.ts";
import {
	CONTENT_TYPE,
	MESSAGE_EXPIRY,
	PAYLOAD_FORMAT,
	SUBSCRIPTION_IDENTIFIER,
	USER_PROPERTY,
} from "../support/properties.ts";
import {
	client,
	cutOff,
	keptClient,
	lose,
	MALFORMED,
	NO_RETAINED,
	ONLY_IF_NEW,
	publishOnce,
	RETAIN_AS_PUBLISHED,
	receivedOn,
} from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

let readers = 0;
/** What a new subscriber to `filter` gets before the end mark on `topic`. */
async function retainedFor(filter: string, topic: string, options = 1): Promise<Received[]> {
	const reader = await client(door, `reader${++readers}`);
	await reader.subscribe(filter, options);
	const all = await receivedOn(door, reader, topic);
	reader.vanish();
	return all;
}
const payloads = (all: Received[]): string[] => all.map(({ payload }) => payload).sort();
const retain = (topic: string, payload: string, qos = 1) => publishOnce(door, topic, payload, { retain: true, qos });

test("[MQTT-3.3.1-1] a delivery that is repeated has DUP 1, and is the same otherwise", async () => {
	for (const qos of [1, 2]) {
		const clientId = `repeated${qos}`;
		const first = await keptClient(door, clientId);
		await first.subscribe(clientId, qos);
		await publishOnce(door, clientId, "x", { qos, properties: [[CONTENT_TYPE, "t"]] });
		const sent = await first.expect("PUBLISH");
		expect(sent.dup).toBe(false);
		await lose(door, first, clientId);
		const again = await (await keptClient(door, clientId)).expect("PUBLISH");
		expect(again.bytes[0]).toBe(sent.bytes[0]! | 0x08);
		expect(again.bytes.subarray(1)).toEqual(sent.bytes.subarray(1));
	}
});

test("[MQTT-3.3.1-2] DUP at QoS 0 is malformed", async () => {
	await cutOff(door, MALFORMED, publish("a", "x", { dup: true }));
});

test("[MQTT-3.3.1-3] DUP of a PUBLISH that comes in says nothing about the one that goes out", async () => {
	const subscriber = await client(door, "duplicate");
	await subscriber.subscribe("duplicate", 2);
	for (const qos of [1, 2]) {
		await publishOnce(door, "duplicate", "x", { qos, dup: true });
		expect(await subscriber.expect("PUBLISH")).toMatchObject({ qos, dup: false });
	}
});

test("[MQTT-3.3.1-4] QoS 3 is malformed", async () => {
	await cutOff(door, MALFORMED, packet(0x36, publish("a", "x", { qos: 1 }).subarray(2)));
});

test("[MQTT-3.3.1-5] the last message with RETAIN 1 is kept and sent to new subscribers, at every QoS", async () => {
	for (const qos of [0, 1, 2]) {
		const topic = `last/${qos}`;
		const publisher = await client(door, `last${qos}`);
		for (const payload of ["former", "last"]) {
			if (qos > 0) await publisher.publish(topic, payload, { retain: true, qos });
			else publisher.send(publish(topic, payload, { retain: true }));
		}
		await publisher.publish("last/mark", "x");
		const all = await retainedFor(`last/${qos}`, topic, 2);
		expect(all).toMatchObject([{ payload: "last", retain: true, qos, dup: false }]);
	}
});

test("[MQTT-3.3.1-5] a retained message keeps its properties, and outlives the gateway", async () => {
	const properties = [
		[PAYLOAD_FORMAT, 1],
		[CONTENT_TYPE, "t"],
		[USER_PROPERTY, ["a", "b"]],
	] as const;
	await publishOnce(door, "kept/retained", "x", { retain: true, properties });
	const next = await door.killed();
	try {
		const reader = await client(next, "reader");
		await reader.subscribe("kept/#", 1);
		const received = await reader.expect("PUBLISH");
		expect(received).toMatchObject({ topic: "kept/retained", payload: "x", retain: true });
		expect(new Set(received.properties.map(String))).toEqual(new Set(properties.map(String)));
	} finally {
		await next.close();
	}
});

test("[MQTT-3.3.1-6] [MQTT-3.3.1-7] an empty message with RETAIN 1 is delivered, removes what is kept, and is not kept", async () => {
	const subscriber = await client(door, "empty");
	await subscriber.subscribe("empty", 1);
	await retain("empty", "there");
	await retain("empty", "");
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "there" });
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "", retain: false });
	expect(await retainedFor("empty", "empty")).toEqual([]);
	const next = await door.killed();
	try {
		const reader = await client(next, "reader");
		await reader.subscribe("empty", 1);
		expect(await receivedOn(next, reader, "empty")).toEqual([]);
	} finally {
		await next.close();
	}
});

test("[MQTT-3.3.1-8] RETAIN 0 neither keeps a message nor touches what is kept", async () => {
	await publishOnce(door, "untouched/a", "not kept");
	expect(await retainedFor("untouched/a", "untouched/a")).toEqual([]);
	await retain("untouched/b", "kept");
	await publishOnce(door, "untouched/b", "not kept");
	await publishOnce(door, "untouched/b", "");
	expect(payloads(await retainedFor("untouched/b", "untouched/b"))).toEqual(["kept"]);
});

test("[MQTT-3.3.1-9] Retain Handling 0 sends every retained message that matches, at each SUBSCRIBE", async () => {
	for (const topic of ["all/a", "all/b", "all/b/c", "other/a"]) await retain(topic, topic);
	expect(payloads(await retainedFor("all/#", "all/end"))).toEqual(["all/a", "all/b", "all/b/c"]);
	expect(payloads(await retainedFor("all/+", "all/end"))).toEqual(["all/a", "all/b"]);
	expect(payloads(await retainedFor("+/a", "all/a"))).toContain("other/a");
	const reader = await client(door, "twice");
	for (let i = 0; i < 2; i++) {
		reader.send(subscribe([["all/b", 0]], { properties: [[SUBSCRIPTION_IDENTIFIER, 5]] }));
		await reader.expect("SUBACK");
		const received = await reader.expect("PUBLISH");
		expect(received).toMatchObject({ payload: "all/b", retain: true, qos: 0 });
		expect(received.property(SUBSCRIPTION_IDENTIFIER)).toBe(5);
	}
});

test("[MQTT-3.3.1-9] a retained message that has expired is not sent", async () => {
	const other = await TestDoor.open();
	try {
		await publishOnce(other, "expiring", "x", { retain: true, properties: [[MESSAGE_EXPIRY, 10]] });
		const reader = await client(other, "early");
		await reader.subscribe("expiring", 1);
		expect(await reader.expect("PUBLISH")).toMatchObject({ payload: "x" });
		other.clock.advance(11_000);
		const late = await client(other, "late");
		await late.subscribe("expiring", 1);
		expect(await receivedOn(other, late, "expiring")).toEqual([]);
	} finally {
		await other.close();
	}
});

async function subscribeTwice(name: string, options: number): Promise<[Received[], Received[], Peer]> {
	await retain(name, "kept");
	const reader = await client(door, name);
	await reader.subscribe(name, options);
	const first = await receivedOn(door, reader, name);
	await reader.subscribe(name, options);
	return [first, await receivedOn(door, reader, name), reader];
}

test("[MQTT-3.3.1-10] Retain Handling 1 sends retained messages only where the subscription is new", async () => {
	const [first, second, reader] = await subscribeTwice("only-new", 1 | ONLY_IF_NEW);
	expect([payloads(first), payloads(second)]).toEqual([["kept"], []]);
	reader.vanish();
});

test("[MQTT-3.3.1-10] a subscription that a kept session brought along is not new", async () => {
	await retain("brought", "kept");
	const first = await keptClient(door, "brought");
	first.send(subscribe([["brought", 1 | ONLY_IF_NEW]]));
	// The standard lets what is retained come before SUBACK.
	const two = [await first.next(), await first.next()];
	expect(two.map(({ name }) => name).sort()).toEqual(["PUBLISH", "SUBACK"]);
	const received = two.find(({ name }) => name === "PUBLISH")!;
	expect(received).toMatchObject({ payload: "kept", retain: true });
	first.send(acknowledge(PUBACK, received.id));
	expect(await first.untilPong()).toEqual([]);
	await lose(door, first, "brought");
	const again = await keptClient(door, "brought");
	await again.subscribe("brought", 1 | ONLY_IF_NEW);
	expect(await receivedOn(door, again, "brought")).toEqual([]);
});

test("[MQTT-3.3.1-11] Retain Handling 2 sends none", async () => {
	const [first, second] = await subscribeTwice("none", 1 | NO_RETAINED);
	expect([first, second]).toEqual([[], []]);
});

test("[MQTT-3.3.1-12] Retain As Published 0: what is forwarded has RETAIN 0", async () => {
	const subscriber = await client(door, "cleared");
	await subscriber.subscribe("cleared", 1);
	await retain("cleared", "x");
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "x", retain: false });
	await publishOnce(door, "cleared", "y");
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "y", retain: false });
});

test("[MQTT-3.3.1-13] Retain As Published 1: what is forwarded has RETAIN as it came", async () => {
	const subscriber = await client(door, "published");
	await subscriber.subscribe("published", 1 | RETAIN_AS_PUBLISHED);
	await retain("published", "x");
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "x", retain: true });
	await publishOnce(door, "published", "y");
	expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: "y", retain: false });
});

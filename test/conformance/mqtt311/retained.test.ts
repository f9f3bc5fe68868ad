/** Retained messages of MQTT 3.1.1 (sections 3.3.1.3 and 3.8.4). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { publish, subscribe } from "../support/packets.ts";
import type { Peer, Received } from "../support/peer.ts";
import { client, payloadsOn, receivedOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

let subscribers = 0;

/** A new client that has just subscribed. */
async function newSubscriber(filter: string, qos = 2): Promise<Peer> {
	const peer = await client(door, `subscriber${++subscribers}`);
	expect(await peer.subscribe(filter, qos)).toBe(qos);
	return peer;
}

/** What a new subscriber to a topic gets although nobody publishes. */
async function retainedOn(topic: string): Promise<Received[]> {
	const late = await newSubscriber(topic, 1);
	return receivedOn(door, late, topic);
}

async function retain(topic: string, payload: string, qos = 1): Promise<void> {
	if (qos > 0) {
		await publisher.publish(topic, payload, { qos, retain: true });
		return;
	}
	publisher.send(publish(topic, payload, { level: 4, retain: true }));
	await publisher.publish("retained/barrier", "the QoS 0 message before this one is stored");
}

test("[MQTT-3.3.1-5] a retained message and its QoS are kept for later subscribers", async () => {
	for (const qos of [0, 1, 2]) {
		await retain(`keeps/${qos}`, `at ${qos}`, qos);
		const late = await newSubscriber(`keeps/${qos}`);
		expect(await late.expect("PUBLISH")).toMatchObject({
			topic: `keeps/${qos}`,
			payload: `at ${qos}`,
			qos,
			retain: true,
		});
	}
});

test("[MQTT-3.3.1-5] a later retained message takes the place of the former", async () => {
	for (const payload of ["first", "second", "third"]) await retain("replaces", payload);
	expect((await retainedOn("replaces")).map((each) => each.payload)).toEqual(["third"]);
});

test("[MQTT-3.3.1-6] a new subscription gets the last retained message of each matching topic", async () => {
	for (const name of ["a", "b", "c", "a/deep", "b/deep"]) await retain(`matching/${name}`, name);
	await retain("elsewhere/a", "not this");
	const shallow = await newSubscriber("matching/+");
	const got = [await shallow.expect("PUBLISH"), await shallow.expect("PUBLISH"), await shallow.expect("PUBLISH")];
	expect(got.map((each) => each.payload).sort()).toEqual(["a", "b", "c"]);
	const deep = await newSubscriber("matching/#");
	const all: string[] = [];
	for (let i = 0; i < 5; i++) all.push((await deep.expect("PUBLISH")).payload);
	expect(all.sort()).toEqual(["a", "a/deep", "b", "b/deep", "c"]);
	expect(await deep.untilPong()).toEqual([]);
});

test("[MQTT-3.3.1-6] several filters of one SUBSCRIBE each bring their retained messages", async () => {
	await retain("several/a", "a");
	await retain("several/b", "b");
	const peer = await client(door, "several");
	const filters = [
		["several/a", 1],
		["several/b", 1],
	] as const;
	peer.send(subscribe(filters, { level: 4 }));
	const got = [await peer.next(), await peer.next(), await peer.next()];
	expect(got.map((each) => each.payload).sort()).toEqual(["", "a", "b"]); // SUBACK has none
});

test("[MQTT-3.3.1-7] a retained message of QoS 0 discards the former one", async () => {
	await retain("discards", "of QoS 1", 1);
	await retain("discards", "of QoS 0", 0);
	expect((await retainedOn("discards")).map((each) => each.payload)).not.toContain("of QoS 1");
});

test("[MQTT-3.3.1-8] what is sent because of a new subscription has RETAIN set", async () => {
	await retain("flagged", "x");
	expect((await retainedOn("flagged")).map(({ retain }) => retain)).toEqual([true]);
});

test("[MQTT-3.3.1-9] what is sent to an established subscription has RETAIN clear", async () => {
	const subscriber = await newSubscriber("established/#");
	for (const qos of [0, 1, 2]) {
		await retain(`established/${qos}`, `at ${qos}`, qos);
		expect(await subscriber.expect("PUBLISH")).toMatchObject({ payload: `at ${qos}`, qos, retain: false });
	}
});

test("[MQTT-3.3.1-10] an empty retained message is delivered as ordinary and removes the former", async () => {
	await retain("removed", "there");
	expect((await retainedOn("removed")).map((each) => each.payload)).toEqual(["there"]);
	const established = await newSubscriber("removed", 1);
	expect((await established.expect("PUBLISH")).retain).toBe(true);
	await retain("removed", "");
	expect(await established.expect("PUBLISH")).toMatchObject({ payload: "", retain: false });
	expect(await retainedOn("removed")).toEqual([]);
});

test("[MQTT-3.3.1-11] an empty message is not stored as the retained one", async () => {
	await retain("never/there", "");
	expect(await retainedOn("never/there")).toEqual([]);
	await retain("never/there", "", 0);
	expect(await retainedOn("never/there")).toEqual([]);
});

test("[MQTT-3.3.1-12] a message without RETAIN neither becomes the retained one nor replaces it", async () => {
	await publisher.publish("ordinary", "x");
	expect(await retainedOn("ordinary")).toEqual([]);
	await retain("untouched", "retained");
	await publisher.publish("untouched", "ordinary");
	await publisher.publish("untouched", "");
	expect((await retainedOn("untouched")).map(({ payload, retain }) => [payload, retain])).toEqual([["retained", true]]);
});

test("[MQTT-3.8.4-3] an equal filter replaces the subscription and brings the retained messages again", async () => {
	await retain("renewed/a", "retained");
	const peer = await newSubscriber("renewed/+", 0);
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "retained", retain: true, qos: 0 });
	expect(await peer.subscribe("renewed/+", 1)).toBe(1);
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "retained", retain: true, qos: 1 });
	// One subscription, so one copy, at the new QoS.
	expect(await payloadsOn(door, peer, "renewed/b")).toEqual([]);
});

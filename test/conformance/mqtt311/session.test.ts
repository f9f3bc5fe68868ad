/** Sessions of MQTT 3.1.1 (sections 3.1.2.4, 4.1, 4.4 and 4.5): what outlives a connection, and what does not. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, disconnect, PUBACK, packet, publish } from "../support/packets.ts";
import { type Peer, untilGone } from "../support/peer.ts";
import { u16 } from "../support/properties.ts";
import { client, closesSilently, payloadsOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

const kept = { clean: false } as const;

/** A kept session that is subscribed to `filter` at QoS 2 and away, by a broken connection. */
async function away(clientId: string, filter: string): Promise<void> {
	const peer = await client(door, clientId, kept);
	await peer.subscribe(filter, 2);
	peer.vanish();
	await untilGone(door, clientId);
}

test("[MQTT-3.1.2-4] Clean Session 0 makes a session, keeps it, and resumes it", async () => {
	await away("resuming", "resuming/a");
	const back = await client(door, "resuming", kept);
	expect(back.connack?.sessionPresent).toBe(true);
	await publisher.publish("resuming/a", "x");
	expect((await back.expect("PUBLISH")).payload).toBe("x");
	back.send(disconnect());
	await closesSilently(back);
	expect((await client(door, "resuming", kept)).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-5] QoS 1 and 2 messages are kept for a client that is away", async () => {
	await away("waiting", "waiting/#");
	await publisher.publish("waiting/1", "one", { qos: 1 });
	await publisher.publish("waiting/2", "two", { qos: 2 });
	const back = await client(door, "waiting", kept);
	const got = [await back.expect("PUBLISH"), await back.expect("PUBLISH")];
	expect(got.map(({ topic, qos, dup, payload }) => [topic, qos, dup, payload]).sort()).toEqual([
		["waiting/1", 1, false, "one"],
		["waiting/2", 2, false, "two"],
	]);
});

test("[MQTT-3.1.2-6] Clean Session 1 discards the former session and leaves none", async () => {
	await away("discarding", "discarding/a");
	await publisher.publish("discarding/a", "for the old session");
	const clean = await client(door, "discarding", { clean: true });
	await clean.subscribe("discarding/b", 1);
	clean.vanish();
	await untilGone(door, "discarding");
	await publisher.publish("discarding/b", "for nobody");
	const back = await client(door, "discarding", kept);
	expect(back.connack?.sessionPresent).toBe(false);
	await back.subscribe("discarding/c", 1);
	await publisher.publish("discarding/a", "not subscribed");
	await publisher.publish("discarding/b", "not subscribed");
	expect(await payloadsOn(door, back, "discarding/c")).toEqual([]);
});

test("[MQTT-3.1.2-7] retained messages outlive the session that published them", async () => {
	const short = await client(door, "short-lived", { clean: true });
	await short.publish("short/lived", "lasts", { retain: true });
	short.send(disconnect());
	await closesSilently(short);
	const again = await client(door, "short-lived", { clean: true });
	await again.subscribe("short/lived", 1);
	expect(await again.expect("PUBLISH")).toMatchObject({ payload: "lasts", retain: true });
});

test("[MQTT-4.1.0-1] the session's state is kept for as long as the session", async () => {
	const peer = await client(door, "stateful", kept);
	await peer.subscribe("stateful/out", 1);
	peer.send(publish("stateful/in", "once", { level: 4, qos: 2, id: 5 }));
	await peer.expect("PUBREC");
	await publisher.publish("stateful/out", "unacknowledged");
	const { id } = await peer.expect("PUBLISH");
	peer.vanish();
	await untilGone(door, "stateful");
	door.clock.advance(86_400_000);
	const back = await client(door, "stateful", kept);
	expect(await back.expect("PUBLISH")).toMatchObject({ id, dup: true, payload: "unacknowledged" });
	back.send(publish("stateful/in", "once", { level: 4, qos: 2, id: 5, dup: true }));
	await back.expect("PUBREC");
	const stored = (await door.records("mqtt")).filter((record) => record.key?.toString() === "stateful/in");
	expect(stored.length).toBe(1);
});

test("[MQTT-4.1.0-2] a session lasts as long as its connection, also when it is not kept", async () => {
	const peer = await client(door, "lasting", { clean: true });
	await peer.subscribe("lasting", 1);
	door.clock.advance(86_400_000);
	await publisher.publish("lasting", "still subscribed");
	expect((await peer.expect("PUBLISH")).payload).toBe("still subscribed");
});

test("[MQTT-4.4.0-1] PUBLISH without acknowledgement is sent again under its identifier", async () => {
	const peer = await client(door, "resent", kept);
	await peer.subscribe("resent/#", 2);
	await publisher.publish("resent/1", "one", { qos: 1 });
	await publisher.publish("resent/2", "two", { qos: 2 });
	const first = [await peer.expect("PUBLISH"), await peer.expect("PUBLISH")];
	peer.vanish();
	await untilGone(door, "resent");
	const back = await client(door, "resent", kept);
	const second = [await back.expect("PUBLISH"), await back.expect("PUBLISH")];
	const facts = (all: typeof first) => all.map(({ id, qos, topic, payload }) => ({ id, qos, topic, payload }));
	expect(facts(second).sort(byId)).toEqual(facts(first).sort(byId));
	expect(second.map((each) => each.dup)).toEqual([true, true]);
});

const byId = (a: { id: number }, b: { id: number }) => a.id - b.id;

test("[MQTT-4.4.0-1] PUBREL without acknowledgement is sent again, the PUBLISH is not", async () => {
	const peer = await client(door, "released", kept);
	await peer.subscribe("released", 2);
	await publisher.publish("released", "x", { qos: 2 });
	const { id } = await peer.expect("PUBLISH");
	peer.send(packet(0x50, u16(id)));
	await peer.expect("PUBREL");
	peer.vanish();
	await untilGone(door, "released");
	const back = await client(door, "released", kept);
	expect(await back.expect("PUBREL")).toMatchObject({ id });
	back.send(packet(0x70, u16(id)));
	expect(await payloadsOn(door, back, "released")).toEqual([]);
});

test("[MQTT-4.4.0-1] what was acknowledged is not sent again", async () => {
	const peer = await client(door, "done", kept);
	await peer.subscribe("done", 1);
	await publisher.publish("done", "x");
	peer.send(acknowledge(PUBACK, (await peer.expect("PUBLISH")).id), disconnect());
	await closesSilently(peer);
	const back = await client(door, "done", kept);
	expect(await payloadsOn(door, back, "done")).toEqual([]);
});

test("[MQTT-4.5.0-1] a message goes to every session with a matching subscription, near or away", async () => {
	await away("everybody-away", "everybody/+");
	const near = await client(door, "everybody-near");
	await near.subscribe("everybody/#", 1);
	const exact = await client(door, "everybody-exact");
	await exact.subscribe("everybody/a", 0);
	const other = await client(door, "everybody-other");
	await other.subscribe("everybody/b", 1);
	await publisher.publish("everybody/a", "to all");
	expect((await near.expect("PUBLISH")).payload).toBe("to all");
	expect((await exact.expect("PUBLISH")).payload).toBe("to all");
	const back = await client(door, "everybody-away", kept);
	expect((await back.expect("PUBLISH")).payload).toBe("to all");
	expect(await payloadsOn(door, other, "everybody/b")).toEqual([]);
});

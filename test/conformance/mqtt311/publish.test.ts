/** PUBLISH of MQTT 3.1.1 (section 3.3): its flags, its topic, its answers. Retained messages have a file of their own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { packet, publish } from "../support/packets.ts";
import { type Peer, untilGone } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { client, closesSilently, cutOff, receivedOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;

test("[MQTT-3.3.1-1] a PUBLISH that is sent again has DUP set, one sent the first time has not", async () => {
	const peer = await client(door, "again", { clean: false });
	await peer.subscribe("again", 2);
	await publisher.publish("again", "one", { qos: 1 });
	await publisher.publish("again", "two", { qos: 2 });
	expect([await peer.expect("PUBLISH"), await peer.expect("PUBLISH")].map((each) => each.dup)).toEqual([false, false]);
	peer.vanish();
	await untilGone(door, "again");
	const back = await client(door, "again", { clean: false });
	expect([await back.expect("PUBLISH"), await back.expect("PUBLISH")].map((each) => each.dup)).toEqual([true, true]);
});

test("[MQTT-3.3.1-2] DUP at QoS 0 closes the connection, and the server never sends it", async () => {
	await cutOff(door, publish("a", "x", { ...v4, dup: true }));
	await cutOff(door, publish("a", "x", { ...v4, dup: true, retain: true }));
	const peer = await client(door, "no-dup");
	await peer.subscribe("no/dup", 0);
	publisher.send(publish("no/dup", "x", { ...v4, qos: 1, dup: true }));
	await publisher.expect("PUBACK");
	expect((await peer.expect("PUBLISH")).flags).toBe(0);
});

test("[MQTT-3.3.1-3] the publisher's DUP is not passed on", async () => {
	const peer = await client(door, "not-passed");
	await peer.subscribe("not/passed", 2);
	publisher.send(publish("not/passed", "one", { ...v4, qos: 1, dup: true, id: 21 }));
	publisher.send(publish("not/passed", "two", { ...v4, qos: 2, dup: true, id: 22 }));
	await publisher.expect("PUBACK");
	await publisher.expect("PUBREC");
	const got = [await peer.expect("PUBLISH"), await peer.expect("PUBLISH")];
	expect(got.map(({ qos, dup }) => [qos, dup]).sort()).toEqual([
		[1, false],
		[2, false],
	]);
});

test("[MQTT-3.3.1-4] QoS 3 closes the connection", async () => {
	for (const first of [0x36, 0x37, 0x3e, 0x3f]) await cutOff(door, packet(first, text("a"), u16(1), 0x78));
});

test("[MQTT-3.3.2-1] the topic name comes first and is UTF-8", async () => {
	await cutOff(door, packet(0x30));
	await cutOff(door, packet(0x30, 0));
	await cutOff(door, packet(0x30, u16(2), 0x61));
	await cutOff(door, packet(0x32, u16(1), text("a")));
	await cutOff(door, publish(Buffer.of(0x61, 0xff), "x", v4));
	const peer = await client(door, "topic-first");
	await peer.subscribe("#", 0);
	await publisher.publish("größe/東京/🚲", "x");
	expect((await peer.expect("PUBLISH")).topic).toBe("größe/東京/🚲");
});

test("[MQTT-3.3.2-2] wildcards in a topic name close the connection", async () => {
	for (const topic of ["#", "+", "a/#", "a/+", "+/a", "a#", "a+b"]) {
		await cutOff(door, publish(topic, "x", v4));
		await cutOff(door, publish(topic, "x", { ...v4, qos: 1 }));
	}
});

test("[MQTT-3.3.2-3] what is delivered is what was published, and matches the filter", async () => {
	const peer = await client(door, "matching");
	await peer.subscribe("matching/+/c", 1);
	for (const topic of [
		"matching/b/c",
		"matching/b/d",
		"matching/c",
		"matching//c",
		"matching/b/c/d",
		"xmatching/b/c",
	]) {
		await publisher.publish(topic, topic);
	}
	const got = await receivedOn(door, peer, "matching/z/c");
	expect(got.map((each) => each.topic).sort()).toEqual(["matching//c", "matching/b/c"]);
	expect(got.every((each) => each.topic === each.payload)).toBe(true);
});

test("[MQTT-3.3.4-1] the answer follows the QoS: none, PUBACK, PUBREC", async () => {
	const peer = await client(door, "answers");
	peer.send(publish("answers", "0", v4));
	expect(await peer.untilPong()).toEqual([]);
	peer.send(publish("answers", "1", { ...v4, qos: 1, id: 258 }));
	expect((await peer.next()).bytes.toString("hex")).toBe("40020102");
	peer.send(publish("answers", "2", { ...v4, qos: 2, id: 259 }));
	expect((await peer.next()).bytes.toString("hex")).toBe("50020103");
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.3.5-1] overlapping subscriptions deliver at their highest QoS", async () => {
	const peer = await client(door, "overlapping");
	await peer.subscribe("overlap/#", 0);
	await peer.subscribe("overlap/+", 2);
	await peer.subscribe("overlap/a", 1);
	for (const qos of [1, 2]) {
		await publisher.publish("overlap/a", `${qos}`, { qos });
		const got = [await peer.expect("PUBLISH"), ...(await peer.untilPong())];
		// Further copies, one for each of the others, would be allowed.
		expect(Math.max(...got.map((each) => each.qos))).toBe(qos);
		expect(got.every((each) => each.name === "PUBLISH" && each.payload === `${qos}`)).toBe(true);
	}
});

test("[MQTT-3.3.5-2] a PUBLISH that is not accepted is acknowledged, or closes the connection", async () => {
	const watcher = await client(door, "refused-watcher");
	await watcher.subscribe("$SYS/#", 0);
	const peer = await client(door, "refused");
	for (const [qos, answer] of [
		[1, "PUBACK"],
		[2, "PUBREC"],
	] as const) {
		peer.send(publish("$SYS/mine", "x", { ...v4, qos, id: 9 + qos }));
		expect(await peer.expect(answer)).toMatchObject({ id: 9 + qos });
	}
	expect((await watcher.untilPong()).some((each) => each.topic === "$SYS/mine")).toBe(false);
	const large = await client(door, "refused-large");
	large.send(publish("refused/large", Buffer.alloc(200_000), { ...v4, qos: 1 }));
	await closesSilently(large);
});

/** Topic names and filters of MQTT 3.1.1 (section 4.7). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { publish, subscribe, unsubscribe } from "../support/packets.ts";
import type { Peer } from "../support/peer.ts";
import { client, cutOff, receivedOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;
let subscribers = 0;

/** Which of these topics a filter takes; `mark` is one that it takes in any case. */
async function taken(filter: string, topics: readonly string[], mark: string): Promise<string[]> {
	const peer = await client(door, `topics${++subscribers}`);
	expect(await peer.subscribe(filter, 1)).toBe(1);
	for (const topic of topics) await publisher.publish(topic, "x");
	const got = (await receivedOn(door, peer, mark)).map((each) => each.topic);
	peer.vanish();
	return got.sort();
}

test("[MQTT-4.7.1-1] wildcards work in filters, and close the connection in topic names", async () => {
	for (const topic of ["a/+/b", "a/#", "+", "#"]) await cutOff(door, publish(topic, "x", { ...v4, qos: 1 }));
	expect(await taken("wild/+", ["wild/a", "wild/b"], "wild/c")).toEqual(["wild/a", "wild/b"]);
});

test("[MQTT-4.7.1-2] # is the whole last level, and takes its parent too", async () => {
	for (const filter of ["a#", "a/#/b", "#/a", "##", "a/b#", "a/#b"]) {
		await cutOff(door, subscribe([[filter, 0]], v4));
		await cutOff(door, unsubscribe([filter], v4));
	}
	const topics = ["multi", "multi/a", "multi/a/b/c", "multi/", "multiple", "other/multi"];
	expect(await taken("multi/#", topics, "multi/mark")).toEqual(["multi", "multi/", "multi/a", "multi/a/b/c"]);
	expect(await taken("#", topics, "mark")).toEqual([...topics].sort());
});

test("[MQTT-4.7.1-3] + is a whole level, at any place", async () => {
	for (const filter of ["a+", "+a", "a/b+/c", "++", "a/+#"]) {
		await cutOff(door, subscribe([[filter, 0]], v4));
		await cutOff(door, unsubscribe([filter], v4));
	}
	const topics = ["s/a/t", "s//t", "s/a/b/t", "s/a", "s/a/t/", "/a", "a", "a/"];
	expect(await taken("s/+/t", topics, "s/mark/t")).toEqual(["s//t", "s/a/t"]);
	expect(await taken("+/+", topics, "any/mark")).toEqual(["/a", "a/", "s/a"]);
	expect(await taken("+", topics, "mark")).toEqual(["a"]);
	expect(await taken("/+", topics, "/mark")).toEqual(["/a"]);
	expect(await taken("+/a/#", topics, "x/a/mark")).toEqual(["/a", "s/a", "s/a/b/t", "s/a/t", "s/a/t/"]);
});

test("[MQTT-4.7.2-1] filters that begin with a wildcard do not take topics that begin with $", async () => {
	// What is published under $ by clients is dropped here, so a will and the broker's own events have to stand for it too.
	const peer = await client(door, "dollar");
	for (const filter of ["#", "+/#", "+/monitor", "+"]) await peer.subscribe(filter, 1);
	for (const topic of ["$SYS/monitor", "$SYS", "$other/monitor"]) await publisher.publish(topic, "x");
	door.clock.advance(120_000);
	expect((await receivedOn(door, peer, "mark")).filter((each) => each.topic.startsWith("$"))).toEqual([]);
});

test("[MQTT-4.7.3-1] an empty topic name or filter closes the connection", async () => {
	await cutOff(door, publish("", "x", v4));
	await cutOff(door, publish("", "x", { ...v4, qos: 1 }));
	await cutOff(door, subscribe([["", 0]], v4));
	await cutOff(door, unsubscribe([""], v4));
	expect(await taken(" ", [" ", "/"], " ")).toEqual([" "]);
	expect(await taken("/", [" ", "/"], "/")).toEqual(["/"]);
});

test("[MQTT-4.7.3-2] U+0000 in a topic name or filter closes the connection", async () => {
	for (const name of ["\0", "a\0", "a/\0/b"]) {
		await cutOff(door, publish(name, "x", v4));
		await cutOff(door, subscribe([[name, 0]], v4));
		await cutOff(door, unsubscribe([name], v4));
	}
});

test("[MQTT-4.7.3-3] names of 65,535 bytes are served", async () => {
	const wide = await TestDoor.open({ routes: [{ filter: "#", topic: "mqtt" }] });
	try {
		const longest = `${"ü".repeat(32_767)}x`;
		expect(Buffer.byteLength(longest)).toBe(65_535);
		const peer = await client(wide, "longest");
		expect(await peer.subscribe(longest, 1)).toBe(1);
		await (await client(wide, "longest-publisher")).publish(longest, "arrived");
		const received = await peer.expect("PUBLISH");
		expect([received.topic === longest, received.payload]).toEqual([true, "arrived"]);
		peer.send(unsubscribe([longest], v4));
		await peer.expect("UNSUBACK");
	} finally {
		await wide.close();
	}
});

test("[MQTT-4.7.3-4] names are compared as they are: case, slashes, spaces and composed characters count", async () => {
	const topics = [
		"Name/é",
		"Name/e\u0301",
		"name/é",
		"Name/É",
		"Name/é/",
		"/Name/é",
		"Name//é",
		"Name/é ",
		"Name/\ufeffé",
	];
	expect(await taken("Name/é", topics, "Name/é")).toEqual(["Name/é"]);
	expect(await taken("Name/e\u0301", topics, "Name/e\u0301")).toEqual(["Name/e\u0301"]);
	expect(await taken("Name//é", topics, "Name//é")).toEqual(["Name//é"]);
});

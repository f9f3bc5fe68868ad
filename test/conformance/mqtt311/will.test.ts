/** Wills of MQTT 3.1.1 (section 3.1.2.5): when they are published, and as what. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, disconnect, packet, publish, type Will } from "../support/packets.ts";
import type { Peer } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { client, closesSilently, payloadsOn, refused } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

/** A client that watches `name/#`, and one that has a will on `name/will`. */
async function pair(name: string, will: Partial<Will> = {}, keepAlive = 0): Promise<[Peer, Peer]> {
	const watcher = await client(door, `${name}-watcher`);
	await watcher.subscribe(`${name}/#`, 2);
	return [
		watcher,
		await client(door, `${name}-mortal`, { keepAlive, will: { topic: `${name}/will`, payload: "gone", ...will } }),
	];
}

test("[MQTT-3.1.2-8] the will is published when the connection breaks", async () => {
	const [watcher, mortal] = await pair("breaks");
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "breaks/will", payload: "gone" });
});

test("[MQTT-3.1.2-8] the will is published when the server closes for a protocol error", async () => {
	const [watcher, mortal] = await pair("violates");
	mortal.send(packet(0xf0));
	await closesSilently(mortal);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "violates/will", payload: "gone" });
});

test("[MQTT-3.1.2-8] the will is published when the keep alive runs out", async () => {
	const [watcher, mortal] = await pair("falls-silent", {}, 10);
	door.clock.advance(20_000);
	await closesSilently(mortal);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "falls-silent/will", payload: "gone" });
});

test("[MQTT-3.1.2-8] the will is published when another connection takes over", async () => {
	const [watcher, mortal] = await pair("replaced");
	await client(door, "replaced-mortal");
	await closesSilently(mortal);
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "replaced/will", payload: "gone" });
});

test("[MQTT-3.1.2-9] will QoS, topic and message are those of the CONNECT, and may not be missing", async () => {
	for (const qos of [0, 1, 2]) {
		const [watcher, mortal] = await pair(`quality${qos}`, { qos, payload: `at ${qos}` });
		mortal.vanish();
		expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: `quality${qos}/will`, payload: `at ${qos}`, qos });
	}
	await refused(door, packet(0x10, text("MQTT"), 4, 0x06, u16(0), text("id")));
	await refused(door, packet(0x10, text("MQTT"), 4, 0x06, u16(0), text("id"), text("topic")));
});

test("[MQTT-3.1.2-9] a will message may be empty and of any bytes", async () => {
	const [watcher, mortal] = await pair("empty", { payload: "" });
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ topic: "empty/will", payload: "" });
});

test("[MQTT-3.1.2-10] a will is published once, and is gone then", async () => {
	const [watcher, mortal] = await pair("once");
	mortal.vanish();
	expect((await watcher.expect("PUBLISH")).topic).toBe("once/will");
	const again = await client(door, "once-mortal");
	again.vanish();
	expect(await payloadsOn(door, watcher, "once/mark")).toEqual([]);
});

test("[MQTT-3.1.2-10] DISCONNECT removes the will", async () => {
	const [watcher, mortal] = await pair("leaves");
	mortal.send(disconnect());
	await closesSilently(mortal);
	expect(await payloadsOn(door, watcher, "leaves/mark")).toEqual([]);
});

test("[MQTT-3.1.2-12] without a will nothing is published when the connection ends", async () => {
	const watcher = await client(door, "willless-watcher");
	await watcher.subscribe("willless/#", 2);
	const mortal = await client(door, "willless-mortal");
	await mortal.publish("willless/a", "alive");
	mortal.vanish();
	expect(await payloadsOn(door, watcher, "willless/mark")).toEqual(["alive"]);
});

test("[MQTT-3.1.2-14] will QoS 3 closes the connection without CONNACK", async () => {
	await refused(door, connect({ level: 4, will: { topic: "t", payload: "x", qos: 3 } }));
	await refused(door, connect({ level: 4, will: { topic: "t", payload: "x", qos: 3, retain: true } }));
});

test("[MQTT-3.1.2-16] a will without retain is an ordinary message", async () => {
	const [watcher, mortal] = await pair("ordinary", { qos: 1 });
	mortal.vanish();
	expect((await watcher.expect("PUBLISH")).retain).toBe(false);
	const late = await client(door, "ordinary-late");
	await late.subscribe("ordinary/will", 1);
	expect(await payloadsOn(door, late, "ordinary/will")).toEqual([]);
});

test("[MQTT-3.1.2-17] a will with retain becomes the topic's retained message", async () => {
	const [watcher, mortal] = await pair("lasting", { qos: 1, retain: true });
	mortal.vanish();
	expect(await watcher.expect("PUBLISH")).toMatchObject({ payload: "gone", retain: false });
	const late = await client(door, "lasting-late");
	await late.subscribe("lasting/will", 1);
	expect(await late.expect("PUBLISH")).toMatchObject({ topic: "lasting/will", payload: "gone", retain: true, qos: 1 });
});

test("[MQTT-3.14.4-2] what a client sends after DISCONNECT is not processed", async () => {
	const watcher = await client(door, "talks-on-watcher");
	await watcher.subscribe("talks/on", 1);
	const peer = await client(door, "talks-on");
	peer.send(disconnect(), publish("talks/on", "x", { level: 4, qos: 1 }), packet(0xc0));
	await closesSilently(peer);
	expect(await payloadsOn(door, watcher, "talks/on")).toEqual([]);
});

test("[MQTT-3.14.4-3] after DISCONNECT the will is discarded, also when more follows", async () => {
	const watcher = await client(door, "ended-watcher");
	await watcher.subscribe("ended/#", 2);
	const peer = await client(door, "ended", { will: { topic: "ended/will", payload: "gone" } });
	peer.send(disconnect(), publish("ended/after", "not processed", { level: 4 }));
	await closesSilently(peer);
	expect(await payloadsOn(door, watcher, "ended/mark")).toEqual([]);
});

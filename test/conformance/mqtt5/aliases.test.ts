/** Topic aliases of the server (section 3.3.2.3.4 of MQTT 5.0) where packets are dropped, wait for a commit, or are repeated. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBACK, PUBREC, publish } from "../support/packets.ts";
import type { Peer } from "../support/peer.ts";
import { MAXIMUM_PACKET_SIZE, type Property, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM } from "../support/properties.ts";
import { client, expiry, lose, publishOnce } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const aliases: Property = [TOPIC_ALIAS_MAXIMUM, 10];

/** The topics of the next deliveries, resolved as a client does: an alias that it was not told of is a protocol error. */
async function topics(peer: Peer, count: number): Promise<string[]> {
	const names = new Map<unknown, string>();
	const all: string[] = [];
	for (let i = 0; i < count; i++) {
		const received = await peer.expect("PUBLISH");
		if (received.qos === 1) peer.send(acknowledge(PUBACK, received.id));
		const alias = received.property(TOPIC_ALIAS);
		if (received.topic !== "" && alias !== undefined) names.set(alias, received.topic);
		all.push(received.topic !== "" ? received.topic : (names.get(alias) ?? `alias ${String(alias)} was not told`));
	}
	return all;
}

test("[MQTT-3.1.2-25] a packet that was too large to send does not count as having told its alias", async () => {
	const peer = await client(door, "dropped", { properties: [aliases, [MAXIMUM_PACKET_SIZE, 60]] });
	await peer.subscribe("dropped", 1);
	await publishOnce(door, "dropped", "x".repeat(100));
	for (let i = 0; i < 3; i++) await publishOnce(door, "dropped", "small");
	expect(await topics(peer, 3)).toEqual(["dropped", "dropped", "dropped"]);
});

test("[MQTT-3.3.2-11] an alias is never used before the packet that tells it, whichever of them waits for a commit", async () => {
	const peer = await client(door, "waits", { clean: false, properties: [expiry(1000), aliases] });
	await peer.subscribe("waits/#", 2);
	const publisher = await client(door, "waits-publisher");
	for (let round = 0; round < 10; round++) {
		const topic = `waits/${round}`;
		publisher.send(
			publish(topic, "two", { qos: 2, id: 1 + round * 4 }),
			publish(topic, "one", { qos: 1, id: 2 + round * 4 }),
			publish(topic, "none", { qos: 0 }),
		);
		expect(await topics(peer, 3)).toEqual([topic, topic, topic]);
	}
});

test("[MQTT-3.3.2-7] what is repeated over a new connection tells its alias anew", async () => {
	const properties = [expiry(1000), aliases];
	const first = await client(door, "repeats", { clean: false, properties });
	await first.subscribe("repeats", 2);
	for (const qos of [1, 2, 1, 2]) await publishOnce(door, "repeats", `${qos}`, { qos });
	const ids: number[] = [];
	for (let i = 0; i < 4; i++) ids.push((await first.expect("PUBLISH")).id);
	await lose(door, first, "repeats");
	const again = await client(door, "repeats", { clean: false, properties });
	expect(await topics(again, 4)).toEqual(["repeats", "repeats", "repeats", "repeats"]);
	again.send(acknowledge(PUBREC, ids[1]!));
	expect(await again.expect("PUBREL")).toMatchObject({ id: ids[1]! });
});

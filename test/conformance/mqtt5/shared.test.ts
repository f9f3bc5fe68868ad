/** Section 4.8.2 of MQTT 5.0: shared subscriptions. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, disconnect, PUBACK, PUBCOMP, PUBREC, subscribe, unsubscribe } from "../support/packets.ts";
import type { Peer, Received } from "../support/peer.ts";
import { client, cutOff, keptClient, lose, MALFORMED, payloadsOn, publishOnce } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

/** Members of one group, each with the QoS it asks for. */
async function members(name: string, ...granted: number[]): Promise<Peer[]> {
	const all: Peer[] = [];
	for (const [i, qos] of granted.entries()) {
		const peer = await keptClient(door, `${name}${i}`);
		expect(await peer.subscribe(`$share/group/${name}/#`, qos)).toBe(qos);
		all.push(peer);
	}
	return all;
}
/** What each has got by now, acknowledged where it is QoS 1; waits until there are `count` together. */
async function gather(peers: readonly Peer[], count = 0): Promise<Received[][]> {
	const all: Received[][] = peers.map(() => []);
	const end = performance.now() + 10_000;
	for (let quiet = false; !quiet; ) {
		quiet = true;
		for (const [i, peer] of peers.entries()) {
			const some = await peer.untilPong();
			for (const { id, qos } of some) if (qos === 1) peer.send(acknowledge(PUBACK, id));
			all[i]!.push(...some);
			quiet &&= some.length === 0;
		}
		if (all.flat().length < count && performance.now() < end) quiet = false;
	}
	return all;
}
const topicsOf = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}/${i}`);

test("[MQTT-4.8.2-1] a shared filter has a name behind $share/, and each message goes to one member", async () => {
	for (const filter of ["$share//a", "$share/"]) await cutOff(door, MALFORMED, subscribe([[filter, 0]]));
	const peers = await members("one", 1, 1, 1);
	const topics = topicsOf("one", 60);
	for (const topic of topics) await publishOnce(door, topic, topic);
	const got = await gather(peers, topics.length);
	expect(
		got
			.flat()
			.map(({ payload }) => payload)
			.sort(),
	).toEqual(topics.toSorted());
	// The name is no part of the filter, and what is delivered has its own topic.
	expect(got.flat().every(({ topic, payload }) => topic === payload)).toBe(true);
	expect(got.filter((each) => each.length > 0).length).toBeGreaterThan(1);
});

test("[MQTT-4.8.2-1] groups of other names, and ordinary subscriptions, get the message as well", async () => {
	const first = await client(door, "group-a");
	const second = await client(door, "group-b");
	await first.subscribe("$share/a/groups", 1);
	await second.subscribe("$share/b/groups", 1);
	await second.subscribe("groups", 0);
	await publishOnce(door, "groups", "x");
	const [a, b] = await gather([first, second], 2);
	expect(a!.map(({ payload }) => payload)).toEqual(["x"]);
	expect(b!.length).toBeGreaterThan(0);
	expect(b!.every(({ payload }) => payload === "x")).toBe(true);
});

test("[MQTT-4.8.2-2] the name holds no wildcard, and a slash and a filter follow it", async () => {
	for (const filter of ["$share/a+/b", "$share/#/b", "$share/a#b/c", "$share/a", "$share/a/", "$share/a/b#"]) {
		await cutOff(door, MALFORMED, subscribe([[filter, 0]]));
		await cutOff(door, MALFORMED, unsubscribe([filter]));
	}
});

test("[MQTT-4.8.2-3] each member gets messages at the QoS it was granted", async () => {
	const peers = await members("granted", 0, 1, 2);
	for (const topic of topicsOf("granted", 40)) await publishOnce(door, topic, "x", { qos: 2 });
	for (const [granted, peer] of peers.entries()) {
		const got = (await peer.untilPong()).filter(({ name }) => name === "PUBLISH");
		expect(got.length).toBeGreaterThan(0);
		expect(got.map(({ qos }) => qos).filter((qos) => qos !== granted)).toEqual([]);
	}
});

/** Two members, and a QoS 2 message that one of them has been sent and not acknowledged. */
async function halfDelivered(name: string): Promise<{ holder: Peer; holderId: string; other: Peer; held: Received }> {
	const peers = await members(name, 2, 2);
	await publishOnce(door, `${name}/x`, "held", { qos: 2 });
	const got = await gather(peers, 1);
	const index = got.findIndex((each) => each.length > 0);
	expect(got[1 - index]).toEqual([]);
	const [holder, other] = [peers[index]!, peers[1 - index]!];
	return { holder, holderId: `${name}${index}`, other, held: got[index]![0]! };
}

test("[MQTT-4.8.2-4] a QoS 2 delivery that broke off is completed to its member when that returns, and to no other", async () => {
	const { holder, holderId, other, held } = await halfDelivered("returns");
	await lose(door, holder, holderId);
	expect(await other.untilPong()).toEqual([]);
	const again = await keptClient(door, holderId);
	expect(await again.expect("PUBLISH")).toMatchObject({ id: held.id, payload: "held", dup: true, qos: 2 });
	again.send(acknowledge(PUBREC, held.id));
	expect(await again.expect("PUBREL")).toMatchObject({ id: held.id, reason: 0 });
	again.send(acknowledge(PUBCOMP, held.id));
	expect([await again.untilPong(), await other.untilPong()]).toEqual([[], []]);
});

test("[MQTT-4.8.2-5] if its session ends first, the QoS 2 message goes to no other member", async () => {
	const { holder, holderId, other } = await halfDelivered("ends");
	await lose(door, holder, holderId);
	const anew = await client(door, holderId);
	await publishOnce(door, "ends/x", "next");
	expect((await gather([other], 1)).flat().map(({ payload }) => payload)).toEqual(["next"]);
	expect(await anew.untilPong()).toEqual([]);
});

test("[MQTT-4.8.2-6] what a member refuses in PUBACK or PUBREC is given to no other", async () => {
	for (const [name, qos, answer] of [
		["refuses-one", 1, PUBACK],
		["refuses-two", 2, PUBREC],
	] as const) {
		const peers = await members(name, qos, qos);
		await publishOnce(door, `${name}/x`, "refused", { qos });
		let refusals = 0;
		for (const peer of peers) {
			for (const { id, payload } of await peer.untilPong()) {
				expect(payload).toBe("refused");
				peer.send(acknowledge(answer, id, 0x83));
				refusals++;
			}
		}
		expect(refusals).toBe(1);
		for (const peer of peers) expect(await peer.untilPong()).toEqual([]);
		// Nor when the one that refused goes.
		for (const [i, peer] of peers.entries()) {
			peer.send(disconnect());
			await peer.untilClosed();
			const again = await keptClient(door, `${name}${i}`);
			expect(await again.untilPong()).toEqual([]);
		}
	}
});

test("a QoS 1 message that a member did not acknowledge passes on when its session ends", async () => {
	const peers = await members("passes-on", 1, 1);
	await publishOnce(door, "passes-on/x", "due");
	const got: Received[][] = [];
	for (const peer of peers) got.push(await peer.untilPong());
	const index = got.findIndex((each) => each.length > 0);
	await lose(door, peers[index]!, `passes-on${index}`);
	await client(door, `passes-on${index}`);
	door.clock.advance(2000);
	expect(await peers[1 - index]!.expect("PUBLISH")).toMatchObject({ payload: "due", qos: 1 });
});

test("a shared subscription gets no retained messages, and ends with UNSUBSCRIBE", async () => {
	await publishOnce(door, "unretained", "kept", { retain: true });
	const peer = await client(door, "unretained");
	await peer.subscribe("$share/g/unretained", 1);
	expect(await payloadsOn(door, peer, "unretained")).toEqual([]);
	peer.send(unsubscribe(["unretained", "$share/g/unretained"]));
	expect((await peer.expect("UNSUBACK")).reasons).toEqual([0x11, 0x00]);
	await publishOnce(door, "unretained", "x");
	expect(await peer.untilPong()).toEqual([]);
});

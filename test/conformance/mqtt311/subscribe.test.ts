/** SUBSCRIBE, UNSUBSCRIBE, PINGREQ and DISCONNECT of MQTT 3.1.1 (sections 3.8 to 3.14). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, disconnect, PUBACK, packet, pingRequest, subscribe, unsubscribe } from "../support/packets.ts";
import type { Peer } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { client, closesSilently, cutOff, payloadsOn, receivedOn } from "./kit.ts";

let door: TestDoor;
let publisher: Peer;
beforeAll(async () => {
	door = await TestDoor.open();
	publisher = await client(door, "publisher");
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;

/** `bytes` with each value of the flags but the right one. */
function wrongFlags(bytes: Buffer): Buffer[] {
	const all: Buffer[] = [];
	for (let flags = 0; flags < 16; flags++) {
		if (flags !== (bytes[0]! & 15)) all.push(Buffer.concat([Buffer.of((bytes[0]! & 0xf0) | flags), bytes.subarray(1)]));
	}
	return all;
}

test("[MQTT-3.6.1-1] PUBREL flags other than 0010 close the connection", async () => {
	for (const bytes of wrongFlags(packet(0x62, u16(1)))) await cutOff(door, bytes);
});

test("[MQTT-3.8.1-1] SUBSCRIBE flags other than 0010 close the connection", async () => {
	for (const bytes of wrongFlags(subscribe([["a", 0]], v4))) await cutOff(door, bytes);
});

test("[MQTT-3.8.3-1] a filter in SUBSCRIBE that is not UTF-8 closes the connection", async () => {
	for (const hex of ["ff", "c0af", "eda080", "6100"]) {
		await cutOff(
			door,
			subscribe(
				[
					["good", 0],
					[Buffer.from(hex, "hex"), 0],
				],
				v4,
			),
		);
	}
	await cutOff(door, packet(0x82, u16(1), u16(5), 0x61, 0));
});

test("[MQTT-3.8.3-3] SUBSCRIBE without a filter, or without its QoS, closes the connection", async () => {
	await cutOff(door, packet(0x82, u16(1)));
	await cutOff(door, packet(0x82, u16(1), text("a")));
	await cutOff(door, packet(0x82, u16(1), text("a"), 0, text("b")));
});

test("[MQTT-3.8.3-4] reserved bits and QoS 3 in SUBSCRIBE close the connection", async () => {
	for (const options of [3, 4, 5, 6, 8, 0x10, 0x20, 0x40, 0x80, 0xff]) {
		await cutOff(door, subscribe([["a", options]], v4));
		await cutOff(
			door,
			subscribe(
				[
					["a", 1],
					["b", options],
				],
				v4,
			),
		);
	}
});

test("[MQTT-3.8.4-1] SUBSCRIBE is answered with SUBACK", async () => {
	const peer = await client(door, "answered");
	peer.send(subscribe([["answered", 1]], { ...v4, id: 513 }));
	expect((await peer.next()).bytes.toString("hex")).toBe("9003020101");
});

test("[MQTT-3.8.4-2] SUBACK has the identifier of its SUBSCRIBE", async () => {
	const peer = await client(door, "identified");
	const ids = [7, 3, 65_535, 1, 256];
	peer.send(...ids.map((id) => subscribe([["identified", 0]], { ...v4, id })));
	for (const id of ids) expect((await peer.expect("SUBACK")).id).toBe(id);
});

test("[MQTT-3.8.4-3] an equal filter replaces the subscription, without a gap", async () => {
	const peer = await client(door, "replacing");
	await peer.subscribe("replacing", 0);
	expect(await peer.subscribe("replacing", 2)).toBe(2);
	await publisher.publish("replacing", "x", { qos: 2 });
	expect((await peer.expect("PUBLISH")).qos).toBe(2);
	expect(await peer.subscribe("replacing", 0)).toBe(0);
	await publisher.publish("replacing", "y", { qos: 2 });
	expect((await peer.expect("PUBLISH")).qos).toBe(0);
	expect(await peer.untilPong()).toEqual([]); // not twice
});

test("[MQTT-3.8.4-4] several filters act like several SUBSCRIBEs, with one SUBACK", async () => {
	const peer = await client(door, "several");
	peer.send(
		subscribe(
			[
				["several/a", 0],
				["several/b", 1],
				["several/a", 2],
				["several/c", 0],
			],
			{ ...v4, id: 77 },
		),
	);
	expect(await peer.expect("SUBACK")).toMatchObject({ id: 77, reasons: [0, 1, 2, 0] });
	await publisher.publish("several/a", "a", { qos: 2 });
	expect((await peer.expect("PUBLISH")).qos).toBe(2); // the later of the two equal filters
	expect(await payloadsOn(door, peer, "several/b")).toEqual([]);
});

test("[MQTT-3.8.4-5] SUBACK has a return code for every filter", async () => {
	const peer = await client(door, "coded");
	const filters = Array.from({ length: 100 }, (_, i) => [`coded/${i}`, i % 3] as const);
	peer.send(subscribe(filters, v4));
	expect((await peer.expect("SUBACK")).reasons).toEqual(filters.map(([, qos]) => qos));
});

test("[MQTT-3.8.4-6] messages come at the lesser of the published and the granted QoS", async () => {
	for (const granted of [0, 1, 2]) {
		const peer = await client(door, `lesser${granted}`);
		expect(await peer.subscribe(`lesser/${granted}`, granted)).toBe(granted);
		for (const published of [1, 2]) {
			await publisher.publish(`lesser/${granted}`, "x", { qos: published });
			expect((await peer.expect("PUBLISH")).qos).toBe(Math.min(granted, published));
		}
	}
});

test("[MQTT-3.9.3-1] the return codes stand in the order of the filters", async () => {
	const peer = await client(door, "ordered");
	peer.send(
		subscribe(
			[
				["z", 2],
				["a", 0],
				["m", 1],
				[`deep${"/x".repeat(300)}`, 1],
				["b", 2],
			],
			v4,
		),
	);
	expect((await peer.expect("SUBACK")).reasons).toEqual([2, 0, 1, 0x80, 2]);
});

test("[MQTT-3.9.3-2] no return code but 0, 1, 2 and 0x80 is used", async () => {
	const limited = await TestDoor.open({ maxSubscriptionsPerSession: 2 });
	try {
		const peer = await client(limited, "limited");
		peer.send(
			subscribe(
				[
					["a", 0],
					["b", 2],
					["c", 1],
					[`deep${"/x".repeat(300)}`, 1],
				],
				v4,
			),
		);
		expect((await peer.expect("SUBACK")).reasons).toEqual([0, 2, 0x80, 0x80]);
	} finally {
		await limited.close();
	}
});

test("[MQTT-3.10.1-1] UNSUBSCRIBE flags other than 0010 close the connection", async () => {
	for (const bytes of wrongFlags(unsubscribe(["a"], v4))) await cutOff(door, bytes);
});

test("[MQTT-3.10.3-1] a filter in UNSUBSCRIBE that is not UTF-8 closes the connection", async () => {
	for (const hex of ["ff", "c0af", "eda080", "6100"])
		await cutOff(door, unsubscribe(["a", Buffer.from(hex, "hex")], v4));
	await cutOff(door, packet(0xa2, u16(1), u16(5), 0x61));
});

test("[MQTT-3.10.3-2] UNSUBSCRIBE without a filter closes the connection", async () => {
	await cutOff(door, packet(0xa2, u16(1)));
});

test("[MQTT-3.10.4-1] only the filter that is equal byte for byte is deleted", async () => {
	const peer = await client(door, "exact");
	await peer.subscribe("exact/+", 1);
	await peer.subscribe("exact/a", 0);
	peer.send(unsubscribe(["exact/#", "exact/A", "exact/a/", "exact/b"], v4));
	await peer.expect("UNSUBACK");
	await publisher.publish("exact/a", "both stand");
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "both stand", qos: 1 });
	peer.send(unsubscribe(["exact/+"], v4));
	await peer.expect("UNSUBACK");
	await publisher.publish("exact/b", "nobody");
	await publisher.publish("exact/a", "one stands");
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "one stands", qos: 0 });
});

test("[MQTT-3.10.4-2] after UNSUBSCRIBE nothing new is delivered", async () => {
	const peer = await client(door, "no-more");
	await peer.subscribe("no/more", 1);
	await peer.subscribe("no/mark", 1);
	peer.send(unsubscribe(["no/more"], v4));
	await peer.expect("UNSUBACK");
	for (let i = 0; i < 10; i++) await publisher.publish("no/more", "x");
	expect(await payloadsOn(door, peer, "no/mark")).toEqual([]);
});

test("[MQTT-3.10.4-3] deliveries that have begun are completed", async () => {
	const peer = await client(door, "begun", { clean: false });
	await peer.subscribe("begun", 2);
	await publisher.publish("begun", "one", { qos: 1 });
	await publisher.publish("begun", "two", { qos: 2 });
	const got = [await peer.expect("PUBLISH"), await peer.expect("PUBLISH")];
	peer.send(unsubscribe(["begun"], v4));
	await peer.expect("UNSUBACK");
	const [one, two] = [got.find((each) => each.qos === 1)!, got.find((each) => each.qos === 2)!];
	peer.send(acknowledge(PUBACK, one.id), packet(0x50, u16(two.id)));
	expect((await peer.expect("PUBREL")).id).toBe(two.id);
	peer.send(packet(0x70, u16(two.id)));
	expect(await peer.untilPong()).toEqual([]);
});

test("[MQTT-3.10.4-3] what was not acknowledged before UNSUBSCRIBE is sent again on reconnect", async () => {
	const peer = await client(door, "unacknowledged", { clean: false });
	await peer.subscribe("unacknowledged", 1);
	await publisher.publish("unacknowledged", "x");
	const { id } = await peer.expect("PUBLISH");
	peer.send(unsubscribe(["unacknowledged"], v4));
	await peer.expect("UNSUBACK");
	peer.send(disconnect());
	await closesSilently(peer);
	const back = await client(door, "unacknowledged", { clean: false });
	expect(await back.expect("PUBLISH")).toMatchObject({ id, dup: true, payload: "x" });
});

test("[MQTT-3.10.4-4] UNSUBACK has the identifier of its UNSUBSCRIBE", async () => {
	const peer = await client(door, "unsubscribing");
	const ids = [7, 3, 65_535, 1, 256];
	await peer.subscribe("unsubscribing", 0);
	peer.send(...ids.map((id) => unsubscribe(["unsubscribing"], { ...v4, id })));
	for (const id of ids) expect((await peer.next()).bytes).toEqual(packet(0xb0, u16(id)));
});

test("[MQTT-3.10.4-5] UNSUBACK comes also when there was nothing to delete", async () => {
	const peer = await client(door, "nothing");
	peer.send(unsubscribe(["never/subscribed", "nor/this"], { ...v4, id: 11 }));
	expect((await peer.next()).bytes).toEqual(packet(0xb0, u16(11)));
});

test("[MQTT-3.10.4-6] several filters are all deleted, with one UNSUBACK", async () => {
	const peer = await client(door, "many");
	for (const name of ["a", "b", "c"]) await peer.subscribe(`many/${name}`, 1);
	peer.send(unsubscribe(["many/a", "many/x", "many/b", "many/a"], { ...v4, id: 12 }));
	expect((await peer.next()).bytes).toEqual(packet(0xb0, u16(12)));
	expect(await peer.untilPong()).toEqual([]);
	await publisher.publish("many/a", "x");
	await publisher.publish("many/b", "x");
	expect(await payloadsOn(door, peer, "many/c")).toEqual([]);
});

test("[MQTT-3.12.4-1] PINGREQ is answered with PINGRESP", async () => {
	const peer = await client(door, "pinging");
	peer.send(pingRequest(), pingRequest());
	for (let i = 0; i < 2; i++) expect((await peer.next()).bytes.toString("hex")).toBe("d000");
	peer.send(pingRequest(), disconnect());
	expect((await peer.untilClosed()).map((each) => each.name)).toEqual(["PINGRESP"]);
});

test("[MQTT-3.14.1-1] reserved bits in DISCONNECT close the connection, and the will is published", async () => {
	const watcher = await client(door, "disconnecting-watcher");
	await watcher.subscribe("disconnecting/#", 1);
	for (const bytes of wrongFlags(disconnect())) {
		const peer = await client(door, "disconnecting", { will: { topic: "disconnecting/will", payload: "x" } });
		peer.send(bytes);
		await closesSilently(peer);
	}
	expect((await receivedOn(door, watcher, "disconnecting/mark")).length).toBe(15);
});

/** Where MQTT 3.1 (protocol name MQIsdp, level 3) differs from 3.1.1: it has no statements, so its sections are named. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { acknowledge, PUBREL, packet, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { client, closesSilently, refused } from "./kit.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;

const connect31 = (flags: number, ...payload: Buffer[]) => packet(0x10, text("MQIsdp"), 3, flags, u16(0), ...payload);

async function client31(clientId: string, flags = 0x02, ...payload: Buffer[]): Promise<Peer> {
	const peer = await Peer.silent(door, 4);
	peer.send(connect31(flags, text(clientId), ...payload));
	expect((await peer.expect("CONNACK")).bytes.toString("hex")).toBe("20020000");
	return peer;
}

test("[3.1 section 3.1] MQIsdp level 3 is served; other levels are answered 0x01", async () => {
	const peer = await client31("old");
	await peer.subscribe("old", 2);
	await (await client(door, "new")).publish("old", "from 3.1.1", { qos: 2 });
	expect(await peer.expect("PUBLISH")).toMatchObject({ payload: "from 3.1.1", qos: 2 });
	const wrong = await Peer.silent(door, 4);
	wrong.send(packet(0x10, text("MQIsdp"), 4, 2, u16(0), text("c")));
	expect((await wrong.untilClosed()).map(({ name, reason }) => [name, reason])).toEqual([["CONNACK", 1]]);
});

test("[3.1 section 3.2] CONNACK has no Session Present", async () => {
	const peer = await client31("resumed", 0x00);
	await peer.subscribe("resumed", 1);
	peer.vanish();
	await (await client(door, "resumed-publisher")).publish("resumed", "kept");
	const back = await client31("resumed", 0x00);
	expect((await back.expect("PUBLISH")).payload).toBe("kept");
});

test("[3.1 section 3.1] unused connect flags and fixed-header flags are ignored", async () => {
	await client31("reserved-flag", 0x03);
	const peer = await Peer.silent(door, 4);
	const whole = connect31(0x02, text("header-flags"));
	peer.send(Buffer.concat([Buffer.of(0x1f), whole.subarray(1)]));
	expect((await peer.expect("CONNACK")).reason).toBe(0);
	peer.send(Buffer.of(0xc9, 0));
	expect((await peer.next()).name).toBe("PINGRESP");
});

test("[3.1 section 3.1] a flagged user name and password may be missing at the end", async () => {
	await client31("without-both", 0xc2);
	await client31("without-password", 0xc2, text("user"));
	await client31("with-both", 0xc2, text("user"), text("password"));
	await refused(door, connect31(0xc2, text("broken"), u16(9)));
});

test("[3.1 section 2.1] SUBSCRIBE, UNSUBSCRIBE and PUBREL may come with DUP", async () => {
	const peer = await client31("duplicates");
	const again = (bytes: Buffer) => Buffer.concat([Buffer.of(bytes[0]! | 8), bytes.subarray(1)]);
	peer.send(again(subscribe([["duplicates", 1]], v4)));
	await peer.expect("SUBACK");
	peer.send(publish("elsewhere", "x", { ...v4, qos: 2, id: 4 }));
	await peer.expect("PUBREC");
	peer.send(again(acknowledge(PUBREL, 4)));
	expect(await peer.expect("PUBCOMP")).toMatchObject({ id: 4 });
	peer.send(again(unsubscribe(["duplicates"], v4)));
	await peer.expect("UNSUBACK");
});

test("[3.1 section 3.8] the unused bits of a requested QoS are ignored, QoS 3 is not", async () => {
	const peer = await client31("requested");
	peer.send(subscribe([["requested", 0xfd]], v4));
	expect((await peer.expect("SUBACK")).reasons).toEqual([1]);
	peer.send(subscribe([["requested", 0x03]], v4));
	await closesSilently(peer);
});

test("[3.1 section 3.1] identifiers longer than 23 characters are served too, empty ones answered 0x02", async () => {
	await client31("x".repeat(200));
	const peer = await Peer.silent(door, 4);
	peer.send(connect31(0x02, text("")));
	expect((await peer.untilClosed()).map(({ name, reason }) => [name, reason])).toEqual([["CONNACK", 2]]);
});

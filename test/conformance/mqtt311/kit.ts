/** What the MQTT 3.1.1 tests have in common: clients of that version, and the end that a violation has there. */
import { expect } from "vitest";
import type { TestDoor } from "../../contract/mqtt/door.ts";
import type { ConnectFields } from "../support/packets.ts";
import { Peer, type Received } from "../support/peer.ts";

/** A client of MQTT 3.1.1 whose CONNECT was accepted. */
export async function client(door: TestDoor, clientId: string, fields: ConnectFields = {}): Promise<Peer> {
	const peer = await Peer.connected(door, { level: 4, clientId, ...fields });
	expect(peer.connack?.reason).toBe(0);
	return peer;
}

/** The server closes the connection without a word: before MQTT 5 it has none for what went wrong. */
export async function closesSilently(peer: Peer): Promise<void> {
	expect(await peer.untilClosed()).toEqual([]);
}

/** A socket on which these bytes come first is closed without a word. */
export async function refused(door: TestDoor, ...bytes: Buffer[]): Promise<void> {
	const peer = await Peer.silent(door, 4);
	peer.send(...bytes);
	await closesSilently(peer);
}

let violators = 0;

/** A connected client that sends these bytes is cut off without a word. */
export async function cutOff(door: TestDoor, ...bytes: Buffer[]): Promise<void> {
	const peer = await client(door, `violator${++violators}`);
	peer.send(...bytes);
	await closesSilently(peer);
}

/** What a subscriber got on `topic`, up to a last message that is published now to mark the end. */
export async function receivedOn(door: TestDoor, subscriber: Peer, topic: string): Promise<Received[]> {
	const publisher = await client(door, `marker${++violators}`);
	await publisher.publish(topic, "the end");
	publisher.vanish();
	return subscriber.publishedUntil("the end");
}

/** The payloads of the same. */
export async function payloadsOn(door: TestDoor, subscriber: Peer, topic: string): Promise<string[]> {
	return (await receivedOn(door, subscriber, topic)).map((received) => received.payload);
}

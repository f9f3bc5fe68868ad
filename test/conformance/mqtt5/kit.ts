/** What the MQTT 5.0 tests have in common: clients, and the ends that the standard has for what they do wrong. */
import { expect } from "vitest";
import type { TestDoor } from "../../contract/mqtt/door.ts";
import type { ConnectFields } from "../support/packets.ts";
import { Peer, type Received, untilGone } from "../support/peer.ts";
import { type Property, SESSION_EXPIRY } from "../support/properties.ts";

/** A session that outlives its connection for so many seconds. */
export const expiry = (seconds: number): Property => [SESSION_EXPIRY, seconds];
export const MALFORMED = 0x81;
export const PROTOCOL_ERROR = 0x82;

/** Subscription options, to be added to the QoS. */
export const NO_LOCAL = 0x04;
export const RETAIN_AS_PUBLISHED = 0x08;
export const ONLY_IF_NEW = 0x10;
export const NO_RETAINED = 0x20;

/** A client whose CONNECT was accepted. */
export async function client(door: TestDoor, clientId: string, fields: ConnectFields = {}): Promise<Peer> {
	const peer = await Peer.connected(door, { clientId, ...fields });
	expect(peer.connack?.reason).toBe(0);
	return peer;
}

/** One whose session is kept for 1000 seconds and continued where there is one. */
export function keptClient(door: TestDoor, clientId: string, fields: ConnectFields = {}): Promise<Peer> {
	return client(door, clientId, { clean: false, properties: [expiry(1000)], ...fields });
}

/** The network breaks and the door knows it. */
export async function lose(door: TestDoor, peer: Peer, clientId: string): Promise<void> {
	peer.vanish();
	await untilGone(door, clientId);
}

/** What is sent first on a new connection is refused: a CONNACK with this code and nothing else, then the end. */
export async function refused(door: TestDoor, reason: number, ...bytes: Buffer[]): Promise<Received> {
	const peer = await Peer.silent(door);
	peer.send(...bytes);
	const all = await peer.untilClosed();
	expect(all.map((each) => [each.name, hex(each.reason), each.acknowledgeFlags])).toEqual([
		["CONNACK", hex(reason), 0],
	]);
	return all[0]!;
}

/** The connection ends with DISCONNECT of this code, and nothing else comes. */
export async function endsWith(peer: Peer, reason: number): Promise<Received> {
	const all = await peer.untilClosed();
	expect(all.map((each) => [each.name, hex(each.reason)])).toEqual([["DISCONNECT", hex(reason)]]);
	return all[0]!;
}

let violators = 0;

/** A connected client sends this and is cut off with DISCONNECT of this code. */
export async function cutOff(door: TestDoor, reason: number, ...bytes: Buffer[]): Promise<Received> {
	const peer = await client(door, `violator${++violators}`);
	peer.send(...bytes);
	return endsWith(peer, reason);
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

/** One PUBLISH from a client that is there for nothing else. */
export async function publishOnce(
	door: TestDoor,
	topic: string,
	payload: string,
	fields: Parameters<Peer["publish"]>[2] = {},
): Promise<Received> {
	const publisher = await client(door, `publisher${++violators}`);
	const answer = await publisher.publish(topic, payload, fields);
	publisher.vanish();
	return answer;
}

/** For messages that a person reads. */
export function hex(code: number): string {
	return `0x${code.toString(16).padStart(2, "0")}`;
}

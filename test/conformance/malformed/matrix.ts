/**
 * Runs a table of wrong packets, each on a live connection of its own, and says which of them were not ended as the standard
 * asks. After each one another client publishes and must be acknowledged: what one peer sends costs no other anything.
 */
import type { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, type Level, packet, publish } from "../support/packets.ts";
import { Peer, type Received } from "../support/peer.ts";
import { properties, text, u16, variable } from "../support/properties.ts";

export interface WrongPacket {
	readonly what: string;
	readonly bytes: Buffer;
	/** Reason codes that may be given for it; none: the connection closes without a word. */
	readonly codes: readonly number[];
	/** It is the CONNECT, or stands where one should: CONNACK answers, not DISCONNECT. */
	readonly first?: boolean;
}

/** 0x81 and 0x82 of MQTT 5. */
export const MALFORMED = [0x81];
export const PROTOCOL_ERROR = [0x82];
/** Where the standard says that it is wrong, and not which of the two it is. */
export const EITHER = [0x81, 0x82];

const LANES = 8;
let clients = 0;

/** What went otherwise than it should, in words, with the bytes; empty when nothing did. */
export async function wronglyTaken(door: TestDoor, level: Level, table: readonly WrongPacket[]): Promise<string[]> {
	const wrong: string[] = [];
	const waiting = [...table];
	const lane = async () => {
		const bystander = await Peer.connected(door, { level, clientId: `bystander${++clients}` });
		for (let each = waiting.shift(); each !== undefined; each = waiting.shift()) {
			const seen = await outcome(door, level, each);
			const wanted = each.codes.length === 0 ? "closed" : each.codes.map((code) => ended(each, code)).join(" or ");
			if (!wanted.split(" or ").includes(seen)) {
				wrong.push(`${each.what}: ${seen}, not ${wanted}: ${each.bytes.toString("hex").slice(0, 200)}`);
			}
			await bystander.publish("still/served", "x");
		}
		bystander.vanish();
	};
	await Promise.all(Array.from({ length: LANES }, lane));
	return wrong;
}

function ended(each: WrongPacket, code: number): string {
	return `${each.first ? "CONNACK" : "DISCONNECT"} 0x${code.toString(16)}, closed`;
}

async function outcome(door: TestDoor, level: Level, each: WrongPacket): Promise<string> {
	const peer = each.first
		? await Peer.silent(door, level)
		: await Peer.connected(door, { level, clientId: `wrong${++clients}` });
	peer.send(each.bytes);
	// What does not end the connection is answered, at last, with PINGRESP.
	peer.send(packet(0xc0));
	const seen: string[] = [];
	for (;;) {
		let received: Received;
		try {
			received = await peer.next();
		} catch (error) {
			if (!(error as Error).message.startsWith("closed")) throw error;
			seen.push("closed");
			return seen.join(", ");
		}
		seen.push(received.name === "PINGRESP" ? received.name : `${received.name} 0x${received.reason.toString(16)}`);
		if (received.name !== "PINGRESP") continue;
		peer.vanish();
		return seen.join(", ");
	}
}

/** The packets of a client that hold properties; `will` is a CONNECT where they are the will's. */
export const OWNERS = [
	"connect",
	"will",
	"publish0",
	"publish1",
	"publish2",
	"puback",
	"pubrec",
	"pubrel",
	"pubcomp",
	"subscribe",
	"unsubscribe",
	"disconnect",
	"auth",
] as const;
export type Owner = (typeof OWNERS)[number];

export function isFirst(owner: Owner): boolean {
	return owner === "connect" || owner === "will";
}

/** A packet that is right, but for what its properties are: `bytes`, behind `length`, which is right unless told. */
export function withProperties(owner: Owner, bytes: Buffer, length: Buffer = variable(bytes.length)): Buffer {
	const all = Buffer.concat([length, bytes]);
	const connecting = [text("MQTT"), Buffer.of(5)];
	switch (owner) {
		case "connect":
			return packet(0x10, ...connecting, 0x02, u16(0), all, text("wrong"));
		case "will":
			return packet(0x10, ...connecting, 0x06, u16(0), 0, text("wrong"), all, text("will/topic"), text("message"));
		case "publish0":
			return packet(0x30, text("some/topic"), all, Buffer.from("payload"));
		case "publish1":
			return packet(0x32, text("some/topic"), u16(1), all, Buffer.from("payload"));
		case "publish2":
			return packet(0x34, text("some/topic"), u16(1), all, Buffer.from("payload"));
		case "puback":
			return packet(0x40, u16(1), 0, all);
		case "pubrec":
			return packet(0x50, u16(1), 0, all);
		case "pubrel":
			return packet(0x62, u16(1), 0, all);
		case "pubcomp":
			return packet(0x70, u16(1), 0, all);
		case "subscribe":
			return packet(0x82, u16(1), all, text("some/filter"), 0);
		case "unsubscribe":
			return packet(0xa2, u16(1), all, text("some/filter"));
		case "disconnect":
			return packet(0xe0, 0, all);
		case "auth":
			return packet(0xf0, 0x18, all);
	}
}

/** Whole packets of every kind that a client may send, with a bit of everything in them. */
export function wholePackets(level: Level): Record<string, Buffer> {
	const rich = level === 5;
	const pairs = rich ? { properties: [[0x26, ["name", "value"]]] as const } : {};
	const will = { topic: "will/topic", payload: "message", qos: 1, ...pairs };
	const none = Buffer.alloc(0);
	const reason = rich ? Buffer.concat([Buffer.of(0), properties([[0x1f, "because"]])]) : none;
	const own = rich ? properties([[0x26, ["name", "value"]]]) : none;
	return {
		connect: connect({ level, clientId: "whole", will, userName: "user", password: "password", ...pairs }),
		publish0: publish("some/topic", "payload", { level, ...pairs }),
		publish1: publish("some/topic", "payload", { level, qos: 1, ...pairs }),
		publish2: publish("some/topic", "payload", { level, qos: 2, ...pairs }),
		puback: packet(0x40, u16(1), reason),
		pubrec: packet(0x50, u16(1), reason),
		pubrel: packet(0x62, u16(1), reason),
		pubcomp: packet(0x70, u16(1), reason),
		subscribe: packet(0x82, u16(1), own, text("some/filter"), 1),
		unsubscribe: packet(0xa2, u16(1), own, text("some/filter")),
		pingreq: packet(0xc0),
		disconnect: packet(0xe0, reason),
		...(rich ? { auth: packet(0xf0, 0x18, properties([[0x15, "method"]])) } : {}),
	};
}

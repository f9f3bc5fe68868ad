/** Packets that are right in themselves and come at the wrong time: acknowledgements of nothing, AUTH, CONNECT twice. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import {
	acknowledge,
	connect,
	disconnect,
	PUBACK,
	PUBCOMP,
	PUBREC,
	PUBREL,
	packet,
	pingRequest,
	publish,
	subscribe,
	unsubscribe,
} from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { properties } from "../support/properties.ts";
import { PROTOCOL_ERROR, type WrongPacket, wholePackets, wronglyTaken } from "./matrix.ts";

let door: TestDoor;
let clients = 0;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const LEVELS = [4, 5] as const;
const NOT_FOUND = 0x92;

for (const level of LEVELS) {
	const codes = level === 5 ? PROTOCOL_ERROR : [];

	test(`level ${level}: whatever comes before CONNECT closes the connection`, async () => {
		const table: WrongPacket[] = Object.entries(wholePackets(level))
			.filter(([name]) => name !== "connect")
			.map(([what, bytes]) => ({ what, bytes, codes: [], first: true }));
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: a second CONNECT is a Protocol Error, whatever it says`, async () => {
		const seconds = [
			connect({ level, clientId: "second" }),
			connect({ level, clientId: "" }),
			connect({ level: level === 5 ? 4 : 5, clientId: "second" }),
			connect({ level, clientId: "second", protocolLevel: 9 }),
			connect({ level, clientId: "second", protocolName: "HTTP" }),
			packet(0x10),
		];
		const table = seconds.map((bytes, i) => ({ what: `CONNECT ${i}`, bytes, codes }));
		expect(await wronglyTaken(door, level, table)).toEqual([]);
		expect(door.door.engine.clients.has("second")).toBe(false);
	});

	test(`level ${level}: PUBREC and PUBREL of what is not known are answered, PUBACK and PUBCOMP are not`, async () => {
		for (const clean of [true, false]) {
			const peer = await Peer.connected(door, { level, clean, clientId: `unsolicited${++clients}` });
			for (const id of [1, 256, 65_535]) {
				peer.send(acknowledge(PUBACK, id), acknowledge(PUBCOMP, id));
				expect(await peer.untilPong()).toEqual([]);
				const reason = level === 5 ? NOT_FOUND : 0;
				peer.send(acknowledge(PUBREC, id));
				expect(await peer.next()).toMatchObject({ name: "PUBREL", flags: 2, id, reason });
				peer.send(acknowledge(PUBREL, id));
				expect(await peer.next()).toMatchObject({ name: "PUBCOMP", id, reason });
			}
		}
	});

	test(`level ${level}: an acknowledgement of the wrong kind ends the connection`, async () => {
		const publisher = await Peer.connected(door, { level, clientId: `wrong-kind-publisher${level}` });
		const cases: [qos: number, before: number[], wrong: number][] = [
			[1, [], PUBREC],
			[1, [], PUBCOMP],
			[2, [], PUBACK],
			[2, [], PUBCOMP],
			[2, [PUBREC], PUBACK],
		];
		for (const [qos, before, wrong] of cases) {
			const peer = await Peer.connected(door, { level, clientId: `wrong-kind${++clients}` });
			expect(await peer.subscribe(`wrong/kind/${clients}`, qos)).toBe(qos);
			await publisher.publish(`wrong/kind/${clients}`, "x", { qos });
			const { id } = await peer.expect("PUBLISH");
			for (const first of before) peer.send(acknowledge(first, id));
			if (before.length > 0) await peer.expect("PUBREL");
			peer.send(acknowledge(wrong, id));
			const end = (await peer.untilClosed()).map(({ name, reason }) => [name, reason]);
			expect(end).toEqual(level === 5 ? [["DISCONNECT", 0x82]] : []);
		}
		await publisher.publish("wrong/kind", "still served");
	});

	test(`level ${level}: what follows a violation in the same bytes is not processed`, async () => {
		const before = (await door.records("mqtt")).length;
		const table = [
			Buffer.concat([packet(0xd0), publish("after/violation", "x", { level, qos: 1 })]),
			Buffer.concat([packet(0xd0), subscribe([["after/violation", 0]], { level })]),
			Buffer.concat([packet(0xd0), unsubscribe(["after/violation"], { level })]),
			Buffer.concat([packet(0xd0), packet(0xd0), disconnect()]),
		].map((bytes, i) => ({ what: `violation ${i}`, bytes, codes: level === 5 ? [0x82, 0x81] : [] }));
		expect(await wronglyTaken(door, level, table)).toEqual([]);
		const after = (await door.records("mqtt")).filter((record) => record.key?.toString() === "after/violation");
		expect(after.length).toBe(0);
		expect((await door.records("mqtt")).length).toBeGreaterThan(before); // the bystanders'
	});

	test(`level ${level}: answers to what came before a violation are not lost`, async () => {
		const peer = await Peer.connected(door, { level, clientId: `before${level}` });
		peer.send(subscribe([["before", 0]], { level }), pingRequest(), packet(0xd0));
		const names = (await peer.untilClosed()).map((each) => each.name);
		expect(names).toEqual(level === 5 ? ["SUBACK", "PINGRESP", "DISCONNECT"] : ["SUBACK", "PINGRESP"]);
	});
}

test("AUTH that nobody asked for is a Protocol Error", async () => {
	const method = properties([[0x15, "method"]]);
	const table = [0x18, 0x19].map((reason) => ({
		what: `AUTH 0x${reason.toString(16)}`,
		bytes: packet(0xf0, reason, method),
		codes: PROTOCOL_ERROR,
	}));
	table.push({ what: "AUTH that says success", bytes: packet(0xf0), codes: PROTOCOL_ERROR });
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

test("CONNECT with an authentication method that is not offered is refused", async () => {
	const bytes = connect({ properties: [[0x15, "SCRAM-SHA-1"]] });
	expect(await wronglyTaken(door, 5, [{ what: "CONNECT", bytes, codes: [0x8c], first: true }])).toEqual([]);
});

test("a Maximum Packet Size that no CONNACK fits in closes the connection, and DISCONNECT does not come in its place", async () => {
	// The first packet that a client gets is CONNACK [MQTT-3.2.0-1], and none is larger than it takes [MQTT-3.1.2-24].
	const table = [1, 2, 3, 4].map((size) => ({
		what: `${size} bytes`,
		bytes: connect({ properties: [[0x27, size]], clientId: `tiny${size}` }),
		codes: [],
		first: true,
	}));
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

test("PUBREC with an error ends the exchange without PUBREL", async () => {
	const publisher = await Peer.connected(door, { clientId: "pubrec-publisher" });
	for (const reason of [0x80, 0x83, 0x97, 0x99]) {
		const peer = await Peer.connected(door, { clientId: `pubrec${reason}` });
		await peer.subscribe(`pubrec/${reason}`, 2);
		await publisher.publish(`pubrec/${reason}`, "x", { qos: 2 });
		peer.send(acknowledge(PUBREC, (await peer.expect("PUBLISH")).id, reason));
		expect(await peer.untilPong()).toEqual([]);
	}
});

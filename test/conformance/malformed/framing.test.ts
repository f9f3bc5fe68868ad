/** Fixed headers, reserved bits, packet identifiers and reason codes as they may not be, in both versions. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, type Level, packet, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { Peer } from "../support/peer.ts";
import { text, u16 } from "../support/properties.ts";
import { EITHER, MALFORMED, PROTOCOL_ERROR, type WrongPacket, wholePackets, wronglyTaken } from "./matrix.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open({ maxPacketBytes: 10_000 });
});
afterAll(() => door.close());

const hex = (bytes: string) => Buffer.from(bytes, "hex");

for (const level of [4, 5] as const satisfies readonly Level[]) {
	/** Codes in MQTT 5; before it the connection closes without a word. */
	const only5 = (codes: readonly number[]) => (level === 5 ? codes : []);
	const malformed = only5(MALFORMED);
	const either = only5(EITHER);
	const none = level === 5 ? Buffer.of(0) : Buffer.alloc(0);

	test(`level ${level}: flags that a packet may not have`, async () => {
		const table: WrongPacket[] = [];
		for (const [name, bytes] of Object.entries(wholePackets(level))) {
			if (name.startsWith("publish")) continue;
			for (let flags = 0; flags < 16; flags++) {
				if (flags === (bytes[0]! & 15)) continue;
				table.push({
					what: `${name} with flags ${flags}`,
					bytes: Buffer.concat([Buffer.of((bytes[0]! & 0xf0) | flags), bytes.subarray(1)]),
					// A CONNECT whose first byte is wrong is not known to be one of MQTT 5.
					codes: name === "connect" ? [] : malformed,
					first: name === "connect",
				});
			}
		}
		for (const flags of [6, 7, 14, 15]) {
			const bytes = packet(0x30 | flags, text("topic"), u16(1), none);
			table.push({ what: `PUBLISH with flags ${flags}`, bytes, codes: malformed });
		}
		for (const flags of [8, 9]) {
			const bytes = packet(0x30 | flags, text("topic"), none);
			table.push({ what: `PUBLISH of QoS 0 with flags ${flags}`, bytes, codes: either }); // [MQTT-3.3.1-2]
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: packet types that are reserved, or a server's`, async () => {
		const table: WrongPacket[] = [];
		for (const first of [false, true]) {
			// Nobody knows what version the peer of a first packet speaks.
			const codes = (known: readonly number[]) => (first ? [] : known);
			const own = level === 5 ? packet(0xf0) : packet(0xf0, 0x18, 0);
			table.push(
				{ what: "type 0", bytes: packet(0x00), codes: codes(malformed), first },
				{ what: "type 15", bytes: own, codes: codes(either), first },
				{ what: "CONNACK", bytes: packet(0x20, 0, 0, none), codes: codes(either), first },
				{ what: "SUBACK", bytes: packet(0x90, u16(1), none, 0), codes: codes(either), first },
				{ what: "UNSUBACK", bytes: packet(0xb0, u16(1), none), codes: codes(either), first },
				{ what: "PINGRESP", bytes: packet(0xd0), codes: codes(either), first },
			);
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: a Remaining Length that is ill-formed, too long or too large`, async () => {
		const table: WrongPacket[] = [];
		for (const first of [0x30, 0x32, 0x40, 0x62, 0x82, 0xa2, 0xc0, 0xe0]) {
			// More bytes than it needs: only 5.0 forbids that.
			const padded = level === 5 ? ["8000", "80808000", "818000"] : [];
			for (const length of ["8080808000", "ffffffff7f", "8080808001", "ffffffffffff", ...padded]) {
				const bytes = Buffer.concat([Buffer.of(first), hex(length), Buffer.alloc(8)]);
				table.push({ what: `length ${length}`, bytes, codes: malformed });
			}
			for (const length of ["ffffff7f", "a09c01", "8e4e"]) {
				const bytes = Buffer.concat([Buffer.of(first), hex(length)]);
				table.push({ what: `length ${length}`, bytes, codes: only5([0x95]) });
			}
		}
		const whole = connect({ level, clientId: "length" });
		for (const length of ["8080808000", "ffffffff7f", "9680808000", "8e4e"]) {
			const bytes = Buffer.concat([Buffer.of(0x10), hex(length), whole.subarray(2)]);
			table.push({ what: `CONNECT of length ${length}`, bytes, codes: [], first: true });
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: packet identifier 0`, async () => {
		const table = [
			{ what: "PUBLISH QoS 1", bytes: publish("a", "x", { level, qos: 1, id: 0 }), codes: either },
			{ what: "PUBLISH QoS 2", bytes: publish("a", "x", { level, qos: 2, id: 0 }), codes: either },
			{ what: "SUBSCRIBE", bytes: subscribe([["a", 0]], { level, id: 0 }), codes: either },
			{ what: "UNSUBSCRIBE", bytes: unsubscribe(["a"], { level, id: 0 }), codes: either },
			...[0x40, 0x50, 0x62, 0x70].map((first) => ({
				what: `0x${first.toString(16)}`,
				bytes: packet(first, u16(0)),
				codes: either,
			})),
		];
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: reserved and impossible bits of CONNECT`, async () => {
		const table: WrongPacket[] = [];
		const will = Buffer.concat([none, text("topic"), text("message")]);
		const add = (what: string, flags: number, ...payload: Buffer[]) => {
			const bytes = packet(0x10, text("MQTT"), level, flags, u16(0), none, text("bits"), ...payload);
			table.push({ what, bytes, codes: malformed, first: true });
		};
		for (const flags of [0x01, 0x03]) add("the reserved flag", flags);
		for (const flags of [0x0a, 0x12, 0x1a]) add(`will QoS ${(flags >> 3) & 3} without a will`, flags);
		add("will retain without a will", 0x22);
		add("will QoS 3", 0x1e, will);
		add("will QoS 3 and retain", 0x3e, will);
		add("a user name too much", 0x02, text("user"));
		add("a will too much", 0x02, will);
		add("no will", 0x06);
		add("half a will", 0x06, none, text("topic"));
		add("no user name", 0x82);
		add("no password", 0xc2, text("user"));
		add("a byte too much", 0x02, Buffer.of(0));
		if (level === 4) add("a password without a user name", 0x42, text("password"));
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: reserved and impossible bits of SUBSCRIBE`, async () => {
		const table: WrongPacket[] = [];
		const reserved = level === 5 ? [0x40, 0x80, 0xc0] : [0x04, 0x08, 0x0c, 0x10, 0x20, 0x40, 0x80, 0xfc];
		for (const options of reserved) {
			table.push({ what: `options ${options}`, bytes: subscribe([["a", options]], { level }), codes: malformed });
		}
		// The version's own: "It is a Protocol Error" for Maximum QoS 3 and Retain Handling 3.
		for (const options of [0x03, ...(level === 5 ? [0x30, 0x31, 0x32, 0x3c, 0x07] : [0xff])]) {
			const codes = only5(PROTOCOL_ERROR);
			table.push({
				what: `options ${options}`,
				bytes: subscribe(
					[
						["b", 0],
						["a", options],
					],
					{ level },
				),
				codes,
			});
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: topic names and filters that are not well formed`, async () => {
		const table: WrongPacket[] = [];
		for (const topic of ["#", "+", "a/#", "+/a", "a+", "a#b", "/+/"]) {
			for (const qos of [0, 1, 2]) {
				const codes = only5([0x81, 0x82, 0x90]);
				table.push({ what: `PUBLISH to ${topic}`, bytes: publish(topic, "x", { level, qos }), codes });
			}
		}
		const empty = { what: "PUBLISH to an empty topic", bytes: publish("", "x", { level }), codes: either };
		table.push(empty, { ...empty, bytes: publish("", "x", { level, qos: 1 }) });
		for (const filter of ["", "a#", "#/a", "a/#/b", "a+", "+a", "++", "##", "a/b+/c"]) {
			const codes = only5([0x81, 0x82, 0x8f]);
			table.push({
				what: `SUBSCRIBE to ${filter}`,
				bytes: subscribe(
					[
						["b", 1],
						[filter, 0],
					],
					{ level },
				),
				codes,
			});
			table.push({ what: `UNSUBSCRIBE from ${filter}`, bytes: unsubscribe(["b", filter], { level }), codes });
		}
		for (const filter of [
			"$share/",
			"$share//a",
			"$share/a",
			"$share/a/",
			"$share/a+/b",
			"$share/#/b",
			"$share/n/a#",
		]) {
			const codes = only5([0x81, 0x82, 0x8f]);
			table.push({ what: `SUBSCRIBE to ${filter}`, bytes: subscribe([[filter, 0]], { level }), codes });
		}
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});
}

test("reason codes that a client's packet may not have", async () => {
	const table: WrongPacket[] = [];
	const add = (first: number, codes: readonly number[]) => {
		for (const code of codes) {
			const bytes = first >= 0xe0 ? packet(first, code, 0) : packet(first, u16(1), code);
			table.push({ what: `0x${first.toString(16)} with 0x${code.toString(16)}`, bytes, codes: EITHER });
		}
	};
	for (const first of [0x40, 0x50]) add(first, [0x01, 0x02, 0x04, 0x11, 0x81, 0x82, 0x92, 0x9a, 0xff]);
	for (const first of [0x62, 0x70]) add(first, [0x01, 0x10, 0x80, 0x83, 0x91, 0x97, 0xff]);
	add(0xe0, [0x01, 0x18, 0x84, 0x8b, 0x8d, 0x8e, 0x9c, 0x9d, 0xa2, 0xff]);
	add(0xf0, [0x01, 0x04, 0x80, 0x87, 0xff]);
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

test("No Local on a shared subscription is a Protocol Error [MQTT-3.8.3-4]", async () => {
	const bytes = subscribe([["$share/name/a", 0x04]]);
	expect(await wronglyTaken(door, 5, [{ what: "No Local", bytes, codes: PROTOCOL_ERROR }])).toEqual([]);
});

test("a protocol name or level that is not known is not served in any version", async () => {
	for (const level of [4, 5] as const) {
		for (const protocolName of ["", "mqtt", "MQTT\0", "MQIsdp", "HTTP"]) {
			const peer = await Peer.silent(door, 4);
			peer.send(connect({ level, protocolName }), packet(0xc0));
			const codes = (await peer.untilClosed()).map((each) => each.reason);
			expect(codes).toEqual(protocolName === "MQIsdp" ? [1] : []);
		}
	}
	for (const protocolLevel of [0, 2, 3, 6, 0x84, 0x85, 0xff]) {
		const peer = await Peer.silent(door, 4);
		peer.send(connect({ level: 5, protocolLevel }), packet(0xc0));
		expect((await peer.untilClosed()).map((each) => each.reason)).toEqual([1]);
	}
});

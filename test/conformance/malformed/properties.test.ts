/** MQTT 5: properties where they may not be, twice, with values that they may not have, or ill-formed (5.0 section 2.2.2). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { text, u16, variable } from "../support/properties.ts";
import {
	EITHER,
	isFirst,
	MALFORMED,
	OWNERS,
	type Owner,
	PROTOCOL_ERROR,
	type WrongPacket,
	withProperties,
	wronglyTaken,
} from "./matrix.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const u32 = (value: number) => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const PUBLISHES: readonly Owner[] = ["publish0", "publish1", "publish2"];
const MESSAGES: readonly Owner[] = [...PUBLISHES, "will"];
const ACKNOWLEDGEMENTS: readonly Owner[] = ["puback", "pubrec", "pubrel", "pubcomp"];

interface Known {
	readonly id: number;
	readonly title: string;
	/** A value that is right. */
	readonly value: Buffer;
	/** Packets of a client that may hold it. */
	readonly owners: readonly Owner[];
}

/** Table 2-4 of the standard, as far as it concerns a client's packets. */
const KNOWN: readonly Known[] = [
	{ id: 0x01, title: "Payload Format Indicator", value: Buffer.of(1), owners: MESSAGES },
	{ id: 0x02, title: "Message Expiry Interval", value: u32(9), owners: MESSAGES },
	{ id: 0x03, title: "Content Type", value: text("text/plain"), owners: MESSAGES },
	{ id: 0x08, title: "Response Topic", value: text("answers"), owners: MESSAGES },
	{ id: 0x09, title: "Correlation Data", value: text("\0\x01"), owners: MESSAGES },
	{ id: 0x0b, title: "Subscription Identifier", value: variable(7), owners: ["subscribe"] },
	{ id: 0x11, title: "Session Expiry Interval", value: u32(0), owners: ["connect", "disconnect"] },
	{ id: 0x12, title: "Assigned Client Identifier", value: text("id"), owners: [] },
	{ id: 0x13, title: "Server Keep Alive", value: u16(9), owners: [] },
	{ id: 0x15, title: "Authentication Method", value: text("method"), owners: ["connect", "auth"] },
	{ id: 0x16, title: "Authentication Data", value: text("data"), owners: ["connect", "auth"] },
	{ id: 0x17, title: "Request Problem Information", value: Buffer.of(1), owners: ["connect"] },
	{ id: 0x18, title: "Will Delay Interval", value: u32(0), owners: ["will"] },
	{ id: 0x19, title: "Request Response Information", value: Buffer.of(0), owners: ["connect"] },
	{ id: 0x1a, title: "Response Information", value: text("info"), owners: [] },
	{ id: 0x1c, title: "Server Reference", value: text("other"), owners: ["disconnect"] },
	{ id: 0x1f, title: "Reason String", value: text("why"), owners: [...ACKNOWLEDGEMENTS, "disconnect", "auth"] },
	{ id: 0x21, title: "Receive Maximum", value: u16(9), owners: ["connect"] },
	{ id: 0x22, title: "Topic Alias Maximum", value: u16(9), owners: ["connect"] },
	{ id: 0x23, title: "Topic Alias", value: u16(1), owners: PUBLISHES },
	{ id: 0x24, title: "Maximum QoS", value: Buffer.of(1), owners: [] },
	{ id: 0x25, title: "Retain Available", value: Buffer.of(1), owners: [] },
	{ id: 0x26, title: "User Property", value: Buffer.concat([text("name"), text("value")]), owners: OWNERS },
	{ id: 0x27, title: "Maximum Packet Size", value: u32(9000), owners: ["connect"] },
	{ id: 0x28, title: "Wildcard Subscription Available", value: Buffer.of(1), owners: [] },
	{ id: 0x29, title: "Subscription Identifiers Available", value: Buffer.of(1), owners: [] },
	{ id: 0x2a, title: "Shared Subscription Available", value: Buffer.of(1), owners: [] },
];

const property = (id: number, value: Buffer) => Buffer.concat([variable(id), value]);
const METHOD = property(0x15, text("method"));

function wrong(owner: Owner, what: string, bytes: Buffer, codes: readonly number[]): WrongPacket {
	return { what: `${owner}: ${what}`, bytes: withProperties(owner, bytes), codes, first: isFirst(owner) };
}

/** What the others of the same packet need beside them. */
function beside(owner: Owner, id: number): Buffer {
	return id !== 0x15 && (owner === "auth" || id === 0x16) ? METHOD : Buffer.alloc(0);
}

for (const owner of OWNERS) {
	test(`${owner}: a property that is not its own is a Malformed Packet`, async () => {
		const table = KNOWN.filter(({ owners }) => !owners.includes(owner)).map(({ id, title, value }) => {
			// A client's PUBLISH must not have one [MQTT-3.3.4-6]; the table allows it, for the server's sake.
			const codes = id === 0x0b && PUBLISHES.includes(owner) ? EITHER : MALFORMED;
			return wrong(owner, title, property(id, value), codes);
		});
		for (const id of [0x00, 0x04, 0x14, 0x1b, 0x2b, 0x7f, 0x80, 0x81, 0x3fff, 268_435_455]) {
			table.push(wrong(owner, `unknown identifier ${id}`, property(id, text("value")), MALFORMED));
		}
		table.push(wrong(owner, "an identifier longer than it need be", Buffer.from("a6000000", "hex"), MALFORMED));
		expect(await wronglyTaken(door, 5, table)).toEqual([]);
	});

	test(`${owner}: a single-valued property given twice is a Protocol Error`, async () => {
		const table = KNOWN.filter(({ id, owners }) => owners.includes(owner) && id !== 0x26).map(
			({ id, title, value }) => {
				const twice = Buffer.concat([beside(owner, id), property(id, value), property(id, value)]);
				return wrong(owner, title, twice, PROTOCOL_ERROR);
			},
		);
		expect(await wronglyTaken(door, 5, table)).toEqual([]);
	});

	test(`${owner}: a property that ends too early is a Malformed Packet`, async () => {
		const table: WrongPacket[] = [];
		for (const { id, title, value, owners } of KNOWN) {
			if (!owners.includes(owner)) continue;
			for (let kept = 0; kept < value.length; kept++) {
				const cut = Buffer.concat([beside(owner, id), property(id, value.subarray(0, kept))]);
				table.push(wrong(owner, `${title}, ${kept} of ${value.length} bytes`, cut, MALFORMED));
			}
		}
		expect(await wronglyTaken(door, 5, table)).toEqual([]);
	});

	test(`${owner}: a Property Length that is wrong is a Malformed Packet`, async () => {
		const pair = property(0x26, Buffer.concat([text("name"), text("value")]));
		const lengths = ["ffffffff7f", "ffffff7f", "8000", "80000000", "80808000", "8f00", "ff", "8080808001", "7f"];
		const table = lengths.map((hex) => ({
			...wrong(owner, `length ${hex}`, pair, MALFORMED),
			bytes: withProperties(owner, pair, Buffer.from(hex, "hex")),
		}));
		for (let length = 1; length < pair.length; length++) {
			table.push({
				...wrong(owner, `length ${length} of ${pair.length}`, pair, EITHER),
				bytes: withProperties(owner, pair, Buffer.of(length)),
			});
		}
		expect(await wronglyTaken(door, 5, table)).toEqual([]);
	});
}

test("a property with a value that it may not have is refused", async () => {
	const table: WrongPacket[] = [];
	const add = (owners: readonly Owner[], id: number, values: readonly Buffer[], codes: readonly number[]) => {
		for (const owner of owners) {
			for (const value of values) {
				const bytes = Buffer.concat([beside(owner, id), property(id, value)]);
				table.push(wrong(owner, `property ${id} of ${value.toString("hex")}`, bytes, codes));
			}
		}
	};
	add(MESSAGES, 0x01, [Buffer.of(2), Buffer.of(255)], [...EITHER, 0x99]);
	add(MESSAGES, 0x08, [text("a/#"), text("+"), text("")], [...EITHER, 0x90]);
	add(["subscribe"], 0x0b, [variable(0)], PROTOCOL_ERROR);
	add(["subscribe"], 0x0b, [Buffer.from("8100", "hex"), Buffer.from("ffffffff7f", "hex")], MALFORMED);
	add(["connect"], 0x17, [Buffer.of(2), Buffer.of(255)], PROTOCOL_ERROR);
	add(["connect"], 0x19, [Buffer.of(2), Buffer.of(255)], PROTOCOL_ERROR);
	add(["connect"], 0x21, [u16(0)], PROTOCOL_ERROR);
	add(["connect"], 0x27, [u32(0)], PROTOCOL_ERROR);
	add(PUBLISHES, 0x23, [u16(0)], [0x82, 0x94]); // [MQTT-3.3.2-8]
	for (const owner of ["connect", "auth"] as const) {
		table.push(wrong(owner, "Authentication Data without a method", property(0x16, text("data")), PROTOCOL_ERROR));
	}
	table.push(wrong("auth", "no Authentication Method", Buffer.alloc(0), PROTOCOL_ERROR));
	table.push(wrong("disconnect", "an expiry where CONNECT had none", property(0x11, u32(1)), PROTOCOL_ERROR));
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

/** Every string of every packet, as no string may be: ill-formed UTF-8, surrogates, U+0000 (5.0 section 1.5.4, 3.1.1 1.5.3). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestDoor } from "../../contract/mqtt/door.ts";
import { connect, type Level, publish, subscribe, unsubscribe } from "../support/packets.ts";
import { text } from "../support/properties.ts";
import { isFirst, MALFORMED, OWNERS, type Owner, type WrongPacket, withProperties, wronglyTaken } from "./matrix.ts";

let door: TestDoor;
beforeAll(async () => {
	door = await TestDoor.open();
});
afterAll(() => door.close());

const ILL_FORMED = [
	["a byte that never occurs", "ff"],
	["a continuation on its own", "6180"],
	["a sequence cut off", "61e282"],
	["an overlong form of /", "c0af"],
	["an overlong form of U+0000", "c080"],
	["an overlong form in three bytes", "e080af"],
	["a high surrogate", "eda080"],
	["a low surrogate", "edbfbf"],
	["a surrogate pair", "eda081edb080"],
	["above U+10FFFF", "f4908080"],
	["U+0000", "00"],
	["U+0000 inside", "610062"],
	["U+0000 behind other characters", "c3a9e2829c00"],
] as const;

/** The table's packets: `make` puts the string where it belongs. */
function inField(
	what: string,
	codes: readonly number[],
	first: boolean,
	make: (bytes: Buffer) => Buffer,
): WrongPacket[] {
	return ILL_FORMED.map(([how, hex]) => ({
		what: `${what}, ${how}`,
		bytes: make(Buffer.from(hex, "hex")),
		codes,
		first,
	}));
}

for (const level of [4, 5] as const satisfies readonly Level[]) {
	const codes = level === 5 ? MALFORMED : [];

	test(`level ${level}: the strings of CONNECT`, async () => {
		const table = [
			...inField("Client Identifier", codes, true, (clientId) => connect({ level, clientId })),
			...inField("User Name", codes, true, (userName) => connect({ level, userName })),
			...inField("Will Topic", codes, true, (topic) => connect({ level, will: { topic, payload: "x" } })),
		];
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});

	test(`level ${level}: topic names and filters`, async () => {
		const table = [
			...[0, 1, 2].flatMap((qos) =>
				inField(`Topic Name at QoS ${qos}`, codes, false, (topic) => publish(topic, "x", { level, qos })),
			),
			...inField("Topic Filter", codes, false, (filter) =>
				subscribe(
					[
						["good", 0],
						[filter, 0],
					],
					{ level },
				),
			),
			...inField("Topic Filter to give up", codes, false, (filter) => unsubscribe(["good", filter], { level })),
		];
		expect(await wronglyTaken(door, level, table)).toEqual([]);
	});
}

const property = (id: number, ...values: Buffer[]) =>
	Buffer.concat([Buffer.of(id), ...values.map((each) => text(each))]);

/** Properties that are strings, and where a client may have them. */
const STRINGS: readonly (readonly [id: number, title: string, owners: readonly Owner[]])[] = [
	[0x03, "Content Type", ["publish0", "publish1", "will"]],
	[0x08, "Response Topic", ["publish0", "publish1", "will"]],
	[0x15, "Authentication Method", ["connect", "auth"]],
	[0x1f, "Reason String", ["puback", "pubrec", "pubrel", "pubcomp", "disconnect"]],
];

test("the properties that are strings", async () => {
	const table = STRINGS.flatMap(([id, title, owners]) =>
		owners.flatMap((owner) =>
			inField(`${title} of ${owner}`, MALFORMED, isFirst(owner), (bytes) => withProperties(owner, property(id, bytes))),
		),
	);
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

test("User Properties, names and values, of every packet", async () => {
	const good = Buffer.from("good");
	const table = OWNERS.flatMap((owner) => {
		const method = owner === "auth" ? property(0x15, good) : Buffer.alloc(0);
		const make = (...pair: Buffer[]) => withProperties(owner, Buffer.concat([method, property(0x26, ...pair)]));
		return [
			...inField(`a name in ${owner}`, MALFORMED, isFirst(owner), (bytes) => make(bytes, good)),
			...inField(`a value in ${owner}`, MALFORMED, isFirst(owner), (bytes) => make(good, bytes)),
		];
	});
	expect(await wronglyTaken(door, 5, table)).toEqual([]);
});

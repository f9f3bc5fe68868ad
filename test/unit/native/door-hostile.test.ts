/** Peers that do not keep to the protocol: each is told what is wrong and closed, and nobody else notices. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { REQUESTS } from "../../../src/native/codec/requests.ts";
import type { BodyShape, Shape } from "../../../src/native/codec/shape.ts";
import { type CborValue, CborWriter } from "../../../src/native/codec/writer.ts";
import { groupsOf, NativeGateway, type NativePeer } from "./native-gateway.ts";

let gateway: NativeGateway;
let bystander: NativePeer;
beforeAll(async () => {
	gateway = await NativeGateway.start({ token: "secret" });
	gateway.broker.topics.create({ name: "t", partitions: 1 });
	bystander = await gateway.peer([[4, "secret"]]);
});
afterAll(() => gateway.stop());

type Key = number | string;
type Body = Map<Key, CborValue>;

/** The smallest value that has the shape. */
function sample(shape: Shape): CborValue {
	switch (shape.kind) {
		case "uint":
			return shape.min ?? 0;
		case "text":
			return "t";
		case "bytes":
			return Buffer.from("b");
		case "bool":
			return true;
		case "orNull":
			return sample(shape.of);
		case "array":
			return [sample(shape.of)];
		case "tuple":
			return shape.of.map(([, of]) => sample(of));
		case "variant": {
			const [kind, of] = Object.entries(shape.of)[0] as [string, Shape];
			return [Number(kind), ...(sample(of) as CborValue[]).slice(1)];
		}
		case "oneOf":
			return sample(shape.of[0] as Shape);
		case "textMap":
			return new Map([["a", "b"]]);
		case "any":
			return null;
		case "body":
			return bodyOf(shape);
	}
}

function bodyOf(shape: BodyShape): Body {
	return new Map(Object.entries(shape.fields).map(([key, field]) => [Number(key), sample(field.shape)]));
}

/** One value of every kind, and numbers out of bounds. */
function wrongValues(shape: Shape): CborValue[] {
	const all: [string, CborValue][] = [
		["uint", 1],
		["negative", -1],
		["text", "x"],
		["bytes", Buffer.from("x")],
		["bool", false],
		["null", null],
		["array", []],
		["array", [[]]],
		["map", new Map<Key, CborValue>([["x", 1]])],
	];
	const own: Record<string, string[]> = { body: ["map"], textMap: ["map"], tuple: ["array"], variant: ["array"] };
	if (shape.kind === "orNull") return wrongValues(shape.of).filter((value) => value !== null);
	if (shape.kind === "oneOf")
		return all.filter(([kind]) => !["bool", "array"].includes(kind)).map(([, value]) => value);
	const kinds = own[shape.kind] ?? [shape.kind];
	const wrong = all.filter(([kind]) => !kinds.includes(kind)).map(([, value]) => value);
	if (shape.kind === "textMap") wrong.push(new Map([["x", 1]]), new Map([[1, "x"]]));
	if (shape.kind === "uint") {
		if (shape.max !== undefined) wrong.push(shape.max + 1);
		if (shape.min !== undefined) wrong.push(shape.min - 1);
	}
	if (shape.kind === "text" && shape.maxBytes !== undefined) wrong.push("x".repeat(shape.maxBytes + 1));
	if (shape.kind === "array") for (const value of wrongValues(shape.of)) wrong.push([value]);
	if (shape.kind === "tuple") {
		for (const [i, [, of]] of shape.of.entries()) {
			for (const value of wrongValues(of)) {
				const items = sample(shape) as CborValue[];
				wrong.push(items.map((item, at) => (at === i ? value : item)));
			}
		}
		wrong.push([], [...(sample(shape) as CborValue[]), 0]);
	}
	if (shape.kind === "variant") wrong.push([99], [], ["x"]);
	return wrong;
}

async function expectRefusal(peer: NativePeer, code: string): Promise<string> {
	const [type, id, body] = await peer.message();
	expect([type, id, body.get(1)]).toEqual([MESSAGE.ERROR, 0, code]);
	await peer.closed;
	return body.get(2) as string;
}

const greeted = () => gateway.peer([[4, "secret"]]);

describe("a wrong field", () => {
	const requests = Object.entries(REQUESTS).map(([type, request]) => ({ type: Number(type), ...request }));
	it.each(requests)("in $name is refused, whichever it is", async ({ type, name, body }) => {
		const wrong: Body[] = [];
		for (const [key, field] of Object.entries(body.fields)) {
			for (const value of wrongValues(field.shape)) wrong.push(bodyOf(body).set(Number(key), value));
			if (field.optional) continue;
			const without = bodyOf(body);
			without.delete(Number(key));
			wrong.push(without);
		}
		for (const content of wrong) {
			const peer = type === MESSAGE.HELLO ? await gateway.peer() : await greeted();
			const bytes = new CborWriter().array(3).uint(type).uint(9).value(content).take();
			// A hello longer than 1,024 bytes is refused for that.
			if (type === MESSAGE.HELLO && bytes.length > 1024) continue;
			peer.sendItem(bytes);
			const reason = await expectRefusal(peer, "INVALID_REQUEST");
			if (!reason.includes("8 levels")) expect(reason).toContain(`request 9 (${name})`);
		}
		expect((await bystander.request(MESSAGE.PING, 2, []))[0]).toBe(MESSAGE.PING);
	});
});

describe("a connection is ended with the protocol's error by", () => {
	const item = (value: CborValue): Buffer => new CborWriter().value(value).take();
	it.each<[string, Buffer, string]>([
		["a message that is no array", item(1), "INVALID_REQUEST"],
		["a message of two", item([14, 5]), "INVALID_REQUEST"],
		["a message of four", item([14, 5, new Map(), 0]), "INVALID_REQUEST"],
		["a type that there is not", item([31, 5, new Map()]), "INVALID_REQUEST"],
		["a type that only the gateway sends", item([32, 5, new Map()]), "INVALID_REQUEST"],
		["the id 0", item([14, 0, new Map()]), "INVALID_REQUEST"],
		["an id of 33 bits", item([14, 2 ** 32, new Map()]), "INVALID_REQUEST"],
		["a body that is no map", item([14, 5, []]), "INVALID_REQUEST"],
		[
			"a second hello",
			item([
				1,
				5,
				new Map([
					[0, 1],
					[1, 1],
				]),
			]),
			"INVALID_REQUEST",
		],
		[
			"a sequence without a client id",
			item([
				2,
				5,
				new Map<number, CborValue>([
					[0, groupsOf("t", ["x"])],
					[1, 1],
				]),
			]),
			"INVALID_REQUEST",
		],
		["ten thousand arrays within each other", Buffer.alloc(10_000, 0x81), "INVALID_REQUEST"],
		["an array of 2^32 - 1", Buffer.from("9affffffff", "hex"), "INVALID_REQUEST"],
		["bytes of 4 GB", Buffer.from("5affffffff", "hex"), "INVALID_REQUEST"],
		["indefinite lengths", Buffer.from("9f0e05bfffff", "hex"), "INVALID_REQUEST"],
		["a tag", Buffer.from("d9dfff830e05a0", "hex"), "INVALID_REQUEST"],
		["bad UTF-8", Buffer.from("830c05a10062c328", "hex"), "INVALID_REQUEST"],
	])("%s", async (_, bytes, code) => {
		const peer = await greeted();
		peer.sendItem(bytes);
		await expectRefusal(peer, code);
		expect((await bystander.request(MESSAGE.PING, 2, []))[0]).toBe(MESSAGE.PING);
	});

	it("a frame longer than allowed, by its length alone; before hello 1,024 bytes", async () => {
		const peer = await greeted();
		peer.socket.write(Buffer.from("00800001", "hex"));
		expect(await expectRefusal(peer, "MESSAGE_TOO_LARGE")).toContain("8388609");
		const stranger = await gateway.peer();
		stranger.socket.write(Buffer.from("00000401", "hex"));
		await expectRefusal(stranger, "MESSAGE_TOO_LARGE");
	});

	it("HTTP", async () => {
		const peer = await gateway.peer();
		peer.socket.write("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n");
		await expectRefusal(peer, "MESSAGE_TOO_LARGE");
	});

	it("a request before hello", async () => {
		const peer = await gateway.peer();
		peer.send(MESSAGE.PING, 1, []);
		await expectRefusal(peer, "INVALID_REQUEST");
	});

	it("versions that the gateway does not speak, with those it does", async () => {
		const peer = await gateway.peer();
		peer.send(MESSAGE.HELLO, 1, [
			[0, 7],
			[1, 9],
		]);
		expect(await expectRefusal(peer, "UNSUPPORTED_VERSION")).toContain("speaks versions 1 to 1");
		const older = await gateway.peer();
		older.send(MESSAGE.HELLO, 1, [
			[0, 0],
			[1, 0],
		]);
		await expectRefusal(older, "UNSUPPORTED_VERSION");
		const newer = await gateway.peer();
		newer.send(MESSAGE.HELLO, 1, [
			[0, 0],
			[1, 9],
			[4, "secret"],
		]);
		expect((await newer.message())[2].get(0)).toBe(1);
	});

	it("a token that is missing or wrong", async () => {
		for (const fields of [[], [[4, "wrong"]], [[4, "secret2"]]] as [number, string][][]) {
			const peer = await gateway.peer();
			peer.send(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...fields]);
			await expectRefusal(peer, "SASL_AUTHENTICATION_FAILED");
		}
	});

	it("an id that an open subscription has", async () => {
		const peer = await greeted();
		const subscribe = () =>
			peer.send(MESSAGE.SUBSCRIBE, 5, [
				[0, "t"],
				[1, [0]],
				[2, 0],
			]);
		subscribe();
		await peer.message();
		subscribe();
		await expectRefusal(peer, "INVALID_REQUEST");
	});
});

/** MQTT over WebSocket, frame by frame: section 6 of both standards, limits, backpressure, closing. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { connect, packet, publish, text } from "./door.ts";
import {
	BINARY,
	CLOSE,
	CONTINUATION,
	frame,
	handshake,
	PING,
	PONG,
	type RawWebSocket,
	TEXT,
	takeHead,
	WebSocketDoor,
} from "./websocket-door.ts";

const CONNACK = Buffer.of(0x20, 2, 0, 0);
const PINGREQ = Buffer.of(0xc0, 0);
const PINGRESP = Buffer.of(0xd0, 0);
const eventually = (check: () => void | Promise<void>): Promise<void> =>
	vi.waitFor(check, { timeout: 10_000, interval: 5 });

let door: WebSocketDoor;
afterEach(() => door.close());

async function connected(clientId: string, level: 4 | 5 = 4): Promise<RawWebSocket> {
	const client = await door.webSocket();
	client.send(frame(BINARY, connect(clientId, { level })));
	const connack = await client.packet();
	expect(connack.subarray(0, level === 4 ? 4 : 1)).toEqual(level === 4 ? CONNACK : Buffer.of(0x20));
	return client;
}

describe("subprotocol", () => {
	it.each(["mqtt", "mqttv3.1"])("%s is taken and told [MQTT-6.0.0-4]", async (name) => {
		door = await WebSocketDoor.open();
		const { head } = await door.webSocket(name);
		expect(head.toLowerCase()).toContain(`sec-websocket-protocol: ${name}\r\n`);
		expect(head.toLowerCase()).not.toContain("sec-websocket-extensions");
	});

	it("mqtt is preferred to others that are offered", async () => {
		door = await WebSocketDoor.open();
		const { head } = await door.webSocket("soap, mqttv3.1, mqtt");
		expect(head.toLowerCase()).toContain("sec-websocket-protocol: mqtt\r\n");
	});

	it.each([undefined, "soap", "MQTT", "mqtt5"])("%s is refused with the reason [MQTT-6.0.0-3]", async (name) => {
		door = await WebSocketDoor.open();
		const raw = await door.socket();
		raw.send(handshake(door.port, { "sec-websocket-protocol": name }));
		const answer = (await raw.rest()).toString();
		expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
		expect(answer).toContain("subprotocol mqtt");
		expect(door.test.door.stats()).toMatchObject({ refusedWebSockets: 1, webSockets: 0 });
	});

	it("permessage-deflate is not taken", async () => {
		door = await WebSocketDoor.open();
		const raw = await door.socket();
		raw.send(handshake(door.port, { "sec-websocket-extensions": "permessage-deflate" }));
		const head = await takeHead(raw);
		expect(head).toMatch(/^HTTP\/1\.1 101 /);
		expect(head.toLowerCase()).not.toContain("sec-websocket-extensions");
	});
});

describe("frames [MQTT-6.0.0-2]", () => {
	const packets = Buffer.concat([connect("split"), publish(0x32, "split/a", 7, "payload"), PINGREQ]);
	const answers = Buffer.concat([CONNACK, Buffer.of(0x40, 2, 0, 7)]);

	/** PINGRESP may come before PUBACK, which waits for its commit. */
	async function answered(client: RawWebSocket): Promise<void> {
		const got = await client.take(answers.length + PINGRESP.length);
		expect([
			Buffer.concat([answers, PINGRESP]),
			Buffer.concat([CONNACK, PINGRESP, answers.subarray(4)]),
		]).toContainEqual(got);
	}

	it("two messages, cut at every byte", async () => {
		door = await WebSocketDoor.open();
		for (let cut = 0; cut <= packets.length; cut++) {
			const client = await door.webSocket();
			client.send(frame(BINARY, packets.subarray(0, cut)));
			client.send(frame(BINARY, packets.subarray(cut)));
			await answered(client);
		}
		expect(door.test.door.stats().protocolErrors).toBe(0);
	});

	it("two fragments of one message, cut at every byte, with a Ping between", async () => {
		door = await WebSocketDoor.open();
		for (let cut = 0; cut <= packets.length; cut++) {
			const client = await door.webSocket();
			client.send(
				frame(BINARY, packets.subarray(0, cut), { fin: false }),
				frame(PING, "hi"),
				frame(CONTINUATION, packets.subarray(cut)),
			);
			expect(await client.frame()).toEqual({ opcode: PONG, payload: Buffer.from("hi") });
			await answered(client);
		}
		expect(door.test.broker.pressure.bytes).toBe(0);
	});

	it("one byte a message, and one byte a TCP segment", async () => {
		door = await WebSocketDoor.open();
		const bytes = await door.webSocket();
		bytes.send(...[...packets].map((byte) => frame(BINARY, Buffer.of(byte))));
		await answered(bytes);
		const segments = await door.webSocket();
		segments.raw.socket.setNoDelay(true);
		for (const byte of frame(BINARY, packets)) {
			segments.raw.send(byte);
			await new Promise(setImmediate);
		}
		await answered(segments);
	});

	it("an empty message says nothing", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("empty");
		client.send(frame(BINARY), frame(BINARY, PINGREQ));
		expect(await client.take(2)).toEqual(PINGRESP);
	});

	it("a message larger than the largest packet may hold several", async () => {
		door = await WebSocketDoor.open({ maxPacketBytes: 4096 });
		const client = await connected("batch");
		const one = publish(0x32, "batch", 1, "x".repeat(3000));
		client.send(frame(BINARY, Buffer.concat([one, one, one])));
		expect(await client.take(12)).toEqual(Buffer.concat([1, 1, 1].map((id) => Buffer.of(0x40, 2, 0, id))));
	});

	it("all that is written in one turn is one message", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("turn");
		client.send(frame(BINARY, Buffer.concat([PINGREQ, PINGREQ, PINGREQ])));
		expect(await client.frame()).toEqual({ opcode: BINARY, payload: Buffer.concat([PINGRESP, PINGRESP, PINGRESP]) });
	});
});

describe("what ends the connection", () => {
	it("a text frame [MQTT-6.0.0-1]; what follows in the same segment is not handled", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("text");
		client.send(frame(TEXT, "hello"), frame(BINARY, publish(0x32, "after", 1, "x")));
		expect(await client.closeCode()).toBe(1003);
		client.send(frame(CLOSE));
		expect(await client.raw.rest()).toEqual(Buffer.alloc(0));
		await eventually(() => expect(door.test.door.stats()).toMatchObject({ connections: 0, webSockets: 0 }));
		expect(door.test.door.stats()).toMatchObject({ protocolErrors: 1, received: [0, 0, 0] });
	});

	it("a message above the limit, by what its header promises", async () => {
		door = await WebSocketDoor.open({ maxPacketBytes: 1000 });
		const client = await connected("large");
		const head = frame(BINARY, Buffer.alloc(1000 + 1_048_576 + 1)).subarray(0, 14);
		client.send(head);
		expect(await client.closeCode()).toBe(1009);
		expect(door.test.broker.pressure.bytes).toBeLessThan(200); // the head itself
		client.raw.socket.end();
		await eventually(() => expect(door.test.broker.pressure.bytes).toBe(0));
	});

	it("a packet above mqtt.max.packet.bytes is told in MQTT 5: 0x95, then Close", async () => {
		door = await WebSocketDoor.open({ maxPacketBytes: 1000 });
		const client = await connected("large5", 5);
		client.send(frame(BINARY, publish(0x32, "t", 1, "x".repeat(2000))));
		const disconnect = await client.packet();
		expect([disconnect[0], disconnect[2]]).toEqual([0xe0, 0x95]);
		expect(await client.closeCode()).toBe(1000);
	});

	it.each([
		["a frame without mask", frame(BINARY, PINGREQ, { masked: false }), 1002],
		["a reserved opcode", frame(3, PINGREQ), 1002],
		["a reserved bit", Buffer.concat([Buffer.of(0xc2), frame(BINARY, PINGREQ).subarray(1)]), 1002],
		["a continuation of nothing", frame(CONTINUATION, PINGREQ), 1002],
		["a Ping in fragments", frame(PING, "", { fin: false }), 1002],
		["a Ping of 126 bytes", frame(PING, Buffer.alloc(126)), 1002],
	])("%s", async (_, bytes, code) => {
		door = await WebSocketDoor.open();
		const client = await connected("broken");
		client.send(bytes);
		expect(await client.closeCode()).toBe(code);
		client.raw.socket.end();
		await eventually(() => expect(door.test.door.stats()).toMatchObject({ connections: 0, protocolErrors: 1 }));
	});

	it("more fragments than anybody needs", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("fragments");
		client.send(frame(BINARY, PINGREQ, { fin: false }));
		for (let i = 0; i < 5000; i++) client.raw.socket.write(frame(CONTINUATION, "x", { fin: false }));
		expect(await client.closeCode()).toBe(1008);
	});

	it("the peer's Close: it is answered, and the will is published", async () => {
		door = await WebSocketDoor.open();
		const watcher = await connected("watcher");
		watcher.send(frame(BINARY, packet(0x82, 0, 1, text("wills/#"), 0)));
		await watcher.take(5);
		const client = await door.webSocket();
		const flags = 0x06; // clean, will
		client.send(
			frame(BINARY, packet(0x10, text("MQTT"), 4, flags, 0, 0, text("mortal"), text("wills/w"), text("gone"))),
		);
		expect(await client.take(4)).toEqual(CONNACK);
		client.send(frame(CLOSE, Buffer.of(0x03, 0xe9)));
		expect(await client.closeCode()).toBe(1001);
		expect(await client.raw.rest()).toEqual(Buffer.alloc(0));
		expect(await watcher.packet()).toEqual(packet(0x30, text("wills/w"), Buffer.from("gone")));
	});

	it("DISCONNECT: Close comes back, and a peer that does not answer it is not waited for", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("leaves");
		client.send(frame(BINARY, Buffer.of(0xe0, 0)));
		expect(await client.closeCode()).toBe(1000);
		expect(door.test.door.stats()).toMatchObject({ connections: 0, webSockets: 1 });
		door.test.clock.advance(4999);
		await new Promise(setImmediate);
		expect(client.raw.closed).toBe(false);
		door.test.clock.advance(1);
		await eventually(() => expect(client.raw.closed).toBe(true));
		await eventually(() => expect(door.test.door.stats().webSockets).toBe(0));
	});

	it("no CONNECT within mqtt.connect.timeout.ms, however busily a message is begun", async () => {
		door = await WebSocketDoor.open({ connectTimeoutMs: 3000 });
		const client = await door.webSocket();
		const bytes = frame(BINARY, connect("slow"));
		for (let i = 0; i < 6 && !client.raw.closed; i++) {
			client.send(bytes.subarray(i, i + 1));
			await new Promise((resolve) => setTimeout(resolve, 5)); // the byte's way, not a time that matters
			door.test.clock.advance(1000);
		}
		await client.raw.rest();
		expect(door.test.door.stats().connectTimeouts).toBe(1);
	});
});

describe("limits and memory", () => {
	it("mqtt.max.connections counts WebSockets; with no room to answer: 503", async () => {
		door = await WebSocketDoor.open({ maxConnections: 1 });
		await connected("first");
		const second = await door.webSocket();
		second.send(frame(BINARY, connect("second", { level: 5 })));
		const connack = await second.packet();
		expect([connack[0], connack[3]]).toEqual([0x20, 0x97]);
		for (let i = 0; i < 63; i++) await door.webSocket();
		const raw = await door.socket();
		raw.send(handshake(door.port));
		await eventually(() => expect(raw.closed).toBe(true));
		expect((await raw.rest()).toString()).toMatch(/^HTTP\/1\.1 503 [\s\S]*mqtt\.max\.connections/);
	});

	it("half a message counts in the memory budget, and no longer when it is whole or its connection gone", async () => {
		door = await WebSocketDoor.open();
		const { pressure } = door.test.broker;
		const client = await connected("half");
		const bytes = frame(BINARY, publish(0x32, "half", 1, "x".repeat(16_000)));
		client.send(bytes.subarray(0, 15_000));
		await eventually(() => expect(pressure.bytes).toBeGreaterThan(14_900));
		client.send(bytes.subarray(15_000));
		expect(await client.take(4)).toEqual(Buffer.of(0x40, 2, 0, 1));
		expect(pressure.bytes).toBe(0);
		client.send(frame(BINARY, Buffer.alloc(30_000), { fin: false }));
		await eventually(() => expect(pressure.bytes).toBeGreaterThan(30_000));
		client.raw.socket.destroy();
		await eventually(() => expect(pressure.bytes).toBe(0));
	});

	it("over the budget a half message is not read on, and ends its connection when it stands still", async () => {
		door = await WebSocketDoor.open({ connectTimeoutMs: 3000 });
		const { pressure } = door.test.broker;
		const client = await connected("holds");
		pressure.hold();
		const bytes = frame(BINARY, Buffer.alloc(900_000));
		client.send(bytes.subarray(0, 20));
		await eventually(() => expect(pressure.bytes).toBeGreaterThan(0));
		client.send(bytes.subarray(20, 800_000));
		for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
		expect(pressure.bytes).toBeLessThan(2000); // the first piece
		pressure.letGo();
		await eventually(() => expect(pressure.bytes).toBeGreaterThan(799_000));
		pressure.hold();
		expect(client.raw.closed).toBe(false);
		door.test.clock.advance(7000);
		await client.raw.rest();
		await eventually(() => expect(pressure.bytes).toBe(0));
		expect(door.test.door.stats().stalled).toBe(1);
		pressure.letGo();
	});

	it("a subscriber that does not read holds little, and reads on from the log", async () => {
		door = await WebSocketDoor.open({ maxInflight: 1000 });
		const subscriber = await connected("reads-late");
		subscriber.send(frame(BINARY, packet(0x82, 0, 1, text("flood"), 1)));
		await subscriber.take(5);
		subscriber.raw.socket.pause();
		const publisher = await door.test.client();
		const payload = Buffer.alloc(10_000, 0x61);
		for (let n = 0; n < 800; n++) {
			payload.writeUInt32BE(n);
			await publisher.publishAsync("flood", payload, { qos: 1 });
		}
		// 8 MB were published: the kernel's buffers take some, the gateway keeps what one connection may have.
		expect(door.test.door.engine.outputBudget.unsentBytes).toBeGreaterThan(0);
		expect(door.test.door.engine.outputBudget.unsentBytes).toBeLessThan(100_000);
		subscriber.raw.socket.resume();
		for (let n = 0; n < 800; n++) {
			const [first, low, middle, high] = await subscriber.take(4);
			expect(first! & 0xf6).toBe(0x32);
			expect([low! & 0x80, middle! & 0x80]).toEqual([0x80, low! & 0x80 ? middle! & 0x80 : 0]);
			const length = (low! & 0x7f) | ((middle! & 0x7f) << 7) | (middle! & 0x80 ? high! << 14 : 0);
			// A length of two bytes: the third that was taken belongs to the packet.
			const rest = await subscriber.take(middle! & 0x80 ? length : length - 1);
			const body = middle! & 0x80 ? rest : Buffer.concat([Buffer.of(high!), rest]);
			expect(body.readUInt32BE(2 + "flood".length + 2)).toBe(n);
			subscriber.send(frame(BINARY, Buffer.concat([Buffer.of(0x40, 2), body.subarray(7, 9)])));
		}
	});

	it("a paused transport is not read, and TCP holds the peer back; resumed, nothing is missing", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("held-back");
		const { transport } = [...door.test.door.engine.connections][0]!;
		const { stats } = door.test.door.engine;
		transport.pause();
		// More than the kernel's buffers take, to a topic that nothing is stored for.
		const bytes = frame(BINARY, publish(0x30, "$none", 0, "x".repeat(16_000)));
		for (let n = 0; n < 1500; n++) client.raw.socket.write(bytes);
		for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate);
		expect(stats.received[0]).toBe(0);
		expect(client.raw.socket.writableLength).toBeGreaterThan(1_000_000);
		transport.resume();
		await eventually(() => expect(stats.received[0]).toBe(1500));
		expect(client.raw.socket.writableLength).toBe(0);
	});

	it("write tells whether the bytes have left, and what is unsent is told with what is queued behind it", async () => {
		door = await WebSocketDoor.open();
		const client = await connected("slow");
		const { transport } = [...door.test.door.engine.connections][0]!;
		expect(transport.write(Buffer.alloc(100))).toBe(true);
		expect(transport.unsentBytes).toBe(0);
		client.raw.socket.pause();
		let sent = 100;
		while (transport.write(Buffer.alloc(1_000_000, sent / 100))) sent += 1_000_000;
		expect(transport.unsentBytes).toBeGreaterThan(0);
		const before = transport.unsentBytes;
		expect(transport.write(Buffer.alloc(500))).toBe(false);
		expect(transport.unsentBytes).toBe(before + 500 + 4);
		client.raw.socket.resume();
		await client.take(sent + 1_000_000 + 500);
		expect(transport.unsentBytes).toBe(0);
	});
});

it("the door's stop tells MQTT 5 clients, sends Close, and ends", async () => {
	door = await WebSocketDoor.open();
	const five = await connected("five", 5);
	const four = await connected("four");
	const silent = await door.webSocket();
	const stopped = door.test.door.stop();
	const disconnect = await five.packet();
	expect([disconnect[0], disconnect[2]]).toEqual([0xe0, 0x8b]);
	for (const client of [five, four]) {
		expect(await client.closeCode()).toBe(1000);
		client.send(frame(CLOSE, Buffer.of(0x03, 0xe8)));
		await client.raw.rest();
	}
	// It answers nothing: its time is a second, not the five that Close has otherwise.
	expect(await silent.closeCode()).toBe(1000);
	let waitedMs = 0;
	await eventually(() => {
		door.test.clock.advance(10);
		waitedMs += 10;
		expect(door.test.door.stats().webSockets).toBe(0);
	});
	expect(waitedMs).toBeGreaterThanOrEqual(1000);
	expect(waitedMs).toBeLessThan(5000);
	await stopped;
});

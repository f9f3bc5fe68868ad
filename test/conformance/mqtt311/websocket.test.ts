/** MQTT 3.1.1 over WebSocket (section 6). */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
	BINARY,
	CLOSE,
	CONTINUATION,
	frame,
	type RawWebSocket,
	TEXT,
	WebSocketDoor,
} from "../../contract/mqtt/websocket-door.ts";
import { acknowledge, connect, PUBACK, pingRequest, publish, subscribe } from "../support/packets.ts";

let door: WebSocketDoor;
beforeAll(async () => {
	door = await WebSocketDoor.open();
});
afterAll(() => door.close());

const v4 = { level: 4 } as const;
const CONNACK = "20020000";
const PINGRESP = "d000";

async function client(clientId: string): Promise<RawWebSocket> {
	const webSocket = await door.webSocket();
	webSocket.send(frame(BINARY, connect({ ...v4, clientId })));
	expect((await webSocket.packet()).toString("hex")).toBe(CONNACK);
	return webSocket;
}

/** The server closes, after the WebSocket's own goodbye [RFC 6455 section 7.1]. */
async function closes(webSocket: RawWebSocket): Promise<void> {
	expect(await webSocket.closeCode()).toBe(1003);
	webSocket.send(frame(CLOSE, Buffer.of(0x03, 0xeb)));
	expect(await webSocket.raw.rest()).toEqual(Buffer.alloc(0));
}

test("[MQTT-6.0.0-1] what the server sends is binary, and a text frame closes the connection", async () => {
	const webSocket = await client("binary");
	webSocket.send(frame(BINARY, pingRequest()));
	expect(await webSocket.frame()).toMatchObject({ opcode: BINARY, payload: Buffer.from(PINGRESP, "hex") });
	webSocket.send(frame(TEXT, "hello"));
	await closes(webSocket);
	const first = await door.webSocket();
	first.send(frame(TEXT, connect({ ...v4, clientId: "text" })));
	await closes(first);
	expect(door.test.door.engine.clients.has("text")).toBe(false);
});

test("[MQTT-6.0.0-2] one frame may hold several packets", async () => {
	const webSocket = await door.webSocket();
	const packets = [
		connect({ ...v4, clientId: "several" }),
		subscribe([["several", 1]], { ...v4, id: 5 }),
		publish("elsewhere", "x", { ...v4, qos: 1, id: 6 }),
		pingRequest(),
	];
	webSocket.send(frame(BINARY, Buffer.concat(packets)));
	expect((await webSocket.packet()).toString("hex")).toBe(CONNACK);
	const answers = [await webSocket.packet(), await webSocket.packet(), await webSocket.packet()];
	expect(answers.map((each) => each.toString("hex")).sort()).toEqual([
		acknowledge(PUBACK, 6).toString("hex"),
		"9003000501",
		PINGRESP,
	]);
});

test("[MQTT-6.0.0-2] a packet may be spread over frames, and frames over fragments", async () => {
	const webSocket = await door.webSocket();
	for (const byte of connect({ ...v4, clientId: "spread" })) webSocket.send(frame(BINARY, Buffer.of(byte)));
	expect((await webSocket.packet()).toString("hex")).toBe(CONNACK);
	const whole = publish("spread", "y".repeat(20), { ...v4, qos: 1, id: 7 });
	webSocket.send(
		frame(BINARY, whole.subarray(0, 3), { fin: false }),
		frame(CONTINUATION, whole.subarray(3, 9), { fin: false }),
		frame(CONTINUATION, whole.subarray(9, 15)),
		frame(BINARY, Buffer.concat([whole.subarray(15), pingRequest().subarray(0, 1)])),
		frame(BINARY, pingRequest().subarray(1)),
	);
	const answers = [await webSocket.packet(), await webSocket.packet()];
	expect(answers.map((each) => each.toString("hex")).sort()).toEqual([
		acknowledge(PUBACK, 7).toString("hex"),
		PINGRESP,
	]);
});

test("[MQTT-6.0.0-4] the subprotocol that the server returns is mqtt", async () => {
	for (const offered of ["mqtt", "mqtt, soap", "soap,mqtt", "mqttv3.1, mqtt"]) {
		const { head } = await door.webSocket(offered);
		expect(head.toLowerCase()).toContain("\r\nsec-websocket-protocol: mqtt\r\n");
	}
});

/** The MQTT door behind a real HTTP door, for tests, and a WebSocket client that sends exactly the frames it is told to. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import type { MqttOptions } from "../../../bridge/mqtt/options.ts";
import { OUTPUT_HIGH_BYTES } from "../../../bridge/mqtt/transport.ts";
import { HttpDoor } from "../../../src/admin/http-door.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { RawSocket, TestDoor } from "./door.ts";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export class WebSocketDoor {
	readonly test: TestDoor;
	readonly http: HttpDoor;
	port = 0;
	readonly #sockets: RawSocket[] = [];

	private constructor(test: TestDoor) {
		this.test = test;
		this.http = new HttpDoor(
			{ host: "127.0.0.1", port: 0, allowedOrigins: "", highWaterMark: OUTPUT_HIGH_BYTES },
			{ clock: test.clock, logger: silentLogger },
		);
		this.http.onUpgrade("/mqtt", "MQTT over WebSocket", (...upgrade) => test.door.upgrade(...upgrade));
	}

	static async open(options: Partial<MqttOptions> = {}): Promise<WebSocketDoor> {
		const door = new WebSocketDoor(await TestDoor.open(options));
		const address = await door.http.start();
		door.port = Number(address.slice(address.lastIndexOf(":") + 1));
		return door;
	}

	get url(): string {
		return `ws://127.0.0.1:${this.port}/mqtt`;
	}

	/** A TCP connection to the HTTP door. */
	async socket(): Promise<RawSocket> {
		const socket = connectSocket({ port: this.port, host: "127.0.0.1" });
		await once(socket, "connect");
		const raw = new RawSocket(socket);
		this.#sockets.push(raw);
		return raw;
	}

	/** A WebSocket whose handshake is done. */
	async webSocket(subprotocol = "mqtt"): Promise<RawWebSocket> {
		const raw = await this.socket();
		raw.send(handshake(this.port, { "sec-websocket-protocol": subprotocol }));
		const head = await takeHead(raw);
		if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`not upgraded: ${head}`);
		return new RawWebSocket(raw, head);
	}

	async close(): Promise<void> {
		for (const { socket } of this.#sockets) socket.destroy();
		await Promise.all([this.test.close(), this.http.stop()]);
	}
}

/** A request for an upgrade at /mqtt; a header with the value undefined is left out. */
export function handshake(port: number, headers: Record<string, string | undefined> = {}, path = "/mqtt"): string {
	const all = {
		host: `127.0.0.1:${port}`,
		connection: "Upgrade",
		upgrade: "websocket",
		"sec-websocket-version": "13",
		"sec-websocket-key": randomBytes(16).toString("base64"),
		"sec-websocket-protocol": "mqtt",
		...headers,
	};
	const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
	return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Status line and headers of an answer. */
export async function takeHead(raw: RawSocket): Promise<string> {
	let head = "";
	while (!head.endsWith("\r\n\r\n")) head += (await raw.take(1)).toString("latin1");
	return head;
}

/** A frame as a client sends it: masked. */
export function frame(opcode: number, payload: Buffer | string = "", { fin = true, masked = true } = {}): Buffer {
	const data = Buffer.from(payload as string);
	const long = data.length > 65_535 ? 127 : data.length > 125 ? 126 : data.length;
	const length = Buffer.alloc(long === 127 ? 8 : long === 126 ? 2 : 0);
	if (long === 127) length.writeBigUInt64BE(BigInt(data.length));
	if (long === 126) length.writeUInt16BE(data.length);
	const head = Buffer.of((fin ? 0x80 : 0) | opcode, (masked ? 0x80 : 0) | long);
	if (!masked) return Buffer.concat([head, length, data]);
	const mask = randomBytes(4);
	return Buffer.concat([head, length, mask, data.map((byte, i) => byte ^ mask[i % 4]!)]);
}

export class RawWebSocket {
	readonly raw: RawSocket;
	/** The answer to the handshake. */
	readonly head: string;
	#bytes = Buffer.alloc(0);

	constructor(raw: RawSocket, head: string) {
		this.raw = raw;
		this.head = head;
	}

	send(...frames: Buffer[]): void {
		this.raw.send(...frames);
	}

	/** The next frame, which must be a whole message and not masked. */
	async frame(): Promise<{ opcode: number; payload: Buffer }> {
		const [first, second] = await this.raw.take(2);
		if ((first! & 0xf0) !== 0x80) throw new Error(`not a final frame without extension: ${first!.toString(16)}`);
		let length = second!;
		if (length === 126) length = (await this.raw.take(2)).readUInt16BE(0);
		else if (length === 127) length = Number((await this.raw.take(8)).readBigUInt64BE(0));
		else if (length > 127) throw new Error("a server must not mask");
		return { opcode: first! & 0x0f, payload: await this.raw.take(length) };
	}

	/** The next `count` bytes of binary messages. */
	async take(count: number): Promise<Buffer> {
		while (this.#bytes.length < count) {
			const { opcode, payload } = await this.frame();
			if (opcode !== BINARY) throw new Error(`frame of opcode ${opcode}: ${payload.toString("hex")}`);
			this.#bytes = Buffer.concat([this.#bytes, payload]);
		}
		const taken = this.#bytes.subarray(0, count);
		this.#bytes = this.#bytes.subarray(count);
		return taken;
	}

	/** One packet; remaining lengths below 128 only. */
	async packet(): Promise<Buffer> {
		const head = await this.take(2);
		return Buffer.concat([head, await this.take(head[1]!)]);
	}

	/** The code of the Close frame that comes next. */
	async closeCode(): Promise<number> {
		const { opcode, payload } = await this.frame();
		if (opcode !== CLOSE) throw new Error(`frame of opcode ${opcode} where Close was expected`);
		return payload.length === 0 ? 1005 : payload.readUInt16BE(0);
	}
}

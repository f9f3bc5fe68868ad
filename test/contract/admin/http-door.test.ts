/** The HTTP door over real sockets: its pages, who may ask, upgrades, limits. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { HttpDoor } from "../../../src/admin/http-door.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { HandClock, RawSocket } from "../mqtt/door.ts";
import { handshake, takeHead } from "../mqtt/websocket-door.ts";

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });
const clock = new HandClock();
const doors: HttpDoor[] = [];
const sockets: Socket[] = [];
const upgraded: { request: IncomingMessage; socket: Socket; head: Buffer }[] = [];

afterEach(async () => {
	for (const socket of sockets.splice(0)) socket.destroy();
	for (const { socket } of upgraded.splice(0)) socket.destroy();
	for (const door of doors.splice(0)) await door.stop();
});

async function open(
	allowedOrigins = "",
	host = "127.0.0.1",
	headersTimeoutMs?: number,
): Promise<{ door: HttpDoor; port: number }> {
	const door = new HttpDoor(
		{ host, port: 0, allowedOrigins, highWaterMark: 16_384, ...(headersTimeoutMs && { headersTimeoutMs }) },
		{ clock, logger: silentLogger },
	);
	door.onUpgrade("/mqtt", "MQTT over WebSocket", (request, socket, head, refuse) => {
		if (request.headers["x-refuse"] !== undefined) refuse(503, "not now\n");
		else upgraded.push({ request, socket, head });
	});
	const address = await door.start();
	doors.push(door);
	return { door, port: Number(address.slice(address.lastIndexOf(":") + 1)) };
}

async function dial(port: number): Promise<RawSocket> {
	const socket = connect(port, "127.0.0.1");
	sockets.push(socket);
	await once(socket, "connect");
	return new RawSocket(socket);
}

/** All that comes back for these bytes, until the door closes. */
async function said(port: number, bytes: string): Promise<string> {
	const raw = await dial(port);
	raw.send(bytes);
	return (await raw.rest()).toString("latin1");
}

const get = (target: string, headers = "", method = "GET"): string =>
	`${method} ${target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n${headers}\r\n`;

describe("pages", () => {
	it("/healthz is ok, for GET and HEAD, with or without a query", async () => {
		const { port } = await open();
		expect(await said(port, get("/healthz"))).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok\n$/);
		expect(await said(port, get("/healthz?x=1"))).toMatch(/^HTTP\/1\.1 200 /);
		expect(await said(port, get("/healthz", "", "HEAD"))).toMatch(
			/^HTTP\/1\.1 200 [\s\S]*content-length: 3\r\n[\s\S]*\r\n\r\n$/,
		);
	});

	it.each(["/", "/mqtt/", "/healthz/x", "/../healthz", "*"])("%s: 404, and what there is", async (target) => {
		const { port } = await open();
		const answer = await said(port, get(target));
		expect(answer).toMatch(/^HTTP\/1\.1 404 [\s\S]*text\/plain[\s\S]*\/healthz[\s\S]*\/mqtt {2}MQTT over WebSocket/);
	});

	it.each(["POST", "PUT", "DELETE", "OPTIONS"])("%s is no method of a page: 405", async (method) => {
		const { port } = await open();
		expect(await said(port, get("/healthz", "", method))).toMatch(/^HTTP\/1\.1 405 [\s\S]*allow: GET, HEAD\r\n/);
		expect(await said(port, get("/mqtt", "", method))).toMatch(/^HTTP\/1\.1 405 /);
	});

	it("/mqtt without an upgrade: 426 with an explanation", async () => {
		const { port } = await open();
		const answer = await said(port, get("/mqtt"));
		expect(answer).toMatch(/^HTTP\/1\.1 426 [\s\S]*upgrade: websocket\r\n[\s\S]*ws:\/\/127\.0\.0\.1\/mqtt/);
	});

	it("an upgrade to something else is not taken, and the page is answered", async () => {
		const { port } = await open();
		const h2c =
			"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\n\r\n";
		expect(await said(port, h2c)).toMatch(/^HTTP\/1\.1 200 /);
	});

	it("a connection is kept for the next request", async () => {
		const { port } = await open();
		const raw = await dial(port);
		for (let n = 0; n < 3; n++) {
			raw.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
			expect(await takeHead(raw)).toMatch(/^HTTP\/1\.1 200 /);
			expect((await raw.take(3)).toString()).toBe("ok\n");
		}
	});

	it("a body that nobody reads ends its connection", async () => {
		const { port } = await open();
		const raw = await dial(port);
		raw.send("POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n");
		expect((await raw.rest()).toString()).toMatch(/^HTTP\/1\.1 405 [\s\S]*connection: close/i);
	});
});

describe("who may ask", () => {
	const from = (origin: string): string => get("/healthz", `origin: ${origin}\r\n`);

	it("a page of another origin: 403 that names the key, for pages and upgrades", async () => {
		const { port } = await open("https://panel.example.com");
		expect(await said(port, from("http://evil.example"))).toMatch(/^HTTP\/1\.1 403 [\s\S]*http\.allowed\.origins/);
		expect(await said(port, from("null"))).toMatch(/^HTTP\/1\.1 403 /);
		for (const name of ["origin", "sec-websocket-origin"]) {
			expect(await said(port, handshake(port, { [name]: "http://evil.example" }))).toMatch(
				/^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*http\.allowed\.origins/,
			);
		}
		expect(upgraded).toEqual([]);
	});

	it("a page of this host and port, a listed one, no page at all", async () => {
		const { port } = await open("https://panel.example.com");
		expect(await said(port, from("http://127.0.0.1"))).toMatch(/^HTTP\/1\.1 200 /);
		expect(await said(port, from("https://panel.example.com"))).toMatch(/^HTTP\/1\.1 200 /);
		for (const origin of [`http://127.0.0.1:${port}`, "https://panel.example.com", undefined]) {
			(await dial(port)).send(handshake(port, { origin }));
		}
		await eventually(() => expect(upgraded).toHaveLength(3));
	});

	it("on loopback, a name that anybody may have pointed there: 403", async () => {
		const { port } = await open("https://panel.example.com");
		const as = (host: string): string => `GET /healthz HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
		expect(await said(port, as("evil.example:9480"))).toMatch(/^HTTP\/1\.1 403 [\s\S]*http\.allowed\.origins/);
		expect(await said(port, as("localhost"))).toMatch(/^HTTP\/1\.1 200 /);
		expect(await said(port, as("panel.example.com"))).toMatch(/^HTTP\/1\.1 200 /);
		const rebound = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` };
		expect(await said(port, handshake(port, rebound))).toMatch(/^HTTP\/1\.1 403 /);
		expect(upgraded).toEqual([]);
	});

	it("on other addresses any name, since which are ours is not known", async () => {
		const { port } = await open("", "0.0.0.0");
		expect(await said(port, "GET /healthz HTTP/1.1\r\nhost: gateway.local\r\nconnection: close\r\n\r\n")).toMatch(
			/^HTTP\/1\.1 200 /,
		);
	});
});

describe("upgrades", () => {
	it("go to whoever has the path, with what came behind the request", async () => {
		const { port } = await open();
		(await dial(port)).send(handshake(port), "abc");
		await eventually(() => expect(upgraded).toHaveLength(1));
		expect(upgraded[0]?.request.url).toBe("/mqtt");
		expect(upgraded[0]?.head.toString()).toBe("abc");
		expect(upgraded[0]?.socket.writableHighWaterMark).toBe(16_384);
	});

	it("elsewhere: 404", async () => {
		const { port } = await open();
		expect(await said(port, handshake(port, {}, "/other"))).toMatch(/^HTTP\/1\.1 404 [\s\S]*\/mqtt {2}MQTT/);
	});

	it("may be refused by who has the path", async () => {
		const { port } = await open();
		expect(await said(port, handshake(port, { "x-refuse": "1" }))).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\n\r\nnot now\n$/);
	});
});

describe("limits", () => {
	it("headers above 8 KiB: 431", async () => {
		const { port } = await open();
		expect(await said(port, get("/healthz", `x: ${"y".repeat(9000)}\r\n`))).toMatch(/^HTTP\/1\.1 431 /);
	});

	it("what is no HTTP: 400, and the door goes on", async () => {
		const { port } = await open();
		expect(await said(port, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")).toMatch(/^HTTP\/1\.1 400 /);
		expect(await said(port, get("/healthz"))).toMatch(/^HTTP\/1\.1 200 /);
	});

	it("256 connections that speak HTTP; upgraded ones do not count", async () => {
		const { port } = await open();
		(await dial(port)).send(handshake(port));
		await eventually(() => expect(upgraded).toHaveLength(1));
		const held = await Promise.all(Array.from({ length: 256 }, () => dial(port)));
		const late = await dial(port);
		await late.rest();
		expect(held.some((each) => each.closed)).toBe(false);
		held[0]?.socket.destroy();
		await vi.waitFor(async () => expect(await said(port, get("/healthz"))).toMatch(/^HTTP\/1\.1 200 /), 10_000);
	});

	it.each(["", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"])("a head that does not come, %j: 408", async (begun) => {
		const { port } = await open("", "127.0.0.1", 40);
		expect(await said(port, begun)).toMatch(/^HTTP\/1\.1 408 /);
	});
});

it("stop closes what speaks HTTP at once, and what was upgraded when its time is over", async () => {
	const { door, port } = await open();
	const idle = await dial(port);
	idle.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
	await takeHead(idle);
	const webSocket = await dial(port);
	webSocket.send(handshake(port));
	await eventually(() => expect(upgraded).toHaveLength(1));
	const stopped = door.stop();
	await idle.rest();
	expect(webSocket.closed).toBe(false);
	clock.advance(2000);
	await stopped;
	await webSocket.rest();
	await expect(once(connect(port, "127.0.0.1"), "connect")).rejects.toThrow("ECONNREFUSED");
});

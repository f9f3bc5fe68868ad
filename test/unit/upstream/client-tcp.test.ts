import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { type SecurityOptions, tcpDial } from "../../../bridge/upstream/client/tcp.ts";
import type { Transport } from "../../../bridge/upstream/client/transport.ts";
import { type Disk, NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";

const pem = (name: string): string => path.resolve(import.meta.dirname, "../../support/tls", name);
const read = (name: string): Buffer => readFileSync(pem(name));
const IDENTITY = { key: read("server.key"), cert: read("server.pem") };
const TLS = { ca: pem("authority.pem"), insecure: false };
const never = new AbortController().signal;

const running: Server[] = [];
const sockets = new Set<Socket>();
afterEach(async () => {
	for (const socket of sockets) socket.destroy();
	await Promise.all(running.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function listen(server: Server, host = "127.0.0.1"): Promise<number> {
	running.push(server);
	server.on("connection", (socket: Socket) => {
		sockets.add(socket);
		socket.on("error", () => {});
	});
	server.on("tlsClientError", () => {});
	await new Promise<void>((resolve) => server.listen(0, host, resolve));
	return (server.address() as AddressInfo).port;
}

const echo = (socket: Socket): void => {
	socket.on("error", () => {});
	socket.on("data", (bytes) => socket.write(bytes));
};
const tlsEcho = (options: TlsOptions = {}): Promise<number> =>
	listen(createTlsServer({ ...IDENTITY, ...options }, echo) as unknown as Server);

/** Passes bytes on and counts them. */
async function meter(port: number): Promise<{ port: number; up: number; down: number }> {
	const counts = { port: 0, up: 0, down: 0 };
	counts.port = await listen(
		createServer((socket) => {
			const beyond = connect(port, "127.0.0.1");
			sockets.add(beyond);
			beyond.on("error", () => socket.destroy());
			socket.on("data", (bytes) => {
				counts.up += bytes.length;
				beyond.write(bytes);
			});
			beyond.on("data", (bytes) => {
				counts.down += bytes.length;
				socket.write(bytes);
			});
			socket.on("close", () => beyond.destroy());
		}),
	);
	return counts;
}

class Peer {
	bytes = Buffer.alloc(0);
	transport!: Transport;
	#changed: () => void = () => {};
	closed: Promise<Error | undefined>;
	#close!: (error: Error | undefined) => void;

	private constructor() {
		this.closed = new Promise((resolve) => {
			this.#close = resolve;
		});
	}

	static async dial(
		security: SecurityOptions,
		port: number,
		{ host = "127.0.0.1", disk = new NodeDisk() as Disk } = {},
	) {
		const peer = new Peer();
		const handler = {
			data: (bytes: Buffer) => {
				peer.bytes = Buffer.concat([peer.bytes, bytes]);
				peer.#changed();
			},
			closed: (error: Error | undefined) => peer.#close(error),
		};
		peer.transport = await tcpDial(security, disk)({ host, port }, handler, never);
		return peer;
	}

	async receives(length: number): Promise<Buffer> {
		while (this.bytes.length < length) {
			await new Promise<void>((resolve) => {
				this.#changed = resolve;
			});
		}
		return this.bytes;
	}
}

const dial = (security: SecurityOptions, port: number, options?: { host?: string; disk?: Disk }): Promise<Peer> =>
	Peer.dial(security, port, options);

describe("sockets to brokers", () => {
	it("carry bytes both ways, in order, and count them", async () => {
		const peer = await dial({}, await listen(createServer(echo)));
		const large = Buffer.alloc(300_000, "0123456789abcdef");
		peer.transport.write([Buffer.from("a"), large, Buffer.from("b")]);
		expect(peer.transport.unsentBytes).toBeGreaterThan(0);
		peer.transport.write([Buffer.from("c")]);
		const received = await peer.receives(300_003);
		expect(received.equals(Buffer.concat([Buffer.from("a"), large, Buffer.from("bc")]))).toBe(true);
		const { sentBytes, receivedBytes, unsentBytes } = peer.transport;
		expect({ sentBytes, receivedBytes, unsentBytes }).toEqual({
			sentBytes: 300_003,
			receivedBytes: 300_003,
			unsentBytes: 0,
		});
		peer.transport.destroy();
		expect(peer.transport.sentBytes).toBe(300_003);
	});

	it("tell that a link takes nothing more", async () => {
		const server = createServer({ pauseOnConnect: true });
		const peer = await dial({}, await listen(server));
		const bytes = Buffer.alloc(32 * 1024 * 1024);
		peer.transport.write([bytes]);
		await expect.poll(() => peer.transport.sentBytes).toBeGreaterThan(0);
		expect(peer.transport.unsentBytes).toBeGreaterThan(0);
		expect(peer.transport.sentBytes).toBeLessThan(bytes.length);
		peer.transport.destroy();
	});

	it("tell when the broker closes, and nothing after they were destroyed", async () => {
		const port = await listen(createServer((socket) => socket.on("data", () => socket.end("bye"))));
		const peer = await dial({}, port);
		peer.transport.write([Buffer.from("x")]);
		expect(await peer.closed).toBeUndefined();
		expect(peer.bytes.toString()).toBe("bye");
		const other = await dial({}, port);
		let told = false;
		void other.closed.then(() => {
			told = true;
		});
		other.transport.destroy();
		other.transport.write([Buffer.from("x")]);
		await new Promise(setImmediate);
		expect(told).toBe(false);
	});

	it("tell what kept them from being", async () => {
		const server = createServer();
		const port = await listen(server);
		await new Promise((resolve) => server.close(resolve));
		await expect(dial({}, port)).rejects.toMatchObject({
			name: "LinkError",
			failure: "unreachable",
			maybeSent: false,
			lasting: false,
			message: `nothing listens at 127.0.0.1:${port}`,
		});
		await expect(dial({ tls: TLS }, port)).rejects.toMatchObject({ failure: "unreachable" });
		await expect(dial({}, port, { host: "no.such.host.invalid" })).rejects.toThrow(/no\.such\.host\.invalid/);
	});

	it("end with the signal, before and while they come to be", async () => {
		const stop = new AbortController();
		const handler = { data: () => {}, closed: () => {} };
		// It answers no handshake.
		const port = await listen(createServer(() => stop.abort(new Error("enough"))));
		const opening = tcpDial({ tls: TLS }, new NodeDisk())({ host: "127.0.0.1", port }, handler, stop.signal);
		await expect(opening).rejects.toThrow("enough");
		const late = tcpDial({}, new NodeDisk())({ host: "127.0.0.1", port }, handler, stop.signal);
		await expect(late).rejects.toThrow("enough");
	});
});

describe("TLS to brokers", () => {
	it("counts what is on the wire, not what is in it", async () => {
		const counted = await meter(await tlsEcho());
		const peer = await dial({ tls: TLS }, counted.port);
		peer.transport.write([Buffer.alloc(200_000)]);
		await peer.receives(200_000);
		const { sentBytes, receivedBytes } = peer.transport;
		expect({ sentBytes, receivedBytes }).toEqual({ sentBytes: counted.up, receivedBytes: counted.down });
		expect(sentBytes).toBeGreaterThan(201_000);
		peer.transport.destroy();
		expect(peer.transport.sentBytes).toBe(sentBytes);
	});

	it("goes on with the session of the last connection, until a file changes", async () => {
		const reused: boolean[] = [];
		const server = createTlsServer(IDENTITY, (socket) => {
			reused.push(socket.isSessionReused());
			echo(socket);
		});
		const port = await listen(server as unknown as Server);
		const disk = new SimulatedDisk();
		const file = disk.open("/ca.pem", "create");
		file.write([read("authority.pem")], 0);
		const connectOnce = async (dialer: ReturnType<typeof tcpDial>): Promise<void> => {
			const answered = Promise.withResolvers<void>();
			const handler = { data: () => answered.resolve(), closed: () => {} };
			const transport = await dialer({ host: "127.0.0.1", port }, handler, never);
			transport.write([Buffer.from("x")]);
			await answered.promise;
			transport.destroy();
		};
		const dialer = tcpDial({ tls: { ca: "/ca.pem", insecure: false } }, disk);
		await connectOnce(dialer);
		await connectOnce(dialer);
		file.write([Buffer.concat([read("authority.pem"), Buffer.from("\n")])], 0);
		await connectOnce(dialer);
		expect(reused).toEqual([false, true, false]);
		file.write([Buffer.alloc(file.size(), read("another-authority.pem"))], 0);
		await expect(connectOnce(dialer)).rejects.toMatchObject({ failure: "tls" });
	});

	it("checks the certificate's name, or the one that it is told", async () => {
		const port = await tlsEcho();
		const other = dial({ tls: TLS }, port, { host: "localhost" });
		await expect(other).rejects.toMatchObject({ failure: "tls", lasting: true });
		await expect(other).rejects.toThrow(/is for another name/);
		const named = dial({ tls: { ...TLS, serverName: "broker.example" } }, port);
		await expect(named).rejects.toMatchObject({ action: expect.stringContaining("upstream.tls.server.name") });
		await dial({ tls: { ...TLS, insecure: true } }, port, { host: "localhost" });
	});

	it("does not trust whom it does not know", async () => {
		const port = await tlsEcho();
		const strange = dial({ tls: { ...TLS, ca: pem("another-authority.pem") } }, port);
		await expect(strange).rejects.toMatchObject({
			failure: "tls",
			lasting: true,
			action: expect.stringContaining("upstream.tls.ca"),
			wireBytes: { sent: expect.any(Number), received: expect.any(Number) },
		});
		await dial({ tls: { ca: pem("another-authority.pem"), insecure: true } }, port);
	});

	it("shows who it is where the broker wants to know", async () => {
		const port = await tlsEcho({ requestCert: true, ca: [read("authority.pem")] });
		const known = await dial({ tls: { ...TLS, certificate: pem("server.pem"), key: pem("server.key") } }, port);
		known.transport.write([Buffer.from("hello")]);
		expect((await known.receives(5)).toString()).toBe("hello");
		// With TLS 1.3 the refusal comes after the handshake.
		const nobody = await dial({ tls: TLS }, port);
		expect(await nobody.closed).toMatchObject({
			failure: "tls",
			lasting: true,
			action: expect.stringContaining("upstream.tls.certificate"),
		});
		const old = await tlsEcho({ requestCert: true, ca: [read("authority.pem")], maxVersion: "TLSv1.2" });
		await expect(dial({ tls: TLS }, old)).rejects.toMatchObject({ failure: "tls" });
	});

	it.each([
		["a key that is another's", { certificate: pem("authority.pem"), key: pem("server.key") }, /not the key of/],
		["a file that is not there", { ca: "/nowhere/ca.pem" }, /upstream\.tls\.ca: \/nowhere\/ca\.pem cannot be used/],
		["a file that is none", { ca: pem("README.md") }, /not a PEM file/],
		["a key that is a certificate", { certificate: pem("server.pem"), key: pem("server.pem") }, /cannot be used/],
	])("says what is wrong with %s", async (_what, files, why) => {
		const attempt = dial({ tls: { ...TLS, ...files } }, await tlsEcho());
		await expect(attempt).rejects.toMatchObject({ failure: "tls", lasting: true, action: expect.any(String) });
		await expect(attempt).rejects.toThrow(why);
	});

	it("is not spoken by every server", async () => {
		const http = await listen(
			createServer((socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad\r\n\r\n"))),
		);
		await expect(dial({ tls: TLS }, http)).rejects.toMatchObject({
			failure: "tls",
			lasting: true,
			message: expect.stringMatching(/does not speak TLS/),
		});
		const kafka = await listen(createServer((socket) => socket.once("data", () => socket.destroy())));
		await expect(dial({ tls: TLS }, kafka)).rejects.toMatchObject({
			failure: "tls",
			lasting: false,
			message: expect.stringMatching(/closed the connection before TLS was up/),
		});
	});

	it("is not spoken below version 1.2", async () => {
		const old = await tlsEcho({ maxVersion: "TLSv1.1", minVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
		await expect(dial({ tls: TLS }, old)).rejects.toMatchObject({ failure: "tls" });
	});
});

/** How a bridge connects: TLS, user name and password, versions, what it says when it cannot, and how often it tries. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { RawSocket } from "../mqtt/door.ts";
import { BridgedGateway, SiteBroker, until } from "./gateway.ts";

let folder = "";
const file = (name: string): string => join(folder, name);
const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

function openssl(...args: string[]): void {
	execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
}

/** A key and a certificate signed by the authority in ca.crt. */
function certificate(name: string, subject: string, alternative: string): void {
	openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
	writeFileSync(file(`${name}.ext`), `subjectAltName=${alternative}\n`);
	const signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
	openssl(
		"x509",
		"-req",
		"-in",
		`${name}.csr`,
		...signer,
		"-out",
		`${name}.crt`,
		"-days",
		"2",
		"-extfile",
		`${name}.ext`,
	);
}

beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "headwater-bridge-tls-"));
	openssl(
		"req",
		"-x509",
		"-newkey",
		"rsa:2048",
		"-nodes",
		"-keyout",
		"ca.key",
		"-out",
		"ca.crt",
		"-subj",
		"/CN=test authority",
		"-days",
		"2",
	);
	certificate("server", "/CN=localhost", "IP:127.0.0.1,DNS:broker.example.com");
	certificate("client", "/CN=gateway 7", "DNS:gateway7");
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(async () => {
	for (const one of open.splice(0).reverse()) await one.close();
});

async function listen(server: Server): Promise<number> {
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const sockets = new Set<Socket>();
	server.on("connection", (socket) => sockets.add(socket));
	kept({
		close: async () => {
			for (const socket of sockets) socket.destroy();
			await new Promise((resolve) => server.close(resolve));
		},
	});
	return (server.address() as { port: number }).port;
}

/** The other broker behind TLS. */
async function tlsPort(site: SiteBroker, options: TlsOptions = {}): Promise<number> {
	const server = createTlsServer(
		{ key: readFileSync(file("server.key")), cert: readFileSync(file("server.crt")), ...options },
		(socket) => site.aedes.handle(socket),
	);
	server.on("tlsClientError", () => {});
	return listen(server);
}

const out = [{ filter: "#" }];

describe("over TLS", () => {
	it("passes events to a broker whose authority is named, with a certificate of its own", async () => {
		const site = kept(await SiteBroker.open());
		const port = await tlsPort(site, { requestCert: true, rejectUnauthorized: true, ca: readFileSync(file("ca.crt")) });
		const tls = { ca: file("ca.crt"), certificate: file("client.crt"), key: file("client.key") };
		const gateway = kept(await BridgedGateway.open({ name: "s", address: `mqtts://127.0.0.1:${port}`, tls, out }));
		await gateway.connected();
		await gateway.publish("a", "1", "x".repeat(80_000), "3");
		await gateway.drained();
		expect(site.payloads("a").map((payload) => payload.length)).toEqual([1, 80_000, 1]);
	});

	it("refuses an unknown authority, a wrong name and a missing file, and says what would help", async () => {
		const site = kept(await SiteBroker.open());
		const port = await tlsPort(site);
		const cases: [object, RegExp][] = [
			[{}, /authority that is not known here.*tls\.ca/],
			[{ ca: file("ca.crt"), "server.name": "elsewhere.example.com" }, /for another name.*tls\.server\.name/],
			[{ ca: file("none.crt") }, /tls\.ca: .*none\.crt cannot be read/],
		];
		for (const [tls, reason] of cases) {
			const gateway = kept(await BridgedGateway.open({ name: "s", address: `mqtts://127.0.0.1:${port}`, tls, out }));
			await until(() => gateway.status.state === "waiting", "the refusal");
			expect(gateway.status.reason).toMatch(reason);
		}
		const tls = { ca: file("ca.crt"), "server.name": "broker.example.com" };
		const gateway = kept(await BridgedGateway.open({ name: "s", address: `mqtts://127.0.0.1:${port}`, tls, out }));
		await gateway.connected();
	});
});

describe("a bridge that is not let in", () => {
	it("says why, tries again ever more seldom, and comes in once it may", async () => {
		let tries = 0;
		let allowed = false;
		const site = kept(
			await SiteBroker.open({
				authenticate: (_client, username, password, done) => {
					tries++;
					const right = allowed && username === "gw" && String(password) === "secret";
					if (right) done(null, true);
					else done(Object.assign(new Error("no"), { returnCode: 4 as const }), false);
				},
			}),
		);
		writeFileSync(file("password"), "secret\n");
		const login = { username: "gw", "password.file": file("password") };
		const gateway = kept(
			await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${site.port}`, ...login, out }),
		);
		await until(() => gateway.status.state === "waiting", "the refusal");
		expect(gateway.status.reason).toContain("bad user name or password (0x86)");
		expect(gateway.status.nextTryMs! - gateway.status.sinceMs).toBeGreaterThanOrEqual(5000);
		for (let second = 0; second < 600; second++) {
			gateway.test.clock.advance(1000);
			// The clock stands while it connects: else that would time out by it, now and then.
			if (gateway.status.state !== "waiting") await until(() => gateway.status.state === "waiting", "the next refusal");
		}
		// Waits of 10, 20, 40 and then 60 s, each or half of it: 12 to 22 tries in ten minutes.
		expect(tries).toBeGreaterThan(10);
		expect(tries).toBeLessThan(24);
		allowed = true;
		await gateway.connected();
	});

	it("tells of another client with its client id, and does not fight over it", async () => {
		const remote = kept(await BridgedGateway.open());
		const gateway = kept(
			await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${remote.test.port}`, out }),
		);
		await gateway.connected();
		await remote.test.client({ clientId: "headwater-s", protocolVersion: 5 });
		await until(() => gateway.status.state === "waiting", "the end of the connection");
		expect(gateway.status.reason).toContain("another client has the same client.id");
		expect(gateway.status.nextTryMs! - gateway.status.sinceMs).toBeGreaterThanOrEqual(5000);
	});

	it("waits where nobody listens, and where nobody answers", async () => {
		const gone = await SiteBroker.open();
		await gone.close();
		const nobody = kept(await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${gone.port}`, out }));
		await until(() => nobody.status.state === "waiting", "the refusal");
		expect(nobody.status.reason).toBe(`nothing listens at 127.0.0.1:${gone.port}`);
		const port = await listen(createTcpServer(() => {}));
		const silent = kept(await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${port}`, out }));
		await silent.until(() => silent.status.state === "waiting", "patience to end");
		expect(silent.status.reason).toBe("it does not answer CONNECT");
	});
});

describe("versions", () => {
	/** What a server that only takes some protocol levels hears, level by level. */
	async function levelsHeard(
		answer: (level: number, socket: RawSocket) => void,
	): Promise<{ port: number; levels: number[] }> {
		const levels: number[] = [];
		const server = createTcpServer(async (socket) => {
			const raw = new RawSocket(socket);
			const head = await raw.take(2);
			const connect = await raw.take(head[1]!);
			levels.push(connect[6]!);
			answer(connect[6]!, raw);
		});
		return { port: await listen(server), levels };
	}

	it("goes from 5 to 3.1.1 as a bridge to plain 3.1.1 where each is refused, at once", async () => {
		const { port, levels } = await levelsHeard((level, socket) => {
			if (level === 4) socket.send(0x20, 2, 0, 0);
			else socket.socket.end(Buffer.of(0x20, 2, 0, 1));
		});
		const gateway = kept(await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${port}`, out }));
		await until(() => gateway.status.state === "connected", "the connection");
		expect(levels).toEqual([5, 0x84, 4]);
		expect(gateway.status.protocol).toBe("MQTT 3.1.1");
	});

	it("tries another version also where the broker only closes", async () => {
		const { port } = await levelsHeard((level, socket) => {
			if (level === 4) socket.send(0x20, 2, 0, 0);
			else socket.socket.destroy();
		});
		const gateway = kept(await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${port}`, out }));
		await gateway.until(() => gateway.status.state === "connected", "the connection");
		expect(gateway.status.protocol).toBe("MQTT 3.1.1");
	});

	it("ends a connection whose other end is gone without a word", async () => {
		let pings = 0;
		const { port } = await levelsHeard((_level, socket) => {
			socket.send(0x20, 3, 0, 0, 0);
			socket.socket.on("data", (chunk: Buffer) => {
				if (chunk[0] === 0xc0) pings++;
			});
		});
		const spec = { name: "s", address: `mqtt://127.0.0.1:${port}`, "keep.alive.seconds": 20, out };
		const gateway = kept(await BridgedGateway.open(spec));
		await until(() => gateway.status.state === "connected", "the connection");
		await gateway.until(() => gateway.status.state === "waiting", "the end");
		expect(gateway.status.reason).toBe("it does not answer PINGREQ");
		expect(pings).toBe(1);
	});
});

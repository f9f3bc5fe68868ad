/**
 * The HTTP door: one listener for everything that speaks HTTP. It answers a few pages itself and hands requests for an upgrade
 * to whoever registered the path, so it knows nothing of the protocols behind them. It promises: no request is served for
 * a web page that may not connect (src/admin/origins.ts); a peer that sends slowly or too much is dropped by limits that
 * hold before anything is kept for it. Node's HTTP server is made with the first connection: a gateway that nobody
 * visits does not carry it.
 */
import type { Server as HttpServer, IncomingMessage } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import { listen } from "../base/listen.ts";
import type { Logger } from "../base/logger.ts";
import { refuseUpgrade, send } from "./answers.ts";
import { isLoopback, OriginRules } from "./origins.ts";

export interface HttpOptions {
	readonly host: string;
	/** 0: a free one. */
	readonly port: number;
	/** `http.allowed.origins`. */
	readonly allowedOrigins: string;
	/** Bytes that a socket takes before it counts as not drained; those who take sockets over rely on theirs. */
	readonly highWaterMark: number;
	/** How long the head of a request may take; default 10,000. */
	readonly headersTimeoutMs?: number;
}

export interface HttpServices {
	readonly clock: Clock;
	readonly logger: Logger;
}

/** Takes over an upgraded connection, or answers `refuse` once and leaves it alone. */
export type UpgradeHandler = (
	request: IncomingMessage,
	socket: Socket,
	head: Buffer,
	refuse: (status: number, text: string) => void,
) => void;

const MAX_HEADER_BYTES = 8192;
const MAX_HEADERS = 64;
const HEADERS_TIMEOUT_MS = 10_000;
/** The body may take as long again; nothing here reads one. */
const REQUEST_TIMEOUT_FACTOR = 2;
const KEEP_ALIVE_MS = 5000;
/** How often, in the time of a head, connections are looked through for those whose time is over. */
const CHECKS = 2;
/** Connections that speak HTTP at one time; upgraded ones are their new owner's to count. */
const MAX_CONNECTIONS = 256;
/** How long `stop` waits for upgraded connections, which others close. */
const STOP_GRACE_MS = 2000;

export class HttpDoor {
	readonly #options: HttpOptions;
	readonly #services: HttpServices;
	readonly #origins: OriginRules;
	readonly #server: Server;
	readonly #upgrades = new Map<string, { readonly handler: UpgradeHandler; readonly what: string }>();
	/** All that are open, and those of them that still speak HTTP. */
	readonly #sockets = new Set<Socket>();
	readonly #speaking = new Set<Duplex>();
	#http: HttpServer | undefined;
	#loopback = true;

	/** Throws StartError for origins that are none. */
	constructor(options: HttpOptions, services: HttpServices) {
		this.#options = options;
		this.#services = services;
		this.#origins = OriginRules.parse(options.allowedOrigins);
		this.#server = createServer({ noDelay: true, highWaterMark: options.highWaterMark }, (socket) =>
			this.#accept(socket),
		);
	}

	/** Upgrades to WebSocket at `path` go to `handler`; `what` names them for people. */
	onUpgrade(path: string, what: string, handler: UpgradeHandler): void {
		this.#upgrades.set(path, { handler, what });
	}

	/** Listens; the address, "127.0.0.1:9480". Rejects with Node's own error when it cannot. */
	async start(): Promise<string> {
		const server = this.#server;
		const { host, port } = this.#options;
		const { address, text } = await listen(server, {
			host,
			port,
			failed: (error) => this.#services.logger.error("the HTTP listener failed", { error: String(error) }),
		});
		this.#loopback = isLoopback(address);
		return text;
	}

	/** Takes no more and closes what speaks HTTP; waits, not for long, for those who took connections over. */
	async stop(): Promise<void> {
		const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
		for (const socket of this.#speaking) socket.destroy();
		const grace = this.#services.clock.after(STOP_GRACE_MS, () => {
			for (const socket of this.#sockets) socket.destroy();
		});
		await closed;
		grace.cancel();
		this.#http?.close();
	}

	#accept(socket: Socket): void {
		if (this.#speaking.size >= MAX_CONNECTIONS) {
			socket.on("error", () => undefined);
			socket.destroy();
			return;
		}
		this.#sockets.add(socket);
		this.#speaking.add(socket);
		socket.once("close", () => {
			this.#sockets.delete(socket);
			this.#speaking.delete(socket);
		});
		this.#http ??= this.#createHttpServer();
		this.#http.emit("connection", socket);
	}

	#createHttpServer(): HttpServer {
		// Synchronous, so that no socket has to wait for an import; it costs 1.5 MB resident.
		const http = process.getBuiltinModule("node:http");
		const { headersTimeoutMs = HEADERS_TIMEOUT_MS } = this.#options;
		const server = http.createServer({
			maxHeaderSize: MAX_HEADER_BYTES,
			headersTimeout: headersTimeoutMs,
			requestTimeout: headersTimeoutMs * REQUEST_TIMEOUT_FACTOR,
			keepAliveTimeout: KEEP_ALIVE_MS,
			connectionsCheckingInterval: headersTimeoutMs / CHECKS,
			// Any other upgrade that is offered, such as HTTP/2, is not taken: the request is answered as it is (RFC 9110, 7.8).
			shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === "websocket",
		});
		server.maxHeadersCount = MAX_HEADERS;
		server.on("request", (request, response) => {
			const { status, text, headers } = this.#answer(request);
			send(response, status, text, { ...headers, ...bodyRules(request) });
		});
		server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket as Socket, head));
		// The time-outs begin when a server listens; this one is handed its sockets.
		server.emit("listening");
		return server;
	}

	#answer(request: IncomingMessage): { status: number; text: string; headers?: Record<string, string> } {
		const refusal = this.#refusal(request);
		if (refusal !== undefined) return { status: 403, text: refusal };
		const path = pathOf(request);
		const upgrade = this.#upgrades.get(path);
		if (upgrade === undefined && path !== "/healthz") return { status: 404, text: this.#whatThereIs() };
		if (request.method !== "GET" && request.method !== "HEAD") {
			return { status: 405, text: `${path} takes GET.\n`, headers: { allow: "GET, HEAD" } };
		}
		if (upgrade === undefined) return { status: 200, text: "ok\n" };
		return {
			status: 426,
			text: `${path} is ${upgrade.what}: open it as a WebSocket, as ws://${request.headers.host ?? "HOST:PORT"}${path}, not as a page.\n`,
			headers: { upgrade: "websocket", connection: "upgrade, close" },
		};
	}

	#upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
		this.#speaking.delete(socket);
		const refuse = (status: number, text: string): void => refuseUpgrade(socket, status, text);
		const refusal = this.#refusal(request);
		const upgrade = this.#upgrades.get(pathOf(request));
		if (refusal !== undefined) refuse(403, refusal);
		else if (upgrade === undefined) refuse(404, this.#whatThereIs());
		else upgrade.handler(request, socket, head, refuse);
	}

	/** Why this request is for a web page that may not connect; undefined: it may. */
	#refusal({ headers }: IncomingMessage): string | undefined {
		const { host } = headers;
		// Version 8 of the protocol, which `ws` takes too, has the origin under another name.
		const origin = headers.origin ?? headers["sec-websocket-origin"];
		// A name can be made to point here by whoever owns it (DNS rebinding), and his page then has the "same" origin.
		if ((this.#loopback || origin !== undefined) && host !== undefined && !this.#origins.knows(host)) {
			return "The HTTP door is reached as localhost or by an address, not by this name.\nA page that has to use the name is listed in http.allowed.origins.\n";
		}
		if (origin === undefined || this.#origins.allows(String(origin), host)) return undefined;
		return "Web pages of this origin may not connect. http.allowed.origins lists those that may, besides pages of this host and port.\n";
	}

	#whatThereIs(): string {
		const rows = [["/healthz", "answers ok while the gateway runs"]];
		for (const [path, { what }] of this.#upgrades) rows.push([path, what]);
		return `There is no such page. There is:\n${rows.map(([path, what]) => `  ${path}  ${what}\n`).join("")}`;
	}
}

/** A body that nobody reads ends its connection. */
function bodyRules(request: IncomingMessage): Record<string, string> {
	const { "content-length": length = "0", "transfer-encoding": encoding } = request.headers;
	return length === "0" && encoding === undefined ? {} : { connection: "close" };
}

function pathOf(request: IncomingMessage): string {
	const url = request.url ?? "/";
	const query = url.indexOf("?");
	return query < 0 ? url : url.slice(0, query);
}

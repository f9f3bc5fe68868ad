/**
 * Sockets to brokers, over TCP or TLS. Certificates and keys are read at every connection, so that renewed ones need no
 * restart. Bytes are counted where they cost: below TLS. What goes wrong is told in words that say what to change.
 */
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Disk } from "../../../src/base/disk.ts";
import { readSmallFile } from "../../../src/base/small-file.ts";
import type { Address } from "../../../src/config/definition.ts";
import { LinkError } from "./link-error.ts";
import { explainTls, explainUnreachable, isTlsFault, place } from "./link-faults.ts";
import type { Dial, Transport, TransportHandler } from "./transport.ts";

export interface SecurityOptions {
	/** Left out: no TLS. */
	readonly tls?: TlsOptions | undefined;
}

/** Paths of files in PEM. */
interface TlsOptions {
	readonly ca?: string | undefined;
	readonly certificate?: string | undefined;
	readonly key?: string | undefined;
	/** The name that the broker's certificate must have, where it is not the one connected to. */
	readonly serverName?: string | undefined;
	/** Takes any certificate. */
	readonly insecure: boolean;
}

/**
 * How long the next address of a name waits for one that does not answer: by satellite an answer takes most of a second, and
 * Node's own quarter of one would give up each address in turn.
 */
const ADDRESS_MS = 3000;
/** Given to the socket at once. */
const WRITE_BYTES = 65_536;

/** The files' contents, as they are now. */
interface Identity {
	readonly ca: Buffer | undefined;
	readonly cert: Buffer | undefined;
	readonly key: Buffer | undefined;
}

export function tcpDial(security: SecurityOptions, disk: Disk): Dial {
	const { tls } = security;
	if (tls === undefined) return (address, handler, signal) => open(address, handler, signal);
	const sessions = new Sessions();
	return async (address, handler, signal) => {
		const identity = {
			ca: readPem(disk, tls.ca, "upstream.tls.ca"),
			cert: readPem(disk, tls.certificate, "upstream.tls.certificate"),
			key: readPem(disk, tls.key, "upstream.tls.key"),
		};
		// Loaded with the first connection that needs it: it takes memory for good.
		const node = await import("node:tls");
		return await open(address, handler, signal, (wire) => {
			const socket = node.connect({
				socket: wire,
				// Where there is no server name, the certificate is checked against this.
				host: address.host,
				...identity,
				servername: tls.serverName ?? (isIpAddress(address.host) ? "" : address.host),
				rejectUnauthorized: !tls.insecure,
				minVersion: "TLSv1.2",
				session: sessions.of(address, identity),
			});
			socket.on("session", (session) => sessions.keep(address, session));
			return socket;
		});
	};
}

/** Makes a connected socket one that is encrypted; may throw. */
type Secure = (wire: Socket) => TLSSocket;

function open(
	address: Address,
	handler: TransportHandler,
	signal: AbortSignal,
	secure?: Secure,
): Promise<SocketTransport> {
	return new Promise((resolve, reject) => {
		signal.throwIfAborted();
		const aborted = (): void => {
			transport.destroy();
			reject(signal.reason);
		};
		signal.addEventListener("abort", aborted);
		const transport = new SocketTransport(address, handler, secure, (error) => {
			signal.removeEventListener("abort", aborted);
			if (error === undefined) resolve(transport);
			else reject(error);
		});
	});
}

class SocketTransport implements Transport {
	readonly #handler: TransportHandler;
	readonly #place: string;
	/** Whose bytes count. */
	readonly #wire: Socket;
	/** Who takes what is written: the wire, or TLS over it. */
	#socket: Socket;
	/** Told once how opening went. */
	#opened: ((error: LinkError | undefined) => void) | undefined;
	#over = false;
	#queue: Uint8Array[] = [];
	#unsentBytes = 0;
	#isWriting = false;

	constructor(
		address: Address,
		handler: TransportHandler,
		secure: Secure | undefined,
		opened: (error: LinkError | undefined) => void,
	) {
		this.#handler = handler;
		this.#place = place(address);
		this.#opened = opened;
		this.#wire = connect({ ...address, noDelay: true, autoSelectFamilyAttemptTimeout: ADDRESS_MS });
		this.#socket = this.#wire;
		this.#watch(this.#wire);
		this.#wire.once("connect", () => {
			if (this.#over) return;
			if (secure === undefined) this.#up();
			else this.#upgrade(secure);
		});
	}

	get sentBytes(): number {
		// What waits in Node counts as written there.
		return Math.max(0, this.#wire.bytesWritten - this.#wire.writableLength);
	}

	get receivedBytes(): number {
		return this.#wire.bytesRead;
	}

	get unsentBytes(): number {
		return this.#unsentBytes;
	}

	write(parts: readonly Uint8Array[]): void {
		if (this.#over) return;
		for (const part of parts) {
			this.#unsentBytes += part.length;
			for (let at = 0; at < part.length; at += WRITE_BYTES) this.#queue.push(part.subarray(at, at + WRITE_BYTES));
		}
		if (!this.#isWriting) this.#writeNext();
	}

	destroy(): void {
		this.#over = true;
		this.#queue = [];
		this.#socket.destroy();
		this.#wire.destroy();
	}

	/** A slice at a time, so that it can be seen whether a slow link still takes them. */
	#writeNext(): void {
		const slice: Uint8Array[] = [];
		let bytes = 0;
		for (let part = this.#queue[0]; part !== undefined && bytes + part.length <= WRITE_BYTES; part = this.#queue[0]) {
			slice.push(part);
			bytes += part.length;
			this.#queue.shift();
		}
		this.#isWriting = bytes > 0;
		if (!this.#isWriting) return;
		const last = slice.pop() as Uint8Array;
		this.#socket.cork();
		for (const part of slice) this.#socket.write(part);
		this.#socket.write(last, () => {
			if (this.#over) return;
			this.#unsentBytes -= bytes;
			this.#writeNext();
		});
		this.#socket.uncork();
	}

	#watch(socket: Socket): void {
		const ended = (error?: NodeJS.ErrnoException): void => {
			// Of the wire below TLS, only TLS's own view of it counts.
			if (socket === this.#socket) this.#ended(error);
		};
		socket.on("error", ended);
		// The peer has closed its side: nothing that is written from now on arrives. During a handshake an error follows that says more.
		socket.on("end", () => {
			if (this.#opened === undefined) ended();
		});
		socket.on("close", () => ended());
	}

	#upgrade(secure: Secure): void {
		try {
			this.#socket = secure(this.#wire);
		} catch (error) {
			this.#ended(error as Error, true);
			return;
		}
		this.#watch(this.#socket);
		this.#socket.once("secureConnect", () => {
			if (!this.#over) this.#up();
		});
	}

	#up(): void {
		this.#socket.on("data", (bytes) => {
			if (!this.#over) this.#handler.data(bytes);
		});
		this.#opened?.(undefined);
		this.#opened = undefined;
	}

	#ended(error: NodeJS.ErrnoException | undefined, isTls = this.#socket !== this.#wire): void {
		if (this.#over) return;
		this.destroy();
		if (this.#opened !== undefined) {
			const why = error ?? new Error("the connection was closed");
			const wireBytes = { sent: this.sentBytes, received: this.receivedBytes };
			this.#opened(isTls ? explainTls(why, this.#place, wireBytes) : explainUnreachable(why, this.#place));
		} else this.#handler.closed(error !== undefined && isTlsFault(error) ? explainTls(error, this.#place) : error);
	}
}

/**
 * A TLS session goes on where the last one to the same address ended: that spares certificates, thousands of bytes, on the
 * way. Not where any of the files has changed since: what they prove has to be proved anew.
 */
class Sessions {
	readonly #byAddress = new Map<string, Buffer>();
	#identity: Identity | undefined;

	of(address: Address, identity: Identity): Buffer | undefined {
		if (this.#identity === undefined || !isSame(this.#identity, identity)) this.#byAddress.clear();
		this.#identity = identity;
		return this.#byAddress.get(place(address));
	}

	keep(address: Address, session: Buffer): void {
		this.#byAddress.set(place(address), session);
	}
}

function isSame(a: Identity, b: Identity): boolean {
	const same = (x: Buffer | undefined, y: Buffer | undefined): boolean =>
		x === undefined || y === undefined ? x === y : x.equals(y);
	return same(a.ca, b.ca) && same(a.cert, b.cert) && same(a.key, b.key);
}

function isIpAddress(host: string): boolean {
	return host.includes(":") || /^[\d.]+$/.test(host);
}

function readPem(disk: Disk, file: string | undefined, key: string): Buffer | undefined {
	if (file === undefined) return undefined;
	try {
		const text = readSmallFile(disk, file);
		// Node takes a file of authorities that has none without a word, and then knows no authority at all.
		if (!text.includes("-----BEGIN ")) throw new Error("it is not a PEM file: no line begins with -----BEGIN");
		return text;
	} catch (error) {
		throw new LinkError("tls", `${key}: ${file} cannot be used: ${(error as Error).message}`, {
			lasting: true,
			action: `put a PEM file there that the gateway may read, or change ${key}`,
			cause: error,
		});
	}
}

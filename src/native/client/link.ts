/**
 * One connection of the client: hello, frames both ways, pings, and noticing that the gateway has gone.
 * A link is opened once and closes once; connecting again is the client's matter.
 */
import { connect as connectSocket, type Socket } from "node:net";
import { type Decode, loadDecoder } from "../codec/decode.ts";
import { FrameReader } from "../codec/frames.ts";
import { MESSAGE, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, ProtocolError } from "../codec/protocol.ts";
import { checkShape, type Shape } from "../codec/shape.ts";
import { ANSWER_LIMITS } from "../codec/validate.ts";
import { type CborValue, CborWriter } from "../codec/writer.ts";
import { HeadwaterError } from "./errors.ts";

/** The largest frame that this client takes, bytes. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;
const HELLO_ID = 1;

export type Fields = ReadonlyMap<number, unknown>;

export interface LinkSpec {
	readonly host: string;
	readonly port: number;
	readonly clientId: string;
	/** Of an earlier connection. */
	readonly epoch: number | undefined;
	readonly token: string | undefined;
	readonly timeoutMs: number;
	readonly signal: AbortSignal | undefined;
}

export interface Greeting {
	readonly software: string;
	readonly maxFrameBytes: number;
	readonly idleMs: number;
	readonly epoch: number;
	readonly lastSequence: number;
	readonly window: number;
}

export interface LinkOwner {
	/** An answer or a push; `frameBytes` is the frame's length. A ProtocolError thrown closes the link. */
	received(type: number, id: number, body: Fields, frameBytes: number): void;
	/** Once, after the link was open. */
	lost(link: Link, error: HeadwaterError): void;
}

const greetingShape: Shape = {
	kind: "body",
	fields: {
		0: { name: "version", shape: { kind: "uint", min: PROTOCOL_VERSION_MIN, max: PROTOCOL_VERSION_MAX } },
		1: { name: "software", shape: { kind: "text" } },
		2: { name: "largest frame", shape: { kind: "uint", min: 1 } },
		3: { name: "idle time", shape: { kind: "uint", min: 1 } },
		6: { name: "epoch", shape: { kind: "uint" } },
		7: { name: "last sequence", shape: { kind: "uint" } },
		8: { name: "window", shape: { kind: "uint", min: 1 } },
	},
};

const messageShape: Shape = {
	kind: "tuple",
	of: [
		["type", { kind: "uint" }],
		["id", { kind: "uint" }],
		["body", { kind: "body", fields: {} }],
	],
};

/** The body of an error message as the error it stands for. */
export function errorOf(body: Fields): HeadwaterError {
	return new HeadwaterError(
		String(body.get(1) ?? "UNKNOWN_SERVER_ERROR"),
		String(body.get(2) ?? "the gateway gave no reason"),
	);
}

/** Connects and greets; rejects with a HeadwaterError. */
export async function openLink(spec: LinkSpec, owner: LinkOwner): Promise<Link> {
	const decode = await loadDecoder(ANSWER_LIMITS, { copyBytes: true });
	if (spec.signal?.aborted) throw new HeadwaterError("ABORTED", "connecting was given up");
	const link = new Link(spec, owner, decode);
	await link.opened;
	return link;
}

export class Link {
	greeting: Greeting | undefined;
	readonly opened: Promise<void>;
	readonly #spec: LinkSpec;
	readonly #owner: LinkOwner;
	readonly #decode: Decode;
	readonly #socket: Socket;
	readonly #frames = new FrameReader(MAX_FRAME_BYTES);
	#settle: { resolve(): void; reject(error: Error): void } | undefined;
	#timer: NodeJS.Timeout | undefined;
	#closed = false;
	#heardMs = 0;
	#sentMs = 0;
	readonly #abort = () => this.close(new HeadwaterError("ABORTED", "connecting was given up"));

	constructor(spec: LinkSpec, owner: LinkOwner, decode: Decode) {
		this.#spec = spec;
		this.#owner = owner;
		this.#decode = decode;
		this.opened = new Promise((resolve, reject) => {
			this.#settle = { resolve, reject };
		});
		const place = `${spec.host}:${spec.port}`;
		this.#timer = setTimeout(
			() => this.close(new HeadwaterError("TIMEOUT", `no answer from ${place} within ${spec.timeoutMs} ms`)),
			spec.timeoutMs,
		);
		spec.signal?.addEventListener("abort", this.#abort, { once: true });
		this.#socket = connectSocket({ host: spec.host, port: spec.port, noDelay: true });
		this.#socket.on("connect", () => this.#hello());
		this.#socket.on("data", (chunk: Buffer) => this.#data(chunk));
		this.#socket.on("error", (error: NodeJS.ErrnoException) => this.close(socketError(error, place)));
		this.#socket.on("close", () =>
			this.close(new HeadwaterError("CONNECTION_LOST", `the gateway at ${place} closed the connection`)),
		);
	}

	send(frame: Buffer): void {
		if (this.#closed) return;
		this.#sentMs = performance.now();
		this.#socket.write(frame);
	}

	/** Sends what was written, then closes. */
	finish(): void {
		this.#socket.end();
	}

	close(error: HeadwaterError): void {
		if (this.#closed) return;
		this.#closed = true;
		clearTimeout(this.#timer);
		this.#spec.signal?.removeEventListener("abort", this.#abort);
		this.#socket.destroy();
		if (this.#settle) this.#settle.reject(error);
		else this.#owner.lost(this, error);
	}

	#hello(): void {
		const { clientId, epoch, token } = this.#spec;
		const fields = new Map<number, CborValue>([
			[0, PROTOCOL_VERSION_MIN],
			[1, PROTOCOL_VERSION_MAX],
			[2, clientId],
			[3, "headwater-client"],
			[6, MAX_FRAME_BYTES],
		]);
		if (token !== undefined) fields.set(4, token);
		if (epoch !== undefined) fields.set(7, epoch);
		this.send(new CborWriter().beginMessage(MESSAGE.HELLO, HELLO_ID).value(fields).endFrame().take());
	}

	#data(chunk: Buffer): void {
		this.#heardMs = performance.now();
		try {
			this.#frames.push(chunk);
			for (let frame = this.#frames.next(); frame !== undefined && !this.#closed; frame = this.#frames.next()) {
				this.#frame(frame);
			}
		} catch (error) {
			const text = error instanceof ProtocolError ? error.message : String(error);
			const what = `what answers at ${this.#spec.host}:${this.#spec.port} does not speak the native protocol: ${text}`;
			this.close(new HeadwaterError("PROTOCOL_ERROR", what));
		}
	}

	#frame(frame: Buffer): void {
		const message = this.#decode(frame);
		checkShape(message, messageShape, "message");
		const [type, id, body] = message as [number, number, Fields];
		if (type === MESSAGE.ERROR && id === 0) this.close(errorOf(body));
		else if (this.#settle) this.#greeted(type, id, body);
		else if (type !== MESSAGE.PING) this.#owner.received(type, id, body, frame.length);
	}

	#greeted(type: number, id: number, body: Fields): void {
		if (type !== MESSAGE.HELLO || id !== HELLO_ID) throw new ProtocolError("INVALID_REQUEST", "no answer to hello");
		checkShape(body, greetingShape, "hello");
		this.greeting = {
			software: body.get(1) as string,
			maxFrameBytes: body.get(2) as number,
			idleMs: body.get(3) as number,
			epoch: body.get(6) as number,
			lastSequence: body.get(7) as number,
			window: body.get(8) as number,
		};
		clearTimeout(this.#timer);
		this.#spec.signal?.removeEventListener("abort", this.#abort);
		this.#watch(this.greeting.idleMs);
		this.#settle?.resolve();
		this.#settle = undefined;
	}

	/** Pings when nothing was sent for a third of the idle time; nothing heard for all of it: the gateway has gone. */
	#watch(idleMs: number): void {
		const step = idleMs / 3;
		this.#timer = setInterval(() => {
			const now = performance.now();
			if (now - this.#heardMs > idleMs) {
				const place = `${this.#spec.host}:${this.#spec.port}`;
				this.close(new HeadwaterError("CONNECTION_LOST", `nothing was heard from ${place} for ${idleMs} ms`));
			} else if (now - this.#sentMs >= step || now - this.#heardMs >= step) this.#ping();
		}, step);
		this.#timer.unref();
	}

	#ping(): void {
		this.send(new CborWriter(16).beginMessage(MESSAGE.PING, HELLO_ID).map(0).endFrame().take());
	}
}

function socketError(error: NodeJS.ErrnoException, place: string): HeadwaterError {
	const options = { cause: error };
	if (error.code === "ECONNREFUSED" || error.code === "ENOTFOUND" || error.code === "EHOSTUNREACH") {
		const what = error.code === "ENOTFOUND" ? `there is no host ${place}` : `no gateway answers at ${place}`;
		return new HeadwaterError("CONNECTION_LOST", `${what}: start one with \`headwater start\``, options);
	}
	return new HeadwaterError("CONNECTION_LOST", `the connection to ${place} failed: ${error.message}`, options);
}

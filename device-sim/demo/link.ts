/**
 * The link between gateway and hub: a TCP relay that can be cut as a mobile link is. Nothing says that it is gone.
 * Of what is under way then, requests still arrive and their answers do not: whether a transaction was committed
 * is for the gateway to find out. What is connected when the link comes back is reset, as by a network that gave out
 * a new address.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { GatewayError } from "../gateway-process.ts";

const HOST = "127.0.0.1";
/** How long a cut waits for one more request to let through. */
const LAST_REQUEST_MS = 1000;

interface Pair {
	readonly near: Socket;
	/** undefined: it came while the link was cut. */
	readonly far: Socket | undefined;
}

export class Link {
	readonly host = HOST;
	readonly port: number;
	readonly #server: Server;
	readonly #pairs = new Set<Pair>();
	/** `deaf`: nothing comes back any more; `cut`: nothing goes there either. */
	#state: "open" | "deaf" | "cut" = "open";
	#deafTimer: NodeJS.Timeout | undefined;
	#hubPort = 0;
	/** To the hub, as bytes of TCP's streams. */
	bytesUp = 0;
	/** That came while it was cut, from either side, and got no further. */
	bytesLost = 0;

	private constructor(server: Server, port: number) {
		this.#server = server;
		this.port = port;
		server.on("connection", (socket) => this.#accept(socket));
	}

	/** Listens; where it leads to is said later. */
	static async open(): Promise<Link> {
		const server = createServer({ noDelay: true });
		await new Promise<void>((resolve, reject) => {
			server.once("error", reject);
			server.listen(0, HOST, resolve);
		});
		const address = server.address();
		if (address === null || typeof address === "string") throw new GatewayError("no port for the link");
		return new Link(server, address.port);
	}

	leadTo(hubPort: number): void {
		this.#hubPort = hubPort;
	}

	get isCut(): boolean {
		return this.#state !== "open";
	}

	cut(): void {
		if (this.#state !== "open") return;
		this.#state = "deaf";
		this.#deafTimer = setTimeout(() => this.#silence(), LAST_REQUEST_MS);
	}

	restore(): void {
		if (this.#state === "open") return;
		clearTimeout(this.#deafTimer);
		this.#state = "open";
		this.#reset();
	}

	async close(): Promise<void> {
		clearTimeout(this.#deafTimer);
		this.#reset();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#silence(): void {
		clearTimeout(this.#deafTimer);
		this.#state = "cut";
	}

	#reset(): void {
		for (const { near, far } of this.#pairs) {
			near.resetAndDestroy();
			far?.resetAndDestroy();
		}
		this.#pairs.clear();
	}

	#accept(near: Socket): void {
		const far = this.#state === "open" ? connect({ host: HOST, port: this.#hubPort, noDelay: true }) : undefined;
		const pair: Pair = { near, far };
		this.#pairs.add(pair);
		const over = () => {
			// A link that is cut does not tell the other side.
			if (this.#state !== "open" || !this.#pairs.delete(pair)) return;
			near.destroy();
			far?.destroy();
		};
		for (const socket of far ? [near, far] : [near]) {
			socket.on("error", over);
			socket.on("close", over);
		}
		near.on("data", (bytes) => this.#up(pair, bytes));
		near.on("drain", () => far?.resume());
		far?.on("data", (bytes) => {
			if (this.#state !== "open") this.bytesLost += bytes.length;
			else if (!near.write(bytes)) far.pause();
		});
		far?.on("drain", () => near.resume());
	}

	#up({ near, far }: Pair, bytes: Buffer): void {
		if (this.#state === "cut" || !far) {
			this.bytesLost += bytes.length;
			return;
		}
		this.bytesUp += bytes.length;
		if (!far.write(bytes)) near.pause();
		if (this.#state === "deaf") this.#silence();
	}
}

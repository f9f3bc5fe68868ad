/** A link between a gateway and one broker, that counts what passes and can be cut without anybody being told. */
import { connect, createServer, type Server, type Socket } from "node:net";

const HOST = "127.0.0.1";

export class Relay {
	readonly port: number;
	up = 0;
	down = 0;
	connections = 0;
	/** What passes takes so long each way, as over a mobile link. */
	delayMs = 0;
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	#to = 0;
	#isCut = false;

	private constructor(server: Server, port: number) {
		this.#server = server;
		this.port = port;
		server.on("connection", (near) => this.#accept(near));
	}

	static async open(): Promise<Relay> {
		const server = createServer({ noDelay: true });
		await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
		const address = server.address();
		if (address === null || typeof address === "string") throw new Error("no port");
		return new Relay(server, address.port);
	}

	leadTo(port: number): void {
		this.#to = port;
	}

	get bootstrap(): string {
		return `${HOST}:${this.port}`;
	}

	/** What comes from either side from now on is lost, and answers under way too, not requests; the sockets stay. */
	cut(): void {
		this.#isCut = true;
	}

	/** Those that were cut are reset: new ones pass. */
	restore(): void {
		this.#isCut = false;
		for (const socket of this.#sockets) socket.resetAndDestroy();
	}

	async close(): Promise<void> {
		this.restore();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#accept(near: Socket): void {
		this.connections += 1;
		const far = connect({ host: HOST, port: this.#to, noDelay: true });
		const relay = (from: Socket, to: Socket, isRequest: boolean): void => {
			this.#sockets.add(from);
			from.on("error", () => undefined);
			from.on("close", () => {
				this.#sockets.delete(from);
				if (!this.#isCut) to.destroy();
			});
			from.on("data", (bytes) => {
				if (this.#isCut) return;
				if (isRequest) this.up += bytes.length;
				else this.down += bytes.length;
				const pass = (): void => {
					if ((isRequest || !this.#isCut) && !to.destroyed && !to.write(bytes)) from.pause();
				};
				if (this.delayMs === 0) pass();
				else setTimeout(pass, this.delayMs);
			});
			to.on("drain", () => from.resume());
		};
		relay(near, far, true);
		relay(far, near, false);
	}
}

/** A TCP proxy that counts the bytes that pass it: what a link really costs, whatever either side says of itself. */
import { once } from "node:events";
import net from "node:net";

const HOST = "127.0.0.1";

export class CountedLink {
	readonly port: number;
	readonly #server: net.Server;
	readonly #sockets = new Set<net.Socket>();
	#bytes = 0;

	private constructor(server: net.Server, targetPort: number) {
		this.#server = server;
		this.port = (server.address() as net.AddressInfo).port;
		server.on("connection", (near) => this.#relay(near, net.connect({ port: targetPort, host: HOST, noDelay: true })));
	}

	/** To whoever listens, by then, on that port. */
	static async open(targetPort: number): Promise<CountedLink> {
		const server = net.createServer({ noDelay: true });
		server.listen(0, HOST);
		await once(server, "listening");
		return new CountedLink(server, targetPort);
	}

	get bootstrap(): string {
		return `${HOST}:${this.port}`;
	}

	/** Both ways. */
	get bytes(): number {
		return this.#bytes;
	}

	close(): void {
		this.#server.close();
		for (const socket of this.#sockets) socket.destroy();
	}

	#relay(near: net.Socket, far: net.Socket): void {
		for (const [from, to] of [
			[near, far],
			[far, near],
		] as const) {
			this.#sockets.add(from);
			from.on("data", (chunk) => {
				this.#bytes += chunk.length;
			});
			from.pipe(to);
			from.on("error", () => to.destroy());
			from.on("close", () => {
				this.#sockets.delete(from);
				to.destroy();
			});
		}
	}
}

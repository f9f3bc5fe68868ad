/**
 * A connection of a load generator: TCP, CONNECT, CONNACK. Reads go into one buffer that all connections of the process
 * share and that is used up before the next read; whoever has half a packet at its end keeps a copy of that half.
 */
import net from "node:net";
import { ACK_BYTES, connectPacket } from "./packets.ts";

/** One address of the loopback network has some 28,000 ports. */
const CONNECTIONS_PER_ADDRESS = 4000;
const CONNECTING_AT_ONCE = 100;

const shared = Buffer.allocUnsafe(65_536);

export interface ClientSocketOptions {
	readonly port: number;
	/** Of this connection among those of its process. */
	readonly number: number;
	readonly clientId: string;
	/** Default true: the session ends with the connection. */
	readonly clean?: boolean;
	/** What comes behind CONNACK; the bytes are the reader's until it returns only. */
	received(bytes: Buffer, length: number, socket: net.Socket): void;
	/** The broker refused or closed the connection, or the network did. */
	failed(error: Error): void;
}

/** Resolves with the socket when the broker has taken the connection. */
export function openClient(options: ClientSocketOptions): Promise<net.Socket> {
	return new Promise((resolve, reject) => {
		const { number, port } = options;
		const address = Math.floor(number / CONNECTIONS_PER_ADDRESS);
		let connected = false;
		const socket = net.connect({
			port,
			host: "127.0.0.1",
			...(address === 0 ? {} : { localAddress: `127.0.0.${1 + address}` }),
			noDelay: true,
			onread: {
				buffer: shared,
				callback: (bytes) => {
					if (connected) {
						options.received(shared, bytes, socket);
						return true;
					}
					connected = bytes >= ACK_BYTES && shared[0] === 0x20 && shared[3] === 0;
					if (!connected) {
						reject(
							new Error(`connection ${number}: CONNACK expected: ${shared.toString("hex", 0, Math.min(bytes, 32))}`),
						);
						return true;
					}
					resolve(socket);
					// A session that continues may get its first events together with CONNACK.
					if (bytes > ACK_BYTES) options.received(shared.subarray(ACK_BYTES), bytes - ACK_BYTES, socket);
					return true;
				},
			},
		});
		const failed = (error: Error): void => (connected ? options.failed(error) : reject(error));
		socket.on("error", failed);
		socket.on("close", () => failed(new Error(`connection ${number}: closed by the broker`)));
		socket.write(connectPacket(options.clientId, options.clean));
	});
}

/** `open` for the numbers 0 to `count` - 1, a hundred at a time. */
export async function openMany<T>(count: number, open: (number: number) => Promise<T>): Promise<T[]> {
	const opened: T[] = [];
	while (opened.length < count) {
		const first = opened.length;
		const length = Math.min(CONNECTING_AT_ONCE, count - first);
		opened.push(...(await Promise.all(Array.from({ length }, (_, i) => open(first + i)))));
	}
	return opened;
}

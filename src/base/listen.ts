/** Makes a server listen, for every door alike. */
import type { AddressInfo, Server } from "node:net";

export interface ListenOptions {
	readonly host: string;
	/** 0: a free one. */
	readonly port: number;
	readonly backlog?: number;
	/** Errors of the listener while it listens, such as too few file descriptors: the door goes on. */
	readonly failed: (error: Error) => void;
}

/** The address it has taken; `text` as "127.0.0.1:9092". Rejects with Node's own error when it cannot listen. */
export async function listen(server: Server, options: ListenOptions): Promise<AddressInfo & { readonly text: string }> {
	const { host, port, backlog } = options;
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen({ host, port, ...(backlog === undefined ? {} : { backlog }) }, () => {
			server.removeListener("error", reject);
			resolve();
		});
	});
	server.on("error", options.failed);
	// A server that listens on a host and port has an address of that kind.
	const address = server.address() as AddressInfo;
	const text =
		address.family === "IPv6" ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`;
	return { ...address, text };
}

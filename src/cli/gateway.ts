/** The way of a command to a running gateway: only the native door's client, loaded when it is needed. */
import type { Client } from "../native/client/client.ts";
import { CommandError, UsageError } from "./failure.ts";

export const DEFAULT_GATEWAY = "127.0.0.1:9470";

/** `HOST:PORT`, `[IPv6]:PORT`, or either of the two alone. Throws UsageError. */
export function parseGatewayAddress(text: string): { host: string; port: number } {
	const match = /^(?:\[([^\]]+)\]|([^\s:]*))(?::(\d{1,5}))?$/.exec(text) ?? /^()()(\d{1,5})$/.exec(text);
	const onlyPort = /^\d{1,5}$/.test(text);
	const host = onlyPort ? "127.0.0.1" : match?.[1] || match?.[2] || "127.0.0.1";
	const port = Number(onlyPort ? text : (match?.[3] ?? 9470));
	if (match === null || text === "" || port < 1 || port > 65_535) {
		throw new UsageError(`--connect ${JSON.stringify(text)} is no address; right would be ${DEFAULT_GATEWAY}`);
	}
	return { host, port };
}

/**
 * Runs `work` with a client and closes it, whatever happens. `reconnect`: go on after a lost connection
 * (for commands that follow); the first connection must succeed in any case.
 */
export async function withGateway<T>(
	address: string | undefined,
	work: (client: Client) => Promise<T>,
	options: { reconnect?: boolean; signal?: AbortSignal } = {},
): Promise<T> {
	const written = address ?? (process.env.HEADWATER_CONNECT || DEFAULT_GATEWAY);
	const { host, port } = parseGatewayAddress(written);
	const { connect } = await import("../native/client/client.ts");
	let client: Client;
	try {
		client = await connect({
			host,
			port,
			reconnect: options.reconnect ?? false,
			...(options.signal === undefined ? {} : { signal: options.signal }),
		});
	} catch (error) {
		throw unreachable(error, host, port);
	}
	try {
		return await work(client);
	} finally {
		await client.close();
	}
}

function unreachable(error: unknown, host: string, port: number): unknown {
	const { code, message } = error as { code?: unknown; message: string };
	if (code !== "CONNECTION_LOST" && code !== "TIMEOUT" && code !== "ECONNREFUSED" && code !== "ENOTFOUND") return error;
	const shown = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
	return new CommandError(
		`no gateway answers at ${shown} (${reasonOf(error, message)}); start one with \`headwater start\`, or say where it is with --connect HOST:PORT`,
		{ cause: error },
	);
}

/** The system's own word for it, when there is one. */
function reasonOf(error: unknown, message: string): string {
	for (let each = error; each instanceof Error; each = each.cause) {
		const code = (each as NodeJS.ErrnoException).code;
		if (code === "ECONNREFUSED") return "nothing listens there";
		if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "no such host";
		if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "no way to that host";
	}
	return message;
}

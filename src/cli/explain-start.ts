/** A start that failed on a socket, told by the configuration key that changes it. */
import { StartError } from "../base/errors.ts";
import type { Config } from "../config/keys.ts";
import { formatAddress } from "../config/values.ts";

const CODES = ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOTFOUND"];

/** Which key says where to listen instead. Other errors explain themselves. */
export function explainStart(error: unknown, config: Config): unknown {
	// A door may have put words of its own around the system's error.
	const system = (error as Error).cause instanceof Error && !hasCode(error) ? (error as Error).cause : error;
	const { code, port, address } = system as NodeJS.ErrnoException & { port?: number; address?: string };
	if (code === undefined || !CODES.includes(code)) return error;
	const keys = (["mqtt.listen", "native.listen", "kafka.listen", "http.listen"] as const).filter((name) =>
		port === undefined ? config[name].host === (system as { hostname?: string }).hostname : config[name].port === port,
	);
	const key = keys.find((name) => config[name].host === address) ?? keys[0];
	if (key === undefined) return error;
	const where = `${formatAddress(config[key])} (${key})`;
	const other = formatAddress({ host: config[key].host, port: 0 });
	const told = {
		EADDRINUSE: `${where} is in use, by another gateway or another program: end that one, or listen elsewhere with --set ${key}=HOST:PORT (--set ${key}=${other} takes a free port)`,
		EADDRNOTAVAIL: `${where} is no address of this machine; --set ${key}=0.0.0.0:${config[key].port} listens on all that it has`,
		EACCES: `${where}: no permission to listen there (ports below 1024 need a privilege); --set ${key}=HOST:PORT chooses another`,
		ENOTFOUND: `${where}: no such host; --set ${key}=HOST:PORT names another`,
	}[code];
	return new StartError(told ?? (error as Error).message, { cause: error as Error });
}

function hasCode(error: unknown): boolean {
	return (error as NodeJS.ErrnoException).code !== undefined;
}

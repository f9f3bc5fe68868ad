/** `host:port,host:port`: the list of the central cluster's servers that a connection may begin with. */
import type { Address } from "./definition.ts";

const HOST = "(?:\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+)";
const PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const ONE = new RegExp(`^${HOST}:${PORT}$`);

export const SERVERS_MATCH = `^\\s*${HOST}:${PORT}(?:\\s*,\\s*${HOST}:${PORT})*\\s*$`;
export const SERVERS_RIGHT =
	"host:port, or several with commas between, as kafka1.example.com:9092,kafka2.example.com:9092";

/** Of text that has this form; empty: none. */
export function parseServers(text: string): Address[] {
	return partsOf(text)
		.filter((part) => ONE.test(part))
		.map((part) => {
			const colon = part.lastIndexOf(":");
			return { host: part.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(part.slice(colon + 1)) };
		});
}

/** What is wrong with the list, at its first wrong entry. */
export function wrongServers(text: string): string | undefined {
	for (const part of partsOf(text)) {
		if (part === "") return "has an empty entry";
		const scheme = /^([A-Za-z_+]+):\/\//.exec(part);
		if (scheme !== null) return `begins with ${scheme[1]}://; upstream.security.protocol says that`;
		if (ONE.test(part)) continue;
		if (/^[A-Za-z0-9._-]+$/.test(part)) return `has no port behind ${part}`;
		const port = /^[^\s]+:(\d+)$/.exec(part)?.[1];
		if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return `has no such port as ${port}`;
		if (/\s/.test(part)) return "has a space where a comma belongs";
		return "is not of the right form";
	}
	return undefined;
}

function partsOf(text: string): string[] {
	return text.split(",").map((each) => each.trim());
}

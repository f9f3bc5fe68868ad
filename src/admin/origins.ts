/**
 * Which web pages may use the HTTP door. A browser lets any page open a WebSocket to any address and only says, in Origin,
 * whose page it is; the server has to refuse. And a page may have its own name resolved to a loopback address (DNS
 * rebinding), so a door that listens there answers only to names that are certainly its own.
 */
import { isIP } from "node:net";
import { StartError } from "../base/errors.ts";

const KEY = "http.allowed.origins";

export class OriginRules {
	readonly #all: boolean;
	readonly #origins: ReadonlySet<string>;
	/** Host names of the listed origins. */
	readonly #hosts: ReadonlySet<string>;

	private constructor(all: boolean, origins: readonly URL[]) {
		this.#all = all;
		this.#origins = new Set(origins.map((url) => url.origin));
		this.#hosts = new Set(origins.map((url) => url.hostname));
	}

	/** From the value of http.allowed.origins. Throws StartError for what is no origin. */
	static parse(text: string): OriginRules {
		const words = text.split(/\s+/).filter((word) => word !== "");
		return new OriginRules(
			words.includes("*"),
			words.filter((word) => word !== "*").map((word) => originOf(word)),
		);
	}

	/** Whether a page of `origin` may connect to what it reached as `host` (its Host header). */
	allows(origin: string, host: string | undefined): boolean {
		if (this.#all) return true;
		const page = httpUrl(origin);
		if (page === undefined) return false; // "null": a sandboxed frame, or a file
		if (this.#origins.has(page.origin)) return true;
		// A port that the page's scheme implies may be written or not. Behind a proxy that ends TLS the scheme is the page's.
		return host !== undefined && httpUrl(`${page.protocol}//${host}`)?.host === page.host;
	}

	/** Whether `host`, a Host header, is a name that nobody else can have pointed at a loopback address. */
	knows(host: string): boolean {
		if (this.#all) return true;
		const name = httpUrl(`http://${host}`)?.hostname;
		if (name === undefined) return false;
		if (isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0) return true;
		return name === "localhost" || name.endsWith(".localhost") || this.#hosts.has(name);
	}
}

/** The loopback addresses of IPv4 and IPv6, also IPv4's in IPv6's form. */
export function isLoopback(address: string): boolean {
	return /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === "::1";
}

function originOf(word: string): URL {
	const url = httpUrl(word);
	if (url !== undefined) return url;
	throw new StartError(
		`${KEY}: ${JSON.stringify(word)} is no origin; write scheme and host, as https://panel.example.com`,
	);
}

/** `scheme://host[:port]` and nothing behind it; undefined for anything else. */
function httpUrl(text: string): URL | undefined {
	if (!/^https?:\/\/[^/?#@\\\s]+$/i.test(text) || !URL.canParse(text)) return undefined;
	return new URL(text);
}

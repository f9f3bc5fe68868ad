/**
 * The value of the key `bridges`: from what YAML or JSON gives to connections with every default filled in, or what is wrong
 * and where. What filters and prefixes may hold, the MQTT door's own bridges say. Secrets do not get into messages.
 */
import type { BridgeConfig, BridgeInRule, BridgeOutRule, BridgeTls } from "./definition.ts";
import { isMap, type Members, parseMembers, stated, Wrong } from "./members.ts";

export const BRIDGE_MEMBERS: Members = {
	name: { type: "text", required: true, documentation: "Its own, 1 to 64 of letters, digits, _ and -." },
	address: {
		type: "text",
		required: true,
		documentation: "`mqtt://HOST:PORT`, or `mqtts://HOST:PORT` for TLS. Ports 1883 and 8883 may be left out.",
	},
	version: {
		type: "choice",
		choices: ["5", "3.1.1"],
		fallback: "5",
		documentation: "Of MQTT. `5` falls back to 3.1.1 where the other broker refuses it.",
	},
	"client.id": {
		type: "text",
		documentation:
			"Under which the other broker keeps the session; each of its clients needs one of its own. Default: `headwater-` and the name.",
	},
	username: { type: "text", documentation: "User name." },
	password: { type: "text", secret: true, documentation: "Password; never shown." },
	"password.file": { type: "text", documentation: "A file whose only line is the password, in place of `password`." },
	"tls.ca": {
		type: "text",
		documentation:
			"PEM file of the authorities that may have signed the other broker's certificate. Default: those that Node.js knows.",
	},
	"tls.certificate": { type: "text", documentation: "PEM file of this client's own certificate." },
	"tls.key": { type: "text", documentation: "PEM file of its key." },
	"tls.server.name": {
		type: "text",
		documentation: "The name in the other broker's certificate, where it is not the address.",
	},
	"tls.insecure": {
		type: "flag",
		fallback: false,
		documentation: "`true` takes any certificate: for trying things out.",
	},
	"keep.alive.seconds": {
		type: "seconds",
		minimum: 0,
		maximum: 65_535,
		fallback: 60,
		documentation: "A silent connection is probed after this time; 0: never.",
	},
	"session.expiry.seconds": {
		type: "seconds",
		minimum: 0,
		maximum: 4_294_967_295,
		fallback: 4_294_967_295,
		documentation: "How long the other broker queues for an absent gateway, in MQTT 5. 4294967295: for ever.",
	},
	qos: {
		type: "number",
		minimum: 0,
		maximum: 1,
		fallback: 1,
		documentation: "1: at least once, both ways; 0: at most once.",
	},
	"max.inflight": {
		type: "number",
		minimum: 1,
		maximum: 32_000,
		fallback: 100,
		documentation:
			"Events sent and not yet acknowledged, at most; less where the other broker's Receive Maximum is less.",
	},
	in: { type: "list", documentation: "What comes from the other broker." },
	out: { type: "list", documentation: "What goes to it." },
};

export const IN_MEMBERS: Members = {
	filter: { type: "text", required: true, documentation: "MQTT topic filter, behind the prefix." },
	"remote.prefix": {
		type: "text",
		empty: true,
		fallback: "",
		documentation: "What topics there begin with; taken off.",
	},
	"local.prefix": { type: "text", empty: true, fallback: "", documentation: "What is put before the rest here." },
};

export const OUT_MEMBERS: Members = {
	filter: { type: "text", required: true, documentation: "MQTT topic filter, behind the prefix." },
	"local.prefix": { type: "text", empty: true, fallback: "", documentation: "What topics here begin with; taken off." },
	"remote.prefix": { type: "text", empty: true, fallback: "", documentation: "What is put before the rest there." },
	order: {
		type: "choice",
		choices: ["oldest-first", "newest-first"],
		fallback: "oldest-first",
		documentation: "In which a backlog is sent. `newest-first`: what comes now at once, what waited behind it.",
	},
	from: {
		type: "choice",
		choices: ["latest", "earliest"],
		fallback: "latest",
		documentation: "Where a new rule begins: at the present end, or with all that is stored.",
	},
};

export const BRIDGES_EXAMPLE =
	'a list, as [{"name": "site", "address": "mqtt://192.168.1.10:1883", "in": [{"filter": "sensors/#"}]}]';

/** `text`: JSON in a string. */
export function parseBridges(
	raw: unknown,
	text: boolean,
): { readonly value: readonly BridgeConfig[] } | { readonly wrong: string; readonly right: string } {
	try {
		let list = raw;
		if (text && typeof raw === "string") {
			try {
				list = JSON.parse(raw);
			} catch {
				throw new Wrong("is no JSON", BRIDGES_EXAMPLE); // the parser's message quotes what may be a password
			}
		}
		if (!Array.isArray(list)) throw new Wrong("is no list", BRIDGES_EXAMPLE);
		const bridges = list.map((each, i) => parseBridge(each, i));
		checkApart(bridges);
		return { value: bridges };
	} catch (error) {
		if (error instanceof Wrong) return { wrong: error.message, right: error.right };
		throw error;
	}
}

function parseBridge(raw: unknown, index: number): BridgeConfig {
	const name = isMap(raw) && typeof raw.name === "string" ? ` (${raw.name.slice(0, 64)})` : "";
	const where = `bridge ${index + 1}${name}`;
	const values = parseMembers(raw, BRIDGE_MEMBERS, where);
	const text = (key: string) => values.get(key) as string | undefined;
	const number = (key: string) => values.get(key) as number;
	if (!/^[A-Za-z0-9_-]{1,64}$/.test(text("name")!)) {
		throw new Wrong(`${where}: "name" is ${JSON.stringify(text("name"))}`, "1 to 64 of letters, digits, _ and -");
	}
	const { address, secure } = parseUrl(text("address")!, where);
	const tls = tlsOf(values, secure, where);
	if (values.has("password") && values.has("password.file")) {
		throw new Wrong(`${where}: has both "password" and "password.file"`, "one of the two");
	}
	if ((values.has("password") || values.has("password.file")) && !values.has("username")) {
		throw new Wrong(`${where}: has a password and no "username"`, "both, which MQTT 3.1.1 asks for");
	}
	const inbound = parseRules(values.get("in"), IN_MEMBERS, `${where}, in`).map(inRule);
	const outbound = parseRules(values.get("out"), OUT_MEMBERS, `${where}, out`).map(outRule);
	if (inbound.length + outbound.length === 0) {
		throw new Wrong(`${where}: passes nothing on`, 'at least one rule in "in" or "out", as {"filter": "sensors/#"}');
	}
	const passwordFile = text("password.file");
	return {
		name: text("name")!,
		address,
		version: text("version") as BridgeConfig["version"],
		clientId: text("client.id") ?? `headwater-${text("name")}`,
		...(values.has("username") ? { username: text("username")! } : {}),
		...(values.has("password") ? { password: text("password")! } : {}),
		...(passwordFile === undefined ? {} : { passwordFile }),
		...(tls === undefined ? {} : { tls }),
		keepAliveSeconds: number("keep.alive.seconds"),
		sessionExpirySeconds: number("session.expiry.seconds"),
		qos: number("qos") as 0 | 1,
		maxInflight: number("max.inflight"),
		in: inbound,
		out: outbound,
	};
}

function inRule(values: ReadonlyMap<string, unknown>): BridgeInRule {
	return {
		filter: values.get("filter") as string,
		remotePrefix: values.get("remote.prefix") as string,
		localPrefix: values.get("local.prefix") as string,
	};
}

function outRule(values: ReadonlyMap<string, unknown>): BridgeOutRule {
	return {
		filter: values.get("filter") as string,
		localPrefix: values.get("local.prefix") as string,
		remotePrefix: values.get("remote.prefix") as string,
		order: values.get("order") as BridgeOutRule["order"],
		from: values.get("from") as BridgeOutRule["from"],
	};
}

function tlsOf(values: ReadonlyMap<string, unknown>, secure: boolean, where: string): BridgeTls | undefined {
	const text = (key: string) => values.get(key) as string | undefined;
	const said = [...values.keys()].find((key) => key.startsWith("tls.") && values.get(key) !== false);
	if (!secure) {
		if (said === undefined) return undefined;
		throw new Wrong(`${where}: has "${said}" and an address without TLS`, "mqtts:// in the address");
	}
	const [ca, certificate, key, serverName] = ["tls.ca", "tls.certificate", "tls.key", "tls.server.name"].map(text);
	if ((certificate === undefined) !== (key === undefined)) {
		throw new Wrong(`${where}: has only one of "tls.certificate" and "tls.key"`, "both or none");
	}
	return {
		...(ca === undefined ? {} : { ca }),
		...(certificate === undefined ? {} : { certificate }),
		...(key === undefined ? {} : { key }),
		...(serverName === undefined ? {} : { serverName }),
		insecure: values.get("tls.insecure") as boolean,
	};
}

function parseUrl(raw: string, where: string): { address: BridgeConfig["address"]; secure: boolean } {
	const match = /^(?:([a-z0-9+.-]+):\/\/)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:[\]/@]+))(?::(\d+))?\/?$/i.exec(raw);
	const right = "mqtt://HOST:PORT, as mqtt://192.168.1.10:1883, or mqtts:// for TLS";
	if (match === null) {
		// A URL with user:password@ in it must not be shown.
		const what = raw.includes("@") ? "has a user name in it" : `is ${JSON.stringify(raw.slice(0, 80))}`;
		throw new Wrong(`${where}: "address" ${what}`, raw.includes("@") ? `${right}; username and password apart` : right);
	}
	const scheme = match[1]?.toLowerCase();
	if (scheme !== "mqtt" && scheme !== "mqtts") {
		const what = scheme === undefined ? "does not say mqtt:// or mqtts://" : `begins with ${scheme}://`;
		throw new Wrong(`${where}: "address" ${what}`, right);
	}
	const secure = scheme === "mqtts";
	const port = Number(match[4] ?? (secure ? 8883 : 1883));
	if (port < 1 || port > 65_535) throw new Wrong(`${where}: there is no port ${match[4]}`, "a port from 1 to 65535");
	return { address: { host: (match[2] ?? match[3])!, port }, secure };
}

/** Two with one name have one place in the log; two with one client id would push each other out. */
function checkApart(bridges: readonly BridgeConfig[]): void {
	for (const [i, bridge] of bridges.entries()) {
		const before = bridges.slice(0, i);
		if (before.some(({ name }) => name === bridge.name)) {
			throw new Wrong(`bridge ${i + 1}: the name "${bridge.name}" is taken`, "a name of its own for each");
		}
		const same = before.find(
			({ clientId, address }) =>
				clientId === bridge.clientId && address.host === bridge.address.host && address.port === bridge.address.port,
		);
		if (same !== undefined) {
			throw new Wrong(
				`bridge ${i + 1} (${bridge.name}): has the client.id of ${same.name} at the same broker`,
				"a client.id of its own for each",
			);
		}
	}
}

function parseRules(raw: unknown, members: Members, where: string): ReadonlyMap<string, unknown>[] {
	if (raw === undefined) return [];
	return (raw as unknown[]).map((each, i) => parseMembers(each, members, `${where} ${i + 1}`));
}

/** A secret that is there, as it is shown. */
export const HIDDEN = "(hidden)";

/** As the file would state it, for people: dotted names, defaults left out, no password. */
export function showBridge(bridge: BridgeConfig): Record<string, unknown> {
	const { host, port } = bridge.address;
	const tls = bridge.tls;
	const all: Record<string, unknown> = {
		name: bridge.name,
		address: `${tls === undefined ? "mqtt" : "mqtts"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
		version: bridge.version,
		"client.id": bridge.clientId,
		username: bridge.username,
		password: bridge.password === undefined ? undefined : HIDDEN,
		"password.file": bridge.passwordFile,
		"tls.ca": tls?.ca,
		"tls.certificate": tls?.certificate,
		"tls.key": tls?.key,
		"tls.server.name": tls?.serverName,
		"tls.insecure": tls?.insecure,
		"keep.alive.seconds": bridge.keepAliveSeconds,
		"session.expiry.seconds": bridge.sessionExpirySeconds,
		qos: bridge.qos,
		"max.inflight": bridge.maxInflight,
		in: bridge.in.map(({ filter, remotePrefix, localPrefix }) =>
			stated({ filter, "remote.prefix": remotePrefix, "local.prefix": localPrefix }, IN_MEMBERS),
		),
		out: bridge.out.map(({ filter, localPrefix, remotePrefix, order, from }) =>
			stated({ filter, "local.prefix": localPrefix, "remote.prefix": remotePrefix, order, from }, OUT_MEMBERS),
		),
	};
	if (bridge.in.length === 0) delete all.in;
	if (bridge.out.length === 0) delete all.out;
	if (bridge.clientId === `headwater-${bridge.name}`) delete all["client.id"];
	return stated(all, BRIDGE_MEMBERS);
}

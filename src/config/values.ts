/**
 * One raw value (text from --set or the environment, a scalar or list from YAML) to the value that
 * its key wants, or what is wrong with it and what would be right.
 */
import { BRIDGES_EXAMPLE, HIDDEN, parseBridges, showBridge } from "./bridges.ts";
import {
	type Address,
	type BridgeConfig,
	type DownlinkRule,
	type IntegerDefinition,
	type KeyDefinition,
	ROUTE_DURABILITIES,
	ROUTE_QOS0,
	type RouteConfig,
	type TextDefinition,
	type UpstreamTopicRule,
} from "./definition.ts";
import { nearest } from "./nearest.ts";
import { formatQuantity, parseQuantity, SIZE_UNITS, TIME_UNITS } from "./units.ts";
import {
	DOWNLINK_EXAMPLE,
	parseDownlink,
	parseUpstreamTopics,
	showDownlink,
	showUpstreamTopic,
	UPSTREAM_TOPICS_EXAMPLE,
} from "./upstream-rules.ts";

export type Parsed<T = unknown> = { readonly value: T } | { readonly wrong: string; readonly right: string };

/** `text`: `raw` is text that only looks like what it is (--set, environment), so lists are JSON in it. */
export function parseValue(definition: KeyDefinition, raw: unknown, text: boolean): Parsed {
	const none = raw === "" && definition.kind === "text" && definition.fallback === ""; // the key says what that means
	if (!none && (raw === null || raw === undefined || raw === ""))
		return { wrong: "has no value", right: expected(definition) };
	switch (definition.kind) {
		case "integer":
			return parseInteger(definition, raw);
		case "fraction":
			return parseFraction(raw);
		case "address":
			return parseAddress(definition.fallback, raw);
		case "text":
			if (typeof raw === "string") return shaped(definition, raw);
			if (definition.secret) return { wrong: `is ${kindOf(raw)}`, right: "text; a number needs quotes" };
			return { wrong: `${quote(raw)} is ${kindOf(raw)}`, right: `text; in quotes: ${JSON.stringify(String(raw))}` };
		case "choice":
			return parseChoice(definition.choices, raw);
		case "routes":
			return parseRoutes(raw, text);
		case "bridges":
			return parseBridges(raw, text);
		case "upstream-topics":
			return parseUpstreamTopics(raw, text);
		case "downlink":
			return parseDownlink(raw, text);
	}
}

/** What a key wants, for people. */
export function expected(definition: KeyDefinition): string {
	switch (definition.kind) {
		case "integer":
			return limits(definition);
		case "fraction":
			return FRACTION;
		case "address":
			return `host:port, as ${formatAddress(definition.fallback)}`;
		case "text":
			return definition.shape?.right ?? "text";
		case "choice":
			return `one of ${definition.choices.join(", ")}`;
		case "routes":
			return 'a list, as [{"filter": "sensors/{device}/#", "topic": "telemetry", "key": "{device}"}]';
		case "bridges":
			return BRIDGES_EXAMPLE;
		case "upstream-topics":
			return UPSTREAM_TOPICS_EXAMPLE;
		case "downlink":
			return DOWNLINK_EXAMPLE;
	}
}

function shaped({ shape }: TextDefinition, raw: string): Parsed<string> {
	if (raw === "" || shape === undefined || new RegExp(shape.matches).test(raw)) return { value: raw };
	const wrong = shape.wrong?.(raw) ?? "is not of the right form";
	return { wrong: `${quote(withoutCredentials(raw))} ${wrong}`, right: shape.right };
}

function unitsOf(definition: IntegerDefinition): readonly (readonly [string, number])[] {
	if (definition.unit === "bytes") return SIZE_UNITS;
	return definition.unit === "count" ? [] : TIME_UNITS;
}

/** "a whole number of milliseconds from 0 to 10000, ...". */
export function limits(definition: IntegerDefinition): string {
	const noun = { bytes: " of bytes", ms: " of milliseconds", seconds: " of seconds", count: "" }[definition.unit];
	const examples = {
		bytes: ", or with a unit (64MiB)",
		ms: ", or with a unit (90s, 7d)",
		seconds: ", or with a unit (90s, 7d)",
		count: "",
	};
	const range =
		definition.maximum === Number.MAX_SAFE_INTEGER
			? `of at least ${definition.minimum}`
			: `from ${definition.minimum} to ${definition.maximum}`;
	const { minusOne, minusTwo } = definition;
	const special =
		(minusOne === undefined ? "" : `, or -1 (${minusOne})`) + (minusTwo === undefined ? "" : `, or -2 (${minusTwo})`);
	return `a whole number${noun} ${range}${examples[definition.unit]}${special}`;
}

function parseInteger(definition: IntegerDefinition, raw: unknown): Parsed<number> {
	const right = limits(definition);
	let value: number | undefined;
	if (typeof raw === "number") value = raw;
	else if (typeof raw === "string") {
		if (definition.unit === "seconds") {
			const ms = parseQuantity(raw, TIME_UNITS, 1000);
			value = ms === undefined ? undefined : ms / 1000;
		} else value = parseQuantity(raw, unitsOf(definition));
	}
	if (value === undefined) {
		const decimal = typeof raw === "string" ? /^(\d+(?:\.\d+)?)\s*([KMG])B?$/i.exec(raw.trim()) : null;
		if (decimal !== null && definition.unit === "bytes") {
			return {
				wrong: `${quote(raw)} is no size`,
				right: `did you mean ${decimal[1]}${decimal[2]?.toUpperCase()}iB? (${right})`,
			};
		}
		return { wrong: `${quote(raw)} is ${typeof raw === "string" ? "no number" : kindOf(raw)}`, right };
	}
	if (!Number.isSafeInteger(value)) return { wrong: `${quote(raw)} is no whole number`, right };
	if (value === -1 && definition.minusOne !== undefined) return { value };
	if (value === -2 && definition.minusTwo !== undefined) return { value };
	if (value < definition.minimum) return { wrong: `${quote(raw)} is too small`, right };
	if (value > definition.maximum) return { wrong: `${quote(raw)} is too large`, right };
	return { value };
}

const FRACTION = "a number from 0 to 1, as 0.5";

function parseFraction(raw: unknown): Parsed<number> {
	const value = typeof raw === "string" && /^\d*\.?\d+$/.test(raw) ? Number(raw) : raw;
	if (typeof value !== "number") return { wrong: `${quote(raw)} is ${kindOf(raw)}`, right: FRACTION };
	return value >= 0 && value <= 1 ? { value } : { wrong: `${quote(raw)} is not from 0 to 1`, right: FRACTION };
}

function parseAddress(fallback: Address, raw: unknown): Parsed<Address> {
	const example = formatAddress(fallback);
	const right = `host:port, as ${example}`;
	if (typeof raw === "number") {
		return {
			wrong: `${raw} has no host`,
			right: `did you mean "${formatAddress({ host: fallback.host, port: raw })}"?`,
		};
	}
	if (typeof raw !== "string") return { wrong: `${quote(raw)} is ${kindOf(raw)}`, right };
	if (/^\d+$/.test(raw)) {
		return { wrong: `${quote(raw)} has no host`, right: `did you mean "${fallback.host}:${raw}"?` };
	}
	const match = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:[\]/]+)):([^:]*)$/.exec(raw);
	if (match === null) {
		if (/^[^:]*(?::[^:]*){2,}$/.test(raw) && /^[0-9A-Fa-f:]+$/.test(raw)) {
			return {
				wrong: `${quote(raw)} does not say where the port begins`,
				right: `an IPv6 address in brackets, as "[::1]:${fallback.port}"`,
			};
		}
		if (/^[\w.-]+$/.test(raw))
			return { wrong: `${quote(raw)} has no port`, right: `did you mean "${raw}:${fallback.port}"?` };
		return { wrong: `${quote(raw)} is no address`, right };
	}
	const portText = match[3] as string;
	const port = Number(portText);
	if (!/^\d+$/.test(portText) || port > 65_535) {
		return {
			wrong: `${quote(raw)}: ${portText === "" ? "no port" : `no such port as ${portText}`}`,
			right: `a port from 1 to 65535, or 0 for a free one, as ${example}`,
		};
	}
	return { value: { host: (match[1] ?? match[2]) as string, port } };
}

/** As it is written in the configuration: `127.0.0.1:1883`, `[::1]:1883`. */
export function formatAddress(address: Address): string {
	return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

function parseChoice(choices: readonly string[], raw: unknown): Parsed<string> {
	// `true` in YAML is no text.
	const word = typeof raw === "boolean" ? String(raw) : raw;
	if (typeof word === "string" && choices.includes(word)) return { value: word };
	const near = typeof raw === "string" ? nearest(raw.toLowerCase(), choices) : undefined;
	const hint = near === undefined ? "" : `did you mean ${near}? `;
	return { wrong: `${quote(raw)} is no choice here`, right: `${hint}one of ${choices.join(", ")}` };
}

const ROUTE_TEXTS = ["filter", "topic", "key", "timestamp", "rewrite"] as const;
const ROUTE_CHOICES = { qos0: ROUTE_QOS0, durability: ROUTE_DURABILITIES } as const;
const ROUTE_MEMBERS = [
	"filter",
	"topic",
	"key",
	"headers",
	"timestamp",
	"rewrite",
	"priority",
	"continue",
	"qos0",
	"durability",
];

function parseRoutes(raw: unknown, text: boolean): Parsed<readonly RouteConfig[]> {
	const right = 'a list, as [{"filter": "sensors/{device}/#", "topic": "telemetry", "key": "{device}"}]';
	let list = raw;
	if (text && typeof raw === "string") {
		try {
			list = JSON.parse(raw);
		} catch (error) {
			return { wrong: `is no JSON (${(error as Error).message})`, right };
		}
	}
	if (!Array.isArray(list)) return { wrong: `${quote(list)} is ${kindOf(list)}`, right };
	const routes: RouteConfig[] = [];
	for (let i = 0; i < list.length; i++) {
		const parsed = parseRoute(list[i]);
		if ("wrong" in parsed) return { wrong: `route ${i + 1}: ${parsed.wrong}`, right: parsed.right };
		routes.push(parsed.value);
	}
	return { value: routes };
}

/** The form only; what a filter and a template may hold, the MQTT door's own routes say. */
function parseRoute(raw: unknown): Parsed<RouteConfig> {
	if (!isPlainObject(raw))
		return { wrong: `${quote(raw)} is ${kindOf(raw)}`, right: "filter, topic, key and headers by name" };
	for (const name of Object.keys(raw)) {
		if (ROUTE_MEMBERS.includes(name)) continue;
		const near = nearest(name, ROUTE_MEMBERS);
		return {
			wrong: `there is no "${name}" in a route`,
			right: near === undefined ? `a route has ${ROUTE_MEMBERS.join(", ")}` : `did you mean ${near}?`,
		};
	}
	for (const name of ["filter", "topic"]) {
		if (raw[name] !== undefined || (name === "topic" && raw.durability === "memory")) continue;
		return {
			wrong: `"${name}" is missing`,
			right: "a route has at least filter and topic; only with durability memory it has no topic",
		};
	}
	for (const name of ROUTE_TEXTS) {
		const value = raw[name];
		if (value === undefined || (typeof value === "string" && value !== "")) continue;
		// YAML reads {device} as a map of its own.
		const right = isPlainObject(value) ? 'a template in quotes, as "{device}"' : "text that is not empty";
		return { wrong: `"${name}" is ${value === "" ? "empty" : kindOf(value)}`, right };
	}
	const headers = raw.headers;
	if (headers !== undefined) {
		if (!isPlainObject(headers))
			return { wrong: `"headers" is ${kindOf(headers)}`, right: 'names with templates, as {"site": "{site}"}' };
		for (const [name, value] of Object.entries(headers)) {
			if (typeof value !== "string")
				return { wrong: `header "${name}" is ${kindOf(value)}`, right: 'a template in quotes, as "{site}"' };
		}
	}
	for (const [name, choices] of Object.entries(ROUTE_CHOICES)) {
		const parsed = raw[name] === undefined ? undefined : parseChoice(choices, raw[name]);
		if (parsed !== undefined && "wrong" in parsed) return { wrong: `"${name}": ${parsed.wrong}`, right: parsed.right };
	}
	if (raw.priority !== undefined && !Number.isSafeInteger(raw.priority))
		return {
			wrong: `"priority" is ${quote(raw.priority)}`,
			right: "a whole number, without quotes; higher ones are tried first",
		};
	if (raw.continue !== undefined && typeof raw.continue !== "boolean")
		return { wrong: `"continue" is ${quote(raw.continue)}`, right: "true or false, without quotes" };
	// Every member was looked at, so this is a route; in the order in which they are shown.
	const given = ROUTE_MEMBERS.filter((name) => raw[name] !== undefined).map((name) => [name, raw[name]] as const);
	return { value: Object.fromEntries(given) as unknown as RouteConfig };
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
	if (value === null || value === undefined) return "empty";
	if (Array.isArray(value)) return "a list";
	if (typeof value === "object") return "a map";
	if (typeof value === "boolean") return `the word ${value}`;
	return typeof value === "number" ? "a number" : "text";
}

function quote(value: unknown): string {
	const text = JSON.stringify(value) ?? String(value);
	return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** `text` with what stands before an @ in a url left out. */
export function withoutCredentials(text: string): string {
	return text.replace(/(:\/\/)[^/@]*@/g, "$1...@");
}

/** Whether a value is a list of maps. */
export function isListKind(kind: KeyDefinition["kind"]): boolean {
	return kind === "routes" || kind === "bridges" || kind === "upstream-topics" || kind === "downlink";
}

/** The maps of a list as the file would state them, without secrets. */
export function showList(kind: KeyDefinition["kind"], value: unknown): readonly unknown[] {
	if (kind === "bridges") return (value as readonly BridgeConfig[]).map(showBridge);
	if (kind === "upstream-topics") return (value as readonly UpstreamTopicRule[]).map(showUpstreamTopic);
	return kind === "downlink" ? (value as readonly DownlinkRule[]).map(showDownlink) : (value as readonly unknown[]);
}

/** A value as the configuration would state it, on one line: valid YAML and, for lists, JSON. */
export function formatValue(definition: KeyDefinition, value: unknown): string {
	if (definition.kind === "integer") return String(value);
	if (definition.kind === "address") return formatAddress(value as Address);
	if (definition.kind === "text" && definition.secret && value !== "") return HIDDEN;
	return isListKind(definition.kind) ? JSON.stringify(showList(definition.kind, value)) : String(value);
}

/** The default for people: with its unit where that says more. */
export function formatDefault(definition: KeyDefinition): string {
	const plain = formatValue(definition, definition.fallback);
	if (definition.kind !== "integer" || definition.fallback < 0 || definition.unit === "count") return plain;
	const factor = definition.unit === "seconds" ? 1000 : 1;
	const human = formatQuantity(definition.fallback * factor, unitsOf(definition));
	return human === plain || /^\d+(B|ms|s)$/.test(human) ? plain : `${plain} (${human})`;
}

/**
 * What a configuration key can be: the forms of definition and the types of value that follow from
 * them. Our own small table, not zod: measured on Node 24.21, loading zod costs 15 MB resident and
 * 60-85 ms (zod/mini the same) in a gateway that idles in 60 MB, and a table is wanted in any case
 * for the reference, the JSON Schema and "did you mean".
 */

/** A whole number. With a unit, text such as `64MiB` or `7d` is taken too; the value is always the plain number. */
export interface IntegerDefinition {
	readonly kind: "integer";
	readonly unit: "bytes" | "ms" | "seconds" | "count";
	readonly minimum: number;
	readonly maximum: number;
	/** What -1 means, where it is allowed. */
	readonly minusOne?: string;
	/** What -2 means, where -1 and it are allowed. */
	readonly minusTwo?: string;
	readonly fallback: number;
	readonly documentation: string;
}

/** A number from 0 to 1. */
export interface FractionDefinition {
	readonly kind: "fraction";
	readonly fallback: number;
	readonly documentation: string;
}

/** `host:port`; an IPv6 address in brackets; port 0 takes a free port. */
export interface AddressDefinition {
	readonly kind: "address";
	readonly fallback: Address;
	readonly documentation: string;
}

export interface TextDefinition {
	readonly kind: "text";
	readonly fallback: string;
	/** What a value that is not empty must look like: a regular expression, and that in words. */
	readonly shape?: {
		readonly matches: string;
		readonly right: string;
		/** What is wrong with a value that does not match, where there is more to say. */
		readonly wrong?: (text: string) => string | undefined;
	};
	/** Never shown. */
	readonly secret?: boolean;
	readonly documentation: string;
}

export interface ChoiceDefinition<C extends string = string> {
	readonly kind: "choice";
	readonly choices: readonly C[];
	readonly fallback: C;
	readonly documentation: string;
}

export interface RoutesDefinition {
	readonly kind: "routes";
	readonly fallback: readonly RouteConfig[];
	readonly documentation: string;
}

export interface BridgesDefinition {
	readonly kind: "bridges";
	readonly fallback: readonly BridgeConfig[];
	readonly documentation: string;
}

export interface UpstreamTopicsDefinition {
	readonly kind: "upstream-topics";
	readonly fallback: readonly UpstreamTopicRule[];
	readonly documentation: string;
}

export interface DownlinkDefinition {
	readonly kind: "downlink";
	readonly fallback: readonly DownlinkRule[];
	readonly documentation: string;
}

export type KeyDefinition =
	| IntegerDefinition
	| FractionDefinition
	| AddressDefinition
	| TextDefinition
	| ChoiceDefinition
	| RoutesDefinition
	| BridgesDefinition
	| UpstreamTopicsDefinition
	| DownlinkDefinition;

export interface Address {
	/** A name or an IP address, IPv6 without brackets. */
	readonly host: string;
	/** 0: a free port. */
	readonly port: number;
}

/** From MQTT topics that match `filter` to records of `topic`; `{name}` stands for a named level, `{topic}` for the whole MQTT topic. */
export interface RouteConfig {
	/** An MQTT topic filter in which a whole level may be `{name}`, which matches as `+` does. */
	readonly filter: string;
	/** Absent only with durability memory. */
	readonly topic?: string;
	/** Template of the record's key; without one the key is null. */
	readonly key?: string;
	/** Templates of further record headers. */
	readonly headers?: Readonly<Record<string, string>>;
	/** The field of the payload that gives the record's timestamp, as {json.ts}. */
	readonly timestamp?: string;
	/** Template of the MQTT topic in place of the one published to. */
	readonly rewrite?: string;
	/** Higher ones are tried first; without one 0. */
	readonly priority?: number;
	/** The next route that matches applies as well. */
	readonly continue?: boolean;
	readonly qos0?: (typeof ROUTE_QOS0)[number];
	readonly durability?: (typeof ROUTE_DURABILITIES)[number];
}

/** What a route does with events of QoS 0 while memory is short; the first is the default. */
export const ROUTE_QOS0 = ["wait", "drop-under-pressure"] as const;
/** Where a route's events are kept; the first is the default. */
export const ROUTE_DURABILITIES = ["disk", "memory"] as const;

/** A connection to another MQTT broker, with what passes over it. */
export interface BridgeConfig {
	/** Of this bridge alone. */
	readonly name: string;
	/** From `mqtt://` or, with `tls`, `mqtts://`. */
	readonly address: Address;
	/** `5` falls back to 3.1.1 where the other broker refuses it. */
	readonly version: "5" | "3.1.1";
	readonly clientId: string;
	readonly username?: string;
	readonly password?: string;
	/** In place of `password`: its first line, read at every connection. */
	readonly passwordFile?: string;
	/** Absent: plain TCP. */
	readonly tls?: BridgeTls;
	readonly keepAliveSeconds: number;
	/** Of MQTT 5: how long the other broker queues for us; 4294967295 for ever. */
	readonly sessionExpirySeconds: number;
	readonly qos: 0 | 1;
	/** Events sent and not acknowledged, at most. */
	readonly maxInflight: number;
	readonly in: readonly BridgeInRule[];
	readonly out: readonly BridgeOutRule[];
}

/** PEM files. */
export interface BridgeTls {
	/** Absent: the authorities that Node.js knows. */
	readonly ca?: string;
	readonly certificate?: string;
	readonly key?: string;
	/** The name in the other broker's certificate, where it is not the address. */
	readonly serverName?: string;
	readonly insecure: boolean;
}

/** The other broker's topics below `remotePrefix` that match `filter` are stored here below `localPrefix`. */
export interface BridgeInRule {
	readonly filter: string;
	readonly remotePrefix: string;
	readonly localPrefix: string;
}

/** Topics here below `localPrefix` that match `filter` are sent there below `remotePrefix`. */
export interface BridgeOutRule {
	readonly filter: string;
	readonly localPrefix: string;
	readonly remotePrefix: string;
	readonly order: "oldest-first" | "newest-first";
	/** Where a rule that is new begins. */
	readonly from: "latest" | "earliest";
}

/** Which topics go to the central cluster, and how. The first rule that fits a topic holds. */
export interface UpstreamTopicRule {
	/** A name, in which `*` stands for any characters; topics that begin with __ are meant only by their full name. */
	readonly topic: string;
	/** The name there: {topic} stands for the name here, {gateway} for `gateway.id`. */
	readonly to: string;
	/** `same`: the partition there has the number that it has here. */
	readonly partitioner: "key" | "same";
	readonly priority: "high" | "normal" | "low";
	readonly order: "oldest-first" | "live-first";
	/** Where a topic begins that has no position yet. */
	readonly from: "earliest" | "latest";
}

/** A topic of the central cluster that comes here. */
export interface DownlinkRule {
	readonly topic: string;
	readonly to: string;
	/** What the record's key must be: `*` stands for any characters, {gateway} for `gateway.id`. */
	readonly key?: string;
	/** A header that the record must have; the value as `key`. */
	readonly header?: { readonly name: string; readonly value: string };
	readonly from: "earliest" | "latest";
	/** Whether the last of each key is kept as a retained message of MQTT. */
	readonly retain: boolean;
}

export type ValueOf<D> = D extends { kind: "integer" | "fraction" }
	? number
	: D extends { kind: "address" }
		? Address
		: D extends { kind: "choice"; choices: readonly (infer C)[] }
			? C
			: D extends { kind: "routes" }
				? readonly RouteConfig[]
				: D extends { kind: "bridges" }
					? readonly BridgeConfig[]
					: D extends { kind: "upstream-topics" }
						? readonly UpstreamTopicRule[]
						: D extends { kind: "downlink" }
							? readonly DownlinkRule[]
							: string;

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

export type KeyDefinition =
	| IntegerDefinition
	| AddressDefinition
	| TextDefinition
	| ChoiceDefinition
	| RoutesDefinition;

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
	readonly topic: string;
	/** Template of the record's key; without one the key is null. */
	readonly key?: string;
	/** Templates of further record headers. */
	readonly headers?: Readonly<Record<string, string>>;
}

export type ValueOf<D> = D extends { kind: "integer" }
	? number
	: D extends { kind: "address" }
		? Address
		: D extends { kind: "choice"; choices: readonly (infer C)[] }
			? C
			: D extends { kind: "routes" }
				? readonly RouteConfig[]
				: string;

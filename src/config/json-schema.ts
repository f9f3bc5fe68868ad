/**
 * JSON Schema (2020-12) of the configuration file, for editors: keys dotted or nested, at every depth.
 */

import { BRIDGE_MEMBERS, IN_MEMBERS, OUT_MEMBERS } from "./bridges.ts";
import {
	type IntegerDefinition,
	type KeyDefinition,
	ROUTE_DURABILITIES,
	ROUTE_QOS0,
	type TextDefinition,
} from "./definition.ts";
import { definitionOf, KEY_NAMES } from "./keys.ts";
import type { Members } from "./members.ts";
import { SIZE_UNITS, TIME_UNITS } from "./units.ts";
import { DOWNLINK_MEMBERS, UPSTREAM_TOPIC_MEMBERS } from "./upstream-rules.ts";
import { formatAddress } from "./values.ts";

type Schema = Record<string, unknown>;

export function configJsonSchema(): Schema {
	const definitions: Schema = {};
	for (const key of KEY_NAMES) definitions[key] = keySchema(definitionOf(key));
	return {
		$schema: "https://json-schema.org/draft/2020-12/schema",
		title: "Headwater's configuration",
		...mapSchema(""),
		$defs: definitions,
	};
}

/** A map that stands below `prefix` ("" or "mqtt."): every key by its rest, and by the first part of its rest. */
function mapSchema(prefix: string): Schema {
	const properties: Schema = {};
	for (const key of KEY_NAMES) {
		if (!key.startsWith(prefix)) continue;
		const rest = key.slice(prefix.length);
		properties[rest] = { $ref: `#/$defs/${key}` };
		const dot = rest.indexOf(".");
		if (dot > 0) properties[rest.slice(0, dot)] ??= mapSchema(`${prefix}${rest.slice(0, dot)}.`);
	}
	return { type: "object", additionalProperties: false, properties };
}

function leastOf({ minimum, minusOne, minusTwo }: IntegerDefinition): number {
	if (minusTwo !== undefined) return -2;
	return minusOne === undefined ? minimum : -1;
}

function keySchema(definition: KeyDefinition): Schema {
	const description = definition.documentation;
	switch (definition.kind) {
		case "integer": {
			const plain: Schema = {
				type: "integer",
				minimum: leastOf(definition),
				maximum: definition.maximum,
			};
			const units = definition.unit === "count" ? [] : definition.unit === "bytes" ? SIZE_UNITS : TIME_UNITS;
			const names = units.map(([unit]) => unit).join("|");
			const pattern = names === "" ? "^-?[0-9]+$" : `^-?[0-9]+(\\.[0-9]+)? ?(${names})?$`;
			return { description, default: definition.fallback, anyOf: [plain, { type: "string", pattern }] };
		}
		case "fraction":
			return { description, default: definition.fallback, type: "number", minimum: 0, maximum: 1 };
		case "address":
			return { description, default: formatAddress(definition.fallback), type: "string", pattern: "^.+:[0-9]+$" };
		case "text":
			return {
				description,
				default: definition.fallback,
				type: "string",
				...textLimits(definition),
			};
		case "choice":
			return { description, default: definition.fallback, enum: definition.choices };
		case "routes":
			return { description, default: definition.fallback, type: "array", items: ROUTE_SCHEMA };
		case "bridges":
			return { description, default: definition.fallback, type: "array", items: bridgeSchema() };
		case "upstream-topics":
			return { description, default: definition.fallback, ...namesOrRules(UPSTREAM_TOPIC_MEMBERS) };
		case "downlink":
			return { description, default: definition.fallback, ...namesOrRules(DOWNLINK_MEMBERS) };
	}
}

/** Where the default is empty, an empty text is that. */
function textLimits({ shape, fallback, secret }: TextDefinition): Schema {
	const writeOnly = secret ? { writeOnly: true } : {};
	if (shape === undefined) return fallback === "" ? writeOnly : { minLength: 1 };
	return { pattern: fallback === "" ? `^$|${shape.matches}` : shape.matches };
}

const ROUTE_SCHEMA: Schema = {
	type: "object",
	additionalProperties: false,
	required: ["filter"],
	anyOf: [{ required: ["topic"] }, { required: ["durability"], properties: { durability: { const: "memory" } } }],
	properties: {
		filter: {
			type: "string",
			minLength: 1,
			description: "An MQTT topic filter in which a whole level may be {name}, which matches as + does.",
		},
		topic: {
			type: "string",
			pattern: "^[A-Za-z0-9._-]{1,249}$",
			description: "The topic that gets the records; only a route with durability memory has none.",
		},
		key: {
			type: "string",
			minLength: 1,
			description:
				"The record's key: {name} is a named level, {topic} the whole MQTT topic, {#} what # takes, {json.FIELD} a field of the payload.",
		},
		headers: {
			type: "object",
			additionalProperties: { type: "string" },
			description: "Further headers of the record: names with templates as in key.",
		},
		timestamp: {
			type: "string",
			pattern: "^\\{json\\.[^{}]+\\}$",
			description:
				"The record's timestamp from a field of the payload: seconds or milliseconds since 1970, or ISO 8601. Without it the arrival.",
		},
		rewrite: {
			type: "string",
			minLength: 1,
			description:
				"The MQTT topic that the event gets in place of its own: a template as key, without fields of the payload.",
		},
		priority: { type: "integer", default: 0, description: "Routes of a higher priority are tried first." },
		continue: {
			type: "boolean",
			default: false,
			description: "The next route that matches applies as well: it gets a copy, in the same commit.",
		},
		qos0: {
			enum: ROUTE_QOS0,
			default: ROUTE_QOS0[0],
			description: "Whether events of QoS 0 are dropped while more than half of memory.budget.bytes is in use.",
		},
		durability: {
			enum: ROUTE_DURABILITIES,
			default: ROUTE_DURABILITIES[0],
			description: "memory: events go to the subscribers connected now and are stored nowhere.",
		},
	},
};

function bridgeSchema(): Schema {
	const schema = membersSchema(BRIDGE_MEMBERS, "");
	const rules = (members: Members): Schema => ({ type: "array", items: membersSchema(members, "") });
	schema.properties = { ...(schema.properties as Schema), in: rules(IN_MEMBERS), out: rules(OUT_MEMBERS) };
	return schema;
}

/** `telemetry, alarms`, or a list of names and rules. */
function namesOrRules(members: Members): Schema {
	const items = { anyOf: [{ type: "string", minLength: 1 }, membersSchema(members, "")] };
	return {
		anyOf: [
			{ type: "string", minLength: 1 },
			{ type: "array", items },
		],
	};
}

/** Dotted or nested, as the keys themselves. */
function membersSchema(members: Members, prefix: string): Schema {
	const properties: Schema = {};
	for (const [key, member] of Object.entries(members)) {
		if (!key.startsWith(prefix)) continue;
		const rest = key.slice(prefix.length);
		const dot = rest.indexOf(".");
		const first = rest.slice(0, dot);
		// `password` is a value; a map of that name would be two things.
		if (dot > 0 && !Object.hasOwn(members, prefix + first)) {
			properties[first] ??= membersSchema(members, `${prefix}${first}.`);
		}
		const { documentation, choices, fallback, minimum, maximum, type } = member;
		const described = { description: documentation, ...(fallback === undefined ? {} : { default: fallback }) };
		if (type === "choice") properties[rest] = { ...described, enum: choices };
		else if (type === "flag") properties[rest] = { ...described, type: "boolean" };
		else if (type === "number") properties[rest] = { ...described, type: "integer", minimum, maximum };
		else if (type === "seconds") {
			const number = { type: "integer", minimum, maximum };
			properties[rest] = { ...described, anyOf: [number, { type: "string", pattern: "^[0-9]+ ?(d|h|m|s|ms)?$" }] };
		} else if (type === "text") properties[rest] = { ...described, type: "string" };
	}
	const required = Object.keys(members).filter((key) => members[key]!.required && prefix === "");
	return { type: "object", additionalProperties: false, ...(required.length > 0 ? { required } : {}), properties };
}

/**
 * JSON Schema (2020-12) of the configuration file, for editors: keys dotted or nested, at every depth.
 */
import type { KeyDefinition } from "./definition.ts";
import { definitionOf, KEY_NAMES } from "./keys.ts";
import { SIZE_UNITS, TIME_UNITS } from "./units.ts";
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

function keySchema(definition: KeyDefinition): Schema {
	const description = definition.documentation;
	switch (definition.kind) {
		case "integer": {
			const plain: Schema = {
				type: "integer",
				minimum: definition.minusOne === undefined ? definition.minimum : -1,
				maximum: definition.maximum,
			};
			const units = definition.unit === "count" ? [] : definition.unit === "bytes" ? SIZE_UNITS : TIME_UNITS;
			const names = units.map(([unit]) => unit).join("|");
			const pattern = names === "" ? "^-?[0-9]+$" : `^-?[0-9]+(\\.[0-9]+)? ?(${names})?$`;
			return { description, default: definition.fallback, anyOf: [plain, { type: "string", pattern }] };
		}
		case "address":
			return { description, default: formatAddress(definition.fallback), type: "string", pattern: "^.+:[0-9]+$" };
		case "text":
			return { description, default: definition.fallback, type: "string", minLength: 1 };
		case "choice":
			return { description, default: definition.fallback, enum: definition.choices };
		case "routes":
			return { description, default: definition.fallback, type: "array", items: ROUTE_SCHEMA };
	}
}

const ROUTE_SCHEMA: Schema = {
	type: "object",
	additionalProperties: false,
	required: ["filter", "topic"],
	properties: {
		filter: {
			type: "string",
			minLength: 1,
			description: "An MQTT topic filter in which a whole level may be {name}, which matches as + does.",
		},
		topic: { type: "string", pattern: "^[A-Za-z0-9._-]{1,249}$", description: "The topic that gets the records." },
		key: {
			type: "string",
			minLength: 1,
			description: "The record's key: {name} is a named level, {topic} the whole MQTT topic.",
		},
		headers: {
			type: "object",
			additionalProperties: { type: "string" },
			description: "Further headers of the record: names with templates as in key.",
		},
	},
};

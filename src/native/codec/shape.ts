/**
 * What a decoded message has to look like, said as data: the door checks requests by it, the client answers, and the tests
 * make wrong messages of it systematically. docs/native-protocol.md says the same in CDDL.
 */
import { ProtocolError } from "./protocol.ts";

export type Shape =
	| { readonly kind: "uint"; readonly min?: number; readonly max?: number }
	| { readonly kind: "text"; readonly minBytes?: number; readonly maxBytes?: number }
	| { readonly kind: "bytes" }
	| { readonly kind: "bool" }
	| { readonly kind: "orNull"; readonly of: Shape }
	| { readonly kind: "array"; readonly of: Shape; readonly min?: number; readonly max?: number }
	/** An array with a meaning for each place; those from `required` on may be missing. */
	| { readonly kind: "tuple"; readonly of: readonly (readonly [string, Shape])[]; readonly required?: number }
	/** An array whose first item says what the others are. */
	| { readonly kind: "variant"; readonly of: Readonly<Record<number, Shape>> }
	| { readonly kind: "oneOf"; readonly of: readonly Shape[] }
	| { readonly kind: "textMap"; readonly max?: number }
	| { readonly kind: "any" }
	| BodyShape;

/** A map with integer keys; keys not listed are let be, for versions to come. */
export interface BodyShape {
	readonly kind: "body";
	readonly fields: Readonly<Record<number, { readonly name: string; readonly shape: Shape; readonly optional?: true }>>;
}

export function kindOf(value: unknown): string {
	if (value === null) return "null";
	if (value === undefined) return "nothing";
	if (typeof value === "number") return value < 0 ? "a negative number" : "an unsigned number";
	if (typeof value === "string") return "text";
	if (typeof value === "boolean") return "a boolean";
	if (value instanceof Uint8Array) return "bytes";
	return Array.isArray(value) ? "an array" : "a map";
}

function wrong(path: string, expected: string, value: unknown): never {
	throw new ProtocolError("INVALID_REQUEST", `${path}: expected ${expected}, got ${kindOf(value)}`);
}

function outOfBounds(path: string, what: string, value: number, min: number, max: number): void {
	if (value >= min && value <= max) return;
	throw new ProtocolError("INVALID_REQUEST", `${path}: ${what} ${value} is not within ${min} and ${max}`);
}

/** Throws ProtocolError INVALID_REQUEST, which says where and what, unless `value` has the shape. */
export function checkShape(value: unknown, shape: Shape, path: string): void {
	switch (shape.kind) {
		case "uint":
			if (typeof value !== "number" || value < 0) wrong(path, "an unsigned number", value);
			outOfBounds(path, "the number", value, shape.min ?? 0, shape.max ?? Number.MAX_SAFE_INTEGER);
			break;
		case "text": {
			if (typeof value !== "string") wrong(path, "text", value);
			if (shape.minBytes === undefined && shape.maxBytes === undefined) break;
			outOfBounds(path, "a length of", Buffer.byteLength(value), shape.minBytes ?? 0, shape.maxBytes ?? Infinity);
			break;
		}
		case "bytes":
			if (!(value instanceof Uint8Array)) wrong(path, "bytes", value);
			break;
		case "bool":
			if (typeof value !== "boolean") wrong(path, "a boolean", value);
			break;
		case "orNull":
			if (value !== null) checkShape(value, shape.of, path);
			break;
		case "array":
			if (!Array.isArray(value)) wrong(path, "an array", value);
			outOfBounds(path, "a count of", value.length, shape.min ?? 0, shape.max ?? Infinity);
			for (let i = 0; i < value.length; i++) checkShape(value[i], shape.of, `${path}[${i}]`);
			break;
		case "tuple":
			if (!Array.isArray(value)) wrong(path, "an array", value);
			outOfBounds(path, "a count of", value.length, shape.required ?? shape.of.length, shape.of.length);
			for (let i = 0; i < value.length; i++) {
				const [name, of] = shape.of[i] as readonly [string, Shape];
				checkShape(value[i], of, `${path}.${name}`);
			}
			break;
		case "variant": {
			if (!Array.isArray(value)) wrong(path, "an array", value);
			const of = typeof value[0] === "number" ? shape.of[value[0]] : undefined;
			if (of === undefined) wrong(path, `an array that begins with one of ${Object.keys(shape.of)}`, value[0]);
			checkShape(value, of, path);
			break;
		}
		case "oneOf":
			checkOneOf(value, shape.of, path);
			break;
		case "textMap":
			if (!(value instanceof Map)) wrong(path, "a map", value);
			outOfBounds(path, "a count of", value.size, 0, shape.max ?? Infinity);
			for (const [key, item] of value) {
				if (typeof key !== "string") wrong(`${path}, a key`, "text", key);
				if (typeof item !== "string") wrong(`${path}.${key}`, "text", item);
			}
			break;
		case "any":
			break;
		case "body":
			if (!(value instanceof Map)) wrong(path, "a map", value);
			for (const key in shape.fields) {
				const field = shape.fields[key as unknown as number];
				if (field === undefined) continue;
				const item = value.get(Number(key));
				if (item === undefined && field.optional === true) continue;
				if (item === undefined) wrong(`${path}, key ${key} (${field.name})`, "a value", item);
				checkShape(item, field.shape, `${path}, key ${key} (${field.name})`);
			}
	}
}

function checkOneOf(value: unknown, shapes: readonly Shape[], path: string): void {
	let last: unknown;
	for (const shape of shapes) {
		try {
			checkShape(value, shape, path);
			return;
		} catch (error) {
			last = error;
		}
	}
	throw last;
}

/**
 * Templates of routes: text with placeholders for what an MQTT topic and a payload hold. A template is taken apart when
 * the routes are made and filled once per MQTT topic; only the JSON fields in it wait for the payload.
 */
import { StartError } from "../../src/base/errors.ts";
import { type JsonFields, PATH_NAMES_MAX } from "./route-json.ts";

type Piece =
	| { readonly kind: "text"; readonly text: string }
	/** One level of the MQTT topic. */
	| { readonly kind: "level"; readonly level: number }
	/** The levels that # took, from that one on. */
	| { readonly kind: "rest"; readonly from: number }
	/** The whole MQTT topic. */
	| { readonly kind: "topic" }
	/** A field of the payload, by its slot in JsonFields. */
	| { readonly kind: "field"; readonly slot: number };

export type Template = readonly Piece[];

/** A template for one MQTT topic: text, or pieces of which numbers are slots of JsonFields. */
export type Filled = string | readonly (string | number)[];

/** What a template may refer to. */
export interface Known {
	/** Level index by name. */
	readonly names: ReadonlyMap<string, number>;
	/** The level at which the filter's # stands, if it has one. */
	readonly rest: number | undefined;
	/** Where JSON fields are taken up; undefined: none may stand here. */
	readonly fields: JsonFields | undefined;
}

const FIELD_PREFIX = "json.";

export function fault(where: string, message: string): never {
	throw new StartError(`${where}: ${message}`);
}

/** Throws StartError, beginning with `where`. */
export function parseTemplate(text: string, where: string, known: Known): Template {
	const pieces: Piece[] = [];
	const fixed = (from: number, to: number) => {
		const part = text.slice(from, to);
		if (/[{}]/.test(part)) fault(where, `"${text}" has a brace without its partner`);
		if (part !== "") pieces.push({ kind: "text", text: part });
	};
	let end = 0;
	for (const match of text.matchAll(/\{([^{}]*)\}/g)) {
		fixed(end, match.index);
		end = match.index + match[0].length;
		pieces.push(placeholder(match[1]!, where, known));
	}
	fixed(end, text.length);
	return pieces;
}

function placeholder(name: string, where: string, known: Known): Piece {
	if (name === "topic") return { kind: "topic" };
	if (name === "#" && known.rest !== undefined) return { kind: "rest", from: known.rest };
	if (name.startsWith(FIELD_PREFIX)) {
		if (known.fields === undefined) {
			fault(where, `{${name}} cannot stand here: fields of the payload may be in key, headers and timestamp`);
		}
		return { kind: "field", slot: known.fields.add(fieldPath(name, where)) };
	}
	const level = known.names.get(name);
	if (level !== undefined) return { kind: "level", level };
	const own = [...known.names.keys(), "topic", ...(known.rest === undefined ? [] : ["#"])];
	if (known.fields !== undefined) own.push(`${FIELD_PREFIX}FIELD`);
	const all = own.map((each) => `{${each}}`).join(", ");
	fault(where, `{${name}} names no level of the filter; known here: ${all}`);
}

function fieldPath(name: string, where: string): readonly string[] {
	const path = name.slice(FIELD_PREFIX.length).split(".");
	if (path.includes("")) {
		fault(
			where,
			`{${name}} has an empty field name; a field is written as {json.device.id}, an array's first as {json.list.0}`,
		);
	}
	if (path.length > PATH_NAMES_MAX) {
		fault(where, `{${name}} goes ${path.length} levels deep; a payload is read to ${PATH_NAMES_MAX}`);
	}
	return path;
}

/** For one MQTT topic, given whole and by levels. */
export function fillTemplate(template: Template, topic: string, levels: readonly string[]): Filled {
	const pieces: (string | number)[] = [];
	let text = "";
	for (const piece of template) {
		if (piece.kind === "field") {
			if (text !== "") pieces.push(text);
			pieces.push(piece.slot);
			text = "";
		} else text += textOf(piece, topic, levels);
	}
	if (pieces.length === 0) return text;
	if (text !== "") pieces.push(text);
	return pieces;
}

function textOf(piece: Exclude<Piece, { kind: "field" }>, topic: string, levels: readonly string[]): string {
	switch (piece.kind) {
		case "text":
			return piece.text;
		case "level":
			return levels[piece.level]!;
		case "rest":
			return levels.slice(piece.from).join("/");
		case "topic":
			return topic;
	}
}

/** With the payload that `fields` has read last; undefined where it has not all that is asked for. */
export function fillFields(filled: Filled, fields: JsonFields): string | undefined {
	if (typeof filled === "string") return filled;
	let text = "";
	for (const piece of filled) {
		const part = typeof piece === "string" ? piece : fields.text(piece);
		if (part === undefined) return undefined;
		text += part;
	}
	return text;
}

/** Whether the template is that one piece and nothing else. */
export function isOnly(template: Template | undefined, kind: "topic" | "rest" | "level", level?: number): boolean {
	const piece = template?.[0];
	if (template?.length !== 1 || piece?.kind !== kind) return false;
	return piece.kind !== "level" || piece.level === level;
}

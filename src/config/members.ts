/**
 * Maps within the lists of the configuration, as a bridge or a rule of upstream: one table of their members gives the check, the
 * reference and the JSON Schema.
 */
import { nearest } from "./nearest.ts";
import { parseQuantity, TIME_UNITS } from "./units.ts";

/** What is wrong with one of them and what would be right, for `Parsed`. */
export class Wrong extends Error {
	readonly right: string;

	constructor(wrong: string, right: string) {
		super(wrong);
		this.right = right;
	}
}

interface Member {
	readonly type: "text" | "number" | "seconds" | "flag" | "choice" | "list";
	readonly documentation: string;
	readonly minimum?: number;
	readonly maximum?: number;
	readonly choices?: readonly string[];
	readonly fallback?: string | number | boolean;
	/** Text may be empty. */
	readonly empty?: boolean;
	readonly secret?: boolean;
	readonly required?: boolean;
}

export type Members = Readonly<Record<string, Member>>;

/** Every member with its value or default. Maps may be nested or dotted, as everywhere in the file. */
export function parseMembers(raw: unknown, members: Members, where: string): Map<string, unknown> {
	if (!isMap(raw)) throw new Wrong(`${where}: is no map`, `${Object.keys(members).join(", ")} by name`);
	const values = new Map<string, unknown>();
	const take = (map: Readonly<Record<string, unknown>>, prefix: string): void => {
		for (const [name, value] of Object.entries(map)) {
			const key = prefix + name;
			const member = Object.hasOwn(members, key) ? members[key] : undefined;
			if (member === undefined) {
				if (isMap(value) && Object.keys(members).some((known) => known.startsWith(`${key}.`))) {
					take(value, `${key}.`);
					continue;
				}
				const near = nearest(key, Object.keys(members));
				throw new Wrong(
					`${where}: there is no "${key.slice(0, 80)}"`,
					near === undefined ? `one of ${Object.keys(members).join(", ")}` : `did you mean ${near}?`,
				);
			}
			if (values.has(key)) throw new Wrong(`${where}: "${key}" is set twice`, "one of the two");
			values.set(key, parseMember(member, value, `${where}: "${key}"`));
		}
	};
	take(raw, "");
	for (const [key, { required, fallback }] of Object.entries(members)) {
		if (values.has(key)) continue;
		if (required) throw new Wrong(`${where}: "${key}" is missing`, members[key]!.documentation);
		if (fallback !== undefined) values.set(key, fallback);
	}
	return values;
}

function parseMember(member: Member, raw: unknown, where: string): unknown {
	const shown = member.secret ? "what is there" : (JSON.stringify(raw)?.slice(0, 80) ?? "nothing");
	const wrong = (right: string): never => {
		throw new Wrong(`${where}: ${shown} is not right`, right);
	};
	switch (member.type) {
		case "text":
			if (typeof raw !== "string") return wrong("text; in quotes where it is only digits");
			if (raw === "" && member.empty !== true) return wrong("text that is not empty");
			return raw;
		case "flag":
			return typeof raw === "boolean" ? raw : wrong("true or false");
		case "choice": {
			const text = String(raw);
			return member.choices!.includes(text) ? text : wrong(`one of ${member.choices!.join(", ")}`);
		}
		case "list":
			return Array.isArray(raw) ? raw : wrong('a list of rules, as [{"filter": "sensors/#"}]');
		default: {
			const seconds =
				member.type === "seconds" && typeof raw === "string" ? parseQuantity(raw, TIME_UNITS, 1000) : undefined;
			const value = seconds === undefined ? raw : seconds / 1000;
			const { minimum = 0, maximum = 0 } = member;
			if (typeof value === "number" && Number.isInteger(value) && value >= minimum && value <= maximum) return value;
			return wrong(`a whole number from ${minimum} to ${maximum}`);
		}
	}
}

export function isMap(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without what is not there and what is the default: as a file would state it. */
export function stated(all: Readonly<Record<string, unknown>>, members: Members): Record<string, unknown> {
	return Object.fromEntries(
		Object.entries(all).filter(([key, value]) => value !== undefined && value !== members[key]?.fallback),
	);
}

/**
 * What a value of a topic's configuration may be. Types and limits are those of Kafka's ConfigDef; a
 * value is kept as the text that Kafka would give back: trimmed, numbers plain.
 */

/** By Kafka's numbers, which DescribeConfigs sends. */
export const CONFIG_TYPES = {
	BOOLEAN: 1,
	STRING: 2,
	INT: 3,
	SHORT: 4,
	LONG: 5,
	DOUBLE: 6,
	LIST: 7,
	CLASS: 8,
	PASSWORD: 9,
} as const;

export type ConfigType = keyof typeof CONFIG_TYPES;

/** A form of value. */
export interface ConfigForm {
	readonly type: ConfigType;
	/** For people, what would be right. */
	readonly right: string;
	/** The value as it is kept; undefined where it is none. */
	parse(text: string): string | undefined;
}

/** Kafka's largest LONG: "without end" where a number has no other way to say so. */
export const MAX_LONG = 0x7fff_ffff_ffff_ffffn;
const MAX_INT = 0x7fff_ffffn;

/** `also`: one more value that is allowed. */
export function int(min: number, max: bigint | number = MAX_INT, also?: number): ConfigForm {
	return whole("INT", BigInt(min), BigInt(max), also);
}

export function long(min: bigint | number, max: bigint | number = MAX_LONG): ConfigForm {
	return whole("LONG", BigInt(min), BigInt(max));
}

function whole(type: ConfigType, min: bigint, max: bigint, also?: number): ConfigForm {
	return {
		type,
		right: `a whole number from ${min} to ${max}${also === undefined ? "" : `, or ${also}`}`,
		parse: (text) => {
			if (!/^[+-]?\d{1,19}$/.test(text)) return undefined;
			const number = BigInt(text.replace("+", ""));
			return (number >= min && number <= max) || number === BigInt(also ?? min) ? String(number) : undefined;
		},
	};
}

export function fraction(): ConfigForm {
	return {
		type: "DOUBLE",
		right: "a number from 0 to 1",
		parse: (text) => {
			const number = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
			return number >= 0 && number <= 1 ? String(number) : undefined;
		},
	};
}

export function boolean(): ConfigForm {
	return { type: "BOOLEAN", right: "true or false", parse: (text) => /^(true|false)$/i.exec(text)?.[0].toLowerCase() };
}

export function choice(...choices: readonly string[]): ConfigForm {
	return {
		type: "STRING",
		right: `one of ${choices.join(", ")}`,
		parse: (text) => (choices.includes(text) ? text : undefined),
	};
}

/** With commas between; none at all is a list too. */
export function list(right: string, isItem: (item: string) => boolean): ConfigForm {
	return {
		type: "LIST",
		right,
		parse: (text) => {
			if (text === "") return "";
			const items = text.split(",").map((item) => item.trim());
			return items.every(isItem) ? [...new Set(items)].join(",") : undefined;
		},
	};
}

/** The configuration as text by key, for those who only tell it. */
import { type Config, definitionOf, KEY_NAMES } from "./keys.ts";
import { formatAddress, isListKind } from "./values.ts";

/** All keys but those that are lists of their own kind, and secrets. `withoutEnd` is what the largest number is written as. */
export function configAsText(
	config: Config,
	withoutEnd: string,
): Record<string, { value: string; fallback: string; documentation: string }> {
	const text = (value: unknown): string => {
		if (typeof value === "object") return formatAddress(value as Parameters<typeof formatAddress>[0]);
		return value === Number.MAX_SAFE_INTEGER ? withoutEnd : String(value);
	};
	return Object.fromEntries(
		KEY_NAMES.flatMap((key) => {
			const definition = definitionOf(key);
			const { kind, fallback, documentation } = definition;
			if (isListKind(kind) || (kind === "text" && definition.secret)) return [];
			return [[key, { value: text(config[key]), fallback: text(fallback), documentation }]];
		}),
	);
}

/** The configuration in force, as a YAML file that gives exactly it, each key with where its value came from. */
import type { KeyDefinition } from "./definition.ts";
import { definitionOf, KEY_NAMES } from "./keys.ts";
import type { LoadedConfig } from "./load.ts";
import { formatValue, isListKind, showList } from "./values.ts";

export function showConfig(loaded: LoadedConfig): string {
	const lines: string[] = [];
	for (const key of KEY_NAMES) {
		const definition = definitionOf(key);
		const value = loaded.config[key];
		const comment = `# ${loaded.sources[key].replace(/\s+/g, " ")}`;
		if (isListKind(definition.kind)) {
			const list = showList(definition.kind, value);
			lines.push(`${key}:${list.length === 0 ? " []" : ""}  ${comment}`);
			for (const each of list) lines.push(`  - ${JSON.stringify(each)}`);
		} else if (typeof value === "number") lines.push(`${key}: ${value}  ${comment}`);
		else lines.push(`${key}: ${yamlText(formatValue(definition, value))}  ${comment}`);
	}
	return `${lines.join("\n")}\n`;
}

/** One object for each key, for `--json`. */
export function showConfigObjects(
	loaded: LoadedConfig,
): { key: string; value: unknown; isDefault: boolean; source: string }[] {
	return KEY_NAMES.map((key) => {
		const definition = definitionOf(key);
		const value = loaded.config[key];
		const source = loaded.sources[key];
		return {
			key,
			value: shown(definition, value),
			isDefault: source === "default",
			source,
		};
	});
}

function shown(definition: KeyDefinition, value: unknown): unknown {
	const { kind } = definition;
	if (kind === "address" || kind === "text") return formatValue(definition, value);
	return isListKind(kind) ? showList(kind, value) : value;
}

/** Plain where no YAML reader can take it for something else, else quoted: every JSON string is YAML. */
function yamlText(text: string): string {
	return /^[A-Za-z./][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|\.(nan|inf))$/i.test(text)
		? text
		: JSON.stringify(text);
}

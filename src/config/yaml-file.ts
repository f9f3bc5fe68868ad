/**
 * A configuration file's text to its settings, each with its line. Maps may be nested or dotted,
 * `mqtt: {listen: ...}` equals `mqtt.listen: ...`. The only module that loads `yaml`, and itself
 * loaded only when there is a file; what it returns is plain JSON, so that it may also run in a
 * process of its own (the parser costs 11 MB resident that a gateway would keep for its whole life).
 */
import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { isKeyName } from "./keys.ts";

export interface FileEntry {
	/** Dotted. */
	readonly key: string;
	readonly value: unknown;
	readonly line: number;
}

export interface FileContent {
	readonly entries: readonly FileEntry[];
	readonly errors: readonly { readonly line: number; readonly wrong: string; readonly right?: string }[];
}

export function readYaml(text: string): FileContent {
	const lineCounter = new LineCounter();
	// No merge keys, no anchors that grow: a configuration has a few hundred lines.
	const document = parseDocument(text, { lineCounter, prettyErrors: false, stringKeys: true, version: "1.2" });
	const lineOf = (node: Node | null | undefined) => lineCounter.linePos(node?.range?.[0] ?? 0).line || 1;
	const errors = document.errors.map((error) => ({
		line: lineCounter.linePos(error.pos[0]).line,
		wrong: error.code === "DUPLICATE_KEY" ? "the same key stands twice in one map" : error.message,
		...(error.code === "DUPLICATE_KEY" ? { right: "one of the two" } : {}),
	}));
	const entries: FileEntry[] = [];
	if (errors.length > 0 || document.contents === null) return { entries, errors };
	if (isScalar(document.contents) && document.contents.value === null) return { entries, errors };
	if (!isMap(document.contents)) {
		return {
			entries,
			errors: [{ line: 1, wrong: "is no map of keys and values", right: "lines such as mqtt.listen: 127.0.0.1:1883" }],
		};
	}
	const walk = (map: Node, prefix: string) => {
		if (!isMap(map)) return;
		for (const pair of map.items) {
			const keyNode = pair.key as Node;
			const key = prefix + String(isScalar(keyNode) ? keyNode.value : keyNode);
			const value = pair.value as Node | null;
			if (isMap(value) && value.items.length > 0 && !isKeyName(key)) walk(value, `${key}.`);
			else
				entries.push({
					key,
					value: value === null ? null : value.toJS(document, { maxAliasCount: 0 }),
					line: lineOf(keyNode),
				});
		}
	};
	try {
		walk(document.contents, "");
	} catch (error) {
		errors.push({ line: 1, wrong: (error as Error).message, right: "no anchors and aliases" });
	}
	return { entries, errors };
}

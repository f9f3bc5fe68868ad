/**
 * The source tree as the tidy rules see it: paths and texts, and just enough reading of TypeScript to
 * find imports without taking one out of a comment or a string.
 */
import fs from "node:fs";
import path from "node:path";

export interface SourceFile {
	/** Relative to the repository, with slashes. */
	readonly path: string;
	readonly text: string;
}

export interface Import {
	readonly specifier: string;
	/** `import type`, `export type ... from`: nothing of it is left at run time. */
	readonly typeOnly: boolean;
	readonly line: number;
}

const SKIPPED_FOLDERS = new Set(["node_modules", "dist", "data", ".git", "coverage"]);
const TEXT_FILE =
	/\.(ts|mjs|js|json|md|yaml|yml|sh|cddl|xml|properties)$|^(\.ci\/run|\.npmrc|\.gitignore|LICENSE)$|^test\/interop\/kit\//;

/** Every text file of the repository below `root`, sorted by path. */
export function readTree(root: string): SourceFile[] {
	const files: SourceFile[] = [];
	const walk = (folder: string): void => {
		for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
			const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
			if (entry.isDirectory()) {
				if (!SKIPPED_FOLDERS.has(entry.name)) walk(name);
			} else if (entry.isFile() && TEXT_FILE.test(name)) {
				files.push({ path: name, text: fs.readFileSync(path.join(root, name), "utf8") });
			}
		}
	};
	walk("");
	return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Comments, strings, templates, and regular expressions (which may hold quotes) where an operand can stand. */
const TOKEN = new RegExp(
	[
		/\/\/[^\n]*/,
		/\/\*[\s\S]*?\*\//,
		/"(?:\\.|[^"\\\n])*"/,
		/'(?:\\.|[^'\\\n])*'/,
		/`(?:\\.|[^`\\])*`/,
		/(?<=(?:^|[(,=:[!&|?{};>]|\breturn)\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/,
	]
		.map((part) => part.source)
		.join("|"),
	"gm",
);

/** The same text, character for character, with comments (and, if asked, the insides of strings) blanked. */
export function codeOf(text: string, strings: "kept" | "blanked"): string {
	const blank = (piece: string): string => piece.replace(/[^\n]/g, " ");
	return text.replace(TOKEN, (token) => {
		if (token.startsWith("//") || token.startsWith("/*")) return blank(token);
		return strings === "kept" ? token : token[0] + blank(token.slice(1, -1)) + token[0];
	});
}

const FROM = /\b(import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+|(?=["']))["']([^"'\n]+)["']/g;
const DYNAMIC = /\bimport\(\s*["']([^"'\n]+)["']/g;

export function importsOf(file: SourceFile): Import[] {
	const code = codeOf(file.text, "kept");
	const lineAt = (index: number): number => code.slice(0, index).split("\n").length;
	const imports: Import[] = [];
	for (const match of code.matchAll(FROM)) {
		imports.push({ specifier: match[3] ?? "", typeOnly: match[2] !== undefined, line: lineAt(match.index) });
	}
	for (const match of code.matchAll(DYNAMIC)) {
		// `import("x").Y` in a type position cannot be told apart here: it counts as an import.
		imports.push({ specifier: match[1] ?? "", typeOnly: false, line: lineAt(match.index) });
	}
	return imports;
}

/** The repository path that a relative import means; undefined for a package. */
export function resolveImport(file: SourceFile, specifier: string): string | undefined {
	if (!specifier.startsWith(".")) return undefined;
	return path.posix.normalize(path.posix.join(path.posix.dirname(file.path), specifier));
}

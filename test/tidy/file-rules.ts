/** Rules about single files and their text. Each takes the tree and returns what is wrong, a line each. */
import { codeOf, type SourceFile } from "./source.ts";

const isCode = (file: SourceFile): boolean => /\.(ts|mjs|js)$/.test(file.path);
const isShipped = (file: SourceFile): boolean => isCode(file) && /^(src|bridge|tiering|device-sim)\//.test(file.path);
const isTest = (file: SourceFile): boolean => file.path.startsWith("test/") && file.path.endsWith(".ts");

/** `path:line: what` for every place where `pattern` (global) fits. */
function finds(file: SourceFile, text: string, pattern: RegExp, what: string): string[] {
	return [...text.matchAll(pattern)].map(
		(match) => `${file.path}:${text.slice(0, match.index).split("\n").length}: ${what} (${match[0].trim()})`,
	);
}

export const LINES_THAT_MAKE_YOU_THINK = 500;

/** A file longer than that needs a reason; one that needs none any more leaves the list. */
export function checkLength(files: readonly SourceFile[], allowed: ReadonlyMap<string, string>): string[] {
	const problems: string[] = [];
	const long = new Set<string>();
	for (const file of files.filter(isCode)) {
		const lines = file.text.split("\n").length - 1;
		if (lines <= LINES_THAT_MAKE_YOU_THINK) continue;
		long.add(file.path);
		if (!allowed.has(file.path)) {
			problems.push(
				`${file.path}: ${lines} lines; does it still answer one question? (${LINES_THAT_MAKE_YOU_THINK} at most)`,
			);
		}
	}
	for (const [path, reason] of allowed) {
		if (!long.has(path)) problems.push(`${path}: on the list of long files, but not long`);
		if (reason.trim().length < 20) problems.push(`${path}: on the list of long files without a reason`);
	}
	return problems;
}

export function checkDefaultExports(files: readonly SourceFile[]): string[] {
	// vitest asks for a default export.
	return files
		.filter((file) => isCode(file) && file.path !== "vitest.config.ts")
		.flatMap((file) =>
			finds(file, codeOf(file.text, "blanked"), /^export default\b|\bas default\b/gm, "default export"),
		);
}

/** A barrel only passes on what other files export. */
export function checkBarrels(files: readonly SourceFile[]): string[] {
	return files.filter(isCode).flatMap((file) => {
		if (/(^|\/)index\.\w+$/.test(file.path)) return [`${file.path}: a file is named after what it holds, not index`];
		const code = codeOf(file.text, "kept");
		const own = code.replace(
			/\b(import|export)\b[^;"']*?\bfrom\s*["'][^"'\n]+["'];?|\bimport\s*["'][^"'\n]+["'];?/g,
			"",
		);
		return /\bexport\b[^;]*\bfrom\b/.test(code) && own.trim() === "" ? [`${file.path}: a barrel file`] : [];
	});
}

export function checkNames(files: readonly SourceFile[]): string[] {
	return files
		.filter((file) => isCode(file) && /(^|\/)(utils?|helpers?|misc|common)(\/|\.\w+$)/.test(file.path))
		.map((file) => `${file.path}: the name does not say what is inside`);
}

export function checkHeadComments(files: readonly SourceFile[]): string[] {
	return files
		.filter((file) => isShipped(file) && !/^(#![^\n]*\n)?\s*(\/\*|\/\/)/.test(file.text))
		.map((file) => `${file.path}: no head comment that says what the module is for`);
}

const UNFINISHED = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`, "g");

export function checkUnfinished(files: readonly SourceFile[]): string[] {
	return files.flatMap((file) => finds(file, file.text, UNFINISHED, "unfinished work"));
}

export function checkAny(files: readonly SourceFile[]): string[] {
	const pattern = /\bas any\b|<any\b|:\s*any\b(?!\()|\bany\[\]|@ts-(ignore|nocheck)/g;
	return files
		.filter((file) => file.path.endsWith(".ts"))
		.flatMap((file) => [
			...finds(file, codeOf(file.text, "blanked"), pattern, "any"),
			...finds(file, file.text, /^\s*\/[/*].*@ts-(ignore|nocheck|expect-error)/gm, "the type checker silenced"),
		]);
}

/** Interop may skip what the machine has no program for (and says so); nothing else skips anything. */
export function checkSkips(files: readonly SourceFile[]): string[] {
	return files.filter(isTest).flatMap((file) => {
		const code = codeOf(file.text, "blanked");
		const always = finds(file, code, /\b(it|test|describe)\.(only|skip|todo|fails)\b/g, "a test that does not run");
		const conditional = finds(file, code, /\.(skipIf|runIf)\b|\bskip\(/g, "a test that may not run");
		return file.path.startsWith("test/interop/") ? always : [...always, ...conditional];
	});
}

/** The project speaks of itself alone, and does not say where its packages were fetched. */
const FOREIGN = new RegExp(
	[
		`registry\\.${"npm"}js`,
		`\\b${"npm"}js\\.org`,
		`\\.\\./${"shared"}`,
		`/work/${"main"}`,
		`\\bsub${"agents?"}\\b`,
	].join("|"),
	"gi",
);

export function checkForeignWords(files: readonly SourceFile[]): string[] {
	return files.flatMap((file) => finds(file, file.text, FOREIGN, "does not belong here"));
}

/** Versions are exact, and the lock names no place that packages came from. */
export function checkPackage(files: readonly SourceFile[]): string[] {
	const problems: string[] = [];
	for (const file of files) {
		if (file.path === "package-lock.json" && /"resolved"\s*:/.test(file.text)) {
			problems.push("package-lock.json: names where packages came from; see .npmrc");
		}
		if (file.path !== "package.json") continue;
		const manifest: Record<string, Record<string, string> | undefined> = JSON.parse(file.text);
		for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
			for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
				if (!/^\d+\.\d+\.\d+$/.test(version)) problems.push(`package.json: ${kind}.${name} is not exact: ${version}`);
			}
		}
	}
	return problems;
}

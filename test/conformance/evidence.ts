/** Which tests name which statements: read from the names of the tests, wherever they are below test/. */
import { codeOf, type SourceFile } from "../tidy/source.ts";
import { STATEMENTS_311 } from "./statements-3.1.1.ts";
import { STATEMENTS_5_0 } from "./statements-5.0.ts";
import type { Statement } from "./support/statement.ts";

export type Standard = "5.0" | "3.1.1";

export const STANDARDS: readonly { readonly name: Standard; readonly statements: readonly Statement[] }[] = [
	{ name: "5.0", statements: STATEMENTS_5_0 },
	{ name: "3.1.1", statements: STATEMENTS_311 },
];

export interface TestName {
	readonly file: string;
	/** The name as it is written, without the identifiers in brackets. */
	readonly title: string;
	readonly ids: readonly string[];
	readonly standards: readonly Standard[];
}

/**
 * The first argument of `test`, `it` and `describe`, what `each(…)` is given after its table, `name:` of a case, and the first
 * element of a row: those are what names are made of here.
 */
const LITERAL = /(?:\b(?:test|it|describe)\(|\)\(|\bname:|\[)\s*(?:"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`)/g;
const ID = /MQTT-\d+\.\d+\.\d+-\d+/g;
/** Bracketed identifiers, and the standard they are said to be of. */
const BRACKETS = /\[MQTT-[^\]]*\](?: of [\d.]+(?: and [\d.]+)?)?:?/g;

/** Every name of a test that has an identifier and says something besides. */
export function testNames(tree: readonly SourceFile[]): TestName[] {
	const names: TestName[] = [];
	for (const { path, text } of tree) {
		if (!/^test\/.*\.test\.ts$/.test(path) || path.startsWith("test/tidy/")) continue;
		for (const match of codeOf(text, "kept").matchAll(LITERAL)) {
			const name = (match[1] ?? match[2] ?? "").replace(/\\(.)/g, "$1").replace(/\$\{[^}]*\}/g, "…");
			const title = name.replace(BRACKETS, " ").replace(/\s+/g, " ").trim();
			const ids = [...new Set(name.match(ID) ?? [])];
			if (ids.length > 0 && /\w{2}/.test(title))
				names.push({ file: path, title, ids, standards: standardsOf(path, name) });
		}
	}
	return names;
}

/** Below mqtt311/ of 3.1.1; elsewhere of 5.0, except where the name says otherwise. */
function standardsOf(path: string, name: string): Standard[] {
	if (name.includes("of 3.1.1 and 5.0")) return ["5.0", "3.1.1"];
	return path.startsWith("test/conformance/mqtt311/") || name.includes("3.1.1") ? ["3.1.1"] : ["5.0"];
}

/** By statement, for one standard. */
export function evidence(names: readonly TestName[], standard: Standard): Map<string, TestName[]> {
	const found = new Map<string, TestName[]>();
	for (const each of names) {
		if (!each.standards.includes(standard)) continue;
		for (const id of each.ids) found.set(id, [...(found.get(id) ?? []), each]);
	}
	return found;
}

/** What does not hold, a line each: every statement has a test or a reason and not both; every identifier is one. */
export function problems(tree: readonly SourceFile[], standards = STANDARDS): string[] {
	const all: string[] = [];
	const names = testNames(tree);
	for (const { name: standard, statements } of standards) {
		const found = evidence(names, standard);
		const known = new Set(statements.map(({ id }) => id));
		if (known.size !== statements.length) all.push(`MQTT ${standard}: an identifier stands in the list twice`);
		for (const { id, notApplicable } of statements) {
			const tests = found.get(id);
			if (tests === undefined && notApplicable === undefined) {
				all.push(`MQTT ${standard}: ${id} has neither a test by its name nor a reason`);
			} else if (tests !== undefined && notApplicable !== undefined) {
				all.push(`MQTT ${standard}: ${id} has a test (${tests[0]?.file}); its reason for having none is to go`);
			}
		}
		for (const [id, [first]] of found) {
			if (!known.has(id)) all.push(`${first?.file}: ${id} is not a statement of MQTT ${standard}: "${first?.title}"`);
		}
	}
	return all;
}

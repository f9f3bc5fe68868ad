/**
 * docs/mqtt-conformance.md, from the statements of the standards and the names of the tests:
 * `node test/conformance/generate.ts` writes it. test/tidy holds that it is up to date.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { readTree, type SourceFile } from "../tidy/source.ts";
import { evidence, STANDARDS, type TestName, testNames } from "./evidence.ts";
import type { Statement } from "./support/statement.ts";

export const PAGE = "docs/mqtt-conformance.md";

const HEAD = `# Conformance to MQTT

Every numbered statement of MQTT 5.0 (OASIS Standard, 7 March 2019) and of MQTT 3.1.1 (OASIS Standard, 29 October
2014): whom it binds, and the tests that carry its number in their name, or why there is none. The summaries are ours and
say what a statement is about; the standards say what it means.

This page is written from the tests (\`node test/conformance/generate.ts\`). \`npm test\` runs them and fails when the page is not
what they say, or when a statement has neither a test nor a reason. Tests of a statement that binds clients hold what the
gateway does when a client breaks it.
`;

/** Tests that are named for one statement; the others are counted. */
const NAMED = 2;

const TITLES: Readonly<Record<string, string>> = {
	"1": "Data representation",
	"2": "Packet format",
	"3.1": "CONNECT",
	"3.2": "CONNACK",
	"3.3": "PUBLISH",
	"3.4": "PUBACK",
	"3.5": "PUBREC",
	"3.6": "PUBREL",
	"3.7": "PUBCOMP",
	"3.8": "SUBSCRIBE",
	"3.9": "SUBACK",
	"3.10": "UNSUBSCRIBE",
	"3.11": "UNSUBACK",
	"3.12": "PINGREQ",
	"3.14": "DISCONNECT",
	"3.15": "AUTH",
	"4": "Operational behaviour",
	"6": "WebSocket",
};

/** "3.1" of MQTT-3.1.2-4, "4" of MQTT-4.3.1-1: the part of the standard that has a table of its own. */
function chapterOf(id: string): string {
	const [, chapter = "", section = ""] = /^MQTT-(\d+)\.(\d+)/.exec(id) ?? [];
	return chapter === "3" ? `${chapter}.${section}` : chapter;
}

/** The conformance tests first: they were written for the statement. */
function byWorth(a: TestName, b: TestName): number {
	const worth = ({ file }: TestName): number => (file.startsWith("test/conformance/") ? 0 : 1);
	return worth(a) - worth(b) || (a.file < b.file ? -1 : a.file > b.file ? 1 : 0);
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

function verdict(statement: Statement, tests: readonly TestName[]): string {
	if (tests.length === 0) return `does not apply: ${statement.notApplicable ?? "?"}`;
	const sorted = [...tests].sort(byWorth);
	const named = sorted.slice(0, NAMED).map(({ file, title }) => `\`${file.replace(/^test\//, "")}\`: ${cell(title)}`);
	const more = sorted.length - named.length;
	return `${named.join("<br>")}${more > 0 ? `<br>and ${more} more` : ""}`;
}

/** The page as it is to be. */
export function conformancePage(tree: readonly SourceFile[]): string {
	const names = testNames(tree);
	const lines = [HEAD];
	for (const { name, statements } of STANDARDS) {
		const found = evidence(names, name);
		const tested = statements.filter(({ id }) => found.has(id)).length;
		lines.push(`## MQTT ${name}`, "");
		lines.push(
			`${statements.length} statements: ${tested} tested, ${statements.length - tested} that do not apply.`,
			"",
		);
		let chapter = "";
		for (const statement of statements) {
			const { id, summary, binds } = statement;
			if (chapterOf(id) !== chapter) {
				if (chapter !== "") lines.push("");
				chapter = chapterOf(id);
				lines.push(`### ${chapter} ${TITLES[chapter] ?? ""} (${name})`.replace("  ", " "), "");
				lines.push("| statement | what it asks for | binds | tested by |", "|---|---|---|---|");
			}
			lines.push(`| ${id} | ${cell(summary)} | ${binds} | ${verdict(statement, found.get(id) ?? [])} |`);
		}
		lines.push("");
	}
	return lines.join("\n");
}

if (import.meta.main) {
	const root = path.resolve(import.meta.dirname, "../..");
	writeFileSync(path.join(root, PAGE), conformancePage(readTree(root)));
}

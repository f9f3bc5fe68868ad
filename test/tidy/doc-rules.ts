/** Rules about the documents. Each takes the tree and returns what is wrong, a line each. */
import path from "node:path";
import type { SourceFile } from "./source.ts";

const isDocument = (file: SourceFile): boolean => file.path.endsWith(".md");

/** What a heading is called in a link: as GitHub does it. */
function anchor(heading: string): string {
	return heading
		.trim()
		.toLowerCase()
		.replace(/[^\p{L}\p{N}\s_-]/gu, "")
		.replace(/\s/g, "-");
}

const prose = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");

/** Relative links lead to a file or folder of the repository (`exists`), and their anchor to a heading there. */
export function checkLinks(files: readonly SourceFile[], exists: (path: string) => boolean): string[] {
	const texts = new Map(files.map((file) => [file.path, file.text]));
	const problems: string[] = [];
	for (const file of files.filter(isDocument)) {
		for (const match of prose(file.text).matchAll(/\]\(([^)\s]+)\)/g)) {
			const link = match[1] ?? "";
			if (/^[a-z]+:/i.test(link)) continue;
			const [name = "", fragment] = link.split("#");
			const target =
				name === "" ? file.path : path.posix.normalize(path.posix.join(path.posix.dirname(file.path), name));
			if (!exists(target)) {
				problems.push(`${file.path}: link to ${link}: there is no ${target}`);
				continue;
			}
			const text = texts.get(target);
			if (fragment === undefined || text === undefined) continue;
			const headings = [...text.matchAll(/^#+\s+(.*)$/gm)].map((heading) =>
				anchor((heading[1] ?? "").replace(/`/g, "")),
			);
			if (!headings.includes(fragment)) problems.push(`${file.path}: link to ${link}: no such heading in ${target}`);
		}
	}
	return problems;
}

/** The first section of the change log is what is coming or what package.json says is current. */
export function checkChangelog(files: readonly SourceFile[]): string[] {
	const text = files.find((file) => file.path === "CHANGELOG.md")?.text;
	const manifest = files.find((file) => file.path === "package.json")?.text;
	if (text === undefined || manifest === undefined) return ["CHANGELOG.md or package.json is missing"];
	const { version } = JSON.parse(manifest) as { version: string };
	const sections = [...text.matchAll(/^## \[?([^\]\s]+)\]?/gm)].map((match) => match[1]);
	if (sections[0] === "Unreleased" || sections[0] === version) return [];
	return [`CHANGELOG.md: begins with ${sections[0] ?? "no section"}; expected Unreleased or ${version}`];
}

/** The repository keeps its own rules; and each rule is shown to notice what it is there for. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { checkChangelog, checkLinks } from "./doc-rules.ts";
import {
	checkAny,
	checkBarrels,
	checkDefaultExports,
	checkForeignWords,
	checkHeadComments,
	checkLength,
	checkNames,
	checkPackage,
	checkSkips,
	checkUnfinished,
	LINES_THAT_MAKE_YOU_THINK,
} from "./file-rules.ts";
import { checkCycles, checkGates, checkLayers } from "./layer-rules.ts";
import { codeOf, importsOf, readTree, type SourceFile } from "./source.ts";

const root = path.resolve(import.meta.dirname, "../..");
const tree = readTree(root);
const exists = (name: string): boolean => fs.existsSync(path.join(root, name));

/** Files that may be longer, each with its reason. */
const LONG_FILES: ReadonlyMap<string, string> = new Map([]);

/** One planted file, as a tree. */
const plant = (name: string, text: string): SourceFile[] => [{ path: name, text }];
/** `# skip` and the like are put together here, so that this file passes its own rules. */
const word = (...parts: string[]): string => parts.join("");

describe("the repository", () => {
	const rules: Record<string, () => string[]> = {
		"imports only point down": () => checkLayers(tree),
		"files, SQLite and object stores are each reached through one file": () => checkGates(tree),
		"no import cycles": () => checkCycles(tree),
		"no default exports": () => checkDefaultExports(tree),
		"no barrel files": () => checkBarrels(tree),
		"no names that say nothing": () => checkNames(tree),
		"no file longer than one question": () => checkLength(tree, LONG_FILES),
		"every module says what it is for": () => checkHeadComments(tree),
		"nothing is left unfinished": () => checkUnfinished(tree),
		"the type checker is never silenced": () => checkAny(tree),
		"every test runs": () => checkSkips(tree),
		"the project speaks of itself alone": () => checkForeignWords(tree),
		"versions are exact and the lock names no host": () => checkPackage(tree),
		"links in the documents lead somewhere": () => checkLinks(tree, exists),
		"the change log begins with what is current": () => checkChangelog(tree),
	};
	it("is seen whole", () => {
		for (const name of ["src/base/disk.ts", "bridge/mqtt/routes.ts", "package.json", "test/tidy/tidy.test.ts"]) {
			expect(tree.map((file) => file.path)).toContain(name);
		}
	});
	for (const [name, check] of Object.entries(rules)) it(name, () => expect(check()).toEqual([]));
});

describe("reading the source", () => {
	it("finds every form of import and none in comments or strings", () => {
		const text = [
			`import fs from "node:fs";`,
			`import type { A } from "./a.ts";`,
			`import {\n\tb,\n\ttype B,\n} from "./b.ts";`,
			`import "./effect.ts";`,
			`export { c } from "./c.ts";`,
			`export type { D } from "./d.ts";`,
			`export * from "./e.ts";`,
			`const late = await import("./f.ts");`,
			`// import x from "./no.ts";`,
			`/* import x from "./no.ts"; */`,
			"const quoted = `import x from './no.ts'`;",
			`const pattern = /["'\`]/; // "`,
			`import { g } from "./g.ts";`,
		].join("\n");
		const imports = importsOf({ path: "src/x.ts", text });
		const names = imports.map((one) => (one.typeOnly ? `type ${one.specifier}` : one.specifier));
		expect(names.filter((name) => !name.includes("no.ts"))).toEqual([
			"node:fs",
			"type ./a.ts",
			"./b.ts",
			"./effect.ts",
			"./c.ts",
			"type ./d.ts",
			"./e.ts",
			"./g.ts",
			"./f.ts",
		]);
		expect(codeOf(`a // b\n"c" /* d */`, "blanked")).toBe(`a     \n" "        `);
	});
});

describe("each rule notices", () => {
	it("an import that points up, sideways, or to another door", () => {
		expect(checkLayers(plant("src/base/a.ts", `import { x } from "../log/x.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("src/catalog/a.ts", `import { x } from "../log/x.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("bridge/mqtt/a.ts", `import type { X } from "../../src/native/x.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("device-sim/a.ts", `import { x } from "../bridge/mqtt/codec/x.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("src/native/client/a.ts", `import { x } from "../server.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("src/broker/a.ts", `import { x } from "../config/x.ts";`))).toHaveLength(1);
		expect(checkLayers(plant("src/lost.ts", ""))).toHaveLength(1);
		expect(checkLayers(plant("src/broker/a.ts", `import type { X } from "../config/x.ts";`))).toEqual([]);
		expect(checkLayers(plant("src/native/a.ts", `import { x } from "./client/x.ts";`))).toEqual([]);
		expect(checkLayers(plant("src/broker/a.ts", `import { x } from "../log/x.ts";`))).toEqual([]);
	});

	it("a second way to the disk or to SQLite", () => {
		expect(checkGates(plant("src/log/a.ts", `import fs from "node:fs";`))).toHaveLength(1);
		expect(checkGates(plant("src/log/a.ts", `const fs = await import("node:fs/promises");`))).toHaveLength(1);
		expect(checkGates(plant("src/log/a.ts", `import Database from "better-sqlite3";`))).toHaveLength(1);
		expect(checkGates(plant("src/base/disk.ts", `import fs from "node:fs";`))).toEqual([]);
		expect(checkGates(plant("test/unit/a.test.ts", `import fs from "node:fs";`))).toEqual([]);
	});

	it("a cycle, but not one of types", () => {
		const cycle = [
			{ path: "src/log/a.ts", text: `import { b } from "./b.ts";` },
			{ path: "src/log/b.ts", text: `import { c } from "./c.ts";` },
			{ path: "src/log/c.ts", text: `import { a } from "./a.ts";` },
		];
		expect(checkCycles(cycle)).toEqual(["import cycle: src/log/a.ts -> src/log/b.ts -> src/log/c.ts -> src/log/a.ts"]);
		const types = [...cycle.slice(0, 2), { path: "src/log/c.ts", text: `import type { A } from "./a.ts";` }];
		expect(checkCycles(types)).toEqual([]);
	});

	it("a default export, a barrel, a name that says nothing, a missing head comment", () => {
		expect(checkDefaultExports(plant("src/a.ts", "export default 1;"))).toHaveLength(1);
		expect(checkDefaultExports(plant("src/a.ts", "export { a as default };"))).toHaveLength(1);
		expect(
			checkBarrels(plant("src/log/all.ts", `/** All. */\nexport { a } from "./a.ts";\nexport * from "./b.ts";\n`)),
		).toHaveLength(1);
		expect(checkBarrels(plant("src/log/index.ts", "export const a = 1;"))).toHaveLength(1);
		expect(checkBarrels(plant("src/log/a.ts", `export type { B } from "./b.ts";\nexport const a = 1;`))).toEqual([]);
		expect(checkNames(plant(word("src/ut", "ils/a.ts"), ""))).toHaveLength(1);
		expect(checkHeadComments(plant("src/a.ts", "export const a = 1;"))).toHaveLength(1);
		expect(checkHeadComments(plant("src/a.ts", "/** A. */\nexport const a = 1;"))).toEqual([]);
	});

	it("a long file without a reason, and a reason without a long file", () => {
		const long = plant("src/a.ts", "\n".repeat(LINES_THAT_MAKE_YOU_THINK + 1));
		expect(checkLength(long, new Map())).toHaveLength(1);
		expect(checkLength(long, new Map([["src/a.ts", "one table of the standard, whole"]]))).toEqual([]);
		expect(checkLength(long, new Map([["src/a.ts", "long"]]))).toHaveLength(1);
		expect(checkLength([], new Map([["src/a.ts", "one table of the standard, whole"]]))).toHaveLength(1);
	});

	it("unfinished work, any, a test that does not run, foreign words", () => {
		expect(checkUnfinished(plant("src/a.ts", word("// TO", "DO later")))).toHaveLength(1);
		expect(checkAny(plant("src/a.ts", word("const a = b as a", "ny;")))).toHaveLength(1);
		expect(checkAny(plant("src/a.ts", word("function f(a: a", "ny): void {}")))).toHaveLength(1);
		expect(checkAny(plant("src/a.ts", word("// @ts-ig", "nore")))).not.toEqual([]);
		expect(checkAny(plant("src/a.ts", `/** any: as any */ const s = "x as any";`))).toEqual([]);
		expect(checkSkips(plant("test/unit/a.test.ts", word("it.on", "ly('x', f)")))).toHaveLength(1);
		expect(checkSkips(plant("test/interop/a.test.ts", word("describe.sk", "ip('x', f)")))).toHaveLength(1);
		expect(checkSkips(plant("test/unit/a.test.ts", word("it.skip", "If(x)('x', f)")))).toHaveLength(1);
		expect(checkSkips(plant("test/interop/a.test.ts", word("it.skip", "If(x)('x', f)")))).toEqual([]);
		expect(checkForeignWords(plant("README.md", word("see ../sha", "red/design")))).toHaveLength(1);
	});

	it("a floating version and a lock that names a host", () => {
		expect(checkPackage(plant("package.json", `{"dependencies":{"a":"^1.0.0"}}`))).toHaveLength(1);
		expect(checkPackage(plant("package.json", `{"dependencies":{"a":"1.0.0"}}`))).toEqual([]);
		expect(checkPackage(plant("package-lock.json", `{"resolved": "x"}`))).toHaveLength(1);
	});

	it("a dead link, a dead anchor, a stale change log", () => {
		const files = plant(
			"docs/a.md",
			"# The way\n[b](b.md) [way](#the-way) [no](#no-way) `[c](c.md)` [web](https://example.org)",
		);
		expect(checkLinks(files, (name) => name === "docs/a.md")).toHaveLength(2);
		expect(checkLinks(files, () => true)).toHaveLength(1);
		const manifest = { path: "package.json", text: `{"version":"2.0.0"}` };
		expect(checkChangelog([manifest, { path: "CHANGELOG.md", text: "# Changes\n\n## [1.0.0]\n" }])).toHaveLength(1);
		expect(checkChangelog([manifest, { path: "CHANGELOG.md", text: "## [2.0.0] - 2026-01-01\n" }])).toEqual([]);
		expect(checkChangelog([manifest, { path: "CHANGELOG.md", text: "## [Unreleased]\n" }])).toEqual([]);
	});
});

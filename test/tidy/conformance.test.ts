/** Every statement of the MQTT standards has its test or its reason, and the page that says so is what the tests say. */
import path from "node:path";
import { describe, expect, it } from "vitest";
import { problems, testNames } from "../conformance/evidence.ts";
import { conformancePage, PAGE } from "../conformance/generate.ts";
import { readTree } from "./source.ts";

const tree = readTree(path.resolve(import.meta.dirname, "../.."));

describe("conformance to MQTT", () => {
	it("every statement has a test by its name, or a reason for having none", () => {
		expect(problems(tree)).toEqual([]);
	});

	it(`${PAGE} is what the tests say (node test/conformance/generate.ts writes it anew)`, () => {
		expect(tree.find((file) => file.path === PAGE)?.text).toBe(conformancePage(tree));
	});
});

describe("the names of tests", () => {
	const namesIn = (file: string, text: string) => testNames([{ path: file, text }]);
	/** `[MQTT-…]` is put together here, so that this file names no statement. */
	const id = (number: string): string => `[MQTT${"-"}${number}]`;

	it("are found in calls, tables and rows, and not in comments or other strings", () => {
		const text = [
			`test("${id("1.1.1-1")} is one", run);`,
			`it.each([1])("${id("1.1.1-2")} ${id("1.1.1-3")} is %i", run);`,
			`const cases = [{ name: "${id("1.1.1-4")} is a case" }, ["${id("1.1.1-5")} is a row", 1]];`,
			`test(\`${id("1.1.1-6")} has a \${hole}\`, run);`,
			`// test("${id("1.1.1-7")} is a comment", run);`,
			`expect(clause).toBe("${id("1.1.1-8")} is no name");`,
			`it.each([["${id("1.1.1-9")}", "a"]])("%s of %s", run);`,
		].join("\n");
		const names = namesIn("test/unit/a.test.ts", text);
		expect(names.map(({ title }) => title)).toEqual(["is one", "is %i", "is a case", "is a row", "has a …"]);
		expect(names.flatMap(({ ids }) => ids)).toHaveLength(6);
		expect(namesIn("src/a.ts", text)).toEqual([]);
	});

	it("count for 3.1.1 where the folder or the name says so", () => {
		const standards = (file: string, name: string) => namesIn(file, `test("${name}", run)`)[0]?.standards;
		expect(standards("test/unit/a.test.ts", `${id("1.1.1-1")} is new`)).toEqual(["5.0"]);
		expect(standards("test/unit/a.test.ts", `${id("1.1.1-1")} of 3.1.1: is old`)).toEqual(["3.1.1"]);
		expect(standards("test/unit/a.test.ts", `${id("1.1.1-1")} of 3.1.1 and 5.0: is both`)).toEqual(["5.0", "3.1.1"]);
		expect(standards("test/conformance/mqtt311/a.test.ts", `${id("1.1.1-1")} is old`)).toEqual(["3.1.1"]);
	});

	it("show what is missing, what contradicts, and what is no statement", () => {
		const statement = { binds: "both", summary: "a thing" } as const;
		const standard = {
			name: "5.0",
			statements: [
				{ ...statement, id: id("1.1.1-1").slice(1, -1) },
				{ ...statement, id: id("1.1.1-2").slice(1, -1) },
				{ ...statement, id: id("1.1.1-3").slice(1, -1), notApplicable: "not ours" },
				{ ...statement, id: id("1.1.1-4").slice(1, -1), notApplicable: "not ours" },
			],
		} as const;
		const text = ["1.1.1-1", "1.1.1-3", "9.9.9-9"].map((each) => `test("${id(each)} is so", run);`).join("\n");
		const found = problems([{ path: "test/unit/a.test.ts", text }], [standard]);
		expect(found.map((line) => /\d\.\d\.\d-\d/.exec(line)?.[0])).toEqual(["1.1.1-2", "1.1.1-3", "9.9.9-9"]);
	});
});

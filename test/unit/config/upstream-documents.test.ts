/** docs/upstream.md: its configurations are right, and it names only keys, commands and options that there are. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createProgram } from "../../../src/cli/program.ts";
import { KEY_NAMES } from "../../../src/config/keys.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const page = readFileSync(new URL("../../../docs/upstream.md", import.meta.url), "utf8");

describe("docs/upstream.md", () => {
	it("has configurations that are right", () => {
		const examples = [...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, text]) => text as string);
		expect(examples).toHaveLength(5);
		for (const text of examples) {
			const set = text.includes("bootstrap.servers") ? [] : ["upstream.bootstrap.servers=kafka1:9092"];
			loadConfig({ file: { name: "upstream.md", content: readYaml(text) }, set });
		}
	});

	it("names only keys that there are", () => {
		const named = [...page.matchAll(/`((?:upstream|uplink)\.[a-z.]+?)`/g)].map(([, key]) => key as string);
		expect(named.length).toBeGreaterThan(10);
		for (const key of named) expect(KEY_NAMES).toContain(key);
	});

	it("names only commands and options that there are", () => {
		const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => (block as string).split("\n"));
		const lines = blocks.filter((line) => line.startsWith("headwater ")).map((line) => line.split(" ").slice(1));
		expect(lines.length).toBeGreaterThan(8);
		for (const words of lines) {
			let command = createProgram();
			for (const word of words) command = command.commands.find((each) => each.name() === word) ?? command;
			const options = command.options.map(({ long }) => long);
			for (const option of words.filter((word) => word.startsWith("--"))) expect(options).toContain(option);
		}
	});
});

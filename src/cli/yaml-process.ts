/**
 * Reading a configuration file in a process of its own: measured on Node 24.21, the YAML parser costs
 * the process that loads it 11 MB resident for the rest of its life, a child that ends 2 MB and about
 * 50 ms once. A gateway lives for months and idles in 60 MB.
 */
import type { FileContent } from "../config/yaml-file.ts";
import { CommandError } from "./failure.ts";

/** The parent's side. `script`: the program's own entry, which knows the verb `--read-yaml`. */
export async function readYamlElsewhere(text: string, script: string): Promise<FileContent> {
	const { spawnSync } = await import("node:child_process");
	const child = spawnSync(process.execPath, [...process.execArgv, script, "--read-yaml"], {
		input: text,
		encoding: "utf8",
		maxBuffer: 64 * 1_048_576,
		stdio: ["pipe", "pipe", "inherit"],
		// A debugger or an inspector of the parent's must not be asked for twice.
		env: { ...process.env, NODE_OPTIONS: "" },
	});
	if (child.error !== undefined || child.status !== 0) {
		throw new CommandError(
			`the configuration file could not be read (${child.error?.message ?? `exit code ${child.status}`})`,
		);
	}
	return JSON.parse(child.stdout) as FileContent;
}

/** The child's side: the file's text on standard input, its settings on standard output. */
export async function answerYaml(): Promise<void> {
	const { readYaml } = await import("../config/yaml-file.ts");
	const chunks: Buffer[] = [];
	for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
	const content = readYaml(Buffer.concat(chunks).toString("utf8"));
	await new Promise<void>((resolve) => process.stdout.write(JSON.stringify(content), () => resolve()));
}

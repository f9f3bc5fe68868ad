/** `headwater config check|show|schema|reference`: all about keys, without a gateway. */
import type { Command } from "commander";
import { addConfigOptions, addExamples } from "./options.ts";
import { print, printObjects } from "./output.ts";
import { type ConfigOptions, readConfig } from "./read-config.ts";

export function addConfig(program: Command): void {
	const config = program.command("config").description("check and show the configuration");
	addExamples(
		config,
		"headwater config check --config headwater.yaml",
		"headwater config show",
		"headwater config schema",
	);
	addCheck(config);
	addShow(config);
	const schema = config.command("schema").description("print the JSON Schema of the configuration file, for editors");
	addExamples(schema, "headwater config schema > headwater.schema.json");
	schema.action(async () => {
		const { configJsonSchema } = await import("../config/json-schema.ts");
		await print(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
	});
	const reference = config
		.command("reference")
		.description("print every key with its default and meaning, as Markdown");
	addExamples(reference, "headwater config reference | less");
	reference.action(async () => {
		const { configReference } = await import("../config/reference.ts");
		await print(configReference());
	});
}

function addCheck(config: Command): void {
	const command = addConfigOptions(config.command("check")).description(
		"say whether file, environment and --set are right; exit code 1 when not",
	);
	addExamples(
		command,
		"headwater config check --config headwater.yaml",
		"headwater config check --set commit.linger.ms=5",
	);
	command.action(async (options: ConfigOptions) => {
		const { sources } = await readConfig(options, process.env);
		const set = Object.values(sources).filter((source) => source !== "default").length;
		await print(
			`the configuration is right: ${set} of ${Object.keys(sources).length} keys set, the others at their default\n`,
		);
	});
}

function addShow(config: Command): void {
	const command = addConfigOptions(config.command("show"))
		.description("print every key with the value in force and where it came from, as YAML that --config takes")
		.option("--json", "one JSON object a line: key, value, isDefault, source");
	addExamples(command, "headwater config show", "headwater config show --config headwater.yaml --json");
	command.action(async (options: ConfigOptions & { json?: boolean }) => {
		const loaded = await readConfig(options, process.env);
		const { showConfig, showConfigObjects } = await import("../config/show.ts");
		await (options.json ? printObjects(showConfigObjects(loaded)) : print(showConfig(loaded)));
	});
}

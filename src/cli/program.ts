/** All verbs but the quick way of `start`, with commander: help, suggestions, exit codes. */
import { Command, CommanderError } from "commander";
import { addConfig } from "./config.ts";
import { addConsume } from "./consume.ts";
import { addDump } from "./dump.ts";
import { UsageError } from "./failure.ts";
import { addGroup } from "./group.ts";
import { addConfigOptions, addExamples } from "./options.ts";
import { addProduce } from "./produce.ts";
import type { ConfigOptions } from "./read-config.ts";
import { addStatus } from "./status.ts";
import { addTier } from "./tier.ts";
import { addTopic } from "./topic.ts";
import { addUpstream } from "./upstream.ts";
import { addVerify } from "./verify.ts";
import { VERSION } from "./version.ts";

/** Verbs that work without a gateway and have no use for --connect. */
const OFFLINE = [
	"start",
	"verify",
	"dump",
	"config",
	"config check",
	"config show",
	"config schema",
	"config reference",
	"tier export",
	"tier restore",
];

/** "topic create": without the program's own name. */
function pathOf(command: Command): string {
	const { parent } = command;
	return parent === null || parent.parent === null ? command.name() : `${pathOf(parent)} ${command.name()}`;
}

export function createProgram(): Command {
	const program = new Command("headwater");
	program
		.description("Headwater: MQTT in, durable partitioned logs, Apache Kafka's model, for small gateways")
		.version(VERSION, "-V, --version", "print the version")
		.option("--connect <host:port>", "the gateway to talk to (default: HEADWATER_CONNECT or 127.0.0.1:9470)")
		.helpOption("-h, --help", "show help")
		.helpCommand("help [command]", "show help for a command")
		.configureHelp({
			showGlobalOptions: true,
			// --version belongs to the program alone, --connect to what talks to a gateway.
			visibleGlobalOptions: (command) =>
				command.parent === null || OFFLINE.includes(pathOf(command))
					? []
					: program.options.filter((option) => option.long === "--connect"),
		})
		.configureOutput({ outputError: () => undefined })
		.showSuggestionAfterError(true)
		.exitOverride();
	addExamples(
		program,
		"headwater start",
		`mosquitto_pub -q 1 -t sensors/site1/dev7/telemetry -m '{"t":21.5}'`,
		"headwater consume telemetry --from earliest",
		"headwater topic list",
		"headwater verify --data ./data",
	);
	addStart(program);
	addTopic(program);
	addProduce(program);
	addConsume(program);
	addGroup(program);
	addStatus(program);
	addTier(program);
	addUpstream(program);
	addVerify(program);
	addDump(program);
	addConfig(program);
	return program;
}

function addStart(program: Command): void {
	const command = addConfigOptions(program.command("start")).description("run the gateway until Ctrl-C or SIGTERM");
	addExamples(
		command,
		"headwater start",
		"headwater start --data /var/lib/headwater --set mqtt.listen=0.0.0.0:1883",
		"HEADWATER_COMMIT_LINGER_MS=5 headwater start --config headwater.yaml",
	);
	command.action(async (options: ConfigOptions) => {
		const { start } = await import("./start.ts");
		await start(options);
	});
}

/** Runs one command line (without node and script). Throws UsageError for one that is not right. */
export async function runProgram(list: readonly string[], program = createProgram()): Promise<void> {
	try {
		await program.parseAsync(list, { from: "user" });
	} catch (error) {
		if (!(error instanceof CommanderError)) throw error;
		if (error.exitCode === 0) return; // help and version were printed
		const what = error.message.replace(/^error: /, "").replace(/\n\(Did (.*)\)$/s, "; did $1");
		// Bare `headwater` and `headwater topic`: commander printed the help to stderr.
		if (error.code === "commander.help") throw new UsageError("name a command, one of those above");
		throw new UsageError(
			`${what.replaceAll("\n", " ")}${what.endsWith("?") ? " See" : "; see"} ${commandName(list, program)} --help`,
		);
	}
}

/** The verb that the line names, as far as it goes: `headwater topic create`. */
function commandName(list: readonly string[], program: Command): string {
	let command = program;
	const names = ["headwater"];
	for (const argument of list) {
		const next = command.commands.find((each) => each.name() === argument);
		if (next === undefined) {
			if (argument.startsWith("-")) continue;
			break;
		}
		names.push(argument);
		command = next;
	}
	return names.join(" ");
}

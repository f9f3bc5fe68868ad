/**
 * The command `headwater`. `start` is read by hand and loads nothing that a gateway does not need;
 * every other verb goes through commander. A hidden verb reads YAML for `start` in a process that
 * ends (see start.ts).
 */
import { fail } from "./failure.ts";
import { parseStartArguments } from "./start-arguments.ts";

/** The verb of the process that reads a configuration file for a gateway. */
const READ_YAML = "--read-yaml";

async function main(list: readonly string[]): Promise<void> {
	if (list[0] === READ_YAML) {
		const { answerYaml } = await import("./yaml-process.ts");
		return answerYaml();
	}
	const options = list[0] === "start" ? parseStartArguments(list.slice(1)) : "help";
	if (options !== "help") {
		const { start } = await import("./start.ts");
		return start(options);
	}
	const { runProgram } = await import("./program.ts");
	await runProgram(list);
}

main(process.argv.slice(2)).catch(fail);

/**
 * The command `headwater`. `start` is read by hand and loads nothing that a gateway does not need;
 * every other verb goes through commander. Hidden verbs are of processes that end, for what would cost the
 * gateway memory for good: one reads YAML (see start.ts), one holds an object store (tiering/process/store-process.ts).
 */
import { fail } from "./failure.ts";
import { parseStartArguments } from "./start-arguments.ts";

/** The verb of the process that reads a configuration file for a gateway. */
const READ_YAML = "--read-yaml";
/** As STORE_VERB of tiering/process/store-process.ts, which this process need not load to know it. */
const OBJECT_STORE = "--object-store";

async function main(list: readonly string[]): Promise<void> {
	if (list[0] === READ_YAML) {
		const { answerYaml } = await import("./yaml-process.ts");
		return answerYaml();
	}
	if (list[0] === OBJECT_STORE) {
		const { answerStoreCalls } = await import("../../tiering/process/store-child.ts");
		return answerStoreCalls();
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

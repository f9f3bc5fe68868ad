/** `npm run demo`: the demo from the command line. Its course goes to standard error, the verdict to standard output. */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import { joinPath, NodeDisk } from "../../src/base/disk.ts";
import { systemRandom } from "../../src/base/random.ts";
import { type Paint, paint } from "../format.ts";
import { wholeNumber } from "../options.ts";
import { DemoScreen } from "./demo-screen.ts";
import { demoTable } from "./demo-table.ts";
import { runDemo } from "./run-demo.ts";

interface DemoCommandOptions {
	readonly seconds: number;
	readonly sensors: number;
	readonly rate: number;
	readonly seed: string | undefined;
	readonly json: boolean;
	readonly keep: boolean;
}

const SHORTEST_SECONDS = 5;

function number(low: number, high: number): (text: string) => number {
	return (text) => {
		const value = Number(text);
		if (text.trim() !== "" && value >= low && value <= high) return value;
		throw new InvalidArgumentError(`A number from ${low} to ${high} is wanted.`);
	};
}

function demoCommand(): Command {
	const command = new Command("npm run demo --");
	command
		.description(
			"Sensors publish to a gateway, which replicates to a hub and uploads to an object store, all on this machine. The\n" +
				"gateway is killed with -9 twice, the link to the hub is cut; then everything is counted where it had to arrive.\n" +
				"Exit code 0: nothing is lost, nothing is there twice; 1: something is; 2: it could not be run.",
		)
		.addOption(
			new Option("--seconds <n>", "how long the sensors publish").argParser(number(SHORTEST_SECONDS, 3600)).default(30),
		)
		.option("--sensors <n>", "how many", wholeNumber(1, 10_000), 200)
		.option("--rate <events/s>", "of each sensor", number(0.1, 1000), 5)
		.option(
			"--seed <text>",
			"same seed, same events and same moments of trouble (default: a random one, which is shown)",
		)
		.option("--keep", "keep data directories and logs (kept anyway when the verdict is FAIL)", false)
		.option("--json", "print the verdict as one JSON object", false)
		.allowExcessArguments(false);
	return command;
}

/** Resolves with the exit code. Throws GatewayError where a process does not start. */
export async function demoMain(args: readonly string[], signal: AbortSignal): Promise<number> {
	const command = demoCommand();
	// commander's own code for a wrong option is 1, which here means a failed verdict.
	command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
	const { seconds, sensors, rate, seed, json, keep } = command.parse(args, { from: "user" }).opts<DemoCommandOptions>();
	const folder = joinPath(tmpdir(), `headwater-demo-${randomBytes(4).toString("hex")}`);
	const screen = new DemoScreen(process.stderr, paintFor(process.stderr));
	let passed = false;
	try {
		const verdict = await runDemo(
			{ sensors, rate, durationMs: seconds * 1000, seed: seed ?? systemRandom.u32().toString(36), folder, signal },
			(view) => screen.show(view),
		);
		passed = verdict.pass;
		screen.end();
		process.stdout.write(json ? `${JSON.stringify(verdict)}\n` : `\n${demoTable(verdict, paintFor(process.stdout))}`);
		return passed ? 0 : 1;
	} finally {
		if (passed && !keep) new NodeDisk().removeDirectory(folder);
		else process.stderr.write(`Data directories and logs are kept: ${folder}\n`);
	}
}

function paintFor(stream: NodeJS.WriteStream): Paint {
	return paint(stream.isTTY && process.env.NO_COLOR === undefined);
}

/** `headwater upstream reset`: first what it would mean, then, with --yes or a yes at the terminal, does it. */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { Client } from "../native/client/client.ts";
import type { UpstreamResetStep, UpstreamResetTo } from "../native/client/upstream-types.ts";
import { UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { print, printObjects } from "./output.ts";
import { formatCount, plural } from "./quantities.ts";
import { formatTable } from "./table.ts";

/** Each place, and what going on there means. */
const PLACES: Readonly<Record<UpstreamResetTo, string>> = {
	progress: "where the central cluster says it stands",
	local: "where this gateway last knew it stood",
	earliest: "with the oldest record that is stored here",
	latest: "with what comes from now on",
};

const DONE = "done; `headwater upstream status` shows how it goes on\n";

interface Options {
	readonly to?: UpstreamResetTo;
	readonly topic?: string;
	readonly yes?: boolean;
	readonly json?: boolean;
}

export function addUpstreamReset(upstream: Command): void {
	const command = upstream
		.command("reset")
		.description(
			"go on elsewhere, and take over the gateway's name in the central cluster; without --yes only say what that means",
		)
		.option(
			"--to <place>",
			Object.entries(PLACES)
				.map(([place, what]) => `${place}: ${what}`)
				.join("; "),
			placeNamed,
		)
		.option("--topic <topic>", "this one alone; without it all that go there")
		.option("--yes", "do it, without asking")
		.option("--json", "one JSON object a line for each partition");
	addExamples(
		command,
		"headwater upstream reset --to progress",
		"headwater upstream reset --to progress --yes",
		"headwater upstream reset --to latest --topic telemetry --yes",
	);
	command.action(async (options: Options) => {
		const { to } = options;
		if (to === undefined)
			throw new UsageError(`say where to go on: ${Object.keys(PLACES).join(", ")}, as --to progress`);
		const address = gatewayAddress(command);
		await withGateway(address, (client) => reset(client, { ...options, to }, address));
	});
}

function placeNamed(text: string): UpstreamResetTo {
	if (Object.hasOwn(PLACES, text)) return text as UpstreamResetTo;
	throw new UsageError(`--to ${JSON.stringify(text)} is not one of ${Object.keys(PLACES).join(", ")}`);
}

async function reset(
	client: Client,
	{ to, topic, yes, json }: Options & { to: UpstreamResetTo },
	address: string | undefined,
): Promise<void> {
	const which = { to, ...(topic === undefined ? {} : { topic }) };
	const ask = !yes && !json && process.stdin.isTTY === true && process.stdout.isTTY === true;
	let steps = await client.upstream.reset({ ...which, execute: yes ?? false });
	if (json) return printObjects(steps);
	await print(formatPlan(to, steps, yes ?? false));
	if (yes) return print(steps.length === 0 ? "" : DONE);
	// Of the same gateway.
	const given = { "--connect": address, "--topic": topic };
	const options = Object.entries(given).map(([name, value]) => (value === undefined ? "" : ` ${name} ${value}`));
	if (!ask)
		return print(`nothing is changed; this does it:\n  headwater upstream reset --to ${to}${options.join("")} --yes\n`);
	if (!(await saysYes("go on there? [y/N] "))) return print("nothing is changed\n");
	const planned = steps;
	steps = await client.upstream.reset({ ...which, execute: true });
	if (JSON.stringify(steps) !== JSON.stringify(planned)) await print(`by now that meant:\n\n${tableOf(steps)}\n`);
	await print(DONE);
}

export function formatPlan(to: UpstreamResetTo, steps: readonly UpstreamResetStep[], done: boolean): string {
	if (steps.length === 0) return "no topic goes to the central cluster yet: there is nothing to put elsewhere\n";
	const again = steps.reduce((sum, step) => sum + step.againRecords, 0);
	const skipped = steps.reduce((sum, step) => sum + step.skippedRecords, 0);
	const goes = done ? "goes" : "would go";
	return (
		`each partition ${goes} on ${PLACES[to]}:\n\n${tableOf(steps)}\n` +
		`sent a second time  ${again === 0 ? "nothing, as far as is known here" : `${plural(again, "record")}: who reads there gets them twice`}\n` +
		`never sent          ${skipped === 0 ? "nothing" : `${plural(skipped, "record")}: they stay here as long as their topic says`}\n`
	);
}

function tableOf(steps: readonly UpstreamResetStep[]): string {
	return formatTable(
		["TOPIC", "PARTITION", "FROM", "TO", "AGAIN", "NEVER"],
		steps.map(({ topic, partition, from, to, againRecords, skippedRecords }) => [
			topic,
			String(partition),
			from === null ? "-" : String(from),
			String(to),
			formatCount(againRecords),
			formatCount(skippedRecords),
		]),
		[1, 2, 3, 4, 5],
	);
}

async function saysYes(question: string): Promise<boolean> {
	const terminal = createInterface({ input: process.stdin, output: process.stdout });
	// Ctrl-C and Ctrl-D close it unanswered.
	const closed = new Promise<string>((resolve) => terminal.once("close", () => resolve("")));
	const answer = await Promise.race([terminal.question(question), closed]);
	terminal.close();
	return /^y(es)?$/i.test(answer.trim());
}

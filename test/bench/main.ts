/**
 * `npm run bench -- NAME|all [...]`: measures the built gateway beside the peers found on the machine.
 * docs/benchmarks.md says what each measures and under which assumptions.
 */
import { parseArgs } from "node:util";
import type { BenchOptions } from "./driver.ts";
import { fanOut } from "./fan-out.ts";
import { flash } from "./flash.ts";
import { idle } from "./idle.ts";
import { ingest } from "./ingest.ts";
import { kafka } from "./kafka.ts";
import { describeMachine, machineLines } from "./machine.ts";
import { memory } from "./memory.ts";
import { type Table, tableMarkdown, tableText } from "./report.ts";
import { retained } from "./retained.ts";
import { sessions } from "./sessions.ts";
import { start } from "./start.ts";
import { subscriptions } from "./subscriptions.ts";
import { tier } from "./tier.ts";
import { upstreamDelay } from "./upstream-delay.ts";
import { upstreamFlash } from "./upstream-flash.ts";
import { upstreamIdle } from "./upstream-idle.ts";
import { upstreamMemory } from "./upstream-memory.ts";
import { upstreamRate } from "./upstream-rate.ts";
import { upstreamWire } from "./upstream-wire.ts";
import { Workplace } from "./workplace.ts";

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<{ tables: Table[]; raw: unknown }>>> = {
	ingest,
	memory,
	start,
	flash,
	"fan-out": fanOut,
	subscriptions,
	idle,
	sessions,
	retained,
	kafka,
	tier,
	"upstream-rate": upstreamRate,
	"upstream-idle": upstreamIdle,
	"upstream-delay": upstreamDelay,
	"upstream-wire": upstreamWire,
	"upstream-memory": upstreamMemory,
	"upstream-flash": upstreamFlash,
};
/** All of these. */
const UPSTREAM = "upstream";

const HELP = `Usage: npm run bench -- NAME...|all [options]

  ingest, memory, start, flash                         the gateway as a whole
  fan-out, subscriptions, idle, sessions, retained     its MQTT door
  kafka                                                its Kafka door, beside Apache Kafka (Java)
  tier                                                 tiered storage, with a MinIO (Go builds it once)
  upstream                                             the central cluster, an Apache Kafka (Java): all of
    upstream-rate, upstream-idle, upstream-delay, upstream-wire, upstream-memory, upstream-flash

  --seconds N   that count of each run (default 5)
  --rounds N    interleaved rounds (default: ingest, fan-out, subscriptions, retained, tier, upstream-rate 3; start 5;
                upstream-idle, -delay, -wire, -flash 2; others 1)
  --stored GB   stored in the large cases of memory, start, tier and upstream-memory (default 10)
  --quick       --seconds 2 --rounds 1 --stored 0.2, and a tenth of events, subscriptions, connections
  --json        raw results, to stdout
  --markdown    tables in Markdown, to stdout
`;

function usage(problem: string): never {
	process.stderr.write(`bench: ${problem}\n\n${HELP}`);
	process.exit(2);
}

function readArguments(): {
	names: string[];
	seconds: number;
	rounds: number | undefined;
	storedBytes: number;
	quick: boolean;
	output: "text" | "json" | "markdown";
} {
	const options = {
		seconds: { type: "string" },
		rounds: { type: "string" },
		stored: { type: "string" },
		quick: { type: "boolean" },
		json: { type: "boolean" },
		markdown: { type: "boolean" },
		help: { type: "boolean", short: "h" },
	} as const;
	let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
	try {
		parsed = parseArgs({ options, allowPositionals: true });
	} catch (error) {
		return usage((error as Error).message);
	}
	const { values, positionals } = parsed;
	if (values.help) {
		process.stdout.write(HELP);
		process.exit(0);
	}
	const number = (
		name: "seconds" | "rounds" | "stored",
		text: string | undefined,
		minimum: number,
	): number | undefined => {
		if (text === undefined) return undefined;
		const value = Number(text);
		if (!(value >= minimum)) usage(`--${name} ${text}: a number of at least ${minimum} is needed`);
		return value;
	};
	const names = positionals.includes("all")
		? Object.keys(BENCHES)
		: positionals.flatMap((name) =>
				name === UPSTREAM ? Object.keys(BENCHES).filter((each) => each.startsWith(UPSTREAM)) : [name],
			);
	if (names.length === 0) usage("what is to be measured?");
	for (const name of names) if (!(name in BENCHES)) usage(`there is no benchmark ${name}`);
	return {
		names,
		seconds: number("seconds", values.seconds, 0.5) ?? (values.quick ? 2 : 5),
		rounds: number("rounds", values.rounds, 1) ?? (values.quick ? 1 : undefined),
		storedBytes: (number("stored", values.stored, 0.01) ?? (values.quick ? 0.2 : 10)) * 1e9,
		quick: values.quick ?? false,
		output: values.json ? "json" : values.markdown ? "markdown" : "text",
	};
}

const { names, output, ...given } = readArguments();
const workplace = new Workplace();
const progress = (text: string): void => {
	if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
};
const machine = describeMachine(workplace.root);
if (machine.busy) process.stderr.write(`bench: machine busy (load average ${machine.load.toFixed(2)})\n`);
const raw: Record<string, unknown> = {};
const lines = machineLines(machine);
if (output === "text") process.stdout.write(`${lines.join("\n")}\n\n`);
if (output === "markdown") process.stdout.write(`${lines.map((line) => `- ${line}`).join("\n")}\n\n`);
for (const name of names) {
	const result = await (BENCHES[name] as (typeof BENCHES)[string])({
		...given,
		workplace,
		progress: (text) => progress(`${name}: ${text}`),
	});
	progress("");
	raw[name] = result.raw;
	if (output === "text") for (const table of result.tables) process.stdout.write(`${tableText(table)}\n`);
	if (output === "markdown") for (const table of result.tables) process.stdout.write(`${tableMarkdown(table)}\n`);
}
if (output === "json") process.stdout.write(`${JSON.stringify({ machine, ...raw }, undefined, "\t")}\n`);
process.exit(0);

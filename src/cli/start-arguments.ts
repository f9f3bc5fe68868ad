/**
 * The arguments of `headwater start`, read by hand: measured on Node 24.21, loading commander costs a
 * gateway 7.7 MB resident and 35 ms. Everything else goes through commander, `start --help` too.
 */
import { UsageError } from "./failure.ts";
import type { ConfigOptions } from "./read-config.ts";

const OPTIONS: Readonly<Record<string, "config" | "data" | "set">> = {
	"--config": "config",
	"-c": "config",
	"--data": "data",
	"-d": "data",
	"--set": "set",
	"-s": "set",
};

/** `"help"` when help is asked for. Throws UsageError. */
export function parseStartArguments(list: readonly string[]): ConfigOptions | "help" {
	const options: { config?: string; data?: string; set: string[] } = { set: [] };
	for (let i = 0; i < list.length; i++) {
		const argument = list[i] as string;
		if (argument === "--help" || argument === "-h") return "help";
		const equals = argument.startsWith("--") ? argument.indexOf("=") : -1;
		const name = equals < 0 ? argument : argument.slice(0, equals);
		const option = OPTIONS[name];
		if (option === undefined) throw new UsageError(unknown(argument));
		const value = equals < 0 ? list[++i] : argument.slice(equals + 1);
		if (value === undefined || value === "") throw new UsageError(`${name} needs a value; see headwater start --help`);
		if (option === "set") options.set.push(value);
		else options[option] = value;
	}
	return options;
}

function unknown(argument: string): string {
	const help = "see headwater start --help";
	if (/^-*[a-z][a-z.]*=/.test(argument))
		return `${argument}: did you mean --set ${argument.replace(/^-+/, "")}? ${help}`;
	if (argument.startsWith("-")) return `start has no option ${argument} (it has --config, --data and --set); ${help}`;
	return `start takes no argument ${JSON.stringify(argument)}; ${help}`;
}

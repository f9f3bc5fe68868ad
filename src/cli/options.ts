/** What several verbs share: readers of option values, which refuse with the option's name and what would be right. */
import type { Command } from "commander";
import { UsageError } from "./failure.ts";

/** For options that may be given more than once. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
	return [...before, value];
}

/** A whole number in a range, as commander's parser of one option's value. */
export function wholeNumber(
	option: string,
	minimum: number,
	maximum = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
	return (text) => {
		const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
		if (Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value;
		const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
		throw new UsageError(`${option} ${JSON.stringify(text)} is not a whole number ${range}`);
	};
}

/** `name=value` in two; the value may hold further equals signs and be empty. */
export function splitPair(option: string, text: string): [name: string, value: string] {
	const equals = text.indexOf("=");
	if (equals <= 0) throw new UsageError(`${option} ${JSON.stringify(text)} is not name=value`);
	return [text.slice(0, equals), text.slice(equals + 1)];
}

/** The options that every command which reads a configuration has. */
export function addConfigOptions(command: Command): Command {
	return command
		.option("-c, --config <file>", "configuration file, YAML (or HEADWATER_CONFIG); see docs/configuration.md")
		.option("-d, --data <dir>", "data directory: short for --set data.directory=DIR")
		.option("-s, --set <key=value>", "sets one key, over file and environment; may be repeated", collect);
}

/** Examples under a verb's help. */
export function addExamples(command: Command, ...examples: readonly string[]): Command {
	return command.addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}\n`).join("")}`);
}

/** --connect, wherever on the line it stood. */
export function gatewayAddress(command: Command): string | undefined {
	return (command.optsWithGlobals() as { connect?: string }).connect;
}

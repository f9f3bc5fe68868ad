/**
 * The configuration from its four sources: --set before environment before file before default.
 * Everything that is wrong is found in one go and thrown as one ConfigError.
 */
import { contradictions } from "./contradictions.ts";
import {
	type Config,
	DEFAULT_CONFIG,
	definitionOf,
	environmentName,
	isKeyName,
	KEY_NAMES,
	type KeyName,
} from "./keys.ts";
import { nearest } from "./nearest.ts";
import { ConfigError, type ConfigProblem } from "./problems.ts";
import { parseValue, withoutCredentials } from "./values.ts";
import type { FileContent } from "./yaml-file.ts";

export interface ConfigSources {
	/** A configuration file's settings, as `readYaml` gives them, and the name to show for it. */
	readonly file?: { readonly name: string; readonly content: FileContent } | undefined;
	/** The process's environment: variables that begin with HEADWATER_ are read. */
	readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
	/** `key=value` each, as after --set; the last of one key holds. */
	readonly set?: readonly string[] | undefined;
	/** --data DIR: data.directory, over everything else. */
	readonly dataDirectory?: string | undefined;
}

export interface LoadedConfig {
	readonly config: Config;
	/** Where each value came from, `default` for those not set. */
	readonly sources: Readonly<Record<KeyName, string>>;
}

/** Variables of ours that are no keys: the commands read them. */
const OTHER_VARIABLES = ["HEADWATER_CONFIG", "HEADWATER_CONNECT", "HEADWATER_DEBUG"];

interface Setting {
	readonly key: KeyName;
	readonly raw: unknown;
	readonly text: boolean;
	readonly source: string;
}

/** Throws ConfigError. Touches nothing but what it is given. */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
	const problems: ConfigProblem[] = [];
	const settings = [
		...fromFile(sources.file, problems),
		...fromEnvironment(sources.environment ?? {}, problems),
		...fromArguments(sources.set ?? [], problems),
	];
	if (sources.dataDirectory !== undefined) {
		settings.push({ key: "data.directory", raw: sources.dataDirectory, text: true, source: "--data" });
	}
	const values: Record<string, unknown> = { ...DEFAULT_CONFIG };
	const origin = Object.fromEntries(KEY_NAMES.map((key) => [key, "default"])) as Record<KeyName, string>;
	for (const { key, raw, text, source } of settings) {
		const parsed = parseValue(definitionOf(key), raw, text);
		if ("wrong" in parsed) {
			problems.push({ key, wrong: parsed.wrong, source, right: parsed.right });
			continue;
		}
		values[key] = parsed.value;
		origin[key] = source;
	}
	const config = values as unknown as Config;
	if (problems.length === 0) {
		for (const { keys, wrong, right } of contradictions(config)) {
			const key = keys.find((name) => origin[name] !== "default") ?? keys[0];
			// Told at the key that somebody set, of the one that has to change.
			const source = [...new Set(keys.map((name) => origin[name]).filter((each) => each !== "default"))].join(" and ");
			problems.push({
				key: key === keys[0] ? key : `${keys[0]} (with ${key})`,
				wrong,
				source: source || "default",
				right,
			});
		}
	}
	if (problems.length > 0) throw new ConfigError(problems);
	return { config, sources: origin };
}

function fromFile(file: ConfigSources["file"], problems: ConfigProblem[]): Setting[] {
	if (file === undefined) return [];
	const settings: Setting[] = [];
	const lines = new Map<string, number>();
	for (const { line, wrong, right } of file.content.errors) {
		problems.push({ key: undefined, wrong, source: `${file.name}:${line}`, right });
	}
	for (const { key, value, line } of file.content.entries) {
		const source = `${file.name}:${line}`;
		const before = lines.get(key);
		lines.set(key, line);
		if (!isKeyName(key)) problems.push(unknownKey(key, source));
		else if (before !== undefined)
			problems.push({ key, wrong: `is set twice, in line ${before} too`, source, right: "one of the two" });
		else settings.push({ key, raw: value, text: false, source });
	}
	return settings;
}

function fromEnvironment(
	environment: Readonly<Record<string, string | undefined>>,
	problems: ConfigProblem[],
): Setting[] {
	const byName = new Map<string, KeyName>(KEY_NAMES.map((key) => [environmentName(key), key]));
	const settings: Setting[] = [];
	for (const [name, raw] of Object.entries(environment)) {
		if (!name.startsWith("HEADWATER_") || raw === undefined || OTHER_VARIABLES.includes(name)) continue;
		const key = byName.get(name);
		if (key !== undefined) {
			settings.push({ key, raw, text: true, source: `environment ${name}` });
			continue;
		}
		const written = name.slice("HEADWATER_".length).toLowerCase().replaceAll("_", ".");
		const near = nearest(written, KEY_NAMES);
		problems.push({
			key: undefined,
			wrong: "sets no key that there is",
			source: `environment ${name}`,
			right: near === undefined ? NO_IDEA : `did you mean ${environmentName(near)} (${near})?`,
		});
	}
	return settings;
}

function fromArguments(list: readonly string[], problems: ConfigProblem[]): Setting[] {
	const settings: Setting[] = [];
	for (const argument of list) {
		const equals = argument.indexOf("=");
		const source = `--set ${withoutSecret(argument)}`;
		if (equals <= 0) {
			problems.push({ key: undefined, wrong: "is no key=value", source, right: "--set mqtt.listen=127.0.0.1:1883" });
			continue;
		}
		const key = argument.slice(0, equals).trim();
		if (isKeyName(key)) settings.push({ key, raw: argument.slice(equals + 1), text: true, source });
		else problems.push(unknownKey(key, source));
	}
	return settings;
}

/** Sources are shown: what may be a secret does not stand in them. */
function withoutSecret(argument: string): string {
	const equals = argument.indexOf("=");
	if (equals <= 0) return withoutCredentials(argument);
	const name = argument.slice(0, equals);
	const key = name.trim();
	const isSecret = isKeyName(key)
		? key === "bridges" || isSecretKey(key)
		: /secret|token|password/i.test(key) || isSecretKey(nearest(key, KEY_NAMES));
	return isSecret ? `${name}=...` : withoutCredentials(argument);
}

function isSecretKey(key: string | undefined): boolean {
	const definition = key === undefined || !isKeyName(key) ? undefined : definitionOf(key);
	return definition?.kind === "text" && definition.secret === true;
}

const NO_IDEA = "a key that `headwater config show` lists";

function unknownKey(key: string, source: string): ConfigProblem {
	const near = nearest(key, KEY_NAMES);
	return { key, wrong: "there is no such key", source, right: near === undefined ? NO_IDEA : `did you mean ${near}?` };
}

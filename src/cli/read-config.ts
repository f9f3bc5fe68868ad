/**
 * The configuration of a command: the file it names (or HEADWATER_CONFIG), the environment and --set,
 * checked wholly, the routes and the times of uploads and upstream included.
 */
import { Routes } from "../../bridge/mqtt/routes.ts";
import { scheduleProblem } from "../../tiering/upload/schedule.ts";
import { NodeDisk } from "../base/disk.ts";
import { StartError } from "../base/errors.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigError, type ConfigProblem } from "../config/problems.ts";
import type { FileContent } from "../config/yaml-file.ts";
import { CommandError } from "./failure.ts";

export interface ConfigOptions {
	/** --config FILE. */
	readonly config?: string | undefined;
	/** --data DIR. */
	readonly data?: string | undefined;
	/** --set key=value, each. */
	readonly set?: readonly string[] | undefined;
}

/** Far above any configuration; a wrong file name (a segment, a disk image) is not read into memory. */
const MAX_FILE_BYTES = 1_048_576;

/** Throws ConfigError for what is in it, CommandError for a file that cannot be read. */
export async function readConfig(
	options: ConfigOptions,
	environment: Readonly<Record<string, string | undefined>>,
	parse: (text: string) => Promise<FileContent> = parseHere,
): Promise<LoadedConfig> {
	const name = options.config ?? (environment.HEADWATER_CONFIG || undefined);
	const loaded = loadConfig({
		file: name === undefined ? undefined : { name, content: await parse(readText(name)) },
		environment,
		set: options.set,
		dataDirectory: options.data,
	});
	try {
		new Routes(loaded.config.routes);
	} catch (error) {
		if (!(error instanceof StartError)) throw error;
		throw new ConfigError([{ key: undefined, wrong: error.message, source: loaded.sources.routes, right: undefined }]);
	}
	const problems: ConfigProblem[] = [];
	for (const key of ["tier.schedule", "tier.window", "upstream.window"] as const) {
		const problem = await scheduleProblem(key, loaded.config[key]);
		if (problem !== undefined) problems.push({ key, source: loaded.sources[key], ...problem });
	}
	if (problems.length > 0) throw new ConfigError(problems);
	return loaded;
}

async function parseHere(text: string): Promise<FileContent> {
	const { readYaml } = await import("../config/yaml-file.ts");
	return readYaml(text);
}

function readText(name: string): string {
	const disk = new NodeDisk();
	try {
		const file = disk.open(name, "read");
		try {
			const sizeBytes = file.size();
			if (sizeBytes > MAX_FILE_BYTES) {
				throw new CommandError(
					`${name} has ${sizeBytes} bytes and is no configuration file (at most ${MAX_FILE_BYTES})`,
				);
			}
			const bytes = Buffer.alloc(sizeBytes);
			return bytes.subarray(0, file.readSync(bytes, 0)).toString("utf8");
		} finally {
			file.close();
		}
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === "EISDIR") throw new CommandError(`${name} is a folder; --config names a file`);
		if (code !== "ENOENT") throw error;
		throw new CommandError(
			`there is no configuration file ${name}; name one with --config, or leave that out for the defaults`,
		);
	}
}

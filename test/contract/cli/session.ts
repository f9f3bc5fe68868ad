/** The `headwater` command with input and output of its own, as a shell would run it. */
import { type ChildProcess, spawn } from "node:child_process";
import { type Finished, type Gateway, HEADWATER } from "../../support/gateway.ts";

/** Starts the command; `HEADWATER_` variables of the machine are kept away from it. */
export function spawnHeadwater(
	parameters: readonly string[],
	environment: Readonly<Record<string, string>> = {},
): ChildProcess {
	const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("HEADWATER_"));
	return spawn(process.execPath, [HEADWATER, ...parameters], {
		env: { ...Object.fromEntries(clean), ...environment },
		stdio: "pipe",
	});
}

/** Runs the command to its end, with `input` on its standard input. */
export function runHeadwater(
	parameters: readonly string[],
	options: { input?: string | Uint8Array; environment?: Readonly<Record<string, string>> } = {},
): Promise<Finished> {
	const child = spawnHeadwater(parameters, options.environment);
	let stdout = "";
	let stderr = "";
	child.stdout?.setEncoding("utf8").on("data", (text: string) => {
		stdout += text;
	});
	child.stderr?.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	child.stdin?.on("error", () => undefined); // it need not read
	child.stdin?.end(options.input ?? "");
	return new Promise((resolve, reject) => {
		child.once("error", reject);
		child.once("close", (code, signal) => resolve({ code: code ?? (signal ? 128 : -1), stdout, stderr }));
	});
}

/** As above, against `gateway`. */
export function talk(
	gateway: Gateway,
	parameters: readonly string[],
	input: string | Uint8Array = "",
): Promise<Finished> {
	return runHeadwater(parameters, { input, environment: { HEADWATER_CONNECT: `127.0.0.1:${gateway.nativePort}` } });
}

export function objects(text: string): Record<string, unknown>[] {
	return text
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/**
 * How a command fails: one clear line on stderr that says what is wrong and what to do, exit code 1,
 * or 2 when it was called wrongly. Stack traces only with HEADWATER_DEBUG=1.
 */

/** The command line is not right: exit code 2. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

/** The command cannot do what it was asked: exit code 1. */
export class CommandError extends Error {
	override readonly name = "CommandError";
}

/** Errors whose message is written for the person at the terminal. */
const TOLD_AS_THEY_ARE = [
	"UsageError",
	"CommandError",
	"StartError",
	"BrokerError",
	"DamageError",
	"StoreError",
	"ClaimError",
	"HeadwaterError",
];

export function exitCodeOf(error: unknown): number {
	return error instanceof UsageError ? 2 : 1;
}

/** What goes to stderr, each line with the program's name before it. */
export function describeFailure(error: unknown, debug: boolean): string {
	if (debug && error instanceof Error) return `${withCauses(error)}\n`;
	const message = error instanceof Error ? messageOf(error) : String(error);
	return message
		.split("\n")
		.map((line) => `headwater: ${line}\n`)
		.join("");
}

function messageOf(error: Error): string {
	// ConfigError is a StartError by its class; names are compared because the client is a bundle of its own.
	if (TOLD_AS_THEY_ARE.includes(error.name)) return error.message;
	const { code, path } = error as NodeJS.ErrnoException;
	if (code !== undefined) {
		const known = SYSTEM_ERRORS[code];
		if (known !== undefined) return path === undefined ? known : `${path}: ${known}`;
		return error.message.includes(code) ? error.message : `${error.message} (${code})`;
	}
	return `unexpected: ${error.message || error.name}; HEADWATER_DEBUG=1 shows where`;
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
	ENOENT: "there is no such file or folder",
	EACCES: "no permission; see who owns it (ls -l)",
	EPERM: "not permitted",
	EISDIR: "is a folder; name a file",
	ENOTDIR: "a part of this path is a file, not a folder",
	ENOSPC: "no space is left on the device; make room and try again",
	EROFS: "the file system is read-only",
	EMFILE: "too many open files; raise the limit (ulimit -n)",
	EIO: "the device reports an input/output error",
};

function withCauses(error: Error): string {
	const own = error.stack ?? String(error);
	return error.cause instanceof Error ? `${own}\ncaused by ${withCauses(error.cause)}` : own;
}

/** Reports and ends the process, now: nothing that is still open can keep it. */
export function fail(error: unknown): never {
	process.stderr.write(describeFailure(error, process.env.HEADWATER_DEBUG === "1"));
	process.exit(exitCodeOf(error));
}

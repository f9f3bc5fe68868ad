/** What Linux says of a process and of the disk below a folder. Throws where /proc is missing: these benchmarks are for Linux. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";

/** Of all processors, `getconf CLK_TCK` a second. */
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** User and system time of all its threads, seconds; 1/CLK_TCK exact [proc_pid_stat(5): 14, 15]. */
export function cpuSeconds(pid: number): number {
	const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
	// The name, field 2, is in parentheses and may hold anything.
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export interface MemoryFigures {
	/** VmRSS. */
	readonly residentBytes: number;
	/** VmHWM: the most it ever was. */
	readonly peakBytes: number;
	/** RssAnon: without the program's text and mapped files. */
	readonly anonymousBytes: number;
}

export function memoryFigures(pid: number): MemoryFigures {
	const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
	const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
	return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM"), anonymousBytes: field("RssAnon") };
}

/** A step above this, of what is resident, is a change. */
const STEP_BYTES = 256 * 1024;

/**
 * What stays resident at rest: waits until nothing above 256 KiB has changed for `quietMs`, in which V8 also gives back what a
 * load left behind; a minute at most.
 */
export async function settledMemory(pid: number, quietMs = 8000): Promise<MemoryFigures> {
	let before = memoryFigures(pid);
	let since = performance.now();
	const deadline = since + 60_000;
	for (;;) {
		await new Promise((resolve) => setTimeout(resolve, 250));
		const figures = memoryFigures(pid);
		const now = performance.now();
		if (Math.abs(figures.residentBytes - before.residentBytes) > STEP_BYTES) {
			before = figures;
			since = now;
		} else if (now - since >= quietMs || now > deadline) {
			return figures;
		}
	}
}

/** Throws when fewer files may be open: Node has raised the soft limit to the hard one already. */
export function requireOpenFiles(needed: number): void {
	const limits = fs.readFileSync("/proc/self/limits", "utf8");
	const limit = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
	if (limit >= needed) return;
	throw new Error(`${needed} open files are needed and ${limit} allowed: raise the limit (ulimit -Hn)`);
}

/** Bytes that the files below a folder take on the disk. */
export function diskBytes(folder: string): number {
	const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
	return names.reduce((sum, name) => {
		const stat = fs.lstatSync(`${folder}/${name}`);
		return sum + (stat.isFile() ? stat.blocks * 512 : 0);
	}, 0);
}

export interface WrittenFigures {
	/** Handed to write calls, sockets included [proc_pid_io(5): wchar]. */
	readonly handedBytes: number;
	/**
	 * Of pages dirtied [write_bytes]. No measure of what is written where the file system has large folios (ext4 since
	 * Linux 6.16): one block dirtied counts as the whole folio, up to 2 MiB.
	 */
	readonly dirtiedBytes: number;
}

export function writtenFigures(pid: number): WrittenFigures {
	const io = fs.readFileSync(`/proc/${pid}/io`, "utf8");
	const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(io)?.[1]);
	return { handedBytes: field("wchar"), dirtiedBytes: field("write_bytes") };
}

/** The block device below `folder`, as /sys names it; undefined where there is none (overlay, network, memory). */
export function deviceOf(folder: string): { readonly name: string; readonly sys: string } | undefined {
	const { dev } = fs.statSync(folder);
	const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)];
	const sys = `/sys/dev/block/${major}:${minor}`;
	if (!fs.existsSync(`${sys}/stat`)) return undefined;
	return { name: fs.realpathSync(sys).split("/").at(-1) as string, sys };
}

/** Bytes that went to the device since the machine started, whoever wrote them [Documentation/block/stat: sectors of 512 bytes]. */
export function deviceWrittenBytes(sys: string): number {
	return Number(fs.readFileSync(`${sys}/stat`, "utf8").trim().split(/\s+/)[6]) * 512;
}

/** Writes back what is dirty on that file system, so that it does not disturb, or is counted in, what comes next. */
export function syncFileSystem(folder: string): void {
	execFileSync("sync", ["-f", folder]);
}

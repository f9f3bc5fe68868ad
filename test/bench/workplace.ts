/**
 * Where a benchmark works: a folder on the disk of the working tree (not in memory, as /tmp may be), and the processes that
 * it started. Nothing of either is left behind, however the benchmark ends.
 */
import type { ChildProcess } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../..");

export class Workplace {
	readonly root: string;
	readonly #children = new Set<ChildProcess>();
	#folders = 0;

	constructor() {
		const parent = path.join(ROOT, "node_modules", ".cache", "headwater-bench");
		fs.mkdirSync(parent, { recursive: true });
		this.root = fs.mkdtempSync(path.join(parent, "run-"));
		process.on("exit", () => this.#leave());
		for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
	}

	/** A new empty folder. */
	folder(name: string): string {
		this.#folders += 1;
		const folder = path.join(this.root, `${name}-${this.#folders}`);
		fs.mkdirSync(folder);
		return folder;
	}

	remove(folder: string | undefined): void {
		if (folder?.startsWith(this.root)) fs.rmSync(folder, { recursive: true, force: true });
	}

	/** Killed with the benchmark. */
	adopt(child: ChildProcess): ChildProcess {
		this.#children.add(child);
		child.once("exit", () => this.#children.delete(child));
		return child;
	}

	/** Throws when the disk has less than that. */
	require(bytes: number): void {
		const { bavail, bsize } = fs.statfsSync(this.root);
		if (bavail * bsize >= bytes) return;
		const gigabytes = (value: number): string => `${(value / 1e9).toFixed(1)} GB`;
		throw new Error(`${this.root} has ${gigabytes(bavail * bsize)} free; this measurement needs ${gigabytes(bytes)}`);
	}

	#leave(): void {
		for (const child of this.#children) child.kill("SIGKILL");
		fs.rmSync(this.root, { recursive: true, force: true, maxRetries: 5 });
	}
}

/** The first file of that name on the PATH, or where distributions put servers. */
export function findProgram(name: string): string | undefined {
	const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
	return folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
}

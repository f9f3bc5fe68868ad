/** The machine, as far as it matters to read a result; and how fast its disk syncs. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { deviceOf } from "./process-figures.ts";

export interface Machine {
	readonly processor: string;
	readonly cores: number;
	readonly memoryBytes: number;
	readonly kernel: string;
	readonly node: string;
	readonly disk: string;
	/** 4 KiB written over in a file of its own, and fdatasync: the median, milliseconds. */
	readonly syncMs: number;
	/** Of the last minute, at the start. */
	readonly load: number;
	readonly busy: boolean;
	readonly date: string;
}

/** Above it something else took part in the measurement. */
const BUSY_LOAD = 1.0;
const PROBES = 200;
const BLOCK_BYTES = 4096;

export function describeMachine(folder: string): Machine {
	const load = os.loadavg()[0] as number;
	const cpu = os.cpus()[0]?.model.trim();
	const device = deviceOf(folder);
	return {
		processor: `${cpu === undefined || cpu === "unknown" ? "unknown" : cpu} (${process.arch})`,
		cores: os.availableParallelism(),
		memoryBytes: os.totalmem(),
		kernel: `${os.type()} ${os.release()}`,
		node: process.version,
		disk: `${fileSystem(folder)} on ${device?.name ?? "no block device"}`,
		syncMs: probeSync(folder),
		load,
		busy: load > BUSY_LOAD,
		date: new Date().toISOString().slice(0, 16).replace("T", " "),
	};
}

/** The type of the mount that holds the folder. */
function fileSystem(folder: string): string {
	const mounts = fs
		.readFileSync("/proc/self/mounts", "utf8")
		.split("\n")
		.map((line) => line.split(" "))
		.filter(([, point]) => point !== undefined && `${folder}/`.startsWith(point === "/" ? "/" : `${point}/`));
	return mounts.toSorted((a, b) => (a[1] as string).length - (b[1] as string).length).at(-1)?.[2] ?? "unknown";
}

function probeSync(folder: string): number {
	const file = path.join(folder, "sync-probe");
	const fd = fs.openSync(file, "w");
	try {
		const block = Buffer.alloc(BLOCK_BYTES, 1);
		for (let i = 0; i < PROBES; i += 1) fs.writeSync(fd, block, 0, BLOCK_BYTES, i * BLOCK_BYTES);
		fs.fsyncSync(fd);
		const times = Array.from({ length: PROBES }, (_, i) => {
			const started = performance.now();
			fs.writeSync(fd, block, 0, BLOCK_BYTES, i * BLOCK_BYTES);
			fs.fdatasyncSync(fd);
			return performance.now() - started;
		});
		return times.sort((a, b) => a - b)[PROBES / 2] as number;
	} finally {
		fs.closeSync(fd);
		fs.rmSync(file);
	}
}

export function machineLines(machine: Machine): string[] {
	const memory = `${Math.round(machine.memoryBytes / 2 ** 30)} GiB`;
	return [
		`${machine.processor}, ${machine.cores} cores, ${memory}; ${machine.kernel}; Node ${machine.node}`,
		`disk: ${machine.disk}, 4 KiB and fdatasync ${machine.syncMs.toFixed(2)} ms; ${machine.date} UTC`,
		`load average at the start ${machine.load.toFixed(2)}: ${machine.busy ? "MACHINE BUSY, figures not to be relied on" : "quiet"}`,
	];
}

/**
 * A real gateway process for tests: the built program on free ports of the loopback address, over a
 * data directory that outlives it. `kill` is kill -9; `stop` is Ctrl-C.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
export const HEADWATER = path.join(root, "dist", "headwater.js");

export interface Gateway {
	readonly process: ChildProcess;
	readonly mqttPort: number;
	readonly nativePort: number;
	readonly kafkaPort: number;
	readonly httpPort: number;
	readonly dataDirectory: string;
	/** SIGKILL, and the process is gone when this resolves. */
	kill(): Promise<void>;
	/** SIGINT; resolves with the exit code. */
	stop(): Promise<number | null>;
}

export interface GatewayOptions {
	readonly dataDirectory: string;
	readonly settings?: Readonly<Record<string, string | number>>;
	/** The program; another installation's, say. */
	readonly program?: string;
}

/** A folder of its own under the system's temporary folder; the caller removes it. */
export function temporaryFolder(name: string): string {
	return fs.mkdtempSync(path.join(os.tmpdir(), `headwater-${name}-`));
}

/** Resolves when `text` of the stream so far fits `pattern`; rejects, with all that was said, when the process ends first. */
export function until(process: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
	return new Promise((resolve, reject) => {
		let text = "";
		const look = (chunk: Buffer): void => {
			text += chunk.toString();
			const match = pattern.exec(text);
			if (match !== null) resolve(match);
		};
		process.stdout?.on("data", look);
		process.stderr?.on("data", look);
		process.once("error", reject);
		process.once("close", (code) =>
			reject(new Error(`${process.spawnfile} ended (${code}) before ${pattern}:\n${text}`)),
		);
	});
}

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
	const free = "127.0.0.1:0";
	const settings = {
		"mqtt.listen": free,
		"native.listen": free,
		"kafka.listen": free,
		"http.listen": free,
		...options.settings,
	};
	const parameters = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
	const program = options.program ?? HEADWATER;
	const child = spawn(process.execPath, [program, "start", "--data", options.dataDirectory, ...parameters], {
		cwd: os.tmpdir(),
		stdio: ["ignore", "pipe", "pipe"],
	});
	const [mqtt, native, kafka, http] = await Promise.all([
		until(child, /\bmqtt\b[^\n]*?127\.0\.0\.1:(\d+)/i),
		until(child, /\bnative\b[^\n]*?127\.0\.0\.1:(\d+)/i),
		until(child, /\bkafka\b[^\n]*?127\.0\.0\.1:(\d+)/i),
		until(child, /\bhttp\b[^\n]*?127\.0\.0\.1:(\d+)/i),
	]);
	const gone = async (): Promise<number | null> => {
		if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
		return child.exitCode;
	};
	return {
		process: child,
		mqttPort: Number(mqtt[1]),
		nativePort: Number(native[1]),
		kafkaPort: Number(kafka[1]),
		httpPort: Number(http[1]),
		dataDirectory: options.dataDirectory,
		async kill() {
			child.kill("SIGKILL");
			await gone();
		},
		stop() {
			child.kill("SIGINT");
			return gone();
		},
	};
}

export interface Finished {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

/** Runs a program to its end; never rejects for an exit code. */
export function run(
	program: string,
	parameters: readonly string[],
	options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Finished> {
	return new Promise((resolve, reject) => {
		const settings = { maxBuffer: 256 * 1024 * 1024, ...options };
		const child = execFile(program, [...parameters], settings, (error, stdout, stderr) => {
			if (error !== null && typeof error.code === "string") reject(error);
			else resolve({ code: child.exitCode ?? 128, stdout, stderr });
		});
		child.stdin?.end();
	});
}

/** The `headwater` command, talking to `gateway`. */
export function headwater(gateway: Gateway, ...parameters: string[]): Promise<Finished> {
	const env = { ...process.env, HEADWATER_CONNECT: `127.0.0.1:${gateway.nativePort}` };
	return run(process.execPath, [HEADWATER, ...parameters], { env });
}

export interface StoredRecord {
	readonly topic: string;
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: string | null;
	readonly value: string | null;
	readonly headers: unknown;
}

/** All of a topic, as `headwater consume --json` prints it. */
export async function consumeAll(gateway: Gateway, topic: string): Promise<StoredRecord[]> {
	const { code, stdout, stderr } = await headwater(
		gateway,
		"consume",
		topic,
		"--from",
		"earliest",
		"--until",
		"end",
		"--json",
	);
	if (code !== 0) throw new Error(`headwater consume ${topic} ended with ${code}: ${stderr}`);
	return stdout
		.split("\n")
		.filter((line) => line !== "")
		.map((line): StoredRecord => JSON.parse(line));
}

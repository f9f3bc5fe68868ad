/**
 * A gateway as a process of its own, to be started, killed with -9, started again and stopped. Its ports
 * stay the same over restarts; its process group is killed as a whole, so that a wrapper (the launcher, a
 * shell, npx) does not leave the gateway behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import path from "node:path";

export interface GatewayOptions {
	readonly dataDirectory: string;
	/** Default: free ones. */
	readonly mqttPort?: number;
	readonly nativePort?: number;
	/**
	 * A shell command instead of this package's own gateway; {data}, {mqtt} and {native} stand for the data directory
	 * and the two addresses, HOST:PORT.
	 */
	readonly command?: string;
	/** Further arguments of the package's own gateway, such as `--set`, `num.partitions=8`. */
	readonly arguments?: readonly string[];
	/** Is given all that it prints, over all its lives. */
	readonly print?: (bytes: Buffer) => void;
	/** Default 20,000. */
	readonly readyTimeoutMs?: number;
	/** Default 10,000: then `stop` kills. */
	readonly stopTimeoutMs?: number;
}

const HOST = "127.0.0.1";
const POLL_MS = 10;
const OUTPUT_CHARACTERS = 8192;

export class GatewayError extends Error {
	override readonly name = "GatewayError";
}

export class GatewayProcess {
	readonly host = HOST;
	readonly mqttPort: number;
	readonly nativePort: number;
	readonly dataDirectory: string;
	/** Called when the process ends and neither `kill` nor `stop` asked for it. */
	onUnexpectedExit: ((how: string) => void) | undefined;
	readonly #options: GatewayOptions;
	#child: ChildProcess | undefined;
	#exited: Promise<void> = Promise.resolve();
	#expectExit = false;
	#output = "";

	private constructor(options: GatewayOptions, mqttPort: number, nativePort: number) {
		this.#options = options;
		this.dataDirectory = path.resolve(options.dataDirectory);
		this.mqttPort = mqttPort;
		this.nativePort = nativePort;
	}

	/** Chooses the ports; nothing runs yet. */
	static async create(options: GatewayOptions): Promise<GatewayProcess> {
		const [first, second] = (await freePorts(2)) as [number, number];
		return new GatewayProcess(options, options.mqttPort ?? first, options.nativePort ?? second);
	}

	get running(): boolean {
		return this.#child !== undefined;
	}

	get pid(): number | undefined {
		return this.#child?.pid;
	}

	/** The last of what it printed, on either stream. */
	get output(): string {
		return this.#output;
	}

	/** Starts it and waits until both doors take connections. Throws GatewayError when it ends or takes too long. */
	async start(): Promise<void> {
		this.spawn();
		const timeoutMs = this.#options.readyTimeoutMs ?? 20_000;
		const until = performance.now() + timeoutMs;
		const child = this.#child;
		for (const port of [this.mqttPort, this.nativePort]) {
			while (!(await accepts(HOST, port))) {
				if (this.#child !== child || !child)
					throw new GatewayError(`the gateway ended while it started:\n${this.#output}`);
				if (performance.now() > until) {
					await this.kill();
					throw new GatewayError(`the gateway did not listen on port ${port} within ${timeoutMs} ms:\n${this.#output}`);
				}
				await new Promise((resolve) => setTimeout(resolve, POLL_MS));
			}
		}
	}

	/** Starts it and does not wait. */
	spawn(): void {
		if (this.#child) throw new GatewayError("the gateway is running already");
		const [file, args] = this.#commandLine();
		const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
		this.#child = child;
		this.#expectExit = false;
		this.#output = "";
		const keep = (chunk: Buffer) => {
			this.#options.print?.(chunk);
			this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARACTERS);
		};
		child.stdout.on("data", keep);
		child.stderr.on("data", keep);
		this.#exited = new Promise((resolve) => {
			const over = (how: string) => {
				if (this.#child !== child) return;
				this.#child = undefined;
				LIVING.delete(this);
				resolve();
				if (!this.#expectExit) this.onUnexpectedExit?.(how);
			};
			child.once("error", (error) => {
				this.#output += `${error.message}\n`;
				over(error.message);
			});
			child.once("close", (code, signal) => over(signal ? `signal ${signal}` : `exit code ${code}`));
		});
		LIVING.add(this);
	}

	/** kill -9; resolves when the process is gone. */
	async kill(): Promise<void> {
		this.#signal("SIGKILL");
		await this.#exited;
	}

	/** SIGTERM, and kill -9 for one that does not end in time. */
	async stop(): Promise<void> {
		this.#signal("SIGTERM");
		const timer = setTimeout(() => this.#signal("SIGKILL"), this.#options.stopTimeoutMs ?? 10_000);
		await this.#exited;
		clearTimeout(timer);
	}

	/** kill -9 without waiting: for the end of our own process. */
	killNow(): void {
		this.#signal("SIGKILL");
	}

	#commandLine(): [string, string[]] {
		const { command } = this.#options;
		const mqtt = `${HOST}:${this.mqttPort}`;
		const native = `${HOST}:${this.nativePort}`;
		if (command !== undefined) {
			const filled = command
				.replaceAll("{data}", shellQuoted(this.dataDirectory))
				.replaceAll("{mqtt}", mqtt)
				.replaceAll("{native}", native);
			return ["/bin/sh", ["-c", `exec ${filled}`]];
		}
		const addresses = [
			`mqtt.listen=${mqtt}`,
			`native.listen=${native}`,
			`kafka.listen=${HOST}:0`,
			`http.listen=${HOST}:0`,
		];
		const listen = addresses.flatMap((address) => ["--set", address]);
		const program = [ownGateway(), "start", "--data", this.dataDirectory, ...listen];
		return [process.execPath, [...program, ...(this.#options.arguments ?? [])]];
	}

	#signal(signal: NodeJS.Signals): void {
		const pid = this.#child?.pid;
		this.#expectExit = true;
		if (pid === undefined) return;
		try {
			process.kill(-pid, signal);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
		}
	}
}

/** Those that run now: none outlives this process, short of a kill -9 of its own. */
const LIVING = new Set<GatewayProcess>();

/** For a program's exit and its signals: every gateway that was started and still runs is killed. */
export function killGateways(): void {
	for (const gateway of LIVING) gateway.killNow();
}

/** dist/headwater.js, from the bundle beside it or from the sources. */
function ownGateway(): string {
	const here = import.meta.dirname;
	return path.basename(here) === "device-sim"
		? path.join(here, "../dist/headwater.js")
		: path.join(here, distFile(here));
}

/** Bundled code may lie in dist/ or in dist/chunks/. */
function distFile(folder: string): string {
	return path.basename(folder) === "chunks" ? "../headwater.js" : "headwater.js";
}

function shellQuoted(text: string): string {
	return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
	const servers = Array.from({ length: count }, () => createServer());
	const ports: number[] = [];
	for (const server of servers) {
		await new Promise<void>((resolve, reject) => {
			server.once("error", reject);
			server.listen(0, HOST, () => resolve());
		});
		const address = server.address();
		if (address === null || typeof address === "string") throw new GatewayError("no port");
		ports.push(address.port);
	}
	for (const server of servers) await new Promise((resolve) => server.close(resolve));
	return ports;
}

/** Whether something takes TCP connections there. */
export function accepts(host: string, port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect(port, host);
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(false));
	});
}

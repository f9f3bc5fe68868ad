/** The site's broker (site-broker.ts) as a process of its own, seen from the run: its port, its bridge, its end. */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { GatewayError } from "./gateway-process.ts";

const READY_MS = 20_000;

export interface SiteBrokerOptions {
	readonly seed: string;
	/** Mean time from one cut of the bridge's connection to the next; 0: never. */
	readonly cutEveryMs: number;
}

export class SiteBrokerProcess {
	readonly host = "127.0.0.1";
	readonly #child: ChildProcess;
	readonly #listening = Promise.withResolvers<number>();
	readonly #subscribed = Promise.withResolvers<void>();
	port = 0;
	/** How often the bridge came in, and how often its connection was cut here. */
	bridgeConnects = 0;
	bridgeCuts = 0;

	private constructor({ seed, cutEveryMs }: SiteBrokerOptions) {
		this.#child = spawn(process.execPath, [simulator(), "site-broker", seed, String(cutEveryMs)], {
			stdio: ["pipe", "pipe", "inherit"],
		});
		// A child that ended takes nothing more.
		this.#child.stdin?.on("error", () => {});
		createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#told(line));
		const over = (how: string): void => {
			const error = new GatewayError(`the site's broker ended (${how})`);
			this.#listening.reject(error);
			this.#subscribed.reject(error);
		};
		this.#child.once("error", (error) => over(error.message));
		this.#child.once("close", (code, signal) => over(signal ?? `exit code ${code}`));
		// Looked at where they are waited for; until then a rejection must not be "unhandled".
		this.#listening.promise.catch(() => {});
		this.#subscribed.promise.catch(() => {});
	}

	/** Starts it and waits until it listens. Throws GatewayError. */
	static async start(options: SiteBrokerOptions): Promise<SiteBrokerProcess> {
		const broker = new SiteBrokerProcess(options);
		broker.port = await broker.#patient(broker.#listening.promise, "did not listen");
		return broker;
	}

	/** The gateway's configuration that makes the bridge. */
	get bridgeSetting(): string {
		const bridge = {
			name: "site",
			address: `mqtt://${this.host}:${this.port}`,
			"keep.alive.seconds": 10,
			in: [{ filter: "#" }],
		};
		return `bridges=${JSON.stringify([bridge])}`;
	}

	/** Resolves when the bridge has subscribed: from then on the broker queues for it. */
	async bridged(): Promise<void> {
		await this.#patient(this.#subscribed.promise, "saw no bridge come");
	}

	get running(): boolean {
		return this.#child.exitCode === null && this.#child.signalCode === null;
	}

	/** It ends with its standard input. */
	async stop(): Promise<void> {
		if (!this.running) return;
		const closed = new Promise((resolve) => this.#child.once("close", resolve));
		this.#child.stdin?.end();
		await closed;
	}

	#told(line: string): void {
		const [what, port] = line.split(" ");
		if (what === "listening") this.#listening.resolve(Number(port));
		else if (what === "subscribed") this.#subscribed.resolve();
		else if (what === "bridge") this.bridgeConnects++;
		else if (what === "cut") this.bridgeCuts++;
	}

	async #patient<T>(promise: Promise<T>, what: string): Promise<T> {
		let timer: NodeJS.Timeout | undefined;
		const late = new Promise<never>((_, reject) => {
			timer = setTimeout(() => reject(new GatewayError(`the site's broker ${what} within ${READY_MS} ms`)), READY_MS);
		});
		try {
			return await Promise.race([promise, late]);
		} finally {
			clearTimeout(timer);
		}
	}
}

/** This simulator's own program, from the sources or from the bundle. */
function simulator(): string {
	const here = import.meta.dirname;
	if (path.basename(here) === "device-sim") return path.join(here, "main.ts");
	return path.join(here, path.basename(here) === "chunks" ? "../device-sim.js" : "device-sim.js");
}

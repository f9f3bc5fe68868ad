/**
 * The brokers that are measured, each a process of its own with default buffers and a data directory on the disk of the
 * working tree. Headwater runs as it is shipped, from dist/. Mosquitto keeps everything in memory and syncs nothing: the fastest
 * that an acknowledgement can be. NATS syncs before it acknowledges. Peers are taken when they are found on the machine.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { startGateway, until } from "../support/gateway.ts";
import { findProgram, type Workplace } from "./workplace.ts";

export interface Target {
	readonly name: string;
	/** What its acknowledgement promises. */
	readonly promise: string;
	readonly pid: number;
	readonly mqttPort: number;
	/** Headwater only. */
	readonly nativePort?: number;
	readonly kafkaPort?: number;
	readonly dataDirectory?: string;
	/** As its operator would; resolves when it is gone. */
	stop(): Promise<void>;
	/** SIGKILL. */
	kill(): Promise<void>;
}

export interface TargetKind {
	readonly name: string;
	start(workplace: Workplace): Promise<Target>;
}

/** 16 partitions unless `settings` say otherwise. */
export async function startHeadwater(
	workplace: Workplace,
	options: { dataDirectory?: string; settings?: Readonly<Record<string, string | number>> } = {},
): Promise<Target> {
	const dataDirectory = options.dataDirectory ?? workplace.folder("headwater");
	const settings = { "num.partitions": 16, ...options.settings };
	const gateway = await startGateway({ dataDirectory, settings });
	const child = workplace.adopt(gateway.process);
	return {
		name: "headwater",
		promise: "on disk",
		pid: child.pid as number,
		mqttPort: gateway.mqttPort,
		nativePort: gateway.nativePort,
		kafkaPort: gateway.kafkaPort,
		dataDirectory,
		async stop() {
			const code = await gateway.stop();
			if (code !== 0) throw new Error(`headwater ended with ${code}`);
		},
		kill: () => gateway.kill(),
	};
}

const headwater: TargetKind = { name: "headwater", start: (workplace) => startHeadwater(workplace) };

function mosquitto(program: string): TargetKind {
	return {
		name: "mosquitto",
		async start(workplace) {
			const port = await freePort();
			const file = path.join(workplace.folder("mosquitto"), "mosquitto.conf");
			fs.chmodSync(path.dirname(file), 0o755);
			const settings = [
				`listener ${port} 127.0.0.1`,
				"allow_anonymous true",
				"persistence false",
				"max_inflight_messages 0",
				"max_queued_messages 0",
				"set_tcp_nodelay true",
				"log_dest stderr",
				"log_type error",
				"connection_messages false",
			];
			fs.writeFileSync(file, `${settings.join("\n")}\n`);
			const child = workplace.adopt(spawn(program, ["-c", file], { stdio: ["ignore", "ignore", "inherit"] }));
			await listening(port, child);
			return processTarget("mosquitto", "in memory", child, port);
		},
	};
}

function nats(program: string): TargetKind {
	return {
		name: "nats",
		async start(workplace) {
			const [port, mqttPort] = [await freePort(), await freePort()];
			const folder = workplace.folder("nats");
			const file = path.join(folder, "nats.conf");
			fs.writeFileSync(
				file,
				`server_name: bench\nlisten: "127.0.0.1:${port}"\nmqtt { listen: "127.0.0.1:${mqttPort}" }\n` +
					`jetstream { store_dir: "${folder}", sync_interval: always }\n`,
			);
			const child = workplace.adopt(spawn(program, ["-c", file], { stdio: ["ignore", "ignore", "ignore"] }));
			await listening(mqttPort, child);
			return processTarget("nats", "on disk", child, mqttPort);
		},
	};
}

/** `npm install --no-save aedes` brings it; 1.x. */
function aedes(module: string): TargetKind {
	return {
		name: "aedes",
		async start(workplace) {
			const program = `import { Aedes } from ${JSON.stringify(pathToFileURL(module).href)}; import net from "node:net";
				const broker = await Aedes.createBroker(); const server = net.createServer({ noDelay: true }, broker.handle);
				server.listen(0, "127.0.0.1", () => console.log("port " + server.address().port));`;
			const child = workplace.adopt(
				spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] }),
			);
			const [, port] = await until(child, /port (\d+)/);
			return processTarget("aedes", "in memory", child, Number(port));
		},
	};
}

/** A server that only takes connections, of the same Node: what of a connection's memory is not the gateway's. */
export const bareServer: TargetKind = {
	name: "bare server",
	async start(workplace) {
		const file = path.join(import.meta.dirname, "bare-server.ts");
		const child = workplace.adopt(spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] }));
		const [, port] = await until(child, /port (\d+)/);
		return processTarget("bare server", "-", child, Number(port));
	},
};

/** Headwater, and every peer that is found. */
export function targetsFound(): TargetKind[] {
	const kinds = [headwater];
	const [mosquittoProgram, natsProgram] = [findProgram("mosquitto"), findProgram("nats-server")];
	if (mosquittoProgram !== undefined) kinds.push(mosquitto(mosquittoProgram));
	if (natsProgram !== undefined) kinds.push(nats(natsProgram));
	try {
		kinds.push(aedes(createRequire(path.join(process.env.INIT_CWD ?? process.cwd(), "package.json")).resolve("aedes")));
	} catch {
		// Not installed.
	}
	return kinds;
}

/** Headwater, and mosquitto if it is found: for what the others do not do, or not comparably. */
export const mosquittoAndHeadwater = (): TargetKind[] =>
	targetsFound().filter(({ name }) => name === "headwater" || name === "mosquitto");

/** `mosquitto 2.0.11, nats-server v2.11.4`, for the results. */
export function peerVersions(): string {
	const version = (program: string, parameter: string): string[] => {
		const file = findProgram(program);
		if (file === undefined) return [];
		try {
			const text = execFileSync(file, [parameter], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
			return [`${program} ${/\d+\.\d+\.\d+/.exec(text)?.[0] ?? ""}`.trim()];
		} catch (error) {
			// mosquitto -h ends with 3.
			const text = String((error as { stdout?: string }).stdout ?? "");
			return [`${program} ${/\d+\.\d+\.\d+/.exec(text)?.[0] ?? ""}`.trim()];
		}
	};
	return [...version("mosquitto", "-h"), ...version("nats-server", "-v")].join(", ");
}

function processTarget(name: string, promise: string, child: ChildProcess, mqttPort: number): Target {
	const end = async (signal: NodeJS.Signals): Promise<void> => {
		if (child.exitCode !== null || child.signalCode !== null) return;
		child.kill(signal);
		await once(child, "exit");
	};
	return { name, promise, pid: child.pid as number, mqttPort, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

function freePort(): Promise<number> {
	return new Promise((resolve, reject) => {
		const server = net.createServer();
		server.once("error", reject);
		server.listen(0, "127.0.0.1", () => {
			const { port } = server.address() as net.AddressInfo;
			server.close(() => resolve(port));
		});
	});
}

async function listening(port: number, child: ChildProcess): Promise<void> {
	for (let attempt = 0; attempt < 200; attempt += 1) {
		if (child.exitCode !== null) break;
		const open = await new Promise<boolean>((resolve) => {
			const socket = net.connect(port, "127.0.0.1", () => resolve(true));
			socket.once("error", () => resolve(false));
			socket.once("connect", () => socket.destroy());
		});
		if (open) return;
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	throw new Error(`${child.spawnfile} does not listen on port ${port}`);
}

/**
 * The Kafka brokers that are measured: headwater as it is shipped; Apache Kafka with a heap of 512 MB, as it is by default
 * (nothing synced) and with `flush.messages=1` (every append synced); klite, which syncs too, when it is on the PATH.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { startHeadwater } from "./targets.ts";
import { findProgram, type Workplace } from "./workplace.ts";

export interface KafkaTarget {
	readonly name: string;
	/** What its acknowledgement promises. */
	readonly promise: string;
	readonly pid: number;
	/** `127.0.0.1:9092`. */
	readonly bootstrap: string;
	stop(): Promise<void>;
}

export interface KafkaTargetKind {
	readonly name: string;
	start(workplace: Workplace): Promise<KafkaTarget>;
}

export const KIT = path.resolve(import.meta.dirname, "../interop/kit/kafka");

const headwater: KafkaTargetKind = {
	name: "headwater",
	async start(workplace) {
		const target = await startHeadwater(workplace);
		return {
			name: "headwater",
			promise: "on disk",
			pid: target.pid,
			bootstrap: `127.0.0.1:${target.kafkaPort}`,
			stop: target.stop,
		};
	},
};

function apacheKafka(name: string, promise: string, settings: readonly string[]): KafkaTargetKind {
	return {
		name,
		async start(workplace) {
			const folder = workplace.folder("kafka");
			const set = settings.flatMap((setting) => ["--set", setting]);
			const said = execFileSync(path.join(KIT, "kafka-up"), ["--port", "0", "--dir", folder, ...set], {
				encoding: "utf8",
			});
			const pid = Number(/KAFKA_PID=(\d+)/.exec(said)?.[1]);
			process.once("exit", () => {
				try {
					process.kill(pid, "SIGKILL");
				} catch {
					// Gone already.
				}
			});
			return {
				name,
				promise,
				pid,
				bootstrap: /KAFKA_BOOTSTRAP=(\S+)/.exec(said)?.[1] as string,
				async stop() {
					execFileSync(path.join(KIT, "kafka-down"), ["--dir", folder], { stdio: "ignore" });
				},
			};
		},
	};
}

function klite(program: string): KafkaTargetKind {
	return {
		name: "klite",
		async start(workplace) {
			const port = await freePort();
			const bootstrap = `127.0.0.1:${port}`;
			const options = ["--listen", bootstrap, "--data-dir", workplace.folder("klite"), "--log-level", "error"];
			const child = workplace.adopt(spawn(program, options, { stdio: "ignore" }));
			for (let attempt = 0; attempt < 100 && !(await listens(port)); attempt++)
				await new Promise((resolve) => setTimeout(resolve, 50));
			return {
				name: "klite",
				promise: "on disk",
				pid: child.pid as number,
				bootstrap,
				async stop() {
					child.kill("SIGTERM");
					if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
				},
			};
		},
	};
}

/** Of headwater and every peer that is found, in this order. */
export function kafkaTargetsFound(): KafkaTargetKind[] {
	const kinds = [headwater];
	if (fs.existsSync(path.join(kafkaLibraries(), ".complete"))) {
		kinds.push(apacheKafka("kafka", "in memory", []));
		kinds.push(apacheKafka("kafka, syncing", "on disk", ["flush.messages=1", "log.flush.interval.messages=1"]));
	}
	const program = findProgram("klite");
	if (program !== undefined) kinds.push(klite(program));
	return kinds;
}

function kafkaLibraries(): string {
	const script = `. ${JSON.stringify(path.join(KIT, "kafka-env.sh"))}; echo "$KAFKA_LIBS"`;
	return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim();
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

function listens(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = net.connect(port, "127.0.0.1", () => resolve(true));
		socket.once("error", () => resolve(false));
		socket.once("connect", () => socket.destroy());
	});
}

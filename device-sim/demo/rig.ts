/** What the demo is played with: a hub, a gateway, an object store in a folder, and the link between gateway and hub; all on this machine. */
import { pathToFileURL } from "node:url";
import { type Disk, type DiskFile, joinPath } from "../../src/base/disk.ts";
import { freePorts, GatewayProcess } from "../gateway-process.ts";
import { Link } from "./link.ts";

export const TOPIC = "telemetry";
export const TOPIC_TEMPLATE = "sensors/site{n}/{device}/telemetry";

export class Rig {
	readonly hub: GatewayProcess;
	readonly gateway: GatewayProcess;
	readonly link: Link;
	readonly storeFolder: string;

	readonly #logs: readonly LogFile[];

	private constructor(
		hub: GatewayProcess,
		gateway: GatewayProcess,
		link: Link,
		storeFolder: string,
		logs: readonly LogFile[],
	) {
		this.hub = hub;
		this.gateway = gateway;
		this.link = link;
		this.storeFolder = storeFolder;
		this.#logs = logs;
	}

	/** Starts everything, on data directories and log files below `folder`. Throws GatewayError. */
	static async start(disk: Disk, folder: string): Promise<Rig> {
		disk.makeDirectory(folder);
		const storeFolder = joinPath(folder, "object-store");
		const link = await Link.open();
		const logs = [new LogFile(disk, joinPath(folder, "hub.log")), new LogFile(disk, joinPath(folder, "gateway.log"))];
		const [hubKafka] = (await freePorts(1)) as [number];
		link.leadTo(hubKafka);
		const hub = await GatewayProcess.create({
			dataDirectory: joinPath(folder, "hub"),
			print: (bytes) => logs[0]!.append(bytes),
			arguments: settings({
				"gateway.id": "demo-hub",
				"kafka.listen": `${link.host}:${hubKafka}`,
				// Who comes to the hub comes over the link.
				"advertised.listeners": `${link.host}:${link.port}`,
			}),
		});
		const gateway = await GatewayProcess.create({
			dataDirectory: joinPath(folder, "gateway"),
			print: (bytes) => logs[1]!.append(bytes),
			arguments: settings({
				"gateway.id": "demo-gateway",
				"upstream.bootstrap.servers": `${link.host}:${link.port}`,
				"upstream.topics": TOPIC,
				"upstream.linger.ms": "500",
				"log.remote.storage.enable": "true",
				"objectStore.url": pathToFileURL(storeFolder).href,
			}),
		});
		const rig = new Rig(hub, gateway, link, storeFolder, logs);
		try {
			await Promise.all([hub.start(), gateway.start()]);
		} catch (error) {
			await rig.stop();
			throw error;
		}
		return rig;
	}

	async stop(): Promise<void> {
		await Promise.all([this.gateway.stop(), this.hub.stop()]);
		await this.link.close();
		for (const log of this.#logs) log.close();
	}
}

/** What a process printed, for who wants to know why a verdict is FAIL. */
class LogFile {
	readonly #file: DiskFile;
	#position = 0;
	#isOpen = true;

	constructor(disk: Disk, name: string) {
		this.#file = disk.open(name, "create");
	}

	append(bytes: Buffer): void {
		if (!this.#isOpen) return;
		this.#file.write([bytes], this.#position);
		this.#position += bytes.length;
	}

	close(): void {
		this.#isOpen = false;
		this.#file.close();
	}
}

function settings(values: Readonly<Record<string, string>>): string[] {
	return Object.entries(values).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
}

/**
 * Kafka's own consumer over a restore: a running one, which has read records that did not come back, is told by the leader epoch
 * where the logs part, goes on from there, and reads nothing twice that did come back.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { type Gateway, headwater, startGateway, temporaryFolder } from "../../support/gateway.ts";
import { APACHE } from "./broker.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");

describe.skipIf(!kafka || APACHE)("Kafka's consumer, when the gateway was restored", () => {
	let folder: string;
	let store: string;
	let gateway: Gateway;
	let shell: ToolShell;
	let consumer: ChildProcess;
	let bootstrap = "127.0.0.1:0";

	const start = (name: string): Promise<Gateway> =>
		startGateway({
			dataDirectory: path.join(folder, name),
			settings: {
				"gateway.id": "gw",
				"objectStore.url": store,
				"log.remote.storage.enable": "true",
				"tier.schedule": "never",
				"kafka.listen": bootstrap,
			},
		});
	const done = async (...command: string[]): Promise<void> => {
		const { code, stdout, stderr } = await headwater(gateway, ...command);
		if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${stdout}${stderr}`);
	};

	beforeAll(async () => {
		folder = temporaryFolder("restored");
		store = pathToFileURL(path.join(folder, "store")).href;
		gateway = await start("old");
		bootstrap = `127.0.0.1:${gateway.kafkaPort}`;
		shell = openToolShell(bootstrap, kafkaClasses);
	});
	afterAll(async () => {
		consumer?.kill("SIGKILL");
		await shell.close();
		await gateway.kill();
		fs.rmSync(folder, { recursive: true });
	});

	it("goes on where the restored log does, after having read further", async () => {
		await shell.out("topics", "--create --topic t --partitions 1");
		await shell.out("console-producer", "--topic t", "a0\na1\na2\n");
		await done("tier", "run");
		await shell.out("console-producer", "--topic t", "lost3\nlost4\nlost5\n");
		const parameters = ["--bootstrap-server", bootstrap, "--topic", "t", "--partition", "0", "--offset", "earliest"];
		consumer = spawn(KAFKA_CLI, ["console-consumer", ...parameters], { stdio: ["ignore", "pipe", "ignore"] });
		let printed = "";
		consumer.stdout?.on("data", (chunk: Buffer) => {
			printed += chunk.toString();
		});
		const lines = () => printed.split("\n").filter((line) => line !== "");
		const old = ["a0", "a1", "a2", "lost3", "lost4", "lost5"];
		await vi.waitFor(() => expect(lines()).toEqual(old), { timeout: 60_000, interval: 50 });
		await gateway.kill();
		await done("tier", "restore", "--from", store, "--gateway", "gw", "--data", path.join(folder, "new"), "--force");
		gateway = await start("new");
		await shell.out("console-producer", "--topic t", "b3\nb4\n");
		await vi.waitFor(() => expect(lines()).toEqual([...old, "b3", "b4"]), { timeout: 60_000, interval: 50 });
		const said = await shell.out("console-consumer", "--topic t --from-beginning --max-messages 5");
		expect(said.split("\n").filter(Boolean)).toEqual(["a0", "a1", "a2", "b3", "b4"]);
	});
});

/**
 * Kafka's own transactional copier under kill -9: of itself with a transaction open, of the broker in the middle of transactions.
 * The copy is exactly the original, and Kafka's programs tell what becomes of the transactions.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { until } from "../../support/gateway.ts";
import { type KafkaBroker, startKafka } from "./broker.ts";
import { dumpLog } from "./dump-log.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const RECORDS = 20_000;

describe.skipIf(!kafka)("kafka's transactional copier", () => {
	let broker: KafkaBroker;
	let shell: ToolShell;
	const started: ChildProcess[] = [];
	beforeAll(async () => {
		broker = await startKafka();
		shell = openToolShell(broker.bootstrap, kafkaClasses);
		for (const topic of ["original", "copy"]) {
			await shell.out("topics", `--create --topic ${topic} --partitions 1`);
		}
		const lines = Array.from({ length: RECORDS }, (_, n) => `value ${n}\n`).join("");
		await shell.out("console-producer", "--topic original --batch-size 1000", lines);
	});
	afterAll(async () => {
		for (const process of started) process.kill("SIGKILL");
		await shell.close();
		await broker.close();
	});

	function startCopier(transactionSize: number): ChildProcess {
		const parameters = {
			"input-topic": "original",
			"input-partition": "0",
			"output-topic": "copy",
			"broker-list": broker.bootstrap,
			"consumer-group": "copiers",
			"transactional-id": "copier",
			"transaction-size": String(transactionSize),
			"transaction-timeout": "60000",
		};
		const flags = Object.entries(parameters).flatMap(([name, value]) => [`--${name}`, value]);
		const copier = spawn(KAFKA_CLI, ["transactional-copier", "--use-group-metadata", ...flags], {
			stdio: ["ignore", "pipe", "ignore"],
		});
		started.push(copier);
		return copier;
	}
	const endOf = async (topic: string): Promise<number> =>
		Number((await shell.out("get-offsets", `--topic ${topic}`)).trim().split(":")[2]);
	/** All that read_committed shows. */
	const committedCopy = async (): Promise<string[]> => {
		const all = "--topic copy --from-beginning --isolation-level read_committed --timeout-ms 2000";
		return (await shell.out("console-consumer", all)).split("\n").filter((line) => line !== "");
	};
	const transaction = async (): Promise<string[]> => {
		const [, row = ""] = (await shell.out("transactions", "describe --transactional-id copier")).trim().split("\n");
		return row.split("\t").map((cell) => cell.trim());
	};

	it("killed, it leaves a transaction that is open for everyone to see, and shows nothing of it", async () => {
		const copier = startCopier(RECORDS);
		while ((await endOf("copy")) === 0) expect(copier.exitCode).toBe(null);
		copier.kill("SIGKILL");
		await once(copier, "exit");
		expect(await shell.out("transactions", "list")).toMatch(/^copier +\t1 +\t\d+ +\tOngoing *\t?$/m);
		const [, id, producerId, epoch, state, timeout, , , partitions] = await transaction();
		expect([id, epoch, state, timeout, partitions]).toEqual(["copier", "0", "Ongoing", "60000", "copy-0"]);
		const [, producer = ""] = (await shell.out("transactions", "describe-producers --topic copy --partition 0"))
			.trim()
			.split("\n");
		expect(producer.split("\t").map((cell) => cell.trim())).toEqual([
			producerId,
			"0",
			"-1",
			expect.stringMatching(/^\d+$/),
			expect.stringMatching(/^\d+$/),
			"0",
		]);
		expect(await committedCopy()).toEqual([]);
	});

	it("copies exactly once over kills of the broker", async () => {
		const copier = startCopier(50);
		for (const part of [0.05, 0.3, 0.6]) {
			// Digits enough for that many: what it tells is its progress.
			const progress = new RegExp(
				`"totalProcessed":${String(Math.round(part * RECORDS)).replace(/\d{2}$/, "\\d\\d")}\\b`,
			);
			await until(copier, progress);
			await broker.crash();
		}
		await until(copier, /"stage":"ShutdownComplete".*"remaining":0/);
		expect(await committedCopy()).toEqual(Array.from({ length: RECORDS }, (_, n) => `value ${n}`));
		const group = await shell.out("consumer-groups", "--describe --group copiers");
		expect(group).toMatch(new RegExp(`^copiers +original +0 +${RECORDS} +${RECORDS} +0 `, "m"));
		expect((await transaction())[4]).toBe("CompleteCommit");
		expect((await shell.out("transactions", "find-hanging --broker-id 1")).trim().split("\n")).toHaveLength(1);
		// More than the records and a marker for each transaction: what was aborted is there too.
		expect(await endOf("copy")).toBeGreaterThan(RECORDS + RECORDS / 50);
	});

	it("leaves segments that kafka-dump-log reads with their markers", async () => {
		const { gateway } = broker;
		if (gateway === undefined) return;
		await gateway.stop();
		const files = fs
			.readdirSync(gateway.dataDirectory, { recursive: true, encoding: "utf8" })
			.filter((name) => path.basename(path.dirname(name)) === "copy-0" && name.endsWith(".log"))
			.map((name) => path.join(gateway.dataDirectory, name));
		const { lines, complaints } = await dumpLog(files, "--deep-iteration", "--print-data-log");
		expect(complaints).toEqual([]);
		const markers = lines.filter((line) => line.includes("endTxnMarker: "));
		expect(markers.filter((line) => line.includes("endTxnMarker: COMMIT")).length).toBeGreaterThanOrEqual(RECORDS / 50);
		expect(markers.filter((line) => line.includes("endTxnMarker: ABORT")).length).toBeGreaterThan(0);
	});
});

/**
 * A Kafka Streams application with exactly_once_v2 (kit/java/StreamsTotals.java: repartition topic, store, changelog) under kill -9
 * of itself and of the broker: every site's count goes up by one with every record, none is missing, none comes twice.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import readline from "node:readline";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { temporaryFolder, until } from "../../support/gateway.ts";
import { type KafkaBroker, startKafka } from "./broker.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const SITES = 7;
/** Written in three parts; the application is killed after the first, the broker after the second. */
const PART = 1400;

describe.skipIf(!kafka)("a Kafka Streams application", () => {
	const folder = temporaryFolder("streams");
	let broker: KafkaBroker;
	let shell: ToolShell;
	const started: ChildProcess[] = [];
	beforeAll(async () => {
		broker = await startKafka();
		shell = openToolShell(broker.bootstrap, kafkaClasses);
	});
	afterAll(async () => {
		for (const process of started) process.kill("SIGKILL");
		await shell.close();
		await broker.close();
		fs.rmSync(folder, { recursive: true });
	});

	function start(parameters: readonly string[]): ChildProcess {
		const child = spawn(KAFKA_CLI, parameters, {
			stdio: ["ignore", "pipe", "ignore"],
			env: { ...process.env, KAFKA_CLASSES: kafkaClasses },
		});
		started.push(child);
		return child;
	}
	/** An instance with no state of its own: it restores the store from its changelog. */
	const startApplication = (state: string): ChildProcess =>
		start(["StreamsTotals", broker.bootstrap, "totals", `${folder}/${state}`, "in", "out"]);
	const write = (part: number): Promise<string> =>
		shell.out(
			"console-producer",
			"--topic in",
			Array.from({ length: PART }, (_, n) => part * PART + n)
				.map((n) => `site${n % SITES},${n}\n`)
				.join(""),
		);

	it("counts exactly once over kills of itself and of the broker", async () => {
		await shell.out("topics", "--create --topic in --partitions 3");
		await shell.out("topics", "--create --topic out --partitions 1");
		/** What read_committed shows, of each site in order. The reader is no group: that would read again what it had not committed. */
		const results = new Map<string, string[]>();
		const consumer = start(
			["console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", "out", "--partition", "0"].concat(
				...["--offset", "earliest", "--isolation-level", "read_committed", "--formatter-property", "print.key=true"],
			),
		);
		let count = 0;
		let wanted = { count: 0, reached: (): void => undefined };
		readline.createInterface({ input: consumer.stdout ?? process.stdin }).on("line", (line) => {
			const [site = "", total = ""] = line.split("\t");
			results.set(site, [...(results.get(site) ?? []), total]);
			count++;
			if (count >= wanted.count) wanted.reached();
		});
		const resultsAre = (atLeast: number): Promise<void> =>
			new Promise((resolve) => {
				wanted = { count: atLeast, reached: resolve };
				if (count >= atLeast) resolve();
			});

		const first = startApplication("first");
		await until(first, /RUNNING/);
		await write(0);
		// In the middle of its work.
		await resultsAre(PART / 4);
		first.kill("SIGKILL");
		await once(first, "exit");
		const second = startApplication("second");
		await write(1);
		await resultsAre(PART + PART / 4);
		await broker.crash();
		await write(2);
		await resultsAre(3 * PART);
		second.kill("SIGTERM");
		await once(second, "exit");

		expect(count).toBe(3 * PART);
		for (let site = 0; site < SITES; site++) {
			const numbers = Array.from({ length: (3 * PART) / SITES }, (_, n) => site + n * SITES);
			const totals = results.get(`site${site}`) ?? [];
			expect(totals.map((total) => Number(total.split(",")[0]))).toEqual(numbers.map((_, n) => n + 1));
			expect(totals.at(-1)).toBe(`${numbers.length},${numbers.reduce((sum, n) => sum + n, 0)}`);
		}
		const topics = (await shell.out("topics", "--list --exclude-internal")).trim().split("\n");
		expect(topics).toEqual([
			"in",
			"out",
			"totals-KSTREAM-AGGREGATE-STATE-STORE-0000000002-changelog",
			"totals-KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition",
		]);
		const changelog = await shell.out("configs", `--describe --topic ${topics[2]}`);
		expect(changelog).toContain("cleanup.policy=compact ");
	});
});

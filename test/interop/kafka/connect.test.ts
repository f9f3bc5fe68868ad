/** Kafka Connect with its file connectors: standalone, and distributed with its three compacted topics and exactly-once sources, its worker killed with -9. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { temporaryFolder } from "../../support/gateway.ts";
import { type KafkaBroker, startKafka } from "./broker.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector";
const SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector";

/** A port that nobody listens on: Connect cannot say which one it took. */
async function freePort(): Promise<number> {
	const server = net.createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	await new Promise((resolve) => server.close(resolve));
	return typeof address === "object" && address !== null ? address.port : 0;
}

/** Until `holds` gives something that is neither undefined nor false; fails with `what` after a minute. */
async function eventually<T>(
	what: string,
	holds: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
	for (let i = 0; i < 600; i++) {
		const found = await holds();
		if (found !== undefined && found !== false) return found;
		await sleep(100);
	}
	throw new Error(`in vain: ${what}`);
}

describe.skipIf(!kafka)("Kafka Connect", () => {
	const folder = temporaryFolder("connect");
	let broker: KafkaBroker;
	let shell: ToolShell;
	const workers: ChildProcess[] = [];
	beforeAll(async () => {
		broker = await startKafka();
		shell = openToolShell(broker.bootstrap, kafkaClasses);
		// One partition: the lines come out as they went in.
		for (const topic of ["standalone", "distributed"]) {
			await shell.out("topics", `--create --topic ${topic} --partitions 1`);
		}
	});
	afterEach(() => {
		for (const worker of workers.splice(0)) worker.kill("SIGKILL");
	});
	afterAll(async () => {
		await shell.close();
		await broker.close();
		fs.rmSync(folder, { recursive: true });
	});

	const inFolder = (name: string): string => path.join(folder, name);
	/** A properties file's name. */
	const properties = (name: string, settings: Readonly<Record<string, string | number>>): string => {
		const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
		fs.writeFileSync(inFolder(name), lines.join(""));
		return inFolder(name);
	};
	const worker = (port: number): Record<string, string | number> => ({
		"bootstrap.servers": broker.bootstrap,
		listeners: `http://127.0.0.1:${port}`,
		"key.converter": "org.apache.kafka.connect.storage.StringConverter",
		"value.converter": "org.apache.kafka.connect.storage.StringConverter",
		"plugin.discovery": "service_load",
		"offset.flush.interval.ms": 500,
		// Of the sinks: their partitions are known at once, and nobody waits long for a killed one.
		"consumer.metadata.max.age.ms": 500,
		"consumer.session.timeout.ms": 3000,
		"consumer.heartbeat.interval.ms": 500,
	});
	const start = (...parameters: string[]): ChildProcess => {
		const child = spawn(KAFKA_CLI, parameters, { stdio: "ignore" });
		workers.push(child);
		return child;
	};
	const read = (name: string): string => (fs.existsSync(inFolder(name)) ? fs.readFileSync(inFolder(name), "utf8") : "");
	const lines = (from: number, to: number): string =>
		Array.from({ length: to - from }, (_, n) => `line ${from + n}\n`).join("");

	it("standalone: a file through a topic into a file", async () => {
		fs.writeFileSync(inFolder("in.txt"), lines(0, 100));
		start(
			"connect-standalone",
			properties("standalone.properties", {
				...worker(await freePort()),
				"offset.storage.file.filename": inFolder("offsets"),
			}),
			properties("source.properties", {
				name: "source",
				"connector.class": SOURCE,
				file: inFolder("in.txt"),
				topic: "standalone",
			}),
			properties("sink.properties", {
				name: "sink",
				"connector.class": SINK,
				file: inFolder("out.txt"),
				topics: "standalone",
			}),
		);
		await eventually("the first lines", () => read("out.txt") === lines(0, 100));
		fs.appendFileSync(inFolder("in.txt"), lines(100, 150));
		await eventually("the lines that came later", () => read("out.txt") === lines(0, 150));
	});

	it("distributed: over a kill -9 of the worker each line is in the topic once", async () => {
		const port = await freePort();
		const configuration = properties("distributed.properties", {
			...worker(port),
			"group.id": "connect-cluster",
			"config.storage.topic": "connect-configs",
			"offset.storage.topic": "connect-offsets",
			"status.storage.topic": "connect-status",
			"config.storage.replication.factor": 1,
			"offset.storage.replication.factor": 1,
			"status.storage.replication.factor": 1,
			"offset.storage.partitions": 3,
			"exactly.once.source.support": "enabled",
			"session.timeout.ms": 3000,
			"heartbeat.interval.ms": 500,
			"scheduled.rebalance.max.delay.ms": 0,
		});
		/** An answer of the worker's REST interface; undefined while it cannot give it. */
		const rest = async (method: string, what: string, body?: unknown): Promise<unknown> => {
			const answer = await fetch(`http://127.0.0.1:${port}${what}`, {
				method,
				headers: { "content-type": "application/json" },
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
			}).catch(() => undefined);
			return answer?.ok === true ? answer.json() : undefined;
		};
		const create = (name: string, config: Record<string, unknown>): Promise<unknown> =>
			eventually(`connector ${name}`, () => rest("POST", "/connectors", { name, config }));
		const running = (name: string): Promise<unknown> =>
			eventually(`${name} runs`, async () => {
				const status = JSON.stringify(await rest("GET", `/connectors/${name}/status`));
				return status?.match(/"state":"RUNNING"/g)?.length === 2;
			});

		fs.writeFileSync(inFolder("d-in.txt"), lines(0, 100));
		const first = start("connect-distributed", configuration);
		await create("d-source", { "connector.class": SOURCE, file: inFolder("d-in.txt"), topic: "distributed" });
		await create("d-sink", { "connector.class": SINK, file: inFolder("d-out.txt"), topics: "distributed" });
		await running("d-source");
		await running("d-sink");
		await eventually("the first lines", () => read("d-out.txt") === lines(0, 100));

		first.kill("SIGKILL");
		await once(first, "exit");
		fs.appendFileSync(inFolder("d-in.txt"), lines(100, 200));
		start("connect-distributed", configuration);
		// What the sink had not committed yet comes again, in a file that the kill may have cut short.
		await eventually("the lines that came later", () => read("d-out.txt").endsWith(lines(100, 200)));
		await running("d-source");
		expect(await rest("GET", "/connectors")).toEqual(expect.arrayContaining(["d-source", "d-sink"]));
		const stored = await shell.out(
			"console-consumer",
			"--topic distributed --from-beginning --isolation-level read_committed --timeout-ms 2000",
		);
		expect(stored).toBe(lines(0, 200));
		for (const topic of ["connect-configs", "connect-offsets", "connect-status"]) {
			expect(await shell.out("configs", `--describe --topic ${topic}`)).toContain("cleanup.policy=compact ");
		}
		expect(await shell.out("consumer-groups", "--describe --group connect-d-sink")).toMatch(
			/^connect-d-sink +distributed /m,
		);
	});
});

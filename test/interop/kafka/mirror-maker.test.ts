/** MirrorMaker 2 between the broker under test and an Apache Kafka, both ways: topics with their settings, records, groups' offsets. */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { temporaryFolder } from "../../support/gateway.ts";
import { type KafkaBroker, startApacheKafka, startKafka } from "./broker.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");

describe.skipIf(!kafka)("MirrorMaker 2", () => {
	const folder = temporaryFolder("mirror-maker");
	let edge: KafkaBroker;
	let center: KafkaBroker;
	let edgeShell: ToolShell;
	let centerShell: ToolShell;
	let mirrorMaker: ChildProcess;
	beforeAll(async () => {
		[edge, center] = await Promise.all([startKafka(), startApacheKafka()]);
		edgeShell = openToolShell(edge.bootstrap, kafkaClasses);
		centerShell = openToolShell(center.bootstrap, kafkaClasses);
		await edgeShell.out("topics", "--create --topic orders --partitions 2 --config max.message.bytes=500000");
		await centerShell.out("topics", "--create --topic plans --partitions 3 --config retention.ms=7200000");
		const properties: Record<string, string | number | boolean> = {
			clusters: "edge,center",
			"edge.bootstrap.servers": edge.bootstrap,
			"center.bootstrap.servers": center.bootstrap,
			"edge->center.enabled": true,
			"edge->center.topics": "orders",
			"center->edge.enabled": true,
			"center->edge.topics": "plans",
			"replication.factor": 1,
			"checkpoints.topic.replication.factor": 1,
			"heartbeats.topic.replication.factor": 1,
			"offset-syncs.topic.replication.factor": 1,
			"offset.storage.replication.factor": 1,
			"status.storage.replication.factor": 1,
			"config.storage.replication.factor": 1,
			"offset.storage.partitions": 1,
			"status.storage.partitions": 1,
			"sync.group.offsets.enabled": true,
			"sync.group.offsets.interval.seconds": 1,
			"emit.checkpoints.interval.seconds": 1,
			"refresh.topics.interval.seconds": 1,
			"refresh.groups.interval.seconds": 1,
			"offset.lag.max": 0,
			"offset.flush.interval.ms": 500,
			"sync.topic.acls.enabled": false,
		};
		const file = path.join(folder, "mm2.properties");
		const lines = Object.entries(properties).map(([key, value]) => `${key} = ${value}\n`);
		fs.writeFileSync(file, lines.join(""));
		mirrorMaker = spawn(KAFKA_CLI, ["mirror-maker", file], { stdio: "ignore" });
	});
	afterAll(async () => {
		mirrorMaker.kill("SIGKILL");
		await Promise.all([edgeShell.close(), centerShell.close()]);
		await Promise.all([edge.close(), center.close()]);
		fs.rmSync(folder, { recursive: true });
	});

	const records = (count: number): string[] =>
		Array.from({ length: count }, (_, n) => `h:${n}\tkey${n % 9}\tvalue ${n}`);
	const HEADERS_AND_KEYS = "--reader-property parse.headers=true --reader-property parse.key=true";
	const PRINT = "--formatter-property print.headers=true --formatter-property print.key=true";

	for (const { from, to, topic, partitions, setting } of [
		{ from: "edge", to: "center", topic: "orders", partitions: 2, setting: "max.message.bytes=500000" },
		{ from: "center", to: "edge", topic: "plans", partitions: 3, setting: "retention.ms=7200000" },
	]) {
		it(`mirrors ${from} to ${to}: topic, settings, records, offsets of groups`, async () => {
			const [source, target] = from === "edge" ? [edgeShell, centerShell] : [centerShell, edgeShell];
			await source.out("console-producer", `--topic ${topic} ${HEADERS_AND_KEYS}`, `${records(100).join("\n")}\n`);
			const mirrored = `${from}.${topic}`;
			const read = await target.out(
				"console-consumer",
				`--include ${mirrored.replace(".", "[.]")} --from-beginning --max-messages 100 --command-property metadata.max.age.ms=500 ${PRINT}`,
			);
			expect(read.trim().split("\n").toSorted()).toEqual(records(100).toSorted());
			const description = await target.out("topics", `--describe --topic ${mirrored}`);
			expect(description).toContain(`PartitionCount: ${partitions}`);
			expect(await target.out("configs", `--describe --topic ${mirrored}`)).toContain(setting);

			// A group that has read all here is at the end there.
			const group = `${topic}-readers`;
			await source.out("console-consumer", `--topic ${topic} --from-beginning --group ${group} --max-messages 100`);
			const position = /^\S+ +\S+ +\d+ +(\d+) /;
			let offsets: number[] = [];
			for (let i = 0; i < 120 && offsets.reduce((sum, offset) => sum + offset, 0) < 100; i++) {
				await sleep(250);
				const shown = (await target.run("consumer-groups", `--describe --group ${group}`)).stdout.split("\n");
				offsets = shown.filter((line) => line.includes(mirrored)).map((line) => Number(position.exec(line)?.[1]));
			}
			expect(offsets.reduce((sum, offset) => sum + offset, 0)).toBe(100);
		});
	}
});

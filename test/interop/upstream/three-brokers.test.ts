/** A cluster of three brokers whose leaders and coordinators move: every broker is stopped or killed, and started again, one after the other, while records come. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Central, Operator } from "./central.ts";
import { Edge, numbers, perKey } from "./edge.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const SETTINGS = {
	"default.replication.factor": "3",
	"min.insync.replicas": "2",
	"transaction.state.log.replication.factor": "3",
	"transaction.state.log.min.isr": "2",
	"offsets.topic.replication.factor": "3",
	"broker.session.timeout.ms": "3000",
	"broker.heartbeat.interval.ms": "500",
};

describe.skipIf(!kafka)("three brokers", () => {
	const nodes: Central[] = [];
	let operator: Operator;
	let edge: Edge;
	beforeAll(async () => {
		const first = await Central.start({ settings: SETTINGS });
		nodes.push(first);
		const further = [2, 3].map((node) => Central.start({ settings: SETTINGS, joins: { first, node } }));
		nodes.push(...(await Promise.all(further)));
		const servers = nodes.map(({ bootstrap }) => bootstrap).join(",");
		operator = new Operator(servers, kafkaClasses);
		edge = await Edge.start(servers, {
			"upstream.topics": ["telemetry"],
			"upstream.downlink": [{ topic: "commands", from: "earliest" }],
			"upstream.request.timeout.ms": 5000,
			"upstream.transaction.bytes": 32_768,
			"upstream.batch.bytes": 8192,
		});
		await edge.create("telemetry", 6);
		await operator.out("topics", "--create --topic commands --partitions 3");
	});
	afterAll(async () => {
		await edge?.close();
		await operator?.close();
		for (const node of nodes.toReversed()) await node.close();
	});

	it("are restarted in turn, with and without notice: every record is there once, in order", async () => {
		let isOver = false;
		let count = 0;
		const producing = (async () => {
			while (!isOver) {
				await edge.produce("telemetry", numbers(count, count + 50));
				count += 50;
				await sleep(25);
			}
		})();
		await edge.until(({ total }) => total.records > 0);
		const commands = operator.out("TransactionalWriter", "commands writer 60 10");
		for (const [i, node] of nodes.entries()) {
			if (i === 1) await node.kill();
			else await node.down();
			await sleep(500);
			await node.up();
			// Until the others have it in sync again.
			await untilInSync();
			await operator.out("leader-election", "--election-type preferred --all-topic-partitions");
		}
		isOver = true;
		await producing;
		await commands;
		await edge.untilSent("telemetry");
		const [here, there] = [await edge.stored("telemetry"), await operator.read("telemetry")];
		console.log(`three brokers: ${count} records`);
		expect(there).toHaveLength(count);
		expect(perKey(there)).toEqual(perKey(here));
		expect(await operator.out("topics", "--describe --topic telemetry")).toContain("ReplicationFactor: 3");
		await edge.until(({ downlink }) => downlink[0]?.lag === 0);
		expect(perKey(await edge.stored("commands"))).toEqual(perKey(await operator.read("commands")));
		expect((await edge.stored("commands")).length).toBe(400);
	});

	async function untilInSync(): Promise<void> {
		const deadline = performance.now() + 60_000;
		while (performance.now() < deadline) {
			if ((await operator.out("topics", "--describe --under-replicated-partitions")).trim() === "") return;
			await sleep(200);
		}
		throw new Error("replicas do not come back");
	}
});

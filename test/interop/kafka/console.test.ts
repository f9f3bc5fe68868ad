/**
 * Kafka's programs that move records: console producer and consumer, also to and from MQTT, verifiable producer and
 * consumer, the perf tests; and what consumer-groups tells of a group with a living member.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { connectAsync } from "mqtt";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { run, until } from "../../support/gateway.ts";
import { APACHE, type KafkaBroker, startKafka } from "./broker.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");

describe.skipIf(!kafka)("Kafka's programs that move records", () => {
	let broker: KafkaBroker;
	let shell: ToolShell;
	beforeAll(async () => {
		broker = await startKafka();
		shell = openToolShell(broker.bootstrap, kafkaClasses);
	});
	afterAll(async () => {
		await shell.close();
		await broker.close();
	});

	const printed = (text: string): string[] => text.split("\n").filter((line) => line !== "");
	const PRINT_ALL = [
		"--formatter-property print.key=true",
		"--formatter-property print.headers=true",
		"--formatter-property print.partition=true",
		"--formatter-property print.offset=true",
	].join(" ");

	it("console-producer and console-consumer carry keys, headers, nulls and every compression", async () => {
		await shell.out("topics", "--create --topic console --partitions 1");
		const properties =
			"--reader-property parse.headers=true --reader-property parse.key=true --reader-property null.marker=NULL";
		const codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
		for (const codec of codecs) {
			const compressed = `--compression-codec ${codec}`;
			const input = `h1:${codec},h2:v2\tkey\tvalue of ${codec}\nNULL\tkey\tNULL\n`;
			await shell.out("console-producer", `--topic console ${properties} ${compressed}`, input);
		}
		const said = await shell.out("console-consumer", `--topic console --from-beginning --max-messages 10 ${PRINT_ALL}`);
		expect(printed(said)).toEqual(
			codecs.flatMap((codec, n) => [
				`Partition:0\tOffset:${2 * n}\th1:${codec},h2:v2\tkey\tvalue of ${codec}`,
				`Partition:0\tOffset:${2 * n + 1}\tNO_HEADERS\tkey\tnull`,
			]),
		);
		const middle = await shell.out("console-consumer", "--topic console --partition 0 --offset 4 --max-messages 1");
		expect(printed(middle)).toEqual(["value of snappy"]);
	});

	it("a topic that does not exist is created by its first producer", async () => {
		await shell.out("console-producer", "--topic automatic", "one\ntwo\n");
		const said = await shell.out("console-consumer", "--topic automatic --from-beginning --max-messages 2");
		expect(printed(said).toSorted()).toEqual(["one", "two"]);
	});

	it("a group with a living member is shown with it, and is not deleted", async () => {
		await shell.out("topics", "--create --topic living --partitions 2");
		await shell.out("console-producer", "--topic living", "x\n");
		const member: ChildProcess = spawn(
			KAFKA_CLI,
			["console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", "living", "--group", "alive"].concat(
				"--from-beginning",
				"--consumer-property",
				"client.id=member-of-it",
				"--consumer-property",
				"auto.commit.interval.ms=100",
			),
			{ stdio: ["ignore", "pipe", "ignore"] },
		);
		await until(member, /^x$/m);
		const state = await shell.out("consumer-groups", "--describe --group alive --state");
		expect(state).toMatch(/^alive +127\.0\.0\.1:\d+ +\(1\) +range +Stable +1 *$/m);
		const members = await shell.out("consumer-groups", "--describe --group alive --members --verbose");
		expect(members).toMatch(/^alive +member-of-it-[\w-]+ +\/127\.0\.0\.1 +member-of-it +2 .*living:0,1/m);
		const offsets = await shell.out("consumer-groups", "--describe --group alive");
		expect(offsets.match(/^alive +living .* member-of-it-[\w-]+ +\/127\.0\.0\.1 +member-of-it *$/gm)).toHaveLength(2);
		expect(await shell.out("consumer-groups", "--list --state Stable")).toMatch(/^alive +Stable *$/m);
		expect(await shell.out("consumer-groups", "--group alive --delete")).toContain("GroupNotEmptyException");
		const reset = await shell.out(
			"consumer-groups",
			"--group alive --reset-offsets --to-earliest --topic living --execute",
		);
		expect(reset).toMatch(/inactive, but the current state is Stable/);
		member.kill("SIGTERM");
		if (member.exitCode === null) await new Promise((resolve) => member.once("exit", resolve));
		expect(await shell.out("consumer-groups", "--describe --group alive --state")).toMatch(/Empty +0 *$/m);
		expect(await shell.out("consumer-groups", "--group alive --delete")).toContain("was successful");
	});

	it.skipIf(APACHE)("what MQTT stored is read with its MQTT topic, what Kafka stored goes to MQTT", async () => {
		const client = await connectAsync(`mqtt://127.0.0.1:${broker.gateway?.mqttPort}`, { protocolVersion: 5 });
		await client.publishAsync("sensors/north/dev7/telemetry", "21.5", { qos: 1 });
		const said = await shell.out(
			"console-consumer",
			`--topic telemetry --from-beginning --max-messages 1 ${PRINT_ALL}`,
		);
		expect(printed(said)).toEqual([
			expect.stringMatching(/^Partition:\d+\tOffset:0\tmqtt\.topic:sensors\/north\/dev7\/telemetry,.*\tdev7\t21\.5$/),
		]);
		const received = new Promise<string>((resolve) => {
			client.on("message", (topic, payload) => resolve(`${topic} ${payload}`));
		});
		await client.subscribeAsync("sensors/+/dev9/#", { qos: 1 });
		await shell.out(
			"console-producer",
			"--topic telemetry --compression-codec zstd --reader-property parse.headers=true --reader-property parse.key=true",
			'mqtt.topic:sensors/south/dev9/telemetry\tdev9\t{"t":3}\n',
		);
		expect(await received).toBe('sensors/south/dev9/telemetry {"t":3}');
		await client.endAsync();
	});

	it("verifiable-producer and verifiable-consumer agree on every record", async () => {
		const verifiable = async (tool: string, ...parameters: string[]): Promise<Record<string, unknown>[]> => {
			const { code, stdout, stderr } = await run("timeout", [
				"60",
				KAFKA_CLI,
				tool,
				"--bootstrap-server",
				broker.bootstrap,
				"--topic",
				"verified",
				"--max-messages",
				"1000",
				...parameters,
			]);
			expect(code, stderr).toBe(0);
			return printed(stdout).map((line) => JSON.parse(line));
		};
		await shell.out("topics", "--create --topic verified --partitions 1");
		const sent = (await verifiable("verifiable-producer", "--acks", "-1")).filter(
			({ name }) => name === "producer_send_success",
		);
		expect(sent.map(({ offset }) => offset)).toEqual([...Array(1000).keys()]);
		const events = await verifiable(
			"verifiable-consumer",
			"--group-id",
			"verifier",
			"--reset-policy",
			"earliest",
			"--verbose",
		);
		const read = events.filter(({ name }) => name === "record_data");
		expect(read.map(({ offset, value }) => [offset, value])).toEqual(sent.map(({ offset, value }) => [offset, value]));
		expect(events.filter(({ name }) => name === "offsets_committed").at(-1)).toMatchObject({
			success: true,
			offsets: [{ topic: "verified", partition: 0, offset: 1000 }],
		});
	});

	it("the perf tests get all of their records through", async () => {
		await shell.out("topics", "--create --topic perf --partitions 4");
		const { code, stdout, stderr } = await run(KAFKA_CLI, [
			...["producer-perf", "--topic", "perf", "--num-records", "100000", "--record-size", "100", "--throughput", "-1"],
			...[
				"--bootstrap-server",
				broker.bootstrap,
				"--command-property",
				"acks=all",
				"--command-property",
				"compression.type=lz4",
			],
		]);
		expect(code, stderr).toBe(0);
		expect(stdout).toMatch(/^100000 records sent, /m);
		const ends = await shell.out("get-offsets", "--topic perf");
		expect(printed(ends).reduce((sum, line) => sum + Number(line.split(":")[2]), 0)).toBe(100_000);
		const read = await shell.out("consumer-perf", "--topic perf --num-records 100000 --timeout 20000 --hide-header");
		expect(read.split(", ")[4]).toBe("100000");
		expect(
			await shell.out("e2e-latency", "--topic perf --num-records 50 --producer-acks all --record-size 100"),
		).toMatch(/Percentiles: 50th = \d+/);
	});
});

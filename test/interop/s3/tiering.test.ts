/**
 * Topics most of which exist only in a real S3 server, read through every door: by Kafka's own console consumer and kcat from the
 * earliest offset and from a time, by MQTT replay and `headwater consume`; and of transactions what was committed.
 */
import { execFileSync } from "node:child_process";
import { connectAsync } from "mqtt";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { ObjectStore } from "../../../tiering/object-store.ts";
import { consumeAll, run, type StoredRecord } from "../../support/gateway.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "../kafka/tool-shell.ts";
import { RealS3 } from "./server.ts";
import { eventually, kcat, mustBeSame, objectsOf, startStore, storeSettings, TieredGateway } from "./tiered-gateway.ts";

const { kafka, kafkaClasses = "", kcat: kcatProgram = "", s3Servers } = inject("runtimes");
const RECORDS = 40_000;
const DEVICES = 50;

const keyOf = (n: number): string => `dev${n % DEVICES}`;
const mqttTopicOf = (n: number): string => `sensors/north/${keyOf(n)}/telemetry`;
/** Telemetry, as different as it is in earnest. */
const telemetry = (n: number): string =>
	`{"n":${n},"celsius":${(Math.sin(n) * 40).toFixed(6)},"noise":"${[7, 11, 13, 17].map((seed) => (Math.sin(n * seed) * 1e15).toString(36)).join("")}"}`;
const PRINT_ALL = ["partition", "offset", "key", "headers", "timestamp"]
	.map((name) => `--formatter-property print.${name}=true`)
	.join(" ");

for (const kind of ["minio", "versitygw"] as const) {
	describe.skipIf(!s3Servers.includes(kind) || !kafka || kcatProgram === "")(`a topic in ${kind}`, () => {
		const server = new RealS3(kind);
		let store: ObjectStore;
		let tiered: TieredGateway;
		let shell: ToolShell;
		/** As they were read when all of it was on the card. */
		let records: StoredRecord[];
		beforeAll(async () => {
			store = await startStore(server);
			tiered = await TieredGateway.start("line-3", storeSettings(server), {});
			shell = openToolShell(tiered.bootstrap, kafkaClasses);
			await tiered.out("topic", "create", "telemetry");
			await produce(0, RECORDS / 2);
			await tiered.out("tier", "run");
			await produce(RECORDS / 2, RECORDS);
			records = await readAll();
			await tiered.moveToStore("telemetry");
		});
		afterAll(async () => {
			await shell?.close();
			await tiered?.remove();
			await store?.close();
			await server.remove();
		});

		async function produce(from: number, to: number): Promise<void> {
			const lines = Array.from({ length: to - from }, (_, i) => {
				const n = from + i;
				return `mqtt.topic:${mqttTopicOf(n)},n:${n}\t${keyOf(n)}\t${telemetry(n)}\n`;
			});
			const properties = "--reader-property parse.headers=true --reader-property parse.key=true";
			await shell.out("console-producer", `--topic telemetry ${properties}`, lines.join(""));
		}

		/** As `headwater consume` shows it, partition by partition. */
		async function readAll(): Promise<StoredRecord[]> {
			const read = await consumeAll(tiered.gateway, "telemetry");
			return read.toSorted((a, b) => a.partition - b.partition);
		}

		/** Every read begins with nothing in the cache. */
		async function coldRequests(): Promise<() => Promise<number>> {
			await tiered.gateway.stop();
			execFileSync("rm", ["-rf", `${tiered.folder}/tier-cache`]);
			await tiered.start();
			const { gets } = (await tiered.status()).reads;
			return async () => (await tiered.status()).reads.gets - gets;
		}

		it("has what was produced, and nine tenths of it are on the card no more", async () => {
			const expected = Array.from({ length: RECORDS }, (_, n) => `${keyOf(n)} ${telemetry(n)}`);
			mustBeSame(records.map(({ key, value }) => `${key} ${value}`).toSorted(), expected.toSorted());
			const { partitions } = await tiered.describe("telemetry");
			const segments = tiered.segmentsOf("telemetry");
			let [onCard, all] = [0, 0];
			for (const { number, logStartOffset, localStartOffset, tieredOffset, highWatermark } of partitions) {
				expect(logStartOffset).toBe(0);
				expect(tieredOffset).toBe(highWatermark);
				expect(Math.min(...(segments.get(number) ?? []))).toBe(localStartOffset);
				onCard += highWatermark - localStartOffset;
				all += highWatermark;
			}
			expect(onCard).toBeLessThan(0.1 * all);
			const bundles = (await objectsOf(store)).filter(({ key }) => key.endsWith(".bundle"));
			expect(bundles).toHaveLength(2);
			await tiered.mustBeSound();
		});

		it("is told by Kafka's own tools where it is: earliest, earliest on the card, latest in the store, latest", async () => {
			const { partitions } = await tiered.describe("telemetry");
			const offsets = async (time: string): Promise<number[]> =>
				(await shell.out("get-offsets", `--topic telemetry --time ${time}`))
					.trim()
					.split("\n")
					.map((line) => Number(line.split(":")[2]));
			expect(await offsets("earliest")).toEqual(partitions.map(() => 0));
			expect(await offsets("earliest-local")).toEqual(partitions.map((each) => each.localStartOffset));
			expect(await offsets("latest-tiered")).toEqual(partitions.map((each) => each.tieredOffset - 1));
			expect(await offsets("latest")).toEqual(partitions.map((each) => each.highWatermark));
		});

		it("is read from the earliest offset by Kafka's console consumer, exactly", async () => {
			const requests = await coldRequests();
			const said = await shell.out(
				"console-consumer",
				`--topic telemetry --from-beginning --max-messages ${RECORDS} --timeout-ms 60000 ${PRINT_ALL}`,
			);
			const printed = said.split("\n").filter((line) => line !== "");
			// In the order in which they were read, partition by partition.
			const partitionOf = (line: string): number => Number(/\tPartition:(\d+)\t/.exec(line)?.[1]);
			mustBeSame(
				printed.toSorted((a, b) => partitionOf(a) - partitionOf(b)),
				records.map(({ partition, offset, timestamp, key, value, headers }) => {
					const { "mqtt.topic": topic, n } = headers as Record<string, string>;
					return `CreateTime:${timestamp}\tPartition:${partition}\tOffset:${offset}\tmqtt.topic:${topic},n:${n}\t${key}\t${value}`;
				}),
			);
			expect(await requests()).toBeGreaterThan(0);
		});

		it("is read from a time by kcat, in the middle of what is only there", async () => {
			const requests = await coldRequests();
			for (const share of [0.25, 0.6]) {
				const since = records.toSorted((a, b) => a.timestamp - b.timestamp)[Math.floor(share * RECORDS)]?.timestamp;
				for (const { number } of (await tiered.describe("telemetry")).partitions) {
					const own = records.filter((each) => each.partition === number);
					const first = own.findIndex(({ timestamp }) => timestamp >= (since ?? 0));
					const read = await kcat(
						kcatProgram,
						tiered.bootstrap,
						...["-C", "-t", "telemetry", "-p", String(number), "-o", `s@${since}`, "-e", "-q", "-f", "%o %T %k %s\\n"],
					);
					mustBeSame(
						read,
						own.slice(first).map(({ offset, timestamp, key, value }) => `${offset} ${timestamp} ${key} ${value}`),
					);
				}
			}
			expect(await requests()).toBeGreaterThan(0);
		});

		it("is read by `headwater consume`, the same as before", async () => {
			const requests = await coldRequests();
			const lines = (all: readonly StoredRecord[]) => all.map((each) => JSON.stringify(each));
			mustBeSame(lines(await readAll()), lines(records));
			expect(await requests()).toBeGreaterThan(0);
			// From the cache the second time.
			const { gets } = (await tiered.status()).reads;
			mustBeSame(lines(await readAll()), lines(records));
			expect((await tiered.status()).reads.gets).toBe(gets);
		});

		it("is replayed to an MQTT client from the beginning and from a time, each key in order", async () => {
			const requests = await coldRequests();
			const middle = records.toSorted((a, b) => a.timestamp - b.timestamp)[RECORDS / 2]?.timestamp as number;
			for (const [start, sinceMs] of [
				["earliest", 0],
				[new Date(middle).toISOString(), middle],
			] as const) {
				const client = await connectAsync(`mqtt://127.0.0.1:${tiered.gateway.mqttPort}`, { protocolVersion: 5 });
				const byTopic = new Map<string, string[]>();
				let count = 0;
				client.on("message", (topic, payload) => {
					const list = byTopic.get(topic) ?? [];
					list.push(String(payload));
					byTopic.set(topic, list);
					count += 1;
				});
				await client.subscribeAsync(`$replay/${start}/sensors/north/+/telemetry`, { qos: 1 });
				// What is sent begins with the first record of that time in each partition.
				const expected = new Map<string, string[]>();
				const begun = new Set<number>();
				for (const { partition, timestamp, key, value } of records) {
					if (timestamp >= sinceMs) begun.add(partition);
					if (!begun.has(partition)) continue;
					const topic = `sensors/north/${key}/telemetry`;
					expected.set(topic, [...(expected.get(topic) ?? []), value as string]);
				}
				const total = [...expected.values()].reduce((sum, list) => sum + list.length, 0);
				await eventually(() => expect(count).toBeGreaterThanOrEqual(total));
				await client.endAsync();
				expect([...byTopic.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
				for (const [topic, values] of expected) mustBeSame(byTopic.get(topic) ?? [], values);
			}
			expect(await requests()).toBeGreaterThan(0);
		});

		it("shows of aborted transactions nothing to who reads committed records only", async () => {
			const COPIED = 15_000;
			await tiered.out("topic", "create", "original", "--partitions", "1");
			await tiered.out("topic", "create", "copy", "--partitions", "1");
			const lines = Array.from({ length: COPIED }, (_, n) => `${telemetry(n)}\n`);
			await shell.out("console-producer", "--topic original", lines.join(""));
			await tiered.moveToStore("original");
			const { code, stderr } = await run("timeout", [
				...["200", KAFKA_CLI, "transactional-copier", "--use-group-metadata", "--enable-random-aborts"],
				...["--broker-list", tiered.bootstrap, "--consumer-group", "copiers", "--transactional-id", "copier"],
				...["--input-topic", "original", "--input-partition", "0", "--output-topic", "copy"],
				...["--transaction-size", "250", "--max-messages", String(COPIED)],
			]);
			expect(code, stderr).toBe(0);
			await tiered.moveToStore("copy");
			await coldRequests();
			const expected = lines.map((line) => line.slice(0, -1));
			const read = (level: string): Promise<string[]> =>
				kcat(
					kcatProgram,
					tiered.bootstrap,
					...["-C", "-t", "copy", "-o", "beginning", "-e", "-q", "-X", `isolation.level=${level}`],
				);
			mustBeSame(await read("read_committed"), expected);
			const all = "--topic copy --from-beginning --isolation-level read_committed --timeout-ms 5000";
			mustBeSame(
				(await shell.out("console-consumer", all)).split("\n").filter((line) => line !== ""),
				expected,
			);
			const consumed = await consumeAll(tiered.gateway, "copy");
			mustBeSame(
				consumed.map(({ value }) => value as string),
				expected,
			);
			// There was something to hide.
			expect((await read("read_uncommitted")).length).toBeGreaterThan(COPIED);
		});
	});
}

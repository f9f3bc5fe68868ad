/**
 * A gateway is restored from a real S3 server alone, into an empty directory, while the old one still runs: the new one has
 * topics, settings, records and groups; the old one is told, and uploads nothing any more.
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { ObjectStore } from "../../../tiering/object-store.ts";
import { consumeAll, HEADWATER, run, type StoredRecord, temporaryFolder } from "../../support/gateway.ts";
import { KAFKA_CLI, openToolShell, type ToolShell } from "../kafka/tool-shell.ts";
import { RealS3 } from "./server.ts";
import {
	eventually,
	kcat,
	mustBeSame,
	objectsOf,
	STORE_URL,
	startStore,
	storeSettings,
	TieredGateway,
} from "./tiered-gateway.ts";

const { kafka, kafkaClasses = "", kcat: kcatProgram = "", s3Servers } = inject("runtimes");
const RECORDS = 50_000;
const READ_BY_GROUP = 7_000;
const GATEWAY = "plant-7";

const line = (n: number): string =>
	`key${n % 20}:${n}-${(Math.sin(n) * 1e15).toString(36)}-${(Math.cos(n) * 1e15).toString(36)}`;
const lines = (records: readonly StoredRecord[]): string[] =>
	records.toSorted((a, b) => a.partition - b.partition).map((record) => JSON.stringify(record));

for (const kind of ["minio", "versitygw"] as const) {
	describe.skipIf(!s3Servers.includes(kind) || !kafka || kcatProgram === "")(`a restore from ${kind}`, () => {
		const server = new RealS3(kind);
		const folder = temporaryFolder("restored");
		const newFolder = path.join(folder, "data");
		let store: ObjectStore;
		let old: TieredGateway;
		let restored: TieredGateway;
		const shells: ToolShell[] = [];
		beforeAll(async () => {
			store = await startStore(server);
			old = await TieredGateway.start(GATEWAY, storeSettings(server));
		});
		afterAll(async () => {
			for (const shell of shells) await shell.close();
			await restored?.gateway.kill();
			await old?.remove();
			await store?.close();
			await server.remove();
			fs.rmSync(folder, { recursive: true });
		});

		const shellOf = (tiered: TieredGateway): ToolShell => {
			const shell = openToolShell(tiered.bootstrap, kafkaClasses);
			shells.push(shell);
			return shell;
		};
		async function produce(tiered: TieredGateway, from: number, to: number): Promise<void> {
			const file = path.join(folder, "lines");
			fs.writeFileSync(file, Array.from({ length: to - from }, (_, i) => `${line(from + i)}\n`).join(""));
			const words = ["-P", "-t", "orders", "-K", ":", "-l", file, "-X", "batch.size=16384"];
			await kcat(kcatProgram, tiered.bootstrap, ...words, "-X", "partitioner=murmur2_random");
		}
		function restore(...words: string[]): ReturnType<typeof run> {
			const settings = Object.entries(storeSettings(server)).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
			const command = [HEADWATER, "tier", "restore", "--from", STORE_URL, "--data", newFolder, ...settings, ...words];
			return run(process.execPath, command);
		}

		it("refuses while the old gateway may be alive, and says what to do; it leaves nothing behind", async () => {
			const settings = ["--partitions", "3", "--config", "max.message.bytes=60000", "--config", "retention.ms=-1"];
			await old.out("topic", "create", "orders", ...settings);
			await old.out("topic", "create", "plain", "--config", "remote.storage.enable=false");
			await produce(old, 0, RECORDS);
			await old.moveToStore("orders");
			const read = await run("timeout", [
				...["100", KAFKA_CLI, "console-consumer", "--bootstrap-server", old.bootstrap, "--topic", "orders"],
				...["--group", "billing", "--from-beginning", "--max-messages", String(READ_BY_GROUP)],
			]);
			expect(read.code, read.stderr).toBe(0);
			// Groups are in the snapshot; a bundle without records brings it.
			expect(await old.out("tier", "run")).toContain("settings and groups alone");
			const before = await objectsOf(store);
			const { code, stderr } = await restore("--gateway", GATEWAY);
			expect(code).not.toBe(0);
			expect(stderr).toMatch(/gateway plant-7 .* it may be alive.*--force/s);
			const other = await restore("--gateway", "plant-8");
			expect(other.code).not.toBe(0);
			expect(other.stderr).toMatch(/nothing of a gateway plant-8: there are plant-7/);
			expect(fs.readdirSync(folder).filter((name) => name !== "lines")).toEqual([]);
			expect((await objectsOf(store)).map(({ key }) => key)).toEqual(before.map(({ key }) => key));
		});

		it("brings back topics with their ids and settings, every record, and groups where they were", async () => {
			const [topic, records] = [await old.describe("orders"), await consumeAll(old.gateway, "orders")];
			const group = await old.out("group", "describe", "billing", "--json");
			const { code, stdout, stderr } = await restore("--gateway", GATEWAY, "--force", "--json");
			expect(code, stderr).toBe(0);
			expect(JSON.parse(stdout)).toMatchObject({ incarnation: 2, topics: 2, records: RECORDS, holes: [], notes: [] });
			restored = await TieredGateway.start(GATEWAY, storeSettings(server), {}, newFolder);
			const now = await restored.describe("orders");
			expect(now.topic).toEqual(topic.topic);
			expect(now.configs).toEqual(topic.configs);
			const places = ({ partitions }: typeof now) =>
				partitions.map(({ number, logStartOffset, highWatermark }) => ({ number, logStartOffset, highWatermark }));
			expect(places(now)).toEqual(places(topic));
			expect((await restored.describe("plain")).partitions.map(({ highWatermark }) => highWatermark)).toEqual([0, 0]);
			mustBeSame(lines(await consumeAll(restored.gateway, "orders")), lines(records));
			expect(await restored.out("group", "describe", "billing", "--json")).toBe(group);
			const { partitions } = JSON.parse(group) as { partitions: { offset: number }[] };
			expect(partitions.reduce((sum, { offset }) => sum + offset, 0)).toBe(READ_BY_GROUP);
			await restored.mustBeSound();
		});

		it("goes on where the log ended: its group reads the rest, producers append, uploads follow", async () => {
			const shell = shellOf(restored);
			const rest = await shell.out(
				"console-consumer",
				`--topic orders --group billing --max-messages ${RECORDS - READ_BY_GROUP} --timeout-ms 60000`,
			);
			expect(rest.split("\n").filter((each) => each !== "")).toHaveLength(RECORDS - READ_BY_GROUP);
			await produce(restored, RECORDS, RECORDS + 5000);
			await restored.moveToStore("orders");
			const all = await consumeAll(restored.gateway, "orders");
			mustBeSame(
				all.map(({ key, value }) => `${key}:${value}`).toSorted(),
				Array.from({ length: RECORDS + 5000 }, (_, n) => line(n)).toSorted(),
			);
			for (const { number, highWatermark } of (await restored.describe("orders")).partitions) {
				const offsets = all.filter(({ partition }) => partition === number).map(({ offset }) => offset);
				mustBeSame(
					offsets.map(String),
					Array.from({ length: highWatermark }, (_, i) => String(i)),
				);
			}
			expect((await objectsOf(store)).some(({ key }) => /^plant-7\/0000000002\/\d+-\w+\.bundle$/.test(key))).toBe(true);
			await restored.mustBeSound();
		});

		it("tells the old gateway, which uploads nothing any more and serves what it has", async () => {
			const before = await objectsOf(store);
			await produce(old, RECORDS, RECORDS + 100);
			const { code, stderr } = await old.ask("tier", "run");
			expect(code).not.toBe(0);
			expect(stderr).toMatch(/gateway plant-7 was restored elsewhere .* as incarnation 2/);
			expect((await old.status()).error?.message).toMatch(/incarnation 1, uploads nothing any more/);
			await eventually(() => expect(old.log).toMatch(/uploading to the object store fails.*restored elsewhere/));
			expect((await objectsOf(store)).map(({ key }) => key)).toEqual(before.map(({ key }) => key));
			expect(await consumeAll(old.gateway, "orders")).toHaveLength(RECORDS + 100);
		});

		it("does not begin in a folder that has something", async () => {
			const { code, stderr } = await restore("--gateway", GATEWAY, "--force");
			expect(code).not.toBe(0);
			expect(stderr).toContain("is not empty");
		});
	});
}

/**
 * kill -9 of a real S3 server while a gateway uploads to it and while consumers read from it, and of a gateway while it uploads:
 * everything arrives, once, and nothing is left behind in the store.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { CATALOG_FILE } from "../../../src/log/layout.ts";
import { connect } from "../../../src/native/client/client.ts";
import type { ObjectStore } from "../../../tiering/object-store.ts";
import { consumeAll } from "../../support/gateway.ts";
import { KAFKA_CLI } from "../kafka/tool-shell.ts";
import { RealS3 } from "./server.ts";
import { eventually, mustBeSame, objectsOf, startStore, storeSettings, TieredGateway } from "./tiered-gateway.ts";

const { kafka, s3Servers } = inject("runtimes");
const TOPIC = "noise";
const RECORDS = 16_000;
const AT_ONCE = 50;
const KEYS = 16;
/** What is stored of it takes some seconds at this rate. */
const SLOW = { "uplink.bytes.per.second": 2_097_152 };

const keyOf = (n: number): string => `key${n % KEYS}`;
/** A kilobyte that hardly gets smaller. */
const noise = (n: number): string =>
	`${n}:${createHash("shake256", { outputLength: 720 }).update(String(n)).digest("base64url")}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function produce(tiered: TieredGateway, from: number, to: number): Promise<void> {
	const client = await connect({ port: tiered.gateway.nativePort });
	try {
		const numbers = Array.from({ length: to - from }, (_, i) => from + i);
		for (let i = 0; i < numbers.length; i += AT_ONCE) {
			const records = numbers.slice(i, i + AT_ONCE).map((n) => ({ key: keyOf(n), value: noise(n) }));
			await client.produce(TOPIC, records);
		}
	} finally {
		await client.close();
	}
}

/** The values of each key, in the order in which they were read, are those that were produced. `read`: `KEY VALUE`, a line each. */
function mustBeAll(read: readonly string[], records: number): void {
	const expected = Array.from({ length: records }, (_, n) => `${keyOf(n)} ${noise(n)}`);
	for (let k = 0; k < KEYS; k += 1) {
		const own = (lines: readonly string[]) => lines.filter((line) => line.startsWith(`key${k} `));
		mustBeSame(own(read), own(expected));
	}
	expect(read).toHaveLength(records);
}

/** What consumers print, as it comes. */
function linesOf(process: ChildProcess): string[] {
	const lines: string[] = [];
	let rest = "";
	process.stdout?.on("data", (chunk: Buffer) => {
		const parts = (rest + chunk.toString()).split("\n");
		rest = parts.pop() ?? "";
		lines.push(...parts);
	});
	return lines;
}

/** Files below a server's folder that belong to uploads which were never completed. */
function unfinishedUploads({ kind, folder }: RealS3): string[] {
	const place = kind === "minio" ? /\.minio\.sys\/multipart\/.*part\.\d/ : /\.sgwtmp\/multipart\/.*\/\d+$/;
	return fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => place.test(name));
}

for (const kind of ["minio", "versitygw"] as const) {
	describe.skipIf(!s3Servers.includes(kind) || !kafka)(`kill -9 with ${kind}`, () => {
		describe("of the server", () => {
			const server = new RealS3(kind);
			let store: ObjectStore;
			let tiered: TieredGateway;
			beforeAll(async () => {
				store = await startStore(server);
				tiered = await TieredGateway.start("cut", storeSettings(server), SLOW);
				await tiered.out("topic", "create", TOPIC);
			});
			afterAll(async () => {
				await tiered?.remove();
				await store?.close();
				await server.remove();
			});

			/** Kills it, and starts it again when the gateway has met that. */
			async function outage(): Promise<void> {
				await server.kill();
				await pause(1500);
				await server.start();
			}

			it("while uploads run: they go on, and each record is stored once", async () => {
				await produce(tiered, 0, RECORDS);
				const running = tiered.ask("tier", "run", "--json");
				for (const share of [0.2, 0.5, 0.8]) {
					await eventually(async () => {
						const { run } = await tiered.status();
						expect(run).toBeDefined();
						expect((run?.doneBytes ?? 0) / (run?.totalBytes ?? 1)).toBeGreaterThan(share);
					});
					if (share === 0.8) expect(unfinishedUploads(server)).not.toEqual([]);
					await outage();
				}
				const { code, stderr } = await running;
				expect(code, stderr).toBe(0);
				const status = await tiered.status();
				expect(status.error).toBeUndefined();
				expect(status.topics).toEqual([expect.objectContaining({ pendingRecords: 0, tieredRecords: RECORDS })]);
				expect(tiered.log).toMatch(/uploading to the object store fails/);
				expect(tiered.log).toMatch(/uploading to the object store works again/);
				await tiered.mustBeSound();
				const stored = (await objectsOf(store)).filter(({ key }) => key.endsWith(".bundle"));
				expect(stored).toHaveLength(status.bundles);
				await eventually(() => expect(unfinishedUploads(server)).toEqual([]));
			});

			it("while consumers read: they wait, miss nothing and get nothing twice; what is produced is taken as ever", async () => {
				await tiered.moveToStore(TOPIC);
				const consumer = spawn(
					KAFKA_CLI,
					["console-consumer", "--bootstrap-server", tiered.bootstrap, "--topic", TOPIC, "--from-beginning"].concat(
						...["--max-messages", String(RECORDS + AT_ONCE), "--formatter-property", "print.key=true"],
						...["--formatter-property", "key.separator= "],
						// So that much of it is still to be read when the server goes.
						...["--command-property", "max.partition.fetch.bytes=65536", "--command-property", "fetch.max.bytes=65536"],
					),
					{ stdio: ["ignore", "pipe", "inherit"] },
				);
				const ended = once(consumer, "exit");
				const lines = linesOf(consumer);
				await eventually(() => expect(lines.length).toBeGreaterThan(0));
				const before = lines.length;
				await server.kill();
				expect(lines.length).toBeLessThan(RECORDS);
				const native = consumeAll(tiered.gateway, TOPIC);
				await produce(tiered, RECORDS, RECORDS + AT_ONCE);
				await pause(1500);
				await server.start();
				await eventually(() => expect(lines.length).toBeGreaterThan(before));
				await outage();
				expect(await ended).toEqual([0, null]);
				mustBeAll(lines, RECORDS + AT_ONCE);
				const consumed = await native;
				mustBeAll(
					consumed.map(({ key, value }) => `${key} ${value}`),
					consumed.length,
				);
				expect(consumed.length).toBeGreaterThanOrEqual(RECORDS);
			});
		});

		describe("of the gateway", () => {
			const server = new RealS3(kind);
			let store: ObjectStore;
			let tiered: TieredGateway;
			beforeAll(async () => {
				store = await startStore(server);
				const settings = { ...SLOW, "tier.bundle.bytes": 8_388_608 };
				tiered = await TieredGateway.start("lost", storeSettings(server), settings);
				await tiered.out("topic", "create", TOPIC);
			});
			afterAll(async () => {
				await tiered?.remove();
				await store?.close();
				await server.remove();
			});

			/** Keys of the attempt that was under way when it was killed. */
			function attempts(): string[] {
				const catalog = new Catalog({ file: path.join(tiered.folder, CATALOG_FILE) });
				try {
					return catalog.tier.bundles("uploading").map(({ key }) => key);
				} finally {
					catalog.close();
				}
			}

			it("while it uploads: what was begun is removed, what was stored counts, and the rest follows", async () => {
				await produce(tiered, 0, RECORDS);
				const abandoned: string[] = [];
				for (const share of [0.1, 0.4, 0.7]) {
					const running = tiered.ask("tier", "run");
					await eventually(async () => {
						const { run, topics } = await tiered.status();
						const done = (topics[0]?.tieredRecords ?? 0) / RECORDS;
						expect(done + ((1 - done) * (run?.doneBytes ?? 0)) / (run?.totalBytes ?? 1)).toBeGreaterThan(share);
					});
					const { pid } = tiered.gateway.process;
					const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
					await tiered.gateway.kill();
					expect((await running).code).not.toBe(0);
					// Its child with the store goes too.
					for (const child of children) await eventually(() => expect(fs.existsSync(`/proc/${child}/exe`)).toBe(false));
					abandoned.push(...attempts());
					await tiered.start();
				}
				expect(abandoned).toHaveLength(3);
				await tiered.out("tier", "run");
				for (const key of abandoned) {
					await eventually(async () => {
						expect(await store.head(key)).toBeUndefined();
						expect(await store.uploads(key)).toEqual([]);
					});
				}
				expect(unfinishedUploads(server)).toEqual([]);
				const { bundles, topics } = await tiered.status();
				expect(topics).toEqual([expect.objectContaining({ pendingRecords: 0, tieredRecords: RECORDS })]);
				const stored = (await objectsOf(store)).filter(({ key }) => key.endsWith(".bundle"));
				expect(stored).toHaveLength(bundles);
				await tiered.mustBeSound();
				await tiered.moveToStore(TOPIC);
				const consumed = await consumeAll(tiered.gateway, TOPIC);
				mustBeAll(
					consumed.map(({ key, value }) => `${key} ${value}`),
					RECORDS,
				);
			});
		});
	});
}

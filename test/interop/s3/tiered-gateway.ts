/**
 * A gateway over a real S3 server for tests: small segments that leave the card with the next look, uploads when a test says so,
 * reads in many small requests. Kafka's port stays the same over a restart.
 */
import fs from "node:fs";
import { vi } from "vitest";
import type { TierStatus } from "../../../src/native/client/tier-types.ts";
import type { TopicDescription } from "../../../src/native/client/types.ts";
import type { ObjectInfo, ObjectStore } from "../../../tiering/object-store.ts";
import { S3Store } from "../../../tiering/s3.ts";
import {
	type Finished,
	type Gateway,
	type GatewayOptions,
	headwater,
	run,
	startGateway,
	temporaryFolder,
} from "../../support/gateway.ts";
import { ACCESS_KEY, type RealS3, SECRET_KEY } from "./server.ts";

type Settings = NonNullable<GatewayOptions["settings"]>;

const BUCKET = "bucket";
const PREFIX = "some/prefix";
export const STORE_URL = `s3://${BUCKET}/${PREFIX}`;

const SMALL: Settings = {
	"group.initial.rebalance.delay.ms": 0,
	"num.partitions": 2,
	"journal.file.bytes": 4_194_304,
	"log.segment.bytes": 65_536,
	"message.max.bytes": 65_536,
	"mqtt.max.packet.bytes": 32_768,
	"log.remote.storage.enable": "true",
	"log.local.retention.bytes": 0,
	"log.retention.check.interval.ms": 200,
	"tier.schedule": "never",
	"tier.upload.bytes": 0,
	"tier.read.window.bytes": 16_384,
	"objectStore.part.bytes": 5_242_880,
};

/** How programs reach the server's store. */
export function storeSettings(server: RealS3, given: Settings = {}): Settings {
	return {
		"objectStore.url": STORE_URL,
		"objectStore.endpoint": server.endpoint,
		"objectStore.region": "us-east-1",
		"objectStore.access.key": ACCESS_KEY,
		"objectStore.secret.key": SECRET_KEY,
		"objectStore.timeout.ms": 5000,
		...given,
	};
}

/** A server with the bucket, and a client for what a test wants to see in it. The caller removes the one and closes the other. */
export async function startStore(server: RealS3): Promise<ObjectStore> {
	await server.start();
	await server.makeBucket(BUCKET);
	return new S3Store(server.options({ url: STORE_URL }));
}

export class TieredGateway {
	readonly id: string;
	readonly folder: string;
	readonly #settings: Settings;
	#gateway: Gateway | undefined;
	#kafkaPort = 0;
	#said = "";

	private constructor(id: string, folder: string, settings: Settings) {
		this.id = id;
		this.folder = folder;
		this.#settings = settings;
	}

	/** `folder`: a data directory that is there. */
	static async start(id: string, store: Settings, settings: Settings = {}, folder?: string): Promise<TieredGateway> {
		const all = { ...SMALL, ...store, "gateway.id": id, ...settings };
		const tiered = new TieredGateway(id, folder ?? temporaryFolder(`tiered-${id}`), all);
		await tiered.start();
		return tiered;
	}

	async start(settings: Settings = {}): Promise<void> {
		this.#gateway = await startGateway({
			dataDirectory: this.folder,
			settings: { ...this.#settings, "kafka.listen": `127.0.0.1:${this.#kafkaPort}`, ...settings },
		});
		this.#kafkaPort = this.#gateway.kafkaPort;
		for (const stream of [this.#gateway.process.stdout, this.#gateway.process.stderr])
			stream?.on("data", (chunk: Buffer) => {
				this.#said += chunk.toString();
			});
	}

	get gateway(): Gateway {
		return this.#gateway as Gateway;
	}

	get bootstrap(): string {
		return `127.0.0.1:${this.#kafkaPort}`;
	}

	/** All that it said since it was ready, over every start. */
	get log(): string {
		return this.#said;
	}

	async restart(): Promise<void> {
		await this.gateway.stop();
		await this.start();
	}

	/** kill -9, and started again over the same data. */
	async crash(): Promise<void> {
		await this.gateway.kill();
		await this.start();
	}

	/** Ends it; its data is removed. */
	async remove(): Promise<void> {
		await this.gateway.kill();
		fs.rmSync(this.folder, { recursive: true });
	}

	/** The `headwater` command, asking this gateway. */
	ask(...words: string[]): Promise<Finished> {
		return headwater(this.gateway, ...words);
	}

	/** What it wrote to stdout; fails with all that it said unless it ended with 0. */
	async out(...words: string[]): Promise<string> {
		const { code, stdout, stderr } = await this.ask(...words);
		if (code !== 0) throw new Error(`headwater ${words.join(" ")} ended with ${code}: ${stderr}${stdout}`);
		return stdout;
	}

	async status(): Promise<TierStatus> {
		return JSON.parse(await this.out("tier", "status", "--json"));
	}

	async describe(topic: string): Promise<TopicDescription> {
		return JSON.parse(await this.out("topic", "describe", topic, "--json"));
	}

	/** Uploads all that is pending; the last tenth of each partition at most is on the card when it resolves. */
	async moveToStore(topic: string): Promise<void> {
		await this.out("tier", "run");
		// Only segments that a checkpoint knows leave the card; a stop writes one.
		await this.restart();
		await eventually(async () => {
			for (const { number, localStartOffset, highWatermark } of (await this.describe(topic)).partitions)
				if (localStartOffset < 0.9 * highWatermark)
					throw new Error(`${topic}-${number} is on the card from ${localStartOffset} of ${highWatermark} on`);
		});
	}

	/** Names the offsets that the segment files of a topic begin with, by partition: what is really on the card. */
	segmentsOf(topic: string): Map<number, number[]> {
		const segments = new Map<number, number[]>();
		for (const name of fs.readdirSync(this.folder, { recursive: true, encoding: "utf8" })) {
			const [, partition, base] = new RegExp(`(?:^|/)${topic}-(\\d+)/(\\d{20})\\.log$`).exec(name) ?? [];
			if (partition === undefined) continue;
			const list = segments.get(Number(partition)) ?? [];
			list.push(Number(base));
			segments.set(Number(partition), list);
		}
		return segments;
	}

	/** `tier verify`, which finds nothing. */
	async mustBeSound(): Promise<void> {
		const { code, stdout } = await this.ask("tier", "verify", "--deep", "--json");
		if (code !== 0 || stdout.trim().split("\n").length !== 1)
			throw new Error(`tier verify ended with ${code}: ${stdout}`);
	}
}

/** Until it no longer fails; the test's own time-out ends it. */
export const eventually = <T>(check: () => T | Promise<T>): Promise<T> =>
	vi.waitFor(check, { timeout: 120_000, interval: 100 });

/** Fails with the first place where they differ: all of it would be megabytes. */
export function mustBeSame(read: readonly string[], expected: readonly string[]): void {
	const at = expected.findIndex((line, i) => line !== read[i]);
	if (at < 0 && read.length === expected.length) return;
	const place = at < 0 ? expected.length : at;
	throw new Error(
		`${read.length} of ${expected.length} lines; line ${place} is ${JSON.stringify(read[place])}, not ${JSON.stringify(expected[place])}`,
	);
}

export async function objectsOf(store: ObjectStore): Promise<ObjectInfo[]> {
	const { objects } = await store.list("");
	return [...objects];
}

/** kcat, librdkafka's client, on the broker at `bootstrap`: its lines on stdout. Fails unless it ended with 0. */
export async function kcat(program: string, bootstrap: string, ...words: string[]): Promise<string[]> {
	const { code, stdout, stderr } = await run("timeout", ["120", program, "-b", bootstrap, ...words]);
	if (code !== 0) throw new Error(`kcat ${words.join(" ")} ended with ${code}: ${stderr}`);
	return stdout.split("\n").slice(0, -1);
}

/** A gateway with an upstream: a process that can be killed, reconfigured and started again, over one data directory. */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayProcess } from "../../../device-sim/gateway-process.ts";
import { type Client, connect } from "../../../src/native/client/client.ts";
import type { UpstreamStatus } from "../../../src/native/client/upstream-types.ts";
import { temporaryFolder } from "../../support/gateway.ts";

export type Settings = Readonly<Record<string, unknown>>;

export interface Stored {
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: string | null;
	readonly value: string | null;
	readonly headers: readonly (readonly [string, string])[];
}

const LOOK_MS = 100;
const PATIENCE_MS = 90_000;

export class Edge {
	readonly process: GatewayProcess;
	readonly client: Client;
	readonly #folder: string;

	private constructor(folder: string, process: GatewayProcess, client: Client) {
		this.#folder = folder;
		this.process = process;
		this.client = client;
	}

	/** A gateway that sends to `bootstrap`, at once; `settings` are keys of the configuration. */
	static async start(bootstrap: string, settings: Settings, id = "line-3"): Promise<Edge> {
		const folder = temporaryFolder("edge");
		const config = path.join(folder, "headwater.yaml");
		const data = path.join(folder, "data");
		const gateway = await GatewayProcess.create({ dataDirectory: data, arguments: ["--config", config] });
		const write = (more: Settings): void =>
			fs.writeFileSync(
				config,
				JSON.stringify({
					"gateway.id": id,
					"upstream.bootstrap.servers": bootstrap,
					"upstream.linger.ms": 50,
					"upstream.transaction.timeout.ms": 5000,
					...more,
				}),
			);
		write(settings);
		await gateway.start();
		const client = await connect({ host: gateway.host, port: gateway.nativePort });
		return new Edge(folder, gateway, client);
	}

	async create(name: string, partitions = 1, config: Readonly<Record<string, string>> = {}): Promise<void> {
		await this.client.topics.create({ name, partitions, config, ifNotExists: true });
	}

	/** Records with these values, each with its key. */
	async produce(
		topic: string,
		values: readonly string[],
		keyOf: (value: string, n: number) => string | null = key,
	): Promise<void> {
		const records = values.map((value, n) => ({ key: keyOf(value, n), value }));
		for (let i = 0; i < records.length; i += 100) await this.client.produce(topic, records.slice(i, i + 100));
	}

	async stored(topic: string): Promise<Stored[]> {
		const records: Stored[] = [];
		const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString());
		for await (const record of this.client.subscribe(topic, { from: "earliest", until: "end" }))
			records.push({
				...{ partition: record.partition, offset: record.offset, timestamp: record.timestamp },
				...{ key: text(record.key), value: text(record.value) },
				headers: record.headers.map(([name, value]) => [name, text(value) ?? ""] as const),
			});
		return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
	}

	async values(topic: string): Promise<(string | null)[]> {
		return (await this.stored(topic)).map(({ value }) => value);
	}

	status(): Promise<UpstreamStatus> {
		return this.client.upstream.status();
	}

	/** The first status that `holds`; fails with the last one. */
	async until(holds: (status: UpstreamStatus) => boolean, patienceMs = PATIENCE_MS): Promise<UpstreamStatus> {
		const deadline = performance.now() + patienceMs;
		for (;;) {
			const status = await this.status();
			if (holds(status)) return status;
			if (performance.now() > deadline)
				throw new Error(`it does not come to that: ${JSON.stringify(status, undefined, 1)}\n${this.process.output}`);
			await sleep(LOOK_MS);
		}
	}

	/** Nothing waits in `topics` (all, by default), and there is something in each. */
	untilSent(...topics: readonly string[]): Promise<UpstreamStatus> {
		return this.until(({ state, topics: all }) => {
			const wanted = all.filter(({ topic }) => topics.length === 0 || topics.includes(topic));
			return (
				state === "running" &&
				wanted.length >= Math.max(1, topics.length) &&
				wanted.every(({ lagRecords }) => lagRecords === 0)
			);
		});
	}

	async crash(): Promise<void> {
		await this.process.kill();
		await this.process.start();
	}

	async close(): Promise<void> {
		await this.client.close();
		await this.process.kill();
		fs.rmSync(this.#folder, { recursive: true, force: true });
	}
}

function key(_value: string, n: number): string {
	return `k${n % 5}`;
}

export function numbers(from: number, to: number): string[] {
	return Array.from({ length: to - from }, (_, i) => `n${from + i}`);
}

/** Each key's values, in their order. */
export function perKey(
	records: readonly { readonly key: string | null; readonly value: string | null }[],
): Record<string, (string | null)[]> {
	const keys = [...Map.groupBy(records, (record) => String(record.key))];
	return Object.fromEntries(
		keys.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, its]) => [name, its.map(({ value }) => value)]),
	);
}

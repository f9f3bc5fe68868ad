/**
 * Where the upstream benchmarks run: an Apache Kafka of their own as the central cluster, links to it that are counted at the socket,
 * gateways that send there, and the end of their catching up.
 */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { freePorts } from "../../device-sim/gateway-process.ts";
import { type Client, connect } from "../../src/native/client/client.ts";
import type { UpstreamStatus } from "../../src/native/client/upstream-types.ts";
import { CountedLink } from "./counted-link.ts";
import { KIT } from "./kafka-targets.ts";
import type { Target } from "./targets.ts";
import type { Workplace } from "./workplace.ts";

/** As a gateway is by default; the benchmarks' own 16 would cost each small transaction more. */
export const DEFAULT_PARTITIONS = 4;
const LOOK_MS = 100;

export interface Central {
	/** Past all proxies. */
	readonly bootstrap: string;
	readonly pid: number;
	/** Each has its listener: who comes through one stays on it. */
	readonly links: readonly CountedLink[];
	stop(): Promise<void>;
}

/** Kafka's defaults, but for fewer partitions of its own topics, which are made when they are first used. */
const SETTINGS = ["offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4"];

export async function startCentral(
	workplace: Workplace,
	linkCount: number,
	folder = workplace.folder("central"),
): Promise<Central> {
	const ports = linkCount === 0 ? [] : await freePorts(linkCount);
	const links = await Promise.all(ports.map((port) => CountedLink.open(port)));
	const listeners = links.flatMap((link, i) => ["--listener", `LINK${i}:PLAINTEXT:${ports[i]}:${link.port}`]);
	const set = SETTINGS.flatMap((setting) => ["--set", setting]);
	const options = ["--port", "0", "--dir", folder, ...listeners, ...set];
	const said = execFileSync(path.join(KIT, "kafka-up"), options, { encoding: "utf8" });
	const pid = Number(/KAFKA_PID=(\d+)/.exec(said)?.[1]);
	const kill = (): void => {
		try {
			process.kill(pid, "SIGKILL");
		} catch {
			// It is gone.
		}
	};
	process.once("exit", kill);
	return {
		bootstrap: /KAFKA_BOOTSTRAP=(\S+)/.exec(said)?.[1] as string,
		pid,
		links,
		async stop() {
			for (const link of links) link.close();
			execFileSync(path.join(KIT, "kafka-down"), ["--kill9", "--dir", folder], { stdio: "ignore" });
			process.removeListener("exit", kill);
			workplace.remove(folder);
		},
	};
}

/** Settings of a gateway that sends `topics`, as `upstream.topics` has them, to `bootstrap`. */
export function sending(bootstrap: string, topics: string, id = "bench"): Record<string, string | number> {
	return { "gateway.id": id, "upstream.bootstrap.servers": bootstrap, "upstream.topics": topics };
}

export async function withClient<T>(target: Target, work: (client: Client) => Promise<T>): Promise<T> {
	const client = await connect({ port: target.nativePort as number, timeoutMs: 600_000 });
	try {
		return await work(client);
	} finally {
		await client.close();
	}
}

/** Until so many records have gone there since the gateway started, and nothing waits; throws where a person is needed. */
export async function untilSent(client: Client, records: number, patienceMs: number): Promise<UpstreamStatus> {
	const deadline = performance.now() + patienceMs;
	for (;;) {
		const status = await client.upstream.status();
		const waiting = status.topics.reduce((sum, { lagRecords }) => sum + lagRecords, 0);
		if (waiting === 0 && status.total.records >= records) return status;
		if (status.state === "halted" || performance.now() > deadline)
			throw new Error(`it is not sent upstream: ${JSON.stringify(status)}`);
		await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
	}
}

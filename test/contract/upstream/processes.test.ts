/** The built program at both ends, killed with -9 while records come in; restored from an object store; and with very many partitions. */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { type Client, connect } from "../../../src/native/client/client.ts";
import { type Gateway, HEADWATER, run, startGateway, temporaryFolder } from "../../support/gateway.ts";
import { lastingPort, numbers } from "../../support/upstream-site.ts";

const folder = temporaryFolder("replicas");
const running: Gateway[] = [];

afterAll(async () => {
	for (const gateway of running) await gateway.kill();
	fs.rmSync(folder, { recursive: true, force: true });
});

async function start(name: string, settings: Record<string, string | number> = {}): Promise<Gateway> {
	const gateway = await startGateway({ dataDirectory: path.join(folder, name), settings });
	running.push(gateway);
	return gateway;
}

const uplinked = (hub: Gateway, more: Record<string, string | number> = {}) => ({
	"gateway.id": "line-3",
	"upstream.bootstrap.servers": `127.0.0.1:${hub.kafkaPort}`,
	"upstream.topics": "telemetry",
	"upstream.linger.ms": 20,
	...more,
});

async function withClient<T>(gateway: Gateway, work: (client: Client) => Promise<T>): Promise<T> {
	const client = await connect({ port: gateway.nativePort, reconnect: false });
	try {
		return await work(client);
	} finally {
		await client.close();
	}
}

type Status = Awaited<ReturnType<Client["upstream"]["status"]>>;

const until = (gateway: Gateway, holds: (status: Status) => boolean): Promise<Status> =>
	withClient(gateway, async (client) => {
		for (;;) {
			const status = await client.upstream.status();
			if (holds(status)) return status;
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
	});

const untilSent = (gateway: Gateway) =>
	until(gateway, ({ state, topics }) => state === "running" && topics.every(({ lagRecords }) => lagRecords === 0));

/** As a consumer gets them: nothing of aborted transactions, nothing behind an open one. */
const valuesIn = (gateway: Gateway, topic: string): Promise<string[]> =>
	withClient(gateway, async (client) => {
		const values: string[] = [];
		for await (const { value } of client.subscribe(topic, { from: "earliest", until: "end" }))
			values.push(Buffer.from(value ?? []).toString());
		return values;
	});

describe("processes killed with -9", () => {
	it("hub and gateway in turn: what was acknowledged here is there once", async () => {
		const ports = { "kafka.listen": `127.0.0.1:${lastingPort()}` };
		let hub = await start("hub", ports);
		let gateway = await start("gateway", uplinked(hub));
		await withClient(gateway, (client) => client.topics.create({ name: "telemetry", partitions: 1 }));
		const acknowledged: string[] = [];
		for (let round = 0; round < 4; round++) {
			const killed = round % 2 === 0 ? hub : gateway;
			const values = numbers(round * 200, (round + 1) * 200);
			await withClient(gateway, async (client) => {
				const death = new Promise((resolve) => setTimeout(resolve, 15 + round * 10)).then(() => killed.kill());
				for (const value of values) {
					try {
						await client.produce("telemetry", [{ key: "k", value }]);
						acknowledged.push(value);
					} catch {
						break;
					}
				}
				await death;
			});
			if (round % 2 === 0) hub = await start("hub", ports);
			else gateway = await start("gateway", uplinked(hub));
		}
		await withClient(gateway, (client) => client.upstream.resume());
		await untilSent(gateway);
		const stored = await valuesIn(gateway, "telemetry");
		expect(await valuesIn(hub, "telemetry")).toEqual(stored);
		expect(stored.filter((value) => acknowledged.includes(value)).length).toBeGreaterThanOrEqual(acknowledged.length);
		await gateway.stop();
		await hub.stop();
	});
});

describe("a gateway that was restored from an object store", () => {
	it("stops, says so, and after a reset to the progress sends what is new: nothing twice that both have", async () => {
		const hub = await start("hub 2");
		const store = pathToFileURL(path.join(folder, "store")).href;
		fs.mkdirSync(path.join(folder, "store"));
		const settings = uplinked(hub, { "objectStore.url": store });
		const old = await start("old", settings);
		await withClient(old, async (client) => {
			const config = { "remote.storage.enable": "true" };
			await client.topics.create({ name: "telemetry", partitions: 1, config });
			await client.produce(
				"telemetry",
				numbers(0, 100).map((value) => ({ key: "k", value })),
			);
			await client.tier.run();
			// These are in the cluster, and not in the store.
			await client.produce(
				"telemetry",
				numbers(100, 120).map((value) => ({ key: "k", value })),
			);
		});
		await untilSent(old);
		await old.kill();
		const restore = [
			"tier",
			"restore",
			"--from",
			store,
			"--gateway",
			"line-3",
			"--data",
			path.join(folder, "new"),
			"--force",
		];
		expect(await run(process.execPath, [HEADWATER, ...restore])).toMatchObject({ code: 0, stderr: "" });
		const restored = await start("new", settings);
		const { problem } = await until(restored, ({ state }) => state === "halted");
		expect(problem?.message).toBe(
			"this data directory was restored from an object store (incarnation 2); gateway line-3 has replicated before, as incarnation 1",
		);
		expect(problem?.action).toBe("make sure that the old one is off, then: headwater upstream reset --to progress");
		await withClient(restored, async (client) => {
			await client.produce(
				"telemetry",
				numbers(200, 210).map((value) => ({ key: "k", value })),
			);
			const steps = await client.upstream.reset({ to: "progress" });
			expect(steps).toMatchObject([{ topic: "telemetry", partition: 0, to: 100, againRecords: 0, skippedRecords: 0 }]);
			await client.upstream.reset({ to: "progress", execute: true });
		});
		await untilSent(restored);
		expect(await valuesIn(hub, "telemetry")).toEqual([...numbers(0, 120), ...numbers(200, 210)]);
		await restored.kill();
		await hub.kill();
	});
});

describe("two hundred topics of five partitions", () => {
	it("cost no traffic and little memory while nothing comes in", async () => {
		const hub = await start("hub 3");
		const alone = await start("alone");
		const settings = uplinked(hub, { "upstream.topics": "t*" });
		const gateway = await start("many", settings);
		const all = Array.from({ length: 200 }, (_, i) => `t${i}`);
		const resident = async (each: Gateway): Promise<number> =>
			withClient(each, async (client) => {
				await Promise.all(all.map((name) => client.topics.create({ name, partitions: 5 })));
				await Promise.all(all.map((name) => client.produce(name, [{ key: name, value: "v" }])));
				if (each === gateway) await untilSent(gateway);
				await new Promise((resolve) => setTimeout(resolve, 500));
				return (await client.status()).memory.residentBytes / 1_048_576;
			});
		const [without = 0, withIt = 0] = await Promise.all([alone, gateway].map(resident));
		expect(withIt - without).toBeLessThan(30);
		const before = await until(gateway, () => true);
		await new Promise((resolve) => setTimeout(resolve, 1000));
		const { total, topics } = await until(gateway, () => true);
		expect(total.wireSentBytes - before.total.wireSentBytes).toBe(0);
		expect(total.transactions).toBeLessThan(100);
		expect(topics).toHaveLength(200);
		await gateway.stop();
		const again = await start("many", settings);
		await withClient(again, (client) => client.produce("t7", [{ key: "k", value: "v" }]));
		const { total: since } = await until(again, (status) => status.total.records === 1);
		expect(since.wireSentBytes + since.wireReceivedBytes).toBeLessThan(100_000);
	});
});

/** Upstream as a person uses it: a gateway, another one as the central cluster, the first steps of docs/upstream.md, and the commands. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { consumeAll, type Gateway, startGateway, temporaryFolder } from "../../support/gateway.ts";
import { objects, runHeadwater, talk } from "./session.ts";

const folder = temporaryFolder("upstream");
const page = fs.readFileSync(path.join(import.meta.dirname, "../../../docs/upstream.md"), "utf8");
let hub: Gateway;
let gateway: Gateway;

beforeAll(async () => {
	hub = await startGateway({ dataDirectory: path.join(folder, "hub"), settings: { "num.partitions": 2 } });
	// The page's own configuration, but for where the cluster is, and how long a record waits.
	const begin = page.indexOf("```yaml\n", page.indexOf("\n## First steps")) + "```yaml\n".length;
	const example = page.slice(begin, page.indexOf("```", begin));
	const config = path.join(folder, "headwater.yaml");
	fs.writeFileSync(
		config,
		`${example.replace(/servers: .*/, `servers: 127.0.0.1:${hub.kafkaPort}`)}upstream.linger.ms: 100\n`,
	);
	process.env.HEADWATER_CONFIG = config;
	try {
		gateway = await startGateway({ dataDirectory: path.join(folder, "gateway") });
	} finally {
		delete process.env.HEADWATER_CONFIG;
	}
});

afterAll(async () => {
	await gateway?.kill();
	await hub?.kill();
	fs.rmSync(folder, { recursive: true, force: true });
});

type Status = Record<string, unknown> & { topics: { topic: string; sentRecords: number; lagRecords: number }[] };

async function untilStatus(holds: (status: Status) => boolean): Promise<Status> {
	for (;;) {
		const [status] = objects((await talk(gateway, ["upstream", "status", "--json"])).stdout) as Status[];
		if (status !== undefined && holds(status)) return status;
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
}

const inHub = async (topic: string): Promise<string[]> =>
	(await consumeAll(hub, topic)).map(({ value }) => String(value)).sort();
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `n${from + i}`);

describe("a gateway and its central cluster", () => {
	it("sends what the topics of the configuration have, each record once", async () => {
		await talk(gateway, ["topic", "create", "telemetry", "--partitions", "3"]);
		await talk(gateway, ["topic", "create", "private"]);
		await talk(gateway, ["produce", "telemetry"], numbers(0, 500).join("\n"));
		await talk(gateway, ["produce", "private"], "stays here");
		const status = await untilStatus(({ topics }) => topics[0]?.sentRecords === 500 && topics[0].lagRecords === 0);
		expect(status).toMatchObject({
			servers: [`127.0.0.1:${hub.kafkaPort}`],
			mode: "exactly-once",
			state: "running",
			topics: [{ topic: "telemetry", to: "telemetry", priority: "normal", partitions: 3, lostRecords: 0 }],
		});
		expect(await inHub("telemetry")).toEqual(numbers(0, 500).sort());
		const topics = objects((await talk(hub, ["topic", "list", "--json"])).stdout).map(({ name }) => name);
		expect(topics).toEqual(expect.arrayContaining(["telemetry", "__headwater_progress"]));
		expect(topics).not.toContain("private");
		const { stdout } = await talk(gateway, ["upstream", "status"]);
		expect(stdout).toMatch(/^state {4}running, everything is sent$/m);
		expect(stdout).toMatch(/^telemetry +normal +500 +0 +0 B +-$/m);
		expect((await talk(gateway, ["status"])).stdout).toMatch(/^upstream {5}running; nothing to send$/m);
	});

	it("waits while it is paused, and goes on", async () => {
		expect((await talk(gateway, ["upstream", "pause"])).code).toBe(0);
		await talk(gateway, ["produce", "telemetry"], numbers(500, 600).join("\n"));
		const paused = await untilStatus(({ topics }) => topics[0]?.lagRecords === 100);
		expect(paused.state).toBe("paused");
		expect((await talk(gateway, ["upstream", "resume"])).code).toBe(0);
		await untilStatus(({ topics }) => topics[0]?.lagRecords === 0);
		expect(await inHub("telemetry")).toEqual(numbers(0, 600).sort());
	});

	it("says what a reset means, and nothing comes twice where it goes on as the cluster says", async () => {
		const plan = await talk(gateway, ["upstream", "reset", "--to", "earliest"]);
		expect(plan).toMatchObject({ code: 0, stderr: "" });
		expect(plan.stdout).toMatch(/^sent a second time {2}600 records: who reads there gets them twice$/m);
		expect(plan.stdout).toMatch(
			/^nothing is changed; this does it:\n {2}headwater upstream reset --to earliest --yes\n$/m,
		);
		const done = await talk(gateway, ["upstream", "reset", "--to", "progress", "--yes"]);
		expect(done).toMatchObject({ code: 0, stderr: "" });
		expect(done.stdout).toMatch(
			/^sent a second time {2}nothing, as far as is known here\nnever sent {10}nothing\ndone; /m,
		);
		await talk(gateway, ["produce", "telemetry"], "n600");
		await untilStatus(({ topics, state }) => state === "running" && topics[0]?.lagRecords === 0);
		expect(await inHub("telemetry")).toEqual(numbers(0, 601).sort());
	});

	it("refuses a topic that does not go there", async () => {
		const refused = await talk(gateway, ["upstream", "reset", "--to", "latest", "--topic", "private"]);
		expect([refused.code, refused.stdout]).toEqual([1, ""]);
		expect(refused.stderr).toContain("private");
	});
});

describe("the configuration", () => {
	it.each([
		["upstream.window=61 * * * *", /upstream\.window: /],
		["upstream.topics=telemetry,telemetry", /rule 2: rule 1 is for telemetry too/],
	])("%s is checked before the start", async (set, why) => {
		const more = ["--set", "upstream.bootstrap.servers=k:9092", "--set", "upstream.downlink=commands"];
		const { code, stderr } = await runHeadwater(["config", "check", ...more, "--set", set]);
		expect(code).toBe(1);
		expect(stderr).toMatch(why);
	});
});

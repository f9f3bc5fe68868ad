import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway, temporaryFolder, until } from "../../support/gateway.ts";
import { objects, runHeadwater, spawnHeadwater, talk } from "./session.ts";

let gateway: Gateway;
const folder = temporaryFolder("cli");
const data = path.join(folder, "data");

beforeAll(async () => {
	gateway = await startGateway({ dataDirectory: data });
});
afterAll(async () => {
	await gateway?.stop();
	fs.rmSync(folder, { recursive: true, force: true });
});

describe("topics", () => {
	it("are made, listed, described, changed and deleted", async () => {
		const made = await talk(gateway, ["topic", "create", "t1", "--partitions", "2", "--config", "retention.ms=7d"]);
		expect(made).toEqual({ code: 0, stdout: "topic t1 has 2 partitions\n", stderr: "" });
		expect(objects((await talk(gateway, ["topic", "list", "--json"])).stdout)).toContainEqual(
			expect.objectContaining({ name: "t1", partitions: 2, config: { "retention.ms": "604800000" } }),
		);
		expect((await talk(gateway, ["topic", "list"])).stdout).toMatch(/^TOPIC +PARTITIONS +CREATED +SETTINGS\n/);
		const altered = await talk(gateway, [
			"topic",
			"alter",
			"t1",
			"--unset",
			"retention.ms",
			"--partitions",
			"3",
			"--json",
		]);
		expect(objects(altered.stdout)[0]).toMatchObject({ name: "t1", partitions: 3, config: {} });
		const [described] = objects((await talk(gateway, ["topic", "describe", "t1", "--json"])).stdout);
		expect(described?.partitions).toHaveLength(3);
		expect((await talk(gateway, ["topic", "describe", "t1"])).stdout).toContain("HIGH WATERMARK");
		expect((await talk(gateway, ["topic", "delete", "t1"])).stdout).toBe("topic t1 is deleted\n");
		expect(objects((await talk(gateway, ["topic", "list", "--json"])).stdout).map(({ name }) => name)).not.toContain(
			"t1",
		);
	});

	it("that cannot be are refused with one line and exit code 1", async () => {
		await talk(gateway, ["topic", "create", "t2"]);
		const lines = await Promise.all([
			talk(gateway, ["topic", "create", "t2"]),
			talk(gateway, ["topic", "create", "no/slash"]),
			talk(gateway, ["topic", "create", "t3", "--config", "retention.msx=1"]),
			talk(gateway, ["topic", "describe", "nowhere"]),
			talk(gateway, ["consume", "nowhere", "--from", "earliest"]),
			talk(gateway, ["topic", "alter", "t2", "--partitions", "1"]),
		]);
		for (const { code, stdout, stderr } of lines) {
			expect(stderr).toMatch(/^headwater: [^\n]+\n$/);
			expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
		}
		expect((await talk(gateway, ["topic", "create", "t2", "--if-not-exists"])).code).toBe(0);
	});
});

describe("records", () => {
	it("come out as they went in: key, value, headers, bytes that are no text", async () => {
		await talk(gateway, ["topic", "create", "r1", "--partitions", "1"]);
		const one = await talk(gateway, ["produce", "r1", "--key", "dev7", "--value", "21.5", "--header", "site=s1"]);
		expect(one.stderr).toBe("1 record stored in r1, partition 0, offset 0\n");
		await talk(gateway, ["produce", "r1"], Buffer.from([0xff, 0x0a, 0x0a]));
		await talk(
			gateway,
			["produce", "r1", "--json"],
			'{"key":{"base64":"/w=="},"value":null,"timestamp":5,"headers":{"a":["1","2"]}}\n',
		);
		const { stdout } = await talk(gateway, ["consume", "r1", "--from", "earliest", "--until", "end", "--json"]);
		const [first, ...rest] = objects(stdout);
		expect(Object.keys(first ?? {})).toEqual(["topic", "partition", "offset", "timestamp", "key", "value", "headers"]);
		expect(first).toMatchObject({
			topic: "r1",
			partition: 0,
			offset: 0,
			key: "dev7",
			value: "21.5",
			headers: { site: "s1" },
		});
		expect(rest).toMatchObject([
			{ offset: 1, key: null, value: { base64: "/w==" }, headers: {} },
			{ offset: 2, key: null, value: "" },
			{ offset: 3, key: { base64: "/w==" }, value: null, headers: { a: ["1", "2"] } },
		]);
		const people = await talk(gateway, ["consume", "r1", "--from", "0", "--max", "1"]);
		expect(people.stdout).toMatch(/^ +0 +0 {2}\d{4}-\d\d-\d\dT\S+Z {2}dev7 {2}site=s1 {2}21\.5\n$/);
	});

	it("are copied from topic to topic through a pipe, tens of thousands at a time", async () => {
		await Promise.all(["c1", "c2"].map((topic) => talk(gateway, ["topic", "create", topic, "--partitions", "1"])));
		const lines = Array.from({ length: 20_000 }, (_, i) => `key${i % 7}:value ${i}`);
		const stored = await talk(gateway, ["produce", "c1", "--key-separator", ":"], `${lines.join("\n")}\n`);
		expect(stored.stderr).toBe("20,000 records stored in c1\n");
		const read = await talk(gateway, ["consume", "c1", "--from", "earliest", "--until", "end", "--json"]);
		await talk(gateway, ["produce", "c2", "--json"], read.stdout);
		const copy = objects(
			(await talk(gateway, ["consume", "c2", "--from", "earliest", "--until", "end", "--json"])).stdout,
		);
		expect(copy.map(({ key, value }) => `${key}:${value}`)).toEqual(lines);
		expect(copy.map(({ offset }) => offset)).toEqual(lines.map((_, i) => i));
	});

	it("that stand before a wrong line are stored, and the line is named", async () => {
		await talk(gateway, ["topic", "create", "w1", "--partitions", "1"]);
		const outcome = await talk(gateway, ["produce", "w1", "--json"], '{"value":"a"}\nnonsense\n{"value":"b"}\n');
		expect(outcome.code).toBe(1);
		expect(outcome.stderr).toMatch(/^headwater: line 2 is no JSON: [^\n]*; 1 records were stored in w1\n$/);
		const read = objects(
			(await talk(gateway, ["consume", "w1", "--from", "earliest", "--until", "end", "--json"])).stdout,
		);
		expect(read.map(({ value }) => value)).toEqual(["a"]);
	});

	it("are followed live until Ctrl-C, which is a good end", async () => {
		await talk(gateway, ["topic", "create", "l1"]);
		const environment = { HEADWATER_CONNECT: `127.0.0.1:${gateway.nativePort}` };
		await talk(gateway, ["produce", "l1", "--value", "before"]);
		const follower = spawnHeadwater(["consume", "l1", "--from", "earliest", "--json"], environment);
		const closed = new Promise<number | null>((resolve) => follower.once("close", resolve));
		await until(follower, /"value":"before"/);
		const live = until(follower, /"value":"after"/);
		await talk(gateway, ["produce", "l1", "--value", "after"]);
		await live;
		follower.kill("SIGINT");
		expect(await closed).toBe(0);
	});

	it("end quietly when the reader of the pipe has seen enough", async () => {
		await talk(gateway, ["topic", "create", "p1"]);
		await talk(gateway, ["produce", "p1"], `${"x".repeat(200)}\n`.repeat(20_000));
		const environment = { HEADWATER_CONNECT: `127.0.0.1:${gateway.nativePort}` };
		const reader = spawnHeadwater(["consume", "p1", "--from", "earliest"], environment);
		let complaints = "";
		reader.stderr?.on("data", (chunk) => {
			complaints += chunk;
		});
		const closed = new Promise<number | null>((resolve) => reader.once("close", resolve));
		reader.stdout?.once("data", () => reader.stdout?.destroy());
		expect(await closed).toBe(0);
		expect(complaints).toBe("");
	});

	it("begin at a time", async () => {
		await talk(gateway, ["topic", "create", "time", "--partitions", "1"]);
		const at = (ms: number) => JSON.stringify({ value: String(ms), timestamp: ms });
		await talk(gateway, ["produce", "time", "--json"], `${[1000, 2000, 3000].map((s) => at(s * 1000)).join("\n")}\n`);
		const read = await talk(gateway, ["consume", "time", "--from", "1970-01-01T00:33:20Z", "--until", "end", "--json"]);
		expect(objects(read.stdout).map(({ timestamp }) => timestamp)).toEqual([2_000_000, 3_000_000]);
	});
});

describe("status", () => {
	it("says what the gateway is doing", async () => {
		const [status] = objects((await talk(gateway, ["status", "--json"])).stdout);
		expect(status).toMatchObject({
			pid: gateway.process.pid,
			dataDirectory: data,
			listeners: [
				{ door: "mqtt", address: `127.0.0.1:${gateway.mqttPort}` },
				{ door: "native", address: `127.0.0.1:${gateway.nativePort}` },
				{ door: "kafka", address: `127.0.0.1:${gateway.kafkaPort}` },
				{ door: "http", address: `127.0.0.1:${gateway.httpPort}` },
			],
			connections: { kafka: 0 },
		});
		expect((await talk(gateway, ["status"])).stdout).toContain(`127.0.0.1:${gateway.mqttPort}\n`);
	});

	it("of a gateway that is not there is an error that says what to do", async () => {
		const outcome = await runHeadwater(["status", "--connect", "127.0.0.1:1"]);
		expect(outcome.code).toBe(1);
		expect(outcome.stderr).toMatch(
			/^headwater: no gateway answers at 127\.0\.0\.1:1 .*headwater start.*--connect HOST:PORT\n$/,
		);
	});
});

/** Tiered storage as a person uses it: a real gateway, the commands, and docs/tiering.md's first steps and restore as they are written. */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";
import { consumeAll, type Gateway, startGateway, temporaryFolder } from "../../support/gateway.ts";
import { objects, runHeadwater, talk } from "./session.ts";

const folder = temporaryFolder("tier");
const page = fs.readFileSync(path.join(import.meta.dirname, "../../../docs/tiering.md"), "utf8");
const store = pathToFileURL(path.join(folder, "usb", "headwater")).href;
const settings = {
	"gateway.id": "line-3",
	"objectStore.url": store,
	"log.segment.bytes": 1_100_000,
	"log.retention.check.interval.ms": 100,
};
const running: Gateway[] = [];

afterAll(async () => {
	for (const gateway of running) await gateway.kill();
	fs.rmSync(folder, { recursive: true, force: true });
});

async function start(name: string, more: Record<string, string | number> = {}): Promise<Gateway> {
	const gateway = await startGateway({ dataDirectory: path.join(folder, name), settings: { ...settings, ...more } });
	running.push(gateway);
	return gateway;
}

/** The lines of the page's shell examples that begin with `headwater`, within a section. */
function commandsOf(section: string): string[][] {
	const begin = page.indexOf(`\n## ${section}`);
	const text = page.slice(begin, page.indexOf("\n## ", begin + 1));
	return [...text.matchAll(/^ *```sh\n([\s\S]*?)^ *```/gm)]
		.flatMap(([, block]) => (block as string).split("\n"))
		.map((line) => line.replace(/#.*$/, "").trim())
		.filter((line) => line.startsWith("headwater "))
		.map((line) => line.split(/\s+/).slice(1));
}

async function told(gateway: Gateway, topic: string): Promise<{ local: number; tiered: number }> {
	const [described] = objects((await talk(gateway, ["topic", "describe", topic, "--json"])).stdout);
	const [partition] = (described?.partitions ?? []) as { localStartOffset: number; tieredOffset: number }[];
	return { local: partition?.localStartOffset ?? 0, tiered: partition?.tieredOffset ?? 0 };
}

describe("docs/tiering.md", () => {
	it("has first steps that run as they are written", async () => {
		const gateway = await startGateway({ dataDirectory: path.join(folder, "first") });
		running.push(gateway);
		const commands = commandsOf("First steps").filter(([verb]) => verb !== "start" && verb !== undefined);
		const here = commands.filter((command) => !command.includes("--from") || command[0] === "consume");
		expect(here.map(([verb, next]) => (verb === "tier" ? `${verb} ${next}` : verb))).toEqual([
			"topic",
			"produce",
			"tier run",
			"tier status",
			"tier ls",
			"tier verify",
			"topic",
			"topic",
			"consume",
		]);
		for (const command of here) {
			const { code, stderr, stdout } = await talk(gateway, command);
			expect([command, code, command[0] === "produce" ? "" : stderr]).toEqual([command, 0, ""]);
			if (command[1] === "run") expect(stdout).toMatch(/^uploaded 1 bundle, \d+ B of record batches\n$/);
			if (command[1] === "status") expect(stdout).toMatch(/^stored +1 bundle, .*\npending +nothing\n/m);
			if (command[1] === "ls") expect(stdout).toMatch(/^readings +0 +0 +1 /m);
			if (command[1] === "verify")
				expect(stdout).toContain("what is stored is whole: 0 holes, 0 damages, 0 orphans, 0 foreign");
			if (command[0] === "consume") expect(stdout).toMatch(/dev7.*21\.5/);
		}
	});

	it("has configurations that are right, and names only keys and options that there are", async () => {
		const examples = [...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, text]) => text as string);
		expect(examples).toHaveLength(2);
		for (const text of examples) loadConfig({ file: { name: "tiering.md", content: readYaml(text) } });
		const all = [...commandsOf("First steps"), ...commandsOf("A gateway is lost"), ...commandsOf("Looking into it")];
		expect(all.length).toBeGreaterThan(12);
		for (const command of all.filter(([verb]) => verb === "tier")) {
			const { stdout } = await runHeadwater([...command.slice(0, 2), "--help"]);
			for (const option of command.filter((word) => word.startsWith("--"))) expect(stdout).toContain(option);
		}
	});
});

describe("a gateway with an object store", () => {
	let gateway: Gateway;
	const count = 30_000;
	beforeAll(async () => {
		fs.mkdirSync(path.join(folder, "usb"));
		gateway = await start("data");
		const tiered = ["remote.storage.enable=true", "local.retention.bytes=1200000", "retention.ms=-1"];
		const config = tiered.flatMap((setting) => ["--config", setting]);
		await talk(gateway, ["topic", "create", "readings", "--partitions", "1", ...config]);
		await talk(gateway, ["topic", "create", "local", "--partitions", "1"]);
		const lines = Array.from({ length: count }, (_, i) => `dev${i % 7}:reading ${i} ${"x".repeat(90)}`);
		await talk(gateway, ["produce", "readings", "--key-separator", ":"], lines.join("\n"));
	});

	it("tells what is pending, uploads it when asked, gives up what is here and reads it all", async () => {
		const [before] = objects((await talk(gateway, ["tier", "status", "--json"])).stdout);
		expect(before).toMatchObject({ gateway: "line-3", incarnation: 1, bundles: 0 });
		expect(before?.topics).toEqual([
			expect.objectContaining({ topic: "readings", copies: true, pendingRecords: count, tieredRecords: 0 }),
		]);
		expect(await talk(gateway, ["tier", "run"])).toMatchObject({ code: 0, stderr: "" });
		expect((await talk(gateway, ["tier", "run"])).stdout).toBe("nothing was pending\n");
		while ((await told(gateway, "readings")).local === 0) await new Promise((resolve) => setTimeout(resolve, 20));
		const { local, tiered } = await told(gateway, "readings");
		expect([local > 0 && local < count, tiered]).toEqual([true, count]);
		const records = await consumeAll(gateway, "readings");
		expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: count }, (_, i) => i));
		expect(records.every(({ value }, i) => value === `reading ${i} ${"x".repeat(90)}`)).toBe(true);
		const [after] = objects((await talk(gateway, ["tier", "status", "--json"])).stdout);
		expect(after?.topics).toEqual([expect.objectContaining({ tieredRecords: count, pendingRecords: 0 })]);
		expect(after).toMatchObject({ reads: { gets: expect.any(Number) } });
		expect(after).not.toMatchObject({ reads: { gets: 0 } });
		expect(after).not.toHaveProperty("error");
	});

	it("is listed alike by the gateway and from its store alone", async () => {
		const asked = objects((await talk(gateway, ["tier", "ls", "--json"])).stdout);
		expect(asked).toEqual([expect.objectContaining({ topic: "readings", partition: 0, from: 0, before: count })]);
		const alone = ["tier", "ls", "--from", store];
		expect((await runHeadwater(alone)).stdout).toBe("GATEWAY\nline-3\n");
		expect(objects((await runHeadwater([...alone, "--gateway", "line-3", "--json"])).stdout)).toEqual(asked);
		const ranges = objects((await talk(gateway, ["tier", "ls", "readings", "--json"])).stdout);
		expect(objects((await runHeadwater([...alone, "readings", "--gateway", "line-3", "--json"])).stdout)).toEqual(
			ranges,
		);
		expect((await runHeadwater([...alone, "--gateway", "line-4"])).stdout).toMatch(
			/has no bundles of gateway line-4\n$/,
		);
	});

	it("is restored by the command of the page, and the old one uploads no more", async () => {
		const [command] = commandsOf("A gateway is lost");
		const config = path.join(folder, "headwater.yaml");
		fs.writeFileSync(config, "log.level: info\n");
		const data = path.join(folder, "restored");
		// A slash behind the folder's name is no other folder.
		const given: Record<string, string> = { "--from": store, "--data": `${data}/`, "--config": config };
		const words = (command ?? []).map((word, i, all) => given[all[i - 1] ?? ""] ?? word);
		const refused = await runHeadwater(words);
		expect([refused.code, refused.stdout]).toEqual([1, ""]);
		expect(refused.stderr).toMatch(
			/^headwater: gateway line-3 .* it may be alive\. Stop it for good, then restore with --force[^\n]*\n$/,
		);
		const { code, stdout, stderr } = await runHeadwater([...words, "--force"]);
		expect([code, stderr]).toEqual([0, ""]);
		expect(stdout).toContain(`restored 30,000 records of 2 topics with 2 partitions to ${data}/\n`);
		expect(stdout).toContain("it is incarnation 2 of line-3");
		const again = await runHeadwater([...words, "--force"]);
		expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("is not empty")]);
		const restored = await start("restored");
		expect(await consumeAll(restored, "readings")).toHaveLength(count);
		await talk(restored, ["produce", "readings", "--key", "k", "--value", "after"]);
		expect((await consumeAll(restored, "readings")).at(-1)).toMatchObject({ offset: count, value: "after" });
		expect(await talk(restored, ["tier", "run"])).toMatchObject({ code: 0, stderr: "" });
		expect(await talk(restored, ["tier", "verify", "--deep"])).toMatchObject({ code: 0 });
		await talk(gateway, ["produce", "readings", "--key", "k", "--value", "too late"]);
		const old = await talk(gateway, ["tier", "run"]);
		expect([old.code, old.stderr]).toEqual([
			1,
			expect.stringMatching(/gateway line-3 was restored elsewhere .* incarnation 2/),
		]);
		expect((await talk(gateway, ["tier", "status"])).stdout).toMatch(/^ERROR +gateway line-3 was restored elsewhere/m);
	});

	it("finds what is missing, damaged or somebody else's in the store", async () => {
		const restored = running.at(-1) as Gateway;
		const objectsFolder = path.join(folder, "usb", "headwater", "line-3", "0000000001");
		const bundle = fs.readdirSync(objectsFolder).find((name) => name.endsWith(".bundle")) as string;
		const file = path.join(objectsFolder, bundle);
		const bytes = fs.readFileSync(file);
		fs.writeFileSync(path.join(objectsFolder, "notes.txt"), "mine");
		fs.writeFileSync(file, Buffer.from(bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte))));
		const shallow = await talk(restored, ["tier", "verify"]);
		expect([shallow.code, shallow.stdout]).toEqual([
			0,
			expect.stringMatching(/^foreign: line-3\/0000000001\/notes\.txt: /),
		]);
		const deep = await talk(restored, ["tier", "verify", "--deep", "--json"]);
		expect(deep.code).toBe(1);
		expect(objects(deep.stdout)).toContainEqual(
			expect.objectContaining({ kind: "damage", object: `line-3/0000000001/${bundle}` }),
		);
		fs.rmSync(file);
		const missing = await talk(restored, ["tier", "verify"]);
		expect([missing.code, missing.stdout]).toEqual([
			1,
			expect.stringMatching(/^hole: line-3\/0000000001\/.*\.bundle: /m),
		]);
		fs.writeFileSync(file, bytes);
	});
});

describe("a store that is not there", () => {
	it("is told by each command in a line, and records are taken all the same", async () => {
		const nowhere = pathToFileURL(path.join(folder, "not", "mounted", "store")).href;
		const gateway = await start("away", { "objectStore.url": nowhere });
		await talk(gateway, ["topic", "create", "readings", "--config", "remote.storage.enable=true"]);
		expect((await talk(gateway, ["tier", "verify"])).code).toBe(0);
		await talk(gateway, ["produce", "readings", "--value", "x"]);
		const run = await talk(gateway, ["tier", "run"]);
		expect([run.code, run.stderr]).toEqual([
			1,
			expect.stringMatching(/^headwater: [^\n]*is its medium mounted\?[^\n]*\n$/),
		]);
		expect((await talk(gateway, ["tier", "status"])).stdout).toMatch(/^ERROR +.*is its medium mounted\?/m);
		expect((await talk(gateway, ["status"])).stdout).toMatch(/^ {2}pending +1 record, .*ERROR: /m);
		await talk(gateway, ["produce", "readings", "--value", "y"]);
		expect(await consumeAll(gateway, "readings")).toHaveLength(2);
		const from = await runHeadwater(["tier", "ls", "--from", nowhere]);
		expect([from.code, from.stderr]).toEqual([
			1,
			expect.stringMatching(/^headwater: [^\n]*is no object store[^\n]*\n$/),
		]);
	});
});

/** `headwater tier` and what other verbs tell of tiered storage, as a shell runs them, against a gateway whose storage says what it is told to. */
import { afterEach, describe, expect, it } from "vitest";
import { FakeTier, range, TIER_STATUS } from "../../support/fake-tier.ts";
import type { Finished } from "../../support/gateway.ts";
import { NativeGateway } from "../../unit/native/native-gateway.ts";
import { objects, runHeadwater, spawnHeadwater } from "./session.ts";

let gateway: NativeGateway | undefined;
afterEach(async () => {
	await gateway?.stop();
	gateway = undefined;
});

async function open(): Promise<FakeTier> {
	const tier = new FakeTier();
	gateway = await NativeGateway.start({ tier });
	return tier;
}

const here = (): Record<string, string> => ({ HEADWATER_CONNECT: `127.0.0.1:${gateway?.port}` });
const tell = (...parameters: string[]): Promise<Finished> => runHeadwater(parameters, { environment: here() });

async function until(holds: () => boolean): Promise<void> {
	while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("headwater tier status", () => {
	it("shows store, what is pending, times, the link and each topic, aligned", async () => {
		const tier = await open();
		const { code, stdout, stderr } = await tell("tier", "status");
		expect([code, stderr]).toEqual([0, ""]);
		expect(
			stdout.replaceAll(/\([^()]* ago\)/g, "(AGO)"),
		).toBe(`store        s3://bucket/gateways at https://s3.example.com
gateway      gw7, incarnation 2
stored       34 bundles, 5.0 MiB
pending      12 records, 3.0 KiB, the oldest of 2023-11-14T22:13:20Z (AGO)
last upload  2023-11-14T21:56:40Z (AGO): 1 bundle, 4.0 KiB of record batches
next upload  2023-11-14T22:23:20Z (AGO)
uplink       1.0 KiB today, 2.0 KiB this month (976.6 KiB left)
read back    7 requests, 8.0 KiB; cache 4.0 KiB, 5 hits, 2 misses

TOPIC      COPIES  TIERED     SIZE  PENDING     SIZE  SINCE
audit      no       1,000  2.0 MiB        0      0 B  -
telemetry  yes      1,000  2.0 MiB       12  3.0 KiB  2023-11-14T22:13:20Z (AGO)
`);
		const run = { sinceMs: 1, bundles: 2, doneBytes: 1_048_576, totalBytes: 4_194_304, bytesPerSecond: 1024 };
		const waits = { waitsUntilMs: Date.now() + 3_600_000, waitsFor: "the day's budget" };
		const error = { sinceMs: Date.now() - 60_000, message: "s3://bucket: access denied\x1b[2J" };
		tier.now = { ...TIER_STATUS, deleting: 3, nextRunMs: undefined, run: { ...run, ...waits }, error };
		const busy = (await tell("tier", "status")).stdout;
		expect(busy).toMatch(
			/^uploading {4}bundle 3, 1\.0 MiB of 4\.0 MiB \(25 %\), 1\.0 KiB\/s, 51m 12s left\n {13}waits: the day's budget, until .* \(in (59m 5|1h)/m,
		);
		expect(busy).toMatch(/^to delete {4}3 objects$/m);
		expect(busy).toMatch(/^next upload {2}none by schedule$/m);
		expect(busy).toMatch(/^ERROR {8}s3:\/\/bucket: access denied\\u001b\[2J \(since .* ago\)\)$/m);
	});

	it("says what to do where nothing is tiered, and gives programs all of it", async () => {
		const tier = await open();
		expect(objects((await tell("tier", "status", "--json")).stdout)).toEqual([JSON.parse(JSON.stringify(TIER_STATUS))]);
		tier.now = { ...TIER_STATUS, bundles: 0, bytes: 0, lastRun: undefined, topics: [] };
		const { stdout } = await tell("tier", "status");
		expect(stdout).toContain("stored       nothing yet\npending      nothing\nlast upload  none since the start\n");
		expect(stdout).toContain(
			"\n\nno topic is tiered; `headwater topic alter NAME --config remote.storage.enable=true` does that\n",
		);
	});

	it("says in one line that a gateway has no tiered storage", async () => {
		gateway = await NativeGateway.start();
		for (const verb of [["status"], ["run"], ["ls"], ["verify"]]) {
			const { code, stdout, stderr } = await tell("tier", ...verb);
			expect([code, stdout]).toEqual([1, ""]);
			expect(stderr).toBe("headwater: this gateway runs without tiered storage: its log says why\n");
		}
	});
});

describe("headwater tier run", () => {
	it("ends when the upload has, and says what was uploaded", async () => {
		const tier = await open();
		const running = tell("tier", "run");
		await until(() => tier.runs === 1);
		tier.now = { ...TIER_STATUS, lastRun: { endedMs: 1_700_000_000_000, bundles: 2, bytes: 8192 } };
		tier.runEnds();
		expect(await running).toEqual({ code: 0, stdout: "uploaded 2 bundles, 8.0 KiB of record batches\n", stderr: "" });
		const again = tell("tier", "run");
		await until(() => tier.runs === 2);
		tier.runEnds();
		expect(await again).toEqual({ code: 0, stdout: "nothing was pending\n", stderr: "" });
	});

	it("tells programs and logs how far it is", async () => {
		const tier = await open();
		const run = { sinceMs: 1, bundles: 0, doneBytes: 1024, totalBytes: 4096, bytesPerSecond: 0 };
		tier.now = { ...TIER_STATUS, run: { ...run, waitsUntilMs: undefined, waitsFor: "the window" } };
		const child = spawnHeadwater(["tier", "run"], here());
		let stderr = "";
		child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			stderr += text;
		});
		await until(() => stderr.endsWith("\n"));
		expect(stderr).toBe("bundle 1, 1.0 KiB of 4.0 KiB (25 %); waits: the window\n");
		child.kill("SIGINT");
		await new Promise((resolve) => child.once("close", resolve));
		expect(child.exitCode).toBe(130);
		expect(stderr).toContain("the upload goes on in the gateway");
		const json = spawnHeadwater(["tier", "run", "--json"], here());
		let stdout = "";
		json.stdout?.setEncoding("utf8").on("data", (text: string) => {
			stdout += text;
		});
		await until(() => stdout.endsWith("\n"));
		tier.now = { ...TIER_STATUS, lastRun: { endedMs: 5, bundles: 1, bytes: 9 } };
		tier.runEnds();
		await new Promise((resolve) => json.once("close", resolve));
		expect(objects(stdout)[0]).toEqual({ done: false, ...run, waitsFor: "the window" });
		expect(objects(stdout).at(-1)).toEqual({ done: true, bundles: 1, bytes: 9 });
	});

	it("fails with what the upload failed with", async () => {
		const tier = await open();
		const running = tell("tier", "run");
		await until(() => tier.runs === 1);
		tier.runEnds("s3://bucket at https://h: access denied; check objectStore.access.key");
		expect(await running).toEqual({
			code: 1,
			stdout: "",
			stderr: "headwater: s3://bucket at https://h: access denied; check objectStore.access.key\n",
		});
	});
});

describe("headwater tier ls", () => {
	it("sums up partitions, or lists the ranges of a topic", async () => {
		const tier = await open();
		tier.stored = [range("a", 0, 0), range("a", 0, 10), range("a", 10, 0), range("b", 0, 20)];
		const { stdout } = await tell("tier", "ls");
		expect(stdout).toBe(`TOPIC  PARTITION  FROM  BEFORE  RANGES  LAST TIME                 STORED    RAW
a              0     0      20       2  2023-11-14T22:13:20.000Z   200 B  600 B
a             10     0      10       1  -                          100 B  300 B
b              0    20      30       1  2023-11-14T22:13:20.000Z   100 B  300 B
`);
		const ofA = (await tell("tier", "ls", "a")).stdout.split("\n");
		expect(ofA[0]).toMatch(/^TOPIC +PARTITION +FROM +BEFORE +LAST TIME +STORED +RAW +OBJECT$/);
		expect(ofA[1]).toMatch(/^a +0 +0 +10 +- +100 B +300 B +gw7\/0{9}1\/0{19}1-0badcafe\.bundle$/);
		expect(ofA).toHaveLength(5);
		const every = objects((await tell("tier", "ls", "--ranges", "--json")).stdout);
		expect(every).toHaveLength(4);
		expect(every[0]).toEqual({ ...range("a", 0, 0), maxTimestamp: null });
		expect(objects((await tell("tier", "ls", "--json")).stdout)[0]).toMatchObject({ topic: "a", from: 0, before: 20 });
	});

	it("prints a head once, however many ranges there are", async () => {
		const tier = await open();
		for (let i = 0; i < 1234; i++) tier.stored.push(range("a", 0, i * 10));
		const lines = (await tell("tier", "ls", "a")).stdout.split("\n");
		expect(lines).toHaveLength(1 + 1234 + 1);
		expect(lines.filter((line) => line.startsWith("TOPIC"))).toHaveLength(1);
	});

	it("says that there is nothing, and what does not go together", async () => {
		await open();
		expect((await tell("tier", "ls")).stdout).toBe("nothing is in the object store yet\n");
		expect((await tell("tier", "ls", "a")).stdout).toBe("nothing of topic a is in the object store\n");
		expect(await tell("tier", "ls", "--json")).toEqual({ code: 0, stdout: "", stderr: "" });
		for (const wrong of [
			["a", "b"],
			["--gateway", "g"],
			["--from", "file:///x", "a"],
			["--from", "file:///x", "a.bundle"],
		]) {
			const { code, stderr } = await tell("tier", "ls", ...wrong);
			expect([wrong, code, stderr.split("\n").length]).toEqual([wrong, 2, 2]);
		}
		const { code, stderr } = await tell("tier", "ls", "--from", "s3:/x", "--gateway", "g");
		expect([code, stderr]).toEqual([
			1,
			expect.stringContaining('"s3:/x" is not of the right form; right would be s3://bucket'),
		]);
	});
});

describe("headwater tier verify", () => {
	it("passes where nothing is missing, orphans and others' objects aside", async () => {
		const tier = await open();
		tier.findings = [
			{ kind: "orphan", object: "gw7/x", what: "the catalog has no such object" },
			{ kind: "foreign", object: "gw7/y", what: "is no bundle" },
		];
		expect(await tell("tier", "verify")).toEqual({
			code: 0,
			stderr: "",
			stdout:
				"orphan: gw7/x: the catalog has no such object\nforeign: gw7/y: is no bundle\n" +
				"what is stored is whole: 0 holes, 0 damages, 1 orphan, 1 foreign, 0 not reached\n" +
				"looked at 3 objects of 4.0 KiB, with 5 ranges\n",
		});
		expect(tier.verifies.map(({ deep }) => deep)).toEqual([false]);
	});

	it.each([
		["hole", "what is stored is NOT WHOLE: 1 hole,"],
		["damage", "what is stored is NOT WHOLE: 0 holes, 1 damage,"],
		["unreachable", "not all could be looked at: 0 holes, 0 damages, 0 orphans, 0 foreign, 1 not reached"],
	] as const)("fails with a %s", async (kind, told) => {
		const tier = await open();
		tier.findings = [{ kind, object: "", what: "it is so" }];
		const { code, stdout } = await tell("tier", "verify", "--deep");
		expect(code).toBe(1);
		expect(stdout).toContain(`${kind}: it is so\n${told}`);
		expect(tier.verifies.map(({ deep }) => deep)).toEqual([true]);
		const json = await tell("tier", "verify", "--json");
		expect(json.code).toBe(1);
		expect(objects(json.stdout)).toEqual([
			{ kind, object: "", what: "it is so" },
			expect.objectContaining({ kind: "summary", [kind]: 1, objects: 3 }),
		]);
	});
});

describe("other verbs", () => {
	it("headwater status has two lines on it, where a topic is tiered", async () => {
		const tier = await open();
		expect((await tell("status")).stdout).toMatch(
			/^tiered +34 bundles, 5\.0 MiB in s3:\/\/bucket\/gateways at https:\/\/s3\.example\.com\n {2}pending +12 records, 3\.0 KiB; next upload 2023-11-14T22:23:20\.000Z\nlost /m,
		);
		tier.now = { ...TIER_STATUS, bundles: 0, error: { sinceMs: 1, message: "no way" } };
		expect((await tell("status")).stdout).toMatch(
			/^tiered +nothing yet in s3:.*\n {2}pending +12 records, 3\.0 KiB; ERROR: no way\n/m,
		);
		tier.isActive = false;
		expect((await tell("status")).stdout).not.toContain("tiered");
	});

	it("headwater topic describe tells where each partition is, where the topic is tiered", async () => {
		await open();
		gateway?.broker.topics.create({ name: "t", partitions: 1 });
		expect((await tell("topic", "describe", "t")).stdout).toMatch(/^PARTITION +LOG START +HIGH WATERMARK +SIZE/m);
		gateway?.broker.topics.get("t")?.partitions[0]?.tiered(7);
		expect((await tell("topic", "describe", "t")).stdout).toMatch(
			/^PARTITION +LOG START +HERE FROM +TIERED TO +HIGH WATERMARK +SIZE +SEGMENTS\n +0 +0 +0 +7 +0 /m,
		);
	});
});

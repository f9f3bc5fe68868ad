/** `headwater upstream` and what `status` tells of it, as a shell runs them, against a gateway whose upstream says what it is told to. */
import { afterEach, describe, expect, it } from "vitest";
import { FakeUpstream, UPSTREAM_STATUS, UPSTREAM_TOPIC } from "../../support/fake-upstream.ts";
import type { Finished } from "../../support/gateway.ts";
import { NativeGateway } from "../../unit/native/native-gateway.ts";
import { objects, runHeadwater, spawnHeadwater } from "./session.ts";

let gateway: NativeGateway | undefined;
afterEach(async () => {
	await gateway?.stop();
	gateway = undefined;
});

async function open(): Promise<FakeUpstream> {
	const upstream = new FakeUpstream();
	gateway = await NativeGateway.start({ upstream });
	return upstream;
}

const here = (): Record<string, string> => ({ HEADWATER_CONNECT: `127.0.0.1:${gateway?.port}` });
const tell = (...parameters: string[]): Promise<Finished> => runHeadwater(parameters, { environment: here() });

const PLAN = `TOPIC      PARTITION  FROM   TO  AGAIN  NEVER
telemetry          0   120  100     20      0
telemetry          1     -    7      0      7

sent a second time  20 records: who reads there gets them twice
never sent          7 records: they stay here as long as their topic says
`;

describe("headwater upstream status", () => {
	it("shows cluster, state, counts, the link and each topic, aligned", async () => {
		await open();
		const { code, stdout, stderr } = await tell("upstream", "status");
		expect([code, stderr]).toEqual([0, ""]);
		expect(
			stdout.replaceAll(/\([^()]* ago\)/g, "(AGO)").replaceAll(/ \d+d( \d+h)?\n/g, " AGE\n"),
		).toBe(`cluster  kafka1.example.com:9092, kafka2.example.com:9092, id 5L6g3nShT-eMCtK--X86sw
mode     exactly once
state    running
sent     120,040 records, 11.4 MiB in 33 transactions; on the link 2.0 MiB and 64.0 KiB back; last 2023-11-14T22:14:20Z (AGO)
rate     120 records/s, 11.7 KiB/s; on the link 2.0 KiB/s
to send  1,234 records, about 123.0 KiB, the oldest of 2023-11-14T22:13:20Z (AGO); 10.3 s at this rate
uplink   2.0 MiB today, no limit; at this rate 4.0 MiB by its end
         2.0 MiB this month, no limit; at this rate 4.0 MiB by its end

TOPIC -> THERE              PRIORITY     SENT    LAG      BYTES    OLDEST
alarms                      high           40      0        0 B         -
telemetry -> gw7.telemetry  normal    120,000  1,234  123.0 KiB  AGE
`);
	});

	it("shows what is in the way and what helps, as words that move no cursor", async () => {
		const upstream = await open();
		const sinceMs = Date.now() - 60_000;
		upstream.now = {
			...UPSTREAM_STATUS,
			state: "waiting",
			nextMs: Date.now() + 30_000,
			problem: { sinceMs, message: "no server answers\x1b[2J", action: "nc -vz kafka1.example.com 9092" },
		};
		const { stdout } = await tell("upstream", "status");
		expect(stdout).toMatch(/^state {4}waiting for the link since .* ago\); tries again .*\(in (29|30)\.\d s\)$/m);
		expect(stdout).toMatch(
			/^PROBLEM {2}no server answers\\u001b\[2J; since .* \(1m ago\)\n {9}-> nc -vz kafka1\.example\.com 9092$/m,
		);
	});

	it("gives programs all of it, and watches until Ctrl-C", async () => {
		const upstream = await open();
		const expected = JSON.parse(JSON.stringify(UPSTREAM_STATUS));
		expect(objects((await tell("upstream", "status", "--json")).stdout)).toEqual([expected]);
		const child = spawnHeadwater(["upstream", "status", "--watch"], here());
		let shown = "";
		child.stdout?.setEncoding("utf8").on("data", (text: string) => {
			shown += text;
		});
		const until = async (pattern: RegExp): Promise<void> => {
			while (!pattern.test(shown)) await new Promise((resolve) => setTimeout(resolve, 5));
		};
		await until(/OLDEST\n/);
		upstream.now = { ...UPSTREAM_STATUS, topics: [{ ...UPSTREAM_TOPIC, sentRecords: 130_000 }] };
		await until(/OLDEST +RATE\n.* [\d,]+\/s\n/);
		child.kill("SIGINT");
		await new Promise((resolve) => child.once("close", resolve));
		expect(child.exitCode).toBe(0);
	});

	it("is one line in the status of the gateway", async () => {
		const upstream = await open();
		expect((await tell("status")).stdout).toMatch(/^upstream {5}running; 1,234 records to send, 123\.0 KiB$/m);
		upstream.now = {
			...UPSTREAM_STATUS,
			state: "halted",
			topics: [{ ...UPSTREAM_TOPIC, lagRecords: 0, quarantinedRecords: 3, lostRecords: 2 }],
			problem: { sinceMs: 1, message: "another gateway has this name", action: "x" },
		};
		expect((await tell("status")).stdout).toMatch(
			/^upstream {5}halted; nothing to send; 3 refused there; 2 lost before they were sent; PROBLEM: another gateway has this name$/m,
		);
	});
});

describe("headwater upstream pause and resume", () => {
	it("say what they did and how to go on", async () => {
		const upstream = await open();
		expect(await tell("upstream", "pause")).toEqual({
			code: 0,
			stdout: "paused, over restarts too; `headwater upstream resume` goes on\n",
			stderr: "",
		});
		expect(await tell("upstream", "resume")).toMatchObject({ code: 0, stderr: "" });
		expect(upstream.asked).toEqual(["pause", "resume"]);
	});
});

describe("headwater upstream reset", () => {
	it("says what it would mean, and changes nothing without --yes", async () => {
		const upstream = await open();
		const { code, stdout, stderr } = await tell("upstream", "reset", "--to", "progress", "--topic", "telemetry");
		expect([code, stderr]).toEqual([0, ""]);
		expect(stdout).toBe(
			`each partition would go on where the central cluster says it stands:\n\n${PLAN}` +
				"nothing is changed; this does it:\n  headwater upstream reset --to progress --topic telemetry --yes\n",
		);
		const address = `127.0.0.1:${gateway?.port}`;
		const { stdout: elsewhere } = await runHeadwater(["--connect", address, "upstream", "reset", "--to", "local"]);
		expect(elsewhere).toMatch(new RegExp(`^ {2}headwater upstream reset --to local --connect ${address} --yes$`, "m"));
		expect(upstream.asked).toEqual([
			{ to: "progress", topic: "telemetry", dryRun: true },
			{ to: "local", topic: undefined, dryRun: true },
		]);
	});

	it("does it with --yes", async () => {
		const upstream = await open();
		const { stdout } = await tell("upstream", "reset", "--to", "latest", "--yes");
		expect(stdout).toBe(
			`each partition goes on with what comes from now on:\n\n${PLAN}done; \`headwater upstream status\` shows how it goes on\n`,
		);
		upstream.steps = [];
		expect((await tell("upstream", "reset", "--to", "latest", "--yes")).stdout).toBe(
			"no topic goes to the central cluster yet: there is nothing to put elsewhere\n",
		);
		expect(upstream.asked).toEqual(Array(2).fill({ to: "latest", topic: undefined, dryRun: false }));
	});

	it("gives programs each partition, and only with --yes does anything", async () => {
		const upstream = await open();
		const steps = objects((await tell("upstream", "reset", "--to", "earliest", "--json")).stdout);
		expect(steps).toEqual([
			{ topic: "telemetry", partition: 0, from: 120, to: 100, againRecords: 20, skippedRecords: 0 },
			{ topic: "telemetry", partition: 1, from: null, to: 7, againRecords: 0, skippedRecords: 7 },
		]);
		await tell("upstream", "reset", "--to", "earliest", "--json", "--yes");
		expect(upstream.asked).toMatchObject([{ dryRun: true }, { dryRun: false }]);
	});

	it("refuses a place that there is not, and tells a refusal", async () => {
		const upstream = await open();
		expect(await tell("upstream", "reset")).toMatchObject({
			code: 2,
			stderr: "headwater: say where to go on: progress, local, earliest, latest, as --to progress\n",
		});
		expect(await tell("upstream", "reset", "--to", "begin")).toMatchObject({
			code: 2,
			stderr: 'headwater: --to "begin" is not one of progress, local, earliest, latest\n',
		});
		expect(upstream.asked).toEqual([]);
		upstream.refusal = "kafka1.example.com:9092 does not answer: nothing is changed";
		expect(await tell("upstream", "reset", "--to", "progress", "--yes")).toEqual({
			code: 1,
			stdout: "",
			stderr: "headwater: kafka1.example.com:9092 does not answer: nothing is changed\n",
		});
	});
});

describe("a gateway without a central cluster", () => {
	it("says so in one line", async () => {
		gateway = await NativeGateway.start();
		for (const verb of [["status"], ["pause"], ["resume"], ["reset", "--to", "local"]]) {
			const { code, stdout, stderr } = await tell("upstream", ...verb);
			expect([code, stdout]).toEqual([1, ""]);
			expect(stderr).toBe(
				"headwater: this gateway has no central cluster: upstream.bootstrap.servers and upstream.topics name one and what goes there\n",
			);
		}
		expect((await tell("status")).stdout).not.toContain("upstream");
	});
});

/** What people are used to do with mosquitto's command-line clients, against the gateway: docs/from-mosquitto.md promises it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { consumeAll, type Gateway, run, startGateway, temporaryFolder, until } from "../support/gateway.ts";

const { mosquitto } = inject("runtimes");

describe.skipIf(!mosquitto)("habits of mosquitto's users", () => {
	const folder = temporaryFolder("habits");
	let gateway: Gateway;
	beforeAll(async () => {
		gateway = await startGateway({ dataDirectory: folder, settings: { "mqtt.sys.interval.seconds": 1 } });
	});
	afterAll(async () => {
		await gateway.kill();
		fs.rmSync(folder, { recursive: true });
	});

	const at = (): string[] => ["-h", "127.0.0.1", "-p", String(gateway.mqttPort)];

	async function pub(...parameters: string[]): Promise<void> {
		expect(await run("mosquitto_pub", [...at(), ...parameters])).toMatchObject({ code: 0, stderr: "" });
	}

	/** Runs until `-C` messages have come, or the broker has ended it. The lines that `-F` or `-v` printed. */
	async function sub(...parameters: string[]): Promise<string[]> {
		const { code, stdout, stderr } = await run("mosquitto_sub", [...at(), "-W", "60", ...parameters]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		return stdout.split("\n").slice(0, -1);
	}

	/** The same in the background; resolves when it has subscribed. Printed lines are those that begin with ">". */
	async function subscriber(...parameters: string[]) {
		// Into a pipe the program would write only when it ends, hence stdbuf -oL.
		const child = spawn("stdbuf", ["-oL", "mosquitto_sub", ...at(), "-W", "60", "-d", ...parameters]);
		let output = "";
		child.stdout.on("data", (chunk: Buffer) => {
			output += chunk.toString();
		});
		const ended = once(child, "close");
		await until(child, /Subscribed \(mid/);
		const printed = (): string[] => output.split("\n").filter((line) => line.startsWith(">"));
		return {
			child,
			printed,
			async lines(): Promise<string[]> {
				await ended;
				return printed();
			},
		};
	}

	it("-v prints topic and payload, -T leaves some out, -C ends", async () => {
		const listening = await subscriber("-t", "plain/#", "-T", "plain/not", "-C", "2", "-F", "> %t %p");
		for (const topic of ["plain/a", "plain/not", "plain/b"]) await pub("-t", topic, "-m", `of ${topic}`);
		expect(await listening.lines()).toEqual(["> plain/a of plain/a", "> plain/b of plain/b"]);
	});

	it("-l publishes each line, -s all of standard input, -n nothing at all, -f a file", async () => {
		const listening = await subscriber("-t", "input/#", "-q", "2", "-C", "5", "-F", "> %t %l %p");
		const feed = async (parameters: string[], input: string): Promise<void> => {
			const child = spawn("mosquitto_pub", [...at(), "-q", "2", ...parameters]);
			child.stdin.end(input);
			expect(await once(child, "close")).toEqual([0, null]);
		};
		await feed(["-t", "input/l", "-l"], "one\ntwo\n");
		await feed(["-t", "input/s", "-s"], "one,two");
		await pub("-q", "2", "-t", "input/n", "-n");
		const file = `${folder}.payload`;
		fs.writeFileSync(file, "of a file");
		await pub("-q", "2", "-t", "input/f", "-f", file);
		fs.rmSync(file);
		const expected = [
			"> input/l 3 one",
			"> input/l 3 two",
			"> input/s 7 one,two",
			"> input/n 0 ",
			"> input/f 9 of a file",
		];
		expect((await listening.lines()).toSorted()).toEqual(expected.toSorted());
	});

	it("-D publishes MQTT 5 properties, and -F shows them", async () => {
		const format = "> %p %C %D %F %R %P";
		const listening = await subscriber("-V", "5", "-t", "properties", "-C", "1", "-F", format);
		const property = (name: string, ...values: string[]) => ["-D", "publish", name, ...values];
		await pub(
			...["-V", "5", "-q", "1", "-t", "properties", "-m", "x"],
			...property("content-type", "text/plain"),
			...property("correlation-data", "c1"),
			...property("payload-format-indicator", "1"),
			...property("response-topic", "answers"),
			...property("message-expiry-interval", "600"),
			...property("user-property", "k", "1"),
			...property("user-property", "k", "2"),
		);
		expect(await listening.lines()).toEqual(["> x text/plain c1 1 answers k:1 k:2"]);
		const stored = (await consumeAll(gateway, "mqtt")).find((record) => record.key === "properties");
		expect(stored?.headers).toMatchObject({ "mqtt.content-type": "text/plain", "mqtt.message-expiry": "600" });
	});

	it("-D subscribe subscription-identifier comes back with every message", async () => {
		const listening = await subscriber(
			...["-V", "5", "-t", "identified/#", "-C", "1", "-F", "> %S %p"],
			...["-D", "subscribe", "subscription-identifier", "77"],
		);
		await pub("-t", "identified/x", "-m", "x");
		expect(await listening.lines()).toEqual(["> 77 x"]);
	});

	it("mosquitto_rr asks and gets the answer", async () => {
		const responder = await subscriber("-V", "5", "-t", "ask", "-C", "1", "-F", "> %R %D %p");
		const requester = run("mosquitto_rr", [
			...at(),
			"-V",
			"5",
			"-t",
			"ask",
			"-e",
			"answers/me",
			"-m",
			"how warm?",
			"-W",
			"60",
		]);
		const [line] = await responder.lines();
		expect(line).toMatch(/^> answers\/me .* ?how warm\?$/);
		await pub("-V", "5", "-q", "1", "-t", "answers/me", "-m", "21.5");
		expect(await requester).toMatchObject({ code: 0, stdout: "21.5\n", stderr: "" });
	});

	it.each(["mqttv311", "mqttv5"])(
		"-c keeps a session, which gets in order what came meanwhile (%s)",
		async (version) => {
			const session = ["-V", version, "-c", "-i", `away-${version}`, "-q", "1", "-t", `kept/${version}`];
			await sub(...session, "-E");
			for (const payload of ["first", "second", "third"]) await pub("-q", "1", "-t", `kept/${version}`, "-m", payload);
			await pub("-q", "0", "-t", `kept/${version}`, "-m", "of QoS 0: not for later");
			await pub("-q", "2", "-t", `kept/${version}`, "-m", "fourth");
			expect(await sub(...session, "-C", "4", "-F", "%q %p")).toEqual(["1 first", "1 second", "1 third", "1 fourth"]);
			// And it is over when the client says so.
			await sub("-V", version, "-i", `away-${version}`, "-t", "other", "-E");
			await pub("-q", "1", "-t", `kept/${version}`, "-m", "fifth");
			const again = await subscriber(...session, "-C", "1", "-F", "> %p");
			await pub("-q", "1", "-t", `kept/${version}`, "-m", "sixth");
			expect(await again.lines()).toEqual(["> sixth"]);
		},
	);

	it("a kept session outlives a kill -9 of the gateway", async () => {
		const session = ["-c", "-i", "survivor", "-q", "2", "-t", "survives/#"];
		await sub(...session, "-E");
		await pub("-q", "2", "-t", "survives/a", "-m", "before");
		await gateway.kill();
		gateway = await startGateway({ dataDirectory: folder, settings: { "mqtt.sys.interval.seconds": 1 } });
		await pub("-q", "2", "-t", "survives/a", "-m", "after");
		expect(await sub(...session, "-C", "2", "-F", "%q %p")).toEqual(["2 before", "2 after"]);
	});

	it.each(["mqttv311", "mqttv5"])("--will-topic: the will of a client that dies is published (%s)", async (version) => {
		const will = ["--will-topic", `wills/${version}`, "--will-payload", "gone", "--will-qos", "1"];
		const heir = await subscriber("-t", `wills/${version}`, "-q", "1", "-C", "1", "-F", "> %q %p");
		await sub("-V", version, "-t", "nothing", ...will, "-E"); // it says DISCONNECT, so this will is void
		const doomed = await subscriber("-V", version, "-t", "nothing", ...will.with(3, "killed"));
		doomed.child.kill("SIGKILL");
		expect(await heir.lines()).toEqual(["> 1 killed"]);
	});

	it("$SYS/# prints what mosquitto prints", async () => {
		const lines = await sub("-t", "$SYS/#", "-v", "-C", "60");
		const values = new Map(
			lines.map((line) => {
				// One name has a blank: "retained messages/count".
				const end = line.lastIndexOf(" ", line.endsWith(" seconds") ? line.length - 9 : line.length);
				return [line.slice("$SYS/broker/".length, end), line.slice(end + 1)] as const;
			}),
		);
		expect(values.get("uptime")).toMatch(/^\d+ seconds$/);
		expect(values.get("clients/connected")).toBe("1");
		expect(Number(values.get("publish/messages/received"))).toBeGreaterThan(0);
		expect(values.get("load/messages/received/1min")).toMatch(/^\d+\.\d\d$/);
		expect(values.get("retained messages/count")).toMatch(/^\d+$/);
		expect(lines.some((line) => line.startsWith("$SYS/broker/version headwater "))).toBe(true);
		// And they go on: the uptime a second later is no retained message.
		const [now, next] = await sub("-t", "$SYS/broker/uptime", "-C", "2", "-F", "%r %p");
		expect(now).toMatch(/^1 \d+ seconds$/);
		expect(next).toMatch(/^0 \d+ seconds$/);
	});

	it("-r keeps a message for those who come later, --retained-only, -R and --remove-retained know it", async () => {
		await pub("-r", "-q", "1", "-t", "last/a", "-m", "a");
		await pub("-r", "-q", "1", "-t", "last/b", "-m", "b");
		await pub("-q", "1", "-t", "last/c", "-m", "not retained");
		const retained = ["-t", "last/#", "-F", "%r %t %p", "-q", "1"];
		expect((await sub(...retained, "-C", "2")).toSorted()).toEqual(["1 last/a a", "1 last/b b"]);
		const stale = await subscriber("-t", "last/#", "--retained-only", "-F", "> %t");
		await pub("-q", "1", "-t", "last/c", "-m", "which ends it");
		expect((await stale.lines()).toSorted()).toEqual(["> last/a", "> last/b"]);
		const live = await subscriber("-t", "last/#", "-R", "-C", "1", "-F", "> %r %p");
		await pub("-r", "-q", "1", "-t", "last/a", "-m", "a2");
		expect(await live.lines()).toEqual(["> 0 a2"]);
		const remover = await subscriber("-t", "last/a", "--remove-retained", "-F", "> %p");
		const retainedCount = () => sub("-t", "$SYS/broker/retained messages/count", "-C", "1", "-F", "%p");
		await expect.poll(retainedCount, { timeout: 60_000 }).toEqual(["1"]);
		remover.child.kill("SIGTERM");
		// What it has removed was last/a; its own empty message is no retained one.
		expect(await remover.lines()).toEqual(["> a2", "> "]);
		await pub("-r", "-n", "-q", "1", "-t", "last/b");
		const later = await subscriber("-t", "last/#", "-C", "1", "-F", "> %r %p");
		await pub("-q", "1", "-t", "last/d", "-m", "end");
		expect(await later.lines()).toEqual(["> 0 end"]);
	});

	it("retained messages outlive a kill -9 of the gateway", async () => {
		await pub("-r", "-q", "1", "-t", "lasting", "-m", "still here");
		await gateway.kill();
		gateway = await startGateway({ dataDirectory: folder, settings: { "mqtt.sys.interval.seconds": 1 } });
		expect(await sub("-t", "lasting", "-C", "1", "-F", "%r %p")).toEqual(["1 still here"]);
	});

	it("-D publish topic-alias sends the topic once", async () => {
		const listening = await subscriber("-t", "aliased", "-q", "1", "-C", "3", "-F", "> %t %p");
		await pub("-V", "5", "-q", "1", "-t", "aliased", "-m", "x", "--repeat", "3", "-D", "publish", "topic-alias", "4");
		expect(await listening.lines()).toEqual(["> aliased x", "> aliased x", "> aliased x"]);
	});

	it.each(["mqttv311", "mqttv5"])("$share gives each message to one of the group (%s)", async (version) => {
		const share = ["-V", version, "-t", `$share/workers/jobs/${version}/#`, "-q", "1", "-F", "> %p"];
		const workers = [await subscriber(...share), await subscriber(...share)];
		for (let i = 0; i < 20; i++) await pub("-q", "1", "-t", `jobs/${version}/${i}`, "-m", `job ${i}`);
		const done = (): string[] => workers.flatMap((worker) => worker.printed());
		await expect.poll(() => done().length, { timeout: 60_000 }).toBe(20);
		for (const { child } of workers) child.kill("SIGTERM");
		await Promise.all(workers.map((worker) => worker.lines()));
		expect(done().toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `> job ${i}`).toSorted());
	});

	it("$replay brings what was stored before, then what comes", async () => {
		for (const payload of ["one", "two"]) await pub("-q", "0", "-t", "history/x", "-m", payload);
		await pub("-q", "1", "-t", "history/x", "-m", "three");
		const listening = await subscriber("-t", "$replay/earliest/history/#", "-C", "4", "-F", "> %t %p");
		await pub("-q", "1", "-t", "history/x", "-m", "four");
		expect(await listening.lines()).toEqual(["one", "two", "three", "four"].map((each) => `> history/x ${each}`));
		expect(await sub("-t", "$replay/-1h/history/#", "-C", "4", "-F", "%p")).toEqual(["one", "two", "three", "four"]);
	});
});

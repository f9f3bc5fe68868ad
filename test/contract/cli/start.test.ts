import fs from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { startGateway, temporaryFolder, until } from "../../support/gateway.ts";
import { objects, runHeadwater, spawnHeadwater, talk } from "./session.ts";

const folder = temporaryFolder("start");
const dataDirectory = path.join(folder, "data");
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const FREE = ["mqtt", "native", "kafka", "http"].flatMap((door) => ["--set", `${door}.listen=127.0.0.1:0`]);

describe("start", () => {
	it("greets, takes its file, variables and --set, and ends well at Ctrl-C and SIGTERM", async () => {
		const file = path.join(folder, "headwater.yaml");
		fs.writeFileSync(
			file,
			"num.partitions: 2\nmqtt:\n  listen: 127.0.0.1:0\nnative: {listen: '127.0.0.1:0'}\nkafka.listen: 127.0.0.1:0\nhttp.listen: 127.0.0.1:0\n",
		);
		for (const signal of ["SIGINT", "SIGTERM"] as const) {
			const child = spawnHeadwater(["start", "--config", file, "--data", path.join(folder, "greets")], {
				HEADWATER_COMMIT_LINGER_MS: "1",
			});
			const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
			const [text, , nativePort] = await until(
				child,
				/Headwater \S+ is ready after \d+ ms\n {2}mqtt +127\.0\.0\.1:(\d+)\n {2}native +127\.0\.0\.1:(\d+)\n {2}kafka +127\.0\.0\.1:\d+\n {2}http +127\.0\.0\.1:\d+\n {2}data +\S+\n[\s\S]*Ctrl-C ends it/,
			);
			expect(text).toContain("mosquitto_pub -h 127.0.0.1 -p ");
			expect(text).toContain(`npx headwater consume telemetry --from earliest --connect 127.0.0.1:${nativePort}\n`);
			const made = await runHeadwater(["topic", "create", `t-${signal}`, "--connect", `127.0.0.1:${nativePort}`]);
			expect(made.stdout).toBe(`topic t-${signal} has 2 partitions\n`);
			child.kill(signal);
			expect(await closed).toBe(0);
		}
	});

	it("refuses a wrong configuration with every fault, a line each", async () => {
		const file = path.join(folder, "wrong.yaml");
		fs.writeFileSync(file, "mqtt:\n  lsten: 1\n");
		const outcome = await runHeadwater(["start", "--config", file, "--set", "num.partitions=0"]);
		expect(outcome.code).toBe(1);
		expect(outcome.stderr).toBe(
			`headwater: ${file}:2: mqtt.lsten: there is no such key; did you mean mqtt.listen?\n` +
				'headwater: --set num.partitions=0: num.partitions: "0" is too small; right would be a whole number from 1 to 10000\n',
		);
	});

	it("refuses routes that cannot be, before it touches the data directory", async () => {
		const data = path.join(folder, "untouched");
		const routes = 'routes=[{"filter":"a/{b}","topic":"t","key":"{c}"}]';
		const outcome = await runHeadwater(["start", "--data", data, "--set", routes]);
		expect(outcome.code).toBe(1);
		expect(outcome.stderr).toContain("{c} names no level of the filter");
		expect(fs.existsSync(data)).toBe(false);
	});

	it("says which key to change when a port is taken, and who has the data directory", async () => {
		const first = await startGateway({ dataDirectory });
		try {
			const port = await runHeadwater([
				"start",
				"--data",
				path.join(folder, "other"),
				"--set",
				`mqtt.listen=127.0.0.1:${first.mqttPort}`,
				"--set",
				"native.listen=127.0.0.1:0",
				"--set",
				"kafka.listen=127.0.0.1:0",
				"--set",
				"http.listen=127.0.0.1:0",
			]);
			expect(port.code).toBe(1);
			expect(port.stderr).toContain(`127.0.0.1:${first.mqttPort} (mqtt.listen) is in use`);
			expect(port.stderr).toContain("--set mqtt.listen=");
			const second = await runHeadwater(["start", "--data", dataDirectory, ...FREE]);
			expect(second.code).toBe(1);
			expect(second.stderr).toMatch(
				new RegExp(`^headwater: the data directory .* is in use by process ${first.process.pid}: [^\\n]*\\n$`),
			);
		} finally {
			await first.stop();
		}
	});
});

describe("without a gateway", () => {
	it("verify finds a sound directory sound and a damaged one damaged, and dump shows the place", async () => {
		const data = path.join(folder, "verified");
		const gateway = await startGateway({ dataDirectory: data });
		await talk(gateway, ["topic", "create", "v1", "--partitions", "1"]);
		await talk(gateway, ["produce", "v1", "--key", "k"], "one\ntwo\nthree\n");
		await gateway.stop();
		const sound = await runHeadwater(["verify", "--data", data, "--json"]);
		expect(sound.code).toBe(0);
		expect(objects(sound.stdout).at(-1)).toMatchObject({ level: "summary", damages: 0, records: 3, partitions: 1 });
		expect((await runHeadwater(["verify", "--data", data])).stdout).toContain("is sound: 0 damages");

		const segment = path.join(data, "topics", "v1-0", "00000000000000000000.log");
		const dumped = objects((await runHeadwater(["dump", segment, "--records", "--json"])).stdout);
		expect(dumped.filter(({ kind }) => kind === "record").map(({ value }) => value)).toEqual(["one", "two", "three"]);
		expect((await runHeadwater(["dump", segment])).stdout).toMatch(/^ +0 {2}batch +\S/);

		const bytes = fs.readFileSync(segment);
		bytes[70] = (bytes[70] as number) ^ 1;
		fs.writeFileSync(segment, bytes);
		const damaged = await runHeadwater(["verify", "--data", data, "--json"]);
		expect(damaged.code).toBe(1);
		expect(objects(damaged.stdout)).toContainEqual(
			expect.objectContaining({ level: "damage", file: segment, position: 0 }),
		);
	});

	it("what is not there is an error of one line", async () => {
		for (const list of [
			["verify", "--data", path.join(folder, "none")],
			["dump", path.join(folder, "none.log")],
			["dump", "/etc/hostname"],
		]) {
			const outcome = await runHeadwater(list);
			expect(outcome.code).toBe(1);
			expect(outcome.stderr).toMatch(/^headwater: [^\n]+\n$/);
		}
	});

	it("config show prints what config check takes", async () => {
		const file = path.join(folder, "shown.yaml");
		fs.writeFileSync(file, (await runHeadwater(["config", "show", "--set", "log.retention.ms=30d"])).stdout);
		const checked = await runHeadwater(["config", "check", "--config", file]);
		expect(checked).toMatchObject({ code: 0, stderr: "" });
		expect(objects((await runHeadwater(["config", "show", "--config", file, "--json"])).stdout)).toContainEqual(
			expect.objectContaining({ key: "log.retention.ms", value: 2_592_000_000 }),
		);
	});
});

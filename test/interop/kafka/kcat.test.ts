/** kcat, the command-line client of librdkafka: lists, writes with every compression, reads, joins a group, looks up offsets, commits transactions. */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { run } from "../../support/gateway.ts";
import { type KafkaBroker, startKafka } from "./broker.ts";

const { kcat } = inject("runtimes");
const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];

describe.skipIf(kcat === undefined)("kcat", () => {
	let broker: KafkaBroker;
	beforeAll(async () => {
		broker = await startKafka();
	});
	afterAll(() => broker.close());

	/** Its lines on stdout. `input` is what it produces, a record a line. */
	async function kcatWith(parameters: string, input = ""): Promise<string[]> {
		const command = `printf '%b' '${input}' | timeout 60 ${kcat} -b ${broker.bootstrap} ${parameters}`;
		const { code, stdout, stderr } = await run("sh", ["-c", command]);
		expect(code, stderr).toBe(0);
		return stdout.split("\n").slice(0, -1);
	}
	const lines = (name: string, count: number): string =>
		Array.from({ length: count }, (_, n) => `${name}-${n}\\n`).join("");

	it("lists the broker and its topics", async () => {
		await kcatWith("-P -t listed", "x\\n");
		const list = (await kcatWith("-L")).map((line) => line.trim());
		expect(list).toContain("1 brokers:");
		expect(list).toContain(`broker 1 at ${broker.bootstrap} (controller)`);
		expect(list.some((line) => /^topic "listed" with [1-9]\d* partitions:$/.test(line))).toBe(true);
		expect(list).toContain("partition 0, leader 1, replicas: 1, isrs: 1");
	});

	it("writes with every compression, idempotently, and reads all of it", async () => {
		for (const codec of CODECS) {
			const idempotent = codec === "zstd" ? "" : "-X enable.idempotence=true";
			await kcatWith(`-P -t codecs -p 0 -z ${codec} -k key -H codec=${codec} ${idempotent}`, lines(codec, 20));
		}
		const records = (await kcatWith("-C -t codecs -p 0 -o beginning -e -q -J")).map((line) => JSON.parse(line));
		expect(records.map(({ offset }) => offset)).toEqual([...Array(100).keys()]);
		expect(records.map(({ key, payload, headers }) => `${key} ${payload} ${headers}`)).toEqual(
			CODECS.flatMap((codec) => Array.from({ length: 20 }, (_, n) => `key ${codec}-${n} codec,${codec}`)),
		);
		// From the middle of a compressed batch, and so many.
		expect(await kcatWith("-C -t codecs -p 0 -o 45 -c 3 -q")).toEqual(["snappy-5", "snappy-6", "snappy-7"]);
		expect(await kcatWith("-C -t codecs -p 0 -o -2 -e -q")).toEqual(["zstd-18", "zstd-19"]);
		// By time: from the first of the third batch on.
		const from = records[40].ts;
		const sinceThen = await kcatWith(`-C -t codecs -p 0 -o s@${from} -e -q`);
		expect(sinceThen).toEqual(records.filter(({ ts }) => ts >= from).map(({ payload }) => payload));
		expect(await kcatWith("-Q -t codecs:0:-1")).toEqual(["codecs [0] offset 100"]);
		expect(await kcatWith("-Q -t codecs:0:-2")).toEqual(["codecs [0] offset 0"]);
		expect(await kcatWith(`-Q -t codecs:0:${from}`)).toEqual([
			`codecs [0] offset ${records.findIndex(({ ts }) => ts >= from)}`,
		]);
	});

	it("reads as a group and resumes where the group is", async () => {
		await kcatWith("-P -t grouped -p 0", lines("a", 10));
		const group = "-G readers grouped -e -q -X auto.offset.reset=earliest";
		expect(await kcatWith(group)).toEqual(Array.from({ length: 10 }, (_, n) => `a-${n}`));
		await kcatWith("-P -t grouped -p 0", lines("b", 3));
		expect(await kcatWith(group)).toEqual(["b-0", "b-1", "b-2"]);
	});

	it("writes in transactions, one for each of its runs", async () => {
		for (const name of ["first", "second"]) {
			await kcatWith("-P -t tx -p 0 -X transactional.id=kcat", lines(name, 3));
		}
		const written = ["first-0", "first-1", "first-2", "second-0", "second-1", "second-2"];
		for (const level of ["read_committed", "read_uncommitted"]) {
			expect(await kcatWith(`-C -t tx -p 0 -o beginning -e -q -X isolation.level=${level}`)).toEqual(written);
		}
		// Behind each transaction there is its marker.
		expect(await kcatWith("-Q -t tx:0:-1")).toEqual(["tx [0] offset 8"]);
	});
});

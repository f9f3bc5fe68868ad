/** Kafka's command-line programs administer a broker: topics, configs, groups, offsets, transactions, logs, and what a broker without an authorizer refuses. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { temporaryFolder } from "../../support/gateway.ts";
import { APACHE, type KafkaBroker, startKafka } from "./broker.ts";
import { openToolShell, type ToolShell } from "./tool-shell.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");

/** The lines of a table, its columns parted by one space, without blanks. */
const rows = (text: string): string[] =>
	text
		.split("\n")
		.map((line) => line.trim().replace(/\s+/g, " "))
		.filter((line) => line !== "");

describe.skipIf(!kafka)("Kafka's command-line programs", () => {
	const folder = temporaryFolder("tools");
	let broker: KafkaBroker;
	let shell: ToolShell;
	/** The name of a file with `content` for a program that wants one. */
	const file = (name: string, content: unknown): string => {
		const full = path.join(folder, name);
		fs.writeFileSync(full, JSON.stringify(content));
		return full;
	};
	/** What a program says that ends with an error. */
	const refusal = async (tool: string, parameters: string): Promise<string> => {
		const { code, stdout, stderr } = await shell.run(tool, parameters);
		expect({ code, stdout, stderr }).toMatchObject({ code: 1 });
		return `${stdout}\n${stderr}`;
	};
	const produce = (topic: string, keys: number, count: number): Promise<string> =>
		shell.out(
			"console-producer",
			`--topic ${topic} --reader-property parse.key=true --reader-property key.separator=:`,
			Array.from({ length: count }, (_, n) => `key${n % keys}:value ${n}\n`).join(""),
		);

	beforeAll(async () => {
		broker = await startKafka();
		shell = openToolShell(broker.bootstrap, kafkaClasses);
	});
	afterAll(async () => {
		await shell.close();
		await broker.close();
		fs.rmSync(folder, { recursive: true });
	});

	it("api-versions knows every API", async () => {
		const text = await shell.out("api-versions", "");
		expect(text).toMatch(/^127\.0\.0\.1:\d+ \(id: 1 rack: null isFenced: false\) -> \($/m);
		expect(text).toMatch(/Produce\(0\): 0 to \d+ \[usable: \d+\]/);
		expect(text).not.toMatch(/UNKNOWN/);
		// A whole ecosystem stands on these.
		for (const name of [
			"Fetch",
			"ListOffsets",
			"JoinGroup",
			"CreateTopics",
			"InitProducerId",
			"EndTxn",
			"DescribeConfigs",
		]) {
			expect(text).toMatch(new RegExp(`${name}\\(\\d+\\): .*usable`));
		}
	});

	it("cluster tells the cluster and its one node", async () => {
		expect(await shell.out("cluster", "cluster-id")).toMatch(/^Cluster ID: [\w-]{22}$/m);
		expect(rows(await shell.out("cluster", "list-endpoints")).at(-1)).toMatch(
			/^1 127\.0\.0\.1 \d+ null (unfenced|unknown) broker$/,
		);
	});

	it("topics creates, describes, grows, lists and deletes", async () => {
		expect(await shell.out("topics", "--create --topic t --partitions 3 --config retention.ms=3600000")).toBe(
			"Created topic t.\n",
		);
		expect(await refusal("topics", "--create --topic t")).toContain("TopicExistsException");
		await shell.out("topics", "--create --topic t --if-not-exists");
		expect(await refusal("topics", "--create --topic u --config no.such=1")).toContain("no.such");
		expect(await refusal("topics", "--create --topic u --config retention.ms=soon")).toContain("retention.ms");
		expect(await refusal("topics", "--create --topic u --replication-factor 2")).toContain("InvalidReplicationFactor");
		expect(await refusal("topics", "--create --topic a/b")).toContain("InvalidTopic");
		const [head, ...partitions] = rows(await shell.out("topics", "--describe --topic t"));
		expect(head).toMatch(
			/^Topic: t TopicId: [\w-]{22} PartitionCount: 3 ReplicationFactor: 1 Configs: .*retention\.ms=3600000/,
		);
		expect(partitions.map((line) => line.slice(0, line.indexOf(" Elr")))).toEqual(
			[0, 1, 2].map((n) => `Topic: t Partition: ${n} Leader: 1 Replicas: 1 Isr: 1`),
		);
		await shell.out("topics", "--alter --topic t --partitions 5");
		expect(rows(await shell.out("topics", "--describe --topic t"))).toHaveLength(6);
		expect(await refusal("topics", "--alter --topic t --partitions 2")).toContain("InvalidPartitionsException");
		await shell.out("topics", "--create --topic u");
		expect(rows(await shell.out("topics", "--list --exclude-internal"))).toEqual(["t", "u"]);
		expect(await shell.out("topics", "--describe --under-replicated-partitions")).toBe("");
		expect(await shell.out("topics", "--describe --unavailable-partitions")).toBe("");
		await shell.out("topics", "--delete --topic u");
		expect(await refusal("topics", "--delete --topic u")).toContain("does not exist");
		expect(rows(await shell.out("topics", "--list --exclude-internal"))).toEqual(["t"]);
	});

	it("configs describes and alters a topic", async () => {
		const all = rows(await shell.out("configs", "--describe --topic t --all"));
		const values = new Map(all.slice(1).map((line) => [line.split("=", 1)[0], line]));
		expect(values.get("cleanup.policy")).toBe(
			"cleanup.policy=delete sensitive=false synonyms={DEFAULT_CONFIG:log.cleanup.policy=delete}",
		);
		expect(values.get("max.message.bytes")).toBe(
			"max.message.bytes=1048588 sensitive=false synonyms={DEFAULT_CONFIG:message.max.bytes=1048588}",
		);
		expect(values.get("retention.ms")).toMatch(
			/^retention\.ms=3600000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=3600000.*\}$/,
		);
		expect(values.size).toBeGreaterThanOrEqual(25);
		await shell.out("configs", "--alter --topic t --add-config cleanup.policy=[compact,delete],max.message.bytes=2000");
		await shell.out("configs", "--alter --topic t --delete-config max.message.bytes");
		expect(await refusal("configs", "--alter --topic t --add-config retention.ms=abc")).toMatch(
			/InvalidConfigurationException: .*retention\.ms/,
		);
		expect(await refusal("configs", "--alter --topic t --add-config cleanup.policy=shred")).toMatch(
			/InvalidConfigurationException: .*cleanup\.policy/,
		);
		const changed = rows(await shell.out("configs", "--describe --topic t")).slice(1);
		expect(changed.map((line) => line.split(" ", 1)[0])).toEqual([
			"cleanup.policy=compact,delete",
			"retention.ms=3600000",
		]);
		await shell.out("configs", "--alter --topic t --delete-config cleanup.policy");
		expect(await refusal("configs", "--describe --topic nosuch --all")).toMatch(/nosuch/);
	});

	it("configs describes the broker", async () => {
		const text = await shell.out("configs", "--describe --broker 1 --all");
		expect(text).toMatch(/^ {2}node\.id=1 sensitive=false /m);
		expect(text).toMatch(/^ {2}auto\.create\.topics\.enable=true /m);
		expect(text).toMatch(/^ {2}message\.max\.bytes=1048588 /m);
		expect(rows(await shell.out("configs", "--describe --broker 1"))).toEqual(["Dynamic configs for broker 1 are:"]);
		expect(await refusal("configs", "--alter --broker 1 --add-config node.id=7")).toMatch(
			/InvalidRequest|InvalidConfig/,
		);
	});

	it("acls, users and tokens are refused as by a broker without an authorizer", async () => {
		expect(await refusal("acls", "--list")).toContain("SecurityDisabledException");
		expect(await refusal("acls", "--add --allow-principal User:bob --operation Read --topic t")).toContain(
			"SecurityDisabledException",
		);
		expect((await shell.run("configs", "--describe --entity-type users --entity-name nobody")).code).toBe(0);
	});

	it("console-producer and get-offsets know what was written", async () => {
		await produce("t", 5, 50);
		const ends = (await shell.out("get-offsets", "--topic t --time -1")).trim().split("\n");
		expect(ends.map((line) => line.replace(/:\d+$/, ""))).toEqual([0, 1, 2, 3, 4].map((n) => `t:${n}`));
		expect(ends.reduce((sum, line) => sum + Number(line.split(":")[2]), 0)).toBe(50);
		const zeros = [0, 1, 2, 3, 4].map((n) => `t:${n}:0`);
		expect(rows(await shell.out("get-offsets", "--topic t --time -2"))).toEqual(zeros);
		expect(rows(await shell.out("get-offsets", "--topic t --time -4"))).toEqual(zeros);
		expect(rows(await shell.out("get-offsets", "--topic t --time 1000"))).toEqual(
			ends.filter((line) => !line.endsWith(":0")).map((line) => line.replace(/\d+$/, "0")),
		);
		// Nothing is tiered.
		expect((await shell.out("get-offsets", "--topic t --time -5")).trim()).toBe("");
		await shell.out("topics", "--create --topic times --partitions 1");
		await shell.out("console-producer", "--topic times", "one\n");
		await shell.out("console-producer", "--topic times", "two\n");
		expect(await shell.out("get-offsets", "--topic times --time -3")).toBe("times:0:1\n");
	});

	it("consumer-groups describes, resets and deletes", async () => {
		await shell.out("console-consumer", "--topic t --group g --from-beginning --max-messages 50");
		expect(rows(await shell.out("consumer-groups", "--list"))).toContain("g");
		expect(rows(await shell.out("consumer-groups", "--list --state Empty"))).toContain("g Empty");
		expect(rows(await shell.out("consumer-groups", "--list --state Stable")).join()).not.toMatch(/\bg\b/);
		expect(rows(await shell.out("groups", "--list"))).toContain("g Classic consumer");
		expect(rows(await shell.out("consumer-groups", "--describe --group g --state")).at(-1)).toMatch(
			/^g 127\.0\.0\.1:\d+ \(1\) - Empty 0$/,
		);
		/** Committed offset, end and lag by partition. */
		const positions = async (): Promise<string[]> =>
			rows(await shell.out("consumer-groups", "--describe --group g"))
				.filter((line) => line.startsWith("g t "))
				.map((line) => line.split(" ").slice(2, 6).join(" "))
				.toSorted();
		const ends = rows(await shell.out("get-offsets", "--topic t")).map((line) => Number(line.split(":")[2]));
		expect(await positions()).toEqual(ends.map((end, n) => `${n} ${end} ${end} 0`));
		const reset = async (how: string, topics = "--topic t"): Promise<string[]> =>
			rows(await shell.out("consumer-groups", `--group g --reset-offsets ${how} ${topics} --execute`))
				.filter((line) => line.startsWith("g t "))
				.toSorted();
		const to = (offsets: readonly number[]): string[] => offsets.map((offset, n) => `g t ${n} ${offset}`);
		expect(await reset("--to-earliest")).toEqual(to([0, 0, 0, 0, 0]));
		expect(await positions()).toEqual(ends.map((end, n) => `${n} 0 ${end} ${end}`));
		expect(await reset("--shift-by 1")).toEqual(to(ends.map((end) => Math.min(1, end))));
		expect(await reset("--to-offset 2", "--topic t:0")).toEqual([`g t 0 ${Math.min(2, ends[0] ?? 0)}`]);
		expect(await reset("--to-latest", "--all-topics")).toEqual(to(ends));
		expect(await reset("--to-current", "--all-topics")).toEqual(to(ends));
		expect(await reset("--by-duration PT1H", "--all-topics")).toEqual(to([0, 0, 0, 0, 0]));
		expect(await reset("--to-datetime 2999-01-01T00:00:00.000", "--all-topics")).toEqual(to(ends));
		const plan = path.join(folder, "plan.csv");
		fs.writeFileSync(plan, "t,0,0\nt,1,0\n");
		expect(await reset(`--from-file ${plan}`, "")).toEqual(["g t 0 0", "g t 1 0"]);
		const dry = await shell.out("consumer-groups", "--group g --reset-offsets --to-earliest --topic t:2 --dry-run");
		expect(rows(dry).at(-1)).toBe("g t 2 0");
		expect((await positions())[2]).toBe(`2 ${ends[2]} ${ends[2]} 0`);
		expect(rows(await shell.out("consumer-groups", "--group g --delete-offsets --topic t:4")).at(-1)).toBe(
			"t 4 Successful",
		);
		expect((await positions()).map((line) => line.split(" ")[0])).toEqual(["0", "1", "2", "3"]);
		expect(await shell.out("consumer-groups", "--group g --delete")).toContain("('g') was successful");
		expect(await shell.out("consumer-groups", "--group g --delete")).toContain("GroupIdNotFoundException");
		expect(await shell.out("consumer-groups", "--describe --group g")).toMatch(
			// The newest DescribeGroups has an error for it, the ones before it the state Dead.
			/GroupIdNotFoundException|does not exist/,
		);
	});

	it("delete-records moves the start of a partition", async () => {
		await shell.out("topics", "--create --topic cut --partitions 1");
		await produce("cut", 1, 10);
		const request = (offset: number): object => ({ partitions: [{ topic: "cut", partition: 0, offset }], version: 1 });
		const cut = async (offset: number): Promise<string | undefined> =>
			rows(await shell.out("delete-records", `--offset-json-file ${file("cut.json", request(offset))}`)).at(-1);
		expect(await cut(4)).toBe("partition: cut-0 low_watermark: 4");
		expect(await shell.out("get-offsets", "--topic cut --time -2")).toBe("cut:0:4\n");
		expect(rows(await shell.out("console-consumer", "--topic cut --from-beginning --max-messages 6"))).toEqual(
			[4, 5, 6, 7, 8, 9].map((n) => `value ${n}`),
		);
		expect(await cut(11)).toContain("OffsetOutOfRangeException");
		expect(await cut(-1)).toBe("partition: cut-0 low_watermark: 10");
	});

	it("log-dirs tells the size of every partition", async () => {
		const text = await shell.out("log-dirs", "--describe --topic-list t,cut");
		const { brokers } = JSON.parse(text.split("\n").find((line) => line.startsWith("{")) ?? "");
		expect(brokers).toMatchObject([{ broker: 1, logDirs: [{ error: null }] }]);
		const partitions: { partition: string; size: number }[] = brokers[0].logDirs[0].partitions;
		expect(partitions.map(({ partition }) => partition).toSorted()).toEqual([
			"cut-0",
			"t-0",
			"t-1",
			"t-2",
			"t-3",
			"t-4",
		]);
		expect(partitions.reduce((sum, { size }) => sum + size, 0)).toBeGreaterThan(200);
	});

	it("transactions finds none where there is none", async () => {
		expect(rows(await shell.out("transactions", "find-hanging --broker-id 1"))).toHaveLength(1);
		expect(rows(await shell.out("transactions", "list"))).toHaveLength(1);
		expect(await refusal("transactions", "describe --transactional-id nosuch")).toContain("could not be found");
		const producers = rows(await shell.out("transactions", "describe-producers --topic times --partition 0"));
		expect(producers).toHaveLength(3);
		expect(producers.slice(1).every((line) => /^\d+ 0 -1 0 \d+ None$/.test(line))).toBe(true);
	});

	it("leader-election and reassign have nothing to do", async () => {
		expect(await shell.out("leader-election", "--election-type PREFERRED --topic t --partition 0")).toContain(
			"Valid replica already elected for partitions t-0",
		);
		await shell.out("leader-election", "--election-type UNCLEAN --all-topic-partitions");
		expect(await shell.out("reassign", "--list")).toBe("No partition reassignments found.\n");
		const stay = file("stay.json", {
			version: 1,
			partitions: [{ topic: "t", partition: 0, replicas: [1], log_dirs: ["any"] }],
		});
		expect(await shell.out("reassign", `--execute --reassignment-json-file ${stay}`)).toContain(
			"Successfully started partition reassignment for t-0",
		);
		expect(await shell.out("reassign", `--verify --reassignment-json-file ${stay}`)).toContain(
			"Reassignment of partition t-0 is completed.",
		);
		const away = file("away.json", { version: 1, partitions: [{ topic: "t", partition: 0, replicas: [2] }] });
		expect(await refusal("reassign", `--execute --reassignment-json-file ${away}`)).toContain("Unknown broker id 2");
	});

	it("features and metadata-quorum say that there is no KRaft here", async () => {
		const features = await shell.out("features", "describe");
		const quorum = await shell.run("metadata-quorum", "describe --status");
		if (APACHE) expect(features).toContain("metadata.version");
		else {
			expect(features).not.toContain("metadata.version");
			expect(`${quorum.code} ${quorum.stdout}${quorum.stderr}`).toMatch(/^1 .*UnsupportedVersionException/s);
		}
	});
});

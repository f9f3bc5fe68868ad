/** The central cluster of these tests: Apache Kafka's own brokers, as processes that can be killed, stopped and started again. */
import fs from "node:fs";
import { temporaryFolder } from "../../support/gateway.ts";
import { kitProgram } from "../kafka/broker.ts";
import { openToolShell, type ToolShell } from "../kafka/tool-shell.ts";

/** Small, and quick about what has timed out. */
const SETTINGS = {
	"offsets.topic.num.partitions": "1",
	"transaction.state.log.num.partitions": "3",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
	"transaction.remove.expired.transaction.cleanup.interval.ms": "1000",
	"log.segment.delete.delay.ms": "100",
};

export interface CentralOptions {
	readonly settings?: Readonly<Record<string, string>>;
	/** Further listeners, as kafka-up has them. */
	readonly listeners?: readonly string[];
	/** The first node of the cluster that this is a further one of, and its number. */
	readonly joins?: { readonly first: Central; readonly node: number };
}

/** A record as Kafka's consumer has it. */
export interface Seen {
	readonly topic: string;
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: string | null;
	readonly value: string | null;
	readonly headers: readonly (readonly [string, string])[];
}

export class Central {
	readonly folder: string;
	readonly #options: CentralOptions;
	#bootstrap = "";
	#pid = 0;

	private constructor(options: CentralOptions) {
		this.#options = options;
		this.folder = temporaryFolder("central");
	}

	static async start(options: CentralOptions = {}): Promise<Central> {
		const central = new Central(options);
		await central.up();
		return central;
	}

	/** Of the listener without login and TLS. */
	get bootstrap(): string {
		return this.#bootstrap;
	}

	/** Starts it, over the data that it left, on the same ports. */
	async up(): Promise<void> {
		const { settings, listeners = [], joins } = this.#options;
		const said = await kitProgram(
			"kafka-up",
			...["--port", this.#bootstrap.split(":")[1] ?? "0", "--dir", this.folder, "--heap", "384m"],
			...Object.entries({ ...SETTINGS, ...settings }).flatMap(([key, value]) => ["--set", `${key}=${value}`]),
			...listeners.flatMap((listener) => ["--listener", listener]),
			...(joins === undefined ? [] : ["--join", joins.first.folder, "--node", String(joins.node)]),
		);
		this.#bootstrap = /KAFKA_BOOTSTRAP=(\S+)/.exec(said)?.[1] ?? "";
		this.#pid = Number(/KAFKA_PID=(\d+)/.exec(said)?.[1]);
	}

	async kill(): Promise<void> {
		await kitProgram("kafka-down", "--kill9", "--dir", this.folder);
	}

	/** Hands its partitions over, and ends. */
	async down(): Promise<void> {
		await kitProgram("kafka-down", "--dir", this.folder);
	}

	/** Holds it as if its machine had lost power to think, for so long; its sockets stay. */
	freeze(): void {
		process.kill(this.#pid, "SIGSTOP");
	}

	thaw(): void {
		process.kill(this.#pid, "SIGCONT");
	}

	async close(): Promise<void> {
		await this.kill();
		fs.rmSync(this.folder, { recursive: true });
	}
}

/** Kafka's programs, as whoever looks after the central cluster uses them. */
export class Operator {
	readonly #shell: ToolShell;

	constructor(bootstrap: string, classes: string) {
		this.#shell = openToolShell(bootstrap, classes);
	}

	/** A tool, with its options split at spaces. */
	out(tool: string, parameters: string, stdin?: string): Promise<string> {
		return this.#shell.out(tool, parameters, stdin);
	}

	/** All that a consumer with read_committed gets, each partition in its order. */
	async read(...topics: readonly string[]): Promise<Seen[]> {
		return this.#readAt("read_committed", topics);
	}

	/** How many records there are of transactions that were aborted. */
	async countAborted(topic: string): Promise<number> {
		const all = await this.#readAt("read_uncommitted", [topic]);
		return all.length - (await this.read(topic)).length;
	}

	async #readAt(isolation: string, topics: readonly string[]): Promise<Seen[]> {
		const text = await this.out("ReadTopics", [isolation, ...topics].join(" "));
		return text
			.split("\n")
			.filter((line) => line.startsWith("{"))
			.map((line): Seen => JSON.parse(line));
	}

	async values(topic: string): Promise<(string | null)[]> {
		return (await this.read(topic)).map(({ value }) => value);
	}

	/** What Kafka's console consumer prints, partition by partition: `key|value`, a line each. */
	async console(topic: string, partitions: number): Promise<string[]> {
		const lines: string[] = [];
		for (let partition = 0; partition < partitions; partition++) {
			const text = await this.out(
				"console-consumer",
				`--topic ${topic} --partition ${partition} --offset earliest --timeout-ms 1500 --isolation-level read_committed ` +
					"--formatter-property print.key=true --formatter-property key.separator=|",
			);
			lines.push(...text.split("\n").filter((line) => line !== ""));
		}
		return lines;
	}

	close(): Promise<void> {
		return this.#shell.close();
	}
}

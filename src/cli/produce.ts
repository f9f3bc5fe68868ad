/** `headwater produce TOPIC`: records from lines of standard input, or one from --value. */
import type { Command } from "commander";
import type { Client } from "../native/client/client.ts";
import type { ProduceRecord, ProduceResult } from "../native/client/types.ts";
import { CommandError, UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { readLines } from "./input-lines.ts";
import { addExamples, collect, gatewayAddress, splitPair, wholeNumber } from "./options.ts";
import { formatCount } from "./quantities.ts";
import { parseJsonRecord } from "./record-text.ts";

export interface ProduceOptions {
	readonly value?: string;
	readonly key?: string;
	readonly keySeparator?: string;
	readonly header?: readonly string[];
	readonly partition?: number;
	readonly json?: boolean;
}

/** Records in one request; the client sends several requests without waiting. */
const REQUEST_RECORDS = 500;
const REQUEST_BYTES = 262_144;
/** Requests whose answer is not there yet, at most: memory stays flat however long the input is. */
const REQUESTS_WAITING = 16;

export function addProduce(program: Command): void {
	const command = program
		.command("produce <topic>")
		.description("store records: each line of standard input, or one --value; ends when all are durable")
		.option("-v, --value <text>", "one record with this value instead of standard input")
		.option("-k, --key <text>", "the key of every record; records with one key stay in order")
		.option("--key-separator <text>", "what parts a line into key and value, as in dev7:21.5 with :")
		.option("-H, --header <name=value>", "a header of every record; may be repeated", collect)
		.option(
			"-p, --partition <n>",
			"into this partition (default: by the key, as Kafka does)",
			wholeNumber("--partition", 0),
		)
		.option("--json", "lines are JSON objects, as consume --json prints them");
	addExamples(
		command,
		`headwater produce telemetry --key dev7 --value '{"t":21.5}'`,
		"printf 'dev7:21.5\\ndev8:19.0\\n' | headwater produce telemetry --key-separator :",
		"headwater consume telemetry --from earliest --until end --json | headwater produce copy --json",
	);
	command.action(async (topic: string, options: ProduceOptions) => {
		const toRecord = recordMaker(options);
		const stored = await withGateway(
			gatewayAddress(command),
			async (client) => {
				if (options.value !== undefined)
					return produceAll(client, topic, options.partition, oneRecord(options.value, toRecord));
				if (process.stdin.isTTY) process.stderr.write("one record a line; Ctrl-D ends\n");
				return produceAll(client, topic, options.partition, recordsOf(process.stdin, toRecord));
			},
			{ reconnect: true },
		);
		const [first] = stored.results;
		const where = stored.count === 1 && first ? `, partition ${first.partition}, offset ${first.offset}` : "";
		process.stderr.write(
			`${formatCount(stored.count)} ${stored.count === 1 ? "record" : "records"} stored in ${topic}${where}\n`,
		);
	});
}

type RecordMaker = (line: Buffer) => ProduceRecord;

/** From a line to its record, as the options say; throws UsageError for options that contradict each other. */
export function recordMaker(options: ProduceOptions): RecordMaker {
	const headers = (options.header ?? []).map((text) => splitPair("--header", text));
	if (options.key !== undefined && options.keySeparator !== undefined) {
		throw new UsageError("--key and --key-separator both give the key; take one of them");
	}
	if (options.keySeparator === "") throw new UsageError("--key-separator needs at least one character");
	if (options.json && options.keySeparator !== undefined) {
		throw new UsageError('--key-separator does not go with --json, whose lines hold "key" themselves');
	}
	if (options.value !== undefined && options.keySeparator !== undefined) {
		throw new UsageError("--key-separator is for lines of standard input; with --value give --key");
	}
	const withHeaders = headers.length === 0 ? {} : { headers };
	if (options.json) {
		return (line) => {
			const record = parseJsonRecord(line.toString("utf8"));
			return {
				...record,
				...(options.key === undefined ? {} : { key: options.key }),
				...(headers.length === 0 ? {} : { headers: [...(record.headers ?? []), ...headers] }),
			};
		};
	}
	const separator = options.keySeparator;
	if (separator === undefined) {
		const key = options.key === undefined ? {} : { key: options.key };
		return (line) => ({ ...key, value: line, ...withHeaders });
	}
	return (line) => {
		const at = line.indexOf(separator);
		if (at < 0) throw new Error(`has no ${JSON.stringify(separator)} between key and value`);
		return { key: line.subarray(0, at), value: line.subarray(at + Buffer.byteLength(separator)), ...withHeaders };
	};
}

async function* oneRecord(value: string, toRecord: RecordMaker): AsyncGenerator<ProduceRecord[]> {
	try {
		yield [toRecord(Buffer.from(value))];
	} catch (error) {
		throw new CommandError(`--value ${(error as Error).message}`);
	}
}

/** Records as the lines come; says which line is wrong, after the ones before it were handed over. */
export async function* recordsOf(
	source: AsyncIterable<Uint8Array>,
	toRecord: RecordMaker,
): AsyncGenerator<ProduceRecord[]> {
	let number = 0;
	for await (const lines of readLines(source)) {
		let batch: ProduceRecord[] = [];
		let batchBytes = 0;
		let wrong: CommandError | undefined;
		for (const line of lines) {
			number++;
			try {
				batch.push(toRecord(line));
			} catch (error) {
				wrong = new CommandError(`line ${number} ${(error as Error).message}`);
				break;
			}
			batchBytes += line.length;
			if (batch.length < REQUEST_RECORDS && batchBytes < REQUEST_BYTES) continue;
			yield batch;
			batch = [];
			batchBytes = 0;
		}
		if (batch.length > 0) yield batch;
		if (wrong !== undefined) throw wrong;
	}
}

/** Sends every batch; when one fails the error says how many records before it are stored for certain. */
async function produceAll(
	client: Client,
	topic: string,
	partition: number | undefined,
	batches: AsyncIterable<ProduceRecord[]>,
): Promise<{ count: number; results: readonly ProduceResult[] }> {
	const waiting: Promise<ProduceResult[]>[] = [];
	let count = 0;
	let last: readonly ProduceResult[] = [];
	const settleOldest = async () => {
		last = await (waiting.shift() as Promise<ProduceResult[]>);
		count += last.length;
	};
	try {
		for await (const batch of batches) {
			const answer = client.produce(topic, batch, partition === undefined ? {} : { partition });
			answer.catch(() => undefined); // looked at in its turn
			waiting.push(answer);
			if (waiting.length >= REQUESTS_WAITING) await settleOldest();
		}
		while (waiting.length > 0) await settleOldest();
	} catch (error) {
		for (const result of await Promise.allSettled(waiting))
			if (result.status === "fulfilled") count += result.value.length;
		if (count === 0) throw error;
		throw new CommandError(`${(error as Error).message}; ${formatCount(count)} records were stored in ${topic}`, {
			cause: error,
		});
	}
	return { count, results: last };
}

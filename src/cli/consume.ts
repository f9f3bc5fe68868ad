/** `headwater consume TOPIC`: prints records from a position on and follows live until Ctrl-C. */
import type { Command } from "commander";
import type { Client } from "../native/client/client.ts";
import type { SubscribeFrom } from "../native/client/types.ts";
import { UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress, wholeNumber } from "./options.ts";
import { bold, coloursOn, endWhenReaderIsGone, LineWriter } from "./output.ts";
import { parsePosition } from "./position.ts";
import { RecordColumns, toJsonRecord } from "./record-text.ts";

export interface ConsumeOptions {
	readonly from: string;
	readonly until?: string;
	readonly partition?: readonly number[];
	readonly max?: number;
	readonly json?: boolean;
}

export function addConsume(program: Command): void {
	const partitionNumber = wholeNumber("--partition", 0);
	const command = program
		.command("consume <topic>")
		.description("print records and follow live, until Ctrl-C")
		.option(
			"-f, --from <position>",
			"earliest, latest, an offset, a time (2026-05-01T12:00:00Z), or how long ago (-2h)",
			"latest",
		)
		.option("-u, --until <end>", "end: stop at what is stored now")
		.option(
			"-p, --partition <n>",
			"only this partition; may be repeated",
			(text: string, before: readonly number[] = []) => [...before, partitionNumber(text)],
		)
		.option("-n, --max <n>", "stop after so many records", wholeNumber("--max", 1))
		.option("--json", "one JSON object a line: topic, partition, offset, timestamp, key, value, headers");
	addExamples(
		command,
		"headwater consume telemetry --from earliest",
		"headwater consume telemetry --from -2h --until end --json | jq .value",
		"headwater consume telemetry --from 1000 --partition 2 --max 10",
	);
	command.action((topic: string, options: ConsumeOptions) => consume(topic, options, gatewayAddress(command)));
}

/** How often no record must have come for the gateway to be asked why, milliseconds. */
const SILENCE_MS = 10_000;

/** When nothing comes, it may be because of the object store, where the rest is: that is told, once. */
class Silence {
	readonly #timer: NodeJS.Timeout;
	#isQuiet = true;
	#told: string | undefined;

	constructor(client: Pick<Client, "status">) {
		this.#timer = setInterval(() => {
			if (!this.#isQuiet) this.#isQuiet = true;
			else void this.#ask(client);
		}, SILENCE_MS);
		this.#timer.unref();
	}

	ends(): void {
		this.#isQuiet = false;
	}

	stop(): void {
		clearInterval(this.#timer);
	}

	async #ask(client: Pick<Client, "status">): Promise<void> {
		// Who is not connected is told so by the client.
		const status = await client.status().catch(() => undefined);
		const message = status?.tier?.error?.message;
		if (message === undefined || message === this.#told) return;
		this.#told = message;
		process.stderr.write(`headwater: no record has come for a while; the object store's last problem: ${message}\n`);
	}
}

async function consume(topic: string, options: ConsumeOptions, address: string | undefined): Promise<void> {
	const from = parsePosition(options.from, Date.now());
	if (options.until !== undefined && options.until !== "end") {
		throw new UsageError(`--until ${JSON.stringify(options.until)}: only end is known; leave it out to follow live`);
	}
	endWhenReaderIsGone();
	const stopping = new AbortController();
	const stop = () => {
		if (stopping.signal.aborted) process.exit(130);
		stopping.abort();
	};
	process.on("SIGINT", stop);
	process.on("SIGTERM", stop);
	const writer = new LineWriter();
	const columns = new RecordColumns();
	const people = process.stdout.isTTY === true;
	try {
		await withGateway(
			address,
			async (client) => {
				if (people && !options.json)
					await writer.line(bold(columns.head().trimEnd(), coloursOn(process.stdout)).concat("\n"));
				const stream = client.subscribe(topic, {
					from: from satisfies SubscribeFrom,
					signal: stopping.signal,
					...(options.partition === undefined ? {} : { partitions: options.partition }),
					...(options.until === undefined ? {} : { until: "end" as const }),
					...(options.max === undefined ? {} : { credits: Math.min(options.max, 1024) }),
				});
				let left = options.max ?? Number.POSITIVE_INFINITY;
				const silence = new Silence(client);
				try {
					for await (const record of stream) {
						silence.ends();
						const line = options.json ? `${JSON.stringify(toJsonRecord(record))}\n` : columns.row(record);
						const slow = writer.line(line);
						if (slow !== undefined) await slow;
						if (--left === 0 || stopping.signal.aborted) break;
					}
				} finally {
					silence.stop();
				}
			},
			{ reconnect: true, signal: stopping.signal },
		);
	} catch (error) {
		// Ctrl-C is how following ends; what came before it is printed.
		if (!stopping.signal.aborted) throw error;
	} finally {
		await writer.end();
	}
}

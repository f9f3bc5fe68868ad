/** A consumer at the hub: sees what was committed there, as it comes, through the hub's native door, and never asks the gateway. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, connect, HeadwaterError } from "../../src/native/client/client.ts";
import type { Ledger } from "../ledger.ts";
import { Verifier } from "../verifier.ts";

const RETRY_MS = 100;
const CREDITS = 4096;

export class HubFollower {
	readonly #stop = new AbortController();
	readonly #verifier: Verifier;
	readonly #over: Promise<void>;
	/** What ended it before its time. */
	failure: Error | undefined;

	constructor(port: number, topic: string, ledger: Ledger) {
		// A transaction's marker takes an offset.
		this.#verifier = new Verifier(ledger, {}, true);
		this.#over = this.#follow(port, topic).catch((error: unknown) => {
			if (!this.#stop.signal.aborted) this.failure = error instanceof Error ? error : new Error(String(error));
		});
	}

	/** Records seen so far. */
	get received(): number {
		return this.#verifier.recordsRead;
	}

	/** Events that a sensor was told are stored, and that were not seen here yet. */
	missing(): number {
		return this.#verifier.verdict().lost;
	}

	async stop(): Promise<void> {
		this.#stop.abort();
		await this.#over;
	}

	async #follow(port: number, topic: string): Promise<void> {
		const { signal } = this.#stop;
		await using client: Client = await connect({ port, signal });
		while (!signal.aborted) {
			try {
				const records = client.subscribe(topic, { from: "earliest", credits: CREDITS, signal });
				for await (const record of records) this.#verifier.take(record);
			} catch (error) {
				// The first event that comes up makes the topic.
				if (!(error instanceof HeadwaterError) || error.code !== "UNKNOWN_TOPIC_OR_PARTITION") throw error;
				await sleep(RETRY_MS, undefined, { signal });
			}
		}
	}
}

/** How the verifier gets at what is stored: through the native client, as any program would. */
import { connect, HeadwaterError } from "../src/native/client/client.ts";
import type { StoredRecord } from "./verifier.ts";

/** Offsets by partition. */
export type Position = Readonly<Record<number, number>>;

export interface ReadBack {
	/** The end of each partition now; empty when there is nothing yet. */
	end(): Promise<Position>;
	/** Everything stored from `position` to the present end; from the beginning when it is empty. */
	read(position: Position): AsyncIterable<StoredRecord>;
}

export class NativeReadBack implements ReadBack {
	readonly #host: string;
	readonly #port: number;
	readonly #topic: string;

	constructor(host: string, port: number, topic: string) {
		this.#host = host;
		this.#port = port;
		this.#topic = topic;
	}

	async end(): Promise<Position> {
		await using client = await connect({ host: this.#host, port: this.#port });
		try {
			const ends = await client.offsets(this.#topic, "latest");
			return Object.fromEntries(ends.map(({ partition, offset }) => [partition, offset]));
		} catch (error) {
			// The first event makes the topic.
			if (isUnknownTopic(error)) return {};
			throw error;
		}
	}

	async *read(position: Position): AsyncGenerator<StoredRecord> {
		await using client = await connect({ host: this.#host, port: this.#port });
		const from = Object.keys(position).length === 0 ? "earliest" : position;
		try {
			yield* client.subscribe(this.#topic, { from, until: "end", credits: 8192 });
		} catch (error) {
			// Never made: nothing is stored.
			if (!isUnknownTopic(error)) throw error;
		}
	}
}

function isUnknownTopic(error: unknown): boolean {
	return error instanceof HeadwaterError && error.code === "UNKNOWN_TOPIC_OR_PARTITION";
}

/** A load through the native client: numbered records, a few requests in flight, over every restart of the gateway. */
import type { Client } from "../../src/native/client/client.ts";
import { TOPIC } from "./read-back.ts";

const IN_FLIGHT = 4;

export class NativeProducer {
	readonly clientId: string;
	/** Numbers of the records acknowledged. */
	readonly acked = new Set<number>();
	sent = 0;
	readonly #client: Client;
	readonly #loops: Promise<void>[] = [];
	#running = true;

	constructor(client: Client, clientId: string) {
		this.#client = client;
		this.clientId = clientId;
	}

	start(): void {
		for (let i = 0; i < IN_FLIGHT; i++) {
			const loop = this.#loop();
			// `drain` is where its error comes out.
			loop.catch(() => {});
			this.#loops.push(loop);
		}
	}

	/** Sends nothing new any more; resolves when all that was sent is acknowledged. Rejects when a produce failed. */
	async drain(): Promise<void> {
		this.#running = false;
		await Promise.all(this.#loops);
	}

	async close(): Promise<void> {
		this.#running = false;
		await this.#client.close();
		await Promise.allSettled(this.#loops);
	}

	async #loop(): Promise<void> {
		while (this.#running) {
			const numbers = [++this.sent, ++this.sent];
			const records = numbers.map((number) => ({ key: this.clientId, value: `${this.clientId}:${number}` }));
			await this.#client.produce(TOPIC, records);
			for (const number of numbers) this.acked.add(number);
		}
	}
}

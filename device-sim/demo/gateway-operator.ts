/** Who looks after the gateway in the demo, through its native door: asks for its memory, and has it upload; not put off by its being down. */
import { type Client, connect } from "../../src/native/client/client.ts";

const TIMEOUT_MS = 1000;

export class GatewayOperator {
	readonly #port: number;
	#client: Promise<Client> | undefined;
	#asking: Promise<void> | undefined;
	#uploading: Promise<void> | undefined;
	#closed = false;
	/** undefined: not known yet. */
	residentBytes: number | undefined;

	constructor(port: number) {
		this.#port = port;
	}

	/** Asks for its memory, unless an answer is still awaited. */
	look(): void {
		if (this.#closed) return;
		this.#asking ??= this.#with(async (client) => {
			this.residentBytes = (await client.status()).memory.residentBytes;
		})
			.catch(() => {
				// It is down, or was just now: the next time will tell.
			})
			.finally(() => {
				this.#asking = undefined;
			});
	}

	/** As `headwater tier run`: rejects where the gateway does not get it done. One that is asked for already serves again. */
	upload(): Promise<void> {
		this.#uploading ??= this.#with((client) => client.tier.run()).finally(() => {
			this.#uploading = undefined;
		});
		return this.#uploading;
	}

	/** When what was asked for is over, however it ended. */
	async settled(): Promise<void> {
		await Promise.allSettled([this.#asking, this.#uploading]);
	}

	async close(): Promise<void> {
		this.#closed = true;
		const client = await this.#client?.catch(() => undefined);
		await client?.close();
	}

	async #with(use: (client: Client) => Promise<void>): Promise<void> {
		this.#client ??= connect({ port: this.#port, timeoutMs: TIMEOUT_MS, reconnect: false });
		const client = this.#client;
		try {
			await use(await client);
		} catch (error) {
			if (this.#client === client) this.#client = undefined;
			throw error;
		}
	}
}

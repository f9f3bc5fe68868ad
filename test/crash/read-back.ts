/**
 * Reads a topic as it grows and checks it against what its senders know: offsets dense, what was read stays, each
 * sender's records in order, none twice that must be there once, none missing that was acknowledged.
 */
import type { Client } from "../../src/native/client/client.ts";

export interface Sender {
	readonly clientId: string;
	/** Numbers acknowledged so far. */
	readonly acked: ReadonlySet<number>;
	/** The highest number sent. */
	readonly sent: number;
	/** 1: at least once. */
	readonly qos?: 1 | 2;
}

interface Progress {
	readonly sender: Sender;
	/** Every number up to it is stored. */
	upTo: number;
	partition: number | undefined;
}

/** Where the default routes take what the MQTT publishers send. */
export const TOPIC = "telemetry";

export class ReadBack {
	records = 0;
	/** By sender. */
	readonly #progress = new Map<string, Progress>();
	/** By partition: where to read on. */
	readonly #next = new Map<number, number>();

	constructor(senders: readonly Sender[]) {
		for (const sender of senders) this.#progress.set(sender.clientId, { sender, upTo: 0, partition: undefined });
	}

	/** Reads what came since the last time, all of it, and checks. Throws an Error that says what is wrong. */
	async goOn(client: Client): Promise<void> {
		// Taken before anything is read: what is acknowledged after it may be stored after it.
		const acked = [...this.#progress.values()].map((progress) => ({ progress, most: largest(progress.sender.acked) }));
		const offsets = await client.offsets(TOPIC, "latest");
		for (const { partition, offset: end } of offsets) {
			let next = this.#next.get(partition) ?? 0;
			if (end < next) throw new Error(`partition ${partition} ends at ${end}; records up to ${next} were read before`);
			while (next < end) {
				const { records } = await client.fetch(TOPIC, partition, next);
				if (records.length === 0)
					throw new Error(`partition ${partition}: nothing to read at ${next}, it ends at ${end}`);
				for (const record of records) {
					if (record.offset !== next) throw new Error(`partition ${partition}: offset ${record.offset}, not ${next}`);
					this.#check(partition, record.offset, Buffer.from(record.value ?? []).toString());
					next++;
				}
			}
			this.#next.set(partition, next);
		}
		for (const { progress, most } of acked) {
			if (most > progress.upTo) {
				const { clientId } = progress.sender;
				throw new Error(`${clientId}: ${most} was acknowledged, and it is stored up to ${progress.upTo} only`);
			}
		}
	}

	/** When nothing is in flight any more: all that was sent is stored. */
	finish(): void {
		for (const { sender, upTo } of this.#progress.values()) {
			if (upTo !== sender.sent) throw new Error(`${sender.clientId} sent ${sender.sent} and ${upTo} are stored`);
		}
	}

	#check(partition: number, offset: number, value: string): void {
		this.records++;
		const where = `partition ${partition}, offset ${offset}: ${value}`;
		const [clientId = "", text] = value.split(":");
		const progress = this.#progress.get(clientId);
		const number = Number(text);
		if (progress === undefined || !Number.isSafeInteger(number)) throw new Error(`${where} was never sent`);
		progress.partition ??= partition;
		if (progress.partition !== partition)
			throw new Error(`${where}: this key belongs to partition ${progress.partition}`);
		if (number > progress.sender.sent) throw new Error(`${where} was never sent`);
		if (number === progress.upTo + 1) progress.upTo = number;
		else if (number > progress.upTo) throw new Error(`${where} comes after ${progress.upTo}: some are missing between`);
		else if (progress.sender.qos !== 1) throw new Error(`${where} is there twice`);
	}
}

function largest(numbers: ReadonlySet<number>): number {
	let most = 0;
	for (const number of numbers) if (number > most) most = number;
	return most;
}

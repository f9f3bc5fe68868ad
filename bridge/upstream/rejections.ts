/**
 * What becomes of records that the central cluster does not take: they are put into quarantine here, with the reason, and the
 * rest flows on. Where it is not said which record of a batch is meant, fewer and fewer are sent at a time until one is left.
 */

import type { Destinations } from "./destinations.ts";
import { lowestOf } from "./position.ts";
import type { Rejection } from "./session.ts";
import type { Quarantine } from "./shipment/quarantine.ts";
import type { Flow, Source, Sources } from "./sources.ts";

/** Of a batch before compression: a record that is longer goes alone. */
const BATCH_BYTES_MIN = 1024;

type Held = Parameters<Quarantine["hold"]>[0][number];

export class Rejections {
	readonly #sources: Sources;
	readonly #quarantine: Quarantine;
	readonly #refused: Destinations["refused"];

	/** `refused` is told about topics that cannot be written to at all. */
	constructor(sources: Sources, quarantine: Quarantine, refused: Destinations["refused"]) {
		this.#sources = sources;
		this.#quarantine = quarantine;
		this.#refused = refused;
	}

	/** Decides about each. Records in quarantine are there durably when it resolves. Rejects with BrokerError where they cannot be stored. */
	async settle(rejections: readonly Rejection[]): Promise<void> {
		const held: Held[] = [];
		for (const rejection of rejections) this.#decide(rejection, held);
		if (held.length === 0) return;
		await this.#quarantine.hold(held);
		for (const { partition, offset } of held) {
			const source = this.#sources.of(partition);
			if (source === undefined) continue;
			this.excludedOf(source).add(offset);
			source.flow.counters.quarantined += 1;
		}
	}

	/** Offsets that are not to be sent: what was put into quarantine before a start stays there. */
	excludedOf(source: Source): Set<number> {
		source.excluded ??= new Set(this.#quarantine.offsetsOf(source.partition));
		return source.excluded;
	}

	#decide({ batch, error, recordErrors }: Rejection, held: Held[]): void {
		const reason = error.message;
		const named = recordErrors.filter(({ index }) => index >= 0 && index < batch.count);
		if (error.errorClass === "record" && named.length > 0) {
			for (const { index, message } of named) held.push({ ...batch.sourceOf(index), reason: message ?? reason });
			return;
		}
		if (batch.count === 1 && (error.errorClass === "record" || error.errorClass === "size")) {
			held.push({ ...batch.sourceOf(0), reason });
			return;
		}
		// Several topics here may go to one there: it is not known whose record it is.
		for (const flow of this.#flowsIn(batch)) {
			if (error.errorClass === "record") this.#halve(flow, batch.count);
			else if (error.errorClass !== "size") this.#refused(flow, error);
			else {
				flow.batchBytesMax = Math.max(BATCH_BYTES_MIN, Math.min(flow.batchBytesMax, batch.rawBytes) / 2);
				if (flow.batchBytesMax === BATCH_BYTES_MIN) this.#halve(flow, batch.count);
			}
		}
	}

	#flowsIn({ count, sourceOf }: Rejection["batch"]): Set<Flow> {
		const flows = new Set<Flow>();
		for (let i = 0; i < count; i++) {
			const flow = this.#sources.of(sourceOf(i).partition)?.flow;
			if (flow !== undefined) flows.add(flow);
		}
		return flows;
	}

	#halve(flow: Flow, count: number): void {
		flow.recordsMax = Math.max(1, Math.floor(Math.min(flow.recordsMax, count) / 2));
	}

	/** The source has come further: what lies behind it need not be remembered. */
	passed(source: Source): void {
		const { excluded } = source;
		if (excluded === undefined || excluded.size === 0) return;
		const before = lowestOf(source.position);
		for (const offset of excluded) if (offset < before) excluded.delete(offset);
		this.#quarantine.forget(source.partition, before);
	}
}

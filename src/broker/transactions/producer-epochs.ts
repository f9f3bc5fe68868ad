/**
 * Which epoch a transactional producer gets when it begins anew, so that every earlier instance is fenced: Kafka's rules,
 * with what a producer may say it has (KIP-360).
 */
import { BrokerError } from "../../base/errors.ts";
import type { TransactionRow } from "./transaction-row.ts";

/** No producer gets a higher one; the one above only ends the transaction of a producer that has this. */
const EPOCH_MAX = 0x7fff - 1;

/** A producer id and its epoch. */
export interface ProducerIdentity {
	readonly producerId: number;
	readonly producerEpoch: number;
}

export interface NextEpoch {
	/** With a new producer id; else with the one it has. */
	readonly newProducerId: boolean;
	readonly producerEpoch: number;
	readonly lastProducerEpoch: number;
}

/** `has`: what the producer says it has. Throws PRODUCER_FENCED. */
export function nextEpoch(row: TransactionRow | undefined, has: ProducerIdentity | undefined): NextEpoch {
	if (row === undefined) return { newProducerId: true, producerEpoch: 0, lastProducerEpoch: -1 };
	const { producerEpoch, lastProducerEpoch } = row;
	if (has !== undefined && has.producerId !== row.producerId) {
		const ranOut = has.producerId === row.lastProducerId && has.producerEpoch >= EPOCH_MAX;
		if (!ranOut) throw fenced(row, has);
	}
	if (has === undefined || has.producerEpoch === producerEpoch) {
		const last = has === undefined ? -1 : producerEpoch;
		return producerEpoch >= EPOCH_MAX
			? { newProducerId: true, producerEpoch: 0, lastProducerEpoch: last }
			: { newProducerId: false, producerEpoch: producerEpoch + 1, lastProducerEpoch: last };
	}
	// Its answer was lost, or its transaction timed out. Where the new epoch has a transaction, this is somebody else.
	if (has.producerEpoch === lastProducerEpoch && row.state !== "Ongoing")
		return { newProducerId: false, producerEpoch, lastProducerEpoch };
	throw fenced(row, has);
}

/** The producer's identity is not the newest of its transactional id. */
export function fenced(row: TransactionRow, { producerId, producerEpoch }: ProducerIdentity): BrokerError {
	return new BrokerError(
		"PRODUCER_FENCED",
		`producer ${producerId} with epoch ${producerEpoch}: the newest is ${row.producerId} with epoch ${row.producerEpoch}`,
	);
}

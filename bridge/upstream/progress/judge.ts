/**
 * Whether replication may go on from what the central cluster, the progress topic and this gateway say: who owns the name,
 * and where each partition goes on. What does not fit together is never guessed at: it is said, with the command that resolves it.
 */
import type { DirectoryIdentity } from "../../../src/broker/directory-identity.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import type { Partition } from "../../../src/log/partition.ts";
import type { PositionRow, SessionRow } from "../local-rows.ts";
import { lowestOf, type Position, positionAt, trim } from "../position.ts";
import type { Owner, Sent } from "./progress-record.ts";

/** Replication, or that of one topic, waits for a person. */
export class Halt extends Error {
	override readonly name = "Halt";
	readonly action: string;

	constructor(message: string, action: string) {
		super(message);
		this.action = action;
	}
}

const RESET = "headwater upstream reset";

/** Throws Halt where it is another cluster than before. */
export function judgeCluster(clusterId: string | undefined, row: SessionRow): void {
	if (row.clusterId === undefined || clusterId === undefined || row.clusterId === clusterId) return;
	throw new Halt(
		`the central cluster is ${clusterId}, and this gateway has replicated to ${row.clusterId}`,
		`if the change is meant: ${RESET} --to local goes on where it was, --to earliest sends all that is stored here`,
	);
}

/** Throws Halt where this data directory has replicated under another name. */
export function judgeName(gatewayId: string, row: SessionRow): void {
	if (row.gatewayId === undefined || row.gatewayId === gatewayId) return;
	throw new Halt(
		`this data directory has replicated as gateway ${row.gatewayId}, and gateway.id is ${gatewayId} now`,
		`put gateway.id back; or, if the change is meant: ${RESET} --to local goes on where it was, --to earliest sends all that is stored here`,
	);
}

/**
 * Throws Halt where somebody else has replicated under this gateway's name since this data directory did. `isWhole`: the whole
 * progress was read, not only what came since this gateway last noted it.
 */
export function judgeOwner(
	{ owner, isWhole }: { readonly owner: Owner | undefined; readonly isWhole: boolean },
	mine: DirectoryIdentity & { readonly gatewayId: string },
	row: SessionRow,
): void {
	const { gatewayId, id, incarnation } = mine;
	if (owner === undefined) {
		if (row.confirmed === undefined || !isWhole) return;
		throw new Halt(
			`the central cluster has lost the progress of gateway ${gatewayId}: its progress topic was deleted, or made anew`,
			`${RESET} --to local goes on where this gateway knows it was; the last seconds before may arrive twice`,
		);
	}
	if (owner.identity === id) {
		if (isKnown(owner, row)) return;
		throw new Halt(
			`a copy of this data directory has replicated as gateway ${gatewayId}: a copied card, or a backup that was put back`,
			`give each gateway a gateway.id of its own, or stop the other one and here: ${RESET} --to progress`,
		);
	}
	if (incarnation > owner.incarnation)
		throw new Halt(
			`this data directory was restored from an object store (incarnation ${incarnation}); gateway ${gatewayId} has replicated before, as incarnation ${owner.incarnation}`,
			`make sure that the old one is off, then: ${RESET} --to progress`,
		);
	throw new Halt(
		`another data directory has replicated as gateway ${gatewayId}: this one is new, or two gateways have the same gateway.id`,
		`if it replaces the other: ${RESET} --to earliest sends all that is stored here; else set another gateway.id`,
	);
}

/** Whether it is a run of this data directory that this data directory remembers. */
export function isKnown({ session }: Owner, { confirmed, attempted }: SessionRow): boolean {
	return session === confirmed || session === attempted;
}

/** A topic of the central cluster. */
export interface TargetTopic {
	readonly name: string;
	readonly id: string;
}

/** What is known of a partition: by the progress topic, and by this gateway's own note, which may be older. */
export interface KnownOf {
	readonly sent: Sent | undefined;
	readonly row: PositionRow | undefined;
	/** As for `judgeOwner`: else what `sent` does not say is as `row` has it. */
	readonly isWhole: boolean;
}

/** Where a partition goes on; undefined: it has not begun. Throws Halt for its topic where that cannot be. */
export function judgePosition(
	partition: Partition,
	topicId: string,
	{ sent, row, isWhole }: KnownOf,
	target: TargetTopic,
): Position | undefined {
	const name = `${partition.topic}-${partition.number}`;
	const again = `--topic ${partition.topic}`;
	// A topic made anew under the old name has other records: it has not begun.
	const known = sent?.topicId === topicId ? sent : undefined;
	const was = known ?? row?.sent;
	if (was === undefined) return row?.position;
	if (known === undefined && isWhole)
		throw new Halt(
			`the central cluster has lost the progress of ${name}`,
			`${RESET} ${again} --to local goes on where this gateway knows it was`,
		);
	const position = (known?.position ?? row?.position) as Position;
	const { to, toId } = was;
	if (to === target.name && isAnotherTopic(toId, target.id))
		throw new Halt(
			`topic ${to} of the central cluster was deleted and made anew: what was sent before is gone there`,
			`${RESET} ${again} --to progress sends what follows, --to earliest all that is stored here`,
		);
	const end = known === undefined ? partition.lastStableOffset : endOfEpoch(partition, known.epoch);
	if (position.next > end)
		throw new Halt(
			`the central cluster has ${name} up to ${position.next}, and this log ends at ${end}: it was replaced, or cut`,
			`${RESET} ${again} --to progress sends what is new here`,
		);
	// What retention took since was never sent, and the row is without it.
	const first = lowestOf(trim(position, partition.logStartOffset).position);
	if (row !== undefined && row.sent?.toId === toId && first < lowestOf(row.position))
		throw new Halt(
			`the central cluster knows of ${name} up to ${first} only, and had it up to ${lowestOf(row.position)}: it has lost records, or was put back to an earlier state`,
			`${RESET} ${again} --to progress sends again what it lost`,
		);
	return position;
}

/** Clusters before Kafka 2.8 have no ids of topics; nor has a topic that could not be looked up. */
export function isAnotherTopic(idBefore: string, id: string): boolean {
	const isKnown = (each: string): boolean => each !== "" && each !== ZERO_UUID;
	return isKnown(idBefore) && isKnown(id) && idBefore !== id;
}

/** Where the records of that leader epoch, and those before, end here. */
function endOfEpoch({ epochs, logStartOffset, lastStableOffset }: Partition, epoch: number): number {
	return epochs.endOf(epoch, logStartOffset, lastStableOffset)?.endOffset ?? 0;
}

/** Where a reset to the cluster's own progress goes on: behind what this log and the cluster both have. */
export function resumeAt(partition: Partition, topicId: string, sent: Sent | undefined): Position | undefined {
	if (sent?.topicId !== topicId) return undefined;
	const end = endOfEpoch(partition, sent.epoch);
	if (sent.position.next <= end) return sent.position;
	const gaps = sent.position.gaps
		.filter(({ from }) => from < end)
		.map(({ from, to }) => ({ from, to: Math.min(to, end) }));
	return gaps.length === 0 ? positionAt(end) : { next: end, gaps };
}

/**
 * What the gateway itself remembers of its replication, in its journal: how far each partition was sent when it last noted it,
 * for retention and for a cluster that keeps no progress, and which run of which gateway it has been. With exactly-once the
 * progress topic is the truth; these rows may be some seconds older, so that the flash is not written for each transaction.
 */
import type { Log } from "../../src/log/log.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import { type Position, positionText, readPosition } from "./position.ts";

export interface PositionRow {
	readonly position: Position;
	/** Whether anything of the partition has been sent; the name and the id of the topic that it was sent to. */
	readonly sent: { readonly to: string; readonly toId: string } | undefined;
}

export interface SessionRow {
	/** The cluster's own id. */
	readonly clusterId?: string;
	/** Id of the progress topic, this gateway's partition of it, and the offset from which on there may be progress that `PositionRow`s do not have. */
	readonly progress?: { readonly topicId: string; readonly partition: number; readonly offset: number };
	/** The name that it replicated under. */
	readonly gatewayId?: string;
	/** The run that the progress topic is known to name as the owner. */
	readonly confirmed?: string;
	/** The one that has since been written there, or was about to be. */
	readonly attempted?: string;
	readonly paused?: boolean;
	/** Partitions with a higher id were made after replication began: they are due from their start. */
	readonly highestPartition?: number;
}

const SESSION = "session";

export class LocalRows {
	readonly #log: Log;
	#session: SessionRow;
	/** Of the progress topic: what was sent up to there is in no row yet. */
	#progress: SessionRow["progress"];

	constructor(log: Log) {
		this.#log = log;
		this.#session = readJson(log.getState(StateSpace.UPSTREAM, SESSION)) ?? {};
	}

	get session(): SessionRow {
		return this.#session;
	}

	/** Durable with the commit being gathered. Throws KAFKA_STORAGE_ERROR. */
	change(changes: { readonly [K in keyof SessionRow]: SessionRow[K] | undefined }): void {
		const row = Object.fromEntries(
			Object.entries({ ...this.#session, ...changes }).filter(([, value]) => value !== undefined),
		) as SessionRow;
		this.#log.putState(StateSpace.UPSTREAM, SESSION, Buffer.from(JSON.stringify(row)));
		this.#session = row;
	}

	/** As `change`, and waits until it is durable. */
	async changeNow(changes: Parameters<LocalRows["change"]>[0]): Promise<void> {
		this.change(changes);
		await this.#log.whenCommitted();
	}

	/** Progress has been written at `offset`: the next `save` says so. */
	noteProgress(progress: NonNullable<SessionRow["progress"]>): void {
		this.#progress = progress;
	}

	/**
	 * Writes where these partitions are, and then how much of the progress topic that stands for; unless there is some that
	 * is in no row (`isAll` false). Durable with the commit being gathered. Throws KAFKA_STORAGE_ERROR.
	 */
	save(positions: Iterable<readonly [topicId: string, partition: number, row: PositionRow]>, isAll: boolean): void {
		for (const row of positions) this.setPosition(...row);
		const progress = this.#progress;
		if (progress === undefined || !isAll) return;
		this.change({ progress });
		this.#progress = undefined;
	}

	position(topicId: string, partition: number): PositionRow | undefined {
		const row = readJson<{ to?: string; toId?: string }>(
			this.#log.getState(StateSpace.UPSTREAM, positionKey(topicId, partition)),
		);
		const position = readPosition(row);
		if (position === undefined) return undefined;
		const { to, toId } = row as { to?: string; toId?: string };
		return { position, sent: to === undefined || toId === undefined ? undefined : { to, toId } };
	}

	/** Durable with the commit being gathered. Throws KAFKA_STORAGE_ERROR. */
	setPosition(topicId: string, partition: number, { position, sent }: PositionRow): void {
		const row = JSON.stringify({ ...positionText(position), ...sent });
		this.#log.putState(StateSpace.UPSTREAM, positionKey(topicId, partition), Buffer.from(row));
	}

	/** Of a topic that was deleted. */
	forget(topicId: string): void {
		for (const [key] of [...this.#log.scanState(StateSpace.UPSTREAM, `p\0${topicId}\0`)])
			this.#log.deleteState(StateSpace.UPSTREAM, key);
	}
}

function positionKey(topicId: string, partition: number): string {
	return `p\0${topicId}\0${partition}`;
}

/** Written by this program alone. */
function readJson<T>(row: Uint8Array | undefined): T | undefined {
	return row === undefined ? undefined : (JSON.parse(Buffer.from(row).toString("utf8")) as T);
}

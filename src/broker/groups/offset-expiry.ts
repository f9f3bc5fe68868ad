/**
 * Lets go of offsets that nobody has needed for the retention time, and of groups that have none left. Walks over all groups, a
 * few at a time, so that no commit is held up; at once when a topic was deleted.
 *
 * An offset is kept from the time on when its group became empty; in a group that consumes, only those of topics that it
 * does not consume expire; that of a consumer which assigns partitions itself, from when it was committed.
 */
import type { Clock, Timer } from "../../base/clock.ts";
import { BrokerError } from "../../base/errors.ts";
import type { Log } from "../../log/log.ts";
import { type AgeWalk, RowAges } from "../row-ages.ts";
import type { Topics } from "../topics.ts";
import type { Group } from "./group.ts";
import type { GroupOffsets, OffsetFate } from "./group-offsets.ts";
import type { GroupRow, GroupRows } from "./group-rows.ts";
import type { CommittedOffset } from "./offset-rows.ts";

export interface ExpiryServices {
	readonly log: Log;
	readonly topics: Topics;
	readonly clock: Clock;
	readonly rows: GroupRows;
	readonly offsets: GroupOffsets;
	readonly options: { readonly offsetsRetentionMs: number; readonly offsetsRetentionCheckMs: number };
}

/** Groups looked at before the event loop has its turn. */
const GROUPS_AT_ONCE = 64;
const OFFSETS_AT_ONCE = 2000;
const PAUSE_MS = 10;
/** Topics are often deleted several at a time. */
const AFTER_DELETION_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

export class OffsetExpiry {
	readonly #services: ExpiryServices;
	readonly #inMemory: (group: string) => Group | undefined;
	#timer: Timer | undefined;
	readonly #ages: RowAges;
	/** A walk goes on behind this group; undefined: none is under way. */
	#walking: { readonly walk: AgeWalk; readonly after: string | undefined } | undefined;
	/** Another walk must follow. */
	#again = false;
	#stopped = false;

	constructor(services: ExpiryServices, inMemory: (group: string) => Group | undefined) {
		this.#services = services;
		this.#inMemory = inMemory;
		this.#ages = new RowAges(services.clock);
		services.topics.onDeleted(() => this.#topicDeleted());
		this.#schedule(services.options.offsetsRetentionCheckMs);
	}

	stop(): void {
		this.#stopped = true;
		this.#timer?.cancel();
	}

	#topicDeleted(): void {
		if (this.#walking !== undefined) this.#again = true;
		else this.#schedule(AFTER_DELETION_MS);
	}

	#schedule(delayMs: number): void {
		if (this.#stopped) return;
		this.#timer?.cancel();
		this.#timer = this.#services.clock.after(delayMs, () => this.#walk());
	}

	#walk(): void {
		const { log, rows, options } = this.#services;
		if (this.#stopped || log.failed !== undefined) return;
		const { walk, after } = this.#walking ?? { walk: this.#ages.begin(), after: undefined };
		try {
			const page = log.refusal === undefined ? rows.page(after, GROUPS_AT_ONCE) : [];
			let last: string | undefined;
			let looked = 0;
			for (const { group, row } of page) {
				looked += this.#look(group, row, walk);
				last = group;
				if (looked > OFFSETS_AT_ONCE) break;
			}
			this.#walking = last === undefined ? undefined : { walk, after: last };
			if (last === undefined && log.refusal === undefined) walk.finished();
		} catch (error) {
			// The disk has become full.
			if (!(error instanceof BrokerError)) throw error;
			this.#walking = undefined;
		}
		if (this.#walking !== undefined) {
			this.#schedule(PAUSE_MS);
		} else {
			this.#schedule(this.#again ? AFTER_DELETION_MS : options.offsetsRetentionCheckMs);
			this.#again = false;
		}
	}

	/** Returns how many offsets it looked at. */
	#look(group: string, row: GroupRow, walk: AgeWalk): number {
		const { rows, offsets } = this.#services;
		const { now } = walk;
		const inMemory = this.#inMemory(group);
		if (needsTime(row, inMemory, walk)) {
			// Its members went with the process, or left before the clock was set.
			rows.put(group, { ...row, emptySinceMs: now });
			// What a client said itself, for how long an offset is to be kept, counts from its commit.
			return offsets.review(group, now, (_topic, { committedMs, expiresMs }) =>
				expiresMs !== undefined && walk.fateOf(committedMs, NEVER) === "restamp" ? "restamp" : "keep",
			);
		}
		const looked = offsets.review(group, now, this.#fateOf(row, inMemory, walk));
		if (inMemory === undefined && this.#isOver(row, walk) && !offsets.hasAny(group)) rows.delete(group);
		return looked;
	}

	/** Members that come back, after a restart of the gateway say, find a generation that has not gone back. */
	#isOver({ protocolType, emptySinceMs }: GroupRow, walk: AgeWalk): boolean {
		if (protocolType === "") return true;
		const sinceMs = emptySinceMs ?? walk.now;
		return walk.fateOf(sinceMs, sinceMs + this.#services.options.offsetsRetentionMs) === "expire";
	}

	#fateOf(
		row: GroupRow,
		group: Group | undefined,
		walk: AgeWalk,
	): (topic: string, committed: CommittedOffset) => OffsetFate {
		const { offsetsRetentionMs } = this.#services.options;
		const fateSince = (sinceMs: number, { expiresMs }: CommittedOffset): OffsetFate => {
			const fate = walk.fateOf(sinceMs, expiresMs ?? sinceMs + offsetsRetentionMs);
			return fate === "expire" ? "delete" : fate;
		};
		const state = group?.now.state ?? "Empty";
		if (state === "Empty") {
			const { protocolType, emptySinceMs } = row;
			return (_topic, offset) =>
				fateSince(protocolType === "" ? offset.committedMs : (emptySinceMs ?? walk.now), offset);
		}
		const topics = group?.now.topics;
		if (state !== "Stable" || topics === undefined) return () => "keep";
		return (topic, offset) => (topics.has(topic) ? "keep" : fateSince(offset.committedMs, offset));
	}
}

/** Whether the time since which it is empty is not known, or means nothing any more. */
function needsTime({ protocolType, emptySinceMs }: GroupRow, inMemory: Group | undefined, walk: AgeWalk): boolean {
	if (protocolType === "") return false;
	if (emptySinceMs === undefined) return inMemory === undefined;
	const isEmpty = inMemory === undefined || inMemory.now.state === "Empty";
	return isEmpty && walk.fateOf(emptySinceMs, NEVER) === "restamp";
}

/**
 * The coordinator of all consumer groups. Groups with members are in memory: members do not outlive the process, they
 * join again. What does, and every group without members, are rows (group-rows.ts, group-offsets.ts).
 */
import type { Clock } from "../../base/clock.ts";
import { BrokerError, type ErrorCode } from "../../base/errors.ts";
import type { Random } from "../../base/random.ts";
import { newUuid } from "../../catalog/catalog.ts";
import type { Log } from "../../log/log.ts";
import type { Topics } from "../topics.ts";
import { Group } from "./group.ts";
import { GroupOffsets } from "./group-offsets.ts";
import { type GroupRow, GroupRows } from "./group-rows.ts";
import { MemberBudget, metadataOf } from "./member.ts";
import {
	type JoinAnswer,
	type JoinRequest,
	type LeavingMember,
	type MemberClaim,
	NO_BYTES,
	refusedJoin,
	refusedSync,
	type SyncAnswer,
	type SyncRequest,
} from "./messages.ts";
import { OffsetExpiry } from "./offset-expiry.ts";
import type { GroupState } from "./rebalance.ts";

export interface GroupsOptions {
	/** `group.min.session.timeout.ms`. */
	readonly minSessionTimeoutMs: number;
	/** `group.max.session.timeout.ms`. */
	readonly maxSessionTimeoutMs: number;
	/** `group.initial.rebalance.delay.ms`. */
	readonly initialRebalanceDelayMs: number;
	/** `group.max.size`: members of one group. */
	readonly maxSize: number;
	/** `offsets.retention.minutes`, as milliseconds. */
	readonly offsetsRetentionMs: number;
	/** `offsets.retention.check.interval.ms`. */
	readonly offsetsRetentionCheckMs: number;
	/** `offset.metadata.max.bytes`: characters, as in Kafka. */
	readonly maxMetadataBytes: number;
	/** What the members of all groups may take in memory. */
	readonly maxMembersBytes: number;
}

export const DEFAULT_GROUPS_OPTIONS: GroupsOptions = {
	minSessionTimeoutMs: 6000,
	maxSessionTimeoutMs: 1_800_000,
	initialRebalanceDelayMs: 3000,
	maxSize: 1000,
	offsetsRetentionMs: 10_080 * 60_000,
	offsetsRetentionCheckMs: 600_000,
	maxMetadataBytes: 4096,
	maxMembersBytes: 16 * 1024 * 1024,
};

export interface GroupsSeams {
	readonly log: Log;
	readonly topics: Topics;
	readonly clock: Clock;
	readonly random: Random;
}

export interface ListedGroup {
	readonly group: string;
	/** "": none. */
	readonly protocolType: string;
	readonly state: GroupState;
}

export interface DescribedGroup extends ListedGroup {
	/** "" unless stable. */
	readonly protocolName: string;
	readonly members: readonly {
		readonly memberId: string;
		readonly instanceId: string | null;
		readonly clientId: string;
		readonly clientHost: string;
		/** Empty unless the group is stable. */
		readonly metadata: Buffer;
		readonly assignment: Buffer;
	}[];
}

interface OffsetToCommit {
	readonly topic: string;
	readonly partition: number;
	readonly metadata: string | null;
}

const LIST_PAGE = 1000;
/** What the engine needs for a group that is in memory. */
const GROUP_BYTES = 2048;

export class Groups {
	readonly offsets: GroupOffsets;
	readonly #log: Log;
	readonly #topics: Topics;
	readonly #clock: Clock;
	readonly #random: Random;
	readonly #options: GroupsOptions;
	readonly #rows: GroupRows;
	readonly #budget: MemberBudget;
	/** Those with members, or pending ones. */
	readonly #groups = new Map<string, Group>();
	readonly #expiry: OffsetExpiry;
	#stopped = false;

	constructor({ log, topics, clock, random }: GroupsSeams, options: GroupsOptions) {
		this.#log = log;
		this.#topics = topics;
		this.#clock = clock;
		this.#random = random;
		this.#options = options;
		this.#rows = new GroupRows(log);
		this.offsets = new GroupOffsets(log, topics, this.#rows);
		this.#budget = new MemberBudget(options.maxMembersBytes);
		const services = { log, topics, clock, rows: this.#rows, offsets: this.offsets, options };
		this.#expiry = new OffsetExpiry(services, (group) => this.#groups.get(group));
	}

	/** Refuses all that wait; nothing happens by itself any more. */
	stop(): void {
		this.#stopped = true;
		this.#expiry.stop();
		for (const group of this.#groups.values()) group.stop();
		this.#groups.clear();
	}

	join(request: JoinRequest): Promise<JoinAnswer> {
		const { group: id, memberId, sessionTimeoutMs } = request;
		const { minSessionTimeoutMs, maxSessionTimeoutMs } = this.#options;
		const refused = (error: ErrorCode) => Promise.resolve(refusedJoin(memberId, error));
		if (this.#stopped) return refused("COORDINATOR_NOT_AVAILABLE");
		if (id === "") return refused("INVALID_GROUP_ID");
		if (sessionTimeoutMs < minSessionTimeoutMs || sessionTimeoutMs > maxSessionTimeoutMs)
			return refused("INVALID_SESSION_TIMEOUT");
		const existing = this.#groups.get(id);
		const row = existing === undefined ? this.#rows.get(id) : undefined;
		if (memberId !== "" && existing === undefined && row === undefined) return refused("UNKNOWN_MEMBER_ID");
		return new Promise((resolve) => (existing ?? this.#make(id, row)).join(request, resolve));
	}

	sync(request: SyncRequest): Promise<SyncAnswer> {
		if (this.#stopped) return Promise.resolve(refusedSync("COORDINATOR_NOT_AVAILABLE"));
		if (request.group === "") return Promise.resolve(refusedSync("INVALID_GROUP_ID"));
		const group = this.#groups.get(request.group);
		if (group === undefined) return Promise.resolve(refusedSync("UNKNOWN_MEMBER_ID"));
		return new Promise((resolve) => group.sync(request, resolve));
	}

	heartbeat({ group: id, memberId, instanceId, generation }: MemberClaim): ErrorCode | undefined {
		if (this.#stopped) return "COORDINATOR_NOT_AVAILABLE";
		if (id === "") return "INVALID_GROUP_ID";
		const group = this.#groups.get(id);
		return group === undefined ? "UNKNOWN_MEMBER_ID" : group.heartbeat(memberId, instanceId, generation);
	}

	/** The error of each. Throws INVALID_GROUP_ID, COORDINATOR_NOT_AVAILABLE. */
	leave(id: string, leaving: readonly LeavingMember[]): (ErrorCode | undefined)[] {
		if (this.#stopped) throw new BrokerError("COORDINATOR_NOT_AVAILABLE", "the gateway is stopping");
		if (id === "") throw new BrokerError("INVALID_GROUP_ID", "a group's id cannot be empty");
		const group = this.#groups.get(id);
		return group?.leave(leaving) ?? leaving.map(() => "UNKNOWN_MEMBER_ID");
	}

	/**
	 * Whether OffsetCommit may be taken; the member's session begins anew. Then: `checkOffset` for each entry, and
	 * `offsets.commit` with those that are right. Throws UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
	 * REBALANCE_IN_PROGRESS.
	 */
	checkCommit(claim: MemberClaim): void {
		const error = this.#commitError(claim, false);
		if (error !== undefined) throw new BrokerError(error, `offsets of group ${claim.group} are refused`);
		this.#groups.get(claim.group)?.touch(claim.memberId);
	}

	/**
	 * Whether TxnOffsetCommit may be taken. Then: `checkOffset` for each entry, and `offsets.pending` with those that are
	 * right. Throws INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
	 */
	checkTransactionalCommit(claim: MemberClaim): void {
		if (claim.group === "") throw new BrokerError("INVALID_GROUP_ID", "a group's id cannot be empty");
		const error = this.#commitError(claim, true);
		if (error !== undefined) throw new BrokerError(error, `offsets of group ${claim.group} are refused`);
	}

	/** What is wrong with an offset that is to be committed. */
	checkOffset({ topic, partition, metadata }: OffsetToCommit): BrokerError | undefined {
		if (this.#topics.get(topic)?.partitions[partition] === undefined)
			return new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no partition ${partition} of ${topic}`);
		const most = this.#options.maxMetadataBytes;
		if (metadata !== null && metadata.length > most)
			return new BrokerError("OFFSET_METADATA_TOO_LARGE", `more than ${most} characters of metadata`);
		return undefined;
	}

	/** All groups, those with members first. */
	list(): ListedGroup[] {
		const listed: ListedGroup[] = [];
		for (const [group, { now }] of this.#groups)
			listed.push({ group, protocolType: now.protocolType ?? "", state: now.state });
		for (let after: string | undefined; ; ) {
			const page = this.#rows.page(after, LIST_PAGE);
			if (page.length === 0) return listed;
			after = page.at(-1)?.group;
			for (const { group, row } of page)
				if (!this.#groups.has(group)) listed.push({ group, protocolType: row.protocolType, state: "Empty" });
		}
	}

	/** undefined: there is no such group. */
	describe(group: string): DescribedGroup | undefined {
		const now = this.#groups.get(group)?.now;
		if (now === undefined) {
			const row = this.#rows.get(group);
			if (row === undefined) return undefined;
			return { group, protocolType: row.protocolType, state: "Empty", protocolName: "", members: [] };
		}
		const { state, protocolType = "", protocolName = "" } = now;
		const stable = state === "Stable";
		return {
			group,
			state,
			protocolType,
			protocolName: stable ? protocolName : "",
			members: [...now.members].map((member) => ({
				memberId: member.id,
				instanceId: member.instanceId,
				clientId: member.clientId,
				clientHost: member.clientHost,
				metadata: stable ? metadataOf(member, protocolName) : NO_BYTES,
				assignment: member.assignment,
			})),
		};
	}

	/** With its offsets; durable with the commits being gathered. Throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND. */
	delete(id: string): void {
		this.#needEmpty(id);
		this.#groups.get(id)?.stop();
		this.#drop(id);
		this.offsets.deleteAll(id);
		this.#rows.delete(id);
	}

	/**
	 * Whether the group's offsets of a topic may be deleted, one answer for each: GROUP_SUBSCRIBED_TO_TOPIC where it consumes it.
	 * Throws INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
	 */
	checkOffsetDelete(id: string, topics: readonly string[]): (ErrorCode | undefined)[] {
		if (id === "") throw new BrokerError("INVALID_GROUP_ID", "a group's id cannot be empty");
		const now = this.#groups.get(id)?.now;
		if (now === undefined || now.state === "Empty") {
			this.#needEmpty(id);
			return topics.map(() => undefined);
		}
		if (now.protocolType !== "consumer") this.#needEmpty(id);
		return topics.map((topic) => (now.topics?.has(topic) === false ? undefined : "GROUP_SUBSCRIBED_TO_TOPIC"));
	}

	#needEmpty(id: string): void {
		const group = this.#groups.get(id);
		if (group === undefined && this.#rows.get(id) === undefined)
			throw new BrokerError("GROUP_ID_NOT_FOUND", `there is no group ${id}`);
		if (group !== undefined && group.now.state !== "Empty")
			throw new BrokerError("NON_EMPTY_GROUP", `group ${id} has members`);
	}

	/** In Kafka's order. */
	#commitError(
		{ group: id, generation, memberId, instanceId }: MemberClaim,
		transactional: boolean,
	): ErrorCode | undefined {
		const group = this.#groups.get(id);
		if (group === undefined && this.#rows.get(id) === undefined)
			return generation < 0 ? undefined : "ILLEGAL_GENERATION";
		const state = group?.now.state ?? "Empty";
		// No member: an administrator, or a consumer that assigns partitions itself.
		if (generation < 0 && state === "Empty") return undefined;
		if (generation >= 0 || memberId !== "" || instanceId !== null) {
			const error = group === undefined ? "UNKNOWN_MEMBER_ID" : group.checkMember(memberId, instanceId);
			if (error !== undefined) return error;
			if (generation !== group?.now.generation) return "ILLEGAL_GENERATION";
		} else if (!transactional) {
			return "UNKNOWN_MEMBER_ID";
		}
		return !transactional && state === "CompletingRebalance" ? "REBALANCE_IN_PROGRESS" : undefined;
	}

	#make(id: string, row: GroupRow | undefined): Group {
		const { initialRebalanceDelayMs, maxSize } = this.#options;
		const group = new Group(id, row, {
			clock: this.#clock,
			budget: this.#budget,
			initialRebalanceDelayMs,
			maxSize,
			newUuid: () => newUuid(this.#random),
			save: (name, saved) => this.#save(name, saved),
			whenSaved: (answer) => this.#whenSaved(answer),
			unused: (name) => {
				if (this.#groups.get(name) === group) this.#drop(name);
			},
		});
		this.#groups.set(id, group);
		this.#budget.bytes += heldBytes(id);
		return group;
	}

	/** From memory. */
	#drop(id: string): void {
		if (this.#groups.delete(id)) this.#budget.bytes -= heldBytes(id);
	}

	/** A full disk does not keep members from consuming what is stored. */
	#save(group: string, row: GroupRow): void {
		try {
			this.#rows.put(group, row);
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
		}
	}

	#whenSaved(answer: () => void): void {
		if (this.#log.idle || this.#log.refusal !== undefined || this.#log.failed !== undefined) answer();
		else this.#log.onCommit({ committed: answer, failed: answer });
	}
}

/** What a group takes in memory beside its members. */
function heldBytes(id: string): number {
	return GROUP_BYTES + 4 * id.length;
}

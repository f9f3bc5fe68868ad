/**
 * The state machine of a group with members, as Kafka's classic protocol has it. A rebalance is a join phase, in which
 * every member that is to be in the next generation asks to join, and a sync phase, in which the leader tells who gets
 * what. Members wait for each other in both; no wait is longer than the time-outs that they gave.
 *
 *   Empty -> PreparingRebalance -> CompletingRebalance -> Stable
 *                 ^  |                     |                 |
 *                 |  '-> Empty             |                 |
 *                 '------------------------'-----------------'
 */
import type { Clock } from "../../base/clock.ts";
import type { ErrorCode } from "../../base/errors.ts";
import { Deadline } from "./deadline.ts";
import type { GroupRow } from "./group-rows.ts";
import { copyOf, type Member, type MemberBudget, metadataOf } from "./member.ts";
import { Members } from "./members.ts";
import { type JoinAnswer, NO_BYTES, refusedSync, type SyncAnswer, type SyncRequest } from "./messages.ts";
import { PendingMembers } from "./pending-members.ts";
import { subscribedTopics } from "./subscription.ts";

export type GroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable";

export interface RebalanceServices {
	readonly clock: Clock;
	readonly budget: MemberBudget;
	readonly initialRebalanceDelayMs: number;
	/** Stores what outlives the members. */
	save(group: string, row: GroupRow): void;
	/** Calls `answer` when what was saved is durable. */
	whenSaved(answer: () => void): void;
	/** Neither a member nor a pending one is left: the group need not be in memory. */
	unused(group: string): void;
}

/** Where nobody has joined who could lead, it is tried again so much later at least. */
const RETRY_MS = 1000;

export class Rebalance {
	readonly id: string;
	readonly members: Members;
	readonly pending: PendingMembers;
	state: GroupState = "Empty";
	generation: number;
	/** undefined: it never had members. */
	protocolType: string | undefined;
	protocolName: string | undefined;
	/** What the members of the generation consume; undefined: unknown. */
	topics: ReadonlySet<string> | undefined;
	readonly #services: RebalanceServices;
	/** Members of the generation that have not asked for their assignment. */
	readonly #unsynced = new Set<string>();
	readonly #joinPhase: Deadline;
	readonly #syncPhase: Deadline;
	/** Of the first join phase after the group was empty, which is put off while members come: milliseconds. */
	#delay: { readonly currentMs: number; readonly remainingMs: number } | undefined;
	#memberAdded = false;

	constructor(id: string, row: GroupRow | undefined, services: RebalanceServices) {
		this.id = id;
		this.#services = services;
		this.members = new Members(services.budget);
		this.pending = new PendingMembers(services.clock, services.budget, () => this.pendingChanged());
		this.generation = row?.generation ?? 0;
		this.protocolType = row === undefined || row.protocolType === "" ? undefined : row.protocolType;
		this.#joinPhase = new Deadline(services.clock, () => this.#joinPhaseOver());
		this.#syncPhase = new Deadline(services.clock, () => this.#syncPhaseOver());
	}

	add(member: Member): void {
		if (this.members.size === 0) this.protocolType = member.protocolType;
		if (this.#delay !== undefined) this.#memberAdded = true;
		this.members.add(member);
	}

	/** What it waits for is refused. `changed` must follow. */
	remove(member: Member): void {
		this.#unsynced.delete(member.id);
		this.members.remove(member);
	}

	/** `member` takes the place of `old`, with its assignment. */
	replace(old: Member, member: Member): void {
		this.members.replace(old, member);
		this.members.setAssignment(member, old.assignment);
		if (this.#unsynced.delete(old.id)) this.#unsynced.add(member.id);
	}

	/** Members have come, gone or want another generation: a rebalance begins, or the one under way may be complete. */
	changed(): void {
		if (this.state === "PreparingRebalance") this.#completeIfAllJoined();
		else if (this.members.size > 0 || this.state !== "Empty") this.#prepare();
	}

	/** A pending member has gone: the join phase need not wait for it. */
	pendingChanged(): void {
		if (this.state === "PreparingRebalance") this.#completeIfAllJoined();
		this.releaseIfUnused();
	}

	/** The member has asked for its assignment. */
	synced(memberId: string): void {
		this.#unsynced.delete(memberId);
		if (this.#unsynced.size === 0) this.#syncPhase.cancel();
	}

	/** The leader has divided: everybody gets the part that it was given, or none. */
	assign({ assignments }: SyncRequest): void {
		let bytes = 0;
		for (const { assignment } of assignments) bytes += assignment.length;
		if (!this.#services.budget.hasRoom(bytes)) {
			this.#dropAssignments("UNKNOWN_SERVER_ERROR");
			this.#prepare();
			return;
		}
		const given = new Map(assignments.map(({ memberId, assignment }) => [memberId, assignment]));
		for (const member of this.members) this.members.setAssignment(member, copyOf(given.get(member.id) ?? NO_BYTES));
		this.state = "Stable";
		this.#answerSyncing((member) => this.assignmentOf(member));
	}

	assignmentOf({ assignment }: Member): SyncAnswer {
		const { protocolType = null, protocolName = null } = this;
		return { error: undefined, protocolType, protocolName, assignment };
	}

	/** What a member of the generation is told when it has joined. */
	joinedAnswer(member: Member): JoinAnswer {
		const { generation, protocolType = null, protocolName = null } = this;
		const memberId = member.id;
		const leader = this.members.leaderId ?? "";
		const members = leader === memberId ? this.membersForLeader() : [];
		return {
			error: undefined,
			memberId,
			generation,
			protocolType,
			protocolName,
			leader,
			members,
			skipAssignment: false,
		};
	}

	membersForLeader(): JoinAnswer["members"] {
		return [...this.members].map((member) => ({
			memberId: member.id,
			instanceId: member.instanceId,
			metadata: metadataOf(member, this.protocolName),
		}));
	}

	releaseIfUnused(): void {
		if (this.state === "Empty" && this.members.size === 0 && this.pending.size === 0) this.#services.unused(this.id);
	}

	/** Nothing happens by itself any more. */
	stop(): void {
		this.#joinPhase.cancel();
		this.#syncPhase.cancel();
		this.pending.clear();
		for (const member of [...this.members]) this.members.remove(member, "COORDINATOR_NOT_AVAILABLE");
	}

	#prepare(): void {
		if (this.state === "CompletingRebalance") this.#dropAssignments("REBALANCE_IN_PROGRESS");
		this.#syncPhase.cancel();
		const wasEmpty = this.state === "Empty";
		this.state = "PreparingRebalance";
		const timeoutMs = this.members.rebalanceTimeoutMs;
		if (wasEmpty) {
			// Others will come soon: a rebalance for each would be too many.
			const currentMs = this.#services.initialRebalanceDelayMs;
			this.#delay = { currentMs, remainingMs: Math.max(timeoutMs - currentMs, 0) };
			this.#memberAdded = false;
			this.#joinPhase.set(currentMs);
		} else {
			this.#joinPhase.set(timeoutMs);
			this.#completeIfAllJoined();
		}
	}

	#completeIfAllJoined(): void {
		if (this.#delay !== undefined || this.pending.size > 0) return;
		if (this.members.joining === this.members.size) this.#completeJoin();
	}

	#joinPhaseOver(): void {
		if (this.#delay === undefined || !this.#memberAdded || this.#delay.remainingMs === 0) {
			this.#completeJoin();
			return;
		}
		this.#memberAdded = false;
		const { currentMs, remainingMs } = this.#delay;
		const nextMs = Math.min(this.#services.initialRebalanceDelayMs, remainingMs);
		this.#delay = { currentMs: nextMs, remainingMs: Math.max(remainingMs - currentMs, 0) };
		this.#joinPhase.set(nextMs);
	}

	/** Begins the next generation with those that have joined; static members that have not are kept. */
	#completeJoin(): void {
		this.#delay = undefined;
		this.#joinPhase.cancel();
		for (const member of [...this.members])
			if (member.joining === undefined && member.instanceId === null) this.remove(member);
		if (this.members.size > 0 && !this.members.electJoining()) {
			// Nobody could lead. Either one of them comes, or their sessions end.
			this.#joinPhase.set(Math.max(this.members.rebalanceTimeoutMs, RETRY_MS));
			return;
		}
		this.generation++;
		this.#unsynced.clear();
		if (this.members.size === 0) this.#becomeEmpty();
		else this.#beginSync();
	}

	#becomeEmpty(): void {
		this.state = "Empty";
		this.protocolName = undefined;
		this.topics = this.protocolType === "consumer" ? new Set() : undefined;
		this.#save(this.#services.clock.now());
		this.releaseIfUnused();
	}

	#beginSync(): void {
		this.state = "CompletingRebalance";
		this.protocolName = this.members.selectProtocol();
		this.topics = this.#subscribed();
		this.#save(undefined);
		for (const member of this.members) {
			const reply = member.joining;
			member.joining = undefined;
			member.isNew = false;
			member.session.set(member.sessionTimeoutMs);
			this.#unsynced.add(member.id);
			if (reply === undefined) continue;
			const answer = this.joinedAnswer(member);
			this.#services.whenSaved(() => reply(answer));
		}
		this.#syncPhase.set(this.members.rebalanceTimeoutMs);
	}

	#syncPhaseOver(): void {
		if (this.#unsynced.size === 0) return;
		for (const id of [...this.#unsynced]) {
			const member = this.members.get(id);
			if (member !== undefined) this.remove(member);
		}
		this.#prepare();
	}

	#dropAssignments(error: ErrorCode): void {
		for (const member of this.members) this.members.setAssignment(member, NO_BYTES);
		this.#answerSyncing(() => refusedSync(error));
	}

	/** Sessions begin anew: those of members that waited may have run out meanwhile. */
	#answerSyncing(answer: (member: Member) => SyncAnswer): void {
		for (const member of this.members) {
			const reply = member.syncing;
			member.syncing = undefined;
			member.session.set(member.sessionTimeoutMs);
			reply?.(answer(member));
		}
	}

	#subscribed(): ReadonlySet<string> | undefined {
		if (this.protocolType !== "consumer") return undefined;
		const all = new Set<string>();
		for (const member of this.members) {
			const topics = subscribedTopics(metadataOf(member, this.protocolName));
			if (topics === undefined) return undefined;
			for (const topic of topics) all.add(topic);
		}
		return all;
	}

	#save(emptySinceMs: number | undefined): void {
		const { generation, protocolType = "" } = this;
		this.#services.save(this.id, { generation, protocolType, emptySinceMs });
	}
}

/** One consumer group with members: what they ask, checked in Kafka's order, and what becomes of it. */
import type { ErrorCode } from "../../base/errors.ts";
import { Deadline } from "./deadline.ts";
import type { GroupRow } from "./group-rows.ts";
import { type Member, memberBytes, newMember, sameProtocols } from "./member.ts";
import {
	type JoinAnswer,
	type JoinRequest,
	type LeavingMember,
	refusedJoin,
	refusedSync,
	type SyncAnswer,
	type SyncRequest,
} from "./messages.ts";
import { Rebalance, type RebalanceServices } from "./rebalance.ts";

export interface GroupServices extends RebalanceServices {
	readonly maxSize: number;
	/** Random, for a member's id. */
	newUuid(): string;
}

/** A new member's JoinGroup may wait so long: it has no heartbeat yet that would tell whether it is still there. */
const NEW_MEMBER_JOIN_MS = 5 * 60_000;

export class Group {
	readonly #services: GroupServices;
	readonly #rebalance: Rebalance;

	constructor(id: string, row: GroupRow | undefined, services: GroupServices) {
		this.#services = services;
		this.#rebalance = new Rebalance(id, row, services);
	}

	/** To be looked at. */
	get now(): Readonly<
		Pick<Rebalance, "state" | "members" | "protocolType" | "protocolName" | "topics" | "generation">
	> {
		return this.#rebalance;
	}

	/** `reply` is called once, now or later. */
	join(request: JoinRequest, reply: (answer: JoinAnswer) => void): void {
		const { memberId, protocols } = request;
		const { pending } = this.#rebalance;
		if (!this.#hasPlaceFor(memberId)) {
			this.#turnAway(memberId);
			reply(refusedJoin("", "GROUP_MAX_SIZE_REACHED"));
		} else if (!this.#supports(request)) {
			reply(refusedJoin(memberId, "INCONSISTENT_GROUP_PROTOCOL"));
		} else if (!this.#services.budget.hasRoom(memberBytes(request.instanceId ?? request.clientId, protocols))) {
			reply(refusedJoin(memberId, "GROUP_MAX_SIZE_REACHED"));
		} else if (memberId === "") {
			this.#joinNew(request, reply);
		} else if (pending.has(memberId) && request.instanceId === null) {
			this.#add(memberId, request, reply);
		} else {
			this.#joinAgain(request, reply);
		}
		this.#rebalance.releaseIfUnused();
	}

	/** `reply` is called once, now or later. */
	sync(request: SyncRequest, reply: (answer: SyncAnswer) => void): void {
		const rebalance = this.#rebalance;
		const { memberId, protocolType, protocolName } = request;
		const member = rebalance.members.get(memberId);
		const error = this.checkMember(memberId, request.instanceId) ?? this.#checkGeneration(request.generation);
		if (error !== undefined || member === undefined) {
			reply(refusedSync(error ?? "UNKNOWN_MEMBER_ID"));
		} else if (differs(protocolType, rebalance.protocolType) || differs(protocolName, rebalance.protocolName)) {
			reply(refusedSync("INCONSISTENT_GROUP_PROTOCOL"));
		} else if (rebalance.state === "PreparingRebalance") {
			reply(refusedSync("REBALANCE_IN_PROGRESS"));
		} else {
			rebalance.synced(memberId);
			if (rebalance.state === "Stable") {
				reply(rebalance.assignmentOf(member));
				return;
			}
			// Sent twice: who waits for the first answer has gone, or asks anew.
			member.syncing?.(refusedSync("REBALANCE_IN_PROGRESS"));
			member.syncing = reply;
			if (rebalance.members.leaderId === memberId) rebalance.assign(request);
		}
	}

	heartbeat(memberId: string, instanceId: string | null, generation: number): ErrorCode | undefined {
		const error = this.checkMember(memberId, instanceId) ?? this.#checkGeneration(generation);
		if (error !== undefined) return error;
		this.touch(memberId);
		return this.#rebalance.state === "PreparingRebalance" ? "REBALANCE_IN_PROGRESS" : undefined;
	}

	/** The error of each. */
	leave(leaving: readonly LeavingMember[]): (ErrorCode | undefined)[] {
		const { members } = this.#rebalance;
		const before = members.size;
		const errors = leaving.map((each) => this.#leaveOne(each));
		if (members.size < before) this.#rebalance.changed();
		this.#rebalance.pendingChanged();
		return errors;
	}

	/** Whether it is a member, and the one with that instance id. */
	checkMember(memberId: string, instanceId: string | null): ErrorCode | undefined {
		const { members } = this.#rebalance;
		if (instanceId !== null) {
			const id = members.staticId(instanceId);
			if (id === undefined) return "UNKNOWN_MEMBER_ID";
			if (id !== memberId) return "FENCED_INSTANCE_ID";
		}
		return members.get(memberId) === undefined ? "UNKNOWN_MEMBER_ID" : undefined;
	}

	/** The member lives. */
	touch(memberId: string): void {
		const member = this.#rebalance.members.get(memberId);
		if (member !== undefined) member.session.set(member.sessionTimeoutMs);
	}

	/** Refuses all that wait; nothing happens any more. */
	stop(): void {
		this.#rebalance.stop();
	}

	#checkGeneration(generation: number): ErrorCode | undefined {
		return generation === this.#rebalance.generation ? undefined : "ILLEGAL_GENERATION";
	}

	#hasPlaceFor(memberId: string): boolean {
		const { state, members } = this.#rebalance;
		const { maxSize } = this.#services;
		const member = members.get(memberId);
		if (state === "Empty") return true;
		if (state === "PreparingRebalance") return member?.joining !== undefined || members.joining < maxSize;
		return member !== undefined || members.size < maxSize;
	}

	#turnAway(memberId: string): void {
		const rebalance = this.#rebalance;
		const member = rebalance.members.get(memberId);
		if (member !== undefined) {
			rebalance.remove(member);
			rebalance.changed();
		}
		rebalance.pending.remove(memberId);
		rebalance.pendingChanged();
	}

	#supports({ protocolType, protocols }: JoinRequest): boolean {
		const { members } = this.#rebalance;
		if (members.size === 0) return protocolType !== "" && protocols.length > 0;
		return protocolType === this.#rebalance.protocolType && members.support(protocols);
	}

	#joinNew(request: JoinRequest, reply: (answer: JoinAnswer) => void): void {
		const { instanceId, clientId } = request;
		const { members, pending } = this.#rebalance;
		const id = `${instanceId ?? clientId}-${this.#services.newUuid()}`;
		const old = instanceId === null ? undefined : members.get(members.staticId(instanceId) ?? "");
		if (old !== undefined) {
			this.#replaceStatic(old, id, request, reply);
		} else if (instanceId === null && request.requiresMemberId) {
			pending.add(id, request.sessionTimeoutMs);
			reply(refusedJoin(id, "MEMBER_ID_REQUIRED"));
		} else {
			this.#add(id, request, reply);
		}
	}

	#joinAgain(request: JoinRequest, reply: (answer: JoinAnswer) => void): void {
		const { memberId } = request;
		const { state, members } = this.#rebalance;
		const error = this.checkMember(memberId, request.instanceId);
		const member = members.get(memberId);
		if (error !== undefined || member === undefined) {
			reply(refusedJoin(memberId, error ?? "UNKNOWN_MEMBER_ID"));
			return;
		}
		const same = sameProtocols(member.protocols, request.protocols);
		// Its answer was lost, or it asks without need. The leader of a stable group asks when topics have changed.
		const inGeneration = state === "CompletingRebalance" || (state === "Stable" && members.leaderId !== memberId);
		if (same && inGeneration) {
			reply(this.#rebalance.joinedAnswer(member));
			return;
		}
		if (!same) members.setProtocols(member, request.protocols);
		member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
		member.sessionTimeoutMs = request.sessionTimeoutMs;
		// Sent twice: who waits for the first answer has gone, or asks anew.
		member.joining?.(refusedJoin(member.id, "REBALANCE_IN_PROGRESS"));
		member.joining = reply;
		this.#rebalance.changed();
	}

	#add(id: string, request: JoinRequest, reply: (answer: JoinAnswer) => void): void {
		this.#rebalance.pending.remove(id);
		const member = newMember(id, request, this.#sessionOf(id));
		member.joining = reply;
		this.#rebalance.add(member);
		member.session.set(NEW_MEMBER_JOIN_MS);
		this.#rebalance.changed();
	}

	/** As long as the protocol stays, a static member that was restarted takes up what it had: no rebalance. */
	#replaceStatic(old: Member, id: string, request: JoinRequest, reply: (answer: JoinAnswer) => void): void {
		const rebalance = this.#rebalance;
		const { members } = rebalance;
		const leaderBefore = members.leaderId ?? "";
		const member = newMember(id, request, this.#sessionOf(id));
		member.isNew = false;
		rebalance.replace(old, member);
		member.session.set(member.sessionTimeoutMs);
		if (rebalance.state !== "Stable" || members.selectProtocol() !== rebalance.protocolName) {
			member.joining = reply;
			rebalance.changed();
		} else if (request.canSkipAssignment) {
			const isLeader = members.leaderId === id;
			reply({ ...rebalance.joinedAnswer(member), skipAssignment: isLeader });
		} else {
			// Who does not know `skipAssignment` must not think that it leads: it would divide anew.
			reply({ ...rebalance.joinedAnswer(member), leader: leaderBefore, members: [] });
		}
	}

	#leaveOne({ memberId, instanceId }: LeavingMember): ErrorCode | undefined {
		const { members, pending } = this.#rebalance;
		// An administrator removes a static member without knowing its id.
		const id = memberId === "" && instanceId !== null ? members.staticId(instanceId) : memberId;
		if (id === undefined) return "UNKNOWN_MEMBER_ID";
		if (pending.remove(id)) return undefined;
		const member = members.get(id);
		const error = this.checkMember(id, instanceId);
		if (error !== undefined || member === undefined) return error ?? "UNKNOWN_MEMBER_ID";
		this.#rebalance.remove(member);
		return undefined;
	}

	#sessionOf(id: string): Deadline {
		return new Deadline(this.#services.clock, () => {
			const member = this.#rebalance.members.get(id);
			if (member === undefined) return;
			// Who waits for the others cannot send heartbeats; a new member's wait is limited all the same.
			if (!member.isNew && (member.joining !== undefined || member.syncing !== undefined)) return;
			this.#rebalance.remove(member);
			this.#rebalance.changed();
		});
	}
}

/** What is not told, or not decided, differs from nothing. */
function differs(told: string | null, decided: string | undefined): boolean {
	return told !== null && decided !== undefined && told !== decided;
}

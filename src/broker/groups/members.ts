/** Who is in a group: members by id and by instance id, their leader, the protocols that they have in common. */
import type { ErrorCode } from "../../base/errors.ts";
import { type Member, type MemberBudget, memberBytes, ownProtocols } from "./member.ts";
import { type Protocol, refusedJoin, refusedSync } from "./messages.ts";

export class Members {
	readonly #budget: MemberBudget;
	readonly #byId = new Map<string, Member>();
	/** Instance id -> member id. */
	readonly #static = new Map<string, string>();
	/** Protocol name -> how many members know it. */
	readonly #known = new Map<string, number>();
	leaderId: string | undefined;

	constructor(budget: MemberBudget) {
		this.#budget = budget;
	}

	get size(): number {
		return this.#byId.size;
	}

	get(id: string): Member | undefined {
		return this.#byId.get(id);
	}

	/** Id of the member with this instance id. */
	staticId(instanceId: string): string | undefined {
		return this.#static.get(instanceId);
	}

	[Symbol.iterator](): IterableIterator<Member> {
		return this.#byId.values();
	}

	/** How many wait for the answer to their JoinGroup. */
	get joining(): number {
		let count = 0;
		for (const member of this.#byId.values()) if (member.joining !== undefined) count++;
		return count;
	}

	/** The longest of the members. */
	get rebalanceTimeoutMs(): number {
		let longest = 0;
		for (const { rebalanceTimeoutMs } of this.#byId.values()) longest = Math.max(longest, rebalanceTimeoutMs);
		return longest;
	}

	add(member: Member): void {
		this.#byId.set(member.id, member);
		if (member.instanceId !== null) this.#static.set(member.instanceId, member.id);
		this.#count(member.protocols, 1);
		this.#budget.bytes += heldBytes(member);
		this.leaderId ??= member.id;
	}

	/** What it waits for is answered with `error`. */
	remove(member: Member, error: ErrorCode = "UNKNOWN_MEMBER_ID"): void {
		this.#take(member);
		refuse(member, "", error);
		if (member.instanceId !== null) this.#static.delete(member.instanceId);
		if (this.leaderId === member.id) this.leaderId = this.#byId.keys().next().value;
	}

	/** A static member has started anew: `member` takes the place of the one with its instance id, which is fenced. */
	replace(old: Member, member: Member): void {
		this.#take(old);
		refuse(old, old.id, "FENCED_INSTANCE_ID");
		const led = this.leaderId === old.id;
		this.add(member);
		if (led) this.leaderId = member.id;
	}

	setProtocols(member: Member, protocols: readonly Protocol[]): void {
		this.#budget.bytes -= heldBytes(member);
		this.#count(member.protocols, -1);
		member.protocols = ownProtocols(protocols);
		this.#count(member.protocols, 1);
		this.#budget.bytes += heldBytes(member);
	}

	/** `assignment` is kept. */
	setAssignment(member: Member, assignment: Buffer): void {
		this.#budget.bytes += assignment.length - member.assignment.length;
		member.assignment = assignment;
	}

	/** Whether one of these is known to every member. */
	support(protocols: readonly Protocol[]): boolean {
		return protocols.some(({ name }) => this.#known.get(name) === this.#byId.size);
	}

	/** Of the protocols that all know, the one that most like best. */
	selectProtocol(): string {
		const votes = new Map<string, number>();
		let best = "";
		for (const { protocols } of this.#byId.values()) {
			const choice = protocols.find(({ name }) => this.#known.get(name) === this.#byId.size)?.name;
			if (choice !== undefined) votes.set(choice, (votes.get(choice) ?? 0) + 1);
		}
		for (const [name, count] of votes) if (count > (votes.get(best) ?? 0)) best = name;
		return best;
	}

	/** The leader leads on if it joins again, else another that does. Returns whether one does. */
	electJoining(): boolean {
		if (this.leaderId !== undefined && this.#byId.get(this.leaderId)?.joining !== undefined) return true;
		for (const member of this.#byId.values()) {
			if (member.joining === undefined) continue;
			this.leaderId = member.id;
			return true;
		}
		return false;
	}

	#take(member: Member): void {
		member.session.cancel();
		this.#byId.delete(member.id);
		this.#count(member.protocols, -1);
		this.#budget.bytes -= heldBytes(member);
	}

	#count(protocols: readonly Protocol[], change: 1 | -1): void {
		for (const { name } of protocols) {
			const count = (this.#known.get(name) ?? 0) + change;
			if (count > 0) this.#known.set(name, count);
			else this.#known.delete(name);
		}
	}
}

function refuse(member: Member, memberId: string, error: ErrorCode): void {
	const { joining, syncing } = member;
	member.joining = undefined;
	member.syncing = undefined;
	joining?.(refusedJoin(memberId, error));
	syncing?.(refusedSync(error));
}

function heldBytes(member: Member): number {
	return memberBytes(member.id, member.protocols) + member.assignment.length;
}

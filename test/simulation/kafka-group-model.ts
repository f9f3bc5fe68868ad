/** What must be true of a consumer group, whatever happens: told of every answer that the coordinator gives, it throws when one cannot be. */
import { ERROR_CODES } from "../../src/base/errors.ts";
import { Violation } from "./log-model.ts";

interface Commit {
	readonly offset: number;
	/** It was told that it is durable. */
	acknowledged: boolean;
}

export interface Who {
	readonly memberId: string;
	readonly instanceId: string | null;
}

export class GroupModel {
	/** The highest that any answer told. */
	generation = 0;
	/** Generation -> id of the member that was asked to divide. */
	readonly #leaders = new Map<number, string>();
	/** Generation -> partition -> who was given it. */
	readonly #owners = new Map<number, Map<number, string>>();
	/** Instance id -> the member id that joined with it last. */
	readonly #instances = new Map<string, string>();
	readonly #fenced = new Set<string>();
	/** Partition -> what may be there, in the order in which it came; the first is what was there at first. */
	readonly #commits = new Map<number, Commit[]>();
	readonly story: string[] = [];

	joined(
		who: Who,
		answer: {
			errorCode: number;
			generationId: number;
			memberId: string;
			leader: string;
			skipAssignment: boolean;
			members: readonly unknown[];
		},
		generationWhenSent: number,
	): void {
		if (answer.errorCode !== ERROR_CODES.NONE) return;
		const { generationId: generation, memberId } = answer;
		if (generation < generationWhenSent)
			throw new Violation(
				`${memberId} joined generation ${generation} after generation ${generationWhenSent} was told`,
			);
		this.generation = Math.max(this.generation, generation);
		if (who.instanceId !== null) {
			const before = this.#instances.get(who.instanceId);
			if (before !== undefined && before !== memberId) this.#fenced.add(before);
			this.#instances.set(who.instanceId, memberId);
			if (this.#fenced.has(memberId)) throw new Violation(`${memberId} joined though it was replaced`);
		}
		if (answer.leader !== memberId || answer.skipAssignment || answer.members.length === 0) return;
		const leader = this.#leaders.get(generation);
		if (leader !== undefined && leader !== memberId)
			throw new Violation(`generation ${generation} has two leaders: ${leader} and ${memberId}`);
		this.#leaders.set(generation, memberId);
	}

	assigned({ memberId, instanceId }: Who, generation: number, partitions: readonly number[]): void {
		this.refusedIfFenced({ memberId, instanceId }, ERROR_CODES.NONE, "a sync");
		const owners = this.#owners.get(generation) ?? new Map<number, string>();
		this.#owners.set(generation, owners);
		const owner = instanceId ?? memberId;
		for (const partition of partitions) {
			const other = owners.get(partition);
			if (other !== undefined && other !== owner)
				throw new Violation(`partition ${partition} is ${other}'s and ${owner}'s in generation ${generation}`);
			owners.set(partition, owner);
		}
	}

	/** Whether another member has joined with its instance id since. */
	isFenced({ memberId, instanceId }: Who): boolean {
		return instanceId !== null && this.#fenced.has(memberId);
	}

	refusedIfFenced(who: Who, errorCode: number, what: string): void {
		if (this.isFenced(who) && errorCode === ERROR_CODES.NONE)
			throw new Violation(`${what} of ${who.memberId} was taken, which is fenced`);
	}

	/** A commit has come to the coordinator; the returned function is to be called with what it answers. */
	commitArrived(
		partition: number,
		offset: number,
		generationWhenArrived: number,
		generation: number,
	): (errorCode: number) => void {
		const commits = this.#listOf(partition);
		const commit: Commit = { offset, acknowledged: false };
		commits.push(commit);
		return (errorCode) => {
			if (errorCode === ERROR_CODES.NONE) {
				if (generation < generationWhenArrived)
					throw new Violation(`a commit of generation ${generation} was taken in generation ${generationWhenArrived}`);
				commit.acknowledged = true;
				return;
			}
			const at = this.#listOf(partition).indexOf(commit);
			if (at >= 0) this.#listOf(partition).splice(at, 1);
		};
	}

	/** What may be told from now on; to be asked when the request has come. */
	mayBe(partition: number): ReadonlySet<number> {
		const commits = this.#listOf(partition);
		const last = commits.findLastIndex(({ acknowledged }) => acknowledged);
		return new Set(commits.slice(Math.max(last, 0)).map(({ offset }) => offset));
	}

	/** `possible`: of when the request came; commits that came since may be told as well. */
	fetched(partition: number, offset: number, possible: ReadonlySet<number>): void {
		if (possible.has(offset) || this.mayBe(partition).has(offset)) return;
		throw new Violation(`partition ${partition}: committed is ${offset}, possible ${[...possible].join(", ")}`);
	}

	/** The process has ended: what it did not acknowledge may be there or not, but nothing of it comes any more. */
	restarted(read: (partition: number) => number): void {
		for (const [partition, commits] of this.#commits) {
			const offset = read(partition);
			this.fetched(partition, offset, this.mayBe(partition));
			commits.splice(0, commits.length, { offset, acknowledged: true });
		}
	}

	/** The topic was deleted and made anew: it has no offsets, whatever arrives of old commits is as good as new. */
	topicMadeAnew(): void {
		for (const commits of this.#commits.values()) commits.splice(0, commits.length, { offset: -1, acknowledged: true });
	}

	tell(line: string): void {
		this.story.push(line);
	}

	#listOf(partition: number): Commit[] {
		let commits = this.#commits.get(partition);
		if (commits === undefined) {
			commits = [{ offset: -1, acknowledged: true }];
			this.#commits.set(partition, commits);
		}
		return commits;
	}
}

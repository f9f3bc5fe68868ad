/** A simulated consumer: joins, syncs, heartbeats, commits as Kafka's own clients do, and sees to it that nothing is waited for too long. */
import { ERROR_CODES } from "../../src/base/errors.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Api } from "../../src/kafka/api.ts";
import { offsetCommit } from "../../src/kafka/handlers/08-offset-commit.ts";
import { offsetFetch } from "../../src/kafka/handlers/09-offset-fetch.ts";
import { joinGroup } from "../../src/kafka/handlers/11-join-group.ts";
import { heartbeat } from "../../src/kafka/handlers/12-heartbeat.ts";
import { leaveGroup } from "../../src/kafka/handlers/13-leave-group.ts";
import { syncGroup } from "../../src/kafka/handlers/14-sync-group.ts";
import type { Decoded, Encodable, Fields } from "../../src/kafka/protocol/schema.ts";
import type { GroupModel } from "./kafka-group-model.ts";
import type { Network, Watch } from "./kafka-group-network.ts";
import { Violation } from "./log-model.ts";

export const GROUP = "workers";
export const TOPIC = "jobs";
const SESSION_MS = 8000;
const REBALANCE_MS = 10_000;
/** A join phase, the initial delay, the way there and back, and the steps of time. */
const WAIT_MAX_MS = REBALANCE_MS + 3000 + 8000;
const HEARTBEAT_MS = 2500;
/** Whoever gets no answer asks again after this. */
const GIVES_UP_MS = 4000;

export interface ClientWorld {
	readonly model: GroupModel;
	readonly network: Network;
	nowMs(): number;
	/** Of the topic. */
	partitions(): number;
	/** Another one at each call. */
	newOffset(): number;
}

interface Errand {
	readonly what: string;
	readonly sentMs: number;
	isLost(): boolean;
	/** Whether the answer has come; it is dealt with then. */
	finish(): boolean;
}

export class GroupClient {
	readonly name: string;
	readonly instanceId: string | null;
	phase: "join" | "sync" | "stable" | "gone" = "join";
	memberId = "";
	generation = -1;
	assigned: readonly number[] = [];
	readonly #world: ClientWorld;
	readonly #random: SimulatedRandom;
	readonly #protocols: readonly string[];
	#isLeader = false;
	#members: readonly { readonly memberId: string; readonly groupInstanceId: string | null }[] = [];
	#waits: Errand | undefined;
	#commits: Errand | undefined;
	#heartbeatAtMs = 0;
	#notBeforeMs = 0;

	constructor(name: string, instanceId: string | null, random: SimulatedRandom, world: ClientWorld) {
		this.name = name;
		this.instanceId = instanceId;
		this.#random = random;
		this.#world = world;
		this.#protocols = random.chance(0.5) ? ["range"] : ["sticky", "range"];
	}

	tick(): void {
		if (this.phase === "gone") return;
		this.#commits = this.#look(this.#commits);
		this.#waits = this.#look(this.#waits);
		if (this.#waits !== undefined || this.#world.nowMs() < this.#notBeforeMs) return;
		if (this.phase === "join") this.#join();
		else if (this.phase === "sync") this.#sync();
		else if (this.phase === "stable") this.#live();
	}

	/** As the leader does when topics have changed. */
	joinAnew(): void {
		if (this.phase === "stable") this.phase = "join";
	}

	/** Without a word. */
	crash(): void {
		this.phase = "gone";
	}

	leave(): void {
		this.phase = "gone";
		if (this.memberId === "") return;
		const { memberId, instanceId } = this;
		if (instanceId === null && this.#random.chance(0.3))
			this.#ask("leave", leaveGroup, 1, { groupId: GROUP, memberId }, {}, () => {});
		else {
			const members = [{ memberId, groupInstanceId: instanceId }];
			this.#ask("leave", leaveGroup, 4, { groupId: GROUP, members }, {}, () => {});
		}
	}

	#look(errand: Errand | undefined): Errand | undefined {
		if (errand === undefined || errand.finish()) return undefined;
		const waitedMs = this.#world.nowMs() - errand.sentMs;
		if (errand.isLost()) return waitedMs > GIVES_UP_MS ? undefined : errand;
		if (waitedMs <= WAIT_MAX_MS) return errand;
		throw new Violation(`${this.name} has waited ${Math.round(waitedMs)} ms for the answer to ${errand.what}`);
	}

	#ask<Q extends Fields, A extends Fields>(
		what: string,
		api: Api<Q, A>,
		version: number,
		value: Encodable<Q>,
		watch: Watch<Decoded<Q>, Decoded<A>>,
		done: (answer: Decoded<A>) => void,
	): Errand {
		const { network, model } = this.#world;
		model.tell(`${Math.round(this.#world.nowMs())} ${this.name} (${this.memberId}, ${this.generation}) ${what}`);
		const exchange = network.send(api, version, value, this.name, watch);
		return {
			what,
			sentMs: exchange.sentMs,
			isLost: () => exchange.lost,
			finish: () => {
				if (exchange.answer === undefined) return false;
				if (this.phase !== "gone") done(exchange.answer);
				return true;
			},
		};
	}

	#version(lowest: number, lowestStatic: number, highest: number): number {
		return this.#random.between(this.instanceId === null ? lowest : lowestStatic, highest);
	}

	#join(): void {
		const { model } = this.#world;
		const who = { memberId: this.memberId, instanceId: this.instanceId };
		const generation = model.generation;
		const request = {
			groupId: GROUP,
			sessionTimeoutMs: SESSION_MS,
			rebalanceTimeoutMs: REBALANCE_MS,
			memberId: this.memberId,
			groupInstanceId: this.instanceId,
			protocolType: "consumer",
			protocols: this.#protocols.map((name) => ({ name, metadata: SUBSCRIPTION })),
		};
		const watch = {
			answered: (answer: {
				errorCode: number;
				generationId: number;
				memberId: string;
				leader: string;
				skipAssignment: boolean;
				members: readonly unknown[];
			}) => {
				model.tell(
					`  joined ${this.name}: ${answer.errorCode} ${answer.memberId} ${answer.generationId} led by ${answer.leader}`,
				);
				model.joined(who, answer, generation);
			},
		};
		this.#waits = this.#ask("join", joinGroup, this.#version(1, 5, 9), request, watch, (answer) => {
			switch (answer.errorCode) {
				case ERROR_CODES.NONE:
					this.memberId = answer.memberId;
					this.generation = answer.generationId;
					this.#isLeader = answer.leader === answer.memberId && !answer.skipAssignment;
					this.#members = answer.members;
					this.phase = "sync";
					break;
				case ERROR_CODES.MEMBER_ID_REQUIRED:
					this.memberId = answer.memberId;
					break;
				case ERROR_CODES.REBALANCE_IN_PROGRESS:
					this.#notBeforeMs = this.#world.nowMs() + 100;
					break;
				default:
					this.#lostPlace(answer.errorCode, "join");
			}
		});
	}

	#sync(): void {
		const { model } = this.#world;
		const { memberId, instanceId, generation } = this;
		const version = this.#version(0, 3, 5);
		const request = {
			groupId: GROUP,
			generationId: generation,
			memberId,
			groupInstanceId: instanceId,
			protocolType: "consumer",
			protocolName: this.#protocolName(),
			assignments: this.#isLeader ? this.#divided() : [],
		};
		const watch = {
			answered: (answer: { errorCode: number; assignment: Buffer }) => {
				model.tell(`  synced ${this.name}: ${answer.errorCode} [${[...answer.assignment]}]`);
				if (answer.errorCode === ERROR_CODES.NONE)
					model.assigned({ memberId, instanceId }, generation, [...answer.assignment]);
			},
		};
		this.#waits = this.#ask("sync", syncGroup, version === 5 ? 4 : version, request, watch, (answer) => {
			if (answer.errorCode !== ERROR_CODES.NONE) {
				this.#lostPlace(answer.errorCode, "sync");
				return;
			}
			this.assigned = [...answer.assignment];
			this.phase = "stable";
			this.#heartbeatAtMs = this.#world.nowMs() + HEARTBEAT_MS;
		});
	}

	#live(): void {
		const { memberId, instanceId, generation } = this;
		if (this.#commits === undefined && this.assigned.length > 0 && this.#random.chance(0.2)) {
			if (this.#random.chance(0.3)) this.#fetch(this.#random.pick(this.assigned));
			else this.#commit(this.#random.pick(this.assigned));
		}
		if (this.#world.nowMs() < this.#heartbeatAtMs) return;
		this.#heartbeatAtMs = this.#world.nowMs() + HEARTBEAT_MS;
		const request = { groupId: GROUP, generationId: generation, memberId, groupInstanceId: instanceId };
		const watch = {
			answered: ({ errorCode }: { errorCode: number }) =>
				this.#world.model.refusedIfFenced({ memberId, instanceId }, errorCode, "a heartbeat"),
		};
		this.#waits = this.#ask("heartbeat", heartbeat, this.#version(0, 3, 4), request, watch, ({ errorCode }) => {
			if (errorCode !== ERROR_CODES.NONE) this.#lostPlace(errorCode, "heartbeat");
		});
	}

	#commit(partition: number): void {
		const { model } = this.#world;
		const { memberId, instanceId, generation } = this;
		const committedOffset = this.#world.newOffset();
		const request = {
			groupId: GROUP,
			generationIdOrMemberEpoch: generation,
			memberId,
			groupInstanceId: instanceId,
			topics: [{ name: TOPIC, partitions: [{ partitionIndex: partition, committedOffset, committedMetadata: "" }] }],
		};
		const settles: ((errorCode: number) => void)[] = [];
		const watch = {
			arrived: () => {
				const fenced = model.isFenced({ memberId, instanceId });
				const settle = model.commitArrived(partition, committedOffset, model.generation, generation);
				settles.push((errorCode) => {
					settle(errorCode);
					if (fenced && errorCode === ERROR_CODES.NONE)
						throw new Violation(`a commit of ${memberId} was taken, which is fenced`);
				});
			},
			answered: (answer: { topics: readonly { partitions: readonly { errorCode: number }[] }[] }) => {
				const errorCode = answer.topics[0]?.partitions[0]?.errorCode ?? 0;
				model.tell(`  committed ${this.name}: ${errorCode} ${partition} at ${committedOffset}`);
				settles.shift()?.(errorCode);
			},
		};
		this.#commits = this.#ask("commit", offsetCommit, this.#version(2, 7, 9), request, watch, (answer) => {
			const errorCode = answer.topics[0]?.partitions[0]?.errorCode ?? 0;
			if (generation !== this.generation || this.phase !== "stable") return;
			const passes: number[] = [ERROR_CODES.NONE, ERROR_CODES.UNKNOWN_TOPIC_OR_PARTITION];
			if (!passes.includes(errorCode)) this.#lostPlace(errorCode, "commit");
		});
	}

	#fetch(partition: number): void {
		const { model } = this.#world;
		const request = { groupId: GROUP, topics: [{ name: TOPIC, partitionIndexes: [partition] }], requireStable: false };
		const possible: ReadonlySet<number>[] = [];
		const watch = {
			arrived: () => void possible.push(model.mayBe(partition)),
			answered: (answer: { topics: readonly { partitions: readonly { committedOffset: number }[] }[] }) => {
				const { committedOffset = -2 } = answer.topics[0]?.partitions[0] ?? {};
				model.tell(`  fetched ${this.name}: ${partition} at ${committedOffset}`);
				model.fetched(partition, committedOffset, possible.shift() ?? new Set());
			},
		};
		this.#commits = this.#ask("fetch", offsetFetch, this.#random.between(1, 7), request, watch, () => {});
	}

	/** As a client goes on after an error. */
	#lostPlace(errorCode: number, where: string): void {
		const { FENCED_INSTANCE_ID, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS } = ERROR_CODES;
		const { COORDINATOR_NOT_AVAILABLE, INCONSISTENT_GROUP_PROTOCOL } = ERROR_CODES;
		this.assigned = [];
		switch (errorCode) {
			case FENCED_INSTANCE_ID:
				this.phase = "gone";
				return;
			case UNKNOWN_MEMBER_ID:
				this.memberId = "";
				break;
			case ILLEGAL_GENERATION:
			case REBALANCE_IN_PROGRESS:
			case COORDINATOR_NOT_AVAILABLE:
				break;
			case INCONSISTENT_GROUP_PROTOCOL:
				// Its leader's choice is of a generation that it does not know.
				if (where === "sync") break;
				throw new Violation(`${this.name}: error ${errorCode} in ${where}`);
			default:
				throw new Violation(`${this.name}: error ${errorCode} in ${where}`);
		}
		this.phase = "join";
		this.#notBeforeMs = this.#world.nowMs() + 50;
	}

	#protocolName(): string | null {
		return null;
	}

	/** Partitions in turn; each is one byte of an assignment. */
	#divided(): { memberId: string; assignment: Buffer }[] {
		const partitions = Array.from({ length: this.#world.partitions() }, (_, i) => i);
		const members = [...this.#members];
		return members.map(({ memberId }, i) => ({
			memberId,
			assignment: Buffer.from(partitions.filter((partition) => partition % members.length === i)),
		}));
	}
}

const SUBSCRIPTION = (() => {
	const topic = Buffer.from(TOPIC);
	const head = Buffer.from([0, 0, 0, 0, 0, 1, 0, topic.length]);
	return Buffer.concat([head, topic, Buffer.from([0xff, 0xff, 0xff, 0xff])]);
})();

/** A broker whose time and disk a test moves by hand, and short forms of what members ask of the coordinator of its groups. */
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";
import type { GroupsOptions } from "../../../src/broker/groups/groups.ts";
import type { JoinAnswer, JoinRequest, SyncAnswer } from "../../../src/broker/groups/messages.ts";

export const SESSION_MS = 10_000;
export const REBALANCE_MS = 20_000;
export const DELAY_MS = 3000;

/** A promise, and whether it has been kept. */
export interface Held<T> {
	answer: T | undefined;
}

export class GroupHarness {
	readonly clock = new SimulatedClock({ startMs: Date.UTC(2026, 0, 1) });
	readonly #disk = new SimulatedDisk({ random: new SimulatedRandom("groups") });
	readonly #options: Partial<GroupsOptions>;
	broker!: Broker;
	#image: Buffer | undefined;
	#takeImage: (() => Buffer) | undefined;

	constructor(options: Partial<GroupsOptions> = {}) {
		this.#options = options;
		this.#disk.makeDirectory("/data");
		this.start();
	}

	get groups() {
		return this.broker.groups;
	}

	start(): void {
		this.broker = Broker.open(
			{
				dataFolder: "/data",
				catalogLocation: {
					image: this.#image,
					onCommit: (take: () => Buffer) => {
						this.#takeImage = take;
					},
				},
				journal: { fileBytes: 1024 * 1024, filesMax: 3 },
				lingerMs: 0,
				memoryBudgetBytes: 64 * 1024 * 1024,
				retentionCheckMs: 86_400_000,
				defaultPartitions: 1,
				topicDefaults: { "log.segment.bytes": "65536", "log.retention.ms": "-1" },
				groups: { initialRebalanceDelayMs: DELAY_MS, ...this.#options },
				onFailure: (error) => {
					throw error;
				},
			},
			{ disk: this.#disk, clock: this.clock, random: new SimulatedRandom("ids"), logger: silentLogger },
		);
	}

	async restart(): Promise<void> {
		const stopped = this.broker.stop();
		this.#image = this.#takeImage?.();
		await this.clock.settle();
		await stopped;
		this.clock.drop();
		this.start();
	}

	/** As a consumer of `jobs` that knows `range`; the answer is there once it has been given. */
	join(request: Partial<JoinRequest> = {}): Held<JoinAnswer> {
		return held(
			this.groups.join({
				group: "g",
				memberId: "",
				instanceId: null,
				clientId: "c",
				clientHost: "/127.0.0.1",
				sessionTimeoutMs: SESSION_MS,
				rebalanceTimeoutMs: REBALANCE_MS,
				protocolType: "consumer",
				protocols: [{ name: "range", metadata: subscription("jobs") }],
				requiresMemberId: false,
				canSkipAssignment: true,
				...request,
			}),
		);
	}

	/** The leader gives each of `assignments` its text. */
	sync(
		joined: JoinAnswer,
		assignments: Record<string, string> = {},
		instanceId: string | null = null,
	): Held<SyncAnswer> {
		return held(
			this.groups.sync({
				group: "g",
				memberId: joined.memberId,
				instanceId,
				generation: joined.generation,
				protocolType: null,
				protocolName: null,
				assignments: Object.entries(assignments).map(([memberId, text]) => ({
					memberId,
					assignment: Buffer.from(text),
				})),
			}),
		);
	}

	heartbeat({ memberId, generation }: JoinAnswer, instanceId: string | null = null) {
		return this.groups.heartbeat({ group: "g", memberId, generation, instanceId });
	}

	get state(): string {
		return this.groups.describe("g")?.state ?? "none";
	}

	/** A stable group of so many, the leader first. */
	async stable(members: readonly Partial<JoinRequest>[]): Promise<JoinAnswer[]> {
		const joins = members.map((request) => this.join(request));
		for (let i = 0; i < 10 && joins.some(({ answer }) => answer === undefined); i++) await this.clock.advance(DELAY_MS);
		const answers = joins.map(({ answer }) => answer as JoinAnswer);
		answers.sort((a, b) => Number(b.leader === b.memberId) - Number(a.leader === a.memberId));
		const parts = Object.fromEntries(answers.map(({ memberId }, i) => [memberId, `part ${i}`]));
		const instance = (memberId: string) =>
			this.groups.describe("g")?.members.find((m) => m.memberId === memberId)?.instanceId ?? null;
		for (const answer of answers.toReversed()) this.sync(answer, parts, instance(answer.memberId));
		await this.clock.settle();
		return answers;
	}

	commit(offset: number, group = "g", topic = "jobs", partition = 0): void {
		const entry = { topic, partition, offset, leaderEpoch: -1, metadata: "" };
		this.groups.offsets.commit(group, [entry], this.clock.now());
	}

	committed(group = "g", topic = "jobs", partition = 0): number | undefined {
		return this.groups.offsets.fetch(group, topic, partition)?.offset;
	}
}

export function subscription(...topics: string[]): Buffer {
	const parts = [Buffer.from([0, 0, 0, 0, 0, topics.length])];
	for (const topic of topics) parts.push(Buffer.from([0, topic.length]), Buffer.from(topic));
	return Buffer.concat(parts);
}

function held<T>(promise: Promise<T>): Held<T> {
	const holder: Held<T> = { answer: undefined };
	promise.then((answer) => {
		holder.answer = answer;
	});
	return holder;
}

/**
 * Two producers that share one transactional id, on a link and a cluster where everything goes wrong: however that ends, a
 * transaction is there as a whole or not at all, and as its producer was told.
 */
import { expect, it, vi } from "vitest";
import {
	ADD_PARTITIONS_TO_TXN,
	type Api,
	END_TXN,
	INIT_PRODUCER_ID,
	PRODUCE,
} from "../../../bridge/upstream/client/apis.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Decoded, Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import { CODES } from "../../simulation/kafka-cluster/codes.ts";
import { ROUGH } from "../../simulation/kafka-cluster/faults.ts";
import { KafkaModel } from "../../simulation/kafka-cluster/kafka-model.ts";
import { PartitionLog } from "../../simulation/kafka-cluster/partition-log.ts";
import { Transactions } from "../../simulation/kafka-cluster/transactions.ts";

const TRANSACTIONS = 12;
const TRIES = 8;
const TIMERS_MAX = 200_000;

/** As its producer knows it. A transaction is `dropped` when its commit was never asked for. */
type Outcome = "committed" | "aborted" | "dropped" | "unknown";

interface Identity {
	readonly producerId: number;
	readonly producerEpoch: number;
}

class Life {
	readonly clock: SimulatedClock;
	readonly model: KafkaModel;
	readonly outcomes = new Map<string, Outcome>();
	readonly tally = { committed: 0, aborted: 0, dropped: 0, unknown: 0, fenced: 0 };
	readonly #random: SimulatedRandom;
	readonly #signal = new AbortController().signal;

	constructor(seed: number) {
		this.#random = new SimulatedRandom(seed);
		this.clock = new SimulatedClock({ random: this.#random.fork("clock") });
		this.model = new KafkaModel({ clock: this.clock, random: this.#random, brokers: 3, network: ROUGH });
		this.model.createTopic("t", 2);
	}

	async run(): Promise<void> {
		const lives = Promise.all([this.#produce("a"), this.#produce("b")]);
		let isOver = false;
		lives
			.finally(() => {
				isOver = true;
			})
			.catch(() => {});
		for (let i = 0; !isOver && i < TIMERS_MAX; i++) if (!(await this.clock.advanceToNext())) break;
		if (!isOver) throw new Error("it never ends");
		await lives;
		this.model.settle();
		this.#judge();
	}

	#judge(): void {
		expect(this.model.complaints).toEqual([]);
		const counts = (partition: number) => {
			const counted = new Map<string, number>();
			for (const { value } of this.model.committed("t", partition))
				counted.set(String(value), (counted.get(String(value)) ?? 0) + 1);
			return counted;
		};
		const [first, second] = [counts(0), counts(1)];
		for (const [value, outcome] of this.outcomes) {
			const seen = `${first.get(value) ?? 0}/${second.get(value) ?? 0}`;
			const may = { committed: ["1/1"], aborted: ["0/0"], dropped: ["0/0"], unknown: ["0/0", "1/1"] };
			if (!may[outcome].includes(seen)) throw new Error(`${value} is ${outcome} and there ${seen} times`);
			this.tally[outcome] += 1;
		}
	}

	async #produce(name: string): Promise<void> {
		const { clock, model } = this;
		const random = this.#random.fork(name);
		const cluster = new Cluster({
			bootstrap: model.bootstrap,
			clientId: name,
			dial: model.dial,
			sasl: undefined,
			clock,
			random,
			logger: silentLogger,
			requestTimeoutMs: 5000,
			connectTimeoutMs: 5000,
			metadataMaxAgeMs: 60_000,
		});
		for (let i = 0; i < TRANSACTIONS; i++) {
			await this.#pause(random.between(0, 3000));
			const value = `${name}${i}`;
			this.outcomes.set(value, "dropped");
			// Each with an epoch of its own: what is still on its way is of another.
			const by = await this.#begin(cluster);
			if (by === undefined) continue;
			const sent = (await this.#send(cluster, by, 0, value)) && (await this.#send(cluster, by, 1, value));
			if (sent) await this.#end(cluster, by, value, random.chance(0.7));
		}
		cluster.close();
	}

	async #begin(cluster: Cluster): Promise<Identity | undefined> {
		const request = { transactionalId: "g", transactionTimeoutMs: 10_000 };
		const made = await this.#ask(cluster, INIT_PRODUCER_ID, request, ({ errorCode }) => errorCode);
		if (made === undefined) return undefined;
		const { producerId, producerEpoch } = made.body;
		const adding = {
			v3AndBelowTransactionalId: "g",
			v3AndBelowProducerId: producerId,
			v3AndBelowProducerEpoch: producerEpoch,
			v3AndBelowTopics: [{ name: "t", partitions: [0, 1] }],
		};
		const codeOf = ({ resultsByTopicV3AndBelow: [topic] }: Decoded<typeof ADD_PARTITIONS_TO_TXN.response.fields>) =>
			topic?.resultsByPartition[0]?.partitionErrorCode ?? -1;
		const added = await this.#ask(cluster, ADD_PARTITIONS_TO_TXN, adding, codeOf, 3);
		return added === undefined ? undefined : { producerId, producerEpoch };
	}

	async #send(cluster: Cluster, by: Identity, partition: number, value: string): Promise<boolean> {
		const record = { timestamp: this.clock.now(), key: null, value: Buffer.from(value), headers: [] };
		const records = encodeBatch([record], { ...by, baseSequence: 0, isTransactional: true });
		const topicData = [{ name: "t", partitionData: [{ index: partition, records }] }];
		const request = { transactionalId: "g", acks: -1, timeoutMs: 3000, topicData };
		for (let i = 0; i < TRIES; i++) {
			try {
				await cluster.refresh(["t"], this.#signal);
				const { body } = await cluster.toLeader("t", partition, PRODUCE, request, { atMost: 11 });
				const code = body.responses[0]?.partitionResponses[0]?.errorCode;
				if (code === CODES.NONE) return true;
				if (code === CODES.INVALID_PRODUCER_EPOCH) {
					this.tally.fenced += 1;
					return false;
				}
			} catch {
				// The same bytes again.
			}
			await this.#pause(200);
		}
		return false;
	}

	async #end(cluster: Cluster, by: Identity, value: string, committed: boolean): Promise<void> {
		this.outcomes.set(value, committed ? "unknown" : "dropped");
		const request = { transactionalId: "g", ...by, committed };
		const ended = await this.#ask(cluster, END_TXN, request, ({ errorCode }) => errorCode, 4);
		if (ended !== undefined) this.outcomes.set(value, committed ? "committed" : "aborted");
	}

	/** undefined: it is refused for good, or nobody knows. */
	async #ask<Q extends Fields, S extends Fields>(
		cluster: Cluster,
		api: Api<Q, S>,
		value: Encodable<Q>,
		codeOf: (body: Decoded<S>) => number,
		atMost = 5,
	) {
		for (let i = 0; i < TRIES; i++) {
			try {
				const { body } = await cluster.toCoordinator("transaction", "g", api, value, { atMost });
				const code = codeOf(body);
				if (code === CODES.NONE) return { body };
				if (code === CODES.PRODUCER_FENCED) {
					this.tally.fenced += 1;
					return undefined;
				}
				if (code === CODES.NOT_COORDINATOR) cluster.forgetCoordinator("transaction", "g");
			} catch {
				cluster.forgetCoordinator("transaction", "g");
			}
			await this.#pause(200);
		}
		return undefined;
	}

	#pause(ms: number): Promise<void> {
		return new Promise((resolve) => void this.clock.after(ms, resolve));
	}
}

async function live(seed: number): Promise<Life> {
	const life = new Life(seed);
	await life.run();
	return life;
}

/** How many lives are found to break a promise. */
async function found(seeds: number): Promise<number> {
	let count = 0;
	for (let seed = 1; seed <= seeds; seed++) {
		try {
			await live(seed);
		} catch (error) {
			if (!/ is \w+ and there /.test(String(error))) throw error;
			count += 1;
		}
	}
	return count;
}

const SEEDS = Number(process.env.SEEDS ?? 6);

it(`keeps transactions whole through ${SEEDS} lives`, { timeout: 600_000 }, async () => {
	const total: Record<string, number> = {};
	for (let seed = 1; seed <= SEEDS; seed++) {
		const { tally } = await live(seed).catch((error) => {
			throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
		});
		for (const [name, count] of Object.entries(tally)) total[name] = (total[name] ?? 0) + count;
	}
	for (const name of ["committed", "aborted", "dropped", "unknown", "fenced"])
		expect(total[name] ?? 0, name).toBeGreaterThan(SEEDS / 5);
});

it("gives the same life for the same seed", async () => {
	const [first, second] = [await live(7), await live(7)];
	expect([...second.outcomes]).toEqual([...first.outcomes]);
	expect(second.clock.monotonic()).toBe(first.clock.monotonic());
	expect(second.model.requests).toEqual(first.model.requests);
	expect(second.model.sentBytes).toBe(first.model.sentBytes);
});

it("finds out aborted records that are shown", async () => {
	vi.spyOn(PartitionLog.prototype, "isAborted").mockReturnValue(false);
	expect(await found(3)).toBe(3);
	vi.restoreAllMocks();
});

it("finds out producers that are not fenced", async () => {
	vi.spyOn(PartitionLog.prototype, "checkEpoch").mockReturnValue(undefined);
	vi.spyOn(Transactions.prototype, "verify").mockReturnValue(undefined);
	expect(await found(5)).toBeGreaterThan(0);
	vi.restoreAllMocks();
});

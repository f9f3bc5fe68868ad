/**
 * One seeded life of a broker with transactional producers: requests are lost, come twice or late, producers are replaced
 * while they still act, transactions time out, topics go, the disk fills up, and again and again the power fails; after
 * each of these the log is compared with what producers know.
 */
import { BrokerError } from "../../src/base/errors.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Ledger, OFFSETS_TOPIC } from "./kafka-ledger.ts";
import { type Answer, KafkaProducer, type ProducerWorld, type Request } from "./kafka-producer.ts";
import { Violation } from "./log-model.ts";
import { NeverSettled, World } from "./world.ts";

/** How often each thing is done, against the others. */
const WEIGHTS = {
	act: 60,
	time: 20,
	timeOut: 1,
	deliver: 4,
	stale: 4,
	replace: 3,
	giveUp: 2,
	compare: 4,
	checkpoint: 2,
	retention: 1,
	deleteTopic: 1,
	armPower: 3,
	crash: 2,
	stop: 1,
	full: 1,
};

export interface KafkaLifeOptions {
	readonly seed: number | string;
	readonly steps?: number;
	readonly weights?: Partial<Record<keyof typeof WEIGHTS, number>>;
}

export interface KafkaTally {
	ends: number;
	fenced: number;
	timeOuts: number;
	crashes: number;
	resends: number;
	duplicates: number;
	refused: number;
	compared: number;
}

const TOPICS: readonly (readonly [name: string, partitions: number])[] = [
	["a", 2],
	["b", 1],
	["passing", 1],
	[OFFSETS_TOPIC, 1],
];
const IDS = ["tx-1", "tx-2", "tx-3"];

interface Sent {
	readonly producer: KafkaProducer;
	readonly request: Request;
	readonly answered: (answer: Answer) => void;
}

export class KafkaLife implements ProducerWorld {
	readonly world: World;
	readonly ledger = new Ledger();
	readonly partitions: readonly (readonly [string, number])[] = [
		["a", 0],
		["a", 1],
		["b", 0],
		["passing", 0],
	];
	readonly story: string[] = [];
	readonly tally: KafkaTally = {
		ends: 0,
		fenced: 0,
		timeOuts: 0,
		crashes: 0,
		resends: 0,
		duplicates: 0,
		refused: 0,
		compared: 0,
	};
	readonly #random: SimulatedRandom;
	readonly #cuts: SimulatedRandom;
	readonly #steps: number;
	readonly #weights: Record<keyof typeof WEIGHTS, number>;
	readonly #producers: KafkaProducer[] = [];
	/** Those too that do nothing any more: a request of theirs may be on its way. */
	readonly #everyone: KafkaProducer[] = [];
	/** On their way to the broker. */
	#late: Sent[] = [];
	/** Carried out, their answers wait for a commit. */
	readonly #waiting = new Set<Sent>();
	/** Were carried out once, and may come again when their producer is fenced. */
	readonly #stale: { sent: Sent; producerId: number; producerEpoch: number }[] = [];
	/** The newest that was acknowledged, by transactional id. */
	readonly #newest = new Map<string, { producerId: number; producerEpoch: number }>();
	#numbers = 0;
	#instances = 0;
	#starts = 0;
	#deletedMs = Number.NEGATIVE_INFINITY;
	#violation: Error | undefined;

	constructor(options: KafkaLifeOptions) {
		this.#random = new SimulatedRandom(options.seed);
		this.#cuts = this.#random.fork("cuts");
		this.#steps = options.steps ?? this.#random.between(80, 200);
		this.#weights = { ...WEIGHTS, ...options.weights };
		const pick = <T>(items: readonly T[]): T => this.#random.pick(items);
		this.world = new World(this.#random, {
			journalFileBytes: pick([128, 256]) * 1024,
			journalFilesMax: 3,
			lingerMs: pick([0, 0, 2]),
			topicDefaults: {
				"log.segment.bytes": String(pick([4, 16]) * 1024),
				"log.roll.ms": "3600000",
				"log.index.interval.bytes": "512",
				"log.retention.ms": "604800000",
				"log.retention.bytes": String(pick([-1, 10_000])),
			},
			tearNeighbours: true,
			syncMs: pick([0.2, 2, 10]),
		});
	}

	/** Throws a `Violation` when the log does not show what producers know. */
	async run(): Promise<void> {
		this.#start();
		for (const id of IDS) this.#newProducer(id);
		for (let step = 0; step < this.#steps; step++) {
			await this.#step(this.#random.weighted(this.#weights));
			if (this.world.disk.off) await this.#crash();
			else if (this.world.failure !== undefined) throw this.world.failure;
			this.#check();
		}
		await this.#end();
	}

	/** Nobody acts any more: every transaction comes to its end, and nothing is held back. */
	async #end(): Promise<void> {
		this.world.disk.clearFaults();
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		await this.#crash();
		this.#late = [];
		await this.world.clock.advance(62_000);
		await this.#compare();
		const { transactions, log } = this.world.broker;
		for (const { transactionalId, row } of transactions.list())
			if (row.state === "Ongoing") throw new Violation(`${transactionalId} is open after its time-out`);
		for (const { topic, number, lastStableOffset, highWatermark } of log.partitions.values())
			if (lastStableOffset !== highWatermark)
				throw new Violation(`${topic}-${number} is readable to ${lastStableOffset} of ${highWatermark}`);
		this.#check();
	}

	#check(): void {
		if (this.#violation !== undefined) throw this.#violation;
	}

	async #step(what: keyof typeof WEIGHTS): Promise<void> {
		const random = this.#random;
		switch (what) {
			case "act":
				for (let i = random.between(1, 6); i > 0; i--) {
					random.pick(this.#producers).act();
					await this.world.clock.advance(random.pick([0, 0.1, 5]));
					if (this.world.disk.off) return;
				}
				return;
			case "time":
				return this.world.clock.advance(random.pick([0, 0.1, 1, 5, 20, 200]));
			case "timeOut":
				this.tally.timeOuts++;
				return this.world.clock.advance(random.pick([2500, 21_000]));
			case "deliver":
				return this.#deliver();
			case "stale":
				return this.#sendStale();
			case "replace":
				this.#newProducer(random.pick(IDS));
				return;
			case "giveUp":
				random.pick(this.#producers).giveUp();
				return;
			case "compare":
				return this.#compare();
			case "checkpoint":
				void this.world.log.checkpoint().catch((error: Error) => this.#note(error));
				return;
			case "retention":
				this.#power(() => this.world.broker.enforceRetention());
				return;
			case "deleteTopic":
				return this.#deleteTopic();
			case "armPower":
				return this.world.disk.stopAfter(random.between(1, 40));
			case "crash":
				return this.#crash();
			case "stop":
				return this.#cleanStop();
			case "full":
				return this.#full();
		}
	}

	now(): number {
		return this.world.clock.monotonic();
	}

	nextNumber(): number {
		return ++this.#numbers;
	}

	anyDeletedSince(began: number): boolean {
		return this.#deletedMs >= began;
	}

	#newProducer(transactionalId: string): void {
		// A process or two of each at a time: one that is replaced acts on for a while.
		const older = this.#producers.filter((each) => each.transactionalId === transactionalId);
		if (older.length > 1) this.#producers.splice(this.#producers.indexOf(older[0] as KafkaProducer), 1);
		const name = `${transactionalId} instance ${++this.#instances}`;
		const producer = new KafkaProducer(this, this.#random.fork(name), transactionalId, name);
		this.#producers.push(producer);
		this.#everyone.push(producer);
	}

	send(producer: KafkaProducer, request: Request, answered: (answer: Answer) => void): void {
		const random = this.#random;
		const sent: Sent = { producer, request, answered };
		const fate = random.weighted({ arrives: 75, lost: 6, "answer lost": 8, twice: 4, late: 7 });
		this.#tell(`${producer.name}: ${request.what}${fate === "arrives" ? "" : `, ${fate}`}`);
		if (fate !== "arrives") this.tally.resends++;
		if (fate === "late") this.#late.push(sent);
		else if (fate === "lost") answered({ kind: "unknown" });
		else {
			if (fate === "twice") this.#carryOut({ ...sent, answered: () => {} });
			this.#carryOut(sent, fate === "answer lost");
		}
	}

	#carryOut(sent: Sent, isAnswerLost = false): void {
		const { producer, request, answered } = sent;
		const { transactionalId, identity } = producer;
		const { broker } = this.world;
		const starts = this.#starts;
		const current = broker.transactions.describe(transactionalId);
		let value: unknown;
		try {
			value = request.work(broker);
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			this.tally.refused++;
			this.#tell(`    ${error.code}`);
			if (FENCED.has(error.code)) this.tally.fenced++;
			answered(isAnswerLost ? { kind: "unknown" } : { kind: "refused", code: error.code, message: error.message });
			if (producer.isDead) this.#newProducer(transactionalId);
			return;
		}
		this.#tell("    carried out");
		request.carriedOut?.();
		if (request.what === "init") {
			for (const other of this.#everyone)
				if (other !== producer && other.transactionalId === transactionalId) other.isSuperseded = true;
			producer.isSuperseded = false;
		} else if (identity !== undefined) {
			if (current !== undefined && !isSame(identity, current)) this.#checkFenced(sent, value);
			if (!isAnswerLost) this.#stale.push({ sent, ...identity });
		}
		this.#waiting.add(sent);
		if (isAnswerLost) this.#answer(sent, { kind: "unknown" });
		broker.log.onCommit({
			committed: () => {
				if (starts !== this.#starts || this.world.disk.off || isAnswerLost) return;
				if (request.what === "init") this.#newest.set(transactionalId, value as typeof identity & object);
				else if (request.what === "end") this.tally.ends++;
				this.#answer(sent, { kind: "done", value });
			},
		});
	}

	#answer(sent: Sent, answer: Answer): void {
		if (!this.#waiting.delete(sent)) return;
		try {
			sent.answered(answer);
		} catch (error) {
			this.#violation ??= error as Error;
		}
	}

	/** Who is fenced has nothing carried out; only what was stored before is answered again. */
	#checkFenced({ producer, request }: Sent, value: unknown): void {
		if (request.what === "produce" && (value as { isDuplicate: boolean }).isDuplicate) {
			this.tally.duplicates++;
			return;
		}
		throw new Violation(`${producer.name} is fenced, and its ${request.what} was carried out`);
	}

	async #deliver(): Promise<void> {
		const at = this.#random.between(0, this.#late.length);
		const [sent] = this.#late.splice(at, 1);
		if (sent === undefined) return;
		this.#tell(`${sent.producer.name}: ${sent.request.what} arrives late`);
		this.#carryOut(sent);
	}

	/** A request of long ago arrives once more, when its producer has been fenced. */
	async #sendStale(): Promise<void> {
		if (this.#stale.length === 0) return;
		const { sent, producerId, producerEpoch } = this.#random.pick(this.#stale);
		const current = this.world.broker.transactions.describe(sent.producer.transactionalId);
		if (current === undefined || isSame(current, { producerId, producerEpoch })) return;
		let value: unknown;
		try {
			value = sent.request.work(this.world.broker);
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			return;
		}
		this.#checkFenced(sent, value);
	}

	async #compare(): Promise<void> {
		const { world } = this;
		try {
			await world.finish(world.log.whenCommitted());
			this.#check();
			for (const [id, newest] of this.#newest) {
				const current = world.broker.transactions.describe(id);
				const isOlder =
					current === undefined ||
					current.producerId < newest.producerId ||
					(current.producerId === newest.producerId && current.producerEpoch < newest.producerEpoch);
				if (isOlder) throw new Violation(`${id} forgot its producer ${JSON.stringify(newest)}`);
			}
			await this.ledger.compare(world.broker, (promise) => world.finish(promise));
			this.tally.compared++;
		} catch (error) {
			if (error instanceof Violation) throw error;
			if (world.disk.off || (error instanceof NeverSettled && world.log.refusal !== undefined)) return;
			throw error;
		}
	}

	#deleteTopic(): void {
		const { broker } = this.world;
		const topic = broker.topics.get("passing");
		if (topic === undefined) return;
		for (const { id } of topic.partitions) this.ledger.gone.add(id);
		this.#deletedMs = this.now();
		this.#tell("topic passing is deleted");
		this.#power(() => {
			broker.topics.delete("passing");
			if (this.#random.chance(0.5)) broker.topics.create({ name: "passing", partitions: 1 });
		});
	}

	#full(): void {
		const { disk } = this.world;
		if (Number.isFinite(disk.capacityBytes)) {
			disk.capacityBytes = Number.POSITIVE_INFINITY;
			return;
		}
		let used = 0;
		for (const bytes of disk.files().values()) used += bytes.length;
		disk.capacityBytes = used + this.#random.pick([0, 1000, 20_000]);
	}

	#note(error: Error): void {
		if (!this.world.disk.off && !isFull(error)) this.#violation ??= error;
	}

	#power(task: () => void): void {
		try {
			task();
		} catch (error) {
			if (!this.world.disk.off && !isFull(error as Error)) throw error;
		}
	}

	// Ends and beginnings.

	async #cleanStop(): Promise<void> {
		if (Number.isFinite(this.world.disk.capacityBytes)) return;
		this.#tell("stop");
		try {
			await this.world.stop();
		} catch (error) {
			if (!this.world.disk.off) throw error;
			return;
		}
		this.#hangUp();
		this.#start();
		await this.#compare();
	}

	async #crash(): Promise<void> {
		this.tally.crashes++;
		const kind = this.#cuts.chance(0.75) ? "power cut" : "kill";
		this.#tell(kind);
		await this.world.crash(kind, this.#cuts);
		this.#hangUp();
		this.#start();
		await this.#compare();
	}

	/** No connection outlives the broker. */
	#hangUp(): void {
		this.#starts++;
		for (const sent of [...this.#waiting]) this.#answer(sent, { kind: "unknown" });
		for (const { answered } of this.#late.splice(0)) answered({ kind: "unknown" });
	}

	#start(): void {
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.world.start();
		const { topics } = this.world.broker;
		for (const [name, partitions] of TOPICS) {
			if (topics.get(name) !== undefined) continue;
			topics.create({ name, partitions });
		}
	}

	#tell(what: string): void {
		this.story.push(`${this.now().toFixed(1)} ${what}`);
	}
}

const FENCED = new Set(["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"]);

function isSame(a: { producerId: number; producerEpoch: number }, b: typeof a): boolean {
	return a.producerId === b.producerId && a.producerEpoch === b.producerEpoch;
}

function isFull(error: Error): boolean {
	const { code } = error as { code?: string };
	return code === "ENOSPC" || code === "KAFKA_STORAGE_ERROR";
}

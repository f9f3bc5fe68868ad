/** One seeded life of a consumer group: clients come, go, crash and start anew; the network and the gateway fail; then there is peace, and all must be well. */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { type ClientWorld, GROUP, GroupClient, TOPIC } from "./kafka-group-client.ts";
import { GroupModel } from "./kafka-group-model.ts";
import { Network } from "./kafka-group-network.ts";
import { Violation } from "./log-model.ts";
import { World } from "./world.ts";

const STEPS = 150;
/** Long enough for sessions and rebalances to end that began before. */
const PEACE_MS = 60_000;
const PARTITIONS_MAX = 8;
const CLIENTS_MAX = 6;
const STATIC_IDS = ["s1", "s2", "s3"];

export interface GroupTally {
	generations: number;
	commits: number;
	kills: number;
	staticRestarts: number;
	crashes: number;
}

export class GroupLife implements ClientWorld {
	readonly world: World;
	readonly network: Network;
	readonly model = new GroupModel();
	readonly tally: GroupTally = { generations: 0, commits: 0, kills: 0, staticRestarts: 0, crashes: 0 };
	readonly #random: SimulatedRandom;
	#clients: GroupClient[] = [];
	#named = 0;
	#offset = 0;

	constructor({ seed }: { seed: number | string }) {
		this.#random = new SimulatedRandom(`groups ${seed}`);
		const random = this.#random;
		this.world = new World(random, {
			journalFileBytes: 128 * 1024,
			journalFilesMax: 3,
			lingerMs: random.pick([0, 0, 5]),
			topicDefaults: { "log.segment.bytes": "65536", "log.retention.ms": "-1" },
			tearNeighbours: true,
			syncMs: random.pick([1, 20, 200]),
		});
		this.network = new Network(this.world, random.fork("network"), random.pick([0, 0.02, 0.1]));
	}

	nowMs(): number {
		return this.world.clock.monotonic();
	}

	partitions(): number {
		return this.world.broker.topics.get(TOPIC)?.partitions.length ?? 0;
	}

	newOffset(): number {
		this.tally.commits++;
		return ++this.#offset;
	}

	async run(): Promise<void> {
		this.world.start();
		this.world.broker.topics.create({ name: TOPIC, partitions: this.#random.between(1, 4) });
		for (let i = 0; i < 3; i++) this.#arrive();
		for (let step = 0; step < STEPS; step++) {
			await this.#act();
			await this.#pass(this.#random.chance(0.1) ? 1000 : this.#random.between(10, 600));
		}
		this.network.mishaps = 0;
		while (this.#living.length < 2) this.#arrive();
		// The topic may have changed since the leader divided it.
		for (const client of this.#clients) client.joinAnew();
		for (const until = this.nowMs() + PEACE_MS; this.nowMs() < until; ) await this.#pass(500);
		this.#allIsWell();
		await this.#restart("stop");
		this.tally.generations = this.model.generation;
		await this.world.stop();
	}

	get #living(): GroupClient[] {
		return this.#clients.filter(({ phase }) => phase !== "gone");
	}

	async #act(): Promise<void> {
		const random = this.#random;
		const client = this.#living.length > 0 ? random.pick(this.#living) : undefined;
		switch (
			random.weighted({
				nothing: 60,
				arrive: 6,
				crash: 4,
				leave: 4,
				anew: 6,
				partitions: 2,
				kill: 2,
				stop: 1,
				topic: 1,
			})
		) {
			case "arrive":
				this.#arrive();
				break;
			case "crash":
				client?.crash();
				this.tally.crashes++;
				break;
			case "leave":
				client?.leave();
				break;
			case "anew":
				client?.joinAnew();
				break;
			case "partitions":
				if (this.partitions() < PARTITIONS_MAX)
					this.world.broker.topics.alter(TOPIC, { partitions: this.partitions() + 1 });
				break;
			case "kill":
				await this.#restart(random.pick(["power cut", "kill"]));
				break;
			case "stop":
				await this.#restart("stop");
				break;
			case "topic":
				this.#makeTopicAnew();
				break;
		}
		this.#clients = this.#living;
	}

	#arrive(): void {
		if (this.#living.length >= CLIENTS_MAX) return;
		const instanceId = this.#random.chance(0.4) ? this.#random.pick(STATIC_IDS) : null;
		const name = `c${++this.#named}`;
		// The one before it, if it lives, does not know that it has been replaced.
		if (instanceId !== null && this.#living.some((client) => client.instanceId === instanceId))
			this.tally.staticRestarts++;
		this.#clients.push(new GroupClient(name, instanceId, this.#random.fork(name), this));
	}

	#makeTopicAnew(): void {
		const { topics } = this.world.broker;
		topics.delete(TOPIC);
		topics.create({ name: TOPIC, partitions: this.#random.between(1, 4) });
		this.model.topicMadeAnew();
	}

	async #restart(how: "power cut" | "kill" | "stop"): Promise<void> {
		this.model.tell(`${Math.round(this.nowMs())} ${how}`);
		this.tally.kills++;
		if (how === "stop") await this.world.stop();
		this.network.cut();
		if (how !== "stop") await this.world.crash(how, this.#random);
		this.world.start();
		const { offsets } = this.world.broker.groups;
		this.model.restarted((partition) => offsets.fetch(GROUP, TOPIC, partition)?.offset ?? -1);
	}

	async #pass(ms: number): Promise<void> {
		for (let left = ms; left > 0; left -= 100) {
			this.network.tick();
			for (const client of this.#clients) client.tick();
			await this.world.clock.advance(Math.min(left, 100));
			if (this.network.failure !== undefined) throw this.network.failure;
			if (this.world.failure !== undefined) throw this.world.failure;
		}
	}

	/** Everybody who lives has the newest generation, and each partition one owner. */
	#allIsWell(): void {
		const living = this.#living;
		const owners = living.flatMap(({ assigned }) => assigned).sort((a, b) => a - b);
		const all = Array.from({ length: this.partitions() }, (_, i) => i);
		const states = living.map(({ name, phase, generation }) => `${name} ${phase} ${generation}`).join(", ");
		if (living.some(({ phase, generation }) => phase !== "stable" || generation !== this.model.generation))
			throw new Violation(`after ${PEACE_MS} ms of peace: ${states}, newest ${this.model.generation}`);
		const described = this.world.broker.groups.describe(GROUP);
		if (described?.state !== "Stable" || described.members.length !== living.length)
			throw new Violation(
				`after peace the group is ${described?.state} with ${described?.members.length} members: ${states}`,
			);
		if (owners.length > all.length || owners.some((owner, i) => owner !== all[i]))
			throw new Violation(`after peace ${all.length} partitions are owned as ${owners.join(" ")}: ${states}`);
	}
}

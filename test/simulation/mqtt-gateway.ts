/**
 * The gateway of a simulated MQTT life: the real door over the real log, on a disk and a clock that are simulated. Starts it,
 * kills it, stops it, takes its space and its memory, connects clients to it, and tells the model what its log holds.
 */
import { Engine } from "../../bridge/mqtt/engine.ts";
import type { MqttOptions } from "../../bridge/mqtt/options.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Partition } from "../../src/log/partition.ts";
import { Violation } from "./log-model.ts";
import { eventIdOf } from "./mqtt-inbox.ts";
import { Link, type LinkEnd } from "./mqtt-link.ts";
import { MqttModel } from "./mqtt-model.ts";
import type { ClientWorld } from "./mqtt-traits.ts";
import { recordsIn, World } from "./world.ts";

const MAX_INFLIGHT = 10;

const OPTIONS: MqttOptions = {
	listen: "",
	routes: [
		{ filter: "a/{name}", topic: "ta", key: "{name}" },
		{ filter: "c", topic: "tc", key: "{topic}" },
		{ filter: "#", topic: "tb", key: "{topic}" },
	],
	maxPacketBytes: 100_000,
	receiveMaximum: 8,
	maxConnections: 100,
	connectTimeoutMs: 10_000,
	maxKeepAliveSeconds: 0,
	maxSessionExpirySeconds: 4_294_967_295,
	maxInflight: MAX_INFLIGHT,
	maxSubscriptionsPerSession: 1000,
	topicAliasMaximum: 4,
	maxRetainedMessages: 1000,
	sysIntervalSeconds: 0,
	version: "0.0.0",
	shareExpirySeconds: 0,
	redirectTo: "",
	redirectWhen: "full",
	random: new SimulatedRandom("identifiers"),
};

export class MqttGateway implements ClientWorld {
	readonly world: World;
	readonly model = new MqttModel();
	readonly maxInflight = MAX_INFLIGHT;
	startedMs = 0;
	kills = 0;
	#engine: Engine | undefined;
	#violation: Error | undefined;
	/** The disk was full since it started: errors may be told. */
	#wasFull = false;
	#isHeld = false;
	readonly #links = new Set<Link>();
	#linksMade = 0;
	readonly #options: MqttOptions;
	readonly #fillsUp: boolean;
	readonly #network: SimulatedRandom;
	readonly #cuts: SimulatedRandom;

	/** `fillsUp`: the disk may. */
	constructor(random: SimulatedRandom, fillsUp: boolean) {
		this.#network = random.fork("network");
		this.#cuts = random.fork("cuts");
		this.#fillsUp = fillsUp;
		this.world = new World(random, {
			journalFileBytes: random.pick([128, 256]) * 1024,
			journalFilesMax: 3,
			lingerMs: random.pick([0, 0, 2]),
			topicDefaults: {
				"log.segment.bytes": String(random.pick([4, 16]) * 1024),
				"log.roll.ms": "3600000",
				"log.index.interval.bytes": "512",
				"log.retention.ms": "604800000",
				"log.retention.bytes": String(random.pick([-1, 10_000, 30_000])),
			},
			tearNeighbours: true,
			syncMs: random.pick([0.2, 2, 10]),
		});
		this.#options = {
			...OPTIONS,
			shareExpirySeconds: random.pick([0, 0, 3600]),
			...(random.chance(0.2) && { outputBudgetBytes: 1000 }),
		};
		this.model.nowMs = () => this.clock.monotonic();
	}

	get clock() {
		return this.world.clock;
	}

	/** The power has gone. */
	get off(): boolean {
		return this.world.disk.off;
	}

	get wasFull(): boolean {
		return this.#wasFull;
	}

	/** Throws what went wrong meanwhile. */
	check(): void {
		if (this.#violation !== undefined) throw this.#violation;
		if (this.off) return;
		if (this.world.failure !== undefined) throw this.world.failure;
		const bad = this.world.lines.find(({ level, message, fields }) => {
			if (level !== "error" || (this.#wasFull && /failed|full|not be/.test(message))) return false;
			// The last words of a process that is gone do not count.
			return !/PowerLossError|the power went|the disk is off/.test(JSON.stringify(fields));
		});
		if (bad !== undefined) throw new Violation(`logged: ${bad.message} ${JSON.stringify(bad.fields)}`);
		this.world.lines.length = 0;
	}

	/** An error in something that nobody waits for. */
	note(error: Error): void {
		if (!this.#wasFull && !this.off) this.#violation ??= error;
	}

	start(): void {
		const { world } = this;
		this.#wasFull = false;
		this.#isHeld = false;
		world.start();
		const topics: [name: string, partitions: number][] = [
			["ta", 2],
			["tb", 1],
		];
		// Where the disk does not fill up, the third is made by the first publish to it.
		if (this.#fillsUp) topics.push(["tc", 1]);
		for (const [name, partitions] of topics) {
			if (world.broker.topics.get(name) === undefined) world.broker.topics.create({ name, partitions });
		}
		this.startedMs = this.clock.monotonic();
		this.#engine = new Engine(world.broker, this.#options);
		this.#engine.start();
	}

	async kill(): Promise<void> {
		this.check();
		const kind = this.#cuts.chance(0.75) ? "power cut" : "kill";
		this.model.tell(kind);
		this.model.crashes++;
		this.kills++;
		await this.world.crash(kind, this.#cuts);
		this.world.lines.length = 0;
		this.#hangUp();
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.start();
	}

	/** Stops as Ctrl-C does; false when the power went meanwhile. */
	async stop(): Promise<boolean> {
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.hold(false);
		this.model.tell("stop");
		await this.clock.advance(1500);
		if (this.off) return false;
		try {
			await this.world.finish(this.#engine!.stop());
			await this.clock.advance(50);
			await this.world.stop();
		} catch (error) {
			if (!this.off) throw error;
			return false;
		}
		this.model.crashes++;
		this.#hangUp();
		return true;
	}

	#hangUp(): void {
		for (const link of this.#links) link.doorDied();
		this.#links.clear();
	}

	/** Every connection breaks. */
	cutAll(): void {
		for (const link of this.#links) if (!link.over) link.cut();
	}

	/** All sockets are left unread until memory is there again. */
	hold(isHeld = !this.#isHeld): void {
		if (isHeld === this.#isHeld) return;
		this.#isHeld = isHeld;
		this.model.tell(isHeld ? "memory is short" : "memory is there again");
		if (isHeld) this.world.broker.pressure.hold();
		else this.world.broker.pressure.letGo();
	}

	/** The disk is full, or is not any more. */
	fill(freeBytes: number): void {
		const { disk } = this.world;
		if (Number.isFinite(disk.capacityBytes)) {
			disk.capacityBytes = Number.POSITIVE_INFINITY;
			return;
		}
		let used = 0;
		for (const bytes of disk.files().values()) used += bytes.length;
		disk.capacityBytes = used + freeBytes;
		this.#wasFull = true;
		this.model.tell(`${freeBytes} bytes are free`);
	}

	dial(end: LinkEnd): Link | undefined {
		const random = this.#network;
		const options = {
			latencyMs: random.pick([0.05, 1, 8]),
			kernelBytes: random.pick([300, 5000, 200_000]),
			chunkBytes: random.pick([1, 20, 1000]),
			isOff: () => this.off,
		};
		const guard = (work: () => void) => {
			try {
				work();
			} catch (error) {
				this.#violation ??= error as Error;
			}
		};
		const number = ++this.#linksMade;
		const link = new Link(number, this.clock, random.fork(`link ${number}`), options, end, guard);
		const connection = this.#engine!.accept(link);
		if (connection === undefined) return undefined;
		link.handler = connection;
		this.#links.add(link);
		return link;
	}

	/** By partition, where the log begins. */
	logStarts(): Map<number, number> {
		const starts = new Map<number, number>();
		for (const { partitions } of this.world.broker.topics.list()) {
			for (const { id, logStartOffset } of partitions) starts.set(id, logStartOffset);
		}
		return starts;
	}

	/** Tells the model what the log shows; it may end early where the power goes. */
	async harvest(): Promise<void> {
		for (const { partitions } of this.world.broker.topics.list()) {
			for (const partition of partitions) {
				try {
					await this.#harvestPartition(partition);
				} catch (error) {
					if (!this.off || error instanceof Violation) throw error;
					return;
				}
			}
		}
	}

	async #harvestPartition(partition: Partition): Promise<void> {
		for (;;) {
			const next = this.model.log.get(partition.id)?.length ?? 0;
			if (next >= partition.highWatermark) return;
			if (next < partition.logStartOffset) throw new Violation("records went before they were seen");
			const bytes = await this.world.finish(partition.read(next, 64 * 1024));
			for (const { offset, value, headers } of recordsIn(bytes)) {
				if (offset < next) continue;
				const text = (name: string) => headers.find(([key]) => key === name)?.[1]?.toString();
				const id = value === null ? 0 : eventIdOf(value);
				const expires = text("mqtt.message-expiry") !== undefined;
				const place = { partition: partition.id, offset };
				this.model.stored(place, text("mqtt.topic") ?? "", id, text("mqtt.retain") === "1", expires);
			}
		}
	}

	/** What is held for connections and subscriptions; by what it is. */
	left(): Record<string, number> {
		const engine = this.#engine!;
		return {
			connections: engine.connections.size,
			clients: engine.clients.size,
			subscriptions: engine.deliveries.trie.size,
			feeds: engine.deliveries.feeds.size,
			groups: engine.groups.size,
			wills: engine.wills.size,
			"bytes unsent": engine.outputBudget.unsentBytes,
			"bytes of pressure": this.world.broker.pressure.bytes,
		};
	}
}

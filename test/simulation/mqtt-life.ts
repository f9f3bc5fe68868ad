/**
 * One seeded life of an MQTT door: clients that come, go, subscribe, publish and acknowledge as they like, networks that
 * break, a gateway that is killed, stopped, filled up; again and again all comes to rest and is compared with the model.
 */

import type { Qos } from "../../bridge/mqtt/codec/packets.ts";
import { Engine } from "../../bridge/mqtt/engine.ts";
import type { MqttOptions } from "../../bridge/mqtt/options.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Violation } from "./log-model.ts";
import { type ClientTraits, type ClientWorld, MqttClient, type Wish } from "./mqtt-client.ts";
import { Link, type LinkEnd } from "./mqtt-link.ts";
import { MqttModel } from "./mqtt-model.ts";
import { checkReplay, checkRetained } from "./mqtt-verifier.ts";
import { recordsIn, World } from "./world.ts";

/** How often each thing is done, against the others. */
export const WEIGHTS = {
	connect: 8,
	takeOver: 1.5,
	subscribe: 6,
	unsubscribe: 2,
	publish: 24,
	acknowledge: 14,
	time: 12,
	seconds: 3,
	disconnect: 2,
	vanish: 3,
	freeze: 1,
	slow: 2,
	checkpoint: 1.5,
	retention: 1,
	stepClock: 1,
	full: 0.5,
	pressure: 0.5,
	createTopic: 0.5,
	kill: 1.2,
	armPower: 0.8,
	stop: 0.3,
	rest: 0.3,
};

export type Weights = Record<keyof typeof WEIGHTS, number>;

const TOPICS = ["a/x", "a/y", "a/z", "b/x", "b/y", "c"];
const PLAIN = ["a/#", "a/+", "+/x", "#", "b/x", "a/x", "c", "b/+"];
const SHARED = ["$share/g/a/#", "$share/g/b/x", "$share/h/#", "$share/g/a/#"];
const REPLAYS = ["$replay/earliest/a/#", "$replay/-5s/b/+", "$replay/earliest/#"];
const MAX_INFLIGHT = 10;

/** What a run came to. */
export interface MqttTally {
	events: number;
	acked: number;
	deliveries: number;
	resends: number;
	kills: number;
	rests: number;
	takeOvers: number;
	wills: number;
}

export class MqttLife {
	readonly world: World;
	readonly model = new MqttModel();
	readonly clients: MqttClient[] = [];
	readonly tally: MqttTally = {
		events: 0,
		acked: 0,
		deliveries: 0,
		resends: 0,
		kills: 0,
		rests: 0,
		takeOvers: 0,
		wills: 0,
	};
	engine!: Engine;
	readonly #random: SimulatedRandom;
	readonly #network: SimulatedRandom;
	readonly #cuts: SimulatedRandom;
	readonly #steps: number;
	readonly #weights: Weights;
	readonly #filters: string[][];
	readonly #links = new Set<Link>();
	readonly #clientWorld: ClientWorld;
	#linksMade = 0;
	#startedMs = 0;
	#verifiers = 0;
	#isHeld = false;
	#topicsMade = 0;
	readonly #options: MqttOptions;
	#violation: Error | undefined;
	/** The disk was full in this life of the gateway: errors may be told. */
	#wasFull = false;

	constructor(options: { seed: number | string; steps?: number; weights?: Partial<Weights> }) {
		const random = new SimulatedRandom(options.seed);
		this.#random = random;
		this.#network = random.fork("network");
		this.#cuts = random.fork("cuts");
		this.#steps = options.steps ?? random.between(40, 120);
		const isQuiet = random.chance(0.6);
		this.#weights = { ...WEIGHTS, ...(isQuiet && { full: 0 }), ...options.weights };
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
		const { model } = this;
		model.nowMs = () => this.world.clock.monotonic();
		const life = this;
		this.#clientWorld = {
			clock: this.world.clock,
			model,
			dial: (end) => this.#dial(end),
			get startedMs() {
				return life.#startedMs;
			},
			maxInflight: MAX_INFLIGHT,
		};
		const kinds = random.pick([
			[PLAIN],
			[PLAIN],
			[SHARED],
			[PLAIN, SHARED],
			[PLAIN, REPLAYS],
			[PLAIN, SHARED, REPLAYS],
		]);
		this.#filters = Array.from({ length: random.between(2, 4) }, (_, i) => {
			const traits: ClientTraits = {
				version: random.pick([4, 5]),
				kept: random.chance(0.7),
				receiveMaximum: random.pick([1, 2, 3, 5, 20]),
				topicAliasMaximum: random.pick([0, 2, 10]),
				retainAsPublished: random.chance(0.1),
				retainHandling: random.pick([0, 0, 0, 1, 2]),
				noLocal: random.chance(0.1),
				expirySeconds: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 2]),
				maximumPacketSize: random.pick([0, 0, 0, 0, 250]),
				packetIds: random.pick([8, 65_535]),
			};
			const client = new MqttClient(`c${i}`, traits, random.fork(`client ${i}`), this.#clientWorld);
			this.clients.push(client);
			model.tell(`${client.name}: ${JSON.stringify(traits)}`);
			return random.chance(0.6) ? [...random.pick(kinds)] : kinds.flat();
		});
	}

	/** Throws a `Violation` when a promise is broken. */
	async run(): Promise<void> {
		this.#start();
		for (let step = 0; step < this.#steps; step++) {
			try {
				await this.#step(this.#random.weighted(this.#weights));
			} catch (error) {
				if (!this.world.disk.off || error instanceof Violation) throw error;
			}
			if (this.#random.chance(0.7)) await this.world.clock.advance(this.#random.pick([0.1, 1, 3, 10]));
			if (this.world.disk.off) await this.#kill();
			this.#check();
		}
		this.world.disk.stopAfter(Number.POSITIVE_INFINITY);
		await this.#rest();
		await this.#end();
		const { events, sessions } = this.model;
		this.tally.events = events.size;
		for (const event of events.values()) {
			if (event.acked) this.tally.acked++;
			if (event.isWill && event.places.length > 0) this.tally.wills++;
		}
		for (const { got } of sessions)
			for (const arrivals of got.values()) {
				this.tally.deliveries += arrivals.length;
				this.tally.resends += arrivals.filter(({ dup }) => dup).length;
			}
	}

	async #step(what: keyof Weights): Promise<void> {
		const random = this.#random;
		const client = random.pick(this.clients);
		const { clock, disk } = this.world;
		switch (what) {
			case "connect":
				if (client.offline) this.#connect(client);
				return;
			case "takeOver":
				if (client.offline) return;
				this.tally.takeOvers++;
				this.#connect(client);
				return;
			case "subscribe":
				return this.#subscribe(client);
			case "unsubscribe": {
				const active = client.session.active().map(({ filter }) => filter);
				if (client.online && active.length > 0) client.unsubscribe([random.pick(active)]);
				return;
			}
			case "publish":
				return this.#publish(client);
			case "acknowledge":
				for (const each of this.clients) {
					if (random.chance(0.6)) each.acknowledge(random.between(1, 12));
					if (random.chance(0.3)) each.ping();
				}
				return;
			case "time":
				return clock.advance(random.pick([1, 5, 20, 100]));
			case "seconds":
				return clock.advance(random.pick([500, 1100, 5500]));
			case "disconnect":
				if (client.online) client.disconnect(random.chance(0.15), random.chance(0.1));
				return;
			case "vanish":
				if (client.link !== undefined)
					this.#told(`the network cuts link ${client.link.number}`, () => client.link?.cut());
				return;
			case "freeze":
				if (client.link !== undefined) this.#told(`link ${client.link.number} freezes`, () => client.link?.freeze());
				return;
			case "slow":
				for (const { link } of this.clients) {
					if (link === undefined) continue;
					if (link.reading) link.reading = random.chance(0.5);
					else link.read();
				}
				return;
			case "checkpoint":
				this.model.tell("checkpoint");
				this.world.log.checkpoint().catch((error: Error) => {
					if (!this.#wasFull && !disk.off) this.#violation ??= error;
				});
				return;
			case "retention":
				await this.#harvest();
				if (disk.off) return;
				this.model.tell("retention");
				this.world.broker.enforceRetention();
				return;
			case "stepClock":
				return clock.step(random.pick([-5000, -1000, 1000, 5000]));
			case "full":
				return this.#full();
			case "pressure":
				this.#hold(!this.#isHeld);
				return;
			case "createTopic":
				if (this.#wasFull) return;
				this.model.tell("a topic is made");
				this.world.broker.topics.create({ name: `other${this.#topicsMade++}`, partitions: 1 });
				return;
			case "armPower":
				return disk.stopAfter(random.between(1, 30));
			case "kill":
				return this.#kill();
			case "stop":
				return this.#restart();
			case "rest":
				return this.#rest();
		}
	}

	#told(what: string, work: () => void): void {
		this.model.tell(what);
		work();
	}

	#check(): void {
		if (this.#violation !== undefined) throw this.#violation;
		if (this.world.disk.off) return;
		if (this.world.failure !== undefined) throw this.world.failure;
		const bad = this.world.lines.find(({ level, message, fields }) => {
			if (level !== "error" || (this.#wasFull && /failed|full|not be/.test(message))) return false;
			return !JSON.stringify(fields).includes("PowerLossError"); // the last words of a process that is gone
		});
		if (bad !== undefined) throw new Violation(`logged: ${bad.message} ${JSON.stringify(bad.fields)}`);
		this.world.lines.length = 0;
	}

	// What clients do.

	#connect(client: MqttClient): void {
		const random = this.#random;
		const will = random.chance(0.35)
			? {
					topic: random.pick(TOPICS),
					qos: random.pick<Qos>([0, 1, 2]),
					retain: random.chance(0.2),
					delaySeconds: random.pick([0, 0, 1, 3]),
				}
			: undefined;
		const subscriptions = random.chance(0.2) ? this.#wishes(client) : [];
		const topic = random.chance(0.1) ? random.pick(TOPICS) : undefined;
		client.connect({
			subscriptions,
			...(topic !== undefined && { topic }),
			clean: random.chance(0.06),
			will,
			keepAliveSeconds: random.pick([0, 0, 3]),
		});
	}

	#subscribe(client: MqttClient): void {
		if (client.online) client.subscribe(this.#wishes(client));
	}

	#wishes(client: MqttClient): Wish[] {
		const random = this.#random;
		const filters = this.#filters[this.clients.indexOf(client)]!;
		const asked = new Set(Array.from({ length: random.between(1, 3) }, () => random.pick(filters)));
		return [...asked].map((filter) => ({ filter, qos: qosOf(client.name, filter) }));
	}

	#publish(client: MqttClient): void {
		if (!client.online) return;
		const random = this.#random;
		for (let i = random.pick([1, 1, 2, 5, 12]); i > 0; i--) {
			client.publish(random.pick(TOPICS), random.pick<Qos>([0, 1, 1, 2, 2]), {
				retain: random.chance(0.15),
				empty: random.chance(0.04),
				expirySeconds: random.chance(0.08) ? random.pick([1, 10]) : 0,
				pad: random.pick([0, 0, 10, 300, random.chance(0.1) ? 6000 : 100]),
			});
		}
	}

	// What happens to all of them.

	#dial(end: LinkEnd): Link | undefined {
		const random = this.#network;
		const options = {
			latencyMs: random.pick([0.05, 1, 8]),
			kernelBytes: random.pick([300, 5000, 200_000]),
			chunkBytes: random.pick([1, 20, 1000]),
			isOff: () => this.world.disk.off,
		};
		const guard = (work: () => void) => {
			try {
				work();
			} catch (error) {
				this.#violation ??= error as Error;
			}
		};
		const link = new Link(
			++this.#linksMade,
			this.world.clock,
			random.fork(`link ${this.#linksMade}`),
			options,
			end,
			guard,
		);
		const connection = this.engine.accept(link);
		if (connection === undefined) return undefined;
		link.handler = connection;
		this.#links.add(link);
		return link;
	}

	#start(): void {
		const { world } = this;
		this.#wasFull = false;
		this.#isHeld = false;
		world.start();
		const topics: [name: string, partitions: number][] = [
			["ta", 2],
			["tb", 1],
		];
		// Where the disk does not fill up, the third is made by the first publish to it.
		if (this.#weights.full > 0) topics.push(["tc", 1]);
		for (const [name, partitions] of topics) {
			if (world.broker.topics.get(name) === undefined) world.broker.topics.create({ name, partitions });
		}
		this.#startedMs = world.clock.monotonic();
		this.engine = new Engine(world.broker, this.#options);
		this.engine.start();
	}

	#hangUp(): void {
		for (const link of this.#links) link.doorDied();
		this.#links.clear();
	}

	async #kill(): Promise<void> {
		this.#check();
		const kind = this.#cuts.chance(0.75) ? "power cut" : "kill";
		this.model.tell(kind);
		this.model.crashes++;
		this.tally.kills++;
		await this.world.crash(kind, this.#cuts);
		this.world.lines.length = 0;
		this.#hangUp();
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.#start();
	}

	async #restart(): Promise<void> {
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.#hold(false);
		this.model.tell("stop");
		await this.world.clock.advance(1500);
		if (this.world.disk.off) return;
		try {
			await this.world.finish(this.engine.stop());
			await this.world.clock.advance(50);
			await this.world.stop();
		} catch (error) {
			if (!this.world.disk.off) throw error;
			return;
		}
		this.model.crashes++;
		this.#hangUp();
		this.#start();
	}

	/** All sockets are left unread for a while. */
	#hold(isHeld: boolean): void {
		if (isHeld === this.#isHeld) return;
		this.#isHeld = isHeld;
		this.model.tell(isHeld ? "memory is short" : "memory is there again");
		if (isHeld) this.world.broker.pressure.hold();
		else this.world.broker.pressure.letGo();
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
		this.#wasFull = true;
		this.model.tell(`${disk.capacityBytes - used} bytes are free`);
	}

	/** Tells the model what the log shows. */
	async #harvest(): Promise<void> {
		for (const { partitions } of this.world.broker.topics.list()) {
			for (const partition of partitions) {
				for (;;) {
					const next = this.model.log.get(partition.id)?.length ?? 0;
					if (next >= partition.highWatermark) break;
					if (next < partition.logStartOffset) throw new Violation("records went before they were seen");
					let bytes: Buffer;
					try {
						bytes = await this.world.finish(partition.read(next, 64 * 1024));
					} catch (error) {
						if (this.world.disk.off) return;
						throw error;
					}
					for (const { offset, value, headers } of recordsIn(bytes)) {
						if (offset < next) continue;
						const text = (name: string) => headers.find(([key]) => key === name)?.[1]?.toString();
						const id = Number(
							/^e(\d+);/.exec(value?.toString("latin1", 0, Math.min(value.length, 20)) ?? "")?.[1] ?? 0,
						);
						const expires = text("mqtt.message-expiry") !== undefined;
						this.model.stored(
							{ partition: partition.id, offset },
							text("mqtt.topic") ?? "",
							id,
							text("mqtt.retain") === "1",
							expires,
						);
					}
				}
			}
		}
	}

	/** All clients come back and acknowledge everything, until nothing happens any more. */
	async #settle(clients: readonly MqttClient[]): Promise<void> {
		const { clock, disk } = this.world;
		let quiet = 0;
		for (let round = 0; quiet < 25; round++) {
			if (round > 600)
				throw new Violation(`no rest: ${clients.map((each) => `${each.name} ${each.online} ${each.done}`).join(", ")}`);
			const { turn } = this.model;
			for (const client of clients) {
				if (client.offline) client.connect();
				client.link?.read();
				client.acknowledge(100);
			}
			if (round % 10 === 0) for (const client of this.clients) client.ping();
			await clock.advance(round % 20 === 0 ? 1000 : 100);
			if (disk.off) return;
			const isQuiet =
				turn === this.model.turn &&
				clients.every((client) => client.online && client.done && client.link?.busy !== true);
			quiet = isQuiet ? quiet + 1 : 0;
			this.#check();
		}
	}

	async #rest(): Promise<void> {
		const { disk } = this.world;
		this.model.tell("rest");
		disk.capacityBytes = Number.POSITIVE_INFINITY;
		this.#hold(false);
		for (const client of this.clients) {
			// What is frozen says nothing: it may be anything but at rest.
			if (client.link?.frozen === true) client.connect();
		}
		await this.#settle(this.clients);
		if (!disk.off) await this.#harvest();
		if (disk.off) return;
		this.tally.rests++;
		this.model.tell("at rest");
		const gone = new Map<number, number>();
		for (const { partitions } of this.world.broker.topics.list()) {
			for (const { id, logStartOffset } of partitions) gone.set(id, logStartOffset);
		}
		this.model.atRest(
			this.clients.map(({ session }) => session),
			gone,
		);
		for (const client of this.clients) {
			// What is gone, retained or taken by retention, cannot be sent again.
			const stuck = client.unreleased.find((id) => {
				const event = this.model.events.get(id);
				return event?.retain === false && !event.places.some(({ partition, offset }) => offset < gone.get(partition)!);
			});
			if (stuck !== undefined) throw new Violation(`${client.session.name}: e${stuck} was never released`);
		}
		await this.#verify(gone);
	}

	/** What a new client gets: what is retained, and the log by a replay. */
	async #verify(gone: ReadonlyMap<number, number>): Promise<void> {
		const traits = {
			version: 5,
			kept: false,
			receiveMaximum: 20,
			topicAliasMaximum: 3,
			retainAsPublished: false,
			retainHandling: 0,
			noLocal: false,
			expirySeconds: 0,
			maximumPacketSize: 0,
			packetIds: 100,
		} as const;
		for (const filter of ["#", "$replay/earliest/#"]) {
			const name = `v${++this.#verifiers}`;
			const client = new MqttClient(name, traits, this.#random.fork(name), this.#clientWorld);
			client.connect();
			await this.#settle([client]);
			if (this.world.disk.off) return;
			client.subscribe([{ filter, qos: 1 }]);
			await this.#settle([client]);
			if (!this.world.disk.off) await this.#harvest();
			if (this.world.disk.off) return;
			if (filter === "#") checkRetained(this.model, client.session);
			else checkReplay(this.model, client.session, gone);
			client.disconnect(false);
			await this.world.clock.advance(50);
		}
	}

	/** Everybody goes: nothing may stay behind in memory. */
	async #end(): Promise<void> {
		const { clock, disk } = this.world;
		disk.clearFaults();
		if (disk.off) await this.#kill();
		for (const client of this.clients) {
			client.link?.read();
			client.disconnect(false);
		}
		await clock.advance(500);
		for (const link of this.#links) if (!link.over) link.cut();
		await clock.advance(7000);
		this.#check();
		const { engine } = this;
		const left = {
			connections: engine.connections.size,
			clients: engine.clients.size,
			subscriptions: engine.deliveries.trie.size,
			feeds: engine.deliveries.feeds.size,
			groups: engine.groups.size,
			wills: engine.wills.size,
			unsent: engine.outputBudget.unsentBytes,
			pressure: this.world.broker.pressure.bytes,
		};
		for (const [what, count] of Object.entries(left)) {
			if (count !== 0) throw new Violation(`${count} ${what} are left when all are gone`);
		}
		await this.world.finish(engine.stop());
		await this.world.stop();
	}
}

/** The same whenever it asks again. */
function qosOf(client: string, filter: string): Qos {
	const random = new SimulatedRandom(`${client} ${filter}`);
	return random.pick<Qos>([0, 1, 1, 2, 2]);
}

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

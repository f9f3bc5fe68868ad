/**
 * One seeded life of an MQTT door: clients that come, go, subscribe, publish and acknowledge as they like, networks that
 * break, a gateway that is killed, stopped, filled up; again and again all comes to rest and is compared with the model.
 */
import type { Qos } from "../../bridge/mqtt/codec/packets.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Violation } from "./log-model.ts";
import { MqttClient } from "./mqtt-client.ts";
import { MqttGateway } from "./mqtt-gateway.ts";
import type { MqttModel } from "./mqtt-model.ts";
import type { ClientTraits, Wish } from "./mqtt-traits.ts";
import { checkReplay, checkRetained } from "./mqtt-verifier.ts";

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
	readonly gateway: MqttGateway;
	readonly model: MqttModel;
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
	readonly #random: SimulatedRandom;
	readonly #steps: number;
	readonly #weights: Weights;
	readonly #filters: string[][];
	#verifiers = 0;
	#topicsMade = 0;

	constructor(options: { seed: number | string; steps?: number; weights?: Partial<Weights> }) {
		const random = new SimulatedRandom(options.seed);
		this.#random = random;
		this.#steps = options.steps ?? random.between(40, 120);
		const isQuiet = random.chance(0.6);
		this.#weights = { ...WEIGHTS, ...(isQuiet && { full: 0 }), ...options.weights };
		this.gateway = new MqttGateway(random, this.#weights.full > 0);
		this.model = this.gateway.model;
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
			const client = new MqttClient(`c${i}`, traits, random.fork(`client ${i}`), this.gateway);
			this.clients.push(client);
			this.model.tell(`${client.name}: ${JSON.stringify(traits)}`);
			return random.chance(0.6) ? [...random.pick(kinds)] : kinds.flat();
		});
	}

	/** Throws a `Violation` when a promise is broken. */
	async run(): Promise<void> {
		const { gateway } = this;
		gateway.start();
		for (let step = 0; step < this.#steps; step++) {
			try {
				await this.#step(this.#random.weighted(this.#weights));
			} catch (error) {
				if (!gateway.off || error instanceof Violation) throw error;
			}
			if (this.#random.chance(0.7)) await gateway.clock.advance(this.#random.pick([0.1, 1, 3, 10]));
			if (gateway.off) await gateway.kill();
			gateway.check();
		}
		gateway.world.disk.stopAfter(Number.POSITIVE_INFINITY);
		await this.#rest();
		await this.#end();
		const { events, sessions } = this.model;
		this.tally.kills = gateway.kills;
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
		const { gateway, model } = this;
		const { clock, world } = gateway;
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
				if (client.online) client.subscribe(this.#wishes(client));
				return;
			case "unsubscribe": {
				const active = client.session.active().map(({ filter }) => filter);
				if (client.online && active.length > 0) client.unsubscribe([random.pick(active)]);
				return;
			}
			case "publish":
				if (client.online) this.#publish(client);
				return;
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
				if (client.link === undefined) return;
				model.tell(`the network cuts link ${client.link.number}`);
				client.link.cut();
				return;
			case "freeze":
				if (client.link === undefined) return;
				model.tell(`link ${client.link.number} freezes`);
				client.link.freeze();
				return;
			case "slow":
				for (const { link } of this.clients) {
					if (link === undefined) continue;
					if (link.reading) link.reading = random.chance(0.5);
					else link.read();
				}
				return;
			case "checkpoint":
				model.tell("checkpoint");
				world.log.checkpoint().catch((error: Error) => gateway.note(error));
				return;
			case "retention":
				await gateway.harvest();
				if (gateway.off) return;
				model.tell("retention");
				world.broker.enforceRetention();
				return;
			case "stepClock":
				clock.step(random.pick([-5000, -1000, 1000, 5000]));
				return;
			case "full":
				gateway.fill(random.pick([0, 1000, 20_000]));
				return;
			case "pressure":
				gateway.hold();
				return;
			case "createTopic":
				if (gateway.wasFull) return;
				model.tell("a topic is made");
				world.broker.topics.create({ name: `other${this.#topicsMade++}`, partitions: 1 });
				return;
			case "armPower":
				world.disk.stopAfter(random.between(1, 30));
				return;
			case "kill":
				return gateway.kill();
			case "stop":
				if (await gateway.stop()) gateway.start();
				return;
			case "rest":
				return this.#rest();
		}
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

	#wishes(client: MqttClient): Wish[] {
		const random = this.#random;
		const filters = this.#filters[this.clients.indexOf(client)]!;
		const asked = new Set(Array.from({ length: random.between(1, 3) }, () => random.pick(filters)));
		return [...asked].map((filter) => ({ filter, qos: qosOf(client.name, filter) }));
	}

	#publish(client: MqttClient): void {
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

	/** All clients come back and acknowledge everything, until nothing happens any more. */
	async #settle(clients: readonly MqttClient[]): Promise<void> {
		const { gateway } = this;
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
			await gateway.clock.advance(round % 20 === 0 ? 1000 : 100);
			if (gateway.off) return;
			const isQuiet =
				turn === this.model.turn &&
				clients.every((client) => client.online && client.done && client.link?.busy !== true);
			quiet = isQuiet ? quiet + 1 : 0;
			gateway.check();
		}
	}

	async #rest(): Promise<void> {
		const { gateway } = this;
		this.model.tell("rest");
		gateway.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		gateway.hold(false);
		for (const client of this.clients) {
			// What is frozen says nothing: it may be anything but at rest.
			if (client.link?.frozen === true) client.connect();
		}
		await this.#settle(this.clients);
		if (!gateway.off) await this.gateway.harvest();
		if (gateway.off) return;
		this.tally.rests++;
		this.model.tell("at rest");
		const gone = gateway.logStarts();
		this.model.atRest(
			this.clients.map(({ session }) => session),
			gone,
		);
		for (const client of this.clients) {
			const [stuck] = client.unreleased;
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
			const client = new MqttClient(name, traits, this.#random.fork(name), this.gateway);
			client.connect();
			await this.#settle([client]);
			if (this.gateway.off) return;
			client.subscribe([{ filter, qos: 1 }]);
			await this.#settle([client]);
			if (!this.gateway.off) await this.gateway.harvest();
			if (this.gateway.off) return;
			if (filter === "#") checkRetained(this.model, client.session);
			else checkReplay(this.model, client.session, gone);
			client.disconnect(false);
			await this.gateway.clock.advance(50);
		}
	}

	/** Everybody goes: nothing may stay behind in memory. */
	async #end(): Promise<void> {
		const { gateway } = this;
		if (gateway.off) await gateway.kill();
		for (const client of this.clients) {
			client.link?.read();
			client.disconnect(false);
		}
		await gateway.clock.advance(500);
		gateway.cutAll();
		await gateway.clock.advance(7000);
		gateway.check();
		for (const [what, count] of Object.entries(gateway.left())) {
			if (count !== 0) throw new Violation(`${count} ${what} are left when all are gone`);
		}
		await gateway.stop();
	}
}

/** The same whenever it asks again. */
function qosOf(client: string, filter: string): Qos {
	const random = new SimulatedRandom(`${client} ${filter}`);
	return random.pick<Qos>([0, 1, 1, 2, 2]);
}

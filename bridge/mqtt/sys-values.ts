/**
 * Every value below `$SYS/broker`, under the name and in the form that mosquitto 2.0 gives it where it has one, and
 * Headwater's own below `headwater/`. docs/from-mosquitto.md lists them; a test holds the two together.
 */
import { StateSpace } from "../../src/log/state-spaces.ts";
import type { Engine } from "./engine.ts";
import { LoadAverage, WINDOWS } from "./load-average.ts";
import type { DoorStats } from "./stats.ts";

type Value = readonly [name: string, value: () => string];

/** Kept sessions are counted by walking their rows: so many, on average, in a second at most. */
const ROWS_PER_SECOND = 1000;

export class SysValues {
	readonly #engine: Engine;
	readonly #version: string;
	readonly #startMs: number;
	readonly #loads: readonly { name: string; count: () => number; average: LoadAverage }[];
	#averagedMs: number;
	#maximumClients = 0;
	#keptSessions = 0;
	#countAgainMs = 0;

	constructor(engine: Engine, version: string) {
		this.#engine = engine;
		this.#version = version;
		this.#startMs = engine.broker.clock.monotonic();
		this.#averagedMs = this.#startMs;
		const { stats } = engine;
		const { traffic } = stats;
		const load = (name: string, count: () => number) => ({ name, count, average: new LoadAverage() });
		this.#loads = [
			load("bytes/received", () => traffic.bytesReceived),
			load("bytes/sent", () => traffic.bytesSent),
			load("connections", () => stats.connects),
			load("messages/received", () => traffic.packetsReceived),
			load("messages/sent", () => traffic.packetsSent),
			load("publish/dropped", () => dropped(stats)),
			load("publish/received", () => sum(stats.received)),
			load("publish/sent", () => sum(stats.sent)),
			load("sockets", () => traffic.sockets),
		];
	}

	/** Once a second. */
	noteMaximum(): void {
		this.#maximumClients = Math.max(this.#maximumClients, this.#engine.clients.size);
	}

	/** At every interval. */
	average(): void {
		const nowMs = this.#engine.broker.clock.monotonic();
		const seconds = (nowMs - this.#averagedMs) / 1000;
		this.#averagedMs = nowMs;
		for (const { average, count } of this.#loads) average.update(count(), seconds);
	}

	*all(): Iterable<Value> {
		yield ["version", () => `headwater ${this.#version}`];
		yield ["uptime", () => `${Math.floor(this.#sinceStartMs / 1000)} seconds`];
		for (const { name, average } of this.#loads) {
			for (const [i, [window]] of WINDOWS.entries()) {
				yield [`load/${name}/${window}`, () => average.rates[i]!.toFixed(2)];
			}
		}
		for (const [name, value] of this.#counts()) yield [name, () => String(value())];
	}

	*#counts(): Iterable<readonly [name: string, value: () => number]> {
		const { clients, broker, stats, deliveries, groups, retained } = this.#engine;
		const { traffic } = stats;
		yield ["clients/connected", () => clients.size];
		yield ["clients/active", () => clients.size];
		yield ["clients/disconnected", () => this.#absent()];
		yield ["clients/inactive", () => this.#absent()];
		yield ["clients/total", () => clients.size + this.#absent()];
		yield ["clients/maximum", () => Math.max(this.#maximumClients, clients.size)];
		yield ["clients/expired", () => stats.sessionsExpired];

		yield ["bytes/received", () => traffic.bytesReceived];
		yield ["bytes/sent", () => traffic.bytesSent];
		yield ["messages/received", () => traffic.packetsReceived];
		yield ["messages/sent", () => traffic.packetsSent];
		yield ["messages/inflight", () => this.#inflight()];
		yield ["publish/messages/received", () => sum(stats.received)];
		yield ["publish/messages/sent", () => sum(stats.sent)];
		yield ["publish/messages/dropped", () => dropped(stats)];
		yield ["publish/bytes/received", () => traffic.publishBytesReceived];
		yield ["publish/bytes/sent", () => traffic.publishBytesSent];

		yield ["messages/stored", () => this.#storedEvents()];
		yield ["store/messages/count", () => this.#storedEvents()];
		yield ["store/messages/bytes", () => this.#storedBytes()];
		yield ["retained messages/count", () => retained.count];
		// A group is one subscription to the deliveries.
		yield ["subscriptions/count", () => deliveries.trie.size - groups.size];
		yield ["shared_subscriptions/count", () => groups.size];

		yield ["heap/current", () => process.memoryUsage.rss()];
		yield ["heap/maximum", () => process.resourceUsage().maxRSS * 1024];

		const { counters, services } = broker.log;
		const { journal } = services;
		yield ["headwater/commits", () => counters.commits];
		yield ["headwater/stored-events", () => counters.records];
		yield ["headwater/stored-bytes", () => counters.batchBytes];
		yield ["headwater/checkpoints", () => counters.checkpoints];
		yield ["headwater/journal-entries", () => journal.entriesWritten];
		yield ["headwater/journal-bytes", () => journal.bytesWritten];
		yield ["headwater/lost-events", () => broker.catalog.lostRecords()];
		yield ["headwater/memory-in-flight-bytes", () => broker.pressure.bytes];
		yield ["headwater/memory-budget-bytes", () => broker.pressure.budgetBytes];
		yield* countersOf(stats);
	}

	get #sinceStartMs(): number {
		return this.#engine.broker.clock.monotonic() - this.#startMs;
	}

	/** Sessions that are kept and whose client is not connected. */
	#absent(): number {
		if (this.#sinceStartMs >= this.#countAgainMs) {
			let rows = 0;
			for (const _ of this.#engine.broker.log.scanState(StateSpace.MQTT_SESSION, "")) rows++;
			this.#keptSessions = rows;
			this.#countAgainMs = this.#sinceStartMs + (rows / ROWS_PER_SECOND) * 1000;
		}
		let connected = 0;
		for (const { session } of this.#engine.clients.values()) if (session?.durable) connected++;
		return Math.max(0, this.#keptSessions - connected);
	}

	#inflight(): number {
		let count = 0;
		for (const { session } of this.#engine.clients.values()) count += session?.outbox?.inflight.size ?? 0;
		return count;
	}

	#storedEvents(): number {
		let count = 0;
		for (const { partitions } of this.#engine.broker.topics.list()) {
			for (const { highWatermark, logStartOffset } of partitions) count += highWatermark - logStartOffset;
		}
		return count;
	}

	#storedBytes(): number {
		let bytes = 0;
		for (const { partitions } of this.#engine.broker.topics.list()) {
			for (const { sizeBytes } of partitions) bytes += sizeBytes;
		}
		return bytes;
	}
}

/** Every counter of the door, those included that are added to it later: overtakenByRetention is overtaken-by-retention. */
function* countersOf(stats: DoorStats): Iterable<readonly [name: string, value: () => number]> {
	const counters = stats as unknown as Record<string, unknown>;
	for (const [key, value] of Object.entries(counters)) {
		const name = `headwater/${key.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`;
		if (typeof value === "number") yield [name, () => counters[key] as number];
		else if (Array.isArray(value)) for (const qos of [0, 1, 2]) yield [`${name}-qos${qos}`, () => value[qos] as number];
	}
}

/** What got lost without anybody being told: not stored at QoS 0, or stored and not delivered. */
function dropped(stats: DoorStats): number {
	const notStored = stats.droppedQos0 + stats.droppedQos0Pressure;
	const notDelivered = stats.expired + stats.tooLargeForSubscriber + stats.overtakenByRetention + stats.droppedVolatile;
	return notStored + notDelivered;
}

function sum(counts: readonly number[]): number {
	let total = 0;
	for (const count of counts) total += count;
	return total;
}

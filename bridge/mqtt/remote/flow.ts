/**
 * One outbound rule: the partitions it concerns, where it stands in each, and the row that keeps this over a restart. A rule
 * is known by what it takes and where it puts it; a new one begins at the present end, or at the start if it says so.
 */

import type { BridgeOutRule } from "../../../src/config/definition.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import type { Engine } from "../engine.ts";
import { Cursor, type Range } from "./cursor.ts";

/** A rule's place in one partition. */
export class FlowPartition {
	readonly flow: Flow;
	readonly partition: Partition;
	readonly cursor: Cursor;
	/** Offsets to be sent again under the packet identifier that they had [MQTT-4.4.0-1]. */
	readonly again = new Map<number, number>();
	/** The topic was deleted. */
	gone = false;
	unwatch: () => void = () => {};

	constructor(flow: Flow, partition: Partition, cursor: Cursor) {
		this.flow = flow;
		this.partition = partition;
		this.cursor = cursor;
	}
}

/** As it is stored, JSON: it is written every few seconds at most. */
interface FlowRow {
	readonly format: 1;
	/** Partitions with a higher id were made later: they are due from their start. */
	readonly highestPartition: number;
	readonly cursors: readonly (readonly [
		partition: number,
		next: number,
		ranges: readonly (readonly [number, number])[],
	])[];
}

export class Flow {
	/** The rule's place in the list. */
	readonly index: number;
	readonly key: string;
	readonly partitions = new Map<number, FlowPartition>();
	readonly #engine: Engine;
	readonly #rule: BridgeOutRule;
	readonly #localFilter: string;
	#known: FlowRow | undefined;
	#written = "";

	constructor(engine: Engine, bridge: string, index: number, rule: BridgeOutRule) {
		this.#engine = engine;
		this.index = index;
		this.#rule = rule;
		this.#localFilter = rule.localPrefix + rule.filter;
		this.key = `out\n${bridge}\n${this.#localFilter}\n${rule.localPrefix}\n${rule.remotePrefix}`;
		const row = engine.broker.log.getState(StateSpace.MQTT_BRIDGE, this.key);
		if (row !== undefined) {
			this.#written = Buffer.from(row).toString("utf8");
			this.#known = JSON.parse(this.#written) as FlowRow;
		}
	}

	/** Follows the partitions there are now; returns those that are new to it. */
	follow(): FlowPartition[] {
		const { broker, deliveries } = this.#engine;
		const found: FlowPartition[] = [];
		const present = new Set<number>();
		for (const name of deliveries.concerns(this.#localFilter)) {
			for (const partition of broker.topics.get(name)?.partitions ?? []) {
				present.add(partition.id);
				if (this.partitions.has(partition.id)) continue;
				const place = new FlowPartition(this, partition, this.#begin(partition));
				this.partitions.set(partition.id, place);
				found.push(place);
			}
		}
		for (const [id, place] of this.partitions) {
			if (present.has(id)) continue;
			place.gone = true;
			place.unwatch();
			this.partitions.delete(id);
		}
		// From the next time on, what is not known yet was made since.
		this.#known ??= { format: 1, highestPartition: Number.POSITIVE_INFINITY, cursors: [] };
		this.#known = { ...this.#known, highestPartition: Math.min(this.#known.highestPartition, this.#highest()) };
		return found;
	}

	#begin(partition: Partition): Cursor {
		const { order, from } = this.#rule;
		const row = this.#known?.cursors.find(([id]) => id === partition.id);
		if (row !== undefined) {
			const ranges: Range[] = row[2].map(([start, end]) => ({ start, end }));
			// Where damage or a restored backup took the end of the log, what comes now is at lower offsets.
			const next = Math.min(row[1], partition.lastStableOffset);
			return new Cursor(
				order,
				next,
				ranges.map(({ start, end }) => ({ start, end: Math.min(end, next) })),
			);
		}
		const isNew = this.#known !== undefined && partition.id > this.#known.highestPartition;
		return new Cursor(order, isNew || from === "earliest" ? partition.logStartOffset : partition.lastStableOffset);
	}

	#highest(): number {
		let highest = -1;
		for (const topic of this.#engine.broker.topics.list()) {
			for (const { id } of topic.partitions) highest = Math.max(highest, id);
		}
		return highest;
	}

	/** Adds the row to the commit being gathered, if it is not what is stored. Throws KAFKA_STORAGE_ERROR. */
	save(): void {
		const row: FlowRow = {
			format: 1,
			highestPartition: this.#highest(),
			cursors: [...this.partitions].map(([id, { cursor }]) => {
				const { next, ranges } = cursor.remaining();
				return [id, next, ranges.map(({ start, end }) => [start, end] as const)] as const;
			}),
		};
		const text = JSON.stringify(row);
		if (text === this.#written) return;
		this.#engine.broker.log.putState(StateSpace.MQTT_BRIDGE, this.key, Buffer.from(text));
		this.#written = text;
	}

	get lag(): number {
		let lag = 0;
		for (const { cursor, partition } of this.partitions.values()) lag += cursor.lag(partition.lastStableOffset);
		return lag;
	}
}

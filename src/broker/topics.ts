/**
 * Topics: made, listed, altered, deleted. The catalog has them durably before anybody can use them;
 * a deleted topic is gone from the catalog before its files are.
 */

import type { Clock } from "../base/clock.ts";
import { type Disk, joinPath } from "../base/disk.ts";
import { BrokerError, isDiskFull } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { type Catalog, newUuid } from "../catalog/catalog.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import {
	checkTopicConfig,
	checkTopicConfigTogether,
	partitionConfig,
	TOPIC_CONFIGS,
	type TopicConfig,
	topicConfigDefinition,
	topicConfigValue,
} from "../catalog/topic-config.ts";
import { asideName, DELETED_SUFFIX, TOPICS_FOLDER } from "../log/layout.ts";
import type { Log } from "../log/log.ts";
import { addPartition, newSegmentSet, type TopicPartitions } from "../log/open-log.ts";
import type { Partition } from "../log/partition.ts";

export interface Topic {
	/** A UUID. */
	readonly id: string;
	readonly name: string;
	readonly createdMs: number;
	/** What was set for this topic only, under Kafka's names. */
	readonly config: TopicConfig;
	/** By number. */
	readonly partitions: readonly Partition[];
}

export interface TopicSpec {
	readonly name: string;
	readonly partitions?: number;
	readonly config?: TopicConfig;
	/** Returns the topic that is there instead of refusing. */
	readonly ifNotExists?: boolean;
}

export interface TopicChanges {
	readonly set?: TopicConfig;
	readonly unset?: readonly string[];
	/** The new number of partitions, never fewer. */
	readonly partitions?: number;
}

export interface TopicDescription {
	readonly topic: Topic;
	readonly configs: readonly { name: string; value: string; isDefault: boolean; documentation: string }[];
	readonly partitions: readonly {
		number: number;
		logStartOffset: number;
		localStartOffset: number;
		tieredOffset: number;
		highWatermark: number;
		endOffset: number;
		sizeBytes: number;
		segments: number;
	}[];
}

export interface TopicServices {
	readonly log: Log;
	readonly catalog: Catalog;
	readonly disk: Disk;
	readonly clock: Clock;
	readonly random: Random;
	readonly dataFolder: string;
	/** The broker's keys that topics' defaults come from. */
	readonly defaults: TopicConfig;
	readonly defaultPartitions: number;
}

export const PARTITIONS_MAX = 10_000;
/** Of a deleted topic, in one turn of the event loop. */
const FOLDERS_REMOVED_AT_ONCE = 16;

export class Topics {
	readonly #services: TopicServices;
	readonly #byName = new Map<string, Topic>();
	readonly #byId = new Map<string, Topic>();
	/** Names as `flat` has them: what would collide. */
	readonly #byFlatName = new Map<string, string>();
	readonly #listeners: (() => void)[] = [];
	#stopped = false;
	readonly #deletionListeners: ((topic: Topic) => void)[] = [];

	constructor(services: TopicServices, opened: readonly TopicPartitions[]) {
		this.#services = services;
		for (const { row, partitions } of opened) this.#set({ ...row, partitions });
	}

	get(name: string): Topic | undefined {
		return this.#byName.get(name);
	}

	/** By its UUID. */
	getById(id: string): Topic | undefined {
		return this.#byId.get(id);
	}

	/** By name. */
	list(): Topic[] {
		return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
	}

	/** `listener` is called after topics were made, deleted or given partitions. */
	onChange(listener: () => void): void {
		this.#listeners.push(listener);
	}

	/** `listener` is called when a topic is gone from the catalog, and before one of the same name can be made. */
	onDeleted(listener: (topic: Topic) => void): void {
		this.#deletionListeners.push(listener);
	}

	/** The broker's keys that topics' defaults come from. */
	get defaults(): TopicConfig {
		return this.#services.defaults;
	}

	/** What `create` would make of `spec`; throws what it would throw but for KAFKA_STORAGE_ERROR. */
	checkNew(spec: TopicSpec): { partitions: number; config: Record<string, string> } {
		const { defaultPartitions, defaults } = this.#services;
		checkTopicName(spec.name);
		if (this.#byName.has(spec.name)) throw new BrokerError("TOPIC_ALREADY_EXISTS", `topic ${spec.name} exists already`);
		this.#refuseCollision(spec.name);
		const partitions = spec.partitions ?? defaultPartitions;
		checkPartitions(partitions);
		const config = checkTopicConfig(spec.config ?? {});
		checkTopicConfigTogether(config, defaults);
		return { partitions, config };
	}

	/** Throws TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, INVALID_CONFIG, KAFKA_STORAGE_ERROR. */
	create(spec: TopicSpec): Topic {
		const { catalog, clock, random } = this.#services;
		const existing = this.#byName.get(spec.name);
		if (existing !== undefined && spec.ifNotExists === true) return existing;
		const { partitions, config } = this.checkNew(spec);
		const row = { id: newUuid(random), name: spec.name, createdMs: clock.now(), config };
		storing(() => catalog.createTopic(row, partitions));
		const topic: Topic = { ...row, partitions: this.#openPartitions(row.id, row.name, row.config, 0) };
		this.#set(topic);
		this.#changed();
		return topic;
	}

	/** Throws UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR. */
	delete(name: string): void {
		const { catalog, disk, log, dataFolder } = this.#services;
		const topic = this.#need(name);
		const takings = topic.partitions.flatMap(
			(partition) => log.holders.taking(partition, partition.highWatermark, "deletion") ?? [],
		);
		const losses = takings.flatMap((taking) => taking.losses);
		storing(() => catalog.deleteTopic(topic.id, losses));
		this.#byName.delete(name);
		this.#byId.delete(topic.id);
		if (this.#byFlatName.get(flat(name)) === name) this.#byFlatName.delete(flat(name));
		const root = joinPath(dataFolder, TOPICS_FOLDER);
		for (const partition of topic.partitions) {
			log.partitions.delete(partition.id);
			partition.close();
			if (log.refusal === undefined && partition.transactions.hasRows) partition.transactions.forget();
		}
		for (const taking of takings) taking.done();
		for (const listener of this.#deletionListeners) listener(topic);
		this.#changed();
		const renamed: string[] = [];
		for (const { segments, number } of topic.partitions) {
			if (!disk.exists(segments.folder)) continue;
			// Renamed first, as Kafka does: a topic of the same name may follow at once.
			const folder = joinPath(root, asideName(`${name}-${number}`, topic.id, DELETED_SUFFIX));
			disk.rename(segments.folder, folder);
			renamed.push(folder);
		}
		disk.syncDirectory(root);
		this.#removeFolders(renamed, root, topic.id);
	}

	/** A few at a time: those of very many partitions would hold up everybody. What a stop leaves goes at the next start. */
	#removeFolders(folders: string[], root: string, topicId: string): void {
		const { catalog, clock, disk, log } = this.#services;
		for (const folder of folders.splice(0, FOLDERS_REMOVED_AT_ONCE)) disk.removeDirectory(folder);
		if (folders.length === 0) {
			disk.syncDirectory(root);
			catalog.forgetDeletedTopic(topicId);
			return;
		}
		clock.soon(() => {
			if (this.#stopped) return;
			try {
				this.#removeFolders(folders, root, topicId);
			} catch (error) {
				log.services.logger.warn("folders of a deleted topic are left for the next start", { error: String(error) });
			}
		});
	}

	/** Nothing more is removed in the background. */
	stop(): void {
		this.#stopped = true;
	}

	/** What `alter` would make of the topic; throws what it would throw but for the disk's errors. */
	checkChanges(
		name: string,
		changes: TopicChanges,
	): { topic: Topic; config: Record<string, string>; partitions: number } {
		const topic = this.#need(name);
		const config: Record<string, string> = { ...topic.config };
		for (const key of changes.unset ?? []) {
			delete config[topicConfigDefinition(key).name];
		}
		Object.assign(config, checkTopicConfig(changes.set ?? {}));
		checkTopicConfigTogether(config, this.#services.defaults);
		checkTiering(name, partitionConfig(topic.config, this.#services.defaults), config, this.#services.defaults);
		const before = topic.partitions.length;
		const partitions = changes.partitions ?? before;
		checkPartitions(partitions);
		if (partitions < before)
			throw new BrokerError("INVALID_PARTITIONS", `topic ${name} has ${before} partitions; their number can only grow`);
		return { topic, config, partitions };
	}

	/** Throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_PARTITIONS, KAFKA_STORAGE_ERROR; all or nothing. */
	alter(name: string, changes: TopicChanges): Topic {
		const { catalog, defaults, log } = this.#services;
		const { topic, config, partitions } = this.checkChanges(name, changes);
		const before = topic.partitions.length;
		storing(() => catalog.alterTopic(topic.id, config, before, partitions));
		const settings = partitionConfig(config, defaults);
		for (const partition of topic.partitions) {
			if (partition.config.tier.enabled && !settings.tier.enabled) storing(() => leaveTier(log, partition));
			partition.config = settings;
		}
		const added = this.#openPartitions(topic.id, name, config, before);
		const altered: Topic = { ...topic, config, partitions: [...topic.partitions, ...added] };
		this.#set(altered);
		this.#changed();
		return altered;
	}

	/** Throws UNKNOWN_TOPIC_OR_PARTITION. */
	describe(name: string): TopicDescription {
		const topic = this.#need(name);
		return {
			topic,
			configs: TOPIC_CONFIGS.map((definition) => ({
				name: definition.name,
				...topicConfigValue(definition, topic.config, this.#services.defaults),
				documentation: definition.documentation,
			})),
			partitions: topic.partitions.map((partition) => ({
				number: partition.number,
				logStartOffset: partition.logStartOffset,
				localStartOffset: partition.localStartOffset,
				tieredOffset: partition.tieredOffset,
				highWatermark: partition.highWatermark,
				endOffset: partition.endOffset,
				sizeBytes: partition.sizeBytes,
				segments: partition.segments.list.length,
			})),
		};
	}

	#set(topic: Topic): void {
		this.#byName.set(topic.name, topic);
		this.#byId.set(topic.id, topic);
		this.#byFlatName.set(flat(topic.name), topic.name);
	}

	#need(name: string): Topic {
		const topic = this.#byName.get(name);
		if (topic === undefined)
			throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${JSON.stringify(name)}`);
		return topic;
	}

	/** Those that the catalog has of the topic from number `from` on. */
	#openPartitions(topicId: string, name: string, config: TopicConfig, from: number): Partition[] {
		const { catalog, disk, log, dataFolder, defaults } = this.#services;
		const settings = partitionConfig(config, defaults);
		const added = catalog.partitionIds(topicId).filter(({ number }) => number >= from);
		return added.map(({ id, number }) =>
			addPartition(log, id, name, number, newSegmentSet(disk, dataFolder, name, number, topicId), settings),
		);
	}

	/** Kafka's rule: names that differ in `.` and `_` only collide in metric names. */
	#refuseCollision(name: string): void {
		const other = this.#byFlatName.get(flat(name));
		if (other !== undefined)
			throw new BrokerError("INVALID_TOPIC_EXCEPTION", `topic ${name} collides with topic ${other}`);
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}
}

const flat = (name: string): string => name.replaceAll(".", "_");

/** Kafka's rule for topic names (org.apache.kafka.common.internals.Topic). Throws INVALID_TOPIC_EXCEPTION. */
export function checkTopicName(name: string): void {
	if (name === "." || name === ".." || !/^[a-zA-Z0-9._-]{1,249}$/.test(name))
		throw new BrokerError(
			"INVALID_TOPIC_EXCEPTION",
			`${JSON.stringify(name.slice(0, 260))} is no topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and not '.' or '..'`,
		);
}

/** Kafka's rule: who gives up tiered storage says what becomes of what is there. Throws INVALID_CONFIG. */
function checkTiering(name: string, before: PartitionConfig, config: TopicConfig, defaults: TopicConfig): void {
	if (!before.tier.enabled || partitionConfig(config, defaults).tier.enabled) return;
	if (config["remote.log.delete.on.disable"] !== "true")
		throw new BrokerError(
			"INVALID_CONFIG",
			`remote.storage.enable=false would leave records of topic ${name} in the object store that nobody could read: set remote.log.delete.on.disable=true too, and they are removed; or only remote.log.copy.disable=true, and nothing more goes there`,
		);
}

/** The log begins with what is kept here; the rest is removed from the object store. */
function leaveTier({ holders, services }: Log, partition: Partition): void {
	const { segments, localStartOffset } = partition;
	const taking = holders.taking(partition, localStartOffset, "deletion");
	services.catalog.forgetTiered(partition.id, localStartOffset, taking?.losses);
	segments.logStartOffset = localStartOffset;
	segments.tieredOffset = 0;
	taking?.done();
}

/** Throws KAFKA_STORAGE_ERROR where the disk is full. */
function storing<T>(work: () => T): T {
	try {
		return work();
	} catch (error) {
		if (!isDiskFull(error)) throw error;
		throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full", { cause: error });
	}
}

function checkPartitions(partitions: number): void {
	if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX)
		throw new BrokerError("INVALID_PARTITIONS", `${partitions} partitions: from 1 to ${PARTITIONS_MAX} would be right`);
}

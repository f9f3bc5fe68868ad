/**
 * Topics: made, listed, altered, deleted. The catalog has them durably before anybody can use them;
 * a deleted topic is gone from the catalog before its files are.
 */

import type { Clock } from "../base/clock.ts";
import { type Disk, joinPath } from "../base/disk.ts";
import { BrokerError, isDiskFull } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { type Catalog, newUuid } from "../catalog/catalog.ts";
import {
	checkTopicConfig,
	partitionConfig,
	TOPIC_CONFIGS,
	type TopicConfig,
	topicConfigValue,
} from "../catalog/topic-config.ts";
import { asideName, DELETED_SUFFIX, TOPICS_FOLDER } from "../log/layout.ts";
import type { Log } from "../log/log.ts";
import { addPartition, newPartitionFolder, type TopicPartitions } from "../log/open-log.ts";
import type { Partition } from "../log/partition.ts";
import type { SegmentSet } from "../log/segment-set.ts";

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

export class Topics {
	readonly #services: TopicServices;
	readonly #byName = new Map<string, Topic>();
	readonly #listeners: (() => void)[] = [];

	constructor(services: TopicServices, opened: readonly TopicPartitions[]) {
		this.#services = services;
		for (const { row, partitions } of opened) this.#byName.set(row.name, { ...row, partitions });
	}

	get(name: string): Topic | undefined {
		return this.#byName.get(name);
	}

	/** By name. */
	list(): Topic[] {
		return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
	}

	/** `listener` is called after topics were made, deleted or given partitions. */
	onChange(listener: () => void): void {
		this.#listeners.push(listener);
	}

	/** Throws TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, INVALID_CONFIG, KAFKA_STORAGE_ERROR. */
	create(spec: TopicSpec): Topic {
		const { catalog, clock, random, defaultPartitions } = this.#services;
		checkTopicName(spec.name);
		const existing = this.#byName.get(spec.name);
		if (existing !== undefined) {
			if (spec.ifNotExists === true) return existing;
			throw new BrokerError("TOPIC_ALREADY_EXISTS", `topic ${spec.name} exists already`);
		}
		this.#refuseCollision(spec.name);
		const partitions = spec.partitions ?? defaultPartitions;
		checkPartitions(partitions);
		const row = {
			id: newUuid(random),
			name: spec.name,
			createdMs: clock.now(),
			config: checkTopicConfig(spec.config ?? {}),
		};
		const folders = storing(() => {
			const made = this.#makeFolders(row.id, row.name, 0, partitions);
			catalog.createTopic(row, partitions);
			return made;
		});
		const topic: Topic = { ...row, partitions: this.#openPartitions(row.id, row.name, row.config, folders) };
		this.#byName.set(spec.name, topic);
		this.#changed();
		return topic;
	}

	/** Throws UNKNOWN_TOPIC_OR_PARTITION. */
	delete(name: string): void {
		const { catalog, disk, log, dataFolder } = this.#services;
		const topic = this.#need(name);
		catalog.deleteTopic(topic.id);
		this.#byName.delete(name);
		const root = joinPath(dataFolder, TOPICS_FOLDER);
		for (const partition of topic.partitions) {
			log.partitions.delete(partition.id);
			partition.close();
			if (log.refusal === undefined) partition.transactions.forget();
		}
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
		for (const folder of renamed) disk.removeDirectory(folder);
		disk.syncDirectory(root);
		catalog.forgetDeletedTopic(topic.id);
	}

	/** Throws UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_PARTITIONS; all or nothing. */
	alter(name: string, changes: TopicChanges): Topic {
		const { catalog, defaults } = this.#services;
		const topic = this.#need(name);
		const config: Record<string, string> = { ...topic.config };
		for (const key of changes.unset ?? []) {
			checkTopicConfig({ [key]: config[key] ?? "4096" });
			delete config[key];
		}
		Object.assign(config, checkTopicConfig(changes.set ?? {}));
		const before = topic.partitions.length;
		const partitions = changes.partitions ?? before;
		checkPartitions(partitions);
		if (partitions < before)
			throw new BrokerError("INVALID_PARTITIONS", `topic ${name} has ${before} partitions; their number can only grow`);
		const folders = this.#makeFolders(topic.id, name, before, partitions);
		if (changes.set !== undefined || changes.unset !== undefined) catalog.setTopicConfig(topic.id, config);
		if (partitions > before) catalog.addPartitions(topic.id, before, partitions);
		const settings = partitionConfig(config, defaults);
		for (const partition of topic.partitions) partition.config = settings;
		const added = this.#openPartitions(topic.id, name, config, folders);
		const altered: Topic = { ...topic, config, partitions: [...topic.partitions, ...added] };
		this.#byName.set(name, altered);
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
				highWatermark: partition.highWatermark,
				endOffset: partition.endOffset,
				sizeBytes: partition.sizeBytes,
				segments: partition.segments.list.length,
			})),
		};
	}

	#need(name: string): Topic {
		const topic = this.#byName.get(name);
		if (topic === undefined)
			throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${JSON.stringify(name)}`);
		return topic;
	}

	/** Before the catalog has them: a full disk then leaves no half a topic, and folders that nobody owns go at the next start. */
	#makeFolders(topicId: string, name: string, from: number, to: number): Map<number, SegmentSet> {
		const { disk, dataFolder } = this.#services;
		const folders = new Map<number, SegmentSet>();
		try {
			for (let number = from; number < to; number++)
				folders.set(number, newPartitionFolder(disk, dataFolder, name, number, topicId));
		} catch (error) {
			for (const { folder } of folders.values()) disk.removeDirectory(folder);
			throw error;
		}
		return folders;
	}

	#openPartitions(topicId: string, name: string, config: TopicConfig, folders: Map<number, SegmentSet>): Partition[] {
		const { catalog, log, defaults } = this.#services;
		const settings = partitionConfig(config, defaults);
		const opened: Partition[] = [];
		for (const { id, number } of catalog.partitions(topicId)) {
			const segments = folders.get(number);
			if (segments !== undefined) opened.push(addPartition(log, id, name, number, segments, settings));
		}
		return opened;
	}

	/** Kafka's rule: names that differ in `.` and `_` only collide in metric names. */
	#refuseCollision(name: string): void {
		const flat = name.replaceAll(".", "_");
		for (const other of this.#byName.keys())
			if (other.replaceAll(".", "_") === flat)
				throw new BrokerError("INVALID_TOPIC_EXCEPTION", `topic ${name} collides with topic ${other}`);
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}
}

/** Kafka's rule for topic names (org.apache.kafka.common.internals.Topic). Throws INVALID_TOPIC_EXCEPTION. */
export function checkTopicName(name: string): void {
	if (name === "." || name === ".." || !/^[a-zA-Z0-9._-]{1,249}$/.test(name))
		throw new BrokerError(
			"INVALID_TOPIC_EXCEPTION",
			`${JSON.stringify(name.slice(0, 260))} is no topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and not '.' or '..'`,
		);
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

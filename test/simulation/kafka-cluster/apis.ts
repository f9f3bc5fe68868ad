/** What the brokers answer to: each API with the versions that a Kafka 4.3 serves, and what it does in the model. */

import {
	ADD_PARTITIONS_TO_TXN,
	API_VERSIONS,
	apiName,
	CREATE_TOPICS,
	DESCRIBE_CONFIGS,
	END_TXN,
	FETCH,
	FIND_COORDINATOR,
	INIT_PRODUCER_ID,
	LIST_OFFSETS,
	METADATA,
	PRODUCE,
} from "../../../bridge/upstream/client/apis.ts";
import {
	type Decoded,
	type Encodable,
	type Fields,
	type Message,
	ZERO_UUID,
} from "../../../src/kafka/protocol/schema.ts";
import { decodeRecords } from "../../../src/record/batch.ts";
import { type ClusterState, type ModelBroker, type ModelTopic, TOPIC_DEFAULTS } from "./cluster-state.ts";
import { CODES, codeOf, Refusal } from "./codes.ts";
import type { Fetches } from "./fetch.ts";
import type { PartitionLog } from "./partition-log.ts";
import { produce } from "./produce.ts";
import type { Transactions } from "./transactions.ts";

export interface ModelCall<A extends Fields> {
	readonly broker: ModelBroker;
	readonly version: number;
	/** undefined: there is no answer. */
	respond(answer: Encodable<A> | undefined): void;
}

export interface ModelApi<Q extends Fields, A extends Fields> {
	readonly request: Message<Q>;
	readonly response: Message<A>;
	/** Lowest and highest that are told of. */
	readonly versions: readonly [number, number];
	/** Highest that a client of transactions version 1 uses. */
	readonly usedUpTo?: number;
	handle(request: Decoded<Q>, call: ModelCall<A>): void;
}

export type AnyModelApi = ModelApi<Fields, Fields>;

/** For its types. */
function api<Q extends Fields, A extends Fields>(definition: ModelApi<Q, A>): AnyModelApi {
	return definition as unknown as AnyModelApi;
}

export interface ApiServices {
	readonly cluster: ClusterState;
	readonly transactions: Transactions;
	readonly fetches: Fetches;
	/** Whether the error of a request that could go through is given all the same. */
	isBusy(): boolean;
	failsAfterAppend(): boolean;
	unknownMs(): number;
	/** By API. */
	readonly versionsAtMost: Readonly<Record<string, number>>;
}

const TRANSACTION_KEYS = 1;
const TOPIC_RESOURCE = 2;
const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;

export function modelApis(services: ApiServices): ReadonlyMap<number, AnyModelApi> {
	const { cluster, transactions, fetches } = services;
	const list: AnyModelApi[] = [
		api({
			...PRODUCE,
			versions: [0, 13],
			usedUpTo: 11,
			handle: ({ acks, transactionalId, topicData }, { broker, version, respond }) => {
				const one = (topic: () => ModelTopic, index: number, records: Buffer | null) => {
					try {
						if (acks !== -1 && acks !== 0 && acks !== 1) throw new Refusal(CODES.INVALID_REQUIRED_ACKS, `acks ${acks}`);
						if (services.isBusy()) throw new Refusal(CODES.NOT_ENOUGH_REPLICAS, "too few replicas are in sync");
						const call = { broker, topic: topic(), index, records, transactionalId, version };
						const produced = produce(cluster, transactions, call);
						if (services.failsAfterAppend())
							throw new Refusal(CODES.NOT_ENOUGH_REPLICAS_AFTER_APPEND, "it is stored, by too few replicas");
						return { index, errorCode: CODES.NONE, ...produced };
					} catch (error) {
						if (!(error instanceof Refusal)) throw error;
						return {
							index,
							errorCode: error.code,
							baseOffset: -1,
							recordErrors: error.records,
							errorMessage: error.message,
						};
					}
				};
				const responses = topicData.map(({ name, topicId, partitionData }) => ({
					name,
					topicId,
					partitionResponses: partitionData.map(({ index, records }) =>
						one(() => (version >= 13 ? cluster.topicWithId(topicId) : cluster.topic(name)), index, records),
					),
				}));
				respond(acks === 0 ? undefined : { responses });
			},
		}),
		api({
			...FETCH,
			versions: [4, 18],
			handle: (request, { broker, version, respond }) => fetches.fetch(broker, version, request, respond),
		}),
		api({
			...LIST_OFFSETS,
			versions: [1, 11],
			handle: ({ isolationLevel, topics }, { broker, respond }) => {
				const one = (name: string, partitionIndex: number, at: number) => {
					let found = { timestamp: -1, offset: -1, leaderEpoch: -1 };
					const errorCode = codeOf(() => {
						const partition = cluster.ledBy(broker, cluster.topic(name), partitionIndex);
						found = { ...found, ...lookUp(partition, at, isolationLevel === 1), leaderEpoch: partition.leaderEpoch };
					});
					return { partitionIndex, errorCode, ...found };
				};
				respond({
					topics: topics.map(({ name, partitions }) => ({
						name,
						partitions: partitions.map(({ partitionIndex, timestamp }) => one(name, partitionIndex, timestamp)),
					})),
				});
			},
		}),
		api({
			...METADATA,
			versions: [0, 13],
			handle: ({ topics }, { version, respond }) => {
				const isAll = topics === null || (version === 0 && topics.length === 0);
				const named = isAll
					? [...cluster.topics.values()].map((topic) => described(cluster, topic))
					: topics.map(({ name, topicId }) => {
							try {
								return described(cluster, name === null ? cluster.topicWithId(topicId) : cluster.topic(name));
							} catch (error) {
								if (!(error instanceof Refusal)) throw error;
								return { errorCode: error.code, name: name ?? null, topicId: topicId ?? ZERO_UUID, partitions: [] };
							}
						});
				respond({
					brokers: cluster.up.map(({ id, address }) => ({ nodeId: id, ...address })),
					clusterId: cluster.clusterId,
					controllerId: cluster.up[0]?.id ?? -1,
					topics: named,
				});
			},
		}),
		api({
			...FIND_COORDINATOR,
			versions: [0, 6],
			handle: ({ key, keyType, coordinatorKeys }, { version, respond }) => {
				const find = (name: string) => {
					const kind = keyType === TRANSACTION_KEYS ? "transaction" : "group";
					const node = services.isBusy() ? -1 : cluster.coordinatorOf(`${kind}/${name}`);
					const nowhere = {
						errorCode: CODES.COORDINATOR_NOT_AVAILABLE,
						errorMessage: null,
						nodeId: -1,
						host: "",
						port: -1,
					};
					if (node < 0) return nowhere;
					return { errorCode: CODES.NONE, errorMessage: null, nodeId: node, ...cluster.broker(node).address };
				};
				if (version < 4) respond(find(key));
				else respond({ coordinators: coordinatorKeys.map((name) => ({ key: name, ...find(name) })) });
			},
		}),
		api({
			...API_VERSIONS,
			versions: [0, 4],
			handle: (_request, { respond }) => respond({ apiKeys: advertised(list) }),
		}),
		api({
			...CREATE_TOPICS,
			versions: [2, 7],
			handle: ({ topics, validateOnly }, { respond }) => {
				const one = ({ name, numPartitions, replicationFactor, configs }: (typeof topics)[number]) => {
					try {
						const factor = replicationFactor === -1 ? 1 : replicationFactor;
						if (factor < 1 || factor > cluster.brokers.length)
							throw new Refusal(
								CODES.INVALID_REPLICATION_FACTOR,
								`${factor} replicas on ${cluster.brokers.length} brokers`,
							);
						const partitions = numPartitions === -1 ? 1 : numPartitions;
						const given = Object.fromEntries(configs.map((config) => [config.name, config.value ?? ""]));
						const { id } = cluster.createTopic(name, partitions, given, services.unknownMs());
						if (validateOnly) cluster.topics.delete(name);
						return {
							name,
							topicId: validateOnly ? ZERO_UUID : id,
							errorCode: CODES.NONE,
							errorMessage: null,
							numPartitions: partitions,
							replicationFactor: factor,
						};
					} catch (error) {
						if (!(error instanceof Refusal)) throw error;
						return { name, errorCode: error.code, errorMessage: error.message };
					}
				};
				respond({ topics: topics.map(one) });
			},
		}),
		api({
			...INIT_PRODUCER_ID,
			versions: [0, 5],
			handle: (request, { broker, version, respond }) => {
				const { transactionalId, transactionTimeoutMs, producerId, producerEpoch } = request;
				let made = { producerId: -1, producerEpoch: -1 };
				const errorCode = codeOf(() => {
					if (producerId < 0 !== producerEpoch < 0)
						throw new Refusal(CODES.INVALID_REQUEST, "a producer id or an epoch without the other");
					if (services.isBusy()) throw new Refusal(CODES.COORDINATOR_LOAD_IN_PROGRESS, "busy");
					const expected = producerId < 0 ? undefined : { producerId, producerEpoch };
					made = transactions.initProducerId(broker, transactionalId, transactionTimeoutMs, expected);
				});
				respond({ errorCode: version < 4 ? beforeFenced(errorCode) : errorCode, ...made });
			},
		}),
		api({
			...ADD_PARTITIONS_TO_TXN,
			versions: [0, 5],
			usedUpTo: 3,
			handle: (request, { broker, version, respond }) => {
				const { v3AndBelowTransactionalId: id, v3AndBelowTopics: topics } = request;
				const by = { producerId: request.v3AndBelowProducerId, producerEpoch: request.v3AndBelowProducerEpoch };
				const named = topics.flatMap(({ name, partitions }) => partitions.map((index) => ({ topic: name, index })));
				const refusals = new Map<string, number>();
				for (const { topic, index } of named) {
					const refusal = codeOf(() => {
						cluster.partition(cluster.topic(topic), index);
						if (cluster.topic(topic).refusal === CODES.TOPIC_AUTHORIZATION_FAILED)
							throw new Refusal(CODES.TOPIC_AUTHORIZATION_FAILED, topic);
					});
					if (refusal !== CODES.NONE) refusals.set(`${topic}-${index}`, refusal);
				}
				// All or none: beside one that is refused the others are not attempted.
				let code: number = CODES.OPERATION_NOT_ATTEMPTED;
				if (refusals.size === 0)
					code = codeOf(() => {
						if (services.isBusy()) throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, "busy");
						transactions.addPartitions(broker, id, by, named);
					});
				if (version < 2) code = beforeFenced(code);
				respond({
					resultsByTopicV3AndBelow: topics.map(({ name, partitions }) => ({
						name,
						resultsByPartition: partitions.map((partitionIndex) => ({
							partitionIndex,
							partitionErrorCode: refusals.get(`${name}-${partitionIndex}`) ?? code,
						})),
					})),
				});
			},
		}),
		api({
			...END_TXN,
			versions: [0, 5],
			usedUpTo: 4,
			handle: (request, { broker, version, respond }) => {
				const { transactionalId, producerId, producerEpoch, committed } = request;
				const errorCode = codeOf(() => {
					if (services.isBusy()) throw new Refusal(CODES.COORDINATOR_LOAD_IN_PROGRESS, "busy");
					transactions.end(broker, transactionalId, { producerId, producerEpoch }, committed);
				});
				respond({ errorCode: version < 2 ? beforeFenced(errorCode) : errorCode });
			},
		}),
		api({
			...DESCRIBE_CONFIGS,
			versions: [1, 4],
			handle: ({ resources }, { respond }) => {
				const one = ({ resourceType, resourceName, configurationKeys }: (typeof resources)[number]) => {
					const topic = cluster.topics.get(resourceName);
					const answer = { resourceType, resourceName, errorMessage: null };
					if (resourceType !== TOPIC_RESOURCE) return { ...answer, errorCode: CODES.INVALID_REQUEST, configs: [] };
					if (topic === undefined || topic.knownAtMs > cluster.timeline.nowMs)
						return { ...answer, errorCode: CODES.UNKNOWN_TOPIC_OR_PARTITION, configs: [] };
					const keys = Object.keys(TOPIC_DEFAULTS).filter((key) => configurationKeys?.includes(key) ?? true);
					const configs = keys.map((name) => ({
						name,
						value: cluster.config(topic, name),
						readOnly: false,
						configSource: topic.configs.has(name) ? 1 : 5,
						isSensitive: false,
						synonyms: [],
					}));
					return { ...answer, errorCode: CODES.NONE, configs };
				};
				respond({ results: resources.map(one) });
			},
		}),
	];
	for (const [i, each] of list.entries()) {
		const [least, most] = each.versions;
		const atMost = services.versionsAtMost[apiName(each)] ?? most;
		list[i] = { ...each, versions: [least, Math.min(most, atMost)] };
	}
	return new Map(list.map((each) => [each.request.apiKey, each]));
}

export function advertised(apis: Iterable<AnyModelApi>) {
	return [...apis].map(({ request: { apiKey }, versions: [minVersion, maxVersion] }) => ({
		apiKey,
		minVersion,
		maxVersion,
	}));
}

/** Versions before there was PRODUCER_FENCED. */
function beforeFenced(code: number): number {
	return code === CODES.PRODUCER_FENCED ? CODES.INVALID_PRODUCER_EPOCH : code;
}

function described(cluster: ClusterState, { name, id, partitions }: ModelTopic) {
	const nodes = cluster.brokers.map((broker) => broker.id);
	const offline = cluster.brokers.filter(({ isUp }) => !isUp).map((broker) => broker.id);
	return {
		errorCode: CODES.NONE,
		name,
		topicId: id,
		partitions: partitions.map(({ leader, announcedLeader, leaderEpoch }, partitionIndex) => {
			const leaderId = leader < 0 || offline.includes(announcedLeader) ? -1 : announcedLeader;
			return {
				errorCode: leaderId < 0 ? CODES.LEADER_NOT_AVAILABLE : CODES.NONE,
				partitionIndex,
				leaderId,
				leaderEpoch,
				replicaNodes: nodes,
				isrNodes: cluster.up.map((broker) => broker.id),
				offlineReplicas: offline,
			};
		}),
	};
}

function lookUp(partition: PartitionLog, at: number, isCommitted: boolean): { offset: number; timestamp?: number } {
	const end = isCommitted ? partition.lastStableOffset : partition.endOffset;
	if (at === LATEST) return { offset: end };
	if (at === EARLIEST) return { offset: partition.logStartOffset };
	let most: { offset: number; timestamp: number } | undefined;
	for (const { bytes, header } of partition.batches) {
		if (header.isControl) continue;
		for (const { offset, timestamp } of decodeRecords(bytes)) {
			if (offset < partition.logStartOffset || offset >= end) continue;
			if (at >= 0 && timestamp >= at) return { offset, timestamp };
			if (at === MAX_TIMESTAMP && timestamp > (most?.timestamp ?? -1)) most = { offset, timestamp };
		}
	}
	return most ?? { offset: -1 };
}

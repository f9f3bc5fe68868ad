/** Wires a gateway together from its configuration: seams, broker, tiered storage, doors; and takes it apart again. */
import { Bridges } from "../bridge/mqtt/remote/bridges.ts";
import { retainsRecords } from "../bridge/mqtt/retain-record.ts";
import { MqttDoor } from "../bridge/mqtt/server.ts";
import { OUTPUT_HIGH_BYTES } from "../bridge/mqtt/transport.ts";
import { OnDemandUpstream } from "../bridge/upstream/on-demand.ts";
import { OnDemandTiering } from "../tiering/on-demand.ts";
import { HttpDoor } from "./admin/http-door.ts";
import { systemClock } from "./base/clock.ts";
import { joinPath, NodeDisk } from "./base/disk.ts";
import type { Logger } from "./base/logger.ts";
import { systemRandom } from "./base/random.ts";
import { Broker } from "./broker/broker.ts";
import { openUplink, type Uplink } from "./broker/uplink.ts";
import { MAX_LONG } from "./catalog/config-value.ts";
import { TOPIC_CONFIGS } from "./catalog/topic-config.ts";
import { gatewayId, objectStoreOptions } from "./cli/object-store-options.ts";
import { upstreamOptions } from "./cli/upstream-options.ts";
import { VERSION } from "./cli/version.ts";
import { configAsText } from "./config/as-text.ts";
import { type Config, isKeyName } from "./config/keys.ts";
import { formatAddress } from "./config/values.ts";
import { KafkaDoor } from "./kafka/door.ts";
import type { KafkaOptions } from "./kafka/options.ts";
import type { CleanerOptions } from "./log/cleaner.ts";
import type { GatewayStatusParts } from "./native/door.ts";
import { NativeDoor } from "./native/door.ts";

export interface Listener {
	/** `mqtt`, `native`, `kafka`, `http`. */
	readonly door: string;
	/** `127.0.0.1:1883`, with the port that was taken. */
	readonly address: string;
}

export interface Gateway {
	readonly broker: Broker;
	readonly listeners: readonly Listener[];
	/** Resolves when storage failed: nothing more is acknowledged, the process must end. */
	readonly failed: Promise<Error>;
	/** Finishes what is in flight, tells clients, writes a checkpoint. */
	stop(): Promise<void>;
}

/** An SD card takes milliseconds, an SSD 0.1 to 0.3; off the event loop the way there and back is measured with it. */
const INLINE_SYNC_BELOW_MS = 1;

/** Rejects with StartError, or Node's own error where a door cannot listen. */
export async function startGateway(config: Config, services: { readonly logger: Logger }): Promise<Gateway> {
	const { logger } = services;
	const startedMs = systemClock.monotonic();
	const failure = Promise.withResolvers<Error>();
	const broker = Broker.open(
		{
			dataFolder: config["data.directory"],
			journal: { fileBytes: config["journal.file.bytes"], filesMax: config["journal.files.max"] },
			lingerMs: config["commit.linger.ms"],
			inlineSyncBelowMs: INLINE_SYNC_BELOW_MS,
			memoryBudgetBytes: config["memory.budget.bytes"],
			retentionCheckMs: config["log.retention.check.interval.ms"],
			defaultPartitions: config["num.partitions"],
			topicDefaults: topicDefaults(config),
			...(config["log.cleaner.enable"] === "true" ? { cleaner: cleanerOptions(config) } : {}),
			groups: {
				minSessionTimeoutMs: config["group.min.session.timeout.ms"],
				maxSessionTimeoutMs: config["group.max.session.timeout.ms"],
				initialRebalanceDelayMs: config["group.initial.rebalance.delay.ms"],
				maxSize: config["group.max.size"],
				offsetsRetentionMs: config["offsets.retention.minutes"] * 60_000,
				offsetsRetentionCheckMs: config["offsets.retention.check.interval.ms"],
				maxMetadataBytes: config["offset.metadata.max.bytes"],
			},
			transactions: {
				maxTimeoutMs: config["transaction.max.timeout.ms"],
				idExpirationMs: config["transactional.id.expiration.ms"],
			},
			producers: { expirationMs: config["producer.id.expiration.ms"] },
			onFailure: failure.resolve,
		},
		{ disk: new NodeDisk(), clock: systemClock, random: systemRandom, logger },
	);
	if (broker.recovery.entries > 0) logger.info("recovered from the journal", { ...broker.recovery });
	const listeners: Listener[] = [];
	const uplink = openUplink(broker, {
		bytesPerSecond: config["uplink.bytes.per.second"],
		bytesPerDay: config["uplink.bytes.per.day"],
		bytesPerMonth: config["uplink.bytes.per.month"],
		reservePercent: config["uplink.reserve.percent"],
	});
	const tiering = new OnDemandTiering(broker, tieringOptions(config, uplink));
	const upstream = new OnDemandUpstream(broker, upstreamOptions(config, new NodeDisk()));
	const mqtt = new MqttDoor(broker, mqttOptions(config));
	const bridges = new Bridges(mqtt.engine, config.bridges, { disk: new NodeDisk(), random: systemRandom });
	const native = new NativeDoor(
		broker,
		{
			...config["native.listen"],
			maxFrameBytes: config["native.max.frame.bytes"],
			maxConnections: config["native.max.connections"],
		},
		{ status, tier: tiering, upstream },
	);
	const kafka = new KafkaDoor(broker, kafkaOptions(config));
	const http = new HttpDoor(
		{
			...config["http.listen"],
			allowedOrigins: config["http.allowed.origins"],
			highWaterMark: OUTPUT_HIGH_BYTES,
		},
		{ clock: systemClock, logger },
	);
	http.onUpgrade("/mqtt", "MQTT over WebSocket", (...upgrade) => mqtt.upgrade(...upgrade));

	function status(): GatewayStatusParts {
		const memory = process.memoryUsage();
		const { counters } = broker.log;
		const { journal } = broker.log.services;
		return {
			version: VERSION,
			uptimeMs: Math.round(systemClock.monotonic() - startedMs),
			pid: process.pid,
			dataDirectory: config["data.directory"],
			listeners: [...listeners],
			connections: {
				mqtt: mqtt.stats().connections,
				native: native.stats().connections,
				kafka: kafka.stats().connections,
			},
			memory: {
				residentBytes: memory.rss,
				heapBytes: memory.heapUsed,
				inFlightBytes: broker.pressure.bytes,
				budgetBytes: broker.pressure.budgetBytes,
			},
			journal: {
				entries: journal.entriesWritten,
				bytes: journal.totalBytes,
				writtenBytes: journal.bytesWritten,
				commits: counters.commits,
			},
			produced: { records: counters.records, bytes: counters.batchBytes },
			losses: { records: broker.catalog.lostRecords() },
		};
	}

	try {
		// First of all, so that retention keeps what is to be sent.
		await upstream.open(uplink, retainsRecords(mqtt.engine));
		await tiering.start();
		listeners.push({ door: "mqtt", address: await mqtt.start() });
		listeners.push({ door: "native", address: await native.start() });
		listeners.push({ door: "kafka", address: await kafka.start() });
		listeners.push({ door: "http", address: await http.start() });
		bridges.start();
		upstream.start();
	} catch (error) {
		await upstream.stop();
		await tiering.stop();
		await broker.stop();
		throw error;
	}
	return {
		broker,
		listeners,
		failed: failure.promise,
		async stop() {
			await Promise.all([bridges.stop(), upstream.stop()]);
			await Promise.all([mqtt.stop(), native.stop(), kafka.stop(), http.stop()]);
			await tiering.stop();
			uplink.settle();
			await broker.stop();
		},
	};
}

function kafkaOptions(config: Config): KafkaOptions {
	// Its form has been checked with the configuration.
	const [, host, port] = /^(?:PLAINTEXT:\/\/)?\[?(.*?)\]?:(\d+)$/.exec(config["advertised.listeners"]) ?? [];
	return {
		...config["kafka.listen"],
		...(host === undefined ? {} : { advertised: { host, port: Number(port) } }),
		nodeId: config["node.id"],
		autoCreateTopics: config["auto.create.topics.enable"] === "true",
		deleteTopics: config["delete.topic.enable"] === "true",
		maxRequestBytes: config["socket.request.max.bytes"],
		maxConnections: config["kafka.max.connections"],
		maxFetchBytes: config["fetch.max.bytes"],
		remoteFetchMaxWaitMs: config["remote.fetch.max.wait.ms"],
		idleTimeoutMs: config["connections.max.idle.ms"],
		settings: configAsText(config, String(MAX_LONG)),
	};
}

function mqttOptions(config: Config): ConstructorParameters<typeof MqttDoor>[1] {
	return {
		listen: formatAddress(config["mqtt.listen"]),
		routes: config.routes,
		maxPacketBytes: config["mqtt.max.packet.bytes"],
		receiveMaximum: config["mqtt.receive.maximum"],
		maxConnections: config["mqtt.max.connections"],
		connectTimeoutMs: config["mqtt.connect.timeout.ms"],
		maxKeepAliveSeconds: config["mqtt.max.keep.alive.seconds"],
		maxSessionExpirySeconds: config["mqtt.max.session.expiry.seconds"],
		maxInflight: config["mqtt.max.inflight"],
		maxSubscriptionsPerSession: config["mqtt.max.subscriptions.per.session"],
		topicAliasMaximum: config["mqtt.topic.alias.maximum"],
		maxRetainedMessages: config["mqtt.max.retained.messages"],
		version: VERSION,
		sysIntervalSeconds: config["mqtt.sys.interval.seconds"],
		shareExpirySeconds: config["mqtt.share.expiry.seconds"],
		redirectTo: config["mqtt.redirect.to"],
		redirectWhen: config["mqtt.redirect.when"],
		outputBudgetBytes: config["memory.budget.bytes"] / 4,
	};
}

const CACHE_FOLDER = "tier-cache";

function tieringOptions(config: Config, uplink: Uplink): ConstructorParameters<typeof OnDemandTiering>[1] {
	const store = objectStoreOptions(config, config["data.directory"]);
	return {
		gatewayId: gatewayId(config),
		writer: `headwater ${VERSION}`,
		schedule: config["tier.schedule"],
		window: config["tier.window"],
		uploadBytes: config["tier.upload.bytes"],
		uploadAgeMs: config["tier.upload.age.ms"],
		bundleBytes: config["tier.bundle.bytes"],
		cacheFolder: joinPath(config["data.directory"], CACHE_FOLDER),
		cacheBytes: config["tier.cache.bytes"],
		windowBytes: config["tier.read.window.bytes"],
		uplink: store.url.startsWith("s3:") ? uplink : undefined,
		openStore: async () => {
			const { openStoreProcess } = await import("../tiering/open-store.ts");
			return openStoreProcess(store, process.argv[1] as string);
		},
	};
}

function cleanerOptions(config: Config): CleanerOptions {
	return {
		backoffMs: config["log.cleaner.backoff.ms"],
		dedupeBufferBytes: config["log.cleaner.dedupe.buffer.size"],
		ioBytesPerSecond: config["log.cleaner.io.max.bytes.per.second"],
	};
}

/** The broker's keys that topics take their defaults from, as text. */
export function topicDefaults(config: Config): Record<string, string> {
	const keys = TOPIC_CONFIGS.flatMap(({ brokerKey }) =>
		brokerKey !== undefined && isKeyName(brokerKey) ? [brokerKey] : [],
	);
	// The largest number of the configuration stands for "without end", as Kafka's largest does in a topic's.
	const text = (value: unknown) => String(value === Number.MAX_SAFE_INTEGER ? MAX_LONG : value);
	return Object.fromEntries(keys.map((key) => [key, text(config[key])]));
}

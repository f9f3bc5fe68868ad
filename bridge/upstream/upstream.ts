/** Replication of a running gateway, both ways: its parts together, what it keeps from retention, and what people ask of it. */
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import { directoryIdentity } from "../../src/broker/directory-identity.ts";
import type { Uplink } from "../../src/broker/uplink.ts";
import type {
	UpstreamAdmin,
	UpstreamProblem,
	UpstreamReset,
	UpstreamResetStep,
	UpstreamStatus,
} from "../../src/broker/upstream-admin.ts";
import { Window } from "../../src/broker/window.ts";
import type { RetentionHolder } from "../../src/log/retention-holder.ts";
import { Cluster } from "./client/cluster.ts";
import { KafkaError } from "./client/kafka-error.ts";
import { LinkError } from "./client/link-error.ts";
import { place } from "./client/link-faults.ts";
import { Destinations } from "./destinations.ts";
import { Downlink } from "./downlink/downlink.ts";
import type { Retain } from "./downlink/target.ts";
import { LocalRows } from "./local-rows.ts";
import type { UpstreamOptions } from "./options.ts";
import { Halt } from "./progress/judge.ts";
import { Rate } from "./rate.ts";
import { Rejections } from "./rejections.ts";
import { Replicator } from "./replicator.ts";
import { Session } from "./session.ts";
import { Quarantine } from "./shipment/quarantine.ts";
import { Sources } from "./sources.ts";
import { topicStatus, warningsOf } from "./topic-status.ts";

const CONNECT_MS = 10_000;
const METADATA_MS = 300_000;
/** How often what passed on the wire is counted while nothing is sent: a consumer of commands waits there too. */
const CHARGE_MS = 60_000;

export interface UpstreamServices {
	readonly broker: Broker;
	readonly uplink: Uplink;
	readonly retain: Retain | undefined;
}

export class Upstream implements UpstreamAdmin {
	readonly isConfigured = true;
	readonly #services: UpstreamServices;
	readonly #options: UpstreamOptions;
	readonly #cluster: Cluster;
	readonly #sources: Sources;
	readonly #destinations: Destinations;
	readonly #replicator: Replicator;
	readonly #downlink: Downlink | undefined;
	readonly #holder: RetentionHolder;
	readonly #wireRate: Rate;
	readonly #stop = new AbortController();
	#receiving: Promise<unknown> = Promise.resolve();
	#chargedBytes = 0;

	private constructor(services: UpstreamServices, options: UpstreamOptions, window: Window) {
		const { broker, uplink } = services;
		this.#services = services;
		this.#options = options;
		this.#cluster = this.#newCluster();
		this.#wireRate = new Rate(broker.clock);
		const rows = new LocalRows(broker.log);
		const identity = directoryIdentity(broker.catalog, broker.random);
		const cluster = this.#cluster;
		const sources = new Sources(broker, rows, options.topics, options.gatewayId);
		this.#sources = sources;
		const session = new Session({ broker, cluster, rows, sources, identity, options });
		const destinations = new Destinations({ broker, cluster, session, sources, rows, options });
		this.#destinations = destinations;
		const quarantine = new Quarantine(broker, options.quarantineTopic);
		const rejections = new Rejections(sources, quarantine, (flow, error) => destinations.refused(flow, error));
		this.#replicator = new Replicator({
			...{ broker, session, sources, destinations, rows, uplink, window, rejections, options },
			charge: (takenBytes) => this.#charge(takenBytes),
		});
		this.#holder = {
			purpose: "sent upstream",
			minFreeBytes: options.holdFreeBytes,
			neededFrom: (partition) => sources.neededFrom(partition),
			taken: (partition) => {
				const source = sources.of(partition);
				if (source !== undefined) sources.look(source);
			},
		};
		this.#downlink =
			options.downlink.length === 0
				? undefined
				: new Downlink({
						...{ broker, rules: options.downlink, gatewayId: options.gatewayId },
						...(services.retain === undefined ? {} : { retain: services.retain }),
						cluster: () => this.#newCluster(),
					});
	}

	/** Takes its place in every partition, so that retention keeps what is to be sent. `window` has been checked with the configuration. */
	static async open(services: UpstreamServices, options: UpstreamOptions): Promise<Upstream> {
		const { broker } = services;
		const upstream = new Upstream(services, options, await Window.open(broker.clock, options.window));
		upstream.#sources.follow();
		broker.log.holders.add(upstream.#holder);
		return upstream;
	}

	/** Connects in the background: this does not wait for the central cluster. */
	start(): void {
		const { broker } = this.#services;
		broker.topics.onChange(() => {
			if (!this.#stop.signal.aborted) this.#replicator.topicsChanged();
		});
		if (this.#options.topics.length > 0) this.#replicator.start();
		if (this.#downlink !== undefined) this.#receiving = this.#downlink.run(this.#stop.signal).catch(() => undefined);
		const charge = (): void => {
			if (this.#stop.signal.aborted) return;
			this.#charge(0);
			broker.clock.after(CHARGE_MS, charge);
		};
		broker.clock.after(CHARGE_MS, charge);
	}

	async stop(): Promise<void> {
		this.#stop.abort(new BrokerError("OPERATION_NOT_ATTEMPTED", "the gateway stops"));
		await this.#replicator.stop();
		await this.#receiving;
		this.#charge(0);
		this.#cluster.close();
		this.#services.uplink.settle();
	}

	#newCluster(): Cluster {
		const { clock, random, logger } = this.#services.broker;
		const { servers, dial, sasl, gatewayId, version, requestTimeoutMs } = this.#options;
		return new Cluster({
			...{ bootstrap: servers, dial, sasl, clock, random, logger, requestTimeoutMs },
			clientId: `headwater-${gatewayId}`,
			softwareVersion: version,
			connectTimeoutMs: CONNECT_MS,
			metadataMaxAgeMs: METADATA_MS,
		});
	}

	/** Both ways. */
	get #wire(): { sent: number; received: number } {
		const down = this.#downlink?.wireBytes ?? { sent: 0, received: 0 };
		return { sent: this.#cluster.sentBytes + down.sent, received: this.#cluster.receivedBytes + down.received };
	}

	/** The budget learns what really passed, of which `takenBytes` were taken from it before. */
	#charge(takenBytes: number): void {
		const { sent, received } = this.#wire;
		const bytes = sent + received - this.#chargedBytes;
		this.#chargedBytes += bytes;
		this.#wireRate.add(bytes);
		this.#services.uplink.charge(bytes - takenBytes);
	}

	async status(): Promise<UpstreamStatus> {
		const { uplink } = this.#services;
		const { servers, mode } = this.#options;
		this.#charge(0);
		const { counters, rates, lastSentMs, status } = this.#replicator;
		const { sent, received } = this.#wire;
		const topics = [];
		for (const flow of this.#sources.flows.values()) topics.push(await topicStatus(flow));
		const named = <T extends { readonly problem: UpstreamProblem | undefined }>(of: T): T =>
			of.problem === undefined ? of : { ...of, problem: { ...of.problem, action: this.#pasteable(of.problem.action) } };
		return {
			...{ servers: servers.map(place), mode },
			...named(status),
			clusterId: this.#cluster.clusterId,
			lastSentMs,
			rate: {
				records: rates.records.perSecond,
				bytes: rates.bytes.perSecond,
				wireBytes: this.#wireRate.perSecond,
			},
			total: { ...counters, wireSentBytes: sent, wireReceivedBytes: received },
			uplink: uplink.report(),
			topics: topics.map(named),
			downlink: (this.#downlink?.status() ?? []).map(named),
			warnings: warningsOf(topics, this.#sources, this.#destinations, this.#services.broker.clock.now()),
		};
	}

	/** What helps, as it can be pasted into a terminal: with this gateway's cluster and login. */
	#pasteable(action: string | undefined): string | undefined {
		const { servers, sasl } = this.#options;
		const server = servers[0] === undefined ? "SERVER:PORT" : place(servers[0]);
		const principal = sasl === undefined ? "User:NAME" : `User:${sasl.username}`;
		return action?.replaceAll("SERVER:PORT", server).replaceAll("User:NAME", principal);
	}

	pause(): Promise<void> {
		return this.#replicator.setPaused(true);
	}

	resume(): Promise<void> {
		return this.#replicator.setPaused(false);
	}

	async reset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]> {
		if (reset.topic !== undefined && !this.#sources.flows.has(reset.topic))
			throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `topic ${reset.topic} is not one that is sent upstream`);
		if (this.#options.topics.length === 0)
			throw new BrokerError("INVALID_REQUEST", "no topic is sent upstream: there is nothing to reset");
		try {
			return await this.#replicator.reset(reset);
		} catch (error) {
			if (error instanceof BrokerError) throw error;
			const { message } = error as Error;
			const isKnown = error instanceof Halt || error instanceof KafkaError || error instanceof LinkError;
			const action = isKnown ? this.#pasteable(error.action) : undefined;
			throw new BrokerError("INVALID_REQUEST", [message, ...(action === undefined ? [] : [action])].join("; "), {
				cause: error,
			});
		}
	}
}

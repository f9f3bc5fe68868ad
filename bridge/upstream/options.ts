/** What replication to a central cluster needs to be told. Times in milliseconds, sizes in bytes. */
import type { Address, DownlinkRule, UpstreamTopicRule } from "../../src/config/definition.ts";
import type { Codec } from "../../src/record/compression.ts";
import type { SaslOptions } from "./client/sasl.ts";
import type { Dial } from "./client/transport.ts";
import type { Compress } from "./shipment/compress.ts";

export interface UpstreamOptions {
	readonly gatewayId: string;
	/** Of this program. */
	readonly version: string;
	readonly servers: readonly Address[];
	readonly dial: Dial;
	readonly sasl: SaslOptions | undefined;
	readonly mode: "exactly-once" | "at-least-once";
	readonly topics: readonly UpstreamTopicRule[];
	readonly downlink: readonly DownlinkRule[];
	readonly codec: Codec;
	readonly level: number | undefined;
	readonly compress: Compress;
	/** How long a record waits for others, but for those of high priority. */
	readonly lingerMs: number;
	/** Of one batch, before compression. */
	readonly batchBytes: number;
	/** Of one transaction, before compression. */
	readonly transactionBytes: number;
	readonly transactionTimeoutMs: number;
	readonly requestTimeoutMs: number;
	/** A cron expression of the minutes in which it may send; empty: all. */
	readonly window: string;
	readonly createTopics: boolean;
	/** Of topics that are created there; -1: the cluster's default. */
	readonly replicationFactor: number;
	/** Of topics that are created there; -1: as many as here. */
	readonly partitions: number;
	readonly progressTopic: string;
	readonly progressPartitions: number;
	readonly transactionalId: string;
	readonly quarantineTopic: string;
	/** With less free space retention does not wait for what is still to be sent. */
	readonly holdFreeBytes: number;
}

/** What of a topic's configuration the log itself needs; bytes and milliseconds, -1 for none where Kafka has it. */
export interface PartitionConfig {
	readonly segmentBytes: number;
	readonly segmentMs: number;
	/** A segment's age limit is shorter by up to this, so that not all of them roll at one time. */
	readonly segmentJitterMs: number;
	readonly indexIntervalBytes: number;
	readonly maxMessageBytes: number;
	/** What happens to old records; neither: they are kept for ever. */
	readonly cleanupPolicy: { readonly delete: boolean; readonly compact: boolean };
	readonly retentionMs: number;
	readonly retentionBytes: number;
	/** How long a compacted topic keeps tombstones and transaction markers for readers that are behind. */
	readonly deleteRetentionMs: number;
	/** Records younger than this are not compacted. */
	readonly minCompactionLagMs: number;
	/** Records older than this are compacted whatever the dirty ratio. */
	readonly maxCompactionLagMs: number;
	/** Compaction begins when this part of the log is not compacted yet, from 0 to 1. */
	readonly minCleanableDirtyRatio: number;
	/** In which codec batches are kept; `producer`: as they came. */
	readonly compressionType: "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd";
	/** Of gzip and zstd, where the topic re-encodes; undefined: the codec's own default. */
	readonly compressionLevel: number | undefined;
	/** `append`: the broker's time takes the place of the producer's. */
	readonly timestampType: "create" | "append";
	/** How far a producer's timestamp may lie before and after the broker's time. */
	readonly timestampBeforeMaxMs: number;
	readonly timestampAfterMaxMs: number;
	/** Tiered storage. */
	readonly tier: {
		readonly enabled: boolean;
		/** What is new goes to the object store. */
		readonly copies: boolean;
		/** As retention, for what is kept here when the object store has it. */
		readonly localRetentionMs: number;
		readonly localRetentionBytes: number;
	};
}

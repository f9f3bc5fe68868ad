/** What of a topic's configuration the log itself needs; bytes and milliseconds, -1 for none where Kafka has it. */
export interface PartitionConfig {
	readonly segmentBytes: number;
	readonly segmentMs: number;
	readonly indexIntervalBytes: number;
	readonly maxMessageBytes: number;
	readonly retentionMs: number;
	readonly retentionBytes: number;
}

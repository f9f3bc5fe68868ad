/** Topic configuration: Kafka's names, types, defaults and limits, and what a refusal says. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import {
	checkTopicConfig,
	checkTopicConfigTogether,
	partitionConfig,
	TOPIC_CONFIGS,
	topicConfigDefinition,
	topicConfigValue,
} from "../../../src/catalog/topic-config.ts";

function refusal(work: () => unknown): string {
	try {
		work();
	} catch (error) {
		if (error instanceof BrokerError && error.code === "INVALID_CONFIG") return error.message;
		throw error;
	}
	return "";
}

describe("the table", () => {
	it("has every topic configuration of Kafka 4.3, with its type and default; a default of our own only where it is told", () => {
		const table = Object.fromEntries(TOPIC_CONFIGS.map(({ name, type, fallback }) => [name, `${type} ${fallback}`]));
		expect(table).toEqual({
			"cleanup.policy": "LIST delete",
			"compression.gzip.level": "INT -1",
			"compression.lz4.level": "INT 9",
			"compression.type": "STRING producer",
			"compression.zstd.level": "INT 3",
			"delete.retention.ms": "LONG 86400000",
			"file.delete.delay.ms": "LONG 60000",
			"flush.messages": "LONG 9223372036854775807",
			"flush.ms": "LONG 9223372036854775807",
			"follower.replication.throttled.replicas": "LIST ",
			"index.interval.bytes": "INT 4096",
			"leader.replication.throttled.replicas": "LIST ",
			"local.retention.bytes": "LONG -2",
			"local.retention.ms": "LONG -2",
			"max.compaction.lag.ms": "LONG 9223372036854775807",
			"max.message.bytes": "INT 1048588",
			"message.timestamp.after.max.ms": "LONG 3600000",
			"message.timestamp.before.max.ms": "LONG 9223372036854775807",
			"message.timestamp.type": "STRING CreateTime",
			"min.cleanable.dirty.ratio": "DOUBLE 0.5",
			"min.compaction.lag.ms": "LONG 0",
			"min.insync.replicas": "INT 1",
			preallocate: "BOOLEAN false",
			"remote.log.copy.disable": "BOOLEAN false",
			"remote.log.delete.on.disable": "BOOLEAN false",
			"remote.storage.enable": "BOOLEAN false",
			"retention.bytes": "LONG -1",
			"retention.ms": "LONG 604800000",
			// Kafka has 1 GiB.
			"segment.bytes": "INT 67108864",
			"segment.index.bytes": "INT 10485760",
			"segment.jitter.ms": "LONG 0",
			"segment.ms": "LONG 604800000",
			"unclean.leader.election.enable": "BOOLEAN false",
		});
	});

	it("has defaults that its own checks take", () => {
		for (const { parse, fallback, name } of TOPIC_CONFIGS) expect([name, parse(fallback)]).toEqual([name, fallback]);
	});
});

describe("a value", () => {
	it.each([
		["cleanup.policy", "delete, compact", "delete,compact"],
		["cleanup.policy", "compact,compact", "compact"],
		["cleanup.policy", "", ""],
		["retention.ms", " 5 ", "5"],
		["retention.ms", "+5", "5"],
		["retention.ms", "9223372036854775807", "9223372036854775807"],
		["retention.bytes", "-1", "-1"],
		["preallocate", "TRUE", "true"],
		["min.cleanable.dirty.ratio", ".3", "0.3"],
		["min.cleanable.dirty.ratio", "1e-1", "0.1"],
		["compression.gzip.level", "-1", "-1"],
		["compression.zstd.level", "-131072", "-131072"],
		["leader.replication.throttled.replicas", "0:1, 1:2", "0:1,1:2"],
		["leader.replication.throttled.replicas", "*", "*"],
		["remote.storage.enable", "False", "false"],
	])("%s=%j is kept as %j", (name, value, kept) => {
		expect(checkTopicConfig({ [name]: value })).toEqual({ [name]: kept });
	});

	it.each([
		["cleanup.policy", "Compact", "delete, compact, both with a comma between, or nothing would be right"],
		["cleanup.policy", "delete,", "delete, compact, both"],
		["retention.ms", "5.0", "a whole number from -1 to 9223372036854775807 would be right"],
		["retention.ms", "9223372036854775808", "a whole number from -1"],
		["retention.ms", "-2", "a whole number from -1"],
		["index.interval.bytes", "2147483648", "a whole number from 0 to 2147483647"],
		["min.cleanable.dirty.ratio", "1.01", "a number from 0 to 1"],
		["min.cleanable.dirty.ratio", "-0.1", "a number from 0 to 1"],
		["preallocate", "yes", "true or false"],
		["compression.type", "none", "one of uncompressed, zstd, lz4, snappy, gzip, producer"],
		["compression.gzip.level", "0", "a whole number from 1 to 9, or -1"],
		["message.timestamp.type", "createtime", "one of CreateTime, LogAppendTime"],
		["leader.replication.throttled.replicas", "0", "* or a list of partition:broker"],
		["remote.storage.enable", "yes", "true or false"],
	])("%s=%j is refused, and the message says what would be right", (name, value, right) => {
		const message = refusal(() => checkTopicConfig({ [name]: value }));
		expect(message).toContain(`${name}=${JSON.stringify(value)}: `);
		expect(message).toContain(right);
	});

	it("of an unknown name is refused with all names that there are", () => {
		const message = refusal(() => topicConfigDefinition("retention.msx"));
		expect(message).toContain('unknown topic configuration "retention.msx"');
		for (const { name } of TOPIC_CONFIGS) expect(message).toContain(name);
	});

	it("is the topic's own, else the broker's, else Kafka's", () => {
		const definition = topicConfigDefinition("retention.ms");
		const broker = { "log.retention.ms": "7" };
		expect(topicConfigValue(definition, { "retention.ms": "8" }, broker)).toEqual({ value: "8", isDefault: false });
		expect(topicConfigValue(definition, {}, broker)).toEqual({ value: "7", isDefault: true });
		expect(topicConfigValue(definition, {}, {})).toEqual({ value: "604800000", isDefault: true });
	});
});

it("refuses a compaction lag whose least is more than its most, whichever of the two is a default", () => {
	checkTopicConfigTogether({ "min.compaction.lag.ms": "10", "max.compaction.lag.ms": "10" }, {});
	expect(
		refusal(() => checkTopicConfigTogether({ "min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9" }, {})),
	).toContain("min.compaction.lag.ms (10) is more than max.compaction.lag.ms (9)");
	expect(
		refusal(() =>
			checkTopicConfigTogether({ "max.compaction.lag.ms": "9" }, { "log.cleaner.min.compaction.lag.ms": "10" }),
		),
	).not.toBe("");
});

describe("tiered storage", () => {
	const on = { "remote.storage.enable": "true" };

	it.each([
		["retention.ms", "local.retention.ms", "log.local.retention.ms"],
		["retention.bytes", "local.retention.bytes", "log.local.retention.bytes"],
	])("keeps no more here than %s keeps at all", (whole, local, brokerKey) => {
		for (const right of ["-2", "0", "1000"]) checkTopicConfigTogether({ ...on, [whole]: "1000", [local]: right }, {});
		for (const wrong of ["1001", "-1"])
			expect(refusal(() => checkTopicConfigTogether({ ...on, [whole]: "1000", [local]: wrong }, {}))).toContain(
				`${local} (${wrong}) is more than ${whole} (1000)`,
			);
		expect(refusal(() => checkTopicConfigTogether({ ...on, [whole]: "1000" }, { [brokerKey]: "1001" }))).not.toBe("");
		// All is kept, or nothing is in an object store, or compaction alone takes anything away.
		checkTopicConfigTogether({ ...on, [whole]: "-1", [local]: "1001" }, {});
		checkTopicConfigTogether({ [whole]: "1000", [local]: "1001" }, {});
		checkTopicConfigTogether({ ...on, [whole]: "1000", [local]: "1001", "cleanup.policy": "compact" }, {});
	});

	it("may be the default of all topics, and one topic may go without", () => {
		const defaults = { "log.remote.storage.enable": "true" };
		expect(partitionConfig({}, defaults).tier).toMatchObject({ enabled: true, copies: true });
		expect(partitionConfig({ "remote.storage.enable": "false" }, defaults).tier.enabled).toBe(false);
		expect(partitionConfig({ "remote.log.copy.disable": "true" }, defaults).tier).toMatchObject({
			enabled: true,
			copies: false,
		});
	});
});

it("gives the log its part, numbers as numbers", () => {
	const config = partitionConfig(
		{ "cleanup.policy": "compact,delete", "compression.type": "zstd", "message.timestamp.type": "LogAppendTime" },
		{ "log.segment.bytes": "5000" },
	);
	expect(config).toMatchObject({
		segmentBytes: 5000,
		cleanupPolicy: { delete: true, compact: true },
		compressionType: "zstd",
		compressionLevel: 3,
		timestampType: "append",
		minCleanableDirtyRatio: 0.5,
		deleteRetentionMs: 86_400_000,
	});
	const none = partitionConfig({ "cleanup.policy": "" }, {});
	expect(none.cleanupPolicy).toEqual({ delete: false, compact: false });
	expect([none.compressionType, none.compressionLevel]).toEqual(["producer", undefined]);
});

/** Record batches as producers send them, with what may be wrong about them; and a broker in a simulated world to append them to. */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { type AppendedBatch, appendProducerBatch } from "../../src/broker/append-batch.ts";
import { TOPIC_CONFIGS } from "../../src/catalog/topic-config.ts";
import { DEFAULT_CONFIG, isKeyName } from "../../src/config/keys.ts";
import type { Partition } from "../../src/log/partition.ts";
import { type EncodableRecord, type EncodeOptions, encodeBatch } from "../../src/record/batch.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { World } from "../simulation/world.ts";

/** What the simulated clock begins with. */
export const START_MS = 1_700_000_000_000;

export function record(value: string, given: Partial<EncodableRecord> = {}): EncodableRecord {
	return { timestamp: START_MS, key: Buffer.from("k"), value: Buffer.from(value), headers: [], ...given };
}

/** `changed` alters the batch before its checksum is made anew. */
export function batchOf(
	values: readonly (string | EncodableRecord)[],
	options: EncodeOptions = {},
	changed?: (batch: Buffer) => void,
): Buffer {
	const batch = encodeBatch(
		values.map((value) => (typeof value === "string" ? record(value) : value)),
		options,
	);
	if (changed !== undefined) {
		changed(batch);
		batch.writeUInt32BE(crc32c(batch, 21), 17);
	}
	return batch;
}

/** The topic defaults of a gateway that is not configured. */
export function defaultTopicConfig(): Record<string, string> {
	const defaults: Record<string, string> = {};
	for (const { brokerKey } of TOPIC_CONFIGS)
		if (brokerKey !== undefined && isKeyName(brokerKey)) defaults[brokerKey] = String(DEFAULT_CONFIG[brokerKey]);
	return defaults;
}

export function startWorld(seed = 3): World {
	const world = new World(new SimulatedRandom(seed), {
		journalFileBytes: 8 * 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: defaultTopicConfig(),
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	return world;
}

/** Appends as a request of its own does. */
export function appendTo(
	world: World,
	partition: Partition,
	batch: Buffer,
	transactionalId: string | null = null,
): AppendedBatch {
	return appendProducerBatch(world.broker, partition, batch, {
		transactionalId,
		decompressedBytes: 128 * 1024 * 1024,
		allowsZstd: true,
	});
}

/** Telemetry for a backlog: ready-made batches of different content, each device's in the partition of its key, as the doors put them. */
import { ProduceRequest, ProduceResponse } from "../../src/kafka/protocol/messages/00-produce.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { partitionForKey } from "../../src/record/partitioner.ts";
import { KafkaClient } from "./kafka-client.ts";

const PRODUCE_VERSION = 9;
const IN_FLIGHT = 4;
/** Of one batch: about what the doors commit together under load. */
const BATCH_RECORDS = 100;
/** Batches of a partition that differ. A batch for the link, 256 KiB, has room for fewer than that at 100 B a value. */
const BATCHES = 31;
const DEVICES = 20;

const figure = (most: number): string => (Math.random() * most).toFixed(3);

/** JSON of exactly that many bytes: names that repeat, figures that do not. */
export function telemetryValue(bytes: number): Buffer {
	const value = Buffer.alloc(bytes, " ");
	let text = `{"t":${Date.now() + Math.floor(Math.random() * 1e6)},"celsius":${figure(90)},"bar":${figure(8)},"rpm":${Math.floor(Math.random() * 3000)}`;
	if (text.length + 1 > bytes) throw new RangeError(`a value of ${bytes} bytes is too short for an event`);
	for (let n = 0; ; n += 1) {
		const more = `,"g${n % 8}":${figure(2)}`;
		if (text.length + more.length + 1 > bytes) break;
		text += more;
	}
	value.write(`${text}}`);
	return value;
}

/** By partition. */
export function telemetryBatches(partitions: number, valueBytes: number): Buffer[][] {
	const keys: Buffer[][] = Array.from({ length: partitions }, () => []);
	for (let n = 0; keys.some((each) => each.length < DEVICES); n += 1) {
		const key = Buffer.from(`press-${String(n).padStart(4, "0")}`);
		keys[partitionForKey(key, partitions)]?.push(key);
	}
	return keys.map((devices) =>
		Array.from({ length: BATCHES }, () =>
			encodeBatch(
				Array.from({ length: BATCH_RECORDS }, (_, i) => ({
					timestamp: Date.now() + i,
					key: devices[Math.floor(Math.random() * devices.length)] as Buffer,
					value: telemetryValue(valueBytes),
					headers: [],
				})),
				{ leaderEpoch: -1 },
			),
		),
	);
}

/** Appends records until `isEnough`; how many, and their bytes as record batches. */
export async function fillBacklog(
	bootstrap: string,
	{ topic, partitions, valueBytes }: { topic: string; partitions: number; valueBytes: number },
	isEnough: (records: number, bytes: number) => boolean,
): Promise<{ records: number; bytes: number }> {
	const client = await KafkaClient.open(bootstrap);
	const made = telemetryBatches(partitions, valueBytes);
	let bytes = 0;
	let turn = 0;
	const one = async (): Promise<void> => {
		while (!isEnough(turn * BATCH_RECORDS, bytes)) {
			const index = turn % partitions;
			const records = made[index]?.[Math.floor(turn / partitions) % BATCHES] as Buffer;
			turn += 1;
			bytes += records.length;
			const { responses } = await client.request(ProduceRequest, ProduceResponse, PRODUCE_VERSION, {
				acks: -1,
				timeoutMs: 30_000,
				topicData: [{ name: topic, partitionData: [{ index, records }] }],
			});
			const error = responses[0]?.partitionResponses[0]?.errorCode;
			if (error !== 0) throw new Error(`the gateway answered a produce with error ${error}`);
		}
	};
	await Promise.all(Array.from({ length: IN_FLIGHT }, one));
	client.close();
	return { records: turn * BATCH_RECORDS, bytes };
}

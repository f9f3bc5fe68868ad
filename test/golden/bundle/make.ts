/**
 * Made format-1.bundle, once: `node test/golden/bundle/make.ts FILE`. What is there is never made anew: today's reader has to read it.
 * For a later format it makes another one.
 */
import fs from "node:fs";
import { encodeBatch } from "../../../src/record/batch.ts";
import { BundleWriter } from "../../../tiering/bundle/writer.ts";

const clock = {
	now: () => 1_768_000_000_000,
	monotonic: () => 0,
	after: () => ({ cancel: () => undefined }),
	soon: (task: () => void) => setImmediate(task),
};
const parts: Buffer[] = [];
const writer = new BundleWriter(
	{ gateway: "gw-golden", incarnation: 2, sequence: 41, attempt: "5eed5eed" },
	{ sink: async (bytes) => void parts.push(Buffer.from(bytes)), clock, writer: "headwater golden" },
);
const TELEMETRY = { id: "0b0e9f5e-8f4f-4f43-9a53-5b2d1a3c7f11", name: "telemetry" };
const STATE = { id: "6a0f7e0c-1c58-4b0e-8f8a-2d0c7d0d9e21", name: "device.state" };
const record = (n: number, value: string | Buffer | null, key: string | null = `dev${n}`) => ({
	timestamp: 1_767_999_000_000 + n * 1000,
	key: key === null ? null : Buffer.from(key),
	value: value === null ? null : Buffer.from(value),
	headers: n % 2 === 0 ? [] : [{ key: "site", value: Buffer.from("s1") }],
});
const transaction = { producerId: 7, producerEpoch: 1, isTransactional: true };

writer.beginRange({ topicId: TELEMETRY.id, topic: TELEMETRY.name, partition: 0, partitionId: 3, baseOffset: 100 });
for (const [i, codec] of (["none", "gzip", "zstd"] as const).entries()) {
	const values = [`{"t":21.${i}}`, "ü", Buffer.of(0xff, i)];
	await writer.addBatches(
		encodeBatch(
			values.map((value, n) => record(i * 3 + n, value)),
			{ baseOffset: 100 + i * 3, codec, leaderEpoch: 1 },
		),
	);
}
await writer.endRange(109, [{ epoch: 1, startOffset: 100 }], []);

writer.beginRange({ topicId: TELEMETRY.id, topic: TELEMETRY.name, partition: 1, partitionId: 4, baseOffset: 0 });
const marker = (type: number) => {
	const key = Buffer.alloc(4);
	key.writeInt16BE(type, 2);
	return { timestamp: 1_767_999_020_000, key, value: Buffer.alloc(6), headers: [] };
};
await writer.addBatches(encodeBatch([record(10, "aborted")], { baseOffset: 0, baseSequence: 0, ...transaction }));
await writer.addBatches(encodeBatch([marker(0)], { baseOffset: 1, isControl: true, ...transaction }));
await writer.addBatches(encodeBatch([record(11, "committed")], { baseOffset: 2, baseSequence: 1, ...transaction }));
await writer.addBatches(encodeBatch([marker(1)], { baseOffset: 3, isControl: true, ...transaction }));
await writer.endRange(4, [{ epoch: 0, startOffset: 0 }], [{ producerId: 7, firstOffset: 0, lastOffset: 1 }]);

writer.beginRange({ topicId: STATE.id, topic: STATE.name, partition: 0, partitionId: 5, baseOffset: 500 });
await writer.addBatches(encodeBatch([record(12, "on")], { baseOffset: 510, leaderEpoch: 0 }));
await writer.addBatches(encodeBatch([record(14, null)], { baseOffset: 530, leaderEpoch: 2 }));
// Compressed already, and nearly all of the block: stored as it is.
const noise = Buffer.alloc(1500);
for (let i = 0, seed = 1; i < noise.length; i++) noise[i] = seed = (seed * 48_271) % 2_147_483_647;
await writer.addBatches(encodeBatch([record(15, noise, null)], { baseOffset: 531, codec: "gzip", leaderEpoch: 2 }));
await writer.endRange(
	540,
	[
		{ epoch: 0, startOffset: 500 },
		{ epoch: 2, startOffset: 520 },
	],
	[],
);

writer.beginRange({ topicId: STATE.id, topic: STATE.name, partition: 1, partitionId: 6, baseOffset: 7 });
await writer.endRange(9, [{ epoch: 0, startOffset: 7 }], []);

await writer.finish(
	[
		{ ...TELEMETRY, partitions: 2, config: { "retention.ms": "604800000" } },
		{ ...STATE, partitions: 2, config: { "cleanup.policy": "compact" } },
	],
	Buffer.from("an opaque snapshot"),
);
fs.writeFileSync(process.argv[2] ?? "format-1.bundle", Buffer.concat(parts));

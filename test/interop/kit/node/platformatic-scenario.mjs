/** The scenario of kafka/clients.test.ts with @platformatic/kafka. Arguments: BOOTSTRAP PREFIX START_TIME_MS FOLDER_WITH_NODE_MODULES. */
import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

const [bootstrap, prefix, startText, packages] = process.argv.slice(2);
const { Admin, Consumer, Producer, stringDeserializers, stringSerializers } = createRequire(
	path.join(packages, "package.json"),
)("@platformatic/kafka");
const start = Number(startText);
const plain = `${prefix}-plain`;
const group = `${prefix}-group`;
const transactional = `${prefix}-tx`;
const base = { clientId: "scenario", bootstrapBrokers: [bootstrap], retries: 3, retryDelay: 200 };
const TOPIC = 2;
const report = {};

async function withProducer(options, work) {
	const producer = new Producer({ ...base, serializers: stringSerializers, ...options });
	await work(producer);
	await producer.close();
}

const member = (groupId, options = {}) =>
	new Consumer({
		...base,
		groupId,
		deserializers: stringDeserializers,
		maxWaitTime: 100,
		autocommit: false,
		sessionTimeout: 10_000,
		heartbeatInterval: 200,
		...options,
	});

/** What a group's member gets, `count` messages of them. */
async function take(topic, consumer, count, options = {}) {
	const stream = await consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest", ...options });
	const messages = [];
	for await (const message of stream) {
		messages.push(message);
		if (messages.length === count) break;
	}
	await stream.close();
	return messages;
}
const values = (messages) => messages.map((message) => message.value ?? null);

const admin = new Admin(base);
await admin.createTopics({
	topics: [plain],
	partitions: 3,
	replicas: 1,
	configs: [{ name: "retention.ms", value: "-1" }],
});
const partitions = async () =>
	(await admin.metadata({ topics: [plain], forceUpdate: true })).topics.get(plain).partitionsCount;
report.partitions = await partitions();

let time = start;
for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
	await withProducer({ idempotent: true, compression: codec }, (producer) =>
		producer.send({
			messages: Array.from({ length: 20 }, (_, n) => ({
				topic: plain,
				key: `k${n % 5}`,
				value: `${codec}-${n}`,
				headers: new Map([["codec", codec]]),
				timestamp: BigInt(time + n * 1000),
			})),
		}),
	);
	time += 20_000;
}
await withProducer({}, (producer) =>
	producer.send({ messages: [{ topic: plain, key: "gone", timestamp: BigInt(time) }] }),
);
const consumer = member(group);
const first = await take(plain, consumer, 101);
report.consumed = first.map(({ partition, offset, timestamp, key, value, headers }) => ({
	partition,
	offset: Number(offset),
	timestamp: Number(timestamp),
	key,
	value: value ?? null,
	headers: Object.fromEntries(headers),
}));
const found = await consumer.listOffsetsWithTimestamps({ topics: [plain], timestamp: BigInt(start + 20_000) });
report.offsetsAtSecondCodec = [...found.get(plain).values()].reduce((sum, { offset }) => sum + Number(offset), 0);
for (const message of first) await message.commit();
await consumer.close();
await withProducer({ acks: 1 }, async (producer) => {
	for (let n = 0; n < 5; n++) {
		await producer.send({ messages: [{ topic: plain, key: `k${n}`, value: `more-${n}` }] });
	}
});
const again = member(group);
report.resumed = values(await take(plain, again, 5));
await again.close();

// Two members share the partitions; when one leaves, the other has them all.
const until = async (holds) => {
	for (let i = 0; i < 600 && !holds(); i++) await sleep(50);
};
const one = member(`${prefix}-members`);
const two = member(`${prefix}-members`);
const count = ({ assignments }) => assignments?.flatMap((assignment) => assignment.partitions).length ?? 0;
const both = () => [count(one), count(two)].sort();
for (const joining of [one, two]) {
	(await joining.consume({ topics: [plain], mode: "latest" })).resume();
}
await until(() => both().join() === "1,2");
const shared = both();
await two.close(true);
await until(() => count(one) === 3);
report.members = [shared, [count(one)]];
await one.close(true);

await admin.createTopics({ topics: [transactional], partitions: 1, replicas: 1 });
const eos = member(`${prefix}-eos`);
// A message of partition 0 whose offset a transaction can commit.
const [source] = await take(plain, eos, 1);
const options = { transactionalId: `${prefix}-id`, idempotent: true };
await withProducer(options, async (producer) => {
	for (const name of ["a", "b", "c"]) {
		const transaction = await producer.beginTransaction();
		await transaction.addConsumer(eos);
		await transaction.send({
			messages: Array.from({ length: 5 }, (_, n) => ({ topic: transactional, key: "k", value: `${name}${n}` })),
		});
		if (name === "c") await transaction.addOffset(source);
		await (name === "b" ? transaction.abort() : transaction.commit());
	}
	const offsets = await admin.listConsumerGroupOffsets({ groups: [`${prefix}-eos`], requireStable: true });
	const [topic] = offsets[0].topics;
	report.transactionalOffset =
		topic.partitions.find(({ partitionIndex }) => partitionIndex === source.partition).committedOffset -
			source.offset ===
		1n;
	const open = await producer.beginTransaction();
	await withProducer(options, async (second) => {
		// This client means "none" by its default of 0, 0, which a broker takes for a producer that is fenced.
		const newer = await second.beginTransaction({ producerId: -1n, producerEpoch: -1 });
		await newer.send({ messages: [{ topic: transactional, key: "k", value: "of the second" }] });
		await newer.abort();
		try {
			await open.send({ messages: [{ topic: transactional, key: "k", value: "fenced" }] });
			await open.commit();
			report.fenced = false;
		} catch (error) {
			report.fenced = /PRODUCER_FENCED|INVALID_PRODUCER_EPOCH/.test(inspect(error, { depth: null })) || String(error);
		}
	});
});
await eos.close(true);
// Of aborted records it takes no notice: it gets all there are.
const reader = member(`${prefix}-all`);
report.read = { read_uncommitted: values(await take(transactional, reader, 16, { isolationLevel: 0 })) };
await reader.close(true);

const done = {};
await admin.incrementalAlterConfigs({
	resources: [
		{
			resourceType: TOPIC,
			resourceName: plain,
			configs: [{ name: "max.message.bytes", configOperation: 0, value: "2000" }],
		},
	],
});
const [described] = await admin.describeConfigs({
	resources: [{ resourceType: TOPIC, resourceName: plain, configurationKeys: ["max.message.bytes"] }],
});
done["max.message.bytes"] = described.configs[0].value;
await withProducer({}, async (producer) => {
	await producer.send({ messages: [{ topic: plain, key: "big", value: "x".repeat(3000) }] }).catch((error) => {
		done.tooLarge = /MESSAGE_TOO_LARGE/.test(inspect(error, { depth: null })) || String(error);
	});
});
await admin.createPartitions({ topics: [{ name: plain, count: 4, assignments: [{ brokerIds: [1] }] }] });
done.partitions = await partitions();
const [deleted] = await admin.deleteRecords({ topics: [{ name: plain, partitions: [{ partition: 0, offset: 3n }] }] });
done.lowWatermark = Number(deleted.partitions[0].lowWatermark);
const [earliest] = await admin.listOffsets({
	topics: [{ name: plain, partitions: [{ partitionIndex: 0, timestamp: -2n }] }],
});
done.earliest = Number(earliest.partitions[0].offset);
done.listed = (await admin.listGroups()).has(group);
done.state = (await admin.describeGroups({ groups: [group] })).get(group).state;
await admin.deleteGroups({ groups: [group] });
done.listedAfterDelete = (await admin.listGroups()).has(group);
await admin.deleteTopics({ topics: [plain] });
done.topicAfterDelete = (await admin.listTopics()).includes(plain);
report.administration = done;
await admin.close();
console.log(JSON.stringify(report));

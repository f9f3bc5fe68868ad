/** The scenario of kafka/clients.test.ts with kafkajs. Arguments: BOOTSTRAP PREFIX START_TIME_MS FOLDER_WITH_NODE_MODULES. */
import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [bootstrap, prefix, startText, packages] = process.argv.slice(2);
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = createRequire(path.join(packages, "package.json"))(
	"kafkajs",
);
const start = Number(startText);
const plain = `${prefix}-plain`;
const group = `${prefix}-group`;
const transactional = `${prefix}-tx`;
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING });
const report = {};

async function withProducer(options, work) {
	const producer = kafka.producer({ allowAutoTopicCreation: false, ...options });
	await producer.connect();
	await work(producer);
	await producer.disconnect();
}

const join = async (topic, groupId, options = {}, run = {}) => {
	const consumer = kafka.consumer({ groupId, heartbeatInterval: 200, maxWaitTimeInMs: 100, ...options });
	await consumer.connect();
	await consumer.subscribe({ topics: [topic], fromBeginning: true });
	const messages = [];
	const assigned = { partitions: 0 };
	consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
		assigned.partitions = payload.memberAssignment[topic]?.length ?? 0;
	});
	await consumer.run({
		...run,
		async eachMessage({ partition, message }) {
			messages.push({ partition, ...message });
		},
	});
	return { consumer, messages, assigned };
};

async function until(holds) {
	for (let i = 0; i < 600 && !holds(); i++) await sleep(50);
}

/** What a group's member gets, `count` messages of them; its offsets are committed when it leaves. */
async function take(topic, groupId, count, options) {
	const { consumer, messages } = await join(topic, groupId, options);
	await until(() => messages.length >= count);
	await consumer.disconnect();
	return messages;
}
const values = (messages) => messages.map((message) => message.value?.toString() ?? null);

const admin = kafka.admin();
await admin.connect();
await admin.createTopics({
	topics: [{ topic: plain, numPartitions: 3, configEntries: [{ name: "retention.ms", value: "-1" }] }],
});
report.partitions = (await admin.fetchTopicMetadata({ topics: [plain] })).topics[0].partitions.length;

let time = start;
for (const [codec, compression] of [
	["none", CompressionTypes.None],
	["gzip", CompressionTypes.GZIP],
]) {
	await withProducer({ idempotent: true }, (producer) =>
		producer.send({
			topic: plain,
			compression,
			messages: Array.from({ length: 20 }, (_, n) => ({
				key: `k${n % 5}`,
				value: `${codec}-${n}`,
				headers: { codec },
				timestamp: String(time + n * 1000),
			})),
		}),
	);
	time += 20_000;
}
await withProducer({}, (producer) =>
	producer.send({ topic: plain, messages: [{ key: "gone", value: null, timestamp: String(time) }] }),
);
report.consumed = (await take(plain, group, 41)).map(({ partition, offset, timestamp, key, value, headers }) => ({
	partition,
	offset: Number(offset),
	timestamp: Number(timestamp),
	key: key.toString(),
	value: value?.toString() ?? null,
	headers: Object.fromEntries(Object.entries(headers).map(([name, bytes]) => [name, bytes.toString()])),
}));
report.offsetsAtSecondCodec = (await admin.fetchTopicOffsetsByTimestamp(plain, start + 20_000)).reduce(
	(sum, { offset }) => sum + Number(offset),
	0,
);
await withProducer({}, async (producer) => {
	for (let n = 0; n < 5; n++) {
		await producer.send({ topic: plain, acks: 1, messages: [{ key: `k${n}`, value: `more-${n}` }] });
	}
});
report.resumed = values(await take(plain, group, 5));

// Two members share the partitions; when one leaves, the other has them all.
const one = await join(plain, `${prefix}-members`);
const two = await join(plain, `${prefix}-members`);
const both = () => [one.assigned.partitions, two.assigned.partitions].sort();
await until(() => both().join() === "1,2");
const shared = both();
await two.consumer.disconnect();
await until(() => one.assigned.partitions === 3);
report.members = [shared, [one.assigned.partitions]];
await one.consumer.disconnect();

await admin.createTopics({ topics: [{ topic: transactional, numPartitions: 1 }] });
const options = { transactionalId: `${prefix}-id`, maxInFlightRequests: 1, idempotent: true };
await withProducer(options, async (producer) => {
	for (const name of ["a", "b", "c"]) {
		const transaction = await producer.transaction();
		const messages = Array.from({ length: 5 }, (_, n) => ({ key: "k", value: `${name}${n}` }));
		await transaction.send({ topic: transactional, messages });
		const partitions = [{ partition: 0, offset: name === "b" ? "9" : "7" }];
		await transaction.sendOffsets({ consumerGroupId: `${prefix}-eos`, topics: [{ topic: plain, partitions }] });
		await (name === "b" ? transaction.abort() : transaction.commit());
	}
	const [offsets] = await admin.fetchOffsets({ groupId: `${prefix}-eos`, topics: [plain] });
	report.transactionalOffset = offsets.partitions.find(({ partition }) => partition === 0).offset;
	const open = await producer.transaction();
	await withProducer(options, async (second) => {
		// kafkajs initialises its producer id when it begins its first transaction.
		await (await second.transaction()).abort();
		try {
			await open.send({ topic: transactional, messages: [{ key: "k", value: "fenced" }] });
			await open.commit();
			report.fenced = false;
		} catch (error) {
			report.fenced = ["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"].includes(error.type);
		}
	});
});
report.read = {
	read_committed: values(await take(transactional, `${prefix}-committed`, 10)),
	read_uncommitted: values(await take(transactional, `${prefix}-uncommitted`, 15, { readUncommitted: true })),
};

const done = {};
await admin.alterConfigs({
	validateOnly: false,
	resources: [
		{
			type: ConfigResourceTypes.TOPIC,
			name: plain,
			configEntries: [{ name: "max.message.bytes", value: "2000" }],
		},
	],
});
const described = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: plain }] });
const config = (name) => described.resources[0].configEntries.find((entry) => entry.configName === name).configValue;
done["max.message.bytes"] = config("max.message.bytes");
await withProducer({}, async (producer) => {
	const messages = [{ key: "big", value: "x".repeat(3000) }];
	await producer.send({ topic: plain, messages }).catch((error) => {
		done.tooLarge = error.type;
	});
});
await admin.createPartitions({ topicPartitions: [{ topic: plain, count: 4 }] });
done.partitions = (await admin.fetchTopicMetadata({ topics: [plain] })).topics[0].partitions.length;
await admin.deleteTopicRecords({ topic: plain, partitions: [{ partition: 0, offset: "3" }] });
done.earliest = Number((await admin.fetchTopicOffsets(plain)).find(({ partition }) => partition === 0).low);
const listed = async () => (await admin.listGroups()).groups.some(({ groupId }) => groupId === group);
done.listed = await listed();
done.state = (await admin.describeGroups([group])).groups[0].state;
await admin.deleteGroups([group]);
done.listedAfterDelete = await listed();
await admin.deleteTopics({ topics: [plain] });
done.topicAfterDelete = (await admin.listTopics()).includes(plain);
report.administration = done;
await admin.disconnect();
console.log(JSON.stringify(report));

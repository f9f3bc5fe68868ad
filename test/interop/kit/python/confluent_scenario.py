"""The scenario of kafka/clients.test.ts with confluent-kafka (librdkafka). Arguments: BOOTSTRAP PREFIX START_TIME_MS."""

import json
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

bootstrap, prefix, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
plain, group, transactional = prefix + "-plain", prefix + "-group", prefix + "-tx"
admin = AdminClient({"bootstrap.servers": bootstrap})
report = {}


def producer(**more):
    return Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "enable.idempotence": True, **settings(more)})


def consumer(**more):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "heartbeat.interval.ms": 100,
            **settings({"group_id": prefix + "-none", **more}),
        }
    )


def settings(more):
    return {name.replace("_", "."): value for name, value in more.items()}


def take(source, count):
    taken = []
    deadline = time.monotonic() + 30
    while len(taken) < count and time.monotonic() < deadline:
        message = source.poll(0.1)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            taken.append(message)
    return taken


def values(messages):
    return [message.value().decode() for message in messages]


def delivered(error, _message):
    if error is not None:
        raise KafkaException(error)


def results(futures):
    return {key: future.result() for key, future in futures.items()}


def partitions(topic):
    return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)


def stored_and_read():
    results(admin.create_topics([NewTopic(plain, 3, 1, config={"retention.ms": "-1"})]))
    report["partitions"] = partitions(plain)
    at = start
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        sender = producer(compression_type=codec)
        for n in range(20):
            sender.produce(
                plain, f"{codec}-{n}", f"k{n % 5}", timestamp=at, headers={"codec": codec}, on_delivery=delivered
            )
            at += 1000
        sender.flush()
    sender = producer()
    sender.produce(plain, None, "gone", timestamp=at, on_delivery=delivered)
    sender.flush()
    reader = consumer(group_id=group)
    reader.subscribe([plain])
    messages = take(reader, 101)
    report["consumed"] = [
        {
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
            "key": message.key().decode(),
            "value": message.value() and message.value().decode(),
            "headers": {name: value.decode() for name, value in message.headers() or []},
        }
        for message in messages
    ]
    reader.commit(asynchronous=False)
    times = [TopicPartition(plain, n, start + 20_000) for n in range(3)]
    report["offsetsAtSecondCodec"] = sum(found.offset for found in reader.offsets_for_times(times))
    reader.close()
    sender = producer(enable_idempotence=False, acks=1)
    for n in range(5):
        sender.produce(plain, f"more-{n}", f"k{n}", on_delivery=delivered)
    sender.flush()
    reader = consumer(group_id=group)
    reader.subscribe([plain])
    report["resumed"] = values(take(reader, 5))
    reader.commit(asynchronous=False)
    reader.close()


def members():
    """Two members share the partitions; when one leaves, the other has them all."""
    one = consumer(group_id=prefix + "-members", partition_assignment_strategy="range")
    two = consumer(group_id=prefix + "-members", partition_assignment_strategy="range")
    one.subscribe([plain])
    two.subscribe([plain])
    both = lambda: sorted(len(member.assignment()) for member in (one, two))
    for _ in range(300):
        one.poll(0.05)
        two.poll(0.05)
        if both() == [1, 2]:
            break
    shared = both()
    two.close()
    for _ in range(300):
        one.poll(0.05)
        if len(one.assignment()) == 3:
            break
    report["members"] = [shared, [len(one.assignment())]]
    one.close()


def transactions():
    results(admin.create_topics([NewTopic(transactional, 1, 1)]))
    # A producer's own interceptor of partitions: always the first one.
    sender = producer(transactional_id=prefix + "-id")
    sender.init_transactions(30)
    reader = consumer(group_id=prefix + "-eos")
    source = TopicPartition(plain, 0)
    for name in "abc":
        sender.begin_transaction()
        for n in range(5):
            sender.produce(transactional, f"{name}{n}", "k", on_delivery=delivered if name != "b" else None)
        position = TopicPartition(plain, 0, 9 if name == "b" else 7, f"by {name}")
        sender.send_offsets_to_transaction([position], reader.consumer_group_metadata(), 30)
        if name == "b":
            sender.flush()
            sender.abort_transaction(30)
        else:
            sender.commit_transaction(30)
    (committed,) = reader.committed([source], timeout=10)
    report["transactionalOffset"] = f"{committed.offset} {committed.metadata}"
    reader.close()
    second = producer(transactional_id=prefix + "-id")
    second.init_transactions(30)
    try:
        sender.begin_transaction()
        sender.produce(transactional, "fenced", "k")
        sender.commit_transaction(30)
        report["fenced"] = False
    except KafkaException as error:
        report["fenced"] = error.args[0].name() in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH")
    report["read"] = {}
    for level, count in (("read_committed", 10), ("read_uncommitted", 15)):
        reader = consumer(isolation_level=level)
        reader.assign([TopicPartition(transactional, 0, 0)])
        report["read"][level] = values(take(reader, count))
        reader.close()


def administration():
    done = {}
    limit = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, plain)
    results(
        admin.incremental_alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, plain, incremental_configs=[limit])]
        )
    )
    done["max.message.bytes"] = admin.describe_configs([resource])[resource].result()["max.message.bytes"].value
    failures = []
    sender = producer()
    sender.produce(plain, "x" * 3000, "big", on_delivery=lambda error, _: failures.append(error and error.name()))
    sender.flush()
    done["tooLarge"] = failures[0]
    results(admin.create_partitions([NewPartitions(plain, 4)]))
    done["partitions"] = partitions(plain)
    first = TopicPartition(plain, 0, 3)
    done["lowWatermark"] = admin.delete_records([first])[first].result().low_watermark
    done["earliest"] = admin.list_offsets({TopicPartition(plain, 0): OffsetSpec.earliest()})[first].result().offset
    listed = lambda: any(found.group_id == group for found in admin.list_consumer_groups().result().valid)
    done["listed"] = listed()
    done["state"] = admin.describe_consumer_groups([group])[group].result().state.name
    (offsets,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    done["committed"] = sum(position.offset for position in offsets.result().topic_partitions)
    results(admin.delete_consumer_groups([group]))
    done["listedAfterDelete"] = listed()
    results(admin.delete_topics([plain]))
    done["topicAfterDelete"] = plain in admin.list_topics(timeout=10).topics
    report["administration"] = done


stored_and_read()
members()
transactions()
administration()
print(json.dumps(report))

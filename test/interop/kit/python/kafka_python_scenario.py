"""The scenario of kafka/clients.test.ts with kafka-python. Arguments: BOOTSTRAP PREFIX START_TIME_MS."""

import json
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic, OffsetSpec
from kafka.errors import KafkaError

bootstrap, prefix, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
plain, group, transactional = prefix + "-plain", prefix + "-group", prefix + "-tx"
admin = KafkaAdminClient(bootstrap_servers=bootstrap)
report = {}


def producer(**more):
    return KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **more)


def consumer(*topics, **more):
    settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 100, **more}
    return KafkaConsumer(*topics, bootstrap_servers=bootstrap, **settings)


def take(source, count):
    taken = []
    deadline = time.monotonic() + 30
    while len(taken) < count and time.monotonic() < deadline:
        for records in source.poll(timeout_ms=100).values():
            taken += records
    return taken


def values(records):
    return [record.value.decode() for record in records]


def partitions(topic):
    (description,) = admin.describe_topics([topic])
    return len(description["partitions"])


def stored_and_read():
    admin.create_topics([NewTopic(plain, 3, 1, topic_configs={"retention.ms": "-1"})])
    report["partitions"] = partitions(plain)
    at = start
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        name = codec or "none"
        sender = producer(compression_type=codec)
        sent = []
        for n in range(20):
            sent.append(
                sender.send(
                    plain,
                    f"{name}-{n}".encode(),
                    f"k{n % 5}".encode(),
                    headers=[("codec", name.encode())],
                    timestamp_ms=at,
                )
            )
            at += 1000
        sender.flush()
        for future in sent:
            future.get(10)
        sender.close()
    sender = producer()
    sender.send(plain, None, b"gone", timestamp_ms=at).get(10)
    sender.close()
    reader = consumer(plain, group_id=group)
    report["consumed"] = [
        {
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": record.key.decode(),
            "value": record.value and record.value.decode(),
            "headers": {name: value.decode() for name, value in record.headers},
        }
        for record in take(reader, 101)
    ]
    reader.commit()
    found = reader.offsets_for_times({TopicPartition(plain, n): start + 20_000 for n in range(3)})
    report["offsetsAtSecondCodec"] = sum(position.offset for position in found.values() if position is not None)
    reader.close()
    sender = producer(enable_idempotence=False, acks=1)
    for n in range(5):
        sender.send(plain, f"more-{n}".encode(), f"k{n}".encode()).get(10)
    sender.close()
    reader = consumer(plain, group_id=group)
    report["resumed"] = values(take(reader, 5))
    reader.commit()
    reader.close()


def members():
    """Two members share the partitions; when one leaves, the other has them all."""
    one = consumer(plain, group_id=prefix + "-members")
    two = consumer(plain, group_id=prefix + "-members")
    both = lambda: sorted(len(member.assignment()) for member in (one, two))
    for _ in range(300):
        one.poll(50)
        two.poll(50)
        if both() == [1, 2]:
            break
    shared = both()
    two.close()
    for _ in range(300):
        one.poll(50)
        if len(one.assignment()) == 3:
            break
    report["members"] = [shared, [len(one.assignment())]]
    one.close()


def transactions():
    admin.create_topics([NewTopic(transactional, 1, 1)])
    sender = producer(transactional_id=prefix + "-id")
    sender.init_transactions()
    source = TopicPartition(plain, 0)
    for name in "abc":
        sender.begin_transaction()
        for n in range(5):
            sender.send(transactional, f"{name}{n}".encode(), b"k")
        position = OffsetAndMetadata(9 if name == "b" else 7, f"by {name}", -1)
        sender.send_offsets_to_transaction({source: position}, prefix + "-eos")
        if name == "b":
            sender.flush()
            sender.abort_transaction()
        else:
            sender.commit_transaction()
    reader = consumer(group_id=prefix + "-eos")
    committed = reader.committed(source, metadata=True)
    report["transactionalOffset"] = f"{committed.offset} {committed.metadata}"
    reader.close()
    second = producer(transactional_id=prefix + "-id")
    second.init_transactions()
    try:
        sender.begin_transaction()
        sender.send(transactional, b"fenced", b"k").get(10)
        sender.commit_transaction()
        report["fenced"] = False
    except KafkaError as error:
        report["fenced"] = any(word in repr(error) for word in ("Fenced", "InvalidProducerEpoch"))
    report["read"] = {}
    for level, count in (("read_committed", 10), ("read_uncommitted", 15)):
        reader = consumer(isolation_level=level, group_id=None)
        reader.assign([TopicPartition(transactional, 0)])
        report["read"][level] = values(take(reader, count))
        reader.close()


def administration():
    done = {}
    limit = ConfigResource(ConfigResourceType.TOPIC, plain, {"max.message.bytes": "2000"})
    admin.alter_configs([limit])
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, plain)])
    done["max.message.bytes"] = described["topic"][plain]["max.message.bytes"]["value"]
    sender = producer()
    try:
        sender.send(plain, b"x" * 3000, b"big").get(10)
    except KafkaError as error:
        done["tooLarge"] = type(error).__name__
    sender.close()
    admin.create_partitions({plain: NewPartitions(4)})
    done["partitions"] = partitions(plain)
    first = TopicPartition(plain, 0)
    done["lowWatermark"] = admin.delete_records({first: 3})[first]["low_watermark"]
    done["earliest"] = admin.list_partition_offsets({first: OffsetSpec.EARLIEST})[first].offset
    listed = lambda: any(found["group_id"] == group for found in admin.list_groups())
    done["listed"] = listed()
    done["state"] = admin.describe_groups([group])[group]["group_state"]
    admin.delete_groups([group])
    done["listedAfterDelete"] = listed()
    admin.delete_topics([plain])
    done["topicAfterDelete"] = plain in admin.list_topics()
    report["administration"] = done


stored_and_read()
members()
transactions()
administration()
print(json.dumps(report))

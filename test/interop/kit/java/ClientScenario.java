import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The scenario of kafka/clients.test.ts with Kafka's own Java client. Arguments: BOOTSTRAP PREFIX START_TIME_MS. */
public final class ClientScenario {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final Duration SHORT = Duration.ofMillis(100);
    private static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        String prefix = args[1];
        long start = Long.parseLong(args[2]);
        Map<String, Object> report = new TreeMap<>();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            plain(admin, prefix + "-plain", prefix + "-group", start, report);
            members(prefix + "-plain", prefix + "-members", report);
            transactions(admin, prefix + "-tx", prefix, report);
            administration(admin, prefix + "-plain", prefix + "-group", report);
        }
        System.out.println(new ObjectMapper().writeValueAsString(report));
    }

    private static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = new TreeMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 20));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> settings = new TreeMap<>(Map.of("bootstrap.servers", bootstrap,
            "auto.offset.reset", "earliest", "enable.auto.commit", false));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> taken = new ArrayList<>();
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (taken.size() < count && System.nanoTime() < deadline) {
            consumer.poll(SHORT).forEach(taken::add);
        }
        return taken;
    }

    private static void plain(Admin admin, String topic, String group, long start, Map<String, Object> report) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "-1")))).all().get();
        report.put("partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        long time = start;
        for (String codec : CODECS) {
            try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", codec))) {
                for (int n = 0; n < 20; n++) {
                    ProducerRecord<String, String> record =
                        new ProducerRecord<>(topic, null, time, "k" + n % 5, codec + "-" + n);
                    record.headers().add("codec", codec.getBytes(StandardCharsets.UTF_8));
                    time += 1000;
                    producer.send(record);
                }
            }
        }
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            producer.send(new ProducerRecord<>(topic, (Integer) null, (Long) time, "gone", (String) null)).get();
        }
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group))) {
            consumer.subscribe(List.of(topic));
            List<Object> consumed = new ArrayList<>();
            for (ConsumerRecord<String, String> record : take(consumer, 101)) {
                Map<String, Object> seen = new TreeMap<>();
                seen.put("partition", record.partition());
                seen.put("offset", record.offset());
                seen.put("timestamp", record.timestamp());
                seen.put("key", record.key());
                seen.put("value", record.value());
                Map<String, String> headers = new TreeMap<>();
                record.headers().forEach(header -> headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8)));
                seen.put("headers", headers);
                consumed.add(seen);
            }
            consumer.commitSync();
            report.put("consumed", consumed);
            // The first record of the second codec, and what is asked for a time after all of them.
            Map<TopicPartition, Long> times = new TreeMap<>((a, b) -> a.partition() - b.partition());
            consumer.assignment().forEach(partition -> times.put(partition, start + 20_000));
            long byTime = consumer.offsetsForTimes(times).entrySet().stream()
                .filter(entry -> entry.getValue() != null).mapToLong(entry -> entry.getValue().offset()).sum();
            report.put("offsetsAtSecondCodec", byTime);
        }
        try (KafkaProducer<String, String> producer = producer(Map.of("acks", "1", "enable.idempotence", false))) {
            for (int n = 0; n < 5; n++) {
                producer.send(new ProducerRecord<>(topic, null, time, "k" + n, "more-" + n)).get();
            }
        }
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group))) {
            consumer.subscribe(List.of(topic));
            report.put("resumed", values(take(consumer, 5)));
            consumer.commitSync();
        }
    }

    /** Two members share the partitions; when one leaves, the other has them all. */
    private static void members(String topic, String group, Map<String, Object> report) {
        Map<String, Object> settings = Map.of("group.id", group, "heartbeat.interval.ms", 100, "session.timeout.ms", 6000,
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
        List<Integer> shared;
        List<Integer> alone;
        try (KafkaConsumer<String, String> one = consumer(settings)) {
            one.subscribe(List.of(topic));
            try (KafkaConsumer<String, String> two = consumer(settings)) {
                two.subscribe(List.of(topic));
                for (int i = 0; i < 100 && (one.assignment().isEmpty() || two.assignment().isEmpty()); i++) {
                    one.poll(SHORT);
                    two.poll(SHORT);
                }
                shared = List.of(one.assignment().size(), two.assignment().size()).stream().sorted().collect(Collectors.toList());
            }
            for (int i = 0; i < 100 && one.assignment().size() < 3; i++) {
                one.poll(SHORT);
            }
            alone = List.of(one.assignment().size());
        }
        report.put("members", List.of(shared, alone));
    }

    private static void transactions(Admin admin, String topic, String prefix, Map<String, Object> report) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        Map<String, Object> id = Map.of("transactional.id", prefix + "-id");
        TopicPartition source = new TopicPartition(prefix + "-plain", 0);
        try (KafkaProducer<String, String> producer = producer(id); KafkaProducer<String, String> second = producer(id);
                KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", prefix + "-eos"))) {
            producer.initTransactions();
            for (String name : List.of("a", "b", "c")) {
                producer.beginTransaction();
                for (int n = 0; n < 5; n++) {
                    producer.send(new ProducerRecord<>(topic, "k", name + n));
                }
                producer.sendOffsetsToTransaction(Map.of(source, new OffsetAndMetadata(name.equals("b") ? 9 : 7, "by " + name)),
                    consumer.groupMetadata());
                if (name.equals("b")) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
            OffsetAndMetadata committed = consumer.committed(Set.of(source)).get(source);
            report.put("transactionalOffset", committed.offset() + " " + committed.metadata());
            second.initTransactions();
            try {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, "k", "fenced"));
                producer.commitTransaction();
                report.put("fenced", false);
            } catch (KafkaException error) {
                report.put("fenced", error.toString().matches(".*(Fenced|InvalidProducerEpoch).*"));
            }
        }
        Map<String, Object> read = new TreeMap<>();
        for (String level : List.of("read_committed", "read_uncommitted")) {
            try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", level))) {
                consumer.assign(List.of(new TopicPartition(topic, 0)));
                read.put(level, values(take(consumer, level.equals("read_committed") ? 10 : 15)));
            }
        }
        report.put("read", read);
    }

    private static void administration(Admin admin, String topic, String group, Map<String, Object> report) throws Exception {
        Map<String, Object> done = new TreeMap<>();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin.incrementalAlterConfigs(Map.of(resource, (Collection<AlterConfigOp>) List.of(
            new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000"), AlterConfigOp.OpType.SET)))).all().get();
        done.put("max.message.bytes", admin.describeConfigs(List.of(resource)).all().get().get(resource).get("max.message.bytes").value());
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            producer.send(new ProducerRecord<>(topic, "big", "x".repeat(3000))).get();
        } catch (ExecutionException error) {
            done.put("tooLarge", error.getCause().getClass().getSimpleName());
        }
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        done.put("partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        TopicPartition first = new TopicPartition(topic, 0);
        done.put("lowWatermark", admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(3))).lowWatermarks().get(first).get().lowWatermark());
        done.put("earliest", admin.listOffsets(Map.of(first, OffsetSpec.earliest())).all().get().get(first).offset());
        done.put("listed", admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)));
        done.put("state", admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString());
        admin.deleteConsumerGroups(List.of(group)).all().get();
        done.put("listedAfterDelete", admin.listGroups().all().get().stream().anyMatch(listing -> listing.groupId().equals(group)));
        admin.deleteTopics(List.of(topic)).all().get();
        done.put("topicAfterDelete", admin.listTopics().names().get().contains(topic));
        report.put("administration", done);
    }

    private static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).collect(Collectors.toList());
    }
}

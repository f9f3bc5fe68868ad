import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * All that Kafka's own consumer sees in topics, partition by partition, a line of JSON each; to where they end now, which
 * the console consumer can only tell by waiting. Arguments: --bootstrap-server SERVERS ISOLATION_LEVEL TOPIC...
 */
public final class ReadTopics {
    public static void main(String[] args) throws Exception {
        ObjectMapper json = new ObjectMapper();
        Map<String, Object> settings = Map.of("bootstrap.servers", args[1], "isolation.level", args[2],
            "auto.offset.reset", "earliest", "enable.auto.commit", false, "default.api.timeout.ms", 30_000);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : Arrays.copyOfRange(args, 3, args.length)) {
                consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    Map<String, Object> seen = new TreeMap<>();
                    seen.put("topic", record.topic());
                    seen.put("partition", record.partition());
                    seen.put("offset", record.offset());
                    seen.put("timestamp", record.timestamp());
                    seen.put("key", text(record.key()));
                    seen.put("value", text(record.value()));
                    List<List<String>> headers = new ArrayList<>();
                    record.headers().forEach(header -> headers.add(List.of(header.key(), text(header.value()))));
                    seen.put("headers", headers);
                    System.out.println(json.writeValueAsString(seen));
                }
            }
        }
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }
}

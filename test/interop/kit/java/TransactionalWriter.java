import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes with transactions of Kafka's own producer; every third is aborted. Values are `NAME TRANSACTION RECORD`, keys k0 to
 * k4. Arguments: --bootstrap-server SERVERS TOPIC NAME TRANSACTIONS RECORDS_OF_EACH.
 */
public final class TransactionalWriter {
    public static void main(String[] args) {
        String topic = args[2];
        int records = Integer.parseInt(args[5]);
        Map<String, Object> settings = Map.of("bootstrap.servers", args[1], "transactional.id", args[3], "linger.ms", 5);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            for (int n = 0; n < Integer.parseInt(args[4]); n++) {
                producer.beginTransaction();
                for (int i = 0; i < records; i++) {
                    producer.send(new ProducerRecord<>(topic, "k" + i % 5, args[3] + " " + n + " " + i));
                }
                if (n % 3 == 2) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }
}

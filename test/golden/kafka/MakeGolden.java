// Makes the golden bytes beside it: every message of Kafka's protocol that the door defines, in every version, as
// Apache Kafka's own classes write it. What is in a line, and the command, are in README.md.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class MakeGolden {
	static final int[] API_KEYS = {
		0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31, 32, 33, 35, 36,
		37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 61, 65, 66,
		// Of no use to the door yet, but the first with a structure that may be null.
		68,
	};
	static final ObjectMapper JSON = new ObjectMapper();

	/** What a message is filled with. */
	enum Fill { DEFAULTS, NULLS, ONE, TWO }

	public static void main(String[] args) throws Exception {
		Path target = Path.of(args[0]);
		StringBuilder headerVersions = new StringBuilder();
		for (int key : API_KEYS) {
			ApiMessageType api = ApiMessageType.fromApiKey((short) key);
			StringBuilder lines = new StringBuilder();
			messages(lines, api.newRequest().getClass(), api.requestSchemas());
			messages(lines, api.newResponse().getClass(), api.responseSchemas());
			Files.writeString(target.resolve("%02d-%s.ndjson".formatted(key, kebab(api.name))), lines.toString());
			for (short v = api.lowestSupportedVersion(); v <= api.highestSupportedVersion(true); v++) {
				ObjectNode line = JSON.createObjectNode().put("apiKey", key).put("version", v);
				line.put("request", api.requestHeaderVersion(v)).put("response", api.responseHeaderVersion(v));
				headerVersions.append(line).append('\n');
			}
		}
		Files.writeString(target.resolve("header-versions.ndjson"), headerVersions.toString());
		StringBuilder lines = new StringBuilder();
		for (String name : List.of("RequestHeaderData", "ResponseHeaderData")) {
			Class<?> type = Class.forName("org.apache.kafka.common.message." + name);
			messages(lines, type, (Schema[]) type.getField("SCHEMAS").get(null));
		}
		Files.writeString(target.resolve("headers.ndjson"), lines.toString());
	}

	/** Lines for all versions of one message; versions with the same bytes and values share one. */
	static void messages(StringBuilder lines, Class<?> type, Schema[] schemas) throws Exception {
		String name = type.getSimpleName().replaceFirst("Data$", "");
		Map<String, SortedSet<Short>> versionsOf = new LinkedHashMap<>();
		short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
		for (short v = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null); v <= highest; v++) {
			for (Fill fill : Fill.values()) {
				Message data = make(type, schemas[v], v, new Values(fill, v == highest));
				ObjectNode line = JSON.createObjectNode();
				line.put("hex", hex(data, v));
				if (fill == Fill.ONE && isFlexible(schemas[v])) {
					addUnknownTags(data, new int[] {100});
					line.put("unknownTags", hex(data, v));
				}
				// As Kafka reads it back: with the defaults of what the version does not have.
				Message read = (Message) type.getConstructor().newInstance();
				read.read(new ByteBufferAccessor(ByteBuffer.wrap(HexFormat.of().parseHex(line.get("hex").asText()))), v);
				line.set("value", dump(read));
				versionsOf.computeIfAbsent(line.toString(), same -> new TreeSet<>()).add(v);
			}
		}
		for (var entry : versionsOf.entrySet()) {
			ObjectNode line = JSON.createObjectNode();
			line.put("message", name).set("versions", JSON.valueToTree(entry.getValue()));
			line.setAll((ObjectNode) JSON.readTree(entry.getKey()));
			lines.append(line).append('\n');
		}
	}

	static Message make(Class<?> type, Schema schema, short version, Values values) throws Exception {
		if (values.fill == Fill.DEFAULTS) {
			Message plain = (Message) type.getConstructor().newInstance();
			try {
				hex(plain, version);
				return plain;
			} catch (RuntimeException notInThisVersion) {
				// A default of null that this version has no null for: everything from the schema then, as empty as can be.
			}
		}
		try {
			return (Message) Class.forName(type.getName() + "JsonConverter").getMethod("read", JsonNode.class, short.class)
				.invoke(null, values.struct(schema), version);
		} catch (InvocationTargetException e) {
			throw new IllegalStateException(type + " v" + version + " " + values.fill, e.getCause());
		}
	}

	static String hex(Message data, short version) {
		ByteBuffer buffer = MessageUtil.toByteBufferAccessor(data, version).buffer();
		byte[] bytes = new byte[buffer.remaining()];
		buffer.get(bytes);
		return HexFormat.of().formatHex(bytes);
	}

	static boolean isFlexible(Schema schema) {
		BoundField[] fields = schema.fields();
		return fields.length > 0 && fields[fields.length - 1].def.type instanceof TaggedFields;
	}

	/** Makes values in the form of Kafka's JSON converters, each different from all before it. */
	static final class Values {
		final Fill fill;
		/** The first string is longer than what a varint of one byte can say. */
		boolean longString;
		int made;

		Values(Fill fill, boolean longString) {
			this.fill = fill;
			this.longString = longString && fill == Fill.ONE;
		}

		ObjectNode struct(Schema schema) {
			ObjectNode object = JSON.createObjectNode();
			for (BoundField field : schema.fields()) {
				if (field.def.type instanceof TaggedFields tagged) {
					if (fill != Fill.ONE && fill != Fill.TWO) continue;
					tagged.fields().forEach((tag, def) -> object.set(camel(def.name), value(def.type)));
				} else object.set(camel(field.def.name), value(field.def.type));
			}
			return object;
		}

		JsonNode value(Type type) {
			if (type.isNullable() && fill == Fill.NULLS) return NullNode.instance;
			if (type.arrayElementType().isPresent()) {
				ArrayNode array = JSON.createArrayNode();
				int count = fill == Fill.TWO ? 2 : fill == Fill.DEFAULTS ? 0 : 1;
				for (int i = 0; i < count; i++) array.add(value(type.arrayElementType().get()));
				return array;
			}
			if (type instanceof Schema schema) return struct(schema);
			int n = ++made;
			boolean zero = fill == Fill.DEFAULTS;
			int sign = fill == Fill.TWO && n % 2 == 0 ? -1 : 1;
			return JSON.valueToTree(switch (type.toString()) {
				case "BOOLEAN" -> zero ? false : fill == Fill.TWO ? n % 2 == 0 : fill == Fill.ONE;
				case "INT8" -> zero ? 0 : sign * (1 + n % 120);
				case "INT16" -> zero ? 0 : sign * (0x1200 + n);
				case "UINT16" -> zero ? 0 : 0xf100 + n;
				case "INT32" -> zero ? 0 : sign * (0x12345600 + n);
				case "UINT32" -> zero ? 0L : 0xf2345600L + n;
				case "INT64" -> zero ? 0L : sign * (0x12345678abcd00L + n);
				case "FLOAT64" -> zero ? 0.0 : sign * (n + 0.5);
				case "UUID" -> (zero ? Uuid.ZERO_UUID : new Uuid(0xfedcba9876543200L + n, 0x8123456789abcd00L - n)).toString();
				case "STRING", "COMPACT_STRING", "NULLABLE_STRING", "COMPACT_NULLABLE_STRING" -> zero ? "" : text(n);
				case "BYTES", "COMPACT_BYTES", "NULLABLE_BYTES", "COMPACT_NULLABLE_BYTES", "RECORDS", "COMPACT_RECORDS",
					"NULLABLE_RECORDS", "COMPACT_NULLABLE_RECORDS" ->
					zero ? new byte[0] : new byte[] {(byte) 0xff, 0, (byte) (n >> 8), (byte) n};
				default -> throw new IllegalStateException("type " + type);
			});
		}

		String text(int n) {
			if (longString) {
				longString = false;
				return "long ".repeat(40) + n;
			}
			return (fill == Fill.TWO && n % 3 == 0 ? "\u00df\u20ac" : "s") + n;
		}
	}

	/** To each structure that is written. */
	static void addUnknownTags(Object value, int[] tag) throws Exception {
		if (value instanceof Collection<?> all) {
			for (Object each : all) addUnknownTags(each, tag);
		} else if (value instanceof Message message) {
			for (Field field : fieldsOf(message.getClass())) {
				Object inner = field.get(message);
				boolean isAbsent = inner instanceof Message && inner.equals(inner.getClass().getConstructor().newInstance());
				if (!isAbsent) addUnknownTags(inner, tag);
			}
			List<RawTaggedField> tags = message.unknownTaggedFields();
			for (int i = 0; i < 2; i++) tags.add(new RawTaggedField(tag[0]++, ("tag" + tag[0]).getBytes(StandardCharsets.UTF_8)));
		}
	}

	static List<Field> fieldsOf(Class<?> type) {
		List<Field> fields = new ArrayList<>();
		for (Field field : type.getDeclaredFields()) {
			if (Modifier.isStatic(field.getModifiers()) || field.getName().equals("_unknownTaggedFields")) continue;
			// Of elements in Kafka's linked collections.
			if (field.getName().equals("prev") || field.getName().equals("next")) continue;
			field.setAccessible(true);
			fields.add(field);
		}
		return fields;
	}

	static JsonNode dump(Object value) throws Exception {
		if (value == null) return NullNode.instance;
		if (value instanceof Collection<?> all) {
			ArrayNode array = JSON.createArrayNode();
			for (Object each : all) array.add(dump(each));
			return array;
		}
		if (value instanceof Message) {
			ObjectNode object = JSON.createObjectNode();
			for (Field field : fieldsOf(value.getClass())) object.set(field.getName(), dump(field.get(value)));
			return object;
		}
		if (value instanceof Uuid id) {
			return JSON.valueToTree(new java.util.UUID(id.getMostSignificantBits(), id.getLeastSignificantBits()).toString());
		}
		if (value instanceof byte[] bytes) return JSON.valueToTree("hex:" + HexFormat.of().formatHex(bytes));
		if (value instanceof MemoryRecords records) return dump(records.buffer());
		if (value instanceof ByteBuffer buffer) {
			byte[] bytes = new byte[buffer.remaining()];
			buffer.duplicate().get(bytes);
			return dump(bytes);
		}
		return JSON.valueToTree(value);
	}

	static String camel(String snake) {
		StringBuilder name = new StringBuilder();
		for (String word : snake.split("_")) {
			name.append(name.isEmpty() ? word : word.substring(0, 1).toUpperCase() + word.substring(1));
		}
		return name.toString();
	}

	static String kebab(String name) {
		return name.replaceAll("(?<=[a-z0-9])(?=[A-Z])", "-").toLowerCase();
	}
}

/** The MQTT 3.1.1 packets that the load generators send: their own, so that the door's codec is not measured with itself. */

export const PINGREQ = Buffer.of(0xc0, 0);
export const DISCONNECT = Buffer.of(0xe0, 0);
/** PUBACK, PUBREC, PUBREL and PUBCOMP without properties, and CONNACK. */
export const ACK_BYTES = 4;

/** Of numbered payloads: publisher and sequence, 32 bits each, big-endian. */
export const NUMBER_BYTES = 8;

function mqttString(text: string): Buffer {
	const bytes = Buffer.from(text);
	return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

function packet(first: number, body: Buffer): Buffer {
	const length: number[] = [];
	for (let rest = body.length; ; ) {
		const byte = rest & 0x7f;
		rest >>= 7;
		length.push(rest > 0 ? byte | 0x80 : byte);
		if (rest === 0) break;
	}
	return Buffer.concat([Buffer.of(first, ...length), body]);
}

/** No keep alive. `clean`: the session ends with the connection. */
export function connectPacket(clientId: string, clean = true): Buffer {
	const head = Buffer.concat([mqttString("MQTT"), Buffer.of(4, clean ? 2 : 0, 0, 0)]);
	return packet(0x10, Buffer.concat([head, mqttString(clientId)]));
}

export function subscribePacket(packetId: number, filters: readonly string[], qos: number): Buffer {
	const entries = filters.map((filter) => Buffer.concat([mqttString(filter), Buffer.of(qos)]));
	return packet(0x82, Buffer.concat([Buffer.of(packetId >> 8, packetId & 0xff), ...entries]));
}

export function publishPacket(topic: string, qos: number, retain: boolean, packetId: number, payload: Buffer): Buffer {
	const id = qos === 0 ? Buffer.alloc(0) : Buffer.of(packetId >> 8, packetId & 0xff);
	return packet(0x30 | (qos << 1) | (retain ? 1 : 0), Buffer.concat([mqttString(topic), id, payload]));
}

/**
 * PUBLISH packets of equal size in one buffer, packet identifiers 1 to `count`, to `topics` topics in turn (whose number has
 * the same digits in all).
 */
export function publishPackets(device: number, qos: number, count: number, payloadBytes: number, topics = 1): Buffer {
	const payload = Buffer.alloc(payloadBytes, `{"device":${device},"t":21.5}`);
	const digits = String(topics - 1).length;
	const packets = Array.from({ length: count }, (_, i) => {
		const part = topics === 1 ? "" : `-${String(i % topics).padStart(digits, "0")}`;
		const topic = `sensors/site${device % 7}/dev${device}${part}/telemetry`;
		return publishPacket(topic, qos, false, i + 1, payload);
	});
	return Buffer.concat(packets);
}

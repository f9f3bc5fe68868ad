/** The MQTT 3.1.1 packets that the load generator sends: its own, so that the door's codec is not measured with itself. */

export const PINGREQ = Buffer.of(0xc0, 0);
/** PUBACK, PUBREC, PUBREL and PUBCOMP without properties, and CONNACK. */
export const ACK_BYTES = 4;

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

/** Clean session, no keep alive. */
export function connectPacket(clientId: string): Buffer {
	const head = Buffer.concat([mqttString("MQTT"), Buffer.of(4, 2, 0, 0)]);
	return packet(0x10, Buffer.concat([head, mqttString(clientId)]));
}

/** One window of PUBLISH packets of equal size in one buffer, packet identifiers 1 to `count`. */
export function publishPackets(device: number, qos: number, count: number, payloadBytes: number): Buffer {
	const topic = mqttString(`sensors/site${device % 7}/dev${device}/telemetry`);
	const payload = Buffer.alloc(payloadBytes, `{"device":${device},"t":21.5}`);
	const packets = Array.from({ length: count }, (_, i) => {
		const id = qos === 0 ? Buffer.alloc(0) : Buffer.of((i + 1) >> 8, (i + 1) & 0xff);
		return packet(0x30 | (qos << 1), Buffer.concat([topic, id, payload]));
	});
	return Buffer.concat(packets);
}

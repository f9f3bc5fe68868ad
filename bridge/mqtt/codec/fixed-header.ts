/** The fixed header of a whole packet (section 2.1): its flags and that its Remaining Length is what is there. */
import { PacketType, type Version } from "./packets.ts";
import { malformed } from "./refusals.ts";

/** By packet type: the flags' only value (table 2-2) and the statement that says so; PUBLISH's are its own. */
const FLAGS = new Uint8Array(16);
const CLAUSES: string[] = new Array(16).fill("MQTT-2.1.3-1");
for (const type of [PacketType.pubrel, PacketType.subscribe, PacketType.unsubscribe]) FLAGS[type] = 2;
CLAUSES[PacketType.pubrel] = "MQTT-3.6.1-1";
CLAUSES[PacketType.subscribe] = "MQTT-3.8.1-1";
CLAUSES[PacketType.unsubscribe] = "MQTT-3.10.1-1";
CLAUSES[PacketType.disconnect] = "MQTT-3.14.1-1";
CLAUSES[PacketType.auth] = "MQTT-3.15.1-1";

/**
 * Checks the fixed header of the packet in buffer[position..end) and returns where its body starts. Throws MqttError
 * 0x81 for wrong flags, a reserved type, an ill-formed Remaining Length or one that does not reach exactly to `end`.
 */
export function readFixedHeader(buffer: Buffer, position: number, end: number, version: Version): number {
	if (position + 2 > end) throw malformed(version, "2.1.4", "the packet ends within its fixed header");
	const first = buffer[position]!;
	const type = first >> 4;
	if (type === 0 || (type === PacketType.auth && version !== 5)) {
		throw malformed(version, "2.1.2", `packet type ${type} is reserved`);
	}
	if (type !== PacketType.publish) checkFlags(type, first & 0x0f, version);
	let remaining = 0;
	let at = position + 1;
	for (let shift = 0; ; shift += 7) {
		if (shift === 28) throw malformed(version, "1.5.5", "the Remaining Length has more than four bytes");
		if (at >= end) throw malformed(version, "2.1.4", "the packet ends within its fixed header");
		const byte = buffer[at++]!;
		remaining |= (byte & 0x7f) << shift;
		if (byte < 0x80) {
			if (byte === 0 && shift > 0 && version === 5) {
				throw malformed(version, "MQTT-1.5.5-1", "the Remaining Length uses more bytes than its value needs");
			}
			break;
		}
	}
	if (at + remaining !== end) {
		throw malformed(version, "2.1.4", `the Remaining Length says ${remaining} bytes and ${end - at} are there`);
	}
	return at;
}

/**
 * MQTT 3.1 calls the flags of most packets "not used" and lets PUBREL, SUBSCRIBE and UNSUBSCRIBE, its QoS 1 messages, be
 * sent again with DUP set; only their QoS means anything there.
 */
function checkFlags(type: number, flags: number, version: Version): void {
	const expected = FLAGS[type]!;
	if (flags === expected) return;
	if (version === 3 && (expected === 0 || (flags & 0x06) === expected)) return;
	throw malformed(version, CLAUSES[type]!, `flags 0x${flags.toString(16)} in the fixed header of packet type ${type}`);
}

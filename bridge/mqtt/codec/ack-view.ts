/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7) read in place: the usual one, four bytes of success, without
 * allocating.
 */
import { readFixedHeader } from "./fixed-header.ts";
import { NO_PROPERTIES, PacketType, type Properties, type Sender, type Version } from "./packets.ts";
import { Reader } from "./primitives.ts";
import { readProperties } from "./properties.ts";
import { ReasonCode } from "./reason-codes.ts";
import { REASON_RULES, reasonAllowed } from "./reason-table.ts";
import { protocolError } from "./refusals.ts";

export type AckType = "puback" | "pubrec" | "pubrel" | "pubcomp";
const NAMES: readonly AckType[] = ["puback", "pubrec", "pubrel", "pubcomp"];

/** Reusable: `read` overwrites every field. */
export class AckView {
	type: AckType = "puback";
	packetId = 0;
	/** Success for peers before 5.0, which have no reason codes. */
	reasonCode = 0;
	properties: Properties = NO_PROPERTIES;

	/** Reads the whole packet, of one of the four types, in buffer[position..end). Throws MqttError as `decodePacket` does. */
	read(buffer: Buffer, position: number, end: number, version: Version, sender?: Sender): void {
		const bodyStart = readFixedHeader(buffer, position, end, version);
		const type = buffer[position]! >> 4;
		const name = NAMES[type - PacketType.puback]!;
		this.type = name;
		this.reasonCode = ReasonCode.Success;
		this.properties = NO_PROPERTIES;
		if (end - bodyStart === 2) {
			const packetId = (buffer[bodyStart]! << 8) | buffer[bodyStart + 1]!;
			if (packetId !== 0) {
				this.packetId = packetId;
				return;
			}
		}
		const reader = new Reader(buffer, bodyStart, end, version);
		this.packetId = reader.packetId("MQTT-2.2.1-5");
		if (version === 5 && !reader.atEnd) {
			this.reasonCode = reader.byte("the Reason Code");
			if (!reasonAllowed(type, this.reasonCode)) throw wrongReason(name, this.reasonCode);
			if (!reader.atEnd) this.properties = readProperties(reader, name, sender);
		}
		reader.expectEnd(`3.${type}.2.1`, name.toUpperCase());
	}
}

function wrongReason(name: AckType, code: number): Error {
	return protocolError(
		5,
		REASON_RULES[name]!.clause,
		`0x${code.toString(16)} is not a reason code of ${name.toUpperCase()}`,
	);
}

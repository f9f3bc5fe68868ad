/**
 * How the decoder refuses: one function per reason code it uses often, and the clause a refusal cites. The code is
 * written with the clause of MQTT 5.0; for a peer of 3.1 or 3.1.1 the same rule's number in 3.1.1 is cited instead
 * (3.1 numbers nothing). A rule that 3.1.1 has no statement for is cited as 5.0's.
 */
import { MqttError, type Version } from "./packets.ts";
import { ReasonCode } from "./reason-codes.ts";

/** Statements ("MQTT-…") and sections of 5.0, and where 3.1.1 says the same. */
const IN_3_1_1: Readonly<Record<string, string>> = {
	"1.5": "1.5",
	"1.5.4": "1.5.3",
	"1.5.5": "2.2.3",
	"2.1.2": "2.2.1",
	"2.1.4": "2.2.3",
	"3.2": "3.2",
	"3.4.2.1": "3.4",
	"3.5.2.1": "3.5",
	"3.6.2.1": "3.6",
	"3.7.2.1": "3.7",
	"3.9.3": "3.9.3",
	"3.11.3": "3.11.3",
	"3.12": "3.12",
	"3.13": "3.13",
	"3.14": "3.14",
	"MQTT-1.5.4-1": "MQTT-1.5.3-1",
	"MQTT-1.5.4-2": "MQTT-1.5.3-2",
	"MQTT-2.1.3-1": "MQTT-2.2.2-2",
	"MQTT-2.2.1-3": "MQTT-2.3.1-1",
	"MQTT-2.2.1-5": "MQTT-2.3.1-6",
	"MQTT-2.2.1-6": "MQTT-2.3.1-7",
	"MQTT-3.1.2-1": "MQTT-3.1.2-1",
	"MQTT-3.1.2-2": "MQTT-3.1.2-2",
	"MQTT-3.1.2-3": "MQTT-3.1.2-3",
	"MQTT-3.1.2-9": "MQTT-3.1.2-9",
	"MQTT-3.1.2-11": "MQTT-3.1.2-13",
	"MQTT-3.1.2-12": "MQTT-3.1.2-14",
	"MQTT-3.1.2-13": "MQTT-3.1.2-15",
	"MQTT-3.1.2-17": "MQTT-3.1.2-19",
	"MQTT-3.1.2-19": "MQTT-3.1.2-21",
	"MQTT-3.1.3-3": "MQTT-3.1.3-3",
	"MQTT-3.1.4-1": "MQTT-3.1.4-1",
	"MQTT-3.2.2-1": "3.2.2.1",
	"MQTT-3.2.2-6": "MQTT-3.2.2-4",
	"MQTT-3.2.2-8": "3.2.2.3",
	"MQTT-3.3.1-2": "MQTT-3.3.1-2",
	"MQTT-3.3.1-4": "MQTT-3.3.1-4",
	"MQTT-3.3.2-1": "MQTT-3.3.2-1",
	"MQTT-3.3.2-2": "MQTT-3.3.2-2",
	"MQTT-3.6.1-1": "MQTT-3.6.1-1",
	"MQTT-3.8.1-1": "MQTT-3.8.1-1",
	"MQTT-3.8.3-2": "MQTT-3.8.3-3",
	"MQTT-3.8.3-5": "MQTT-3.8.3-4",
	"MQTT-3.8.4-6": "MQTT-3.8.4-5",
	"MQTT-3.9.3-2": "MQTT-3.9.3-2",
	"MQTT-3.10.1-1": "MQTT-3.10.1-1",
	"MQTT-3.10.3-2": "MQTT-3.10.3-2",
	"MQTT-3.14.1-1": "MQTT-3.14.1-1",
	"MQTT-4.7.0-1": "MQTT-4.7.1-1",
	"MQTT-4.7.1-1": "MQTT-4.7.1-2",
	"MQTT-4.7.1-2": "MQTT-4.7.1-3",
	"MQTT-4.7.3-1": "MQTT-4.7.3-1",
	"MQTT-4.7.3-2": "MQTT-4.7.3-2",
};

/** `clause` is a statement of 5.0 ("MQTT-3.1.2-3") or a section of it ("2.1.2"). Returns what `MqttError.clause` carries. */
export function cite(clause: string, version: Version): string {
	const older = version === 5 ? undefined : IN_3_1_1[clause];
	if (older !== undefined) {
		return older.startsWith("MQTT-") ? `[${older}] of 3.1.1` : `3.1.1 section ${older}`;
	}
	return clause.startsWith("MQTT-") ? `[${clause}]` : `5.0 section ${clause}`;
}

/** 0x81: the bytes cannot be read as the packet they claim to be. */
export function malformed(version: Version, clause: string, message: string): MqttError {
	return new MqttError(ReasonCode.MalformedPacket, cite(clause, version), message, version);
}

/** 0x82: read, but it says what the protocol does not allow. */
export function protocolError(version: Version, clause: string, message: string): MqttError {
	return new MqttError(ReasonCode.ProtocolError, cite(clause, version), message, version);
}

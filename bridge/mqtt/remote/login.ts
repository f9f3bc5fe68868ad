/** CONNECT as a bridge sends it, and how other brokers say that they do not know its version. */
import type { BridgeConfig } from "../../../src/config/definition.ts";
import { encodePacket } from "../codec/encode.ts";
import type { Properties } from "../codec/packets.ts";

/**
 * MQTT 5; 3.1.1 with the bit in its protocol level by which bridges make themselves known, so that the other broker does not
 * send back what came from here and leaves RETAIN as it is; plain 3.1.1.
 */
export type Dialect = "5" | "3.1.1 (bridge)" | "3.1.1";

const BRIDGE_BIT = 0x80;
const MAX_EXPIRY = 0xffff_ffff;

export interface Login {
	readonly clientId: string;
	readonly username: string | undefined;
	readonly password: Buffer | undefined;
	readonly keepAliveSeconds: number;
	readonly sessionExpirySeconds: number;
	readonly receiveMaximum: number;
	readonly maxPacketBytes: number;
}

/** What to try, in this order. */
export function dialectsOf(version: BridgeConfig["version"]): readonly Dialect[] {
	return version === "5" ? ["5", "3.1.1 (bridge)", "3.1.1"] : ["3.1.1 (bridge)", "3.1.1"];
}

export function encodeConnect(login: Login, dialect: Dialect): Buffer {
	const version = dialect === "5" ? 5 : 4;
	const properties: Properties =
		version === 5
			? {
					sessionExpiryInterval: Math.min(login.sessionExpirySeconds, MAX_EXPIRY),
					receiveMaximum: login.receiveMaximum,
					maximumPacketSize: login.maxPacketBytes,
				}
			: {};
	const bytes = encodePacket(
		{
			type: "connect",
			version,
			// The other broker keeps the session, and what comes meanwhile.
			cleanStart: false,
			keepAliveSeconds: login.keepAliveSeconds,
			clientId: login.clientId,
			username: login.username,
			password: login.password,
			properties,
		},
		version,
	);
	if (dialect === "3.1.1 (bridge)") {
		// Behind the fixed header and the protocol's name, which takes six bytes.
		let at = 1;
		while (bytes[at]! >= 0x80) at++;
		bytes[at + 7]! |= BRIDGE_BIT;
	}
	return bytes;
}

/** Whether it is a CONNACK that refuses the version: return code 1 in the form of 3.1.1, or 0x84 in that of 5. */
export function refusedVersion(bytes: Buffer, start: number, end: number): boolean {
	if (bytes[start] !== 0x20 || end - start < 4) return false;
	const code = bytes[start + 3];
	return (end - start === 4 && code === 0x01) || code === 0x84;
}

/** The packets that end a connection, or refuse it: as the client's version knows them, within its Maximum Packet Size. */
import { encodePacket, encodeWithin } from "./codec/encode.ts";
import { connackReturnCode, PacketType, type Version } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { reasonAllowed } from "./codec/reason-table.ts";

export interface Goodbye {
	readonly version: Version;
	readonly reasonCode: number;
	readonly why: string;
	/** Where to go instead (5.0 section 4.11). */
	readonly serverReference: string | undefined;
	readonly maxPacketBytes: number;
}

/** A CONNACK; undefined where the version has no word for it. */
export function refusal({ version, reasonCode, why, serverReference, maxPacketBytes }: Goodbye): Buffer | undefined {
	if (version !== 5 && connackReturnCode(reasonCode) === undefined) return undefined;
	const properties = version === 5 ? { reasonString: why, ...referring(serverReference) } : {};
	const code = version === 5 ? allowed(PacketType.connack, reasonCode) : reasonCode;
	const packet = { type: "connack", sessionPresent: false, reasonCode: code, properties } as const;
	return encodeWithin(packet, version, maxPacketBytes) ?? encodePacket({ ...packet, properties: {} }, version);
}

/** A DISCONNECT; undefined where the version's server sends none, or it does not fit. */
export function farewell({ version, reasonCode, why, serverReference, maxPacketBytes }: Goodbye): Buffer | undefined {
	if (version !== 5) return undefined;
	const properties = { reasonString: why, ...referring(serverReference) };
	const packet = { type: "disconnect", reasonCode: allowed(PacketType.disconnect, reasonCode), properties } as const;
	return encodeWithin(packet, 5, maxPacketBytes);
}

function allowed(type: Parameters<typeof reasonAllowed>[0], reasonCode: number): number {
	return reasonAllowed(type, reasonCode, "server") ? reasonCode : ReasonCode.UnspecifiedError;
}

function referring(serverReference: string | undefined): { serverReference?: string } {
	return serverReference === undefined ? {} : { serverReference };
}

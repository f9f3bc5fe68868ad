/**
 * The user property by which loops over several brokers are cut: each gateway that sends an event over a bridge adds a
 * `headwater-bridge` with itself in it, and takes none that it has sent before. MQTT 5 only; properties are stored with the
 * event, so the trace survives the way through the log.
 */
import type { Properties } from "../codec/packets.ts";

export const HOP_PROPERTY = "headwater-bridge";
/** An event that has passed so many bridges is not sent on. */
const HOPS_MAX = 16;

const NAME = Buffer.concat([Buffer.of(0x26, 0, HOP_PROPERTY.length), Buffer.from(HOP_PROPERTY)]);

/** One hop, as it is sent: the bridge's client id and the gateway. */
export function hopOf(clientId: string, gatewayId: string): Buffer {
	const value = Buffer.from(`${clientId}@${gatewayId}`);
	return Buffer.concat([NAME, Buffer.of(value.length >>> 8, value.length & 0xff), value]);
}

/** Whether the event was here before, or has been on its way for too long. */
export function hasLooped(properties: Properties | undefined, gatewayId: string): boolean {
	let hops = 0;
	for (const [name, value] of properties?.userProperties ?? []) {
		if (name !== HOP_PROPERTY) continue;
		if (value.endsWith(`@${gatewayId}`)) return true;
		hops++;
	}
	return hops >= HOPS_MAX;
}

/** The same of properties as they are to be sent (without length, as StoredEvent has them), for the sending side. */
export function hasLoopedBlock(block: Buffer, gatewayId: string): boolean {
	let hops = 0;
	for (let at = block.indexOf(NAME); at >= 0; at = block.indexOf(NAME, at + NAME.length)) {
		const start = at + NAME.length + 2;
		if (start > block.length) break;
		const end = start + block.readUInt16BE(start - 2);
		if (block.toString("latin1", Math.max(start, end - gatewayId.length - 1), end) === `@${gatewayId}`) return true;
		hops++;
	}
	return hops >= HOPS_MAX;
}

/** What must hold for every packet and for every sequence of bytes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AckView } from "../../../bridge/mqtt/codec/ack-view.ts";
import { decodePacket } from "../../../bridge/mqtt/codec/decode.ts";
import { encodePacket, encodeWithin } from "../../../bridge/mqtt/codec/encode.ts";
import { packetLength } from "../../../bridge/mqtt/codec/framing.ts";
import {
	MqttError,
	type Packet,
	type PublishPacket,
	type Sender,
	type Version,
} from "../../../bridge/mqtt/codec/packets.ts";
import { decodePublishProperties, PublishView, validateTopicName } from "../../../bridge/mqtt/codec/publish-view.ts";
import { anyPacket, bytes, packetsOf, version } from "./packets.ts";

const VERSIONS: readonly Version[] = [3, 4, 5];
const versioned = version.chain((of) => anyPacket(of).map((packet) => ({ of, packet })));
const sender = fc.constantFrom<Sender | undefined>(undefined, "client", "server");

/** What was decoded, or the MqttError; anything else that is thrown fails the test. */
function attempt<T>(act: () => T): T | MqttError {
	try {
		return act();
	} catch (error) {
		if (error instanceof MqttError) {
			expect(error.clause).toMatch(/^(\[MQTT-\d+\.\d+\.\d+-\d+\]( of 3\.1\.1)?|(5\.0|3\.1\.1|3\.1) section [\d.]+)$/);
			expect(error.reasonCode).toBeGreaterThanOrEqual(0x80);
			return error;
		}
		throw error;
	}
}

describe.each(VERSIONS)("version %i", (of) => {
	const types = Object.entries(packetsOf(of));
	it.each(types)("%s survives being written and read", (_type, arbitrary) => {
		fc.assert(
			fc.property(arbitrary, (packet) => {
				const whole = encodePacket(packet, of);
				expect(packetLength(whole, 0, whole.length, whole.length)).toBe(whole.length);
				expect(decodePacket(whole, 0, whole.length, of)).toEqual(packet);
			}),
			{ numRuns: 60 },
		);
	});

	it.each(types)("%s cut off anywhere is refused", (_type, arbitrary) => {
		fc.assert(
			fc.property(arbitrary, (packet) => {
				const whole = encodePacket(packet, of);
				for (let length = 0; length < whole.length; length++) {
					expect(packetLength(whole, 0, length, whole.length)).toBe(0);
					expect(() => decodePacket(whole, 0, length, of)).toThrow(MqttError);
				}
			}),
			{ numRuns: 10 },
		);
	});
});

/** The packet's body cut off, under a Remaining Length that agrees with what is left. */
function shortened(whole: Buffer, bodyBytes: number): Buffer {
	let at = 1;
	while (whole[at]! >= 0x80) at++;
	const body = whole.subarray(at + 1, at + 1 + bodyBytes);
	const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
	return Buffer.concat([Buffer.from([whole[0]!, ...length]), body]);
}

describe("whatever the bytes are", () => {
	it("a body cut short is refused or is another valid packet", () => {
		fc.assert(
			fc.property(versioned, fc.nat({ max: 200 }), ({ of, packet }, length) => {
				const less = shortened(encodePacket(packet, of), length);
				const result = attempt(() => decodePacket(less, 0, less.length, of));
				if (!(result instanceof MqttError)) expect(rewritten(result, of)).toEqual(result);
			}),
			{ numRuns: 400 },
		);
	});

	it("one that is changed anywhere is refused or is another valid packet", () => {
		const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 });
		fc.assert(
			fc.property(versioned, changes, sender, ({ of, packet }, places, from) => {
				const whole = encodePacket(packet, of);
				for (const [place, byte] of places) whole[place % whole.length] = byte;
				const result = attempt(() => decodePacket(whole, 0, whole.length, of, from));
				if (!(result instanceof MqttError)) expect(rewritten(result, of)).toEqual(result);
			}),
			{ numRuns: 1500 },
		);
	});

	it("random bytes under any first byte never throw anything but MqttError", () => {
		fc.assert(
			fc.property(fc.integer({ min: 0, max: 255 }), bytes, version, sender, (first, body, of, from) => {
				const whole = Buffer.concat([Buffer.from([first, body.length]), body]);
				attempt(() => decodePacket(whole, 0, whole.length, of, from));
				attempt(() => decodePacket(body, 0, body.length, of, from));
				const length = attempt(() => packetLength(body, 0, body.length, 1000));
				if (typeof length === "number") expect(length).toBeLessThanOrEqual(body.length);
			}),
			{ numRuns: 1500 },
		);
	});

	it("no byte outside the packet is looked at", () => {
		fc.assert(
			fc.property(versioned, bytes, bytes, ({ of, packet }, before, after) => {
				const whole = encodePacket(packet, of);
				const placed = Buffer.concat([before, whole, after]);
				const end = before.length + whole.length;
				expect(packetLength(placed, before.length, placed.length, placed.length)).toBe(whole.length);
				expect(decodePacket(placed, before.length, end, of)).toEqual(packet);
			}),
			{ numRuns: 150 },
		);
	});
});

/** Accepted, so it can be sent on: CONNECT in its own version, the rest in the connection's. */
function rewritten(packet: Packet, of: Version): Packet {
	const speaks = packet.type === "connect" ? packet.version : of;
	const whole = encodePacket(packet, speaks);
	return decodePacket(whole, 0, whole.length, speaks);
}

describe("the views in place", () => {
	const published = version.chain((of) =>
		packetsOf(of).publish!.map((packet) => ({ of, packet: packet as PublishPacket })),
	);

	it("PublishView agrees with decodePacket, changed bytes included", () => {
		const view = new PublishView();
		const byView = (whole: Buffer, of: Version): unknown => {
			view.read(whole, 0, whole.length, of);
			const properties = of === 5 ? decodePublishProperties(whole, view.propertiesStart, view.propertiesEnd) : {};
			const topic = view.topicStart === view.topicEnd ? "" : validateTopicName(whole, view.topicStart, view.topicEnd);
			if (topic === "" && properties.topicAlias === undefined) throw new MqttError(0x82, "5.0 section 3.3.2.1", "none");
			const { qos, retain, dup } = view;
			const packetId = qos === 0 ? undefined : view.packetId;
			const payload = whole.subarray(view.payloadStart, view.payloadEnd);
			return { type: "publish", topic, payload, qos, retain, dup, packetId, properties };
		};
		fc.assert(
			fc.property(published, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean(), (one, place, byte, change) => {
				const whole = encodePacket(one.packet, one.of);
				// Neither the packet type nor the Remaining Length: a view is read after these.
				if (change && whole.length < 128) whole[2 + (place % (whole.length - 2))] = byte;
				const decoded = attempt(() => decodePacket(whole, 0, whole.length, one.of));
				const viewed = attempt(() => byView(whole, one.of));
				if (decoded instanceof MqttError) expect((viewed as MqttError).reasonCode).toBe(decoded.reasonCode);
				else expect(viewed).toEqual(decoded);
			}),
			{ numRuns: 600 },
		);
	});

	it("AckView agrees with decodePacket and forgets the packet before", () => {
		const view = new AckView();
		const acks = version.chain((of) => {
			const all = packetsOf(of);
			const types = ["puback", "pubrec", "pubrel", "pubcomp"] as const;
			return fc.oneof(...types.map((type) => all[type]!)).map((packet) => ({ of, packet }));
		});
		fc.assert(
			fc.property(acks, ({ of, packet }) => {
				const whole = encodePacket(packet, of);
				view.read(whole, 0, whole.length, of);
				expect({ ...view }).toEqual(packet);
			}),
			{ numRuns: 200 },
		);
	});
});

describe("encodeWithin", () => {
	it("never exceeds the receiver's maximum and loses only what may be lost", () => {
		fc.assert(
			fc.property(versioned, fc.integer({ min: 1, max: 120 }), ({ of, packet }, maxBytes) => {
				const whole = encodeWithin(packet, of, maxBytes);
				if (whole === undefined) {
					expect(encodePacket(packet, of).length).toBeGreaterThan(maxBytes);
					return;
				}
				expect(whole.length).toBeLessThanOrEqual(maxBytes);
				const decoded = decodePacket(whole, 0, whole.length, of);
				const bare = (one: Packet): unknown =>
					"properties" in one
						? { ...one, properties: { ...one.properties, reasonString: undefined, userProperties: undefined } }
						: one;
				expect(bare(decoded)).toEqual(bare(packet));
				if (encodePacket(packet, of).length <= maxBytes) expect(decoded).toEqual(packet);
			}),
			{ numRuns: 300 },
		);
	});
});

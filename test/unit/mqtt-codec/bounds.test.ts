/** The end that a reader was given holds, although the buffer goes on with bytes that would fit. */
import { describe, it } from "vitest";
import { Reader } from "../../../bridge/mqtt/codec/primitives.ts";
import { PublishView, validateTopicName } from "../../../bridge/mqtt/codec/publish-view.ts";
import { expectRefusal, raw } from "./bytes.ts";

const cutOff = { code: 0x81, clause: "5.0 section 1.5" };

describe("a field that goes one byte past its end is malformed", () => {
	it("5.0 section 1.5: every type of field", () => {
		const of = (hex: string): Reader => {
			const buffer = raw(hex);
			return new Reader(buffer, 0, buffer.length - 1, 5);
		};
		expectRefusal(() => of("01").byte("it"), cutOff);
		expectRefusal(() => of("0001").uint16("it"), cutOff);
		expectRefusal(() => of("00000001").uint32("it"), cutOff);
		expectRefusal(() => of("8001").variableByteInteger("it"), cutOff);
		expectRefusal(() => of("0002 6161").text("it"), cutOff);
		expectRefusal(() => of("0002 6161").binary("it"), cutOff);
		expectRefusal(() => of("0001").packetId("MQTT-2.2.1-3"), cutOff);
	});

	it.each(["c3a9", "e282ac", "f09f9880"])("[MQTT-1.5.4-1] the character %s", (hex) => {
		const buffer = raw(hex);
		const refusal = { code: 0x81, clause: "[MQTT-1.5.4-1]" };
		expectRefusal(() => validateTopicName(buffer, 0, buffer.length - 1), refusal);
	});

	it.each([
		["the Topic Name", "32 09 0001 61"],
		["the Packet Identifier", "32 09 0001 61 0001"],
		["the Property Length", "32 09 0001 61 0001 8001"],
		["the properties", "32 09 0001 61 0001 02 0101"],
	])("5.0 section 1.5: %s of a PUBLISH read in place", (_what, hex) => {
		const buffer = raw(hex);
		expectRefusal(() => new PublishView().read(buffer, 0, buffer.length - 1, 5), cutOff);
	});
});

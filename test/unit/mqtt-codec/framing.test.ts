/** Where packets end, and topic filters. */
import { describe, expect, it } from "vitest";
import { packetLength } from "../../../bridge/mqtt/codec/framing.ts";
import { validateTopicFilter, validateTopicName } from "../../../bridge/mqtt/codec/topic.ts";
import { expectRefusal, raw } from "./bytes.ts";

const MAX = 268_435_460;

describe("packetLength", () => {
	it.each([
		["c000", 2],
		["307f", 129],
		["308001", 131],
		["30ff7f", 16_386],
		["30808001", 16_388],
		["30ffff7f", 2_097_155],
		["3080808001", 2_097_157],
		["30ffffff7f", 268_435_460],
	])("%s begins a packet of %i bytes", (hex, length) => {
		const header = raw(hex);
		// The body need not exist for the length to be refused, and must for it to be returned.
		expectRefusal(() => packetLength(header, 0, header.length, length - 1), {
			code: 0x95,
			clause: "5.0 section 3.2.2.3.6",
		});
		expect(packetLength(header, 0, header.length, MAX)).toBe(length === header.length ? length : 0);
		if (length < 20_000) {
			const whole = Buffer.concat([raw("ee"), header, Buffer.alloc(length)]);
			expect(packetLength(whole, 1, 1 + length, length)).toBe(length);
			expect(packetLength(whole, 1, length, length)).toBe(0);
		}
	});

	it("asks for more while the fixed header is not whole", () => {
		for (const hex of ["", "30", "3080", "308080", "30808080"]) {
			expect(packetLength(raw(hex), 0, hex.length / 2, 10)).toBe(0);
		}
	});

	it("5.0 section 2.1.2: refuses packet type 0 at its first byte", () => {
		expectRefusal(() => packetLength(raw("0f"), 0, 1, MAX), { code: 0x81, clause: "5.0 section 2.1.2" });
	});

	it("5.0 section 1.5.5: refuses a fifth byte of Remaining Length before it is there", () => {
		expectRefusal(() => packetLength(raw("30ffffffff"), 0, 5, MAX), { code: 0x81, clause: "5.0 section 1.5.5" });
	});

	it("[MQTT-1.5.5-1] refuses a Remaining Length in more bytes than needed", () => {
		for (const hex of ["c08000", "30ff00", "3080808000", "30ff8000"]) {
			expectRefusal(() => packetLength(raw(hex), 0, hex.length / 2, MAX), { code: 0x81, clause: "[MQTT-1.5.5-1]" });
		}
	});

	it("does not look past the end it is given", () => {
		expect(packetLength(raw("3005aaaaaaaaaa"), 0, 6, MAX)).toBe(0);
		expect(packetLength(raw("3005aaaaaaaaaa"), 0, 1, MAX)).toBe(0);
	});
});

describe("topic filters", () => {
	it.each([
		["a", undefined, "a"],
		["/", undefined, "/"],
		["#", undefined, "#"],
		["+", undefined, "+"],
		["+/+/#", undefined, "+/+/#"],
		["/+/b", undefined, "/+/b"],
		["a//#", undefined, "a//#"],
		["$SYS/#", undefined, "$SYS/#"],
		["$sharer/a", undefined, "$sharer/a"],
		["$share/g/a/+", "g", "a/+"],
		["$share/g//", "g", "/"],
		["$share/g/$share/h", "g", "$share/h"],
	])("%s is share %s, filter %s", (text, shareName, filter) => {
		expect(validateTopicFilter(text)).toEqual({ shareName, filter });
	});

	it.each([
		["[MQTT-4.7.3-1]", ""],
		["[MQTT-4.7.1-1]", "a#"],
		["[MQTT-4.7.1-1]", "#/a"],
		["[MQTT-4.7.1-1]", "a/#/b"],
		["[MQTT-4.7.1-1]", "##"],
		["[MQTT-4.7.1-2]", "a+"],
		["[MQTT-4.7.1-2]", "+a/b"],
		["[MQTT-4.7.1-2]", "a/++"],
		["[MQTT-4.8.2-1]", "$share"],
		["[MQTT-4.8.2-1]", "$share/"],
		["[MQTT-4.8.2-1]", "$share//a"],
		["[MQTT-4.8.2-2]", "$share/g"],
		["[MQTT-4.8.2-2]", "$share/g/"],
		["[MQTT-4.8.2-2]", "$share/+/a"],
		["[MQTT-4.8.2-2]", "$share/g#/a"],
		["[MQTT-4.7.1-1]", "$share/g/a#"],
	])("%s the filter %j is malformed", (clause, text) => {
		expectRefusal(() => validateTopicFilter(text), { code: 0x81, clause });
	});

	it("[MQTT-4.7.1-2] of 3.1.1: cites the older standard for an older peer", () => {
		expectRefusal(() => validateTopicFilter("a#", 4), { code: 0x81, clause: "[MQTT-4.7.1-2] of 3.1.1" });
		expectRefusal(() => validateTopicFilter("a+", 4), { code: 0x81, clause: "[MQTT-4.7.1-3] of 3.1.1" });
	});

	it("topic names are read between the positions given", () => {
		const buffer = Buffer.from("##sensors/é/1++");
		expect(validateTopicName(buffer, 2, buffer.length - 2)).toBe("sensors/é/1");
		expectRefusal(() => validateTopicName(buffer, 1, 5), { code: 0x81, clause: "[MQTT-3.3.2-2]" });
		expectRefusal(() => validateTopicName(buffer, 3, 3, 4), { code: 0x81, clause: "[MQTT-4.7.3-1] of 3.1.1" });
	});
});

import { describe, expect, it } from "vitest";
import {
	type Answer,
	AnswerReader,
	encodeConnect,
	encodeDisconnect,
	encodePingreq,
	encodePublish,
	encodePubrel,
	MqttProtocolError,
	type MqttVersion,
} from "../../../device-sim/mqtt-packets.ts";

const hex = (bytes: Buffer) => bytes.toString("hex");
const CONNECT = { clientId: "ab", clean: false, keepAliveSeconds: 30, sessionExpirySeconds: 3600 };

function read(version: MqttVersion, bytes: string): Answer[] {
	const answers: Answer[] = [];
	new AnswerReader(version).take(Buffer.from(bytes, "hex"), (answer) => answers.push(answer));
	return answers;
}

describe("what a device sends, byte by byte", () => {
	it("CONNECT in 3.1, 3.1.1 and 5", () => {
		expect(hex(encodeConnect({ ...CONNECT, version: 3 }))).toBe(
			"1010" + "00064d5149736470" + "03" + "00" + "001e" + "00026162",
		);
		expect(hex(encodeConnect({ ...CONNECT, version: 4, clean: true }))).toBe(
			"100e" + "00044d515454" + "04" + "02" + "001e" + "00026162",
		);
		expect(hex(encodeConnect({ ...CONNECT, version: 5 }))).toBe(
			"1014" + "00044d515454" + "05" + "00" + "001e" + "051100000e10" + "00026162",
		);
	});

	it("PUBLISH at each QoS, again, and in version 5", () => {
		const payload = Buffer.from("hi");
		expect(hex(encodePublish(4, "a/b", payload, 0, false, 0))).toBe("3007" + "0003612f62" + "6869");
		expect(hex(encodePublish(4, "a/b", payload, 1, false, 0x1234))).toBe("3209" + "0003612f62" + "1234" + "6869");
		expect(hex(encodePublish(4, "a/b", payload, 2, true, 1))).toBe("3c09" + "0003612f62" + "0001" + "6869");
		expect(hex(encodePublish(5, "a/b", payload, 1, false, 1))).toBe("320a" + "0003612f62" + "0001" + "00" + "6869");
	});

	it("PUBLISH with a remaining length of two and three bytes", () => {
		expect(hex(encodePublish(4, "t", Buffer.alloc(125), 0, false, 0).subarray(0, 6))).toBe("308001" + "000174");
		expect(hex(encodePublish(4, "t", Buffer.alloc(16_381), 0, false, 0).subarray(0, 7))).toBe("30808001" + "000174");
	});

	it("PUBREL, PINGREQ, DISCONNECT", () => {
		expect(hex(encodePubrel(0x0102))).toBe("62020102");
		expect(hex(encodePingreq())).toBe("c000");
		expect(hex(encodeDisconnect(4, true))).toBe("e000");
		expect(hex(encodeDisconnect(5, false))).toBe("e000");
		expect(hex(encodeDisconnect(5, true))).toBe("e007" + "00" + "05" + "1100000000");
	});
});

describe("what a device is answered", () => {
	const PLAIN = { type: "connack", receiveMaximum: 65_535, maximumQos: 2, serverKeepAliveSeconds: undefined };

	it("CONNACK before version 5, and in it with every shape of property", () => {
		expect(read(4, "20020100")).toEqual([{ ...PLAIN, sessionPresent: true, reasonCode: 0 }]);
		expect(read(4, "20020005")).toEqual([{ ...PLAIN, sessionPresent: false, reasonCode: 5 }]);
		// Session expiry, assigned client id, server keep alive, receive maximum, maximum QoS, a user property.
		const properties = "1100000001" + "12000161" + "130014" + "210010" + "2401" + "26000161000162";
		const length = (properties.length / 2).toString(16).padStart(2, "0");
		const whole = (3 + properties.length / 2).toString(16).padStart(2, "0");
		expect(read(5, `20${whole}0100${length}${properties}`)).toEqual([
			{
				type: "connack",
				sessionPresent: true,
				reasonCode: 0,
				receiveMaximum: 16,
				maximumQos: 1,
				serverKeepAliveSeconds: 20,
			},
		]);
	});

	it("acknowledgements with and without a reason code, PINGRESP, DISCONNECT", () => {
		expect(read(4, "40021234")).toEqual([{ type: "puback", packetId: 0x1234, reasonCode: 0 }]);
		expect(read(5, "4003123497")).toEqual([{ type: "puback", packetId: 0x1234, reasonCode: 0x97 }]);
		expect(read(5, "500400011000")).toEqual([{ type: "pubrec", packetId: 1, reasonCode: 0x10 }]);
		expect(read(4, "70020001d000")).toEqual([{ type: "pubcomp", packetId: 1, reasonCode: 0 }, { type: "pingresp" }]);
		expect(read(5, "e0018b")).toEqual([{ type: "disconnect", reasonCode: 0x8b }]);
	});

	it("comes out the same however the stream is cut", () => {
		const stream = Buffer.from("20020000" + "40020001" + "40020002" + "d000" + "40020003", "hex");
		const whole = read(4, stream.toString("hex"));
		expect(whole).toHaveLength(5);
		for (let size = 1; size < stream.length; size++) {
			const reader = new AnswerReader(4);
			const answers: Answer[] = [];
			for (let at = 0; at < stream.length; at += size) {
				reader.take(stream.subarray(at, at + size), (answer) => answers.push(answer));
			}
			expect(answers).toEqual(whole);
		}
	});

	it.each([
		["a CONNACK cut short", 4, "200100"],
		["reserved CONNACK flags", 4, "20020200"],
		["a session on a refused connection", 4, "20020105"],
		["reserved flags of a PUBACK", 4, "41020001"],
		["packet identifier 0", 4, "40020000"],
		["a reason code before version 5", 4, "4003000100"],
		["a PUBLISH, to one who subscribed to nothing", 4, "3003000161"],
		["a DISCONNECT before version 5", 4, "e000"],
		["a length of five bytes", 4, "4080808080"],
		["a huge answer", 4, "40ffffff7f"],
		["a property that no CONNACK has", 5, "2005000002" + "0100"],
		["properties cut short", 5, "2005000002" + "2100"],
		["a Receive Maximum of 0", 5, "2006000003" + "210000"],
	] as const)("refuses %s", (_what, version, bytes) => {
		expect(() => read(version, bytes)).toThrow(MqttProtocolError);
	});
});

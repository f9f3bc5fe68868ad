import { afterEach, describe, expect, it } from "vitest";
import { connect, packet, publish, TestDoor, text } from "./door.ts";

let test: TestDoor;
afterEach(() => test.close());

describe("publishing", () => {
	it.each([
		["3.1", { protocolId: "MQIsdp", protocolVersion: 3 }],
		["3.1.1", { protocolVersion: 4 }],
		["5", { protocolVersion: 5 }],
	] as const)("stores what MQTT %s publishes at QoS 0, 1 and 2, by route", async (_name, options) => {
		test = await TestDoor.open();
		const client = await test.client({ ...options, clientId: "c" });
		await client.publishAsync("sensors/north/dev7/telemetry", "zero", { qos: 0 });
		await client.publishAsync("sensors/north/dev7/telemetry", "one", { qos: 1 });
		await client.publishAsync("sensors/north/dev7/telemetry", "two", { qos: 2 });
		const records = await test.records("telemetry");
		expect(records.map((record) => [record.key?.toString(), record.value?.toString()])).toEqual([
			["dev7", "zero"],
			["dev7", "one"],
			["dev7", "two"],
		]);
		const headers = records.map((record) => record.headers.map(({ key, value }) => [key, value?.toString()]));
		const own = [
			["mqtt.topic", "sensors/north/dev7/telemetry"],
			["site", "north"],
		];
		expect(headers).toEqual([[...own, ["mqtt.qos", "0"]], own, [...own, ["mqtt.qos", "2"]]]);
	});

	it("keeps the properties of MQTT 5 as headers, order and repeats included", async () => {
		test = await TestDoor.open();
		const client = await test.client({ protocolVersion: 5 });
		await client.publishAsync("home/x", "v", {
			qos: 1,
			properties: {
				payloadFormatIndicator: true,
				messageExpiryInterval: 60,
				contentType: "text/plain",
				responseTopic: "r/t",
				correlationData: Buffer.from([0, 255]),
				userProperties: { b: ["1", "2"], a: "3" },
			},
		});
		const [record] = await test.records("mqtt");
		expect(record!.headers.map(({ key, value }) => [key, value?.toString("latin1")])).toEqual([
			["mqtt.topic", "home/x"],
			["mqtt.payload-format", "1"],
			["mqtt.message-expiry", "60"],
			["mqtt.content-type", "text/plain"],
			["mqtt.response-topic", "r/t"],
			["mqtt.correlation-data", "\u0000\u00ff"],
			["mqtt.user.b", "1"],
			["mqtt.user.b", "2"],
			["mqtt.user.a", "3"],
		]);
	});

	it("acknowledges a thousand publishes that come in one piece or byte by byte, in order", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		const all = Buffer.concat([
			connect("c"),
			...Array.from({ length: 1000 }, (_, i) => publish(0x32, `t/${i % 3}`, i + 1, `p${i}`)),
		]);
		for (let at = 0; at < 400; at++) raw.send(all.subarray(at, at + 1));
		for (let at = 400; at < all.length; at += 997) raw.send(all.subarray(at, at + 997));
		expect((await raw.packet()).toString("hex")).toBe("20020000");
		for (let i = 1; i <= 1000; i++)
			expect((await raw.packet()).toString("hex")).toBe(packet(0x40, i >> 8, i & 255).toString("hex"));
		const records = await test.records("mqtt");
		for (const key of ["t/0", "t/1", "t/2"]) {
			const values = records
				.filter((record) => record.key?.toString() === key)
				.map((record) => Number(record.value?.toString().slice(1)));
			expect(values).toEqual([...values].sort((a, b) => a - b));
		}
		expect(records.length).toBe(1000);
	});

	it("stores a QoS 2 publish once, however often it comes again", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		raw.send(connect("c"), publish(0x34, "a", 7, "once"), publish(0x3c, "a", 7, "once"), publish(0x3c, "a", 7, "once"));
		await raw.packet();
		for (let i = 0; i < 3; i++) expect((await raw.packet()).toString("hex")).toBe("50020007");
		raw.send(publish(0x3c, "a", 7, "once"));
		expect((await raw.packet()).toString("hex")).toBe("50020007");
		raw.send(packet(0x62, 0, 7));
		expect((await raw.packet()).toString("hex")).toBe("70020007");
		raw.send(publish(0x34, "a", 7, "another"));
		expect((await raw.packet()).toString("hex")).toBe("50020007");
		expect((await test.records("mqtt")).map((record) => record.value?.toString())).toEqual(["once", "another"]);
		expect(test.door.stats().duplicates).toBe(3);
	});

	it("stores it once over a reconnect and a restart too, when the session is kept", async () => {
		test = await TestDoor.open();
		let raw = await test.socket();
		raw.send(connect("c", { clean: false }), publish(0x34, "a", 7, "once"));
		await raw.packet();
		await raw.packet();
		raw.socket.destroy();
		raw = await test.socket();
		raw.send(connect("c", { clean: false }), publish(0x3c, "a", 7, "once"));
		expect((await raw.packet()).toString("hex")).toBe("20020100");
		expect((await raw.packet()).toString("hex")).toBe("50020007");
		await test.stop();
		await test.start();
		raw = await test.socket();
		raw.send(connect("c", { clean: false }), publish(0x3c, "a", 7, "once"), packet(0x62, 0, 7));
		expect((await raw.packet()).toString("hex")).toBe("20020100");
		expect((await raw.packet()).toString("hex")).toBe("50020007");
		expect((await raw.packet()).toString("hex")).toBe("70020007");
		expect((await test.records("mqtt")).length).toBe(1);
		raw.send(publish(0x34, "a", 7, "another"));
		expect((await raw.packet()).toString("hex")).toBe("50020007");
		expect((await test.records("mqtt")).length).toBe(2);
	});

	it("refuses what no route takes with its reason in MQTT 5, in order with what is stored", async () => {
		test = await TestDoor.open({ routes: [{ filter: "a/#", topic: "a" }] });
		const raw = await test.socket();
		const publish5 = (topic: string, id: number, payload = "p") =>
			packet(0x32, text(topic), 0, id, 0, Buffer.from(payload));
		raw.send(connect("c", { level: 5 }), publish5("a", 1), publish5("b", 2), publish5("$SYS/x", 3), publish5("a/b", 4));
		await raw.packet();
		expect((await raw.packet()).toString("hex")).toBe("40020001");
		expect((await raw.packet()).subarray(2, 5).toString("hex")).toBe("000290");
		expect((await raw.packet()).subarray(2, 5).toString("hex")).toBe("000390");
		expect((await raw.packet()).toString("hex")).toBe("40020004");
		expect((await test.records("a")).length).toBe(2);
	});

	it("answers 0x97 in MQTT 5 to an event above max.message.bytes, and closes an older client without an answer", async () => {
		test = await TestDoor.open();
		const large = "x".repeat(150_000);
		const five = await test.client({ protocolVersion: 5 });
		await expect(five.publishAsync("a", large, { qos: 1 })).rejects.toMatchObject({ code: 0x97 });
		await five.publishAsync("a", "small", { qos: 1 });
		const four = await test.client({ protocolVersion: 4 });
		const closed = new Promise((resolve) => four.once("close", () => resolve(true)));
		four.publish("a", large, { qos: 1 });
		expect(await closed).toBe(true);
		expect((await test.records("mqtt")).map((record) => record.value?.toString())).toEqual(["small"]);
	});
});

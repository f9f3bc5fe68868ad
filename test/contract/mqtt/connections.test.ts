import { afterEach, describe, expect, it } from "vitest";
import { connect, packet, publish, type RawSocket, TestDoor, text } from "./door.ts";

let test: TestDoor;
afterEach(() => test.close());

/** Until the door has seen what the test did. */
async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe("a connection", () => {
	it("is told in MQTT 5 what is available", async () => {
		test = await TestDoor.open({
			receiveMaximum: 33,
			maxPacketBytes: 5000,
			maxKeepAliveSeconds: 60,
			maxSessionExpirySeconds: 100,
		});
		const raw = await test.socket();
		const forever = Buffer.from("11ffffffff", "hex");
		raw.send(connect("", { level: 5, properties: forever }));
		const connack = (await raw.packet()).toString("hex");
		expect(connack).toContain("210021"); // Receive Maximum
		expect(connack).toContain("2700001388"); // Maximum Packet Size
		expect(connack).toContain("220020"); // Topic Alias Maximum
		expect(connack).toContain("13003c"); // Server Keep Alive
		expect(connack).toContain("1100000064"); // Session Expiry Interval
		expect(connack).toContain(Buffer.from("headwater-").toString("hex")); // the identifier assigned
	});

	it("gives way to a later one of the same client, which is told so in MQTT 5", async () => {
		test = await TestDoor.open();
		const first = await test.socket();
		first.send(connect("same", { level: 5 }));
		await first.packet();
		const second = await test.socket();
		second.send(connect("same", { level: 5 }));
		await second.packet();
		expect((await first.packet()).subarray(0, 3).toString("hex")).toMatch(/^e0..8e$/);
		await first.rest();
		second.send(packet(0xc0));
		expect((await second.packet()).toString("hex")).toBe("d000");
		expect(test.door.stats()).toMatchObject({ connections: 1, takeOvers: 1 });
	});

	it("ends after one and a half times its keep alive without a packet, not before, and publishes its will", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		raw.send(packet(0x10, text("MQTT"), 4, 0x0e, 0, 10, text("c"), text("gone"), text("bye")));
		await raw.packet();
		test.clock.advance(14_000);
		raw.send(packet(0xc0));
		expect((await raw.packet()).toString("hex")).toBe("d000");
		test.clock.advance(14_000);
		expect(test.door.stats().keepAliveTimeouts).toBe(0);
		test.clock.advance(4000);
		await raw.rest();
		expect(test.door.stats().keepAliveTimeouts).toBe(1);
		expect((await test.records("mqtt")).map((record) => record.value?.toString())).toEqual(["bye"]);
	});

	it("publishes no will after DISCONNECT", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		raw.send(packet(0x10, text("MQTT"), 4, 0x0e, 0, 10, text("c"), text("gone"), text("bye")), packet(0xe0));
		await raw.rest();
		expect(await test.records("mqtt")).toEqual([]);
	});

	it("that does not send its CONNECT in time is closed, also when it sends it byte by byte", async () => {
		test = await TestDoor.open({ connectTimeoutMs: 3000 });
		const silent = await test.socket();
		const slow = await test.socket();
		const good = await test.client();
		slow.send(connect("slow").subarray(0, 3));
		await until(() => test.door.engine.connections.size === 3);
		test.clock.advance(2000);
		slow.send(Buffer.of(0x4d));
		test.clock.advance(3000);
		await Promise.all([silent.rest(), slow.rest()]);
		await good.publishAsync("a", "b", { qos: 1 });
		expect(test.door.stats().connectTimeouts).toBe(2);
	});

	it("that sends anything malformed ends, and the others do not notice", async () => {
		test = await TestDoor.open();
		const good = await test.socket();
		good.send(connect("good"));
		await good.packet();
		const wrong: Buffer[] = [
			Buffer.from("00", "hex"),
			Buffer.from("GET / HTTP/1.1\r\n\r\n"),
			Buffer.from("10ffffffff7f", "hex"),
			packet(0x10, text("MQTT"), 9, 2, 0, 0, text("c")),
			packet(0x30, text("before/connect")),
			Buffer.concat([connect("x"), connect("x")]),
			Buffer.concat([connect("x"), packet(0x36, text("a"), 0, 1)]),
			Buffer.concat([connect("x"), packet(0x30, text("a/#"))]),
			Buffer.concat([connect("x"), packet(0x82, 0, 1)]),
			Buffer.concat([connect("x"), packet(0x32, text("a"), 0, 0)]),
			Buffer.concat([connect("x", { level: 5 }), packet(0xf0, 0x18, 0)]),
			Buffer.concat([connect("x"), Buffer.from("30ffffff7f", "hex")]),
			// A second CONNECT is refused for being one, whatever is in it.
			Buffer.concat([connect("x", { level: 5 }), packet(0x10, text("MQTT"), 9, 2, 0, 0, text("c"))]),
			// Nothing can be answered within two bytes.
			connect("x", { level: 5, properties: Buffer.from("2700000002", "hex") }),
		];
		for (const [i, bytes] of wrong.entries()) {
			const raw = await test.socket();
			raw.send(bytes);
			await raw.rest();
			good.send(publish(0x32, "still/here", i + 1, "x"));
			expect((await good.packet()).toString("hex")).toBe(packet(0x40, 0, i + 1).toString("hex"));
		}
		expect((await test.records("mqtt")).length).toBe(wrong.length);
	});

	it("is refused with the right code: unknown version, empty identifier with a kept session, alias in MQTT 5", async () => {
		test = await TestDoor.open();
		const answer = async (...bytes: Buffer[]): Promise<string> => {
			const raw: RawSocket = await test.socket();
			raw.send(...bytes);
			return (await raw.rest()).toString("hex");
		};
		expect(await answer(packet(0x10, text("MQTT"), 3, 2, 0, 0, text("c")))).toMatch(/^20020001$/);
		expect(await answer(connect("", { clean: false }))).toBe("20020002");
		const five = connect("f", { level: 5 });
		expect(await answer(five, packet(0x30, text("a"), 3, 0x23, 0, 33))).toMatch(/e0..94/);
		expect(await answer(five, packet(0x30, text("a"), 3, 0x23, 0, 0))).toMatch(/e0..94/);
		expect(await answer(five, packet(0x30, text(""), 3, 0x23, 0, 1))).toMatch(/e0..82/);
	});

	it("may publish to topics that begin with $, and nothing comes of it", async () => {
		test = await TestDoor.open();
		const old = await test.socket();
		old.send(connect("old"), publish(0x32, "$SYS/x", 1, "x"), publish(0x34, "$aws/x", 2, "x"), packet(0x62, 0, 2));
		await old.packet();
		expect((await old.packet()).toString("hex")).toBe("40020001");
		expect((await old.packet()).toString("hex")).toBe("50020002");
		expect((await old.packet()).toString("hex")).toBe("70020002");
		const five = await test.socket();
		five.send(connect("five", { level: 5 }), packet(0x32, text("$SYS/x"), 0, 1, 0));
		await five.packet();
		expect((await five.packet()).toString("hex")).toMatch(/^40..000190/);
		expect(await test.records("mqtt")).toEqual([]);
	});

	it("may use topics of any depth, and filters of two hundred levels", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		const deep = (levels: number): string => Array(levels).fill("+").join("/");
		raw.send(connect("x"), packet(0x82, 0, 1, text(deep(200)), 0), packet(0x82, 0, 2, text(deep(201)), 0));
		await raw.packet();
		expect((await raw.packet()).toString("hex")).toBe("9003000100");
		expect((await raw.packet()).toString("hex")).toBe("9003000280");
		raw.send(packet(0x82, 0, 3, text("#"), 0));
		await raw.packet();
		raw.send(packet(0x30, text("/".repeat(10_000))));
		expect((await raw.take(3 + 2 + 10_000))[0]).toBe(0x30);
	});

	it("that answers a delivery with another packet than its QoS asks for ends", async () => {
		test = await TestDoor.open();
		const publisher = await test.client();
		for (const [qos, answer] of [
			[1, 0x50],
			[1, 0x70],
			[2, 0x40],
			[2, 0x70],
		] as const) {
			const raw = await test.socket();
			raw.send(connect("x", { level: 5 }), packet(0x82, 0, 1, 0, text("a"), qos));
			await raw.packet();
			await raw.packet();
			await publisher.publishAsync("a", "b", { qos });
			const sent = await raw.packet();
			raw.send(packet(answer, sent.subarray(5, 7)));
			expect((await raw.packet()).toString("hex")).toMatch(/^e0..82/);
			await raw.rest();
		}
	});

	it("above mqtt.max.connections is refused, and accepted when there is room again", async () => {
		test = await TestDoor.open({ maxConnections: 2 });
		const a = await test.client();
		await test.client();
		const raw = await test.socket();
		raw.send(connect("c", { level: 5 }));
		expect((await raw.rest()).subarray(3, 4).toString("hex")).toBe("97");
		await a.endAsync();
		await until(() => test.door.engine.connections.size === 1);
		await test.client();
	});

	it("that exceeds Receive Maximum is ended with 0x93", async () => {
		test = await TestDoor.open({ receiveMaximum: 2 });
		const raw = await test.socket();
		const two = (id: number) => packet(0x34, text("a"), 0, id, 0);
		raw.send(connect("c", { level: 5 }), two(1), two(2));
		await raw.packet();
		await raw.packet();
		await raw.packet();
		raw.send(two(3));
		expect((await raw.packet()).toString("hex")).toMatch(/^e0..93/);
	});

	it("is one of two thousand that send nothing, and the door serves on", async () => {
		test = await TestDoor.open();
		const sockets = [];
		for (let i = 0; i < 2000; i++) sockets.push(await test.socket());
		await until(() => test.door.engine.connections.size === 2000);
		const client = await test.client();
		await client.publishAsync("a", "b", { qos: 1 });
		test.clock.advance(12_000);
		await Promise.all(sockets.map((raw) => raw.rest()));
		expect(test.door.stats().connectTimeouts).toBe(2000);
	});

	it("of MQTT 5 hears that the gateway stops, after its publishes are answered", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		raw.send(connect("c", { level: 5 }), packet(0x32, text("a"), 0, 1, 0));
		await raw.packet();
		await until(() => test.door.stats().received[1] === 1);
		const stopped = test.door.stop();
		expect((await raw.packet()).toString("hex")).toBe("40020001");
		expect((await raw.packet()).toString("hex")).toMatch(/^e0..8b/);
		await stopped;
	});
});

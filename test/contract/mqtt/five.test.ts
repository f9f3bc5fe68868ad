import { describe, expect, it } from "vitest";
import { connect, packet, text } from "./door.ts";
import { killed, open } from "./open-doors.ts";

const ALIAS = 0x23;

describe("topic aliases", () => {
	it("from a client stand for its topics, per connection, and may change hands", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(connect("c", { level: 5 }));
		await raw.packet();
		const publish = (topic: string, id: number, alias: number, payload: string) =>
			packet(0x32, text(topic), 0, id, 3, ALIAS, 0, alias, Buffer.from(payload));
		raw.send(publish("a", 1, 1, "1"), publish("", 2, 1, "2"), publish("b", 3, 1, "3"), publish("", 4, 1, "4"));
		raw.send(publish("c", 5, 32, "5"), publish("", 6, 32, "6"));
		for (let id = 1; id <= 6; id++)
			expect((await raw.packet()).toString("hex")).toBe(`400200${id.toString(16).padStart(2, "0")}`);
		const stored = (await door.records("mqtt")).map((record) => `${record.key?.toString()}${record.value?.toString()}`);
		expect(stored.sort()).toEqual(["a1", "a2", "b3", "b4", "c5", "c6"]);
		const other = await door.socket();
		other.send(connect("d", { level: 5 }), publish("", 1, 1, "x"));
		expect((await other.rest()).toString("hex")).toMatch(/e0..82/);
	});

	it("to a client are as many as it allows, each given with its name once", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(connect("c", { level: 5, properties: Buffer.from("220002", "hex") }), packet(0x82, 0, 1, 0, text("#"), 0));
		await raw.packet();
		await raw.packet();
		const publisher = await door.client();
		for (const topic of ["one", "two", "three", "one", "two", "three"]) {
			await publisher.publishAsync(topic, "x", { qos: 1 });
		}
		const seen: string[] = [];
		for (let i = 0; i < 6; i++) {
			const each = await raw.packet();
			const end = 4 + each.readUInt16BE(2);
			const alias = each[end] === 3 ? each.readUInt16BE(end + 2) : 0;
			seen.push(`${each.toString("latin1", 4, end)}:${alias}`);
		}
		expect(seen).toEqual(["one:1", "two:2", "three:0", ":1", ":2", "three:0"]);
	});

	it("are understood by a client that knows them, at every QoS, in a kept session too", async () => {
		const door = await open();
		const client = await door.client({
			protocolVersion: 5,
			clientId: "kept",
			clean: false,
			properties: { topicAliasMaximum: 10, sessionExpiryInterval: 1000 },
		});
		const seen: string[] = [];
		client.on("message", (topic, payload) => seen.push(`${topic}=${payload.toString()}`));
		await client.subscribeAsync("#", { qos: 2 });
		const publisher = await door.client();
		const expected: string[] = [];
		for (let i = 0; i < 60; i++) {
			await publisher.publishAsync(`t/${i % 4}`, `${i}`, { qos: (i % 3) as 0 | 1 | 2 });
			expected.push(`t/${i % 4}=${i}`);
		}
		await expect.poll(() => [...seen].sort(), { timeout: 5000 }).toEqual([...expected].sort());
	});
});

describe("redirection", () => {
	it("sends MQTT 5 clients elsewhere when the door is full, always, or when it stops", async () => {
		const full = await open({ maxConnections: 1, redirectTo: "other:1883" });
		const first = await full.socket();
		first.send(connect("first", { level: 5 }));
		await first.packet();
		const second = await full.socket();
		second.send(connect("second", { level: 5 }));
		const refusal = await second.rest();
		expect(refusal[3]).toBe(0x9c);
		expect(refusal.toString("hex")).toContain(`1c000a${Buffer.from("other:1883").toString("hex")}`);

		const always = await open({ redirectTo: "other:1883", redirectWhen: "always" });
		const five = await always.socket();
		five.send(connect("five", { level: 5 }));
		expect((await five.rest())[3]).toBe(0x9d);
		const old = await always.socket();
		old.send(connect("old"));
		expect((await old.rest()).toString("hex")).toBe("20020003");

		const stopping = await open({ redirectTo: "other:1883", redirectWhen: "stopping" });
		const client = await stopping.socket();
		client.send(connect("client", { level: 5 }));
		await client.packet();
		const stopped = stopping.door.stop();
		const goodbye = await client.rest();
		await stopped;
		expect(goodbye[0]).toBe(0xe0);
		expect(goodbye[2]).toBe(0x9c);
		expect(goodbye.toString()).toContain("other:1883");
	});
});

describe("a will", () => {
	it("of a client connected when the gateway is killed is published at the next start, once", async () => {
		const before = await open();
		const raw = await before.socket();
		raw.send(packet(0x10, text("MQTT"), 4, 0x2e, 0, 0, text("c"), text("wills/c"), text("gone")));
		await raw.packet();
		const orderly = await before.socket();
		orderly.send(packet(0x10, text("MQTT"), 4, 0x0e, 0, 0, text("d"), text("wills/d"), text("gone")), packet(0xe0));
		await orderly.rest();
		await before.broker.log.whenCommitted();
		expect(await before.records("mqtt")).toEqual([]);
		const after = await killed(before);
		expect((await after.records("mqtt")).map((record) => record.key?.toString())).toEqual(["wills/c"]);
		const client = await after.client();
		const seen: boolean[] = [];
		client.on("message", (_topic, _payload, each) => seen.push(each.retain));
		await client.subscribeAsync("wills/#", { qos: 1 });
		await expect.poll(() => seen).toEqual([true]);
		const again = await killed(after);
		expect((await again.records("mqtt")).length).toBe(1);
	});
});

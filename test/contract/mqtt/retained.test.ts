import type { IClientOptions, IPublishPacket } from "mqtt";
import { describe, expect, it } from "vitest";
import { connect, packet, type TestDoor, text } from "./door.ts";
import { killed, open } from "./open-doors.ts";

/** What a new client gets for a filter, until `count` messages are there and a ping has come back. */
async function got(door: TestDoor, filter: string, count: number, options: IClientOptions = {}, qos: 0 | 1 | 2 = 1) {
	const client = await door.client({ protocolVersion: 5, ...options });
	const packets: IPublishPacket[] = [];
	client.on("message", (_topic, _payload, each) => packets.push(each));
	await client.subscribeAsync(filter, { qos });
	await expect.poll(() => packets.length, { timeout: 5000 }).toBe(count);
	return { client, packets, seen: packets.map((each) => `${each.topic}=${each.payload.toString()}`) };
}

describe("retained messages", () => {
	it("come to those who subscribe later, marked as such, the newest of each topic, also after a crash", async () => {
		const before = await open();
		const publisher = await before.client({ protocolVersion: 5 });
		for (const [topic, payload] of [
			["a/1", "old"],
			["a/1", "new"],
			["a/2", "x"],
			["b", "y"],
			["a/3", "gone"],
		] as const) {
			await publisher.publishAsync(topic, payload, { qos: 1, retain: true });
		}
		await publisher.publishAsync("a/3", "", { qos: 1, retain: true });
		await publisher.publishAsync("a/2", "not retained", { qos: 1 });
		for (const door of [before, await killed(before)]) {
			const { packets, seen } = await got(door, "a/#", 2);
			expect(seen).toEqual(["a/1=new", "a/2=x"]);
			expect(packets.every((each) => each.retain)).toBe(true);
			expect((await got(door, "#", 3)).seen).toEqual(["a/1=new", "a/2=x", "b=y"]);
		}
	});

	it("keep their properties, and their expiry counts down to nothing", async () => {
		const door = await open();
		const publisher = await door.client({ protocolVersion: 5 });
		const properties = {
			messageExpiryInterval: 100,
			contentType: "text",
			correlationData: Buffer.from([1, 2]),
			userProperties: { unit: "C" },
		};
		await publisher.publishAsync("t", "21", { qos: 2, retain: true, properties });
		door.clock.advance(30_000);
		const { packets } = await got(door, "t", 1, {}, 2);
		expect(packets[0]?.qos).toBe(2);
		expect(packets[0]?.properties).toMatchObject({ ...properties, messageExpiryInterval: 70 });
		door.clock.advance(70_000);
		await got(door, "t", 0);
	});

	it("are sent again or not, as Retain Handling says", async () => {
		const door = await open();
		const publisher = await door.client();
		await publisher.publishAsync("t", "1", { qos: 1, retain: true });
		const { client, packets } = await got(door, "t", 1);
		await client.subscribeAsync("t", { qos: 1, rh: 1 });
		await client.subscribeAsync("t", { qos: 1, rh: 2 });
		expect(packets.length).toBe(1);
		await client.subscribeAsync("t", { qos: 1, rh: 0 });
		await expect.poll(() => packets.length).toBe(2);
		await client.unsubscribeAsync("t");
		await client.subscribeAsync("t", { qos: 1, rh: 2 });
		await client.unsubscribeAsync("t");
		await client.subscribeAsync("t", { qos: 1, rh: 1 });
		await expect.poll(() => packets.length).toBe(3);
	});

	it("reach a subscriber live without the flag, unless it asks for it", async () => {
		const door = await open();
		const plain = await got(door, "t", 0);
		const asking = await door.client({ protocolVersion: 5 });
		const flags: boolean[] = [];
		asking.on("message", (_topic, _payload, each) => flags.push(each.retain));
		await asking.subscribeAsync("t", { qos: 1, rap: true });
		const publisher = await door.client();
		await publisher.publishAsync("t", "1", { qos: 1, retain: true });
		await publisher.publishAsync("t", "2", { qos: 1 });
		await expect.poll(() => [plain.packets.length, flags.length]).toEqual([2, 2]);
		expect(plain.packets.map((each) => each.retain)).toEqual([false, false]);
		expect(flags).toEqual([true, false]);
	});

	it("come by the thousand within a window of one, and nothing that is new comes twice", async () => {
		const door = await open({ maxRetainedMessages: 5000 });
		const publisher = await door.client({ protocolVersion: 5 });
		for (let i = 0; i < 1500; i++) publisher.publish(`d/${i}`, `${i}`, { qos: 0, retain: true });
		await publisher.publishAsync("d/last", "last", { qos: 1, retain: true });
		const { packets } = await got(door, "d/+", 1501, { properties: { receiveMaximum: 1 } });
		expect(new Set(packets.map((each) => each.topic)).size).toBe(1501);

		const subscriber = await door.client({ protocolVersion: 5, properties: { receiveMaximum: 1 } });
		const seen: string[] = [];
		subscriber.on("message", (topic, payload) => seen.push(`${topic}=${payload.toString()}`));
		await subscriber.subscribeAsync("d/+", { qos: 1 });
		await publisher.publishAsync("d/last", "newer", { qos: 1, retain: true });
		await expect.poll(() => seen.includes("d/last=newer"), { timeout: 10_000 }).toBe(true);
		await expect.poll(() => seen.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(1501);
		expect(seen.filter((each) => each === "d/last=newer").length).toBe(1);
	});

	it("under way to a kept session go on where they were, under their packet identifiers, after a crash too", async () => {
		const before = await open();
		const publisher = await before.client();
		for (const topic of ["r/1", "r/2", "r/3"]) await publisher.publishAsync(topic, topic, { qos: 2, retain: true });
		let raw = await before.socket();
		const window = Buffer.from("1100ffffff210002", "hex"); // session expiry, Receive Maximum 2
		raw.send(connect("s", { level: 5, clean: true, properties: window }));
		await raw.packet();
		raw.send(packet(0x82, 0, 1, 0, text("r/#"), 2));
		await raw.packet();
		const first = await raw.packet();
		const second = await raw.packet();
		expect([first[0], second[0]]).toEqual([0x35, 0x35]);
		const id = (publish: Buffer): Buffer => publish.subarray(7, 9);
		raw.send(packet(0x50, id(first)));
		expect((await raw.packet())[0]).toBe(0x62);
		const after = await killed(before);
		raw = await after.socket();
		raw.send(connect("s", { level: 5, clean: false, properties: window }));
		expect((await raw.packet())[2]).toBe(1);
		const next = [await raw.packet(), await raw.packet()].sort((a, b) => a[0]! - b[0]!);
		expect(next[0]?.toString("hex")).toBe(`3d${second.toString("hex").slice(2)}`);
		expect(next[1]?.toString("hex")).toBe(packet(0x62, id(first)).toString("hex"));
		raw.send(packet(0x70, id(first)), packet(0x50, id(second)));
		await raw.packet();
		raw.send(packet(0x70, id(second)));
		const third = await raw.packet();
		expect(third.toString("latin1")).toContain("r/3");
		expect(third[0]).toBe(0x35);
	});

	it("beyond mqtt.max.retained.messages are refused with the reason, and nothing is stored", async () => {
		const door = await open({ maxRetainedMessages: 1 });
		const raw = await door.socket();
		raw.send(connect("c", { level: 5 }));
		await raw.packet();
		raw.send(packet(0x33, text("a"), 0, 1, 0, Buffer.from("1")), packet(0x33, text("b"), 0, 2, 0, Buffer.from("1")));
		expect((await raw.packet()).toString("hex")).toBe("40020001");
		const refusal = await raw.packet();
		expect(refusal.subarray(2, 5).toString("hex")).toBe("000297");
		expect(refusal.toString()).toContain("mqtt.max.retained.messages");
		raw.send(packet(0x33, text("a"), 0, 3, 0, Buffer.from("2")));
		expect((await raw.packet()).toString("hex")).toBe("40020003");
		expect((await door.records("mqtt")).map((record) => record.value?.toString())).toEqual(["1", "2"]);
	});

	it("are refused where there are none to be", async () => {
		const door = await open({ maxRetainedMessages: 0 });
		const raw = await door.socket();
		raw.send(connect("c", { level: 5 }));
		expect((await raw.packet()).toString("hex")).toContain("2500");
		raw.send(packet(0x31, text("a"), 0, Buffer.from("1")));
		expect((await raw.rest()).toString("hex")).toMatch(/^e0..9a/);
	});
});

import type { MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { pickPartition } from "../../../src/broker/pick-partition.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../../src/record/builder.ts";
import { connect, packet, TestDoor, text } from "./door.ts";

let test: TestDoor;
afterEach(() => test.close());

interface Received {
	topic: string;
	payload: string;
	qos: number;
	properties: object | undefined;
}

/** What the client receives, as it comes; `wait` until there are so many. */
function receiving(client: MqttClient): { all: Received[]; wait(count: number): Promise<Received[]> } {
	const all: Received[] = [];
	let wake: (() => void) | undefined;
	client.on("message", (topic, payload, { qos, properties }) => {
		all.push({ topic, payload: payload.toString(), qos, properties });
		wake?.();
	});
	return {
		all,
		async wait(count) {
			while (all.length < count) await new Promise<void>((resolve) => (wake = resolve));
			return all;
		},
	};
}

describe("delivery", () => {
	it.each([3, 4, 5] as const)("to a client of protocol level %i has the lower of both QoS", async (protocolVersion) => {
		test = await TestDoor.open();
		const options = protocolVersion === 3 ? { protocolId: "MQIsdp" as const, protocolVersion } : { protocolVersion };
		const subscriber = await test.client(options);
		const publisher = await test.client();
		const received = receiving(subscriber);
		for (const granted of [0, 1, 2] as const) await subscriber.subscribeAsync(`q${granted}/#`, { qos: granted });
		for (const granted of [0, 1, 2]) {
			for (const qos of [0, 1, 2] as const) await publisher.publishAsync(`q${granted}/x`, `${qos}`, { qos });
		}
		const all = await received.wait(9);
		for (const { topic, payload, qos } of all) expect(qos).toBe(Math.min(Number(topic[1]), Number(payload)));
		for (const granted of [0, 1, 2]) {
			expect(all.filter(({ topic }) => topic === `q${granted}/x`).map(({ payload }) => payload)).toEqual([
				"0",
				"1",
				"2",
			]);
		}
	});

	it("comes once for overlapping subscriptions, with every identifier and the properties of the publisher", async () => {
		test = await TestDoor.open();
		const subscriber = await test.client({ protocolVersion: 5 });
		const received = receiving(subscriber);
		await subscriber.subscribeAsync("a/+", { qos: 0, properties: { subscriptionIdentifier: 7 } });
		await subscriber.subscribeAsync("a/#", { qos: 2, properties: { subscriptionIdentifier: 300 } });
		const publisher = await test.client({ protocolVersion: 5 });
		await publisher.publishAsync("a/b", "x", {
			qos: 1,
			properties: {
				contentType: "t",
				messageExpiryInterval: 60,
				userProperties: { k: ["1", "2"] },
				correlationData: Buffer.of(9),
			},
		});
		await publisher.publishAsync("a/c", "end", { qos: 1 });
		const all = await received.wait(2);
		expect(all.map(({ payload }) => payload)).toEqual(["x", "end"]);
		expect(all[0]!.qos).toBe(1);
		expect(all[0]!.properties).toMatchObject({
			contentType: "t",
			messageExpiryInterval: 60,
			correlationData: Buffer.of(9),
		});
		expect({ ...(all[0]!.properties as { userProperties: object }).userProperties }).toEqual({ k: ["1", "2"] });
		const identifiers = (all[0]!.properties as { subscriptionIdentifier: number[] }).subscriptionIdentifier;
		expect([...identifiers].sort((a, b) => a - b)).toEqual([7, 300]);
	});

	it("does not reach its own publisher with No Local, nor anybody after UNSUBSCRIBE", async () => {
		test = await TestDoor.open();
		const client = await test.client({ protocolVersion: 5, clientId: "self" });
		const received = receiving(client);
		await client.subscribeAsync("a", { qos: 1, nl: true });
		await client.subscribeAsync("b", { qos: 1 });
		await client.publishAsync("a", "mine", { qos: 1 });
		await client.publishAsync("b", "mine too", { qos: 1 });
		const other = await test.client();
		await received.wait(1);
		await other.publishAsync("a", "other's", { qos: 1 });
		await received.wait(2);
		await client.unsubscribeAsync("a");
		await other.publishAsync("a", "late", { qos: 1 });
		await other.publishAsync("b", "end", { qos: 1 });
		expect((await received.wait(3)).map(({ payload }) => payload)).toEqual(["mine too", "other's", "end"]);
	});

	it("brings records of other doors under the topic of their route", async () => {
		test = await TestDoor.open();
		const subscriber = await test.client({ protocolVersion: 5 });
		const received = receiving(subscriber);
		await subscriber.subscribeAsync("sensors/#", { qos: 1 });
		await subscriber.subscribeAsync("telemetry/#", { qos: 1 });
		const topic = test.broker.topics.create({ name: "telemetry" });
		const produce = (key: string, headers: [string, string][]) => {
			const block = encodeHeadersBlock(headers.map(([name, value]) => ({ key: name, value: Buffer.from(value) })));
			const partition = pickPartition(topic, Buffer.from(key));
			partition.appendRecord(Date.now(), encodeKeyBlock(Buffer.from(key)), Buffer.from("v"), 0, 1, block);
		};
		produce("dev7", [["site", "north"]]);
		await received.wait(1);
		produce("dev8", []);
		await received.wait(2);
		produce("dev9", [["mqtt.topic", "not/of/this/route"]]);
		produce("dev9", [["mqtt.topic", "sensors/s/dev9/telemetry"]]);
		const all = await received.wait(3);
		expect(all.map((each) => each.topic)).toEqual([
			"sensors/north/dev7/telemetry",
			"telemetry/dev8",
			"sensors/s/dev9/telemetry",
		]);
		expect({ ...(all[0]!.properties as { userProperties: object }).userProperties }).toEqual({ site: "north" });
	});

	it("to a window of one loses nothing, repeats nothing and keeps the order", async () => {
		test = await TestDoor.open({ maxInflight: 1 });
		const subscriber = await test.client({ protocolVersion: 5, properties: { receiveMaximum: 1 } });
		const received = receiving(subscriber);
		await subscriber.subscribeAsync("a", { qos: 2 });
		const publisher = await test.client();
		const all = Array.from({ length: 300 }, (_, i) => `${i}`);
		await Promise.all(all.map((each) => publisher.publishAsync("a", each, { qos: each.endsWith("5") ? 2 : 1 })));
		expect((await received.wait(300)).map(({ payload }) => payload)).toEqual(all);
	});

	it("to a subscriber that stops reading waits in the log, disturbs nobody, and is complete when it reads again", async () => {
		test = await TestDoor.open();
		const raw = await test.socket();
		raw.send(connect("lazy"), packet(0x82, 0, 1, text("a/#"), 0));
		await raw.packet();
		await raw.packet();
		raw.socket.pause();
		const eager = receiving(
			await test.client().then(async (client) => {
				await client.subscribeAsync("a/#", { qos: 1 });
				return client;
			}),
		);
		const publisher = await test.client();
		const filler = "x".repeat(90_000);
		const count = 160; // 14 MB: far beyond what sockets hold
		for (let i = 0; i < count; i++) await publisher.publishAsync("a/b", `${i} ${filler}`, { qos: 1 });
		await eager.wait(count);
		const held = [...test.door.engine.connections].reduce((sum, each) => sum + each.transport.unsentBytes, 0);
		expect(held).toBeLessThan(400_000);
		raw.socket.resume();
		for (let i = 0; i < count; i++) {
			const head = await raw.take(4);
			const remaining = (head[1]! & 127) | ((head[2]! & 127) << 7) | (head[3]! << 14);
			const body = await raw.take(remaining);
			expect(body.toString("latin1", 5, body.indexOf(" "))).toBe(`${i}`);
		}
	});

	it("goes on where a kept session left, over reconnect and restart: nothing lost, nothing new twice", async () => {
		test = await TestDoor.open();
		const subscribe = packet(0x82, 0, 1, text("a"), 2);
		let raw = await test.socket();
		raw.send(connect("s", { clean: false }), subscribe);
		expect((await raw.packet()).toString("hex")).toBe("20020000");
		await raw.packet();
		const publisher = await test.client();
		await publisher.publishAsync("a", "first", { qos: 1 });
		await publisher.publishAsync("a", "second", { qos: 2 });
		const first = await raw.packet();
		const second = await raw.packet();
		expect([first.at(-1), second[0]]).toEqual(["t".charCodeAt(0), 0x34]);
		const id = (sent: Buffer): Buffer => sent.subarray(5, 7);
		raw.send(packet(0x40, id(first)));
		raw.send(packet(0x50, id(second)));
		expect((await raw.packet()).toString("hex")).toBe(packet(0x62, id(second)).toString("hex"));
		await publisher.publishAsync("a", "third", { qos: 1 });
		const third = await raw.packet();
		raw.socket.destroy();
		await raw.rest();
		await new Promise<void>((resolve) => {
			const look = (): void => void (test.door.engine.clients.has("s") ? setImmediate(look) : resolve());
			look();
		});
		await publisher.publishAsync("a", "dropped", { qos: 0 });
		await publisher.publishAsync("a", "fourth", { qos: 1 });
		await test.stop();
		await test.start();
		raw = await test.socket();
		raw.send(connect("s", { clean: false }));
		expect((await raw.packet()).toString("hex")).toBe("20020100");
		const resent = [await raw.packet(), await raw.packet()];
		const again = resent.find((each) => each[0] === 0x3a)!;
		expect(resent.map((each) => each.toString("hex"))).toContain(packet(0x62, id(second)).toString("hex"));
		expect(again.subarray(1).toString("hex")).toBe(third.subarray(1).toString("hex"));
		const fourth = await raw.packet();
		expect([fourth[0], fourth.toString("latin1", 7)]).toEqual([0x32, "fourth"]);
		raw.send(packet(0x70, id(second)), packet(0x40, id(third)), packet(0x40, id(fourth)));
		raw.send(packet(0xc0));
		expect((await raw.packet()).toString("hex")).toBe("d000");
	});

	it("forgets a session that is not kept, that has expired, or whose client starts clean", async () => {
		test = await TestDoor.open();
		const present = async (bytes: Buffer): Promise<boolean> => {
			const raw = await test.socket();
			raw.send(bytes);
			const connack = await raw.packet();
			raw.send(packet(0xe0));
			await raw.rest();
			return connack[2] === 1;
		};
		const expiring = Buffer.from("110000000a", "hex");
		const kept = (clean: boolean) => connect("s", { level: 5, clean, properties: expiring });
		expect(await present(kept(false))).toBe(false);
		expect(await present(kept(false))).toBe(true);
		expect(await present(kept(true))).toBe(false);
		test.clock.advance(9000);
		expect(await present(kept(false))).toBe(true);
		test.clock.advance(11_000);
		expect(await present(kept(false))).toBe(false);
		expect(await present(connect("t", { level: 5, clean: false }))).toBe(false);
		expect(await present(connect("t", { level: 5, clean: false }))).toBe(false);
	});
});

/** What routes do beyond naming a topic, over the real door: subscribers, sessions and answers. */
import type { IPublishPacket, MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { connect, packet, publish, type RawSocket, TestDoor, text } from "./door.ts";

const doors: TestDoor[] = [];
afterEach(async () => {
	for (const door of doors.splice(0)) await door.close();
});

async function open(routes: Parameters<typeof TestDoor.open>[0] & object): Promise<TestDoor> {
	const door = await TestDoor.open(routes);
	doors.push(door);
	return door;
}

interface Arrived {
	readonly topic: string;
	readonly payload: string;
	readonly packet: IPublishPacket;
}

function gather(client: MqttClient): Arrived[] {
	const arrived: Arrived[] = [];
	client.on("message", (topic, payload, from) => arrived.push({ topic, payload: payload.toString(), packet: from }));
	return arrived;
}

const brief = (arrived: readonly Arrived[]) => arrived.map(({ topic, payload }) => `${topic} ${payload}`);

/** PUBLISH packets up to the answer to a PINGREQ, each acknowledged, as topic and payload. */
async function deliveries(raw: RawSocket): Promise<string[]> {
	raw.send(packet(0xc0));
	const found: string[] = [];
	for (;;) {
		const next = await raw.packet();
		if (next[0] === 0xd0) return found;
		const end = 4 + next.readUInt16BE(2);
		raw.send(packet(0x40, next.subarray(end, end + 2)));
		found.push(`${next.toString("utf8", 4, end)} ${next.toString("utf8", end + 2)}`);
	}
}

describe("a route that continues", () => {
	const routes = [
		{ filter: "s/#", topic: "events", key: "{topic}", continue: true },
		{ filter: "s/{device}", topic: "archive", key: "{device}" },
		{ filter: "#", topic: "rest" },
	];

	it("gives subscribers the event once, live and later, and each topic a record of its own", async () => {
		const door = await open({ routes });
		const away = await door.socket();
		away.send(connect("away", { clean: false }), packet(0x82, 0, 1, text("s/#"), 1));
		await away.packet();
		await away.packet();
		away.socket.destroy();
		const live = await door.client();
		const arrived = gather(live);
		await live.subscribeAsync("#", { qos: 2 });
		const publisher = await door.client();
		for (let i = 0; i < 4; i++) await publisher.publishAsync("s/d", `${i}`, { qos: i === 3 ? 2 : 1 });
		await publisher.publishAsync("end", "", { qos: 1 });
		await expect.poll(() => arrived.at(-1)?.topic).toBe("end");
		expect(brief(arrived)).toEqual(["s/d 0", "s/d 1", "s/d 2", "s/d 3", "end "]);
		for (const [topic, key, marked] of [
			["events", "s/d", 0],
			["archive", "d", 4],
		] as const) {
			const records = await door.records(topic);
			expect(records.map((record) => `${record.key} ${record.value}`)).toEqual([0, 1, 2, 3].map((i) => `${key} ${i}`));
			const copies = records.filter(({ headers }) => headers.some((header) => header.key === "mqtt.copy"));
			expect(copies.length).toBe(marked);
		}
		const back = await door.socket();
		back.send(connect("away", { clean: false }));
		expect((await back.packet()).toString("hex")).toBe("20020100");
		const later: string[] = [];
		await expect.poll(async () => later.push(...(await deliveries(back)))).toBe(4);
		expect(later).toEqual(["s/d 0", "s/d 1", "s/d 2", "s/d 3"]);
		expect(await deliveries(back)).toEqual([]);
	});

	it("has all of an acknowledged publish in the log of a gateway that is killed", async () => {
		const door = await open({ routes });
		const publisher = await door.client();
		for (let i = 0; i < 20; i++) publisher.publish("s/d", `${i}`, { qos: i % 2 === 0 ? 1 : 2 });
		await publisher.publishAsync("s/d", "last", { qos: 2 });
		const after = await door.killed();
		doors.push(after);
		const values = async (topic: string) => (await after.records(topic)).map(({ value }) => value?.toString());
		expect((await values("events")).at(-1)).toBe("last");
		expect(await values("archive")).toEqual(await values("events"));
	});
});

describe("a rewritten topic", () => {
	const routes = [
		{ filter: "s/{site}/{device}", topic: "t", rewrite: "plant/{device}/{site}" },
		{ filter: "x/{y}", topic: "u", rewrite: "{y}" },
		{ filter: "#", topic: "rest" },
	];

	it("is the one that subscribers, later ones and retained messages have", async () => {
		const door = await open({ routes });
		const client = await door.client();
		const arrived = gather(client);
		await client.subscribeAsync({ "plant/+/n": { qos: 1 }, "s/#": { qos: 1 }, end: { qos: 1 } });
		await client.publishAsync("s/n/d", "1", { qos: 1 });
		await client.publishAsync("s/n/d", "2", { qos: 1, retain: true });
		await client.publishAsync("end", "", { qos: 1 });
		await expect.poll(() => arrived.at(-1)?.topic).toBe("end");
		expect(brief(arrived)).toEqual(["plant/d/n 1", "plant/d/n 2", "end "]);
		const late = await door.client();
		const retained = gather(late);
		await late.subscribeAsync("#", { qos: 1 });
		await expect.poll(() => brief(retained)).toEqual(["plant/d/n 2"]);
		expect(retained[0]!.packet.retain).toBe(true);
	});

	it("that is no topic name refuses the publish, in order with what is stored", async () => {
		const door = await open({ routes });
		const raw = await door.socket();
		const publish5 = (topic: string, id: number) => packet(0x32, text(topic), 0, id, 0, Buffer.from("p"));
		raw.send(
			connect("c", { level: 5 }),
			publish5("x/a", 1),
			publish5("x/", 2),
			publish5("x/$SYS", 3),
			publish5("x/a", 4),
		);
		await raw.packet();
		expect((await raw.packet()).toString("hex")).toBe("40020001");
		expect((await raw.packet()).subarray(2, 5).toString("hex")).toBe("000290");
		expect((await raw.packet()).subarray(2, 5).toString("hex")).toBe("000390");
		expect((await raw.packet()).toString("hex")).toBe("40020004");
		expect((await door.records("u")).length).toBe(2);
	});
});

describe("a key out of the payload", () => {
	it("is looked for in every publish of a topic", async () => {
		const door = await open({ routes: [{ filter: "#", topic: "t", key: "{json.id}" }] });
		const raw = await door.socket();
		const ids = Array.from({ length: 50 }, (_, i) => i % 7);
		raw.send(connect("c"), ...ids.map((id, i) => publish(0x32, "same/topic", i + 1, `{"id":${id}}`)));
		await raw.packet();
		for (const _ of ids) await raw.packet();
		const records = await door.records("t");
		expect(records.length).toBe(50);
		for (const { key, value } of records) expect(value?.toString()).toBe(`{"id":${key}}`);
		expect(door.door.stats().routeFieldsMissing).toBe(0);
	});
});

describe("a compacted topic", () => {
	const routes = [
		{ filter: "copied/#", topic: "rest", continue: true },
		{ filter: "copied/#", topic: "newest" },
		{ filter: "field/#", topic: "newest", key: "{json.id}" },
		{ filter: "bare/#", topic: "newest" },
		{ filter: "#", topic: "rest" },
	];
	const compacted = async () => {
		const door = await open({ routes });
		door.broker.topics.create({ name: "newest", partitions: 1, config: { "cleanup.policy": "compact" } });
		return door;
	};
	const publish5 = (first: number, topic: string, packetId: number, payload: string) =>
		packet(first, text(topic), packetId >> 8, packetId & 255, 0, Buffer.from(payload));

	it("takes no event without a key, by whatever way, and the connection goes on", async () => {
		const door = await compacted();
		const raw = await door.socket();
		raw.send(
			connect("c", { level: 5 }),
			publish5(0x32, "bare/a", 1, "x"),
			publish5(0x34, "bare/a", 2, "x"),
			publish5(0x33, "bare/a", 3, "x"),
			publish5(0x32, "field/a", 4, "no JSON"),
			publish5(0x32, "copied/a", 5, "x"),
			packet(0x30, text("bare/a"), 0, Buffer.from("x")),
			publish5(0x32, "field/a", 6, '{"id":"k"}'),
			publish5(0x32, "other", 7, "x"),
		);
		await raw.packet();
		const refused = (first: number, id: number) => Buffer.from([first, 0, id, 0x83]).toString("hex");
		const answers = [];
		for (let i = 0; i < 7; i++) {
			const answer = await raw.packet();
			answers.push(Buffer.concat([answer.subarray(0, 1), answer.subarray(2, 5)]).toString("hex"));
		}
		expect(answers).toEqual([
			...[1, 2, 3, 4, 5].map((id) => refused(id === 2 ? 0x50 : 0x40, id)),
			Buffer.from([0x40, 0, 6]).toString("hex"),
			Buffer.from([0x40, 0, 7]).toString("hex"),
		]);
		expect((await door.records("newest")).map(({ key }) => key?.toString())).toEqual(["k"]);
		expect((await door.records("rest")).length).toBe(1);
		expect(door.door.stats()).toMatchObject({ refusedPublishes: 5, droppedQos0: 1 });
	});

	it("ends an older client's connection for one, drops a will, and the gateway goes on", async () => {
		const door = await compacted();
		const will = { topic: "bare/gone", payload: Buffer.from("gone"), qos: 1 as const, retain: false };
		const client = await door.client({ clientId: "c", will });
		const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
		client.publish("bare/a", "x", { qos: 1 });
		await closed;
		const raw = await door.socket();
		raw.send(connect("d"), publish(0x32, "other", 1, "x"));
		await raw.packet();
		expect((await raw.packet()).toString("hex")).toBe("40020001");
		expect((await door.records("newest")).length).toBe(0);
		expect(door.door.stats()).toMatchObject({ refusedPublishes: 1 });
	});
});

describe("durability: memory", () => {
	const routes = [
		{ filter: "chat/#", durability: "memory" as const },
		{ filter: "#", topic: "rest" },
	];

	it("reaches who is subscribed now, with all that MQTT 5 has, and is stored nowhere", async () => {
		const door = await open({ routes });
		const [subscriber, publisher] = [
			await door.client({ protocolVersion: 5 }),
			await door.client({ protocolVersion: 5 }),
		];
		const arrived = gather(subscriber);
		const own = gather(publisher);
		await subscriber.subscribeAsync("chat/+", { qos: 2, rap: true, properties: { subscriptionIdentifier: 7 } });
		await publisher.subscribeAsync("chat/+", { qos: 2, nl: true });
		const properties = { messageExpiryInterval: 60, contentType: "text", userProperties: { a: ["1", "2"] } };
		for (const qos of [0, 1, 2] as const) await publisher.publishAsync("chat/a", `${qos}`, { qos, properties });
		await publisher.publishAsync("chat/a", "r", { qos: 1, retain: true });
		await expect.poll(() => arrived.length).toBe(4);
		expect(arrived.map(({ payload, packet: from }) => [payload, from.qos, from.retain])).toEqual([
			["0", 0, false],
			["1", 1, false],
			["2", 2, false],
			["r", 1, true],
		]);
		expect(arrived[2]!.packet.properties).toMatchObject({ ...properties, subscriptionIdentifier: 7 });
		expect(own).toEqual([]);
		expect(door.broker.topics.list()).toEqual([]);
	});

	it("is acknowledged in order with what is stored, and once at QoS 2", async () => {
		const door = await open({ routes });
		const subscriber = await door.client();
		const arrived = gather(subscriber);
		await subscriber.subscribeAsync("#", { qos: 1 });
		const raw = await door.socket();
		raw.send(
			connect("c"),
			publish(0x32, "chat/a", 1, "p"),
			publish(0x32, "stored", 2, "p"),
			publish(0x34, "chat/a", 3, "q"),
			publish(0x3c, "chat/a", 3, "q"),
			publish(0x32, "chat/a", 4, "p"),
		);
		await raw.packet();
		const answers: string[] = [];
		for (let i = 0; i < 5; i++) answers.push((await raw.packet()).toString("hex"));
		expect(answers).toEqual(["40020001", "40020002", "50020003", "50020003", "40020004"]);
		await expect.poll(() => arrived.length).toBe(4);
		expect(arrived.filter(({ topic }) => topic === "chat/a").map(({ payload }) => payload)).toEqual(["p", "q", "p"]);
	});
});

describe("qos0: drop-under-pressure", () => {
	it("drops while memory is short, and says how many", async () => {
		const routes = [
			{ filter: "c", topic: "chatter", qos0: "drop-under-pressure" as const },
			{ filter: "#", topic: "rest" },
		];
		const door = await open({ routes });
		const client = await door.client();
		const most = door.broker.pressure.budgetBytes / 2 + 1;
		const values = async () => (await door.records("chatter")).map(({ value }) => value?.toString());
		await client.publishAsync("c", "before", { qos: 0 });
		await client.publishAsync("c", "one", { qos: 1 });
		door.broker.pressure.add(most);
		await client.publishAsync("c", "dropped", { qos: 0 });
		await client.publishAsync("c", "two", { qos: 1 });
		door.broker.pressure.subtract(most);
		await client.publishAsync("c", "after", { qos: 0 });
		await client.publishAsync("c", "three", { qos: 1 });
		expect(await values()).toEqual(["before", "one", "two", "after", "three"]);
		expect(door.door.stats()).toMatchObject({ droppedQos0Pressure: 1, droppedQos0: 0 });
	});
});

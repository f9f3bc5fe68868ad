/** The bridge against another broker of MQTT 5: the gateway's own door. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { TestDoor } from "../mqtt/door.ts";
import { BridgedGateway, numbers, SiteBroker, until } from "./gateway.ts";

const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

afterEach(async () => {
	vi.restoreAllMocks();
	for (const one of open.splice(0).reverse()) await one.close();
});

const to = (port: number, more: object) => ({ name: "up", address: `mqtt://127.0.0.1:${port}`, ...more });

async function payloads(door: TestDoor, mqttTopic: string): Promise<string[]> {
	const records = await door.records("mqtt");
	return records
		.filter(({ headers }) => headers.some(({ key, value }) => key === "mqtt.topic" && String(value) === mqttTopic))
		.map(({ value }) => String(value));
}

async function send(door: TestDoor, topic: string, ...values: string[]): Promise<void> {
	const client = await door.client();
	for (const value of values) await client.publishAsync(topic, value, { qos: 1 });
	await client.endAsync();
}

describe("a bridge to a broker of MQTT 5", () => {
	it("passes both ways with the same filter, each event once", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { in: [{ filter: "#" }], out: [{ filter: "#" }] })));
		await gateway.connected();
		expect(gateway.status.protocol).toBe("MQTT 5");
		await gateway.until(() => remote.door.stats().subscriptions === 1, "the subscription");
		await gateway.publish("here", ...numbers(20));
		await send(remote, "there", ...numbers(20));
		await gateway.drained();
		await gateway.until(async () => (await gateway.stored("there")).length >= 20, "what came");
		// What would come back is behind this.
		await send(remote, "last", "x");
		await gateway.until(async () => (await gateway.stored("last")).length > 0, "the last");
		await gateway.drained();
		expect(await payloads(remote, "here")).toEqual(numbers(20));
		expect(await gateway.stored("here")).toEqual(numbers(20));
		expect(await payloads(remote, "there")).toEqual(numbers(20));
		expect(await gateway.stored("there")).toEqual(numbers(20));
		// No Local spares the way there and back.
		expect(gateway.status).toMatchObject({ looped: 0, received: 21 });
	});

	it("is to be seen below $SYS: connected or not, and how far it is behind", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		const client = await gateway.test.client();
		const seen = new Map<string, string>();
		client.on("message", (topic, payload) => seen.set(topic, payload.toString()));
		await client.subscribeAsync(["$SYS/broker/connection/+/state", "$SYS/broker/headwater/bridge/#"]);
		await until(() => seen.size === 3, "the topics");
		expect(Object.fromEntries(seen)).toEqual({
			"$SYS/broker/connection/up/state": "1",
			"$SYS/broker/headwater/bridge/up/lag": "0",
			"$SYS/broker/headwater/bridge/up/last-error": "",
		});
	});

	it("carries properties, counts expiry down, and says which gateway it was", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		const client = await gateway.test.client({ protocolVersion: 5 });
		const userProperties = { unit: "K" };
		await client.publishAsync("a", "1", {
			qos: 1,
			properties: { messageExpiryInterval: 100, contentType: "text/plain", userProperties },
		});
		await gateway.drained();
		const [record] = await remote.records("mqtt");
		const headers = record!.headers.map(({ key, value }) => [key, String(value)]);
		expect(headers).toContainEqual(["mqtt.content-type", "text/plain"]);
		expect(headers).toContainEqual(["mqtt.user.unit", "K"]);
		expect(headers.find(([key]) => key === "mqtt.user.headwater-bridge")?.[1]).toMatch(/^headwater-up@[0-9a-f]{16}$/);
		expect(Number(headers.find(([key]) => key === "mqtt.message-expiry")?.[1])).toBeLessThanOrEqual(100);
	});

	it("does not send what expired while the other broker was away", async () => {
		const remote = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		await remote.away();
		await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
		const client = await gateway.test.client({ protocolVersion: 5 });
		await client.publishAsync("a", "short", { qos: 1, properties: { messageExpiryInterval: 5 } });
		await client.publishAsync("a", "long", { qos: 1 });
		gateway.test.clock.advance(10_000);
		await remote.listen();
		await gateway.drained();
		expect(remote.payloads("a")).toEqual(["long"]);
		expect(gateway.status.expired).toBe(1);
	});

	it("passes over what is larger than the other broker takes", async () => {
		const remote = kept(await TestDoor.open({ maxPacketBytes: 500 }));
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		await gateway.publish("a", "small", "x".repeat(600), "small too");
		await gateway.drained();
		expect(await payloads(remote, "a")).toEqual(["small", "small too"]);
		expect(gateway.status.tooLarge).toBe(1);
	});

	it("keeps to the other's Receive Maximum", async () => {
		const remote = kept(await TestDoor.open({ receiveMaximum: 3 }));
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		await gateway.publish("a", ...numbers(200));
		await gateway.drained();
		expect(await payloads(remote, "a")).toEqual(numbers(200));
		// The door ends a connection that sends more.
		expect(gateway.status.connects).toBe(1);
	});

	it("cuts a loop of two gateways that send everything to each other", async () => {
		const other = kept(await BridgedGateway.open());
		const gateway = kept(await BridgedGateway.open(to(other.test.port, { out: [{ filter: "#" }] })));
		other.startBridges([to(gateway.test.port, { name: "down", out: [{ filter: "#" }] })]);
		await gateway.connected();
		await other.connected();
		await gateway.publish("a", "1");
		await gateway.until(() => gateway.status.looped > 0, "the loop to be noticed");
		await gateway.drained();
		// Once its own, once as the other sent it; then it ends.
		expect(await gateway.stored("a")).toEqual(["1", "1"]);
		expect(await other.stored("a")).toEqual(["1"]);
	});

	it("takes part in events made in new topics from their start, and of new partitions", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		// The topics are made by these very events.
		await gateway.publish("sensors/s/d/telemetry", ...numbers(5));
		await gateway.drained();
		gateway.test.broker.topics.alter("telemetry", { partitions: 8 });
		for (let i = 0; i < 20; i++) await gateway.publish(`sensors/s/d${i}/telemetry`, "x");
		await gateway.drained();
		expect(await remote.records("telemetry")).toHaveLength(25);
	});

	it("sends neither its past nor anything twice over an orderly restart, unless a new rule asks for it", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open());
		await gateway.publish("a", "before");
		await gateway.restart([to(remote.port, { out: [{ filter: "#" }] })]);
		await gateway.connected();
		await gateway.publish("a", "1");
		await gateway.drained();
		await gateway.restart([to(remote.port, { out: [{ filter: "#" }] })]);
		await gateway.publish("a", "2");
		await gateway.drained();
		expect(await payloads(remote, "a")).toEqual(["1", "2"]);
		await gateway.restart([to(remote.port, { out: [{ filter: "#", "remote.prefix": "all/", from: "earliest" }] })]);
		await gateway.drained();
		expect(await payloads(remote, "all/a")).toEqual(["before", "1", "2"]);
	});

	it("counts what retention took before it was sent, and sends the rest", async () => {
		const remote = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		const { broker } = gateway.test;
		broker.topics.create({ name: "mqtt", partitions: 1, config: { "segment.bytes": "1048576" } });
		await gateway.connected();
		await remote.away();
		await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
		const filler = "x".repeat(90_000);
		for (let i = 0; i < 30; i++) await gateway.publish("a", `${i} ${filler}`);
		await broker.log.checkpoint();
		broker.topics.alter("mqtt", { set: { "retention.bytes": "1000000" } });
		broker.enforceRetention();
		const lost = broker.topics.get("mqtt")!.partitions[0]!.logStartOffset;
		expect(lost).toBeGreaterThan(0);
		await remote.listen();
		await gateway.drained();
		expect(gateway.status.overtakenByRetention).toBe(lost);
		expect(remote.payloads("a").map((payload) => payload.split(" ")[0])).toEqual(numbers(30 - lost, lost));
	});

	it("after a crash sends all that was not acknowledged, none that was noted", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { out: [{ filter: "#" }] })));
		await gateway.connected();
		await gateway.publish("a", ...numbers(10));
		await gateway.drained();
		await gateway.until(async () => {
			gateway.test.clock.advance(1000);
			await gateway.test.broker.log.whenCommitted();
			return gateway.test.broker.log.idle;
		}, "its place to be written");
		await gateway.publish("b", ...numbers(3));
		const next = kept(await gateway.killed());
		await next.drained();
		expect(await payloads(remote, "a")).toEqual(numbers(10));
		expect(new Set(await payloads(remote, "b"))).toEqual(new Set(numbers(3)));
	});
});

describe("what comes over a bridge", () => {
	it("is acknowledged only when it is durable", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(site.port, { in: [{ filter: "#" }] })));
		let acknowledged = 0;
		site.aedes.on("ack", () => acknowledged++);
		await gateway.connected();
		await site.subscribed();
		await site.publish("warm", "up");
		await gateway.until(() => acknowledged === 1, "the first acknowledgement");
		const gate = Promise.withResolvers<void>();
		const { journal } = gateway.test.broker.log.services;
		const sync = journal.sync.bind(journal);
		vi.spyOn(journal, "sync").mockImplementation(async () => {
			await gate.promise;
			await sync();
		});
		await site.publish("a", "1");
		await until(() => gateway.status.received === 2, "the event to come");
		// Everything that could answer has run; the disk has not.
		for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
		expect(acknowledged).toBe(1);
		expect(gateway.status.stored).toBe(1);
		gate.resolve();
		await until(() => acknowledged === 2, "the acknowledgement");
		expect(await gateway.stored("a")).toEqual(["1"]);
	});

	it("comes again after a crash before the commit", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(site.port, { in: [{ filter: "#" }] })));
		await gateway.connected();
		await site.subscribed();
		const gate = Promise.withResolvers<void>();
		const { journal } = gateway.test.broker.log.services;
		const sync = journal.sync.bind(journal);
		const held = vi.spyOn(journal, "sync").mockImplementation(async () => {
			await gate.promise;
			await sync();
		});
		// The journal's bytes may be in the file; what counts is that nobody was told.
		const write = vi.spyOn(journal, "write").mockImplementation(() => 0);
		await site.publish("a", "1");
		await until(() => gateway.status.received === 1 && held.mock.calls.length > 0, "the event to be in the commit");
		const next = kept(await gateway.killed());
		await next.until(async () => (await next.stored("a")).length === 1, "the event to come again");
		expect(await next.stored("a")).toEqual(["1"]);
		write.mockRestore();
		gate.resolve();
	});

	it("is not read while the memory budget is used up", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(site.port, { in: [{ filter: "#" }] })));
		await gateway.connected();
		await site.subscribed();
		const other = kept(await BridgedGateway.open(to(site.port, { name: "other", in: [{ filter: "#" }] })));
		const { pressure } = gateway.test.broker;
		await until(async () => {
			await site.publish("warm", "up");
			return gateway.status.stored > 0 && other.status.stored > 0;
		}, "both bridges to be in");
		const before = gateway.status.received;
		pressure.hold();
		// What comes first finds the budget used up; the rest stays in the socket.
		await site.publish("a", "1");
		await until(() => gateway.status.received > before, "the first event");
		const stopped = gateway.status.received;
		for (const payload of numbers(20)) await site.publish("a", payload);
		// Who reads has all of them.
		await until(async () => (await other.stored("a")).length === 21, "the other gateway");
		expect(gateway.status.received).toBe(stopped);
		pressure.letGo();
		await until(async () => (await gateway.stored("a")).length === 21, "the others");
	});

	it("is not acknowledged while the disk is full; the connection is tried again", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(site.port, { in: [{ filter: "#" }] })));
		await gateway.connected();
		await site.subscribed();
		await site.publish("warm", "up");
		await gateway.until(async () => (await gateway.stored("warm")).length === 1, "the first event");
		const { journal } = gateway.test.broker.log.services;
		const full = vi.spyOn(journal, "makeRoom").mockImplementation(() => {
			throw Object.assign(new Error("no space"), { code: "ENOSPC" });
		});
		await site.publish("a", "1");
		await until(() => gateway.test.broker.log.refusal !== undefined, "the disk to be found full");
		await site.publish("a", "2");
		await until(() => gateway.status.state === "waiting", "the bridge to give up for now");
		expect(gateway.status.reason).toContain("the disk is full");
		full.mockRestore();
		await gateway.until(async () => new Set(await gateway.stored("a")).size === 2, "both events");
	});

	it("is acknowledged and counted where it is not taken", async () => {
		const remote = kept(await TestDoor.open());
		const gateway = kept(await BridgedGateway.open(to(remote.port, { in: [{ filter: "+/#" }] })));
		await gateway.connected();
		await gateway.until(() => remote.door.stats().subscriptions === 1, "the subscription");
		await send(remote, "a", "x".repeat(90_000), "2");
		await gateway.until(async () => (await gateway.stored("a")).length === 2, "the events");
		gateway.test.broker.topics.alter("mqtt", { set: { "max.message.bytes": "1000" } });
		await send(remote, "a", "y".repeat(5000), "4");
		await gateway.until(async () => (await gateway.stored("a")).at(-1) === "4", "the one behind it");
		expect(gateway.status.refused).toBe(1);
		expect(gateway.status.connects).toBe(1);
	});

	it("is acknowledged without its payload where a broker of 3.1.1 sends more than is read", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(to(site.port, { in: [{ filter: "#" }] })));
		await gateway.connected();
		await site.subscribed();
		await site.publish("a", "x".repeat(3_000_000));
		await site.publish("a", "behind it");
		await gateway.until(async () => (await gateway.stored("a")).length === 1, "the one behind it");
		expect(await gateway.stored("a")).toEqual(["behind it"]);
		expect(gateway.status).toMatchObject({ refused: 1, connects: 1 });
	});

	it("keeps RETAIN, and retained messages do not come again with every connection", async () => {
		const remote = kept(await TestDoor.open());
		const publisher = await remote.client();
		await publisher.publishAsync("state", "on", { qos: 1, retain: true });
		const gateway = kept(await BridgedGateway.open(to(remote.port, { in: [{ filter: "#" }] })));
		await gateway.until(async () => (await gateway.stored("state")).length > 0, "the retained message");
		const [record] = await gateway.test.records("mqtt");
		expect(record!.headers.map(({ key, value }) => [key, String(value)])).toContainEqual(["mqtt.retain", "1"]);
		await gateway.restart();
		await gateway.connected();
		await publisher.publishAsync("other", "behind", { qos: 1 });
		await gateway.until(async () => (await gateway.stored("other")).length > 0, "the one behind it");
		expect(await gateway.stored("state")).toEqual(["on"]);
	});
});

/** The bridge against another broker that speaks MQTT 3.1.1. */
import { afterEach, describe, expect, it } from "vitest";
import { BridgedGateway, numbers, SiteBroker, until } from "./gateway.ts";

const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

afterEach(async () => {
	for (const one of open.splice(0).reverse()) await one.close();
});

const bridge = (site: SiteBroker, more: object) => ({
	name: "site",
	address: `mqtt://127.0.0.1:${site.port}`,
	...more,
});

describe("a bridge to a broker of MQTT 3.1.1", () => {
	it("falls back to its version, and stores what comes under the local prefix", async () => {
		const site = kept(await SiteBroker.open());
		const rule = { filter: "sensors/#", "remote.prefix": "plant/", "local.prefix": "site1/" };
		const gateway = kept(await BridgedGateway.open(bridge(site, { in: [rule] })));
		await gateway.connected();
		expect(gateway.status.protocol).toBe("MQTT 3.1.1 (bridge)");
		await site.subscribed();
		await site.publish("plant/other", "not asked for");
		await site.publish("plant/sensors/b", "1");
		await until(async () => (await gateway.stored("site1/sensors/b")).length > 0, "the event");
		expect(await gateway.stored("site1/sensors/b")).toEqual(["1"]);
		expect(await gateway.stored("plant/other")).toEqual([]);
	});

	it("sends what is stored, in order, under the remote prefix", async () => {
		const site = kept(await SiteBroker.open());
		const rule = { filter: "commands/#", "remote.prefix": "gw7/" };
		const gateway = kept(await BridgedGateway.open(bridge(site, { out: [rule] })));
		await gateway.connected();
		await gateway.publish("commands/a", ...numbers(50));
		await gateway.publish("other/a", "not to be sent");
		await gateway.drained();
		expect(site.payloads("gw7/commands/a")).toEqual(numbers(50));
		expect(site.seen.some(({ topic }) => topic.includes("other"))).toBe(false);
	});

	it("gets retained messages once, and with RETAIN, however often it connects", async () => {
		const site = kept(await SiteBroker.open());
		await site.publish("state", "on", true);
		const gateway = kept(
			await BridgedGateway.open(bridge(site, { in: [{ filter: "#" }], out: [{ filter: "mine/#" }] })),
		);
		await gateway.until(async () => (await gateway.stored("state")).length > 0, "the retained message");
		const [record] = await gateway.test.records("mqtt");
		expect(record!.headers.map(({ key, value }) => [key, String(value)])).toContainEqual(["mqtt.retain", "1"]);
		await gateway.restart();
		await site.away();
		await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
		await site.listen();
		await gateway.connected();
		await site.publish("other", "behind");
		await gateway.until(async () => (await gateway.stored("other")).length > 0, "the one behind it");
		expect(await gateway.stored("state")).toEqual(["on"]);
		const client = await gateway.test.client();
		await client.publishAsync("mine/state", "off", { qos: 1, retain: true });
		await gateway.drained();
		expect(site.seen).toContainEqual({ topic: "mine/state", payload: "off", retain: true });
	});

	it("takes back the subscriptions of rules that are gone", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(bridge(site, { in: [{ filter: "old/#" }, { filter: "both/#" }] })));
		await gateway.connected();
		await site.subscribed();
		await site.publish("old/a", "1");
		await gateway.until(async () => (await gateway.stored("old/a")).length > 0, "the first event");
		const subscribed: string[] = [];
		const unsubscribed: string[] = [];
		site.aedes.on("subscribe", (filters) => subscribed.push(...filters.map(({ topic }) => topic)));
		site.aedes.on("unsubscribe", (filters) => unsubscribed.push(...filters));
		await gateway.restart([bridge(site, { in: [{ filter: "new/#" }, { filter: "both/#" }] })]);
		await gateway.until(() => subscribed.length > 0 && unsubscribed.length > 0, "the change of subscriptions");
		expect(subscribed).toEqual(["new/#"]);
		expect(unsubscribed).toEqual(["old/#"]);
	});

	it("sends at QoS 0 where that is asked for, as fast as the socket takes it", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open());
		await gateway.publish("a", ...numbers(3000));
		gateway.startBridges([bridge(site, { qos: 0, out: [{ filter: "#", from: "earliest" }] })]);
		await until(() => site.payloads("a").length === 3000, "all events");
		expect(site.payloads("a")).toEqual(numbers(3000));
		expect(gateway.status).toMatchObject({ sent: 3000, acknowledged: 0, inflight: 0, lag: 0 });
	});

	it("does not get back what it sent, both ways with the same filter", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(bridge(site, { in: [{ filter: "#" }], out: [{ filter: "#" }] })));
		await gateway.connected();
		await site.subscribed();
		await gateway.publish("a", ...numbers(20));
		await gateway.drained();
		await site.publish("b", "behind");
		await gateway.until(async () => (await gateway.stored("b")).length > 0, "the one behind it");
		expect(await gateway.stored("a")).toEqual(numbers(20));
		expect(site.payloads("a")).toEqual(numbers(20));
		await gateway.drained();
		expect(site.payloads("b")).toEqual([]);
	});

	it("loses nothing of what was stored while the other broker was away", async () => {
		const site = kept(await SiteBroker.open());
		const gateway = kept(await BridgedGateway.open(bridge(site, { out: [{ filter: "#" }], in: [{ filter: "in/#" }] })));
		await gateway.connected();
		await gateway.publish("a", ...numbers(10));
		await gateway.drained();
		await site.away();
		await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
		await gateway.publish("a", ...numbers(3000, 10));
		await site.publish("in/x", "queued there");
		await site.listen();
		await gateway.drained();
		expect(site.payloads("a")).toEqual(numbers(3010));
		await gateway.until(async () => (await gateway.stored("in/x")).length > 0, "what was queued there");
	});
});

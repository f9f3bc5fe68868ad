/** A bridge whose backlog has left the gateway's own files: it waits for the object store, what is here goes on, and nothing is passed over. */
import { afterEach, expect, it } from "vitest";
import type { Partition } from "../../../src/log/partition.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { SimulatedTier } from "../../support/simulated-tier.ts";
import { BridgedGateway, numbers, SiteBroker } from "./gateway.ts";

const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

afterEach(async () => {
	for (const one of open.splice(0).reverse()) await one.close();
});

/** MQTT topics of either partition. */
const [FAR, NEAR] = [0, 1].map(
	(number) =>
		["w/0", "w/1", "w/2", "w/3", "w/4"].find((topic) => partitionForKey(Buffer.from(topic), 2) === number) ?? "",
) as [string, string];

/** Connected, and then without its site, where 100 events came of either kind; of FAR's the store alone has the first 80. */
async function withBacklog(order: "oldest-first" | "newest-first") {
	const site = kept(await SiteBroker.open());
	const address = `mqtt://127.0.0.1:${site.port}`;
	const gateway = kept(await BridgedGateway.open({ name: "s", address, out: [{ filter: "w/#", order }] }));
	const { broker, clock } = gateway.test;
	broker.topics.create({ name: "mqtt", partitions: 2 });
	const tier = new SimulatedTier(broker.log, clock);
	await gateway.connected();
	await site.away();
	await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
	for (const topic of [FAR, NEAR]) for (const each of numbers(100)) await gateway.publish(topic, each);
	const partition = broker.topics.get("mqtt")?.partitions[0] as Partition;
	broker.log.flush();
	await tier.copy(partition);
	tier.evict(partition, 80);
	return { site, gateway, tier, partition };
}

it.each(["oldest-first", "newest-first"] as const)(
	"sends what is here, %s, while the store is away, and the rest when it is back",
	async (order) => {
		const { site, gateway, tier, partition } = await withBacklog(order);
		tier.fail(partition);
		await site.listen();
		await gateway.until(() => site.payloads(NEAR).length === 100, "what is here");
		await gateway.publish(NEAR, "live");
		await gateway.until(() => site.payloads(NEAR).length === 101, "what comes");
		const asked = tier.asked.length;
		await gateway.until(() => tier.asked.length > asked, "another try");
		expect(gateway.status.lag).toBeGreaterThan(0);
		tier.recover();
		await gateway.drained();
		const far = site.payloads(FAR);
		expect(far.map(Number).sort((a, b) => a - b)).toEqual(numbers(100).map(Number));
		if (order === "oldest-first") expect(far).toEqual(numbers(100));
	},
);

it("does not hold up its other partitions with a read of a slow store", async () => {
	const { site, gateway, tier, partition } = await withBacklog("oldest-first");
	tier.hold(partition);
	await site.listen();
	await gateway.until(() => tier.waiting === 1 && site.payloads(NEAR).length === 100, "what is here");
	// Its patience comes to an end, and it asks again.
	const asked = tier.asked.length;
	await gateway.until(() => tier.asked.length > asked + 1, "another try");
	expect(site.payloads(FAR)).toEqual([]);
	tier.release();
	await gateway.drained();
	expect(site.payloads(FAR)).toEqual(numbers(100));
});

/** What Kafka's transactions mean to a bridge: it sends what was committed, in order, and nothing else. */
import { afterEach, expect, it } from "vitest";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { BridgedGateway, SiteBroker } from "./gateway.ts";

const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

afterEach(async () => {
	for (const one of open.splice(0).reverse()) await one.close();
});

it("sends a transaction's events after its commit, and none of an aborted one", async () => {
	const site = kept(await SiteBroker.open());
	const gateway = kept(
		await BridgedGateway.open({ name: "site", address: `mqtt://127.0.0.1:${site.port}`, out: [{ filter: "w/#" }] }),
	);
	await gateway.connected();
	await gateway.publish("w/1", "before");
	await gateway.drained();
	const { broker } = gateway.test;
	const [first, second] = [new TransactionalWriter(broker, "a"), new TransactionalWriter(broker, "b")];
	const partition = broker.topics.get("mqtt")?.partitions.find(({ highWatermark }) => highWatermark > 0);
	if (partition === undefined) throw new Error("nothing was stored");
	await first.write(partition, "w/1", "kept");
	await second.write(partition, "w/1", "never");
	await second.end("abort");
	await gateway.publish("w/1", "beside");
	await gateway.drained();
	expect(site.payloads("w/1")).toEqual(["before"]);
	await first.end("commit");
	await gateway.drained();
	expect(site.payloads("w/1")).toEqual(["before", "kept", "beside"]);
});

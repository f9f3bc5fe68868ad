/** Order newest-first: what comes now is not kept waiting by a backlog, and the backlog comes whole. */
import { afterEach, expect, it } from "vitest";
import { BridgedGateway, numbers, SiteBroker } from "./gateway.ts";

const open: { close(): Promise<void> }[] = [];
const kept = <T extends { close(): Promise<void> }>(one: T): T => {
	open.push(one);
	return one;
};

afterEach(async () => {
	for (const one of open.splice(0).reverse()) await one.close();
});

const CHUNK = 256;

it("sends the newest chunk of a backlog first, each in order, and all of it once", async () => {
	const site = kept(await SiteBroker.open());
	const rule = { filter: "#", order: "newest-first" };
	const gateway = kept(
		await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${site.port}`, "max.inflight": 20, out: [rule] }),
	);
	await gateway.connected();
	await site.away();
	await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
	await gateway.publish("a", ...numbers(1000));
	await site.listen();
	await gateway.drained();
	await gateway.publish("a", "live");
	await gateway.drained();
	const seen = site.payloads("a").map((payload) => (payload === "live" ? -1 : Number(payload)));
	expect(seen[0]).toBe(1000 - CHUNK);
	expect(seen.slice(0, CHUNK)).toEqual(numbers(CHUNK, 1000 - CHUNK).map(Number));
	expect(seen.at(-2)).toBe(1000 - 3 * CHUNK - 1);
	expect(seen.at(-1)).toBe(-1);
	expect(seen.slice(0, -1).sort((a, b) => a - b)).toEqual(numbers(1000).map(Number));
});

it("remembers over a restart what of the backlog is still to be sent", async () => {
	const site = kept(await SiteBroker.open());
	const rule = { filter: "#", order: "newest-first" };
	const gateway = kept(
		await BridgedGateway.open({ name: "s", address: `mqtt://127.0.0.1:${site.port}`, "max.inflight": 10, out: [rule] }),
	);
	await gateway.connected();
	await site.away();
	await gateway.until(() => gateway.status.state !== "connected", "the loss of the link");
	await gateway.publish("a", ...numbers(2000));
	await site.listen();
	await gateway.until(() => gateway.status.acknowledged > 300, "part of the backlog");
	await gateway.restart();
	const before = site.payloads("a").length;
	expect(before).toBeLessThan(2000);
	await gateway.drained();
	// An orderly stop waits for what is under way: nothing comes twice.
	expect(
		site
			.payloads("a")
			.map(Number)
			.sort((a, b) => a - b),
	).toEqual(numbers(2000).map(Number));
});

/**
 * Replication to a central cluster while everything around it fails: power, link, brokers.
 *
 *   SEED=123 npx vitest run test/simulation/upstream.test.ts     one life again
 *   SEEDS=5000 npx vitest run test/simulation/upstream.test.ts   more of them
 */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Producer } from "../../bridge/upstream/client/producer.ts";
import { lives, violations } from "./seeds.ts";
import { UpstreamLife } from "./upstream-life.ts";

lives({
	file: "upstream",
	count: 16,
	promise: "every stored record there, once, in the order of its key",
	make: (seed) => new UpstreamLife({ seed }),
	story: (life) => life.story,
	perLife: {
		records: 50,
		arrived: 40,
		crashes: 1,
		cuts: 1,
		aborted: 0.3,
		unwanted: 0.3,
		aside: 0.3,
		expiries: 0.1,
		grown: 0.1,
		resets: 0.3,
		plans: 0.3,
		others: 0.3,
		deleted: 0.1,
		remade: 0.1,
		ledger: 0.05,
	},
});

it("keeps every stored record, though some twice, in a cluster without transactions", async () => {
	for (let seed = 1; seed <= 8; seed++) await new UpstreamLife({ seed, mode: "at-least-once" }).run();
});

describe("would be seen to break them", () => {
	afterEach(() => {
		vi.restoreAllMocks();
	});
	const { send, abort } = Producer.prototype;

	it.each([
		[
			"what was not committed counts as sent",
			3,
			() => vi.spyOn(Producer.prototype, "commit").mockImplementation(abort),
		],
		[
			"batches are sent twice",
			3,
			() =>
				vi.spyOn(Producer.prototype, "send").mockImplementation(async function (this: Producer, batches, signal) {
					const copies = batches.map((each) => ({ ...each, batch: Buffer.from(each.batch) }));
					await send.call(this, copies, signal);
					return send.call(this, batches, signal);
				}),
		],
		[
			"batches change their order",
			10,
			() =>
				vi.spyOn(Producer.prototype, "send").mockImplementation(async function (this: Producer, batches, signal) {
					return (await send.call(this, batches.toReversed(), signal)).toReversed();
				}),
		],
	])("%s", async (_name, count, plant) => {
		plant();
		expect(await violations(count, (seed) => new UpstreamLife({ seed }))).toBeGreaterThan(1);
	});
});

/**
 * Transactions where Kafka's coordinator acts by itself: it ends those that take too long, forgets transactional ids that nobody
 * used, and fences who is not the latest. Records arrive once all the same.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { freePorts } from "../../../device-sim/gateway-process.ts";
import { Central, Operator } from "./central.ts";
import { Edge, numbers, perKey, type Settings } from "./edge.ts";
import { Relay } from "./relay.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const TRANSACTION_MS = 2000;
const EXPIRATION_MS = 5000;
const ROUNDS = Number(process.env.UPSTREAM_ROUNDS ?? 2);

describe.skipIf(!kafka)("transactions of a real Kafka", () => {
	let central: Central;
	let operator: Operator;
	let relay: Relay;
	const edges: Edge[] = [];
	const start = async (topic: string, settings: Settings = {}, id = topic): Promise<Edge> => {
		const edge = await Edge.start(
			relay.bootstrap,
			{
				"upstream.topics": [topic],
				"upstream.transaction.timeout.ms": TRANSACTION_MS,
				"upstream.request.timeout.ms": 3000,
				...settings,
			},
			id,
		);
		edges.push(edge);
		await edge.create(topic, 2);
		return edge;
	};
	const expectWhole = async (edge: Edge, topic: string): Promise<void> => {
		await edge.untilSent(topic);
		const [here, there] = [await edge.stored(topic), await operator.read(topic)];
		expect(there.length).toBe(here.length);
		expect(perKey(there)).toEqual(perKey(here));
	};

	beforeAll(async () => {
		relay = await Relay.open();
		const [link] = (await freePorts(1)) as [number];
		relay.leadTo(link);
		relay.delayMs = 20;
		central = await Central.start({
			listeners: [`LINK:PLAINTEXT:${link}:${relay.port}`],
			settings: { "transactional.id.expiration.ms": String(EXPIRATION_MS) },
		});
		operator = new Operator(central.bootstrap, kafkaClasses);
	});
	afterAll(async () => {
		for (const edge of edges) await edge.close();
		await operator?.close();
		await central?.close();
		await relay?.close();
	});

	// These two mostly wait.
	it.concurrent("a transactional id that expired while nothing was sent: it goes on", async () => {
		const edge = await start("expired");
		await edge.produce("expired", numbers(0, 20));
		await edge.untilSent("expired");
		const isListed = async (): Promise<boolean> =>
			(await operator.out("transactions", "list")).includes("headwater-expired");
		expect(await isListed()).toBe(true);
		const deadline = performance.now() + 60_000;
		while ((await isListed()) && performance.now() < deadline) await sleep(200);
		expect(await isListed()).toBe(false);
		await edge.produce("expired", numbers(20, 40));
		await expectWhole(edge, "expired");
		expect((await edge.status()).problem).toBeUndefined();
	});

	it.concurrent("two gateways with one name: the second stops with an explanation, the first goes on", async () => {
		const first = await start("twins");
		await first.produce("twins", numbers(0, 20));
		await first.untilSent("twins");
		const second = await start("twins");
		await second.produce("twins", numbers(100, 110));
		const { problem } = await second.until(({ state }) => state === "halted");
		expect(problem).toMatchObject({
			message: expect.stringMatching(/^another data directory has replicated as gateway twins/),
			action: expect.stringMatching(/headwater upstream reset --to earliest .* gateway\.id/),
		});
		await first.produce("twins", numbers(20, 40));
		await expectWhole(first, "twins");
		// And where the second takes it over, the first is the one that stops.
		await second.client.upstream.reset({ to: "earliest", execute: true });
		await second.untilSent("twins");
		await first.produce("twins", ["of the first"]);
		expect((await first.until(({ state }) => state === "halted")).problem?.message).toMatch(/^another data directory/);
		const values = await operator.values("twins");
		expect(values.toSorted()).toEqual([...numbers(0, 40), ...numbers(100, 110)].toSorted());
	});

	it("the link cut and the broker frozen for longer than the transaction time-out, in the middle of transactions", async () => {
		const topic = "held-up";
		const edge = await start(topic, {
			"upstream.transaction.bytes": 16_384,
			"upstream.batch.bytes": 4096,
			"upstream.linger.ms": 0,
		});
		let isOver = false;
		let count = 0;
		const producing = (async () => {
			while (!isOver) {
				await edge.produce(topic, numbers(count, count + 50));
				count += 50;
				await sleep(10);
			}
		})();
		for (let i = 0; i < ROUNDS; i++) {
			const before = relay.up;
			await expect.poll(() => relay.up - before, { timeout: 60_000, interval: 10 }).toBeGreaterThan(10_000);
			if (i % 2 === 0) relay.cut();
			else central.freeze();
			await sleep(TRANSACTION_MS + 1000);
			if (i % 2 === 0) relay.restore();
			else central.thaw();
		}
		await sleep(500);
		isOver = true;
		await producing;
		await expectWhole(edge, topic);
		const aborted = await operator.countAborted(topic);
		console.log(`time-outs: ${count} records, ${aborted} more in transactions that were aborted`);
	});
});

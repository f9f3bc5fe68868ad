/**
 * Transactions against the model of a cluster, whatever goes wrong on the way: what readers of committed records see is
 * what was shipped, once, in order. SEEDS=1000 runs more lives.
 */
import { describe, expect, it } from "vitest";
import { CALM, ROUGH } from "./kafka-cluster/faults.ts";
import { ProducerLife } from "./kafka-cluster/producer-life.ts";

const SEEDS = Number(process.env.SEEDS ?? 24);

async function live(seed: string, options: Partial<ConstructorParameters<typeof ProducerLife>[0]> = {}) {
	const life = new ProducerLife({ seed, shipments: 40, network: ROUGH, dies: 0.05, aborts: 0.02, ...options });
	await life.run();
	return life;
}

describe("transactions of the upstream producer", () => {
	it(`are all or nothing, once and in order, in ${SEEDS} lives in which everything goes wrong`, async () => {
		const troubles = new Map<string, number>();
		let deaths = 0;
		for (let i = 0; i < SEEDS; i++) {
			const life = await live(`producer ${i}`);
			const { found, expected } = life.verdict();
			expect(found, `seed producer ${i}`).toEqual(expected);
			expect(life.model.complaints, `seed producer ${i}`).toEqual([]);
			deaths += life.deaths;
			for (const [name, count] of life.troubles) troubles.set(name, (troubles.get(name) ?? 0) + count);
		}
		if (process.env.SEEDS !== undefined) console.log(deaths, troubles);
		// Lives without trouble would prove nothing.
		expect(deaths).toBeGreaterThan(SEEDS / 4);
		expect([...troubles.keys()]).toEqual(expect.arrayContaining(["PRODUCER_FENCED", "timeout"]));
	});

	it("need one epoch where nothing goes wrong", async () => {
		const life = await live("calm", { network: CALM, dies: 0, aborts: 0 });
		const { found, expected } = life.verdict();
		expect(found).toEqual(expected);
		expect(life.troubles.size).toBe(0);
		expect(life.epochs.size).toBe(1);
		const asked = (name: string): number => life.model.requests.get(name) ?? 0;
		expect(asked("InitProducerId")).toBe(1);
		expect(asked("EndTxn")).toBe(40);
	});
});

describe("idempotent batches of the upstream producer", () => {
	it(`are all there and in order, some of them twice, in ${SEEDS} lives in which everything goes wrong`, async () => {
		let doubles = 0;
		for (let i = 0; i < SEEDS; i++) {
			const seed = `idempotent ${i}`;
			// No time for a second attempt: what is lost stays in doubt.
			const life = await live(seed, { isTransactional: false, patienceMs: 4000 });
			const { found, expected } = life.verdict();
			expect(
				found.map((values) => [...new Set(values)]),
				`seed ${seed}`,
			).toEqual(expected);
			expect(life.model.complaints, `seed ${seed}`).toEqual([]);
			// A sequence in doubt is not used again, for others would be taken for what had it.
			expect([...life.troubles.keys()], `seed ${seed}`).not.toContain("OUT_OF_ORDER_SEQUENCE_NUMBER");
			doubles += found.flat().length - expected.flat().length;
		}
		expect(doubles).toBeGreaterThan(0);
	});

	it("are there once where nobody dies and no patience ends, however often answers are lost", async () => {
		for (let i = 0; i < SEEDS / 4; i++) {
			const seed = `repeated ${i}`;
			const network = { ...CALM, answerLost: 0.1, late: 0.05, reset: 0.05, leaderMove: 0.02, errorAfterAppend: 0.05 };
			const life = await live(seed, { isTransactional: false, dies: 0, network, patienceMs: 300_000 });
			const { found, expected } = life.verdict();
			expect(found, `seed ${seed}`).toEqual(expected);
		}
	});
});

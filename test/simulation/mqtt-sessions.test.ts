/**
 * Hundreds of seeded lives of the MQTT door, in which networks break, clients come and go, and the gateway is killed.
 *
 *   SEED=123 npx vitest run test/simulation/mqtt-sessions.test.ts     one of them again; prints its story if it fails
 *   SEEDS=50000 npx vitest run test/simulation/mqtt-sessions.test.ts  more of them
 */
import { expect, it } from "vitest";
import { MqttLife, type MqttTally } from "./mqtt-life.ts";

const SEEDS = Number(process.env.SEEDS ?? 300);
const FIRST = Number(process.env.FIRST ?? 1);
const ONE = process.env.SEED;

async function live(seed: number | string): Promise<MqttLife> {
	const life = new MqttLife({ seed });
	try {
		await life.run();
	} catch (error) {
		const replay = `SEED=${seed} npx vitest run test/simulation/mqtt-sessions.test.ts`;
		const story = ONE === undefined ? "" : `\n${life.model.story.join("\n")}`;
		throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}${story}`, { cause: error });
	}
	return life;
}

it(`keeps every promise through ${ONE === undefined ? `${SEEDS} lives` : `life ${ONE}`}`, {
	timeout: 3_600_000,
}, async () => {
	if (ONE !== undefined) {
		await live(ONE);
		return;
	}
	const total: Record<string, number> = {};
	const failures: Error[] = [];
	for (let seed = FIRST; seed < FIRST + SEEDS && failures.length < 10; seed++) {
		try {
			const { tally } = await live(seed);
			for (const [name, count] of Object.entries(tally)) total[name] = (total[name] ?? 0) + count;
		} catch (error) {
			failures.push(error as Error);
		}
	}
	if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join("\n"), { cause: failures[0] });
	// Lives in which nothing happens prove nothing.
	const perLife = (name: keyof MqttTally) => (total[name] ?? 0) / SEEDS;
	for (const name of ["events", "acked", "deliveries", "rests"] as const)
		expect(perLife(name), name).toBeGreaterThan(1);
	for (const name of ["kills", "resends", "takeOvers", "wills"] as const)
		expect(perLife(name), name).toBeGreaterThan(0.2);
});

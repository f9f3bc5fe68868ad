/**
 * Hundreds of seeded lives of the MQTT door, in which networks break, clients come and go, and the gateway is killed.
 *
 *   SEED=123 npx vitest run test/simulation/mqtt-sessions.test.ts     one of them again; prints its story if it fails
 *   SEEDS=50000 npx vitest run test/simulation/mqtt-sessions.test.ts  more of them
 */
import { expect, it, vi } from "vitest";
import { Outbox } from "../../bridge/mqtt/outbox.ts";
import { SessionStore } from "../../bridge/mqtt/session-store.ts";
import { Violation } from "./log-model.ts";
import { MqttLife, type MqttTally } from "./mqtt-life.ts";

const SEEDS = Number(process.env.SEEDS ?? 300);
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
	for (let seed = 1; seed <= SEEDS && failures.length < 10; seed++) {
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

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.model.story).toEqual(first.model.story);
});

/** How many of `count` lives end in a violation. */
async function found(count: number, plant: (life: MqttLife) => void): Promise<number> {
	let violations = 0;
	for (let seed = 1; seed <= count; seed++) {
		const life = new MqttLife({ seed, weights: { full: 0 } });
		plant(life);
		try {
			await life.run();
		} catch (error) {
			if (!(error instanceof Violation)) throw error;
			violations++;
		}
	}
	return violations;
}

it("finds out a disk that lies about sync", async () => {
	const violations = await found(20, ({ gateway }) => {
		gateway.world.disk.syncLies = true;
	});
	expect(violations).toBeGreaterThan(10);
});

it("finds out a door that forgets what was under way when a client comes back", async () => {
	const restore = vi.spyOn(Outbox.prototype, "restore").mockImplementation(() => {});
	try {
		expect(await found(60, () => {})).toBeGreaterThan(0);
	} finally {
		restore.mockRestore();
	}
});

it("finds out a door that takes a resend for a new event", async () => {
	const put = vi.spyOn(SessionStore.prototype, "putReceived").mockImplementation(() => {});
	try {
		expect(await found(60, () => {})).toBeGreaterThan(0);
	} finally {
		put.mockRestore();
	}
});

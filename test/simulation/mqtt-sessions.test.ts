/**
 * Hundreds of seeded lives of the MQTT door, in which networks break, clients come and go, and the gateway is killed.
 *
 *   SEED=123 npx vitest run test/simulation/mqtt-sessions.test.ts     one of them again; prints its story if it fails
 *   SEEDS=50000 npx vitest run test/simulation/mqtt-sessions.test.ts  more of them
 */
import { expect, it, vi } from "vitest";
import { Outbox } from "../../bridge/mqtt/outbox.ts";
import { SessionStore } from "../../bridge/mqtt/session-store.ts";
import { MqttLife } from "./mqtt-life.ts";
import { lives, violations } from "./seeds.ts";

const live = lives({
	file: "mqtt-sessions",
	count: 160,
	make: (seed) => new MqttLife({ seed }),
	story: (life) => life.model.story,
	perLife: {
		...{ events: 1, acked: 1, deliveries: 1, rests: 1 },
		...{ kills: 0.2, resends: 0.2, takeOvers: 0.2, wills: 0.2 },
	},
});

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.model.story).toEqual(first.model.story);
});

/** How many of `count` lives end in a violation. */
function found(count: number, plant: (life: MqttLife) => void): Promise<number> {
	return violations(count, (seed) => {
		const life = new MqttLife({ seed, weights: { full: 0 } });
		plant(life);
		return life;
	});
}

it("finds out a disk that lies about sync", async () => {
	const broken = await found(20, ({ gateway }) => {
		gateway.world.disk.syncLies = true;
	});
	expect(broken).toBeGreaterThan(10);
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

/**
 * Topics of a central cluster that come here, while everything around that fails: power, link, brokers.
 *
 *   SEED=123 npx vitest run test/simulation/downlink.test.ts     one life again
 *   SEEDS=5000 npx vitest run test/simulation/downlink.test.ts   more of them
 */
import { expect, it } from "vitest";
import { StateSpace } from "../../src/log/state-spaces.ts";
import { DownlinkLife } from "./downlink-life.ts";
import { lives, violations } from "./seeds.ts";

lives({
	file: "downlink",
	count: 30,
	promise: "every record that is committed there and wanted here, once, in the order of its key",
	make: (seed) => new DownlinkLife({ seed }),
	story: (life) => life.story,
	perLife: {
		records: 50,
		arrived: 30,
		filtered: 10,
		crashes: 1,
		cuts: 1,
		aborted: 0.5,
		grown: 0.1,
		moves: 0.5,
		full: 0.3,
	},
});

it("is found out where positions are not written with the records", async () => {
	const sabotage = ({ world }: DownlinkLife) => {
		const put = world.log.putState.bind(world.log);
		world.log.putState = (space, key, value) => {
			if (space !== StateSpace.DOWNLINK) put(space, key, value);
			else world.clock.after(50, () => world.log.refusal ?? put(space, key, value));
		};
	};
	expect(await violations(10, (seed) => new DownlinkLife({ seed, sabotage }))).toBeGreaterThan(0);
});

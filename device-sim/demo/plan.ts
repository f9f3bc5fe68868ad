/** When the demo's faults come, from the seed and the length of the run: the same seed hurts at the same moments. */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";

/** Milliseconds from the first event. */
export interface Plan {
	readonly firstKillMs: number;
	readonly cutMs: number;
	/** While the link is cut. */
	readonly secondKillMs: number;
	readonly restoreMs: number;
	readonly endMs: number;
}

/** Parts of the whole, and how far from there a moment may be, either way. */
const FIRST_KILL = 0.18;
const CUT = 0.35;
const SECOND_KILL = 0.5;
const RESTORE = 0.66;
const SHIFT = 0.03;

export function makePlan(seed: string, durationMs: number): Plan {
	const random = new SimulatedRandom(`${seed}/faults`);
	const around = (part: number) => Math.round(durationMs * (part + SHIFT * (2 * random.fraction() - 1)));
	return {
		firstKillMs: around(FIRST_KILL),
		cutMs: around(CUT),
		secondKillMs: around(SECOND_KILL),
		restoreMs: around(RESTORE),
		endMs: durationMs,
	};
}

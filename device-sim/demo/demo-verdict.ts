/**
 * What the demo comes to: the sensors' ledger held against the three places where their events must be. At QoS 2 nothing may
 * be there twice, whatever was sent again; so the four counts are equal, or something is wrong and is named.
 */
import type { LogVerdict, Verdict } from "../verdict.ts";

/** What was found in one place. */
export interface Place {
	/** Events, each counted once. */
	readonly events: number;
	/** Acknowledged to a sensor and not there. */
	readonly lost: number;
	/** Copies beyond the first. */
	readonly duplicated: number;
	readonly outOfOrder: number;
	/** Records read, those of others too. */
	readonly records: number;
}

export type PlaceName = "gateway" | "hub" | "store";

export interface Kill {
	/** Milliseconds from the first event. */
	readonly atMs: number;
	/** Until both doors took connections again. */
	readonly backMs: number;
}

export interface Outage {
	readonly atMs: number;
	readonly lastedMs: number;
	/** Events that waited on the gateway's disk when the link came back. */
	readonly waited: number;
	/** From then until all of them were at the hub; undefined: never. */
	readonly caughtUpMs: number | undefined;
}

/** What the demo itself did and saw. */
export interface Happened {
	readonly sensors: number;
	readonly seed: string;
	readonly elapsedMs: number;
	readonly kills: readonly Kill[];
	readonly outage: Outage | undefined;
	readonly bundles: number;
	readonly storedBytes: number;
	/** Bytes that went over the link to the hub. */
	readonly linkBytes: number;
	/** And that did not arrive, either way, because it was cut. */
	readonly linkBytesLost: number;
	/** Ctrl-C: what was sent until then is counted. */
	readonly endedEarly: boolean;
	/** What went wrong in the demo's own doing, such as an object that cannot be read. */
	readonly troubles: readonly string[];
}

export interface DemoVerdict extends Happened {
	readonly pass: boolean;
	/** Why it does not pass, in words; empty when it does. */
	readonly reasons: readonly string[];
	readonly run: string;
	readonly sent: number;
	readonly acked: number;
	readonly resent: number;
	/** Links between sensors and gateway that broke. */
	readonly sensorLinksCut: number;
	readonly places: Readonly<Record<PlaceName, Place>>;
	/** The first faults, with place, device, event and offset. */
	readonly examples: readonly string[];
}

const KILLS = 2;
const MAX_EXAMPLES = 12;
export const PLACE_NAMES: Readonly<Record<PlaceName, string>> = {
	gateway: "gateway's log",
	hub: "hub",
	store: "object store",
};

/** @param fleet the run's own verdict, on the gateway's log */
export function judgeDemo(fleet: Verdict, hub: LogVerdict, store: LogVerdict, happened: Happened): DemoVerdict {
	const found: Readonly<Record<PlaceName, LogVerdict>> = { gateway: fleet, hub, store };
	const names = Object.keys(PLACE_NAMES) as PlaceName[];
	const reasons = [
		...names.flatMap((name) => found[name].reasons.map((reason) => `${PLACE_NAMES[name]}: ${reason}`)),
		...happened.troubles,
	];
	if (!happened.endedEarly) {
		if (happened.kills.length !== KILLS)
			reasons.push(`the gateway was killed ${happened.kills.length} times, not ${KILLS}`);
		if (happened.outage === undefined) reasons.push("the link was not cut");
	}
	// What was stored and never acknowledged may be in one place and not in another; at the end of a run there is none.
	const counts = names.map((name) => found[name].stored);
	if (reasons.length === 0 && counts.some((count) => count !== fleet.acked)) {
		reasons.push(`the places hold ${counts.join(", ")} events, and ${fleet.acked} are acknowledged`);
	}
	const places = Object.fromEntries(names.map((name) => [name, placeOf(found[name])])) as Record<PlaceName, Place>;
	return {
		...happened,
		pass: reasons.length === 0,
		reasons,
		run: fleet.run,
		sent: fleet.sent,
		acked: fleet.acked,
		resent: fleet.resent,
		sensorLinksCut: fleet.drops,
		places,
		examples: names
			.flatMap((name) => found[name].examples.map((example) => `${PLACE_NAMES[name]}: ${example}`))
			.slice(0, MAX_EXAMPLES),
	};
}

function placeOf({ stored, lost, duplicated, outOfOrder, recordsRead }: LogVerdict): Place {
	return { events: stored, lost, duplicated, outOfOrder, records: recordsRead };
}

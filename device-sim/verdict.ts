/**
 * What a run comes to. The words, which docs/device-sim.md explains to those who read the table:
 *
 *   acked         the gateway said that it is stored: PUBACK at QoS 1, PUBREC at QoS 2; at QoS 0 the orderly end of
 *                 the connection that carried it
 *   stored        found in the log, each event counted once
 *   lost          acked and not stored
 *   duplicated    stored copies beyond the first; `explained` of them are resends of QoS 1 after a cut
 *   out of order  stored for the first time behind a later event of its device
 */
import type { LatencySummary } from "./histogram.ts";

export interface Counts {
	readonly sent: number;
	readonly acked: number;
	readonly refused: number;
	/** Sent, and neither acknowledged nor refused by the end. */
	readonly unacknowledged: number;
	/** Of the unacknowledged, those not stored either: no promise was broken. */
	readonly dropped: number;
	readonly resent: number;
	readonly stored: number;
	readonly lost: number;
	readonly duplicated: number;
	readonly explained: number;
	readonly outOfOrder: number;
	/** Stored in another partition than the device's first event. */
	readonly misplaced: number;
	/** Stored, and never sent under this name and number. */
	readonly unknown: number;
}

export interface DeviceVerdict extends Counts {
	readonly device: string;
	readonly group: string;
	readonly faulty: boolean;
}

/** What the log shows about the ledger. */
export interface LogVerdict extends Counts {
	readonly pass: boolean;
	/** Why it does not pass, in words, worst first; empty when it does. */
	readonly reasons: readonly string[];
	readonly run: string;
	/** Records read back, also those of others. */
	readonly recordsRead: number;
	/** Values that name the run and are not what was sent. */
	readonly damaged: number;
	/** Offsets that the log left out, or gave twice or backwards. */
	readonly offsetGaps: number;
	/** Keys found in more than one partition. */
	readonly splitKeys: number;
	/** The first faults, with device, event and offset. */
	readonly examples: readonly string[];
	readonly devices: readonly DeviceVerdict[];
}

/** And what the run itself has seen. */
export interface Verdict extends LogVerdict {
	readonly seed: string;
	readonly qos: 0 | 1 | 2;
	readonly elapsedMs: number;
	/** From the PUBLISH to its acknowledgement, for events sent when they were due. */
	readonly latency: LatencySummary;
	/** From when it was due to its acknowledgement, for events that had to wait or were sent again. */
	readonly lateLatency: LatencySummary;
	/** Connections that were cut by the fleet itself. */
	readonly drops: number;
	/** Connections made, without each device's first. */
	readonly reconnects: number;
	/** Reconnects at which the gateway no longer knew the device's session. */
	readonly sessionsLost: number;
	/** kill -9 of the gateway. */
	readonly crashes: number;
	/** Milliseconds from each kill to both ports answering again. */
	readonly recovery: LatencySummary;
}

const COUNT_FIELDS = [
	"sent",
	"acked",
	"refused",
	"unacknowledged",
	"dropped",
	"resent",
	"stored",
	"lost",
	"duplicated",
	"explained",
	"outOfOrder",
	"misplaced",
	"unknown",
] as const satisfies readonly (keyof Counts)[];

export function addUp(parts: Iterable<Counts>): Counts {
	const sum = Object.fromEntries(COUNT_FIELDS.map((field) => [field, 0])) as Record<keyof Counts, number>;
	for (const part of parts) for (const field of COUNT_FIELDS) sum[field] += part[field];
	return sum;
}

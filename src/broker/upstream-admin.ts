/** What people ask of the replication to the central cluster: the doors know this, not how it is done. Times are of the wall clock, ms. */
import type { UplinkReport } from "./uplink.ts";

/**
 * `waiting`: for the link, after an error; `budget`: for a new day or month of the uplink's budget; `closed`: for the window;
 * `halted`: for a person.
 */
export type UpstreamState =
	| "connecting"
	| "running"
	| "waiting"
	| "budget"
	| "closed"
	| "paused"
	| "halted"
	| "stopped";

/** What went wrong last, and has not gone right since. */
export interface UpstreamProblem {
	readonly sinceMs: number;
	readonly message: string;
	/** What would help, for a person; a command where there is one. */
	readonly action: string | undefined;
}

/** One local topic on its way up. Records and bytes: since the process started where nothing else is said. */
export interface UpstreamTopicStatus {
	readonly topic: string;
	/** Its name in the central cluster. */
	readonly to: string;
	readonly priority: "high" | "normal" | "low";
	readonly partitions: number;
	readonly sentRecords: number;
	/** As stored here. */
	readonly sentBytes: number;
	/** Still to be sent; bytes are an estimate. */
	readonly lagRecords: number;
	readonly lagBytes: number;
	/** Of `lagRecords`, what was put off in favour of live records. */
	readonly backfillRecords: number;
	/** Timestamp of the oldest record still to be sent. */
	readonly oldestMs: number | undefined;
	readonly quarantinedRecords: number;
	/** Gone before they were sent; the loss ledger has them. */
	readonly lostRecords: number;
	readonly problem: UpstreamProblem | undefined;
}

export interface DownlinkTopicStatus {
	/** In the central cluster. */
	readonly topic: string;
	/** Here. */
	readonly to: string;
	readonly receivedRecords: number;
	/** Passed over by the rule's filter. */
	readonly filteredRecords: number;
	/** Offsets there that were not looked at yet; undefined before the first answer. */
	readonly lag: number | undefined;
	readonly problem: UpstreamProblem | undefined;
}

export interface UpstreamStatus {
	readonly servers: readonly string[];
	readonly mode: "exactly-once" | "at-least-once";
	readonly state: UpstreamState;
	readonly sinceMs: number;
	/** When the next attempt, window or budget comes. */
	readonly nextMs: number | undefined;
	readonly problem: UpstreamProblem | undefined;
	readonly clusterId: string | undefined;
	readonly lastSentMs: number | undefined;
	/** Over the last minute, per second. */
	readonly rate: { readonly records: number; readonly bytes: number; readonly wireBytes: number };
	/** Since the process started; wire bytes at the socket, both ways. */
	readonly total: {
		readonly records: number;
		readonly bytes: number;
		readonly transactions: number;
		readonly wireSentBytes: number;
		readonly wireReceivedBytes: number;
	};
	readonly uplink: UplinkReport;
	readonly topics: readonly UpstreamTopicStatus[];
	readonly downlink: readonly DownlinkTopicStatus[];
	/** What else a person should know, as that the central topic keeps less than what waits here. */
	readonly warnings: readonly string[];
}

/**
 * Where to go on: `progress`, where the central cluster says; `local`, where this gateway last knew it was; `earliest`, with all
 * that is stored here; `latest`, with what comes from now on.
 */
export type ResetTo = "progress" | "local" | "earliest" | "latest";

export interface UpstreamResetStep {
	readonly topic: string;
	readonly partition: number;
	/** undefined: it has no position yet. */
	readonly from: number | undefined;
	readonly to: number;
	/** Records that the central cluster will get once more, as far as is known here. */
	readonly againRecords: number;
	/** Records that it will never get. */
	readonly skippedRecords: number;
}

export interface UpstreamReset {
	/** undefined: all. */
	readonly topic: string | undefined;
	readonly to: ResetTo;
	/** Only says what would happen. */
	readonly dryRun: boolean;
}

export interface UpstreamAdmin {
	/** Whether a central cluster is configured. */
	readonly isConfigured: boolean;
	status(): Promise<UpstreamStatus>;
	/** Durable: it stays so over a start. Reject with BrokerError. */
	pause(): Promise<void>;
	resume(): Promise<void>;
	/** Takes the name and the positions over, where replication was halted too. Rejects with BrokerError. */
	reset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]>;
}

/** What programs get from the client about the central cluster. Times are milliseconds since 1970-01-01T00:00:00Z. */

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
	readonly action?: string;
}

/** A day or a month of the uplink's budget. */
export interface UplinkPeriod {
	readonly bytes: number;
	/** Missing: no limit. */
	readonly left?: number;
	readonly resetsMs: number;
	/** Bytes by then, if it goes on as it has so far. */
	readonly forecastBytes: number;
	/** When nothing would be left, if it goes on as now; missing: it lasts. */
	readonly exhaustedMs?: number;
}

/** One topic on its way to the central cluster. Records and bytes: since the process started where nothing else is said. */
export interface UpstreamTopicStatus {
	readonly topic: string;
	/** Its name there. */
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
	readonly oldestMs?: number;
	/** Kept here, as the central cluster does not take them. */
	readonly quarantinedRecords: number;
	/** Gone before they were sent; the loss ledger has them. */
	readonly lostRecords: number;
	readonly problem?: UpstreamProblem;
}

/** One topic of the central cluster that comes here. */
export interface DownlinkTopicStatus {
	readonly topic: string;
	/** Its name here. */
	readonly to: string;
	readonly receivedRecords: number;
	/** Passed over by the rule's filter. */
	readonly filteredRecords: number;
	/** Offsets there that were not looked at yet; missing before the first answer. */
	readonly lag?: number;
	readonly problem?: UpstreamProblem;
}

/** What `headwater upstream status` shows. */
export interface UpstreamStatus {
	readonly servers: readonly string[];
	readonly mode: "exactly-once" | "at-least-once";
	readonly state: UpstreamState;
	readonly sinceMs: number;
	/** When the next attempt, window or budget comes. */
	readonly nextMs?: number;
	readonly problem?: UpstreamProblem;
	readonly clusterId?: string;
	readonly lastSentMs?: number;
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
	readonly uplink: { readonly day: UplinkPeriod; readonly month: UplinkPeriod };
	readonly topics: readonly UpstreamTopicStatus[];
	readonly downlink: readonly DownlinkTopicStatus[];
	/** What else a person should know. */
	readonly warnings: readonly string[];
}

/**
 * Where to go on: `progress`, where the central cluster says; `local`, where this gateway last knew it was; `earliest`, with all
 * that is stored here; `latest`, with what comes from now on.
 */
export type UpstreamResetTo = "progress" | "local" | "earliest" | "latest";

export interface UpstreamResetOptions {
	readonly to: UpstreamResetTo;
	/** Default: all. */
	readonly topic?: string;
	/** Does it. Default: only says what would happen. */
	readonly execute?: boolean;
}

export interface UpstreamResetStep {
	readonly topic: string;
	readonly partition: number;
	/** null: it has no position yet. */
	readonly from: number | null;
	readonly to: number;
	/** Records that the central cluster gets once more, as far as is known here. */
	readonly againRecords: number;
	/** Records that it never gets. */
	readonly skippedRecords: number;
}

export interface UpstreamApi {
	/** Rejects with INVALID_CONFIG where the gateway has no central cluster; so do all of these. */
	status(): Promise<UpstreamStatus>;
	/** Sends nothing more, until `resume`; stays so when the gateway starts again. */
	pause(): Promise<void>;
	resume(): Promise<void>;
	/** Puts the positions elsewhere, and goes on where it was halted. Changes nothing without `execute`. */
	reset(options: UpstreamResetOptions): Promise<readonly UpstreamResetStep[]>;
}

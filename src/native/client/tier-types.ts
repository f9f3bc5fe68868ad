/** What programs get from the client about tiered storage. Times are milliseconds since 1970-01-01T00:00:00Z. */

/** What `headwater tier status` shows. */
export interface TierStatus {
	readonly store: string;
	/** The gateway's name in the store, and how often it was restored there. */
	readonly gateway: string;
	readonly incarnation: number;
	readonly bundles: number;
	/** Of all bundles, as stored. */
	readonly bytes: number;
	/** Objects that are still to be removed from the store. */
	readonly deleting: number;
	/** The upload under way. */
	readonly run?: {
		readonly sinceMs: number;
		readonly bundles: number;
		/** Record batches: done, and what there was to do at its beginning. */
		readonly doneBytes: number;
		readonly totalBytes: number;
		readonly bytesPerSecond: number;
		/** It waits until then, for what `waitsFor` says. */
		readonly waitsUntilMs?: number;
		readonly waitsFor?: string;
	};
	readonly nextRunMs?: number;
	readonly lastRun?: { readonly endedMs: number; readonly bundles: number; readonly bytes: number };
	/** What went wrong last, and has not gone right since. */
	readonly error?: { readonly sinceMs: number; readonly message: string };
	readonly topics: readonly {
		readonly topic: string;
		/** Whether what is new goes to the object store. */
		readonly copies: boolean;
		readonly tieredRecords: number;
		readonly tieredBytes: number;
		readonly pendingRecords: number;
		readonly pendingBytes: number;
		readonly pendingSinceMs?: number;
	}[];
	readonly uplink: {
		readonly bytesToday: number;
		readonly bytesThisMonth: number;
		/** Missing: no limit. */
		readonly leftToday?: number;
		readonly leftThisMonth?: number;
	};
	readonly reads: {
		readonly gets: number;
		readonly bytes: number;
		readonly cacheHits: number;
		readonly cacheMisses: number;
		readonly cacheBytes: number;
		readonly errors: number;
	};
}

/** Consecutive records of a partition in one object. */
export interface TierRange {
	readonly topic: string;
	readonly partition: number;
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly storedBytes: number;
	readonly rawBytes: number;
	/** The latest of its records; null: none has one. */
	readonly maxTimestamp: number | null;
	readonly object: string;
}

/**
 * `hole`: records that no object has, or not as the catalog says; `damage`: an object is not what was stored; `orphan`: an
 * object of this gateway that the catalog does not know; `foreign`: something else under its name; `unreachable`: not looked at.
 */
export interface TierFinding {
	readonly kind: "hole" | "damage" | "orphan" | "foreign" | "unreachable";
	readonly object: string;
	readonly what: string;
}

/** What was looked at. */
export interface TierVerified {
	readonly objects: number;
	readonly bytes: number;
	readonly ranges: number;
}

export interface TierVerifyOptions {
	/** Reads every byte of every object. Default: what the store says of them, and their ends. */
	readonly deep?: boolean;
	/** Called for each finding, and about once a second with what was looked at so far. */
	found?(finding: TierFinding): void;
	progress?(done: TierVerified): void;
	readonly signal?: AbortSignal;
}

export interface TierApi {
	/** Rejects with INVALID_CONFIG where the gateway has no tiered storage; so do all of these. */
	status(): Promise<TierStatus>;
	/** Uploads what is pending now, whatever the schedule says; resolves when that is done. `status` tells how far it is. */
	run(options?: { readonly signal?: AbortSignal }): Promise<void>;
	/** What the object store has of a topic, or of all: by topic, partition and offset. */
	ranges(topic?: string): AsyncIterableIterator<TierRange>;
	/** Compares the object store with the gateway's catalog. Rejects with THROTTLING_QUOTA_EXCEEDED while another does that. */
	verify(options?: TierVerifyOptions): Promise<TierVerified>;
}

/** What people may ask of tiered storage while a gateway runs. Tiering implements it; doors and commands know only this. */

/** Of one topic. */
export interface TierTopicStatus {
	readonly topic: string;
	/** Whether what is new goes to the object store. */
	readonly copies: boolean;
	/** Records, and bytes of record batches, that the object store has. */
	readonly tieredRecords: number;
	readonly tieredBytes: number;
	/** Still to go there. */
	readonly pendingRecords: number;
	readonly pendingBytes: number;
	/** Timestamp of the oldest record that is still to go; undefined: none is. */
	readonly pendingSinceMs: number | undefined;
}

/** An upload under way. */
export interface TierRunStatus {
	readonly sinceMs: number;
	/** Bundles stored by this run. */
	readonly bundles: number;
	/** Record batches: done, and what there was to do at its beginning. */
	readonly doneBytes: number;
	readonly totalBytes: number;
	/** Over the last seconds, bytes that left a second. */
	readonly bytesPerSecond: number;
	/** Waits until then for the link's budget or window, or to try again; undefined: it does not wait. */
	readonly waitsUntilMs: number | undefined;
	readonly waitsFor: string | undefined;
}

export interface TierStatus {
	/** Without secrets. */
	readonly store: string;
	readonly gateway: string;
	readonly incarnation: number;
	readonly bundles: number;
	/** Of all stored bundles. */
	readonly bytes: number;
	/** Objects that are still to be removed from the store. */
	readonly deleting: number;
	readonly run: TierRunStatus | undefined;
	readonly nextRunMs: number | undefined;
	readonly lastRun: { readonly endedMs: number; readonly bundles: number; readonly bytes: number } | undefined;
	/** What went wrong last, and has not gone right since. */
	readonly error: { readonly sinceMs: number; readonly message: string } | undefined;
	readonly topics: readonly TierTopicStatus[];
	readonly uplink: {
		readonly bytesToday: number;
		readonly bytesThisMonth: number;
		/** undefined: no limit. */
		readonly leftToday: number | undefined;
		readonly leftThisMonth: number | undefined;
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

/** A range in the object store. */
export interface TierRange {
	readonly topic: string;
	readonly partition: number;
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly storedBytes: number;
	readonly rawBytes: number;
	readonly maxTimestamp: number;
	readonly object: string;
}

/** What `tier verify` found. `hole`: records that no object has, or not as the catalog says. */
export interface TierFinding {
	readonly kind: "hole" | "damage" | "orphan" | "foreign" | "unreachable";
	readonly object: string;
	readonly what: string;
}

export interface TierVerifyResult {
	readonly objects: number;
	readonly bytes: number;
	readonly ranges: number;
	readonly done: boolean;
}

export interface TierAdmin {
	/** Whether there is anything to tell: a topic is tiered, or was. Who asks all the same makes it so. */
	readonly isActive: boolean;
	status(): Promise<TierStatus>;
	/** Uploads what is pending now, window and schedule aside. Resolves when that is done; rejects with BrokerError. */
	run(): Promise<void>;
	/** Of a topic, or of all: by topic, partition and offset, from behind `after` on. */
	ranges(
		topic: string | undefined,
		after: Pick<TierRange, "topic" | "partition" | "baseOffset"> | undefined,
		limit: number,
	): Promise<TierRange[]>;
	/** Compares store and catalog; `deep`: reads every byte of every object. Ends soon, without an error, when `signal` says so. */
	verify(deep: boolean, progress: (done: TierVerifyResult) => void, signal?: AbortSignal): AsyncIterable<TierFinding>;
}

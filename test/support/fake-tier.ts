/** For tests of those who show tiered storage: a TierAdmin that says what it is told to, and counts what it is asked. */
import { BrokerError } from "../../src/base/errors.ts";
import type {
	TierAdmin,
	TierFinding,
	TierRange,
	TierStatus,
	TierTopicStatus,
	TierVerifyResult,
} from "../../src/broker/tier-admin.ts";

const TOPIC: TierTopicStatus = {
	topic: "telemetry",
	copies: true,
	tieredRecords: 1000,
	tieredBytes: 2 * 1024 * 1024,
	pendingRecords: 12,
	pendingBytes: 3072,
	pendingSinceMs: 1_700_000_000_000,
};

export const TIER_STATUS: TierStatus = {
	store: "s3://bucket/gateways at https://s3.example.com",
	gateway: "gw7",
	incarnation: 2,
	bundles: 34,
	bytes: 5 * 1024 * 1024,
	deleting: 0,
	run: undefined,
	nextRunMs: 1_700_000_600_000,
	lastRun: { endedMs: 1_699_999_000_000, bundles: 1, bytes: 4096 },
	error: undefined,
	topics: [
		TOPIC,
		{ ...TOPIC, topic: "audit", copies: false, pendingRecords: 0, pendingBytes: 0, pendingSinceMs: undefined },
	],
	uplink: { bytesToday: 1024, bytesThisMonth: 2048, leftToday: undefined, leftThisMonth: 1_000_000 },
	reads: { gets: 7, bytes: 8192, cacheHits: 5, cacheMisses: 2, cacheBytes: 4096, errors: 0 },
};

export function range(topic: string, partition: number, baseOffset: number): TierRange {
	const object = "gw7/0000000001/00000000000000000001-0badcafe.bundle";
	const sizes = { storedBytes: 100, rawBytes: 300, maxTimestamp: baseOffset === 0 ? -1 : 1_700_000_000_000 };
	return { topic, partition, baseOffset, nextOffset: baseOffset + 10, ...sizes, object };
}

export class FakeTier implements TierAdmin {
	isActive = true;
	now = TIER_STATUS;
	/** By topic, partition and offset. */
	stored: TierRange[] = [];
	/** What verify finds; after it, `looked`. */
	findings: TierFinding[] = [];
	looked: TierVerifyResult = { objects: 3, bytes: 4096, ranges: 5, done: true };
	/** While true a verify says nothing and does not end. */
	holds = false;
	runs = 0;
	verifies: { deep: boolean; signal: AbortSignal | undefined }[] = [];
	/** Ends runs that wait. */
	#running: PromiseWithResolvers<void> | undefined;

	async status(): Promise<TierStatus> {
		return this.now;
	}

	run(): Promise<void> {
		this.runs++;
		this.#running = Promise.withResolvers();
		return this.#running.promise;
	}

	runEnds(error?: string): void {
		if (error === undefined) this.#running?.resolve();
		else this.#running?.reject(new BrokerError("KAFKA_STORAGE_ERROR", error));
	}

	async ranges(
		topic: string | undefined,
		after: Pick<TierRange, "topic" | "partition" | "baseOffset"> | undefined,
		limit: number,
	): Promise<TierRange[]> {
		const of = this.stored.filter((each) => topic === undefined || each.topic === topic);
		const place = (each: Pick<TierRange, "topic" | "partition" | "baseOffset">): string =>
			`${each.topic} ${String(each.partition).padStart(9, "0")} ${String(each.baseOffset).padStart(16, "0")}`;
		return of.filter((each) => after === undefined || place(each) > place(after)).slice(0, limit);
	}

	async *verify(
		deep: boolean,
		progress: (done: TierVerifyResult) => void,
		signal?: AbortSignal,
	): AsyncGenerator<TierFinding> {
		this.verifies.push({ deep, signal });
		for (const finding of this.findings) {
			progress({ objects: 1, bytes: 10, ranges: 1, done: false });
			yield finding;
		}
		while (this.holds && signal?.aborted !== true) await new Promise((resolve) => setTimeout(resolve, 5));
		progress(this.looked);
	}
}

/** For tests of those who show upstream: an UpstreamAdmin that says what it is told to, and remembers what it is asked. */
import { BrokerError } from "../../src/base/errors.ts";
import type {
	UpstreamAdmin,
	UpstreamReset,
	UpstreamResetStep,
	UpstreamStatus,
	UpstreamTopicStatus,
} from "../../src/broker/upstream-admin.ts";

const NOW_MS = 1_700_000_000_000;

export const UPSTREAM_TOPIC: UpstreamTopicStatus = {
	topic: "telemetry",
	to: "gw7.telemetry",
	priority: "normal",
	partitions: 4,
	sentRecords: 120_000,
	sentBytes: 12_000_000,
	lagRecords: 1_234,
	lagBytes: 125_952,
	backfillRecords: 0,
	oldestMs: NOW_MS,
	quarantinedRecords: 0,
	lostRecords: 0,
	problem: undefined,
};

const PERIOD = { bytes: 2_097_152, left: undefined, forecastBytes: 4_194_304, exhaustedMs: undefined };

export const UPSTREAM_STATUS: UpstreamStatus = {
	servers: ["kafka1.example.com:9092", "kafka2.example.com:9092"],
	mode: "exactly-once",
	state: "running",
	sinceMs: NOW_MS,
	nextMs: undefined,
	problem: undefined,
	clusterId: "5L6g3nShT-eMCtK--X86sw",
	lastSentMs: NOW_MS + 60_000,
	rate: { records: 120, bytes: 12_000, wireBytes: 2_048 },
	total: {
		records: 120_040,
		bytes: 12_004_000,
		transactions: 33,
		wireSentBytes: 2_097_152,
		wireReceivedBytes: 65_536,
	},
	uplink: { day: { ...PERIOD, resetsMs: NOW_MS + 3_600_000 }, month: { ...PERIOD, resetsMs: NOW_MS + 864_000_000 } },
	topics: [
		UPSTREAM_TOPIC,
		{
			...UPSTREAM_TOPIC,
			topic: "alarms",
			to: "alarms",
			priority: "high",
			sentRecords: 40,
			sentBytes: 4_000,
			lagRecords: 0,
			lagBytes: 0,
			oldestMs: undefined,
		},
	],
	downlink: [],
	warnings: [],
};

export class FakeUpstream implements UpstreamAdmin {
	isConfigured = true;
	now: UpstreamStatus = UPSTREAM_STATUS;
	readonly asked: (string | UpstreamReset)[] = [];
	steps: UpstreamResetStep[] = [
		{ topic: "telemetry", partition: 0, from: 120, to: 100, againRecords: 20, skippedRecords: 0 },
		{ topic: "telemetry", partition: 1, from: undefined, to: 7, againRecords: 0, skippedRecords: 7 },
	];
	refusal: string | undefined;

	async status(): Promise<UpstreamStatus> {
		return this.now;
	}

	async pause(): Promise<void> {
		this.#ask("pause");
	}

	async resume(): Promise<void> {
		this.#ask("resume");
	}

	async reset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]> {
		this.#ask(reset);
		return this.steps;
	}

	#ask(what: string | UpstreamReset): void {
		this.asked.push(what);
		if (this.refusal !== undefined) throw new BrokerError("INVALID_REQUEST", this.refusal);
	}
}

/** The requests about tiered storage: how it stands, upload now, what is stored, and whether it is as the catalog says. */
import type { Timer } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import type { TierAdmin, TierFinding, TierRange, TierVerifyResult } from "../broker/tier-admin.ts";
import { frameOf, withoutUndefined } from "./answers.ts";
import type { GatewayStatus } from "./client/types.ts";
import { MAX_RANGES, MESSAGE } from "./codec/protocol.ts";
import type { Body } from "./codec/requests.ts";
import { type CborValue, CborWriter } from "./codec/writer.ts";
import type { Connection, Waiting } from "./connection.ts";

type Fields = ReadonlyMap<number, CborValue>;

const NOTHING: Fields = new Map();
/** Findings held before they are sent, and how long, at most. */
const FINDINGS_MAX = 100;
const FINDINGS_MS = 1000;
/** Around the findings of a frame. */
const FINDINGS_OVERHEAD_BYTES = 64;
const RANGES_DEFAULT = 500;

export class TierRequests {
	readonly #admin: TierAdmin | undefined;
	/** One at a time: it may read every byte in the store. */
	#verifying: Verifying | undefined;

	constructor(admin: TierAdmin | undefined) {
		this.#admin = admin;
	}

	/** For the status of the whole gateway: nothing where there is no tiered storage. */
	async summary(): Promise<Pick<GatewayStatus, "tier">> {
		if (this.#admin?.isActive !== true) return {};
		const { store, bundles, bytes, topics, error, nextRunMs } = await this.#admin.status();
		const tier = { store, bundles, bytes, tieredRecords: 0, tieredBytes: 0, pendingRecords: 0, pendingBytes: 0 };
		for (const topic of topics) {
			tier.tieredRecords += topic.tieredRecords;
			tier.tieredBytes += topic.tieredBytes;
			tier.pendingRecords += topic.pendingRecords;
			tier.pendingBytes += topic.pendingBytes;
		}
		return {
			tier: { ...tier, ...(error === undefined ? {} : { error }), ...(nextRunMs === undefined ? {} : { nextRunMs }) },
		};
	}

	async status(): Promise<Fields> {
		return new Map<number, CborValue>([[0, withoutUndefined(await this.#need().status())]]);
	}

	/** Answered when all is uploaded that is pending now. */
	run(): Promise<Fields> {
		return this.#need()
			.run()
			.then(() => NOTHING);
	}

	/** A page of them, and whether there may be more. */
	async ranges(body: Body): Promise<Fields> {
		const place = body.get(1) as [topic: string, partition: number, baseOffset: number] | undefined;
		const after = place === undefined ? undefined : { topic: place[0], partition: place[1], baseOffset: place[2] };
		const limit = (body.get(2) as number | undefined) ?? RANGES_DEFAULT;
		const ranges = await this.#need().ranges(body.get(0) as string | undefined, after, Math.min(limit, MAX_RANGES));
		return new Map<number, CborValue>([
			[0, ranges.map(rangeItem)],
			[1, ranges.length >= limit],
		]);
	}

	verify(connection: Connection, id: number, body: Body): void {
		const admin = this.#need();
		if (this.#verifying !== undefined)
			throw new BrokerError(
				"THROTTLING_QUOTA_EXCEEDED",
				"store and catalog are being compared already: wait for that to end",
			);
		const verifying = new Verifying(connection, id, () => {
			if (this.#verifying === verifying) this.#verifying = undefined;
		});
		this.#verifying = verifying;
		verifying.start(admin, body.get(0) === true);
	}

	/** Ends the verify of that id, if there is one. */
	giveUp(connection: Connection, id: number): void {
		if (this.#verifying?.connection === connection && this.#verifying.id === id) this.#verifying.answerNow();
	}

	#need(): TierAdmin {
		if (this.#admin !== undefined) return this.#admin;
		throw new BrokerError("INVALID_CONFIG", "this gateway runs without tiered storage: its log says why");
	}
}

/** One comparison of store and catalog, for one connection: findings go out as they come, as fast as the peer takes them. */
class Verifying implements Waiting {
	readonly connection: Connection;
	readonly id: number;
	readonly #ended: () => void;
	#findings: TierFinding[] = [];
	#bytes = 0;
	#done: TierVerifyResult = { objects: 0, bytes: 0, ranges: 0, done: false };
	#isOver = false;
	#timer: Timer | undefined;
	readonly #stop = new AbortController();

	constructor(connection: Connection, id: number, ended: () => void) {
		this.connection = connection;
		this.id = id;
		this.#ended = ended;
	}

	start(admin: TierAdmin, deep: boolean): void {
		this.connection.waiting.add(this);
		this.#tick();
		this.#run(admin, deep).catch((error: unknown) => this.#end(error));
	}

	answerNow(): void {
		this.#end(new BrokerError("OPERATION_NOT_ATTEMPTED", "the comparison of store and catalog was given up"));
	}

	cancel(): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.#timer?.cancel();
		this.connection.waiting.delete(this);
		this.#stop.abort();
		this.#ended();
	}

	async #run(admin: TierAdmin, deep: boolean): Promise<void> {
		const progress = (done: TierVerifyResult) => {
			this.#done = done;
		};
		for await (const finding of admin.verify(deep, progress, this.#stop.signal)) {
			if (this.#isOver) return;
			const bytes = Buffer.byteLength(finding.object) + Buffer.byteLength(finding.what) + 32;
			const isFull = this.#bytes + bytes + FINDINGS_OVERHEAD_BYTES > this.connection.peerFrameBytes;
			if (this.#findings.length > 0 && (isFull || this.#findings.length >= FINDINGS_MAX)) {
				await this.connection.whenWritable();
				if (this.#isOver) return;
				this.#send();
			}
			this.#findings.push(finding);
			this.#bytes += bytes;
		}
		if (this.#isOver) return;
		if (this.#findings.length > 0) this.#send();
		if (this.#isOver) return;
		this.cancel();
		this.connection.answerFields(this.id, MESSAGE.TIER_VERIFY, new Map([[0, doneItem(this.#done)]]));
	}

	/** Progress is told though nothing is found. */
	#tick(): void {
		this.#timer = this.connection.host.broker.clock.after(FINDINGS_MS, () => {
			if (this.connection.canPush) this.#send();
			if (!this.#isOver) this.#tick();
		});
	}

	#send(): void {
		const items = this.#findings.map(({ kind, object, what }): CborValue => [kind, object, what]);
		this.#findings = [];
		this.#bytes = 0;
		const body = new CborWriter()
			.value(
				new Map<number, CborValue>([
					[0, items],
					[1, doneItem(this.#done)],
				]),
			)
			.take();
		const frame = frameOf(MESSAGE.TIER_FINDINGS, this.id, body);
		if (frame.length - 4 <= this.connection.peerFrameBytes) this.connection.push(frame);
		else this.#end(new BrokerError("MESSAGE_TOO_LARGE", `a finding takes ${frame.length - 4} bytes`));
	}

	#end(error: unknown): void {
		if (this.#isOver) return;
		this.cancel();
		this.connection.refuse(this.id, error);
	}
}

function doneItem({ objects, bytes, ranges }: TierVerifyResult): CborValue {
	return [objects, bytes, ranges];
}

function rangeItem(range: TierRange): CborValue {
	const { topic, partition, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp, object } = range;
	return [
		topic,
		partition,
		baseOffset,
		nextOffset,
		storedBytes,
		rawBytes,
		maxTimestamp < 0 ? null : maxTimestamp,
		object,
	];
}

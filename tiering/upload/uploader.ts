/**
 * Uploads what is pending, in runs: at the schedule's times, or when asked. A run sends bundle after bundle until nothing is
 * left of what was pending when it began. A bundle counts, and its records may leave this machine, only when the store has
 * confirmed the object and the catalog knows it; every failure before that costs the attempt alone, whose object is removed.
 *
 * While the store cannot be reached a run waits and tries again. What the link cuts off again and again is sent in smaller
 * bundles; each that arrives lets the next be twice as large.
 */
import type { Clock, Timer } from "../../src/base/clock.ts";
import { isDiskFull } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { TierRunStatus, TierStatus } from "../../src/broker/tier-admin.ts";
import type { Uplink } from "../../src/broker/uplink.ts";
import { encodeBlocks } from "../bundle/block-index.ts";
import type { Compression } from "../bundle/compression.ts";
import type { BundleTopic } from "../bundle/footer.ts";
import { type BundleIdentity, bundleKey } from "../bundle/identity.ts";
import { BundleWriter } from "../bundle/writer.ts";
import type { ObjectStore, StoreError } from "../object-store.ts";
import type { TakenSnapshot } from "../restore/take-snapshot.ts";
import { BundleFilling, type FilledRange, type PendingProblem } from "./fill-bundle.ts";
import { ObjectUpload, SMALLEST_BODY_BYTES, UploadFailed } from "./object-upload.ts";
import { Pending, type PendingRange, pendingFrom } from "./pending.ts";
import { Persistence } from "./persistence.ts";
import { RunProgress } from "./run-progress.ts";
import type { RunReason, Schedule } from "./schedule.ts";

export interface UploaderServices {
	readonly broker: Broker;
	readonly store: ObjectStore;
	readonly schedule: Schedule;
	/** undefined: the store is not at the other end of the link. */
	readonly uplink: Uplink | undefined;
	readonly gatewayId: string;
	readonly incarnation: number;
	/** Asked before each run. Rejects with ClaimError or StoreError where this gateway may not upload, or it is not known. */
	readonly checkClaim: () => Promise<void>;
	readonly takeSnapshot: () => Promise<TakenSnapshot>;
	/** Objects may have come to be removed. */
	readonly released: () => void;
	/** Record batches in a bundle, at most (but for the last of them), bytes. */
	readonly bundleBytes: number;
	/** Program and version, for people. */
	readonly writer: string;
	readonly compression?: Compression;
}

/** How often the schedule is asked. */
const LOOK_MS = 5000;
const BUDGET_LOOK_MS = 30_000;
const BUDGET = "the uplink's budget (uplink.bytes.per.second, .day, .month)";
/** A bundle that the store loses so often in a row ends the run. */
const LOST_MAX = 3;
/** In the catalog: the hash of the snapshot in the newest bundle that has one. */
const SNAPSHOT_HASH = "tier.snapshot.hash";

/** Ends a run without being an error: the window shut while it waited. */
class WindowShut extends Error {
	override readonly name = "WindowShut";
}

/** The gateway stops. */
class Stopped extends Error {
	override readonly name = "Stopped";
}

interface Run {
	readonly reason: RunReason | "asked";
	readonly progress: RunProgress;
	readonly persistence: Persistence;
	/** What was pending when it began, and is still. */
	pending: PendingRange[];
	readonly problems: PendingProblem[];
}

export class Uploader {
	readonly #services: UploaderServices;
	readonly #clock: Clock;
	readonly #pending: Pending;
	readonly #stop = new AbortController();
	#timer: Timer | undefined;
	#looking: Promise<void> = Promise.resolve();
	#run: { readonly state: Run; readonly done: Promise<void> } | undefined;
	#sequence = 0;
	/** Of the last one. */
	#snapshotBytes = 0;
	/** Record batches in the next bundle, at most. */
	#bundleBytes: number;
	/** The link cuts requests off: even small bundles are sent in parts, which may be sent again. */
	#inParts = false;
	#lastRun: TierStatus["lastRun"];
	#error: TierStatus["error"];

	constructor(services: UploaderServices) {
		this.#services = services;
		this.#clock = services.broker.clock;
		this.#bundleBytes = services.bundleBytes;
		const { topics, catalog, clock } = services.broker;
		this.#pending = new Pending({ topics, tier: catalog.tier, clock });
	}

	/** From now on runs begin by themselves. */
	start(): void {
		this.#timer = this.#clock.after(LOOK_MS, () => {
			this.#looking = this.#look().then(() => {
				if (!this.#stop.signal.aborted) this.start();
			});
		});
	}

	/** Ends what is under way at once: its attempt comes to nothing, and the next start sees to its object. */
	async stop(): Promise<void> {
		this.#timer?.cancel();
		this.#stop.abort(new Stopped("the gateway stops"));
		await this.#looking;
		await this.#run?.done.catch(() => {});
	}

	/** Uploads what is pending now, whatever the schedule says. Rejects with what ended it. */
	async run(): Promise<void> {
		this.#run?.state.persistence.hurry();
		// What is under way may have begun before the last records came.
		await this.#run?.done.catch(() => {});
		this.#stop.signal.throwIfAborted();
		await (this.#run?.done ?? this.#begin("asked"));
	}

	/** undefined: there is none. */
	get runStatus(): TierRunStatus | undefined {
		const run = this.#run?.state;
		if (run === undefined) return undefined;
		const { wait } = run.persistence;
		const waitMs = wait === undefined ? 0 : Math.max(0, wait.untilMs - this.#clock.monotonic());
		return {
			...run.progress.status(),
			waitsUntilMs: wait === undefined ? undefined : this.#clock.now() + Math.round(waitMs),
			waitsFor: wait?.what,
		};
	}

	get lastRun(): TierStatus["lastRun"] {
		return this.#lastRun;
	}

	/** What went wrong last, and has not gone right since. */
	get error(): TierStatus["error"] {
		return this.#error;
	}

	/** Of all partitions, those with the oldest records first. */
	pending(): Promise<PendingRange[]> {
		return this.#pending.list();
	}

	async #look(): Promise<void> {
		if (this.#run !== undefined) return;
		try {
			const reason = this.#services.schedule.due(await this.#pending.bytes());
			if (reason !== undefined && this.#run === undefined && !this.#stop.signal.aborted) void this.#begin(reason);
		} catch (error) {
			this.#failed(error);
		}
	}

	#begin(reason: Run["reason"]): Promise<void> {
		const { broker, schedule } = this.#services;
		const state: Run = {
			reason,
			progress: new RunProgress(this.#clock),
			persistence: new Persistence({
				clock: this.#clock,
				random: broker.random,
				signal: this.#stop.signal,
				mayWait: () => {
					if (reason !== "asked" && !schedule.isOpen) throw new WindowShut("the window is shut");
				},
				failed: (error) => this.#failed(error),
			}),
			pending: [],
			problems: [],
		};
		schedule.began();
		const done = this.#upload(state).then(
			() => this.#ended(state, undefined),
			(error: unknown) => {
				this.#ended(state, error);
				throw error;
			},
		);
		// Who began it without waiting for it reads the log.
		done.catch(() => {});
		this.#run = { state, done };
		return done;
	}

	#ended(run: Run, error: unknown): void {
		const { broker, schedule, uplink } = this.#services;
		this.#run = undefined;
		schedule.ended(error === undefined);
		uplink?.settle();
		if (error instanceof Stopped) return;
		const { bundles, doneBytes, sinceMs } = run.progress.status();
		this.#lastRun = { endedMs: this.#clock.now(), bundles, bytes: doneBytes };
		// What no checkpoint has could not leave this machine yet.
		if (bundles > 0) broker.log.checkpoint().catch(() => {});
		if (bundles > 0)
			broker.logger.info("uploaded to the object store", {
				reason: run.reason,
				bundles,
				bytes: doneBytes,
				ms: this.#clock.now() - sinceMs,
			});
		if (error !== undefined && !(error instanceof WindowShut)) this.#failed(error);
		else if (run.problems.length > 0) this.#failed(new Error(run.problems.map(({ message }) => message).join("; ")));
		else if (error === undefined) this.#worked();
		this.#services.released();
	}

	async #upload(run: Run): Promise<void> {
		const { persistence, progress } = run;
		await persistence.persist(() => this.#services.checkClaim());
		this.#services.broker.catalog.tier.keepRoom();
		run.pending = await this.#pending.list();
		progress.begin(run.pending.reduce((sum, { bytes }) => sum + bytes, 0));
		if (run.pending.length === 0) return this.#uploadSnapshot(run);
		for (let lost = 0; run.pending.length > 0; ) {
			if (run.reason !== "asked" && !this.#services.schedule.isOpen) throw new WindowShut("the window is shut");
			try {
				await this.#uploadBundle(run, await this.#nextBytes(run));
				lost = 0;
			} catch (error) {
				progress.giveUp();
				if (!(error instanceof UploadFailed)) throw error;
				this.#failed(error);
				if (error.kind === "lost" && ++lost === LOST_MAX) throw error;
			}
			run.pending = run.pending.filter((each) => this.#isLeft(run, each));
		}
	}

	#isLeft({ problems }: Run, { partition, to }: PendingRange): boolean {
		if (this.#services.broker.log.partitions.get(partition.id) !== partition) return false;
		if (problems.some(({ pending }) => pending.partition === partition)) return false;
		return partition.config.tier.copies && pendingFrom(partition) < to;
	}

	/** What a restore needs may have changed without a record: a bundle without ranges has it. */
	async #uploadSnapshot(run: Run): Promise<void> {
		const { broker, takeSnapshot } = this.#services;
		if (broker.catalog.tier.newestBundle() === undefined && run.reason !== "asked") return;
		const { hash } = await takeSnapshot();
		if (broker.catalog.getMeta(SNAPSHOT_HASH) === String(hash)) return;
		await this.#uploadBundle(run, 0);
	}

	/** Within the link's budget; waits for it where nothing is left. */
	async #nextBytes({ persistence }: Run): Promise<number> {
		const { uplink } = this.#services;
		while (uplink?.left() === 0)
			await persistence.sleep(BUDGET_LOOK_MS, "the uplink's budget (uplink.bytes.per.day, .month)");
		return Math.max(SMALLEST_BODY_BYTES, Math.min(this.#bundleBytes, uplink?.left() ?? this.#bundleBytes));
	}

	/** Rejects with UploadFailed where another attempt may come to something. */
	async #uploadBundle(run: Run, maxBytes: number): Promise<void> {
		const { broker, gatewayId, incarnation } = this.#services;
		const { tier } = broker.catalog;
		this.#sequence = Math.max(this.#sequence, tier.lastSequence()) + 1;
		const attempt = broker.random.bytes(4).toString("hex");
		const identity = { gateway: gatewayId, incarnation, sequence: this.#sequence, attempt };
		const row = { incarnation, sequence: this.#sequence, key: bundleKey(identity), createdMs: this.#clock.now() };
		const id = await this.#whenThereIsSpace(run, () => tier.beginBundle(row));
		try {
			const { filled, sizeBytes, snapshot } = await this.#send(run, identity, maxBytes);
			await this.#whenThereIsSpace(run, () => this.#commit(id, sizeBytes, filled, snapshot !== undefined));
			if (snapshot !== undefined) broker.catalog.setMeta(SNAPSHOT_HASH, String(snapshot.hash));
			run.progress.stored();
			this.#worked();
			this.#bundleBytes = Math.min(this.#services.bundleBytes, this.#bundleBytes * 2);
		} catch (error) {
			// What is left as it is the next start sees to.
			if (!(error instanceof Stopped)) this.#abandon(id);
			throw error;
		}
	}

	#abandon(id: number): void {
		const { broker, released } = this.#services;
		try {
			broker.catalog.tier.abandonBundle(id);
			released();
		} catch (error) {
			broker.logger.warn("an upload that came to nothing is left for the next start", { error: String(error) });
		}
	}

	async #send(
		{ persistence, progress, pending, problems }: Run,
		identity: BundleIdentity,
		maxBytes: number,
	): Promise<{ filled: FilledRange[]; sizeBytes: number; snapshot: TakenSnapshot | undefined }> {
		const { broker, store, writer, compression, takeSnapshot } = this.#services;
		const upload = new ObjectUpload(bundleKey(identity), {
			store,
			clock: this.#clock,
			persistence,
			take: (bytes) => this.#take(persistence, bytes),
			sent: (bytes, fromMs) => progress.sent(bytes, fromMs),
			inParts: this.#inParts,
		});
		const sink = (bytes: Buffer) => upload.write(bytes);
		const bundle = new BundleWriter(identity, {
			sink,
			clock: this.#clock,
			writer,
			...(compression === undefined ? {} : { compression }),
		});
		const filling = new BundleFilling(bundle, {
			clock: this.#clock,
			pressure: broker.pressure,
			persistence,
			added: (bytes) => progress.added(bytes),
		});
		try {
			await filling.fill(pending, maxBytes);
			problems.push(...filling.problems);
			// Over a link that lets little through, records go first: a restore takes the snapshot of an older bundle.
			const isTooLong = this.#bundleBytes < this.#services.bundleBytes && this.#snapshotBytes > this.#bundleBytes;
			const snapshot = isTooLong && pending.length > 0 ? undefined : await takeSnapshot();
			this.#snapshotBytes = snapshot?.bytes.length ?? this.#snapshotBytes;
			await bundle.finish(topicsOf(broker, filling.filled), snapshot?.bytes);
			const sizeBytes = await upload.finish();
			this.#inParts = upload.wasCut;
			return { filled: filling.filled, sizeBytes, snapshot };
		} catch (error) {
			this.#inParts ||= error instanceof UploadFailed;
			if (error instanceof UploadFailed && error.kind === "cut")
				this.#shrink(error.bytes, progress.attemptBytes, bundle);
			throw error;
		} finally {
			upload.release();
		}
	}

	/** The next bundle is to be half of what did not get through. */
	#shrink(cutBytes: number, rawBytes: number, bundle: BundleWriter): void {
		const rawOfCut = (cutBytes * rawBytes) / Math.max(1, bundle.sizeBytes);
		this.#bundleBytes = Math.max(SMALLEST_BODY_BYTES, Math.floor(Math.min(this.#bundleBytes, rawOfCut) / 2));
	}

	async #take(persistence: Persistence, bytes: number): Promise<void> {
		const { uplink } = this.#services;
		if (uplink === undefined) return;
		const given = new AbortController();
		const untilMs = this.#budgetMs(uplink, bytes);
		const taken = uplink.take(bytes, given.signal);
		try {
			await persistence.whileWaiting(BUDGET, untilMs, taken);
		} finally {
			given.abort(new Stopped("nobody waits"));
		}
	}

	/** When there is room for `bytes`, by the monotonic clock. */
	#budgetMs(uplink: Uplink, bytes: number): number {
		const nowMs = this.#clock.now();
		return this.#clock.monotonic() + Math.max(0, (uplink.blockedUntilMs(bytes) ?? nowMs) - nowMs);
	}

	/** One transaction: the bundle is stored, its ranges count, the partitions know. */
	#commit(id: number, sizeBytes: number, filled: readonly FilledRange[], hasSnapshot: boolean): void {
		const { tier } = this.#services.broker.catalog;
		const counted = filled.filter((each) => this.#counts(each));
		tier.commitBundle(
			id,
			sizeBytes,
			counted.map(({ range }) => ({ ...range, blocks: encodeBlocks(range.blocks, range.baseOffset) })),
			hasSnapshot,
		);
		for (const { pending, range } of counted) pending.partition.tiered(range.nextOffset);
	}

	/** Not of a topic that has left the tier meanwhile, nor what retention has taken since; deleted ones the catalog leaves out. */
	#counts({ pending: { partition }, range }: FilledRange): boolean {
		if (!partition.config.tier.enabled || range.nextOffset <= partition.logStartOffset) return false;
		// It must follow on what is there: who left the tier and came back begins anew.
		return range.baseOffset <= pendingFrom(partition);
	}

	/** A full disk passes, perhaps by what this very upload lets go. */
	async #whenThereIsSpace<T>({ persistence }: Run, work: () => T): Promise<T> {
		for (;;) {
			persistence.throwIfEnded();
			try {
				return work();
			} catch (error) {
				if (!isDiskFull(error)) throw error;
				this.#failed(error);
				await persistence.sleep(LOOK_MS, "space on the disk for the catalog");
			}
		}
	}

	/** One line in the log for a trouble, however often it is met, and one for its end. */
	#failed(error: unknown): void {
		const message = (error as StoreError).message ?? String(error);
		if (this.#error === undefined)
			this.#services.broker.logger.warn("uploading to the object store fails", { error: message });
		this.#error = { sinceMs: this.#error?.sinceMs ?? this.#clock.now(), message };
	}

	#worked(): void {
		if (this.#error === undefined) return;
		this.#error = undefined;
		this.#services.broker.logger.info("uploading to the object store works again");
	}
}

function topicsOf(broker: Broker, filled: readonly FilledRange[]): BundleTopic[] {
	const topics = new Map(filled.map(({ pending: { topic } }) => [topic.id, topic]));
	return [...topics.values()].map((topic) => {
		const { id, name, config, partitions } = broker.topics.getById(topic.id) ?? topic;
		return { id, name, partitions: partitions.length, config };
	});
}

/**
 * Sends what is in the local log to the central cluster, for ever: gets ready, sends what is due, waits. A link that is cut
 * and a cluster that is away cost a wait that grows; what does not fit together halts it until a person has decided. Nothing is
 * queued in memory: where each partition stands is a position, and a backlog of weeks is read from the log as it is sent.
 */
import { Backoff } from "../../src/base/backoff.ts";
import { BufferPool } from "../../src/base/buffer-pool.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Uplink, UplinkPriority } from "../../src/broker/uplink.ts";
import type {
	UpstreamProblem,
	UpstreamReset,
	UpstreamResetStep,
	UpstreamState,
} from "../../src/broker/upstream-admin.ts";
import type { Window } from "../../src/broker/window.ts";
import { buildShipment, type Shipment } from "./build-shipment.ts";
import { pause } from "./client/attempts.ts";
import { KafkaError } from "./client/kafka-error.ts";
import { LinkError } from "./client/link-error.ts";
import type { Destinations } from "./destinations.ts";
import type { LocalRows } from "./local-rows.ts";
import type { UpstreamOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { lagOf, type Position } from "./position.ts";
import { Halt } from "./progress/judge.ts";
import { Rate } from "./rate.ts";
import type { Rejections } from "./rejections.ts";
import { type PlannedReset, planReset } from "./reset.ts";
import type { Session } from "./session.ts";
import { Effort } from "./shipment/effort.ts";
import { Rebatcher } from "./shipment/rebatcher.ts";
import type { Source, Sources } from "./sources.ts";
import { Wake } from "./wake.ts";
import { nextWork, type Permission, putOffBacklog, type Work } from "./work.ts";

/** How often positions are noted here: what they say may be so old after a crash. */
const SAVE_EXACT_MS = 30_000;
/** Where nobody else knows, and what was sent since is sent once more after a crash. */
const SAVE_LOOSE_MS = 5000;
/** Requests and answers of a transaction beside its batches, roughly; what they really took is counted afterwards. */
const OVERHEAD_BYTES = 1024;
/** What is read goes into memory used again: so much of it is kept. */
const READ_IDLE_BYTES = 512 * 1024;
/** How long what is being sent may take to its end when the gateway stops. */
const GOODBYE_MS = 5000;
/** After being fenced: by then whoever did it has said so in the progress topic. */
const FENCE_LOOK_MS = 10_000;
/** Being fenced so often without anybody taking the name is no accident. */
const FENCES_MAX = 3;
const FENCES_WITHIN_MS = 3_600_000;

export interface ReplicatorServices {
	readonly broker: Broker;
	readonly session: Session;
	readonly sources: Sources;
	readonly destinations: Destinations;
	readonly rows: LocalRows;
	readonly uplink: Uplink;
	readonly window: Window;
	readonly rejections: Rejections;
	readonly options: UpstreamOptions;
	/** Counts what has passed on the wire since it was called last. */
	readonly charge: (takenBytes: number) => void;
}

interface PendingReset {
	readonly reset: UpstreamReset;
	readonly done: (steps: readonly UpstreamResetStep[]) => void;
	readonly failed: (error: unknown) => void;
}

export class Replicator {
	readonly counters = { records: 0, bytes: 0, transactions: 0 };
	readonly rates: { readonly records: Rate; readonly bytes: Rate };
	lastSentMs: number | undefined;
	readonly #services: ReplicatorServices;
	readonly #rebatcher: Rebatcher;
	readonly #pool = new BufferPool(READ_IDLE_BYTES);
	readonly #pace: Pace;
	readonly #effort: Effort;
	readonly #backoff: Backoff;
	readonly #wake: Wake;
	/** Ends what is begun, when it takes too long while the gateway stops. */
	readonly #abort = new AbortController();
	/** Ends what is waited for, when a person wants something else. */
	#turn = new AbortController();
	#isStopping = false;
	#isHalted = false;
	#follows = false;
	#reset: PendingReset | undefined;
	#state: UpstreamState = "stopped";
	#stateSinceMs: number;
	#nextMs: number | undefined;
	#problem: UpstreamProblem | undefined;
	#fencesMs: number[] = [];
	/** What the budget must have room for before anything is made ready. */
	#leastBytes = OVERHEAD_BYTES;
	/** Of bytes before compression, what of them is sent. */
	#wireShare = 1;
	#isSaving = false;
	#running: Promise<void> | undefined;

	constructor(services: ReplicatorServices) {
		const { broker, options, sources } = services;
		const { clock, random } = broker;
		this.#services = services;
		this.#rebatcher = new Rebatcher({ codec: options.codec, level: options.level, compress: options.compress });
		this.#pace = new Pace(options.transactionBytes, options.transactionTimeoutMs);
		this.#effort = new Effort(options.level);
		this.#backoff = new Backoff(random);
		this.#wake = new Wake(clock);
		this.rates = { records: new Rate(clock), bytes: new Rate(clock) };
		this.#stateSinceMs = clock.now();
		sources.onReady = () => this.#wake.set();
	}

	get status(): {
		state: UpstreamState;
		sinceMs: number;
		nextMs: number | undefined;
		problem: UpstreamProblem | undefined;
	} {
		return { state: this.#state, sinceMs: this.#stateSinceMs, nextMs: this.#nextMs, problem: this.#problem };
	}

	start(): void {
		this.#running = this.#run();
	}

	/** Topics were made, deleted, or given partitions. */
	topicsChanged(): void {
		this.#follows = false;
		try {
			// At once, whatever is waited for: retention is to leave what they get.
			this.#services.sources.follow();
		} catch {
			// With the next turn, then.
		}
		this.#wake.set();
	}

	/** Ends what is being sent, if that is soon, and notes where everything is. */
	async stop(): Promise<void> {
		this.#isStopping = true;
		this.#interrupt();
		const patience = this.#services.broker.clock.after(GOODBYE_MS, () => this.#abort.abort(new Error("stopping")));
		await this.#running;
		patience.cancel();
		this.#save();
	}

	/** Durable when it resolves. Rejects with BrokerError. */
	async setPaused(paused: boolean): Promise<void> {
		// Who starts paused asks nobody how far it is.
		if (paused) this.#save();
		await this.#services.rows.changeNow({ paused: paused || undefined });
		if (!paused) this.#forgetProblems();
		this.#interrupt();
	}

	/** Rejects with Halt, LinkError, KafkaError. */
	reset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]> {
		return new Promise((done, failed) => {
			this.#reset?.failed(new Error("another reset came after it"));
			this.#reset = { reset, done, failed };
			this.#interrupt();
		});
	}

	/** A person has looked at it: what was given up is tried again. */
	#forgetProblems(): void {
		const { session, sources } = this.#services;
		if (this.#isHalted) session.forget();
		this.#isHalted = false;
		for (const flow of sources.flows.values()) flow.problem = undefined;
		this.#backoff.reset();
	}

	#interrupt(): void {
		this.#turn.abort();
		this.#wake.set();
	}

	async #run(): Promise<void> {
		while (!this.#isStopping) {
			this.#turn = new AbortController();
			try {
				await this.#takeTurn();
			} catch (error) {
				if (this.#isStopping || this.#turn.signal.aborted) continue;
				await this.#failed(error);
			}
		}
		this.#enter("stopped");
		this.#reset?.failed(new Error("the gateway stops"));
	}

	async #takeTurn(): Promise<void> {
		const { session, sources, rows, broker } = this.#services;
		if (!this.#follows) {
			sources.follow();
			this.#follows = true;
			if (!broker.log.idle) await broker.log.whenCommitted();
		}
		if (this.#reset !== undefined) return this.#doReset();
		if (this.#isHalted || rows.session.paused === true) {
			this.#enter(this.#isHalted ? "halted" : "paused");
			await this.#wake.wait(undefined, this.#turn.signal);
			return;
		}
		if (!session.isReady) {
			if (this.#problem === undefined) this.#enter("connecting");
			await session.open(false, this.#abort.signal);
		}
		if (!session.isOwner) await session.claim(new Map(), () => {}, this.#abort.signal);
		const { clock } = broker;
		const work = nextWork(sources, {
			clock,
			lingerMs: this.#services.options.lingerMs,
			fullBytes: this.#pace.bytes,
			permission: (priority) => this.#permission(priority),
		});
		if ("sources" in work) {
			await this.#ship(work);
			return;
		}
		const { waitMs, held } = work;
		this.#effort.rested();
		this.#works();
		this.#enter(held?.why ?? "running", held?.untilMs);
		await this.#wake.wait(waitMs, this.#turn.signal);
	}

	#permission(priority: UplinkPriority): Permission {
		const { uplink, window } = this.#services;
		if (priority !== "high" && !window.isOpen) return { why: "closed", untilMs: window.nextMs() };
		const untilMs = uplink.blockedUntilMs(this.#leastBytes, priority);
		return untilMs === undefined ? "yes" : { why: "budget", untilMs };
	}

	async #ship({ sources: due, priority }: Work): Promise<void> {
		const { broker, session, sources, uplink, options, rejections, charge } = this.#services;
		const { clock, logger } = broker;
		const ready = await this.#services.destinations.prepare(due, this.#abort.signal);
		if (ready.length === 0) return;
		for (const source of ready) putOffBacklog(source, this.#pace.bytes);
		const startedMs = clock.monotonic();
		this.#rebatcher.level = this.#effort.level;
		const shipment = await buildShipment(ready, {
			clock,
			rebatcher: this.#rebatcher,
			pool: this.#pool,
			batchBytes: options.batchBytes,
			rawBytes: this.#affordable(priority),
			excludedOf: (source) => rejections.excludedOf(source),
			targetOf: ({ flow }) => this.#services.destinations.targetOf(flow),
			failed: ({ partition: { topic, number } }, error) =>
				logger.warn("records could not be read to be sent upstream; it will be tried again", {
					...{ topic, partition: number, error: String(error) },
				}),
		});
		// What turned out to be gone, or not to be had now.
		for (const source of ready) if (shipment?.moves.has(source) !== true) sources.look(source);
		if (shipment === undefined) return;
		this.#enter("running");
		const madeMs = clock.monotonic() - startedMs;
		const takenBytes = shipment.wireBytes + OVERHEAD_BYTES;
		if (uplink.blockedUntilMs(takenBytes, priority) !== undefined) {
			// Not even this much: what matters more must not wait behind it until the next day.
			this.#leastBytes = takenBytes;
			return;
		}
		await uplink.take(takenBytes, this.#turn.signal, priority);
		const beganMs = clock.monotonic();
		try {
			const refused = await session.send(
				shipment.batches,
				shipment.moves,
				() => this.#arrived(shipment),
				this.#abort.signal,
			);
			if (refused.length > 0) await rejections.settle(refused);
			else {
				// All of it was answered: nobody sends from that memory any more.
				for (const batch of shipment.batches) batch.release();
				const endedMs = clock.monotonic();
				this.#pace.took(shipment.rawBytes, endedMs - beganMs);
				// What it waited for the budget, it waited for the link.
				this.#effort.took(madeMs, endedMs - startedMs - madeMs);
			}
		} catch (error) {
			this.#pace.failed();
			throw error;
		} finally {
			charge(takenBytes);
		}
		this.#backoff.reset();
		this.#works();
	}

	/** Bytes before compression that the budget has room for, as well as they compressed of late; the pace's at most. */
	#affordable(priority: UplinkPriority): number {
		const left = this.#services.uplink.left(priority);
		if (left === undefined) return this.#pace.bytes;
		return Math.min(this.#pace.bytes, Math.max(0, left - OVERHEAD_BYTES) / this.#wireShare);
	}

	/** The central cluster has it. */
	#arrived({ moves, records, rawBytes, wireBytes, isFull }: Shipment): void {
		const { broker, sources, rejections } = this.#services;
		for (const [source, position] of moves) {
			const offsets = lagOf(source.position, position.next) - lagOf(position, position.next);
			source.flow.arrived(offsets, records > 0 ? rawBytes / records : undefined);
			this.#moved(source, position);
			sources.served(source, isFull);
			rejections.passed(source);
		}
		this.#leastBytes = OVERHEAD_BYTES;
		if (rawBytes > 0) this.#wireShare = Math.min(1, Math.max(0.01, (this.#wireShare + wireBytes / rawBytes) / 2));
		this.counters.records += records;
		this.counters.bytes += rawBytes;
		this.counters.transactions += 1;
		this.rates.records.add(records);
		this.rates.bytes.add(rawBytes);
		this.lastSentMs = broker.clock.now();
		this.#saveLater();
	}

	#moved(source: Source, position: Position): void {
		source.position = position;
		source.sent = this.#services.destinations.sentTo(source.flow);
		source.isJudged = true;
		source.isDirty = true;
		this.#services.sources.trim(source);
	}

	#saveLater(): void {
		if (this.#isSaving) return;
		this.#isSaving = true;
		const { options, broker } = this.#services;
		broker.clock.after(options.mode === "exactly-once" ? SAVE_EXACT_MS : SAVE_LOOSE_MS, () => {
			this.#isSaving = false;
			if (!this.#isStopping) this.#save();
		});
	}

	/** Notes where each partition is, with the next commit. */
	#save(): void {
		const { broker, rows, sources } = this.#services;
		const dirty = [...sources.all()].filter(({ isDirty }) => isDirty);
		try {
			rows.save(
				dirty.map(({ flow, partition, position, sent }) => [flow.topic.id, partition.number, { position, sent }]),
				!sources.hasUndecided,
			);
			for (const source of dirty) source.isDirty = false;
		} catch (error) {
			broker.logger.warn("where replication stands could not be noted; it will be tried again", {
				error: String(error),
			});
			this.#saveLater();
		}
	}

	async #doReset(): Promise<void> {
		const pending = this.#reset as PendingReset;
		this.#reset = undefined;
		try {
			pending.done(await this.#applyReset(pending.reset));
		} catch (error) {
			pending.failed(error);
			if (error instanceof Halt) return;
			throw error;
		}
	}

	async #applyReset(reset: UpstreamReset): Promise<readonly UpstreamResetStep[]> {
		const { broker, session, sources, rows } = this.#services;
		const { signal } = this.#abort;
		const takesOver = reset.topic === undefined;
		if (reset.dryRun) await session.look(takesOver, signal);
		else await session.open(takesOver, signal);
		if (!reset.dryRun && !takesOver) {
			if (!session.isOwner) await session.claim(new Map(), () => {}, signal);
			await session.renew(signal);
		}
		const planned: PlannedReset[] = planReset(sources, session, rows, reset);
		if (reset.dryRun) return planned.map(({ step }) => step);
		await this.#services.destinations.find(new Set(planned.map(({ source }) => source.flow)), signal);
		const moves = new Map(planned.map(({ source, position }) => [source, position]));
		const moved = (): void => {
			for (const [source, position] of moves) this.#moved(source, position);
		};
		if (takesOver) await session.claim(moves, moved, signal);
		else await session.send([], moves, moved, signal);
		this.#save();
		await broker.log.whenCommitted();
		this.#forgetProblems();
		for (const { source } of planned) {
			source.readySinceMs = undefined;
			sources.look(source, Number.NEGATIVE_INFINITY);
		}
		broker.logger.warn("where replication goes on was set by hand", { ...reset, partitions: planned.length });
		return planned.map(({ step }) => step);
	}

	/** Nothing is wrong now. */
	#works(): void {
		if (this.#problem !== undefined) this.#services.broker.logger.info("replication goes on");
		this.#problem = undefined;
	}

	async #failed(failure: unknown): Promise<void> {
		const { session, sources, broker, charge } = this.#services;
		charge(0);
		let error = failure;
		if (error instanceof KafkaError && error.errorClass === "fenced" && error.api === "InitProducerId") {
			try {
				await this.#fenced();
				return;
			} catch (found) {
				if (this.#isStopping || this.#turn.signal.aborted) return;
				error = found;
			}
		}
		if (error instanceof Halt) {
			this.#isHalted = true;
			this.#say(error.message, error.action);
			this.#enter("halted");
			return;
		}
		let isLasting = false;
		if (error instanceof KafkaError) {
			if (error.errorClass === "expired") {
				// Whatever the cluster has forgotten is known here.
				this.#save();
				session.forget();
				for (const source of sources.all()) source.isJudged = false;
			}
			isLasting = error.errorClass === "fatal" || error.errorClass === "topic";
			this.#say(error.message, error.action);
		} else if (error instanceof LinkError) {
			isLasting = error.lasting;
			this.#say(error.message, error.action);
		} else {
			this.#say(String(error), undefined);
		}
		const waitMs = this.#backoff.next(isLasting);
		this.#enter("waiting", broker.clock.now() + waitMs);
		await this.#wakeless(waitMs);
	}

	/** The cluster has fenced the producer. Rejects with Halt where that was somebody who replicates under this name. */
	async #fenced(): Promise<void> {
		const { session, broker, options } = this.#services;
		if (!session.isOverdue) {
			const nowMs = broker.clock.monotonic();
			this.#fencesMs = [...this.#fencesMs.filter((atMs) => nowMs - atMs < FENCES_WITHIN_MS), nowMs];
			if (this.#fencesMs.length > FENCES_MAX) {
				this.#fencesMs = [];
				throw new Halt(
					`something else uses transactional id ${options.transactionalId} and ends this gateway's transactions, again and again`,
					"give each gateway a gateway.id (or upstream.transactional.id) of its own, then: headwater upstream resume",
				);
			}
			this.#say(
				`somebody else has begun to use transactional id ${options.transactionalId}`,
				"look for another gateway with the same gateway.id",
			);
			this.#enter("waiting", broker.clock.now() + FENCE_LOOK_MS);
			await pause(broker.clock, FENCE_LOOK_MS, this.#turn.signal);
		}
		await session.judgeFence(this.#abort.signal);
	}

	/** New records are no reason to try a link again that has just failed. */
	async #wakeless(ms: number): Promise<void> {
		await pause(this.#services.broker.clock, ms, this.#turn.signal).catch(() => undefined);
	}

	#say(message: string, action: string | undefined): void {
		const { logger, clock } = this.#services.broker;
		if (this.#problem?.message === message) return;
		this.#problem = { sinceMs: this.#problem?.sinceMs ?? clock.now(), message, action };
		logger.warn("replication to the central cluster is held up", {
			problem: message,
			...(action === undefined ? {} : { action }),
		});
	}

	#enter(state: UpstreamState, nextMs?: number): void {
		this.#nextMs = nextMs;
		if (state === this.#state) return;
		this.#state = state;
		this.#stateSinceMs = this.#services.broker.clock.now();
	}
}

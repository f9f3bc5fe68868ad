/**
 * An object store in a process of its own: an S3 client costs whoever loads it 20 to 30 MB for the rest of its life, and a disk
 * or a name service that hangs holds up the whole process. The child starts with the first call and ends when none has
 * come for a while; one that dies or falls silent is killed, what was under way rejects, and the next call starts another.
 * It ends with the gateway too, however the gateway ends.
 */
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { type Clock, systemClock, type Timer } from "../../src/base/clock.ts";
import { type Compression, threadCompression } from "../bundle/compression.ts";
import {
	type ObjectInfo,
	type ObjectPage,
	type ObjectStore,
	type ObjectStoreOptions,
	StoreError,
	type UploadId,
} from "../object-store.ts";
import { encodeHead, type FromChild, MessageReader, type StoreRequest } from "./store-messages.ts";

export interface StoreProcessSettings {
	/** The program's own entry, which knows the verb `--object-store`. */
	readonly script: string;
	/** How the store is called for people. */
	readonly name: string;
	/** The child ends when no call has come for so long. */
	readonly idleMs?: number;
	readonly clock?: Clock;
}

/** The verb of the process that holds an object store for a gateway. */
export const STORE_VERB = "--object-store";

/**
 * For memory rather than speed: the child waits for a network or a disk. Measured on Node 24.21: 20 MB of its own after
 * a first call to S3, 29 MB with a part of 8 MiB; without the flags and what is set below 25 and 50.
 */
const CHILD_FLAGS = ["--max-semi-space-size=1", "--optimize-for-size", "--single-threaded", "--expose-gc"];
const CHILD_ENVIRONMENT = {
	NODE_OPTIONS: "",
	UV_THREADPOOL_SIZE: "2",
	// glibc: bodies are given back when they are free; by itself it would keep memory for as many as there ever were.
	MALLOC_ARENA_MAX: "1",
	MALLOC_MMAP_THRESHOLD_: "1048576",
	MALLOC_TRIM_THRESHOLD_: "131072",
};
const IDLE_MS = 30_000;
/** Calls that are with the child at a time; it holds a body for each. */
const MOST_AT_ONCE = 8;
/** How often a child that has calls is looked at. */
const LOOK_MS = 5000;
const CLOSE_PATIENCE_MS = 2000;
const NO_BODY = Buffer.alloc(0);

interface Call {
	readonly request: StoreRequest;
	readonly body: Uint8Array;
	readonly resolve: (answer: { value: unknown; body: Buffer }) => void;
	readonly reject: (error: StoreError) => void;
}

interface Child {
	readonly process: ChildProcess;
	readonly calls: Map<number, Call>;
	readonly ended: Promise<void>;
	/** Looks at the child in a row that found nothing heard since the one before. */
	silentLooks: number;
}

export class StoreProcess implements ObjectStore {
	readonly name: string;
	readonly partBytes: number;
	/**
	 * Compresses there: its working memory, 12 MB after some hundred blocks, is never given back. To decompress takes little,
	 * and may be wanted when no store is.
	 */
	readonly compression: Compression;
	readonly #options: ObjectStoreOptions;
	readonly #script: string;
	readonly #idleMs: number;
	readonly #clock: Clock;
	#child: Child | undefined;
	#starting: Promise<void> | undefined;
	#waiting: Call[] = [];
	#nextId = 1;
	#idle: Timer | undefined;
	#watch: Timer | undefined;

	constructor(options: ObjectStoreOptions, settings: StoreProcessSettings) {
		this.name = settings.name;
		this.partBytes = options.partBytes;
		this.#options = options;
		this.#script = settings.script;
		this.#idleMs = settings.idleMs ?? IDLE_MS;
		this.#clock = settings.clock ?? systemClock;
		this.compression = {
			...threadCompression,
			zstd: (bytes) => this.#compress("zstd", bytes),
			gzip: (bytes) => this.#compress("gzip", bytes),
		};
	}

	/** Of the child, while there is one. */
	get processId(): number | undefined {
		return this.#child?.process.pid;
	}

	async #compress(method: "zstd" | "gzip", bytes: Uint8Array): Promise<Buffer> {
		try {
			return (await this.#call({ method }, bytes)).body;
		} catch (error) {
			// The child died: no reason for an upload to begin anew.
			if (error instanceof StoreError && error.kind === "unreachable") return threadCompression[method](bytes);
			throw error;
		}
	}

	async putIfAbsent(key: string, body: Uint8Array): Promise<void> {
		await this.#call({ method: "putIfAbsent", key }, body);
	}

	async put(key: string, body: Uint8Array): Promise<string | undefined> {
		const { value } = await this.#call({ method: "put", key }, body);
		return value as string | undefined;
	}

	async beginUpload(key: string): Promise<UploadId> {
		const { value } = await this.#call({ method: "beginUpload", key });
		return value as UploadId;
	}

	async putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string> {
		const { value } = await this.#call({ method: "putPart", upload, number }, body);
		return value as string;
	}

	async completeUpload(upload: UploadId, etags: readonly string[]): Promise<void> {
		await this.#call({ method: "completeUpload", upload, etags });
	}

	async abortUpload(upload: UploadId): Promise<void> {
		await this.#call({ method: "abortUpload", upload });
	}

	async uploads(prefix: string): Promise<UploadId[]> {
		const { value } = await this.#call({ method: "uploads", prefix });
		return value as UploadId[];
	}

	async get(key: string, position: number, bytes: number): Promise<Buffer> {
		const { body } = await this.#call({ method: "get", key, position, bytes });
		return body;
	}

	async getLast(key: string, bytes: number): Promise<{ bytes: Buffer; sizeBytes: number }> {
		const { value, body } = await this.#call({ method: "getLast", key, bytes });
		return { bytes: body, sizeBytes: value as number };
	}

	async head(key: string): Promise<ObjectInfo | undefined> {
		const { value } = await this.#call({ method: "head", key });
		return value as ObjectInfo | undefined;
	}

	async list(prefix: string, after?: string): Promise<ObjectPage> {
		const { value } = await this.#call({ method: "list", prefix, after });
		return value as ObjectPage;
	}

	async delete(key: string): Promise<void> {
		await this.#call({ method: "delete", key });
	}

	async close(): Promise<void> {
		const waiting = this.#waiting;
		this.#waiting = [];
		const reason = new StoreError("unreachable", `${this.name} was closed`);
		for (const call of waiting) call.reject(reason);
		await this.#starting;
		const child = this.#child;
		if (child === undefined) return;
		this.#end(child, reason);
		child.process.ref();
		// A process in a disk that hangs cannot be killed, and is not waited for.
		await new Promise<void>((resolve) => {
			const timer = this.#clock.after(CLOSE_PATIENCE_MS, resolve);
			child.ended.then(() => {
				timer.cancel();
				resolve();
			});
		});
		child.process.unref();
	}

	#call(request: StoreRequest, body: Uint8Array = NO_BODY): Promise<{ value: unknown; body: Buffer }> {
		return new Promise((resolve, reject) => {
			this.#waiting.push({ request, body, resolve, reject });
			this.#idle?.cancel();
			this.#idle = undefined;
			if (this.#child !== undefined) this.#pump(this.#child);
			else this.#starting ??= this.#start();
		});
	}

	async #start(): Promise<void> {
		try {
			const { spawn } = await import("node:child_process");
			// Closed meanwhile.
			if (this.#waiting.length === 0) return;
			const child = this.#attach(
				spawn(process.execPath, [...CHILD_FLAGS, this.#script, STORE_VERB], {
					stdio: ["pipe", "pipe", "inherit"],
					env: { ...process.env, ...CHILD_ENVIRONMENT },
				}),
			);
			this.#child = child;
			child.process.stdin?.write(encodeHead({ options: this.#options }, 0));
			this.#pump(child);
		} catch (error) {
			const reason = this.#gone(`could not be started (${(error as Error).message})`);
			const waiting = this.#waiting;
			this.#waiting = [];
			for (const call of waiting) call.reject(reason);
		} finally {
			this.#starting = undefined;
		}
	}

	#attach(started: ChildProcess): Child {
		const { promise: ended, resolve } = Promise.withResolvers<void>();
		const child: Child = { process: started, calls: new Map(), ended, silentLooks: 0 };
		const reader = new MessageReader<FromChild>((head, body) => this.#hear(child, head, body));
		const over = (how: string) => {
			this.#end(child, this.#gone(how));
			resolve();
		};
		started.on("error", (error) => over(`could not be started (${error.message})`));
		started.on("exit", (code, signal) => over(signal === null ? `ended with exit code ${code}` : `ended by ${signal}`));
		// Its exit tells what happened.
		started.stdin?.on("error", () => undefined);
		started.stdout?.on("error", () => undefined);
		started.stdout?.on("data", (chunk: Buffer) => {
			child.silentLooks = 0;
			reader.push(chunk);
		});
		return child;
	}

	/** Gives the child what waits, as much as it may have at a time. */
	#pump(child: Child): void {
		while (this.#waiting.length > 0 && child.calls.size < MOST_AT_ONCE) {
			const call = this.#waiting.shift() as Call;
			const id = this.#nextId++;
			if (child.calls.size === 0) child.silentLooks = 0;
			child.calls.set(id, call);
			child.process.stdin?.write(encodeHead({ id, request: call.request }, call.body.length));
			if (call.body.length > 0) child.process.stdin?.write(call.body);
		}
		this.#settle(child);
	}

	#hear(child: Child, head: FromChild, body: Buffer): void {
		if ("alive" in head) return;
		const call = child.calls.get(head.id);
		if (call === undefined) return;
		child.calls.delete(head.id);
		if ("error" in head) call.reject(new StoreError(head.error.kind, head.error.message));
		else call.resolve({ value: head.value, body });
		this.#pump(child);
	}

	/** Timers, and whether the child keeps this process alive: only while it has something to do. */
	#settle(child: Child): void {
		const busy = child.calls.size > 0;
		const pipes = [child.process.stdin as Socket | null, child.process.stdout as Socket | null];
		for (const handle of [child.process, ...pipes]) {
			if (busy) handle?.ref();
			else handle?.unref();
		}
		if (busy) {
			this.#watch ??= this.#clock.after(LOOK_MS, () => this.#look(child));
		} else {
			this.#watch?.cancel();
			this.#watch = undefined;
			this.#idle ??= this.#clock.after(this.#idleMs, () => this.#end(child, this.#gone("was idle")));
		}
	}

	/** Looks are counted, not time: this process may have slept, and the child's signs lie in the pipe unread. */
	#look(child: Child): void {
		this.#watch = undefined;
		const silentMs = ++child.silentLooks * LOOK_MS;
		// Over the child's own time-out, because its message says more than this one.
		if (silentMs <= this.#options.timeoutMs + LOOK_MS) this.#settle(child);
		else this.#end(child, this.#gone(`has been silent for ${silentMs} ms`));
	}

	#gone(how: string): StoreError {
		return new StoreError("unreachable", `${this.name}: the process that reaches it ${how}`);
	}

	/** The child is of no use any more. Nothing waits with it that a kill could harm: an object appears whole or not at all. */
	#end(child: Child, reason: StoreError): void {
		child.process.kill("SIGKILL");
		for (const pipe of [child.process.stdin, child.process.stdout]) pipe?.destroy();
		const calls = [...child.calls.values()];
		child.calls.clear();
		if (this.#child === child) {
			this.#child = undefined;
			this.#watch?.cancel();
			this.#idle?.cancel();
			this.#watch = this.#idle = undefined;
		}
		for (const call of calls) call.reject(reason);
		if (this.#waiting.length > 0 && this.#child === undefined) this.#starting ??= this.#start();
	}
}

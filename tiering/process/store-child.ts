/**
 * The child's side of a store process (store-process.ts): opens the store it is told of on standard input, does the calls
 * that follow, answers on standard output, and ends with its standard input, that is, with the gateway.
 */
import { Socket } from "node:net";
import { threadCompression } from "../bundle/compression.ts";
import { type ObjectStore, StoreError } from "../object-store.ts";
import { openStore } from "../open-store.ts";
import { encodeHead, type FromChild, MessageReader, type StoreRequest, type ToChild } from "./store-messages.ts";

/** How often the gateway hears that this process is not stuck. */
const SIGN_MS = 1000;
const READ_BYTES = 65_536;
/** Young garbage is collected whenever so much has passed through: V8 would let tens of megabytes of read chunks lie. */
const COLLECT_BYTES = 1_048_576;

export function answerStoreCalls(): void {
	let store: ObjectStore | undefined;
	let patienceMs = 0;
	let underWay = 0;
	let passedBytes = 0;
	const tidyUp = (bytes: number) => {
		passedBytes += bytes;
		if (passedBytes < COLLECT_BYTES) return;
		passedBytes = 0;
		globalThis.gc?.({ type: "minor" });
	};
	const send = (head: FromChild, body?: Buffer) => {
		process.stdout.write(encodeHead(head, body?.length ?? 0));
		if (body !== undefined && body.length > 0) process.stdout.write(body);
	};
	const answer = async (id: number, request: StoreRequest, body: Buffer) => {
		underWay++;
		try {
			const outcome = await inTime(perform(store as ObjectStore, request, body), patienceMs, request);
			send({ id, value: outcome.value }, outcome.body);
			// Not after a failure: something may still be reading it.
			reader.release(body);
			tidyUp(body.length + (outcome.body?.length ?? 0));
		} catch (error) {
			const kind = error instanceof StoreError ? error.kind : "refused";
			send({ id, error: { kind, message: error instanceof Error ? error.message : String(error) } });
		} finally {
			underWay--;
		}
	};
	const reader = new MessageReader<ToChild>((head, body) => {
		if ("options" in head) {
			store = openStore(head.options);
			// S3's calls have time-outs of their own, by byte; a disk that hangs has none.
			patienceMs = head.options.url.startsWith("file:") ? head.options.timeoutMs : 0;
		} else {
			void answer(head.id, head.request, body);
		}
	});
	setInterval(() => {
		if (underWay > 0) send({ alive: true });
	}, SIGN_MS);
	// One buffer for all that is read: chunks of their own would be garbage by the megabyte.
	const buffer = Buffer.alloc(READ_BYTES);
	const callback = (bytes: number): boolean => {
		reader.push(buffer.subarray(0, bytes));
		return true;
	};
	const input = new Socket({ fd: 0, readable: true, writable: false, onread: { buffer, callback } });
	input.on("end", () => process.exit(0));
	// A gateway that was killed.
	for (const stream of [input, process.stdout]) stream.on("error", () => process.exit(0));
	// A terminal or a service manager tells both: the gateway decides when it needs no store any more.
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);
}

interface Outcome {
	readonly value?: unknown;
	readonly body?: Buffer;
}

async function perform(store: ObjectStore, request: StoreRequest, body: Buffer): Promise<Outcome> {
	switch (request.method) {
		case "zstd":
			return { body: await threadCompression.zstd(body) };
		case "gzip":
			return { body: await threadCompression.gzip(body) };
		case "putIfAbsent":
			return { value: await store.putIfAbsent(request.key, body) };
		case "put":
			return { value: await store.put(request.key, body) };
		case "beginUpload":
			return { value: await store.beginUpload(request.key) };
		case "putPart":
			return { value: await store.putPart(request.upload, request.number, body) };
		case "completeUpload":
			return { value: await store.completeUpload(request.upload, request.etags) };
		case "abortUpload":
			return { value: await store.abortUpload(request.upload) };
		case "uploads":
			return { value: await store.uploads(request.prefix) };
		case "get":
			return { body: await store.get(request.key, request.position, request.bytes) };
		case "getLast": {
			const last = await store.getLast(request.key, request.bytes);
			return { value: last.sizeBytes, body: last.bytes };
		}
		case "head":
			return { value: await store.head(request.key) };
		case "list":
			return { value: await store.list(request.prefix, request.after) };
		case "delete":
			return { value: await store.delete(request.key) };
	}
}

/** Rejects when `patienceMs` (0: for ever) pass first; what then still happens in the store is an unknown outcome. */
async function inTime(work: Promise<Outcome>, patienceMs: number, request: StoreRequest): Promise<Outcome> {
	if (patienceMs === 0) return work;
	let timer: NodeJS.Timeout | undefined;
	const late = new Promise<never>((_, reject) => {
		timer = setTimeout(() => {
			const what = "key" in request ? ` of ${request.key}` : "";
			reject(new StoreError("unreachable", `${request.method}${what}: the disk has not answered for ${patienceMs} ms`));
		}, patienceMs);
	});
	try {
		return await Promise.race([work, late]);
	} finally {
		clearTimeout(timer);
	}
}

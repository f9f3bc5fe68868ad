/**
 * What a gateway and its store process say to each other, over the child's standard input and output. A message is a
 * head in JSON and a body of raw bytes, before them the length of each (32 bits, big-endian): a part of an object is
 * copied into one buffer of its own size, and never becomes text. Both ends are the same program, of one version.
 */
import type { ObjectStoreOptions, StoreErrorKind, UploadId } from "../object-store.ts";

/** One call of ObjectStore, or bytes to be compressed; what is written by it travels as the message's body. */
export type StoreRequest =
	| { readonly method: "zstd" | "gzip" }
	| { readonly method: "putIfAbsent" | "put" | "beginUpload" | "head" | "delete"; readonly key: string }
	| { readonly method: "putPart"; readonly upload: UploadId; readonly number: number }
	| { readonly method: "completeUpload"; readonly upload: UploadId; readonly etags: readonly string[] }
	| { readonly method: "abortUpload"; readonly upload: UploadId }
	| { readonly method: "uploads"; readonly prefix: string }
	| { readonly method: "get"; readonly key: string; readonly position: number; readonly bytes: number }
	| { readonly method: "getLast"; readonly key: string; readonly bytes: number }
	| { readonly method: "list"; readonly prefix: string; readonly after: string | undefined };

/** Gateway to child. The options come first and once: secrets are never on a command line or in an environment. */
export type ToChild =
	| { readonly options: ObjectStoreOptions }
	| { readonly id: number; readonly request: StoreRequest };

/** Child to gateway; what was read is the body. `alive` comes while calls are under way: the child is not stuck. */
export type FromChild =
	| { readonly alive: true }
	| { readonly id: number; readonly value?: unknown }
	| { readonly id: number; readonly error: { readonly kind: StoreErrorKind; readonly message: string } };

const PREFIX_BYTES = 8;
const NO_BODY = Buffer.alloc(0);

/** The lengths and the head; the body is to be written behind it as it is. */
export function encodeHead(head: ToChild | FromChild, bodyBytes: number): Buffer {
	const text = Buffer.from(JSON.stringify(head));
	const message = Buffer.allocUnsafe(PREFIX_BYTES + text.length);
	message.writeUInt32BE(text.length, 0);
	message.writeUInt32BE(bodyBytes, 4);
	text.copy(message, PREFIX_BYTES);
	return message;
}

/** Cuts a stream into messages. A body is gathered in one buffer of its own, which the receiver may keep. */
export class MessageReader<Head> {
	readonly #prefix = Buffer.alloc(PREFIX_BYTES);
	#prefixHave = 0;
	#head: Buffer | undefined;
	#headHave = 0;
	#body: Buffer = NO_BODY;
	#bodyHave = 0;
	#spare: Buffer = NO_BODY;
	readonly #take: (head: Head, body: Buffer) => void;

	constructor(take: (head: Head, body: Buffer) => void) {
		this.#take = take;
	}

	push(chunk: Buffer): void {
		let at = 0;
		while (at < chunk.length) {
			if (this.#head === undefined) {
				const taken = chunk.copy(this.#prefix, this.#prefixHave, at);
				this.#prefixHave += taken;
				at += taken;
				if (this.#prefixHave < PREFIX_BYTES) return;
				this.#head = Buffer.allocUnsafeSlow(this.#prefix.readUInt32BE(0));
				const bodyBytes = this.#prefix.readUInt32BE(4);
				this.#body = bodyBytes === 0 ? NO_BODY : this.#bodyOf(bodyBytes);
			}
			const ofHead = chunk.copy(this.#head, this.#headHave, at);
			this.#headHave += ofHead;
			at += ofHead;
			const ofBody = chunk.copy(this.#body, this.#bodyHave, at);
			this.#bodyHave += ofBody;
			at += ofBody;
			if (this.#headHave < this.#head.length || this.#bodyHave < this.#body.length) return;
			const [head, body] = [this.#head, this.#body];
			this.#prefixHave = this.#headHave = this.#bodyHave = 0;
			this.#head = undefined;
			this.#body = NO_BODY;
			this.#take(JSON.parse(head.toString("utf8")) as Head, body);
		}
	}

	/** A body that nobody uses any more becomes the next one: part after part, the same memory. */
	release(body: Buffer): void {
		if (body.buffer.byteLength > this.#spare.buffer.byteLength) this.#spare = Buffer.from(body.buffer);
	}

	#bodyOf(bytes: number): Buffer {
		const spare = this.#spare;
		if (spare.length < bytes) return Buffer.allocUnsafeSlow(bytes);
		this.#spare = NO_BODY;
		return spare.subarray(0, bytes);
	}
}

/** Why compressed bytes cannot be taken; `reason` is Kafka's name for it (src/base/errors.ts). */
export type CompressionErrorReason = "CORRUPT_MESSAGE" | "RECORD_LIST_TOO_LARGE";

export class CompressionError extends Error {
	override readonly name = "CompressionError";
	readonly reason: CompressionErrorReason;

	constructor(reason: CompressionErrorReason, what: string, options?: ErrorOptions) {
		super(what, options);
		this.reason = reason;
	}
}

export function corrupt(what: string): CompressionError {
	return new CompressionError("CORRUPT_MESSAGE", what);
}

export function tooLarge(maxBytes: number): CompressionError {
	return new CompressionError("RECORD_LIST_TOO_LARGE", `more than ${maxBytes} bytes come out`);
}

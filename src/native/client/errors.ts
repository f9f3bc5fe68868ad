/**
 * The one error a program sees from the client. `code` is one of Kafka's error names, as the gateway
 * sent it, or one of the client's own: CONNECTION_LOST, TIMEOUT, CLOSED, ABORTED, PROTOCOL_ERROR.
 * The message says what is wrong and, where there is something to be done, what.
 */
export class HeadwaterError extends Error {
	override readonly name = "HeadwaterError";
	readonly code: string;

	constructor(code: string, message: string, options?: ErrorOptions) {
		super(message, options);
		this.code = code;
	}
}

/** What went wrong between the client and a broker of the central cluster, below Kafka's own error codes: it never answered, or not so that it counts. */

/**
 * `unreachable`: no connection came to be. `lost`: it ended. `timeout`: no answer in time, and the connection was closed for
 * it. `tls`, `login`: refused, by either side. `unsupported`: it does not know a version of a request that is known here.
 * `malformed`: an answer that is none.
 */
export type LinkFailure = "unreachable" | "lost" | "timeout" | "tls" | "login" | "unsupported" | "malformed";

export interface LinkErrorOptions extends ErrorOptions {
	readonly maybeSent?: boolean;
	readonly lasting?: boolean;
	readonly action?: string | undefined;
	/** What the attempt has cost on the wire, where nobody else counts it. */
	readonly wireBytes?: { readonly sent: number; readonly received: number } | undefined;
}

export class LinkError extends Error {
	override readonly name = "LinkError";
	readonly failure: LinkFailure;
	/** The request may have arrived: its outcome is unknown. */
	readonly maybeSent: boolean;
	/** Trying again soon does not help: a person has to change something, here or there. */
	readonly lasting: boolean;
	/** What a person can do. */
	readonly action: string | undefined;
	readonly wireBytes: { readonly sent: number; readonly received: number } | undefined;

	constructor(failure: LinkFailure, message: string, options: LinkErrorOptions = {}) {
		super(message, options);
		this.failure = failure;
		this.maybeSent = options.maybeSent ?? false;
		this.lasting = options.lasting ?? false;
		this.action = options.action;
		this.wireBytes = options.wireBytes;
	}

	/** The same, but for what is said otherwise. */
	with(changes: LinkErrorOptions): LinkError {
		const { failure, message, maybeSent, lasting, action, wireBytes, cause } = this;
		return new LinkError(failure, message, { maybeSent, lasting, action, wireBytes, cause, ...changes });
	}
}

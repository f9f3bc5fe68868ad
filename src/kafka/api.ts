/** What every API of the Kafka door is made of: its messages, the versions it is served in, and what it does. */

import type { Decoded, Encodable, Fields, Message } from "./protocol/schema.ts";
import type { Peer, Services } from "./services.ts";

/** One request on its way. */
export interface Call {
	readonly services: Services;
	readonly peer: Peer;
	readonly version: number;
	readonly clientId: string | null;
}

export interface Api<Q extends Fields, A extends Fields> {
	readonly request: Message<Q>;
	readonly response: Message<A>;
	/** Lowest and highest version served. */
	readonly versions: readonly [number, number];
	/** Lowest version said to be served, where that is not true. */
	readonly advertisedFrom?: number;
	/**
	 * Called in the order of the connection's requests, answered in that order too. Changes what it changes before it
	 * returns; a promise is for what must be waited for (a commit, a read, a rebalance). undefined: there is no answer.
	 * What it throws, or rejects with, becomes the answer of `refuse`.
	 */
	handle(request: Decoded<Q>, call: Call): Encodable<A> | undefined | Promise<Encodable<A> | undefined>;
	/** The answer that refuses all of the request; `error` is Kafka's number. */
	refuse(request: Decoded<Q>, error: number, message: string, call: Call): Encodable<A>;
}

// biome-ignore lint/suspicious/noExplicitAny: an API of any messages.
export type AnyApi = Api<any, any>;

/** For its types. */
export function api<Q extends Fields, A extends Fields>(definition: Api<Q, A>): Api<Q, A> {
	return definition;
}

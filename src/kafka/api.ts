/** What every API of the Kafka door is made of: its messages, the versions it is served in, and what it does. */

import type { Decoded, Encodable, Fields, Message } from "./protocol/schema.ts";
import type { Peer, Services } from "./services.ts";

/** One request on its way. */
export interface Call {
	readonly services: Services;
	readonly peer: Peer;
	readonly version: number;
	readonly clientId: string | null;
	/** `listener` is called once, when the answer has left or never will: what it was made of may be used again. */
	whenSent(listener: () => void): void;
	/**
	 * Asks for room for `bytes` bytes of an answer, which it has until it is sent; undefined: it has. Resolves too when nobody
	 * is there any more to take it.
	 */
	claimRoom(bytes: number): Promise<void> | undefined;
	/** Before the answer is sent: it waits for something else now. */
	giveRoomBack(): void;
}

export interface Api<Q extends Fields, A extends Fields> {
	readonly request: Message<Q>;
	readonly response: Message<A>;
	/** Lowest and highest version served. */
	readonly versions: readonly [number, number];
	/** Lowest version said to be served, where that is not true. */
	readonly advertisedFrom?: number;
	/** Handled only when all earlier requests of the connection are answered: for large answers, of which one at a time is enough. */
	readonly waitsForEarlier?: boolean;
	/** Its answer may be much larger than the request: only so many at a time, of all connections, are made and sent. */
	readonly hasLargeAnswer?: boolean;
	/**
	 * Called in the order of the connection's requests, answered in that order too. Changes what it changes before it
	 * returns; a promise is for what must be waited for (a commit, a read, a rebalance). undefined: there is no answer.
	 * What it throws, or rejects with, becomes the answer of `refuse`.
	 */
	handle(request: Decoded<Q>, call: Call): Encodable<A> | undefined | Promise<Encodable<A> | undefined>;
	/**
	 * The answer that refuses all of the request; `error` is Kafka's number. undefined: the connection is closed, which
	 * is how a client that awaits no answer gets to know.
	 */
	refuse(request: Decoded<Q>, error: number, message: string, call: Call): Encodable<A> | undefined;
}

export type AnyApi = Api<Fields, Fields>;

/** For its types. */
export function api<Q extends Fields, A extends Fields>(definition: Api<Q, A>): Api<Q, A> {
	return definition;
}

/** Where the caller is told to connect to. */
export function advertisedTo({ services, peer }: Call): { host: string; port: number } {
	const { host, port } = services.advertised;
	return { host: host === "" ? peer.localHost : host, port };
}

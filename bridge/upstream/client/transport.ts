/** The seam between the client and the network: a simulation puts its own in place of sockets. */
import type { Address } from "../../../src/config/definition.ts";

export interface TransportHandler {
	/** The bytes belong to the handler. */
	data(bytes: Buffer): void;
	/** The last call. `error`: undefined where the peer closed in good order. */
	closed(error: Error | undefined): void;
}

/** An open connection that carries bytes; TLS, where there is, is part of it. */
export interface Transport {
	/** Parts of one message, in order; they must not change any more. After `closed` nothing happens. */
	write(parts: readonly Uint8Array[]): void;
	/** At once; `closed` is not called for it. */
	destroy(): void;
	/** On the wire so far, TLS's own bytes included; headers of TCP and IP are not. */
	readonly sentBytes: number;
	readonly receivedBytes: number;
	/** Of what was written, what the network has not taken yet; left out: not known. */
	readonly unsentBytes?: number;
}

/** Resolves when the transport is open, TLS handshake included. Rejects with LinkError; with the signal's reason when it is aborted. */
export type Dial = (address: Address, handler: TransportHandler, signal: AbortSignal) => Promise<Transport>;

/**
 * Packets made ahead while the window is closed, few and small: a batch is not decoded again for every few acknowledgements,
 * and each acknowledgement is followed at once by the next event.
 */
import type { Output } from "../output.ts";
import type { Run } from "./cursor.ts";
import type { FlowPartition } from "./flow.ts";

const PACKETS_MAX = 128;
const BYTES_MAX = 64 * 1024;

/** An event on its way. */
export interface Sent {
	readonly place: FlowPartition;
	readonly run: Run;
	readonly offset: number;
}

interface Prepared extends Sent {
	/** 0: it gets one when it is sent. */
	readonly packetId: number;
	readonly bytes: Buffer;
	readonly identifierAt: number;
}

export class PreparedPackets {
	readonly #packets: Prepared[] = [];
	#bytes = 0;

	get size(): number {
		return this.#packets.length;
	}

	get full(): boolean {
		return this.#packets.length >= PACKETS_MAX || this.#bytes >= BYTES_MAX;
	}

	push(prepared: Prepared): void {
		this.#packets.push(prepared);
		this.#bytes += prepared.bytes.length;
	}

	/** Writes up to `count` packets, in order, as long as the socket takes them. */
	send(output: Output, count: number, newPacketId: () => number, sent: (packetId: number, event: Sent) => void): void {
		let done = 0;
		for (; done < this.#packets.length && done < count && !output.blocked; done++) {
			const prepared = this.#packets[done]!;
			const { bytes, identifierAt } = prepared;
			const packetId = prepared.packetId || newPacketId();
			bytes.writeUInt16BE(packetId, identifierAt);
			output.packet(bytes);
			this.#bytes -= bytes.length;
			sent(packetId, prepared);
		}
		this.#packets.splice(0, done);
	}

	/** They are not to be sent; those that had an identifier already keep it. */
	discard(): void {
		for (const { place, offset, packetId } of this.#packets) if (packetId > 0) place.again.set(offset, packetId);
		this.#packets.length = 0;
		this.#bytes = 0;
	}
}

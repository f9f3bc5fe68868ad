/**
 * The seam for randomness: identities and jitter. Secrets never come from here. The system's own source is
 * read as a file: node:crypto would cost a gateway 2 MB resident.
 */
import { readEntropy } from "./disk.ts";

export interface Random {
	/** A whole number from 0 to 2^32 - 1. */
	u32(): number;
	/** `count` random bytes. */
	bytes(count: number): Buffer;
}

export const systemRandom: Random = {
	u32: () => readEntropy(4).readUInt32LE(0),
	bytes: readEntropy,
};

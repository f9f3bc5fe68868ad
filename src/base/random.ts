/** The seam for randomness: identities and jitter. Secrets never come from here. */
import { randomBytes } from "node:crypto";

export interface Random {
	/** A whole number from 0 to 2^32 - 1. */
	u32(): number;
	/** `count` random bytes. */
	bytes(count: number): Buffer;
}

export const systemRandom: Random = {
	u32: () => randomBytes(4).readUInt32LE(0),
	bytes: (count) => randomBytes(count),
};

/**
 * Which partition a key goes to, as Kafka's own producers decide (Utils.murmur2 and BuiltInPartitioner of
 * kafka-clients), so that a key's order holds whichever door or cluster a record comes through.
 */
const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;

/** MurmurHash2 of 32 bits of `bytes[start..end)` with Kafka's seed; signed. */
export function murmur2(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
	const length = end - start;
	const whole = start + (length & ~3);
	let hash = SEED ^ length;
	for (let at = start; at < whole; at += 4) {
		let word =
			(bytes[at] as number) |
			((bytes[at + 1] as number) << 8) |
			((bytes[at + 2] as number) << 16) |
			((bytes[at + 3] as number) << 24);
		word = Math.imul(word, MULTIPLIER);
		word ^= word >>> 24;
		hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER);
	}
	const rest = end - whole;
	if (rest === 3) hash ^= (bytes[whole + 2] as number) << 16;
	if (rest >= 2) hash ^= (bytes[whole + 1] as number) << 8;
	if (rest >= 1) hash = Math.imul(hash ^ (bytes[whole] as number), MULTIPLIER);
	hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER);
	return hash ^ (hash >>> 15);
}

/** The partition, from 0, of `partitions` that the key `bytes[start..end)` belongs to. */
export function partitionForKey(bytes: Uint8Array, partitions: number, start = 0, end: number = bytes.length): number {
	return (murmur2(bytes, start, end) & 0x7fffffff) % partitions;
}

/**
 * Gives the memory of large buffers back at once. Left to garbage collection, which looks at the heap and finds it small,
 * what was read and is done with would pile up to tens of megabytes.
 */

/** Smaller ones may share their memory with others (Buffer.poolSize). */
const LEAST_BYTES = 64 * 1024;
/** A decompressor's output is a little longer than what it is made for. */
const SPARE_BYTES = 16;

/** `buffer`, which is the caller's alone and nobody's any more, has no bytes from now on. One that is small, or a part of another, stays. */
export function freeMemory(buffer: Buffer): void {
	const memory = buffer.buffer;
	if (!(memory instanceof ArrayBuffer) || memory.byteLength < LEAST_BYTES) return;
	if (memory.byteLength - buffer.length <= SPARE_BYTES) memory.transfer(0);
}

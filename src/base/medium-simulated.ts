/**
 * What one simulated file holds, twice: the bytes that reads see (the page cache) and the bytes on
 * the medium. Between the two lie the changes not yet synced; at a power cut each may have reached
 * the medium whole, in part, or not at all, whatever became of the others. Promises: a change that
 * was synced stays, and a block that no unsynced change touches stays as it is. Nothing else.
 */
import type { SimulatedRandom } from "./random-simulated.ts";

/** What a drive writes at once: a sector is old or new, unless it was the one under the head (see `garbage`). */
export const SECTOR_BYTES = 512;
/** What the file system writes at once, and what an SD card may lose as a whole while it rewrites a part of it. */
export const BLOCK_BYTES = 4096;

export interface TearOptions {
	/** A torn block may lose the bytes in it that the change did not touch, although they were synced long ago. */
	readonly tearNeighbours: boolean;
}

type Change =
	| { readonly kind: "write"; readonly position: number; readonly bytes: Buffer }
	| { readonly kind: "truncate"; readonly sizeBytes: number };

/** Bytes that grow. Beyond `size` the buffer is always zero. */
class Image {
	bytes = Buffer.alloc(0);
	size = 0;

	resize(size: number): void {
		if (size < this.size) this.bytes.fill(0, size, this.size);
		if (size > this.bytes.length) {
			const grown = Buffer.alloc(Math.max(size, this.bytes.length * 2, SECTOR_BYTES));
			this.bytes.copy(grown, 0, 0, this.size);
			this.bytes = grown;
		}
		this.size = size;
	}

	apply(change: Change): void {
		if (change.kind === "truncate") {
			this.resize(change.sizeBytes);
			return;
		}
		const end = change.position + change.bytes.length;
		if (end > this.size) this.resize(end);
		change.bytes.copy(this.bytes, change.position);
	}

	copy(): Image {
		const image = new Image();
		image.bytes = Buffer.from(this.bytes.subarray(0, this.size));
		image.size = this.size;
		return image;
	}
}

export class SimulatedContent {
	#cached = new Image();
	#medium = new Image();
	#unsynced: Change[] = [];
	/** A sync failed: the two images differ although nothing is unsynced. */
	#strayed = false;
	/** Changes that were synced or given up so far; with `#unsynced.length`, the number of every change. */
	#settled = 0;

	get sizeBytes(): number {
		return this.#cached.size;
	}

	get mediumSizeBytes(): number {
		return this.#medium.size;
	}

	read(target: Uint8Array, position: number): number {
		if (position >= this.#cached.size) return 0;
		const end = Math.min(this.#cached.size, position + target.length);
		target.set(this.#cached.bytes.subarray(position, end));
		return end - position;
	}

	/** `bytes` is kept: the caller gives a copy. */
	write(bytes: Buffer, position: number): void {
		if (bytes.length > 0) this.#change({ kind: "write", position, bytes });
	}

	truncate(sizeBytes: number): void {
		this.#change({ kind: "truncate", sizeBytes });
	}

	#change(change: Change): void {
		this.#cached.apply(change);
		this.#unsynced.push(change);
	}

	/** The number of the last change so far: what a sync that starts now covers. */
	mark(): number {
		return this.#settled + this.#unsynced.length;
	}

	/** The changes up to `mark` are on the medium now. */
	synced(mark: number): void {
		for (const change of this.#take(mark)) this.#medium.apply(change);
	}

	/**
	 * A sync of the changes up to `mark` failed. As Linux does, the dirty pages are dropped: reads go on seeing
	 * them, any part of them may be on the medium, and no later sync writes them.
	 */
	syncFailed(mark: number, random: SimulatedRandom, options: TearOptions): void {
		tear(this.#medium, this.#take(mark), random, options);
		this.#strayed = true;
	}

	powerCut(random: SimulatedRandom, options: TearOptions): void {
		if (this.#unsynced.length > 0) tear(this.#medium, this.#take(this.mark()), random, options);
		else if (!this.#strayed) return;
		this.#strayed = false;
		this.#cached = this.#medium.copy();
	}

	/** Bit rot: on the medium and, as if it had been read back since, in the cache. */
	flip(position: number, mask: number): void {
		for (const image of [this.#cached, this.#medium]) {
			if (position < image.size) image.bytes[position] = (image.bytes[position] as number) ^ mask;
		}
	}

	/** A copy of what reads see. */
	cached(): Buffer {
		return Buffer.from(this.#cached.bytes.subarray(0, this.#cached.size));
	}

	/** A copy of what is synced for certain. */
	medium(): Buffer {
		return Buffer.from(this.#medium.bytes.subarray(0, this.#medium.size));
	}

	#take(mark: number): Change[] {
		const changes = this.#unsynced.splice(0, Math.max(0, mark - this.#settled));
		this.#settled += changes.length;
		return changes;
	}
}

type Fate = "kept" | "dropped" | "torn";

/**
 * Lets some of `changes` reach the medium. The ways to go wrong are drawn first, so that the plain ones (all of
 * it, none of it, a clean prefix) happen as often as the wild ones.
 */
function tear(medium: Image, changes: readonly Change[], random: SimulatedRandom, options: TearOptions): void {
	const fates = drawFates(changes.length, random);
	const sectorChance = random.pick([0.05, 0.5, 0.95]);
	// What the cache held after each change: a sector reaches the medium as the cache has it, with every change before.
	const running = medium.copy();
	changes.forEach((change, i) => {
		running.apply(change);
		const fate = fates[i];
		if (fate === "dropped") return;
		if (fate === "kept" || change.kind === "truncate") {
			if (change.kind === "truncate") medium.resize(change.sizeBytes);
			else copySectors(medium, running, change, undefined);
			return;
		}
		tearWrite(medium, running, change, random, sectorChance, options);
	});
}

function drawFates(count: number, random: SimulatedRandom): Fate[] {
	const style = random.weighted({ all: 2, none: 2, prefix: 3, each: 2, sectors: 2 });
	const torn = random.between(0, count);
	return Array.from({ length: count }, (_, i) => {
		if (style === "all") return "kept";
		if (style === "none") return "dropped";
		if (style === "prefix") return i < torn ? "kept" : i === torn ? "torn" : "dropped";
		if (style === "sectors") return "torn";
		return random.pick(["kept", "dropped", "torn"]);
	});
}

/** Copies the sectors of `change` for which `chosen` (all without it), as far as the medium's file reaches. */
function copySectors(
	medium: Image,
	running: Image,
	change: Change & { kind: "write" },
	chosen: ((sector: number) => boolean) | undefined,
): void {
	const end = change.position + change.bytes.length;
	if (chosen === undefined && end > medium.size) medium.resize(end);
	for (let sector = Math.floor(change.position / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
		if (chosen !== undefined && !chosen(sector)) continue;
		const from = sector * SECTOR_BYTES;
		const to = Math.min(from + SECTOR_BYTES, medium.size, running.size);
		if (to > from) running.bytes.copy(medium.bytes, from, from, to);
	}
}

function tearWrite(
	medium: Image,
	running: Image,
	change: Change & { kind: "write" },
	random: SimulatedRandom,
	sectorChance: number,
	options: TearOptions,
): void {
	const end = change.position + change.bytes.length;
	// The new size is metadata: it goes with the journal of the file system, not with the data.
	if (end > medium.size && random.chance(0.5))
		medium.resize(random.chance(0.8) ? end : random.between(medium.size, end));
	copySectors(medium, running, change, () => random.chance(sectorChance));
	for (let block = Math.floor(change.position / BLOCK_BYTES); block * BLOCK_BYTES < end; block++) {
		if (!random.chance(0.25)) continue;
		for (let from = block * BLOCK_BYTES; from < (block + 1) * BLOCK_BYTES; from += SECTOR_BYTES) {
			// The bytes of this sector that were being written, or all of it where neighbours suffer too.
			const low = options.tearNeighbours ? from : Math.max(from, change.position);
			const high = Math.min(from + SECTOR_BYTES, medium.size, options.tearNeighbours ? Number.POSITIVE_INFINITY : end);
			if (low < high && random.chance(0.4)) garbage(medium, low, high, random);
		}
	}
}

function garbage(medium: Image, from: number, to: number, random: SimulatedRandom): void {
	const style = random.pick(["zeros", "ones", "noise"]);
	if (style === "noise") medium.bytes.set(random.bytes(to - from), from);
	else medium.bytes.fill(style === "zeros" ? 0 : 0xff, from, to);
}

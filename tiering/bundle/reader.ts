/** Reads what a bundle holds: its footer first, in one request where it is not long, then what is wanted of the rest. */
import { DamageError } from "../../src/base/errors.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import type { ObjectStore } from "../object-store.ts";
import { type Compression, threadCompression } from "./compression.ts";
import { type BundleFooter, decodeFooter } from "./footer.ts";
import { readTrailer, TRAILER_BYTES } from "./layout.ts";

/** One object, or a file that was one. */
export interface BundleSource {
	/** For messages. */
	readonly name: string;
	/** The last `bytes`, or all where it is shorter, and how large it is. */
	getLast(bytes: number): Promise<{ readonly bytes: Buffer; readonly sizeBytes: number }>;
	/** `bytes` from `position` on; fewer only at its end. */
	get(position: number, bytes: number): Promise<Buffer>;
}

/** An object of a store. `name`: for messages. */
export function objectSource(store: Pick<ObjectStore, "get" | "getLast">, key: string, name = key): BundleSource {
	return {
		name,
		getLast: (bytes) => store.getLast(key, bytes),
		get: (position, bytes) => store.get(key, position, bytes),
	};
}

/** Asked for at first: the footers of some 100 partitions, or of 300 MB, fit in. */
const FIRST_BYTES = 64 * 1024;

/**
 * Rejects with DamageError, with BrokerError (UNSUPPORTED_VERSION) for a bundle of a later format, and with what `source` rejects
 * with.
 */
export async function readBundleFooter(
	source: BundleSource,
	compression: Compression = threadCompression,
): Promise<BundleFooter & { readonly sizeBytes: number }> {
	const { name } = source;
	const { bytes: last, sizeBytes } = await source.getLast(FIRST_BYTES);
	const trailer = readTrailer(last, sizeBytes, name);
	const { footerPosition, footerBytes } = trailer;
	const lastPosition = sizeBytes - last.length;
	let stored: Buffer;
	if (footerPosition >= lastPosition) {
		stored = last.subarray(footerPosition - lastPosition, last.length - TRAILER_BYTES);
	} else {
		const before = await source.get(footerPosition, lastPosition - footerPosition);
		stored = Buffer.concat([before, last.subarray(0, last.length - TRAILER_BYTES)]);
	}
	if (stored.length !== footerBytes)
		throw new DamageError(name, footerPosition, `the footer: ${stored.length} bytes of ${footerBytes}`);
	if (crc32c(stored) !== trailer.footerCrc)
		throw new DamageError(name, footerPosition, "the footer's CRC-32C is wrong");
	let json: Buffer;
	try {
		json = await compression.gunzip(stored, trailer.footerRawBytes);
	} catch (error) {
		throw new DamageError(name, footerPosition, `the footer: gzip: ${(error as Error).message}`);
	}
	return { ...decodeFooter(json, footerPosition, name), sizeBytes };
}

/** The snapshot that the bundle has; undefined where it has none. Rejects as `readBundleFooter`. */
export async function readSnapshot(
	source: BundleSource,
	footer: Pick<BundleFooter, "snapshot">,
	compression: Compression = threadCompression,
): Promise<Buffer | undefined> {
	if (footer.snapshot === undefined) return undefined;
	const { position, storedBytes, rawBytes, crc } = footer.snapshot;
	const damaged = (what: string) => new DamageError(source.name, position, `the snapshot: ${what}`);
	const stored = await source.get(position, storedBytes);
	if (stored.length !== storedBytes) throw damaged(`${stored.length} bytes of ${storedBytes}`);
	if (crc32c(stored) !== crc) throw damaged("its CRC-32C is wrong");
	try {
		return await compression.unzstd(stored, rawBytes);
	} catch (error) {
		throw damaged(`zstd: ${(error as Error).message}`);
	}
}

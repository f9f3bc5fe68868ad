/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of record batches, journal and snapshots.
 *
 * Two ways, chosen by size: tables in JavaScript (slicing by 8), and the processor's own instruction in
 * native code, where each call costs about 0.2 us and each byte a tenth. The native module costs 6 MB
 * resident, so it is loaded when there is work for it; where it cannot be, the tables do everything.
 */

type NativeCrc = (bytes: Uint8Array, seed: number) => number;

/** Measured: at 250 bytes a native call costs what the tables do. */
const NATIVE_FROM_BYTES = 256;
/** x^32 + 0x1EDC6F41, bits reversed. */
const POLYNOMIAL = 0x82f63b78;

/** Eight tables of 256 entries: the checksum of a byte with 0 to 7 zero bytes after it. */
function makeTables(): Int32Array {
	const tables = new Int32Array(8 * 256);
	for (let byte = 0; byte < 256; byte++) {
		let crc = byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
		tables[byte] = crc;
	}
	for (let i = 256; i < tables.length; i++) {
		const before = tables[i - 256] as number;
		tables[i] = (tables[before & 0xff] as number) ^ (before >>> 8);
	}
	return tables;
}

const TABLES = makeTables();

function loadNative(): NativeCrc | undefined {
	try {
		const module = process.getBuiltinModule("node:module").createRequire(import.meta.url)("@node-rs/crc32") as {
			crc32c?: NativeCrc;
		};
		return module.crc32c;
	} catch {
		return undefined;
	}
}

/** Bytes summed by tables, in pieces worth a native call, before the native module is loaded: a tenth of a second's work. */
const TABLES_FIRST_BYTES = 64 * 1024 * 1024;

let native: NativeCrc | undefined;
let nativeTried = false;
let summedBytes = 0;

/**
 * CRC-32C of `bytes[start..end)` as an unsigned number of 32 bits. `seed` is the checksum of what went
 * before, so that a whole can be summed in pieces.
 */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length, seed = 0): number {
	if (end - start >= NATIVE_FROM_BYTES) {
		if (!nativeTried) {
			summedBytes += end - start;
			if (summedBytes > TABLES_FIRST_BYTES) {
				nativeTried = true;
				native = loadNative();
			}
		}
		if (native !== undefined) return native(bytes.subarray(start, end), seed);
	}
	return crc32cByTables(bytes, start, end, seed);
}

/** As `crc32c`, in JavaScript alone. */
export function crc32cByTables(bytes: Uint8Array, start = 0, end: number = bytes.length, seed = 0): number {
	const tables = TABLES;
	let crc = ~seed;
	let at = start;
	const last = end - 8;
	while (at <= last) {
		crc ^=
			(bytes[at] as number) |
			((bytes[at + 1] as number) << 8) |
			((bytes[at + 2] as number) << 16) |
			((bytes[at + 3] as number) << 24);
		crc =
			(tables[1792 + (crc & 0xff)] as number) ^
			(tables[1536 + ((crc >>> 8) & 0xff)] as number) ^
			(tables[1280 + ((crc >>> 16) & 0xff)] as number) ^
			(tables[1024 + (crc >>> 24)] as number) ^
			(tables[768 + (bytes[at + 4] as number)] as number) ^
			(tables[512 + (bytes[at + 5] as number)] as number) ^
			(tables[256 + (bytes[at + 6] as number)] as number) ^
			(tables[bytes[at + 7] as number] as number);
		at += 8;
	}
	while (at < end) crc = (tables[(crc ^ (bytes[at++] as number)) & 0xff] as number) ^ (crc >>> 8);
	return ~crc >>> 0;
}

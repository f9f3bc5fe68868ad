/**
 * The fixed bytes of a bundle and the limits of its format (docs/bundle-format.md). All numbers are big-endian.
 *
 *     header, 16 bytes                 trailer, the object's last 40 bytes
 *     0 magic "HWBUNDLE"               0 magic "HWFOOTER"
 *     8 format u32                     8 format u32
 *    12 zero u32                      12 position of the footer u64
 *                                     20 bytes of the footer, as stored u32
 *                                     24 bytes of the footer, decompressed u32
 *                                     28 CRC-32C of the footer, as stored u32
 *                                     32 zero u32
 *                                     36 CRC-32C of the 36 bytes before u32
 *
 * A later format keeps the trailer's length, magic, format and last checksum, so that it is known for what it is.
 */
import { BrokerError, DamageError } from "../../src/base/errors.ts";
import { crc32c } from "../../src/record/crc32c.ts";

export const FORMAT = 1;
export const HEADER_BYTES = 16;
export const TRAILER_BYTES = 40;

/** Of record batches, from which on a block is closed; a larger batch is a block of its own. */
export const BLOCK_RAW_BYTES = 256 * 1024;
/** The largest batch, and so the largest block. */
export const BLOCK_RAW_BYTES_MAX = 16 * 1024 * 1024;
/** Decompressed. */
export const FOOTER_RAW_BYTES_MAX = 64 * 1024 * 1024;
/** Decompressed. */
export const SNAPSHOT_RAW_BYTES_MAX = 64 * 1024 * 1024;

const HEADER_MAGIC = Buffer.from("HWBUNDLE", "latin1");
const TRAILER_MAGIC = Buffer.from("HWFOOTER", "latin1");
const TRAILER_CRC_POSITION = TRAILER_BYTES - 4;

interface Trailer {
	readonly footerPosition: number;
	readonly footerBytes: number;
	readonly footerRawBytes: number;
	readonly footerCrc: number;
}

export function encodeHeader(): Buffer {
	const bytes = Buffer.alloc(HEADER_BYTES);
	HEADER_MAGIC.copy(bytes);
	bytes.writeUInt32BE(FORMAT, 8);
	return bytes;
}

/** `bytes`: the object's first 16. Throws DamageError, and BrokerError where the format is a later one. */
export function checkHeader(bytes: Buffer, name: string): void {
	if (bytes.length < HEADER_BYTES) throw new DamageError(name, 0, "the header is cut short");
	if (!bytes.subarray(0, 8).equals(HEADER_MAGIC)) throw new DamageError(name, 0, "this is no bundle");
	// The trailer says which format it is, under a checksum: another one here is damage.
	if (bytes.readUInt32BE(8) !== FORMAT) throw new DamageError(name, 8, `format ${bytes.readUInt32BE(8)} in the header`);
	if (bytes.readUInt32BE(12) !== 0) throw new DamageError(name, 12, "the header does not end with zeros");
}

export function encodeTrailer(trailer: Trailer): Buffer {
	const bytes = Buffer.alloc(TRAILER_BYTES);
	TRAILER_MAGIC.copy(bytes);
	bytes.writeUInt32BE(FORMAT, 8);
	bytes.writeBigUInt64BE(BigInt(trailer.footerPosition), 12);
	bytes.writeUInt32BE(trailer.footerBytes, 20);
	bytes.writeUInt32BE(trailer.footerRawBytes, 24);
	bytes.writeUInt32BE(trailer.footerCrc, 28);
	bytes.writeUInt32BE(crc32c(bytes, 0, TRAILER_CRC_POSITION), TRAILER_CRC_POSITION);
	return bytes;
}

/**
 * `last`: the end of an object of `sizeBytes`, 40 bytes or more. Throws DamageError, and BrokerError (UNSUPPORTED_VERSION) where
 * the format is a later one.
 */
export function readTrailer(last: Buffer, sizeBytes: number, name: string): Trailer {
	const position = sizeBytes - TRAILER_BYTES;
	if (sizeBytes < HEADER_BYTES + TRAILER_BYTES || last.length < TRAILER_BYTES)
		throw new DamageError(name, sizeBytes, `an object of ${sizeBytes} bytes is no bundle`);
	const bytes = last.subarray(last.length - TRAILER_BYTES);
	if (!bytes.subarray(0, 8).equals(TRAILER_MAGIC))
		throw new DamageError(name, position, "the trailer is missing: this is no bundle, or it is cut short");
	if (crc32c(bytes, 0, TRAILER_CRC_POSITION) !== bytes.readUInt32BE(TRAILER_CRC_POSITION))
		throw new DamageError(name, position, "the trailer's CRC-32C is wrong");
	const format = bytes.readUInt32BE(8);
	if (format > FORMAT)
		throw new BrokerError(
			"UNSUPPORTED_VERSION",
			`${name} is a bundle of format ${format}; this program knows formats up to ${FORMAT}: use a newer one`,
		);
	if (format !== FORMAT) throw new DamageError(name, position + 8, `format ${format}`);
	const footerPosition = bytes.readBigUInt64BE(12);
	const footerBytes = bytes.readUInt32BE(20);
	const footerRawBytes = bytes.readUInt32BE(24);
	if (footerPosition < HEADER_BYTES || footerPosition + BigInt(footerBytes) !== BigInt(position))
		throw new DamageError(
			name,
			position + 12,
			`a footer of ${footerBytes} bytes at ${footerPosition} does not end where the trailer begins`,
		);
	if (footerRawBytes > FOOTER_RAW_BYTES_MAX)
		throw new DamageError(name, position + 24, `a footer of ${footerRawBytes} bytes; ${FOOTER_RAW_BYTES_MAX} at most`);
	if (bytes.readUInt32BE(32) !== 0) throw new DamageError(name, position + 32, "not zero");
	return { footerPosition: Number(footerPosition), footerBytes, footerRawBytes, footerCrc: bytes.readUInt32BE(28) };
}

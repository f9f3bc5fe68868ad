/**
 * From bytes to values: the validator first, then cbor-x, which is loaded when the first connection needs it (2 MB
 * resident; its build without `eval` and without the native string extractor, which costs 3 MB more). Maps become Maps, so
 * that a key such as `__proto__` is nothing but a key.
 */
import { ProtocolError } from "./protocol.ts";
import { type ItemLimits, validateItem } from "./validate.ts";

/** Bytes become values; byte strings are views of `bytes`, or copies if so asked. Throws ProtocolError only. */
export type Decode = (bytes: Buffer) => unknown;

export async function loadDecoder(limits: ItemLimits, options: { copyBytes: boolean }): Promise<Decode> {
	const { Decoder } = await import("cbor-x/decode-no-eval");
	const settings = { useRecords: false, mapsAsObjects: false, int64AsNumber: true, copyBuffers: options.copyBytes };
	const decoder = new Decoder(settings);
	return (bytes) => {
		validateItem(bytes, limits);
		try {
			return decoder.decode(bytes);
		} catch (error) {
			throw new ProtocolError("INVALID_REQUEST", `the frame cannot be decoded: ${(error as Error).message}`);
		}
	};
}

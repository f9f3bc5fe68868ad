/** What stands before each request and response: a header, and before that the size of all of it (4 bytes, big-endian). */
import type { Reader } from "./reader.ts";
import type { Encodable, Fields, Message } from "./schema.ts";
import { Writer } from "./writer.ts";

const API_VERSIONS = 18;

export interface RequestHeader {
	readonly apiKey: number;
	readonly apiVersion: number;
	readonly correlationId: number;
	readonly clientId: string | null;
}

/**
 * Header v1, or v2 where the request is flexible: `flexibleFrom` says from which version on an API is, Infinity for an
 * API that is not known. Throws MalformedMessage. (v0 has no client id; nothing that Kafka 4 knows has it.)
 */
export function decodeRequestHeader(reader: Reader, flexibleFrom: (apiKey: number) => number): RequestHeader {
	const apiKey = reader.int16();
	const apiVersion = reader.int16();
	const correlationId = reader.int32();
	// Not compact in any version, so that a broker can read it whatever the version means.
	const clientId = reader.text(false, true);
	if (apiVersion >= flexibleFrom(apiKey)) reader.skipTags();
	return { apiKey, apiVersion, correlationId, clientId };
}

/** As `decodeRequestHeader` reads it. */
export function encodeRequestHeader(writer: Writer, header: RequestHeader, flexible: boolean): void {
	writer.int16(header.apiKey);
	writer.int16(header.apiVersion);
	writer.int32(header.correlationId);
	if (header.clientId === null) writer.nullLength(false, 2, true);
	else writer.text(header.clientId, false);
	if (flexible) writer.unsignedVarint(0);
}

/** Header v1 (with tagged fields) or v0. A client that asks for ApiVersions does not know what the broker knows: always v0. */
export function hasFlexibleResponseHeader(
	{ apiKey, flexibleFrom }: { apiKey: number; flexibleFrom: number },
	version: number,
): boolean {
	return version >= flexibleFrom && apiKey !== API_VERSIONS;
}

/**
 * A whole answer with its size and header, in parts to be written one behind the other; large record batches in it are
 * not copied. Throws RangeError and TypeError for a value that the version cannot say: a fault of whoever made it.
 */
export function encodeResponse<F extends Fields>(
	response: Message<F>,
	version: number,
	correlationId: number,
	value: Encodable<F>,
): Uint8Array[] {
	const writer = new Writer();
	writer.int32(0);
	writer.int32(correlationId);
	if (hasFlexibleResponseHeader(response, version)) writer.unsignedVarint(0);
	response.encode(writer, version, value);
	return writer.takeFrame();
}

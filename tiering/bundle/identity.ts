/** Which bundle: whose it is, its place among that gateway's, and the key that follows from both. */

export interface BundleIdentity {
	/** Letters, digits, `.`, `_`, `-`; at most 128. */
	readonly gateway: string;
	/** How often the gateway was restored, counted from 1. */
	readonly incarnation: number;
	/** Rises from bundle to bundle of an incarnation. */
	readonly sequence: number;
	/** Eight hexadecimal digits, random: an upload tried again has a key of its own. */
	readonly attempt: string;
}

const GATEWAY = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;
const ATTEMPT = /^[0-9a-f]{8}$/;
const INCARNATION_DIGITS = 10;
const SEQUENCE_DIGITS = 20;
const KEY = /^([^/]+)\/(\d{10})\/(\d{20})-([0-9a-f]{8})\.bundle$/;

/** What is wrong with it, if anything. */
export function identityProblem({ gateway, incarnation, sequence, attempt }: BundleIdentity): string | undefined {
	if (!GATEWAY.test(gateway)) return `${JSON.stringify(gateway)} is no gateway's id: letters, digits, . _ -`;
	if (!Number.isInteger(incarnation) || incarnation < 0 || incarnation >= 10 ** INCARNATION_DIGITS)
		return `incarnation ${incarnation}`;
	if (!Number.isSafeInteger(sequence) || sequence < 0) return `sequence ${sequence}`;
	if (!ATTEMPT.test(attempt)) return `attempt ${JSON.stringify(attempt)} is not eight hexadecimal digits`;
	return undefined;
}

const digits = (value: number, count: number): string => String(value).padStart(count, "0");

/** What all keys of an incarnation begin with. */
export function incarnationPrefix(gateway: string, incarnation: number): string {
	return `${gateway}/${digits(incarnation, INCARNATION_DIGITS)}/`;
}

/** The object's key: keys of a gateway are in the order of incarnation and sequence. */
export function bundleKey({ gateway, incarnation, sequence, attempt }: BundleIdentity): string {
	return `${incarnationPrefix(gateway, incarnation)}${digits(sequence, SEQUENCE_DIGITS)}-${attempt}.bundle`;
}

/** undefined where `key` is no bundle's. */
export function parseBundleKey(key: string): BundleIdentity | undefined {
	const [, gateway = "", incarnation, sequence, attempt = ""] = KEY.exec(key) ?? [];
	const identity = { gateway, incarnation: Number(incarnation), sequence: Number(sequence), attempt };
	return identityProblem(identity) === undefined ? identity : undefined;
}

/**
 * Where things are in an object store, but for the bundles' own names (bundle/identity.ts):
 *
 *     <gateway>/<incarnation, 10 digits>/claim.json
 *     <gateway>/<incarnation, 10 digits>/<sequence, 20 digits>-<attempt, 8 hexadecimal digits>.bundle
 *
 * Sorted by their bytes they are in the order in which they were written; the claim comes behind the bundles of its incarnation.
 * Whatever else is in the store is somebody else's, and none of our business.
 */
import { bundleKey, incarnationPrefix, parseBundleKey } from "./bundle/identity.ts";

const CLAIM_KEY = /^([a-zA-Z0-9._-]{1,128})\/(\d{10})\/claim\.json$/;

/** What all keys of a gateway begin with. */
export function gatewayPrefix(gateway: string): string {
	return `${gateway}/`;
}

/** Sorts behind all keys of the gateway, and before those of the next. */
export function behindGateway(gateway: string): string {
	// What follows a slash in the order of bytes.
	return `${gateway}0`;
}

/** Sorts behind all keys of the incarnation, and before those of the next. */
export function behindIncarnation(gateway: string, incarnation: number): string {
	return incarnationPrefix(gateway, incarnation + 1).slice(0, -1);
}

/** The last that a bundle of that sequence may have. */
export function lastBundleKey(gateway: string, incarnation: number, sequence: number): string {
	return bundleKey({ gateway, incarnation, sequence, attempt: "ffffffff" });
}

export function claimKey(gateway: string, incarnation: number): string {
	return `${incarnationPrefix(gateway, incarnation)}claim.json`;
}

/** Whose bundle or claim it is; undefined where it is neither. */
export function ownerOf(key: string): { readonly gateway: string; readonly incarnation: number } | undefined {
	const bundle = parseBundleKey(key);
	if (bundle !== undefined) return bundle;
	const [, gateway, incarnation] = CLAIM_KEY.exec(key) ?? [];
	return gateway === undefined ? undefined : { gateway, incarnation: Number(incarnation) };
}

/**
 * What a store has of a gateway: its objects, the claims of its incarnations, and which bundles make up its log. That are those
 * of the newest incarnation, and of older ones as far as the claims say that it builds on them; what an older one wrote
 * after it had been replaced is not among them.
 */
import { type BundleIdentity, parseBundleKey } from "../bundle/identity.ts";
import { behindGateway, gatewayPrefix, ownerOf } from "../object-keys.ts";
import { type BundlePlace, type Claim, readClaim } from "./claim.ts";
import type { ReadableStore } from "./retried-reads.ts";

export interface StoredBundle {
	readonly key: string;
	readonly identity: BundleIdentity;
	readonly sizeBytes: number;
}

export interface StoreContents {
	/** The number of the newest incarnation. */
	readonly incarnation: number;
	/** By the store's clock: when that wrote last. */
	readonly writtenMs: number;
	/** The claim of `identity`, if it has one. */
	readonly own: Claim | undefined;
	/** Of the log, in the order in which they were written. */
	readonly bundles: readonly StoredBundle[];
	/** Bundles that are not of the log. */
	readonly strays: readonly StoredBundle[];
	/** Where the log ends: what builds on it builds on all bundles up to this. */
	readonly end: BundlePlace;
}

/**
 * undefined: nothing of ours. `identity`: of a data directory that is being made; if it has a claim already, the log is what
 * that builds on. One request for 1,000 objects, and one for each incarnation. Rejects with ClaimError and StoreError.
 */
export async function readContents(
	store: ReadableStore,
	gateway: string,
	identity: string,
	progress: (objects: number) => void,
): Promise<StoreContents | undefined> {
	const found: StoredBundle[] = [];
	const writtenMs = new Map<number, number>();
	let objects = 0;
	for (let after: string | undefined; ; ) {
		const page = await store.list(gatewayPrefix(gateway), after);
		for (const { key, sizeBytes, modifiedMs } of page.objects) {
			const owner = ownerOf(key);
			if (owner === undefined) continue;
			writtenMs.set(owner.incarnation, Math.max(modifiedMs, writtenMs.get(owner.incarnation) ?? 0));
			const identity = parseBundleKey(key);
			if (identity !== undefined) found.push({ key, identity, sizeBytes });
		}
		objects += page.objects.length;
		progress(objects);
		after = page.objects.at(-1)?.key;
		if (!page.more || after === undefined) break;
	}
	const claims = new Map<number, Claim>();
	for (const incarnation of writtenMs.keys()) {
		const claim = await readClaim(store, gateway, incarnation);
		if (claim !== undefined) claims.set(incarnation, claim);
	}
	const incarnations = [...writtenMs.keys()].sort((a, b) => a - b);
	const incarnation = incarnations.at(-1);
	if (incarnation === undefined) return undefined;
	const own = [...claims.values()].find((claim) => claim.identity === identity);
	const end = own?.basedOn ?? { incarnation, sequence: Number.MAX_SAFE_INTEGER };
	const ends = chain(claims, incarnations, end);
	const isOfLog = ({ identity: { incarnation, sequence } }: StoredBundle) => sequence <= (ends.get(incarnation) ?? -1);
	const bundles = found.filter(isOfLog);
	const last = bundles.at(-1)?.identity;
	return {
		incarnation,
		writtenMs: writtenMs.get(incarnation) as number,
		own,
		bundles,
		strays: found.filter((each) => !isOfLog(each)),
		end: own?.basedOn ?? { incarnation, sequence: last?.incarnation === incarnation ? last.sequence : 0 },
	};
}

/** By incarnation: the last sequence number that counts. */
function chain(
	claims: ReadonlyMap<number, Claim>,
	incarnations: readonly number[],
	end: BundlePlace,
): Map<number, number> {
	const ends = new Map<number, number>();
	let at: BundlePlace | undefined = end;
	while (at !== undefined) {
		const { incarnation, sequence }: BundlePlace = at;
		ends.set(incarnation, sequence);
		at = placeBefore(claims.get(incarnation), incarnation, incarnations);
	}
	return ends;
}

function placeBefore(
	claim: Claim | undefined,
	incarnation: number,
	incarnations: readonly number[],
): BundlePlace | undefined {
	if (claim !== undefined) {
		const { basedOn } = claim;
		return basedOn !== undefined && basedOn.incarnation < incarnation ? basedOn : undefined;
	}
	// It is not known where it began: then all of the one before it counts.
	const older = incarnations.findLast((each) => each < incarnation);
	return older === undefined ? undefined : { incarnation: older, sequence: Number.MAX_SAFE_INTEGER };
}

/** The names of all gateways that have anything in the store, sorted, `limit` at most. A request for each. Rejects with StoreError. */
export async function gatewaysIn(store: ReadableStore, limit: number): Promise<string[]> {
	const gateways = new Set<string>();
	for (let after: string | undefined; gateways.size < limit; ) {
		const { objects, more } = await store.list("", after);
		for (const { key } of objects) {
			const owner = ownerOf(key);
			if (owner !== undefined) gateways.add(owner.gateway);
		}
		const last = objects.at(-1)?.key;
		if (!more || last === undefined) break;
		const owner = ownerOf(last);
		after = owner === undefined ? last : behindGateway(owner.gateway);
	}
	return [...gateways].sort().slice(0, limit);
}

/**
 * Who may write under a gateway's name in an object store. Each incarnation has a claim, put where there is none yet, that
 * names the data directory it belongs to by a random identity. So two gateways that were given one name find out about each
 * other, and one whose place was taken by a restored one stops uploading.
 *
 * All of it may be repeated after any failure. Nothing here is put twice or deleted; `checkClaim` costs two GETs.
 */
import { incarnationPrefix, parseBundleKey } from "../bundle/identity.ts";
import { JsonFields, parseBoundedJson } from "../bundle/json-fields.ts";
import { behindIncarnation, claimKey, gatewayPrefix, lastBundleKey, ownerOf } from "../object-keys.ts";
import { type ObjectStore, StoreError } from "../object-store.ts";
import type { ReadableStore } from "./retried-reads.ts";

export interface Claim {
	readonly gateway: string;
	readonly incarnation: number;
	/** Of the data directory: 32 hexadecimal digits, random. */
	readonly identity: string;
	/** By the clock of who claims; for people. */
	readonly claimedMs: number;
	/** Name and version of the software; for people. */
	readonly writer: string;
	/** The last bundle that it was restored from; what the older incarnations wrote later is not of its log. */
	readonly basedOn: BundlePlace | undefined;
}

/** A bundle's place in the sequence of all that a gateway wrote. */
export interface BundlePlace {
	readonly incarnation: number;
	/** 0: before the first of the incarnation. */
	readonly sequence: number;
}

export type ClaimErrorKind =
	/** The incarnation is another data directory's. */
	| "taken"
	/** There is a newer incarnation. */
	| "superseded"
	/** The store has nothing of the incarnation, which has bundles: it is another store. */
	| "missing"
	/** The claim cannot be read: damaged, or of a newer format. */
	| "unreadable";

/** `message` says what to do. It is no use trying again. */
export class ClaimError extends Error {
	override readonly name = "ClaimError";
	readonly kind: ClaimErrorKind;

	constructor(kind: ClaimErrorKind, message: string, options?: ErrorOptions) {
		super(message, options);
		this.kind = kind;
	}
}

const FORMAT = 1;
/** A claim has some 300. */
const CLAIM_BYTES_MAX = 16 * 1024;
/** What a Date takes. */
const DATE_MS_MAX = 8.64e15;
const IDENTITY = /^[0-9a-f]{32}$/;

/**
 * Claims an incarnation that nobody has: the first for a new data directory, or the one after the newest when restoring.
 * Rejects with ClaimError: `taken` where there is a claim or anything else of the incarnation, `superseded` where there are
 * newer ones; and with StoreError. It may be repeated until it resolves: a claim of the same identity is as good.
 */
export async function makeClaim(store: ObjectStore, claim: Claim): Promise<void> {
	const { gateway, incarnation } = claim;
	const newest = await newestIncarnation(store, gateway);
	if (newest > incarnation) {
		throw new ClaimError(
			"superseded",
			`${store.name} has incarnations of gateway ${gateway} up to ${newest} already: ${WHAT_TO_DO}`,
		);
	}
	if (newest === incarnation) {
		if (await isThere(store, claim)) return;
		const { objects } = await store.list(incarnationPrefix(gateway, incarnation));
		const place = `incarnation ${incarnation} of gateway ${gateway}`;
		if (objects.some(({ key }) => parseBundleKey(key) !== undefined))
			throw new ClaimError("taken", `${store.name} has bundles of ${place}, and no claim: ${WHAT_TO_DO}`);
		throw new StoreError("unreachable", `${store.name} lists the claim of ${place}, and does not show it`);
	}
	await putClaim(store, claim);
}

/**
 * Whether an incarnation that has bundles is still the own one, and the newest; to be asked before each upload (before the
 * first, `makeClaim` is). A claim that was removed is put again. Rejects with ClaimError and StoreError.
 */
export async function checkClaim(store: ObjectStore, claim: Claim): Promise<void> {
	const { gateway, incarnation } = claim;
	if (!(await isThere(store, claim))) {
		const prefix = incarnationPrefix(gateway, incarnation);
		if ((await store.list(prefix)).objects.length === 0) {
			throw new ClaimError(
				"missing",
				`${store.name} has nothing of incarnation ${incarnation} of gateway ${gateway}, which has stored bundles: they are in another store, or were removed. Set objectStore.url back to where they are`,
			);
		}
		await putClaim(store, claim);
	}
	const next = await readClaim(store, gateway, incarnation + 1);
	if (next === undefined || next.identity === claim.identity) return;
	throw new ClaimError(
		"superseded",
		`gateway ${gateway} was restored elsewhere on ${new Date(next.claimedMs).toISOString()}, as incarnation ${incarnation + 1} (${store.name} has ${claimKey(gateway, incarnation + 1)}): this one, incarnation ${incarnation}, uploads nothing any more. Stop it; or, if both are to go on, give this one another gateway.id and a new data directory`,
	);
}

/**
 * Whether nobody else goes by the claim: a copy of the data directory, or a newer state of it that this one is a backup of, which
 * have the same identity. `lastSequence`: the largest that this directory ever gave a bundle. One LIST. Rejects with
 * ClaimError `taken`, and StoreError.
 */
export async function checkSequence(
	store: ObjectStore,
	{ gateway, incarnation }: Claim,
	lastSequence: number,
): Promise<void> {
	const { objects } = await store.list(
		incarnationPrefix(gateway, incarnation),
		lastBundleKey(gateway, incarnation, lastSequence),
	);
	const stranger = objects.find(({ key }) => parseBundleKey(key) !== undefined);
	if (stranger === undefined) return;
	throw new ClaimError(
		"taken",
		`${store.name} has ${stranger.key}, which this data directory has never written: it is a copy or an older backup of the one that did. Only one may go on; to have what was uploaded, restore it (headwater tier restore --gateway ${gateway})`,
	);
}

/** undefined where there is none. Rejects with ClaimError `unreadable` and StoreError. */
export async function readClaim(
	store: ReadableStore,
	gateway: string,
	incarnation: number,
): Promise<Claim | undefined> {
	const bytes = await readBytes(store, claimKey(gateway, incarnation));
	return bytes && decode(bytes, store, gateway, incarnation);
}

async function readBytes(store: ReadableStore, key: string): Promise<Buffer | undefined> {
	try {
		return await store.get(key, 0, CLAIM_BYTES_MAX);
	} catch (error) {
		if (error instanceof StoreError && error.kind === "not-found") return undefined;
		throw error;
	}
}

/** 0 where there is none, in a folder that is no store yet too: the first claim makes it one. */
async function newestIncarnation(store: ObjectStore, gateway: string): Promise<number> {
	try {
		return (await incarnations(store, gateway)).at(-1) ?? 0;
	} catch (error) {
		if (error instanceof StoreError && error.kind === "no-bucket") return 0;
		throw error;
	}
}

/** Those that have any object of ours, ascending. One request for each and one more. Rejects with StoreError. */
export async function incarnations(store: ObjectStore, gateway: string): Promise<number[]> {
	const prefix = gatewayPrefix(gateway);
	const found: number[] = [];
	for (let after: string | undefined; ; ) {
		const { objects, more } = await store.list(prefix, after);
		let incarnation: number | undefined;
		for (const { key } of objects) {
			const owner = ownerOf(key);
			if (owner === undefined) continue;
			incarnation = owner.incarnation;
			if (incarnation !== found.at(-1)) found.push(incarnation);
		}
		const last = objects.at(-1);
		if (!more || last === undefined) return found;
		// A page of somebody else's objects says nothing about where the next of ours are.
		after = incarnation === undefined ? last.key : larger(behindIncarnation(gateway, incarnation), last.key);
	}
}

function larger(a: string, b: string): string {
	return a > b ? a : b;
}

async function putClaim(store: ObjectStore, claim: Claim): Promise<void> {
	const { gateway, incarnation } = claim;
	let failure: unknown;
	try {
		await store.putIfAbsent(claimKey(gateway, incarnation), encode(claim));
	} catch (error) {
		// Whether it is there, and whose, is to be seen.
		if (!(error instanceof StoreError && (error.kind === "exists" || error.isTransient))) throw error;
		failure = error;
	}
	// A server may know nothing of conditions and let two in: what it shows is what counts.
	if (await isThere(store, claim)) return;
	if (failure instanceof StoreError && failure.kind !== "exists") throw failure;
	throw new StoreError(
		"unreachable",
		`${claimKey(gateway, incarnation)} was put to ${store.name}, which does not show it`,
	);
}

/** Whether the claim is there. One that was cut short on its way there is put again. Rejects with ClaimError and StoreError. */
async function isThere(store: ObjectStore, claim: Claim): Promise<boolean> {
	const { gateway, incarnation, identity } = claim;
	const key = claimKey(gateway, incarnation);
	const bytes = await readBytes(store, key);
	if (bytes === undefined) return false;
	let found: Claim;
	try {
		found = decode(bytes, store, gateway, incarnation);
	} catch (error) {
		const own = encode(claim);
		if (bytes.length >= own.length || bytes.indexOf(identity) < 0) throw error;
		await store.put(key, own);
		throw new StoreError("unreachable", `${key} in ${store.name} was cut short, and is put again`);
	}
	if (found.identity === identity) return true;
	throw new ClaimError(
		"taken",
		`incarnation ${incarnation} of gateway ${gateway} in ${store.name} belongs to another data directory, since ${new Date(found.claimedMs).toISOString()}: ${WHAT_TO_DO}`,
	);
}

const WHAT_TO_DO =
	"two gateways have one gateway.id. Give this one another; or, to take the other's place, restore it: headwater tier restore";

function encode({ identity, gateway, incarnation, claimedMs, writer, basedOn }: Claim): Buffer {
	// The identity near the beginning: it is known by that where the rest was cut off.
	const json = { format: FORMAT, identity, gateway, incarnation, claimedMs, writer, basedOn };
	return Buffer.from(`${JSON.stringify(json, undefined, "\t")}\n`);
}

function decode(bytes: Buffer, store: ReadableStore, gateway: string, incarnation: number): Claim {
	const what = `${claimKey(gateway, incarnation)} in ${store.name}`;
	const fail = (why: string) => new ClaimError("unreadable", `${what} is no claim: ${why}`);
	const json = new JsonFields(parseBoundedJson(bytes, fail), "", fail);
	const format = json.integer("format", 1);
	if (format > FORMAT) {
		throw new ClaimError(
			"unreadable",
			`${what} is a claim of format ${format}; this program knows formats up to ${FORMAT}: use a newer one`,
		);
	}
	if (json.text("gateway") !== gateway || json.integer("incarnation") !== incarnation)
		throw fail("it is of another gateway or incarnation: objects were renamed or copied");
	const basedOn = json.has("basedOn") ? json.object("basedOn") : undefined;
	return {
		gateway,
		incarnation,
		identity: json.text("identity", IDENTITY),
		claimedMs: json.integer("claimedMs", 0, DATE_MS_MAX),
		writer: json.text("writer"),
		basedOn: basedOn && { incarnation: basedOn.integer("incarnation", 1), sequence: basedOn.integer("sequence") },
	};
}

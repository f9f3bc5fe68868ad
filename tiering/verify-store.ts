/**
 * Compares what an object store has of a gateway with what the gateway's catalog says. Store and catalog are gone through
 * side by side in the order of their keys, a page at a time, so that it costs one request for 1000 objects and little memory;
 * `deep` reads every byte of every bundle too. Nothing is changed.
 */
import type { Clock } from "../src/base/clock.ts";
import { BrokerError, DamageError } from "../src/base/errors.ts";
import type { TierFinding, TierVerifyResult } from "../src/broker/tier-admin.ts";
import type { BundleRow, RangeSummary, TierCatalog } from "../src/catalog/tier-catalog.ts";
import type { Partition } from "../src/log/partition.ts";
import { parseBundleKey } from "./bundle/identity.ts";
import { type BundleSource, objectSource, readBundleFooter } from "./bundle/reader.ts";
import { verifyBundle } from "./bundle/verify.ts";
import { gatewayPrefix, ownerOf } from "./object-keys.ts";
import { type ObjectInfo, type ObjectStore, StoreError } from "./object-store.ts";

export interface VerifyStoreParts {
	readonly store: ObjectStore;
	readonly tier: TierCatalog;
	readonly gatewayId: string;
	readonly partitions: ReadonlyMap<number, Partition>;
	readonly clock: Clock;
}

export interface VerifyStoreOptions {
	readonly deep: boolean;
	readonly progress: (done: TierVerifyResult) => void;
	readonly signal: AbortSignal;
}

/** Ranges of a missing object that are named. */
const RANGES_NAMED = 5;

/** Rejects with the signal's reason. What the store refuses is a finding. */
export async function* verifyStore(
	parts: VerifyStoreParts,
	{ deep, progress, signal }: VerifyStoreOptions,
): AsyncGenerator<TierFinding> {
	const done = { objects: 0, bytes: 0, ranges: 0, done: false };
	try {
		for await (const [object, row] of sideBySide(parts)) {
			signal.throwIfAborted();
			if (object !== undefined) {
				done.objects += 1;
				done.bytes += object.sizeBytes;
			}
			for (const finding of await judge(parts, object, row)) yield finding;
			if (row !== undefined) done.ranges += parts.tier.countRanges(row.id);
			if (deep && object !== undefined && row?.state === "stored") yield* readAll(parts, row);
			progress({ ...done });
			// A page has a thousand objects, each of which may have ranges of every partition.
			await new Promise<void>((resolve) => parts.clock.soon(resolve));
		}
	} catch (error) {
		if (!(error instanceof StoreError)) throw error;
		// Where nothing was uploaded yet, a folder need not be a store.
		const isFolder = parts.store.name.startsWith("file:");
		const isNew = isFolder && error.kind === "no-bucket" && parts.tier.bundlesByKey("", 1).length === 0;
		if (!isNew) yield { kind: "unreachable", object: "", what: error.message };
	}
	progress({ ...done, done: true });
}

/** Each key that the store or the catalog has, with what they have of it. */
async function* sideBySide({
	store,
	tier,
	gatewayId,
}: VerifyStoreParts): AsyncGenerator<[ObjectInfo | undefined, BundleRow | undefined]> {
	const prefix = gatewayPrefix(gatewayId);
	let rows: BundleRow[] = tier.bundlesByKey("");
	const nextRow = (): BundleRow | undefined => {
		const row = rows.shift();
		if (row !== undefined && rows.length === 0) rows = tier.bundlesByKey(row.key);
		return row;
	};
	let row = nextRow();
	for (let after: string | undefined; ; ) {
		const { objects, more } = await store.list(prefix, after);
		for (const object of objects) {
			for (; row !== undefined && row.key < object.key; row = nextRow()) yield [undefined, row];
			if (row?.key !== object.key) {
				// An upload may have begun since the page of rows was read.
				yield [object, tier.bundleByKey(object.key)];
				continue;
			}
			yield [object, row];
			row = nextRow();
		}
		after = objects.at(-1)?.key;
		if (!more || after === undefined) break;
	}
	for (; row !== undefined; row = nextRow()) yield [undefined, row];
}

async function judge(
	{ store, tier, partitions }: VerifyStoreParts,
	object: ObjectInfo | undefined,
	row: BundleRow | undefined,
): Promise<TierFinding[]> {
	if (object === undefined) {
		if (row === undefined || row.state !== "stored") return [];
		// Meanwhile it may have been removed rightly; and a listing may be behind.
		if (tier.bundle(row.id)?.state !== "stored" || (await store.head(row.key)) !== undefined) return [];
		return [
			{ kind: "hole", object: row.key, what: `the object is missing: ${namesOf(tier.rangesOf(row.id), partitions)}` },
		];
	}
	const { key, sizeBytes } = object;
	if (row !== undefined) {
		if (row.state !== "stored" || row.sizeBytes === sizeBytes) return [];
		const what = `the object has ${sizeBytes} bytes, it was stored with ${row.sizeBytes}: ${namesOf(tier.rangesOf(row.id), partitions)}`;
		return [{ kind: "damage", object: key, what }];
	}
	if (parseBundleKey(key) !== undefined)
		return [{ kind: "orphan", object: key, what: `a bundle of ${sizeBytes} bytes that the catalog does not know` }];
	return ownerOf(key) === undefined ? [{ kind: "foreign", object: key, what: "not an object of a gateway" }] : [];
}

async function* readAll({ store, tier, partitions }: VerifyStoreParts, row: BundleRow): AsyncGenerator<TierFinding> {
	const { key } = row;
	const ranges = tier.rangesOf(row.id);
	const source = objectSource(store, key);
	const damages: DamageError[] = [];
	try {
		await verifyBundle(source, (error) => void damages.push(error));
		for (const what of damages.length > 0 ? [] : await differences(source, ranges, partitions))
			yield { kind: "damage", object: key, what };
	} catch (error) {
		if (error instanceof StoreError && error.kind !== "not-found") throw error;
		// Meanwhile it may have been removed rightly.
		if (error instanceof StoreError && tier.bundle(row.id)?.state !== "stored") return;
		if (error instanceof StoreError || error instanceof BrokerError || error instanceof DamageError)
			yield { kind: "damage", object: key, what: error.message };
		else throw error;
	}
	for (const { message } of damages) yield { kind: "damage", object: key, what: message };
}

/** A bundle that is sound in itself may still be another than the catalog means. */
async function differences(
	source: BundleSource,
	ranges: readonly RangeSummary[],
	partitions: ReadonlyMap<number, Partition>,
): Promise<string[]> {
	const footer = await readBundleFooter(source);
	const there = new Map(footer.ranges.map((range) => [`${range.partitionId}:${range.baseOffset}`, range]));
	return ranges.flatMap((range) => {
		const found = there.get(`${range.partitionId}:${range.baseOffset}`);
		if (found?.nextOffset === range.nextOffset && found.storedBytes === range.storedBytes) return [];
		return [`it does not have ${namesOf([range], partitions)}`];
	});
}

function namesOf(ranges: readonly RangeSummary[], partitions: ReadonlyMap<number, Partition>): string {
	const named = ranges.slice(0, RANGES_NAMED).map(({ partitionId, baseOffset, nextOffset }) => {
		const partition = partitions.get(partitionId);
		const name = partition === undefined ? `partition ${partitionId}` : `${partition.topic}-${partition.number}`;
		return `offsets ${baseOffset} to ${nextOffset - 1} of ${name}`;
	});
	const more = ranges.length - named.length;
	if (named.length === 0) return "no records";
	return `${named.join(", ")}${more > 0 ? ` and ${more} more ranges` : ""}`;
}

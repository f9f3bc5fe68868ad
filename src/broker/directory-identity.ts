/**
 * Who a data directory is to the outside: a random identity of its own, and which incarnation of the gateway it is. Rows of
 * the catalog; a directory restored from an object store gets its own with the restore.
 */
import type { Random } from "../base/random.ts";
import type { Catalog } from "../catalog/catalog.ts";

const ID = "tier.identity";
const INCARNATION = "tier.incarnation";
const ID_BYTES = 16;

export interface DirectoryIdentity {
	/** 32 hexadecimal digits. */
	readonly id: string;
	/** 1, and one more with each restore. */
	readonly incarnation: number;
}

/** For a data directory that is being made. */
export function newIdentity(random: Random): string {
	return random.bytes(ID_BYTES).toString("hex");
}

/** Made where there is none yet. */
export function directoryIdentity(catalog: Catalog, random: Random): DirectoryIdentity {
	const known = catalog.getMeta(ID);
	const id = known ?? newIdentity(random);
	if (known === undefined) catalog.setMeta(ID, id);
	return { id, incarnation: Number(catalog.getMeta(INCARNATION) ?? 1) };
}

/** Of a directory that is being restored. */
export function setDirectoryIdentity(catalog: Catalog, { id, incarnation }: DirectoryIdentity): void {
	catalog.setMeta(ID, id);
	catalog.setMeta(INCARNATION, String(incarnation));
}

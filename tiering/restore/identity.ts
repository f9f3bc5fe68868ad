/**
 * Who this data directory is to an object store: a random identity of its own, which incarnation of the gateway it is, and
 * under which name and where it has claimed that. In the catalog; a restored directory gets its rows with the restore.
 */
import type { Random } from "../../src/base/random.ts";
import { directoryIdentity, setDirectoryIdentity } from "../../src/broker/directory-identity.ts";
import type { Catalog } from "../../src/catalog/catalog.ts";
import { type BundlePlace, ClaimError } from "./claim.ts";

const BASED_ON = "tier.based.on";
const GATEWAY = "tier.gateway";
const CLAIMED_IN = "tier.claimed.in";

export class Identity {
	readonly #catalog: Catalog;
	/** 32 hexadecimal digits. */
	readonly id: string;
	/** 1, and one more with each restore. */
	readonly incarnation: number;
	/** undefined: it was not restored. */
	readonly basedOn: BundlePlace | undefined;

	/** Makes the identity where there is none yet. */
	constructor(catalog: Catalog, random: Random) {
		this.#catalog = catalog;
		const { id, incarnation } = directoryIdentity(catalog, random);
		this.id = id;
		this.incarnation = incarnation;
		const basedOn = catalog.getMeta(BASED_ON);
		this.basedOn = basedOn === undefined ? undefined : (JSON.parse(basedOn) as BundlePlace);
	}

	/** Of a directory that is being restored. */
	static restored(catalog: Catalog, identity: Pick<Identity, "id" | "incarnation" | "basedOn">): void {
		setDirectoryIdentity(catalog, identity);
		if (identity.basedOn !== undefined) catalog.setMeta(BASED_ON, JSON.stringify(identity.basedOn));
	}

	/** Throws ClaimError where this directory's bundles were written under another name: a restore would find only some of them. */
	mustBe(gatewayId: string): void {
		const gateway = this.#catalog.getMeta(GATEWAY) ?? gatewayId;
		if (gateway === gatewayId) return;
		throw new ClaimError(
			"taken",
			`gateway.id is ${gatewayId}, and what is in the object store was written as ${gateway}: set gateway.id=${gateway} again`,
		);
	}

	/** Whether the name is claimed in that store. */
	hasClaimed(store: string): boolean {
		return this.#catalog.getMeta(CLAIMED_IN) === store;
	}

	claimed(gatewayId: string, store: string): void {
		this.#catalog.setMeta(GATEWAY, gatewayId);
		this.#catalog.setMeta(CLAIMED_IN, store);
	}
}

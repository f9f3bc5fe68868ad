/** What a gateway's bundles in an object store hold, without asking it. */
import type { BundleFooter } from "../../tiering/bundle/footer.ts";
import { parseBundleKey } from "../../tiering/bundle/identity.ts";
import { objectSource, readBundleFooter } from "../../tiering/bundle/reader.ts";
import { gatewayPrefix } from "../../tiering/object-keys.ts";
import type { ObjectStore } from "../../tiering/object-store.ts";

/** Footers that are asked for at one time. */
const FOOTERS_AT_ONCE = 8;

/** The footers of a gateway's bundles, in the order in which they were written. Rejects with StoreError and DamageError. */
export async function* footersOf(
	store: ObjectStore,
	gateway: string,
): AsyncGenerator<BundleFooter & { readonly key: string }> {
	for (let after: string | undefined; ; ) {
		const { objects, more } = await store.list(gatewayPrefix(gateway), after);
		const keys = objects.map(({ key }) => key).filter((key) => parseBundleKey(key) !== undefined);
		for (let i = 0; i < keys.length; i += FOOTERS_AT_ONCE) {
			yield* await Promise.all(keys.slice(i, i + FOOTERS_AT_ONCE).map((key) => footerOf(store, key)));
		}
		after = objects.at(-1)?.key;
		if (!more || after === undefined) return;
	}
}

async function footerOf(store: ObjectStore, key: string): Promise<BundleFooter & { readonly key: string }> {
	const footer = await readBundleFooter(objectSource(store, key, `${key} in ${store.name}`));
	return { ...footer, key };
}

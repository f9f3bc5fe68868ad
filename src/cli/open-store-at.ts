/** An object store that a command names by its url, reached as `objectStore.*` of its configuration say. */
import type { ObjectStore } from "../../tiering/object-store.ts";
import { objectStoreOptions } from "./object-store-options.ts";
import { type ConfigOptions, readConfig } from "./read-config.ts";

/** In this process; to be closed by the caller. Rejects with ConfigError. */
export async function openStoreAt(url: string, options: ConfigOptions): Promise<ObjectStore> {
	const set = [...(options.set ?? []), `objectStore.url=${url}`];
	const { config } = await readConfig({ ...options, set }, process.env);
	const { openStore } = await import("../../tiering/open-store.ts");
	return openStore(objectStoreOptions(config, config["data.directory"]));
}

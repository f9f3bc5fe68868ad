/** From `objectStore.url` to the store behind it: in this process, or in one of its own. */
import { NodeDisk } from "../src/base/disk.ts";
import { DirectoryStore } from "./directory-store.ts";
import { type ObjectStore, type ObjectStoreOptions, StoreError } from "./object-store.ts";
import { StoreProcess } from "./process/store-process.ts";
import { S3Store } from "./s3.ts";

/** A store in this process. Loads what it needs with its first call. Throws StoreError `refused` for a url that is none. */
export function openStore(options: ObjectStoreOptions): ObjectStore {
	if (options.url.startsWith("s3:")) return new S3Store(options);
	if (options.url.startsWith("file:")) return new DirectoryStore(options, new NodeDisk());
	throw new StoreError(
		"refused",
		`objectStore.url: ${options.url} is neither s3://bucket/prefix nor file:///folder: those are the stores there are`,
	);
}

/** The same store, behind a process that ends when it is not needed. `script`: the program's own entry (process.argv[1]). */
export function openStoreProcess(options: ObjectStoreOptions, script: string): StoreProcess {
	return new StoreProcess(options, { script, name: openStore(options).name });
}

/** From the name of a bundle on the command line to its bytes: a file, or an object in a store. */
import type { BundleSource } from "../../tiering/bundle/reader.ts";
import { type DiskFile, NodeDisk } from "../base/disk.ts";
import { CommandError } from "./failure.ts";
import { openStoreAt } from "./open-store-at.ts";
import type { ConfigOptions } from "./read-config.ts";

interface OpenBundle extends BundleSource {
	close(): Promise<void>;
}

/** `s3://bucket/prefix/gateway/incarnation/bundle`, or `file:///folder/...` alike: what is before the key names the store. */
const OBJECT = /^((?:s3|file):\/\/.+?)\/([^/]+\/\d+\/[^/]+\.bundle)$/;

/**
 * What `work` makes of the bundle of that name. `options` are of use for an object only: how to reach its store. Rejects with
 * CommandError, StoreError, Node's errors of files, and what `work` rejects with.
 */
export async function withBundle<T>(
	name: string,
	options: ConfigOptions,
	work: (source: BundleSource) => Promise<T>,
): Promise<T> {
	const source = await openBundle(name, options);
	try {
		return await work(source);
	} finally {
		await source.close();
	}
}

async function openBundle(name: string, options: ConfigOptions): Promise<OpenBundle> {
	const [, url, key] = OBJECT.exec(name) ?? [];
	if (url !== undefined && key !== undefined) return openObject(name, url, key, options);
	if (/^(s3|file):/.test(name))
		throw new CommandError(
			`${name} does not name a bundle in a store, as s3://bucket/prefix/gw-1/0000000001/00000000000000000007-0badcafe.bundle does`,
		);
	return openFile(name);
}

async function openObject(name: string, url: string, key: string, options: ConfigOptions): Promise<OpenBundle> {
	const store = await openStoreAt(url, options);
	const { objectSource } = await import("../../tiering/bundle/reader.ts");
	return { ...objectSource(store, key, name), close: () => store.close() };
}

function openFile(name: string): OpenBundle {
	const disk = new NodeDisk();
	if (disk.status(name)?.kind === "folder") throw new CommandError(`${name} is a folder; name a bundle in it`);
	const file = disk.open(name, "read");
	return {
		name,
		async getLast(bytes) {
			const sizeBytes = file.size();
			return { bytes: await read(file, Math.max(0, sizeBytes - bytes), bytes), sizeBytes };
		},
		get: (position, bytes) => read(file, position, bytes),
		async close() {
			file.close();
		},
	};
}

async function read(file: DiskFile, position: number, bytes: number): Promise<Buffer> {
	// What a footer says of how long a thing is, is no reason to allocate more than there is.
	const target = Buffer.allocUnsafe(Math.max(0, Math.min(bytes, file.size() - position)));
	return target.subarray(0, await file.read(target, position));
}

/** Reads what bundles say of themselves, many at a time, and keeps of it what a restored catalog takes. */
import { DamageError } from "../../src/base/errors.ts";
import type { NewRange } from "../../src/catalog/tier-catalog.ts";
import { encodeBlocks } from "../bundle/block-index.ts";
import type { Compression } from "../bundle/compression.ts";
import type { BundleFooter, BundleTopic } from "../bundle/footer.ts";
import { objectSource, readBundleFooter, readSnapshot } from "../bundle/reader.ts";
import type { FoundRange } from "./restore-plan.ts";
import type { ReadableStore } from "./retried-reads.ts";
import { decodeSnapshot, type Snapshot } from "./snapshot.ts";
import type { StoredBundle } from "./store-contents.ts";

/** A range of a bundle, on the gateway that wrote it. */
export interface ReadRange extends FoundRange, NewRange {
	/** Its number in the topic. */
	readonly partition: number;
	readonly topicId: string;
}

export interface ReadBundle extends StoredBundle {
	readonly createdMs: number;
	readonly topics: readonly BundleTopic[];
	readonly ranges: readonly ReadRange[];
	readonly snapshot: BundleFooter["snapshot"];
}

/** Requests at a time. */
const AT_ONCE = 16;

export class FooterReader {
	/** What was read and is no sound bundle, a line each. */
	readonly damaged: string[] = [];
	readonly #store: ReadableStore;
	readonly #bundles: readonly StoredBundle[];
	readonly #compression: Compression;
	readonly #read = new Map<number, ReadBundle | undefined>();

	/** `bundles`: in the order in which they were written. */
	constructor(store: ReadableStore, bundles: readonly StoredBundle[], compression: Compression) {
		this.#store = store;
		this.#bundles = bundles;
		this.#compression = compression;
	}

	/**
	 * The newest sound one, and the index of its bundle; undefined where there is none. Rejects with StoreError, and with
	 * BrokerError (UNSUPPORTED_VERSION) for what a newer program wrote.
	 */
	async newestSnapshot(): Promise<{ readonly snapshot: Snapshot; readonly index: number } | undefined> {
		for (let index = this.#bundles.length - 1; index >= 0; index--) {
			const bundle = await this.#readOne(index);
			if (bundle?.snapshot === undefined) continue;
			try {
				const bytes = await readSnapshot(objectSource(this.#store, bundle.key), bundle, this.#compression);
				if (bytes !== undefined) return { snapshot: decodeSnapshot(bytes, bundle.key), index };
			} catch (error) {
				if (!(error instanceof DamageError)) throw error;
				this.damaged.push(error.message);
			}
		}
		return undefined;
	}

	/** In their order; undefined in the place of one that is damaged. Rejects as `newestSnapshot`. */
	async all(progress: (read: number) => void): Promise<(ReadBundle | undefined)[]> {
		let next = 0;
		const work = async (): Promise<void> => {
			while (next < this.#bundles.length) {
				await this.#readOne(next++);
				progress(this.#read.size);
			}
		};
		await Promise.all(Array.from({ length: AT_ONCE }, work));
		return this.#bundles.map((_, index) => this.#read.get(index));
	}

	async #readOne(index: number): Promise<ReadBundle | undefined> {
		if (this.#read.has(index)) return this.#read.get(index);
		const stored = this.#bundles[index] as StoredBundle;
		let bundle: ReadBundle | undefined;
		try {
			const footer = await readBundleFooter(objectSource(this.#store, stored.key), this.#compression);
			if (footer.key !== stored.key) throw new DamageError(stored.key, 0, `it is a copy of ${footer.key}`);
			const { createdMs, topics, ranges, snapshot } = footer;
			bundle = { ...stored, createdMs, topics, ranges: ranges.map(compactRange), snapshot };
		} catch (error) {
			if (!(error instanceof DamageError)) throw error;
			this.damaged.push(error.message);
		}
		this.#read.set(index, bundle);
		return bundle;
	}
}

/** A block takes some 20 bytes then. */
function compactRange(range: BundleFooter["ranges"][number]): ReadRange {
	const { topicId, partition, partitionId, baseOffset, nextOffset, epochs, aborted } = range;
	const { storedBytes, rawBytes, maxTimestamp } = range;
	const blocks = encodeBlocks(range.blocks, baseOffset);
	const sizes = { storedBytes, rawBytes, maxTimestamp, blocks };
	return { topicId, partition, partitionId, baseOffset, nextOffset, epochs, aborted, ...sizes };
}

/** `headwater dump` of a bundle: what is in it, in the order of its bytes. A damaged place is shown as such. */
import { DamageError } from "../../src/base/errors.ts";
import type { DumpItem, DumpOptions } from "../../src/log/dump.ts";
import { BatchError, type BatchHeader, decodeRecords } from "../../src/record/batch.ts";
import { type Block, decodeBlock, forEachBatch } from "./block.ts";
import { checkHeader, FORMAT, HEADER_BYTES, TRAILER_BYTES } from "./layout.ts";
import { type BundleSource, readBundleFooter } from "./reader.ts";

/** With `records`, batches and records too; they begin, as bytes go, where their block does. Rejects with what `source` rejects with. */
export async function* dumpBundle(source: BundleSource, options: DumpOptions = {}): AsyncGenerator<DumpItem> {
	try {
		yield* dumpParts(source, options);
	} catch (error) {
		yield damageItem(source, error);
	}
}

async function* dumpParts(source: BundleSource, { records = false }: DumpOptions): AsyncGenerator<DumpItem> {
	const footer = await readBundleFooter(source);
	const { sizeBytes, topics, ranges, snapshot, ...identity } = footer;
	try {
		checkHeader(await source.get(0, HEADER_BYTES), source.name);
		yield { kind: "header", position: 0, format: FORMAT };
	} catch (error) {
		yield damageItem(source, error);
	}
	let end = HEADER_BYTES;
	for (const { position, blocks, ...range } of ranges) {
		yield { kind: "range", position, ...range };
		for (const block of blocks) {
			yield { kind: "block", ...block };
			if (records) yield* dumpBatches(source, block);
		}
		end = position + range.storedBytes;
	}
	if (snapshot !== undefined) {
		yield { kind: "snapshot", ...snapshot };
		end = snapshot.position + snapshot.storedBytes;
	}
	yield { kind: "footer", position: end, ...identity };
	for (const topic of topics) yield { kind: "topic", position: end, ...topic };
	yield { kind: "trailer", position: sizeBytes - TRAILER_BYTES, footerPosition: end };
}

async function* dumpBatches(source: BundleSource, block: Block): AsyncGenerator<DumpItem> {
	const { position } = block;
	try {
		const raw = await decodeBlock(await source.get(position, block.storedBytes), block, source.name);
		const batches: { readonly header: BatchHeader; readonly at: number }[] = [];
		forEachBatch(raw, (header, at) => batches.push({ header, at }));
		for (const { header, at } of batches) {
			yield { kind: "batch", position, ...header };
			for (const record of decodeRecords(raw, at)) yield { kind: "record", position, ...record };
		}
	} catch (error) {
		if (error instanceof BatchError) yield { kind: "damage", position, what: error.message };
		else yield damageItem(source, error);
	}
}

/** Throws `error` where it is no damage. */
function damageItem({ name }: BundleSource, error: unknown): DumpItem {
	if (!(error instanceof DamageError)) throw error;
	const { position, message } = error;
	return { kind: "damage", position, what: message.slice(`${name} at byte ${position}: `.length) };
}

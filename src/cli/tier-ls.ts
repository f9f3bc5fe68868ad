/** `headwater tier ls`: what of which topic an object store has, as a gateway says it or the store alone. */
import type { TierRange } from "../native/client/tier-types.ts";
import { UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { openStoreAt } from "./open-store-at.ts";
import { LineWriter, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatTime } from "./quantities.ts";
import type { ConfigOptions } from "./read-config.ts";
import { formatTable } from "./table.ts";

export interface ListOptions extends ConfigOptions {
	/** A store's url; without one the gateway is asked. */
	readonly from?: string | undefined;
	/** Whose bundles, in that store. */
	readonly gateway?: string | undefined;
	/** Every range, also without a topic. */
	readonly ranges?: boolean | undefined;
	readonly json?: boolean | undefined;
}

/** What a partition has in the store. */
interface PartitionSum {
	readonly topic: string;
	readonly partition: number;
	from: number;
	before: number;
	ranges: number;
	storedBytes: number;
	rawBytes: number;
	maxTimestamp: number | null;
}

/** Rows that are aligned with each other. */
const PAGE_ROWS = 500;
/** Each costs a request. */
const GATEWAYS_MAX = 10_000;
const NONE = "-";

/** Lists the ranges of `topic`, or what each partition has; with a store but no gateway named, the gateways in it. */
export async function listStored(
	address: string | undefined,
	topic: string | undefined,
	options: ListOptions,
): Promise<void> {
	if (options.from === undefined) {
		if (options.gateway !== undefined)
			throw new UsageError("--gateway goes with --from URL; to ask a gateway, --connect");
		await withGateway(address, (client) =>
			listRanges(client.tier.ranges(topic), topic, options, "nothing is in the object store yet"),
		);
		return;
	}
	const store = await openStoreAt(options.from, options);
	try {
		if (options.gateway !== undefined) {
			const { gateway } = options;
			await listRanges(rangesIn(store, gateway), topic, options, `${store.name} has no bundles of gateway ${gateway}`);
			return;
		}
		if (topic !== undefined) throw new UsageError("--from URL and a topic need --gateway ID too");
		const { gatewaysIn } = await import("../../tiering/restore/store-contents.ts");
		const gateways = await gatewaysIn(store, GATEWAYS_MAX);
		if (options.json) await printObjects(gateways.map((gateway) => ({ gateway })));
		else if (gateways.length === 0) await print(`no gateway has stored anything in ${store.name}\n`);
		else
			await print(
				formatTable(
					["GATEWAY"],
					gateways.map((each) => [each]),
				),
			);
	} finally {
		await store.close();
	}

	async function* rangesIn(from: typeof store, gateway: string): AsyncGenerator<TierRange> {
		const { footersOf } = await import("./tier-bucket.ts");
		for await (const { key, ranges } of footersOf(from, gateway)) {
			for (const each of ranges) {
				if (topic !== undefined && each.topic !== topic) continue;
				const { partition, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp } = each;
				const latest = maxTimestamp < 0 ? null : maxTimestamp;
				const sizes = { storedBytes, rawBytes, maxTimestamp: latest, object: key };
				yield { topic: each.topic, partition, baseOffset, nextOffset, ...sizes };
			}
		}
	}
}

async function listRanges(
	ranges: AsyncIterable<TierRange>,
	topic: string | undefined,
	{ ranges: everyRange = false, json = false }: ListOptions,
	nothing: string,
): Promise<void> {
	const count = topic === undefined && !everyRange ? await printSums(ranges, json) : await printRanges(ranges, json);
	if (count > 0 || json) return;
	await print(topic === undefined ? `${nothing}\n` : `nothing of topic ${topic} is in the object store\n`);
}

async function printSums(ranges: AsyncIterable<TierRange>, json: boolean): Promise<number> {
	const sums = new Map<string, PartitionSum>();
	for await (const range of ranges) add(sums, range);
	const list = [...sums.values()].sort((a, b) =>
		a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
	);
	if (json) await printObjects(list);
	else if (list.length > 0) {
		const rows = list.map((each) => [
			each.topic,
			String(each.partition),
			String(each.from),
			String(each.before),
			formatCount(each.ranges),
			timeText(each.maxTimestamp),
			formatBytes(each.storedBytes),
			formatBytes(each.rawBytes),
		]);
		const head = ["TOPIC", "PARTITION", "FROM", "BEFORE", "RANGES", "LAST TIME", "STORED", "RAW"];
		await print(formatTable(head, rows, [1, 2, 3, 4, 6, 7]));
	}
	return list.length;
}

function add(sums: Map<string, PartitionSum>, range: TierRange): void {
	const { topic, partition, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp } = range;
	const key = `${topic} ${partition}`;
	const sum = sums.get(key);
	if (sum === undefined) {
		sums.set(key, {
			topic,
			partition,
			from: baseOffset,
			before: nextOffset,
			ranges: 1,
			storedBytes,
			rawBytes,
			maxTimestamp,
		});
		return;
	}
	sum.from = Math.min(sum.from, baseOffset);
	sum.before = Math.max(sum.before, nextOffset);
	sum.ranges += 1;
	sum.storedBytes += storedBytes;
	sum.rawBytes += rawBytes;
	if (maxTimestamp !== null) sum.maxTimestamp = Math.max(sum.maxTimestamp ?? -1, maxTimestamp);
}

async function printRanges(ranges: AsyncIterable<TierRange>, json: boolean): Promise<number> {
	const writer = new LineWriter();
	let rows: string[][] = [];
	let count = 0;
	const page = () => {
		// The head stands once, above the first.
		const table = formatTable(
			["TOPIC", "PARTITION", "FROM", "BEFORE", "LAST TIME", "STORED", "RAW", "OBJECT"],
			rows,
			[1, 2, 3, 5, 6],
		);
		const text = count > rows.length ? table.slice(table.indexOf("\n") + 1) : table;
		rows = [];
		return writer.line(text);
	};
	try {
		for await (const range of ranges) {
			count += 1;
			if (json) await writer.line(`${JSON.stringify(range)}\n`);
			else rows.push(rangeRow(range));
			if (rows.length >= PAGE_ROWS) await page();
		}
		if (rows.length > 0) await page();
	} finally {
		await writer.end();
	}
	return count;
}

function rangeRow(range: TierRange): string[] {
	return [
		range.topic,
		String(range.partition),
		String(range.baseOffset),
		String(range.nextOffset),
		timeText(range.maxTimestamp),
		formatBytes(range.storedBytes),
		formatBytes(range.rawBytes),
		range.object,
	];
}

function timeText(timestampMs: number | null): string {
	return timestampMs === null ? NONE : formatTime(timestampMs);
}

/** `headwater tier`: tiered storage, of a gateway, and bundles looked into without one. */
import type { Command } from "commander";
import type { BundleFooter } from "../../tiering/bundle/footer.ts";
import type { BundleSource } from "../../tiering/bundle/reader.ts";
import type { VerifiedBundle } from "../../tiering/bundle/verify.ts";
import { withBundle } from "./bundle-source.ts";
import { UsageError } from "./failure.ts";
import { addConfigOptions, addExamples, gatewayAddress } from "./options.ts";
import { endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatTime, plural } from "./quantities.ts";
import type { ConfigOptions } from "./read-config.ts";
import { escapeControls, formatTable } from "./table.ts";
import { addTierExport } from "./tier-export.ts";
import { type ListOptions, listStored } from "./tier-ls.ts";
import { addTierRestore } from "./tier-restore.ts";
import { addTierRun } from "./tier-run.ts";
import { addTierStatus } from "./tier-status.ts";
import { verifyGateway } from "./tier-verify.ts";

type Options = ConfigOptions & { readonly json?: boolean };

export function addTier(program: Command): void {
	const tier = program.command("tier").description("show, start, check and restore tiered storage");
	addExamples(
		tier,
		"headwater tier status",
		"headwater tier run",
		"headwater tier ls telemetry",
		"headwater tier export 00000000000000000007-0badcafe.bundle --topic telemetry",
	);
	addTierStatus(tier);
	addTierRun(tier);
	addList(tier);
	addVerify(tier);
	addTierExport(tier);
	addTierRestore(tier);
}

function addList(tier: Command): void {
	const command = addConfigOptions(tier.command("ls [topic|bundle...]"))
		.description(
			"list what the object store has of each partition, or the ranges of a topic; with names of bundles what is in those: " +
				"files, or objects (s3://bucket/prefix/KEY), reached as objectStore.* say",
		)
		.option("--from <url>", "look into this store itself, s3://bucket/prefix or file:///folder; no gateway is asked")
		.option("--gateway <id>", "with --from: whose; without it the gateways that there are")
		.option("--ranges", "every range, not only what each partition has")
		.option("--json", "one JSON object a line");
	addExamples(
		command,
		"headwater tier ls",
		"headwater tier ls telemetry --json",
		"headwater tier ls --from s3://backups/hw --gateway gw-1",
		"headwater tier ls *.bundle",
		"headwater tier ls s3://backups/hw/gw-1/0000000001/00000000000000000007-0badcafe.bundle --json",
	);
	command.action(async (names: string[], options: ListOptions) => {
		endWhenReaderIsGone();
		if (!namesBundles(names)) {
			if (names.length > 1) throw new UsageError("name one topic, or bundles (their names end in .bundle)");
			return listStored(gatewayAddress(command), names[0], options);
		}
		if (options.from !== undefined || options.gateway !== undefined)
			throw new UsageError("--from and --gateway do not go with names of bundles");
		const { readBundleFooter } = await import("../../tiering/bundle/reader.ts");
		for (const name of names)
			await withBundle(name, options, async (source) => {
				const footer = await readBundleFooter(source);
				if (options.json) await printObjects(rangeObjects(name, footer));
				else await print(formatBundle(name, footer, footer.sizeBytes));
			});
	});
}

function addVerify(tier: Command): void {
	const command = addConfigOptions(tier.command("verify [bundle...]"))
		.description(
			"compare a gateway's catalog with its object store; with names of bundles read those and check every byte; " +
				"exit code 1 on holes and damage",
		)
		.option("--deep", "read every byte in the store too")
		.option("--json", "one JSON object for each finding, and a last one that counts them");
	addExamples(
		command,
		"headwater tier verify",
		"headwater tier verify --deep --json",
		"headwater tier verify *.bundle",
	);
	command.action(async (names: string[], options: Options & { deep?: boolean }) => {
		endWhenReaderIsGone();
		const { deep = false, json = false } = options;
		if (names.length === 0) return verifyGateway(gatewayAddress(command), { deep, json });
		for (const name of names)
			if ((await withBundle(name, options, (source) => verify(source, options.json ?? false))) > 0)
				process.exitCode = 1;
	});
}

/** A topic's name has no slash. */
function namesBundles(names: readonly string[]): boolean {
	return names.length > 0 && names.every((name) => name.endsWith(".bundle") || name.includes("/"));
}

/** Resolves to how many damages there are. */
async function verify(source: BundleSource, json: boolean): Promise<number> {
	const { verifyBundle } = await import("../../tiering/bundle/verify.ts");
	let damages = 0;
	const summary = await verifyBundle(source, async ({ message, file, position }) => {
		damages += 1;
		const what = message.slice(`${file} at byte ${position}: `.length);
		if (json) await printObjects([{ level: "damage", bundle: file, position, what }]);
		else await print(`damage: ${escapeControls(message)}\n`);
	});
	if (json) await printObjects([{ level: "summary", bundle: source.name, damages, ...summary }]);
	else await print(formatVerified(source.name, damages, summary));
	return damages;
}

function rangeObjects(bundle: string, footer: BundleFooter): object[] {
	const { gateway, incarnation, sequence, createdMs } = footer;
	return footer.ranges.map((range) => ({
		bundle,
		gateway,
		incarnation,
		sequence,
		createdMs,
		topic: range.topic,
		partition: range.partition,
		baseOffset: range.baseOffset,
		nextOffset: range.nextOffset,
		records: range.records,
		firstTimestamp: range.firstTimestamp,
		maxTimestamp: range.maxTimestamp,
		storedBytes: range.storedBytes,
		rawBytes: range.rawBytes,
		blocks: range.blocks.length,
	}));
}

function formatBundle(name: string, footer: BundleFooter, sizeBytes: number): string {
	const { gateway, incarnation, sequence, createdMs, writer, ranges, snapshot } = footer;
	const head =
		`${escapeControls(name)}\n${gateway}, incarnation ${incarnation}, bundle ${sequence}, ${formatTime(createdMs)}, ` +
		`by ${writer}, ${formatBytes(sizeBytes)}${snapshot === undefined ? "" : `, snapshot ${formatBytes(snapshot.storedBytes)}`}\n`;
	const rows = ranges.map((range) => [
		range.topic,
		String(range.partition),
		String(range.baseOffset),
		String(range.nextOffset),
		formatCount(range.records),
		range.firstTimestamp < 0 ? "-" : formatTime(range.firstTimestamp),
		range.maxTimestamp < 0 ? "-" : formatTime(range.maxTimestamp),
		formatBytes(range.storedBytes),
		formatBytes(range.rawBytes),
	]);
	const columns = ["TOPIC", "PARTITION", "FROM", "BEFORE", "RECORDS", "FIRST TIME", "LAST TIME", "STORED", "RAW"];
	return head + formatTable(columns, rows, [1, 2, 3, 4, 7, 8]);
}

function formatVerified(name: string, damages: number, { bytes, ranges, blocks, records }: VerifiedBundle): string {
	return (
		`${escapeControls(name)} ${damages === 0 ? "is sound" : "is DAMAGED"}: ${plural(damages, "damage")}; ` +
		`checked ${formatBytes(bytes)}: ${plural(records, "record")} in ${plural(blocks, "block")} of ${plural(ranges, "range")}\n`
	);
}

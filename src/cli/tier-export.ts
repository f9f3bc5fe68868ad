/** `headwater tier export`: the records in bundles, as JSON lines or CSV. */
import { type Command, Option } from "commander";
import type { BundleRecord } from "../../tiering/bundle/export.ts";
import type { BundleSource } from "../../tiering/bundle/reader.ts";
import { withBundle } from "./bundle-source.ts";
import { addConfigOptions, addExamples, wholeNumber } from "./options.ts";
import { endWhenReaderIsGone, LineWriter } from "./output.ts";
import type { ConfigOptions } from "./read-config.ts";
import { csvHead, csvRow } from "./record-csv.ts";
import { type JsonRecord, toJsonRecord } from "./record-text.ts";

interface ExportOptions extends ConfigOptions {
	readonly topic?: string;
	readonly partition?: number;
	readonly from: number;
	readonly format: "ndjson" | "csv";
	readonly all?: boolean;
}

export function addTierExport(tier: Command): void {
	const command = addConfigOptions(tier.command("export <bundle...>"))
		.description(
			"print the records in bundles: files, or objects (s3://bucket/prefix/KEY), reached as objectStore.* say",
		)
		.option("-t, --topic <name>", "only this topic")
		.option("-p, --partition <n>", "only partitions of this number", wholeNumber("--partition", 0))
		.option("-f, --from <offset>", "only offsets from this one on", wholeNumber("--from", 0), 0)
		.addOption(
			new Option("--format <format>", "ndjson: as consume --json; csv: with a line of names first")
				.choices(["ndjson", "csv"])
				.default("ndjson"),
		)
		.option("--all", "those of aborted transactions too; committed ones alone without it");
	addExamples(
		command,
		"headwater tier export 00000000000000000007-0badcafe.bundle --topic telemetry --from 1000 | jq .value",
		"headwater tier export *.bundle --format csv > records.csv",
	);
	command.action(async (names: string[], options: ExportOptions) => {
		endWhenReaderIsGone();
		const writer = new LineWriter();
		try {
			if (options.format === "csv") await writer.line(csvHead());
			for (const name of names) await withBundle(name, options, (source) => exportBundle(source, options, writer));
		} finally {
			await writer.end();
		}
	});
}

async function exportBundle(source: BundleSource, options: ExportOptions, writer: LineWriter): Promise<void> {
	const { readBundleFooter } = await import("../../tiering/bundle/reader.ts");
	const { bundleRecords } = await import("../../tiering/bundle/export.ts");
	const { topic, partition, from, all, format } = options;
	const filter = { topic, partition, from, withAborted: all ?? false };
	for await (const record of bundleRecords(source, await readBundleFooter(source), filter)) {
		const row = jsonRecord(record);
		const slow = writer.line(format === "csv" ? csvRow(row) : `${JSON.stringify(row)}\n`);
		if (slow !== undefined) await slow;
	}
}

function jsonRecord({ headers, ...record }: BundleRecord): JsonRecord {
	return toJsonRecord({ ...record, headers: headers.map(({ key, value }) => [key, value]) });
}

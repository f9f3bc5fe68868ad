/** `headwater verify`: every checksum, index and invariant of a data directory; exit code 1 on damage. */
import type { Command } from "commander";
import { NodeDisk } from "../base/disk.ts";
import type { Finding, VerifySummary } from "../log/verify.ts";
import { addConfigOptions, addExamples } from "./options.ts";
import { endWhenReaderIsGone, LineWriter, print } from "./output.ts";
import { ProgressBar } from "./progress-bar.ts";
import { formatBytes, plural } from "./quantities.ts";
import { type ConfigOptions, readConfig } from "./read-config.ts";
import { escapeControls } from "./table.ts";

export function addVerify(program: Command): void {
	const command = addConfigOptions(program.command("verify"))
		.description("read a whole data directory and check every checksum, index and invariant; exit code 1 on damage")
		.option("--json", "one JSON object for each finding, and a last one that counts them");
	addExamples(command, "headwater verify --data ./data", "headwater verify --data /var/lib/headwater --json");
	command.action(async (options: ConfigOptions & { json?: boolean }) => {
		const { config } = await readConfig(options, process.env);
		await verify(config["data.directory"], options.json ?? false);
	});
}

async function verify(directory: string, json: boolean): Promise<void> {
	endWhenReaderIsGone();
	const { verifyDataDirectory } = await import("../log/verify.ts");
	const writer = new LineWriter();
	const bar = new ProgressBar(process.stderr.isTTY === true && !json);
	const counts = { damage: 0, warning: 0 };
	const work = verifyDataDirectory(new NodeDisk(), directory, ({ bytes, totalBytes }) =>
		bar.show(bytes, totalBytes, `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`),
	);
	let summary: VerifySummary;
	try {
		let step = work.next();
		for (; !step.done; step = work.next()) {
			counts[step.value.level]++;
			bar.hide();
			await writer.line(json ? `${JSON.stringify(step.value)}\n` : formatFinding(step.value));
		}
		summary = step.value;
	} finally {
		bar.hide();
		await writer.end();
	}
	await print(
		json
			? `${JSON.stringify({ level: "summary", directory, damages: counts.damage, warnings: counts.warning, ...summary })}\n`
			: formatSummary(directory, counts, summary),
	);
	if (counts.damage > 0) process.exitCode = 1;
}

export function formatFinding(finding: Finding): string {
	return `${finding.level}: ${finding.file} at byte ${finding.position}: ${escapeControls(finding.what)}\n`;
}

export function formatSummary(
	directory: string,
	counts: { readonly damage: number; readonly warning: number },
	summary: VerifySummary,
): string {
	return (
		`${directory} ${counts.damage === 0 ? "is sound" : "is DAMAGED"}: ${plural(counts.damage, "damage")}, ${plural(counts.warning, "warning")}\n` +
		`checked ${formatBytes(summary.bytes)}: ${plural(summary.records, "record")} in ${plural(summary.batches, "batch", "batches")}, ` +
		`${plural(summary.segments, "segment")}, ${plural(summary.partitions, "partition")} of ${plural(summary.topics, "topic")}, ` +
		`and ${plural(summary.journalEntries, "journal entry", "journal entries")} not yet in them\n`
	);
}

/** `headwater verify`: every checksum, index and invariant of a data directory; exit code 1 on damage. */
import type { Command } from "commander";
import { NodeDisk } from "../base/disk.ts";
import type { Finding, VerifySummary } from "../log/verify.ts";
import { addConfigOptions, addExamples } from "./options.ts";
import { endWhenReaderIsGone, LineWriter, print } from "./output.ts";
import { formatBytes, formatCount } from "./quantities.ts";
import { type ConfigOptions, readConfig } from "./read-config.ts";
import { escapeControls } from "./table.ts";

const PROGRESS_INTERVAL_MS = 100;

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
	const work = verifyDataDirectory(new NodeDisk(), directory, (done) => bar.show(done.bytes, done.totalBytes));
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
	const plural = (n: number, one: string, many = `${one}s`) => `${formatCount(n)} ${n === 1 ? one : many}`;
	return (
		`${directory} ${counts.damage === 0 ? "is sound" : "is DAMAGED"}: ${plural(counts.damage, "damage")}, ${plural(counts.warning, "warning")}\n` +
		`checked ${formatBytes(summary.bytes)}: ${plural(summary.records, "record")} in ${plural(summary.batches, "batch", "batches")}, ` +
		`${plural(summary.segments, "segment")}, ${plural(summary.partitions, "partition")} of ${plural(summary.topics, "topic")}, ` +
		`and ${plural(summary.journalEntries, "journal entry", "journal entries")} not yet in them\n`
	);
}

/** One line on a terminal's stderr that is written over and over. */
class ProgressBar {
	readonly #on: boolean;
	#shownMs = Number.NEGATIVE_INFINITY;

	constructor(on: boolean) {
		this.#on = on;
	}

	show(doneBytes: number, totalBytes: number): void {
		const nowMs = performance.now();
		if (!this.#on || nowMs - this.#shownMs < PROGRESS_INTERVAL_MS) return;
		this.#shownMs = nowMs;
		const part = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes);
		const filled = Math.round(part * 30);
		process.stderr.write(
			`\r[${"#".repeat(filled)}${" ".repeat(30 - filled)}] ${Math.round(part * 100)} %, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}\x1b[K`,
		);
	}

	hide(): void {
		if (!this.#on || this.#shownMs === Number.NEGATIVE_INFINITY) return;
		process.stderr.write("\r\x1b[K");
		this.#shownMs = Number.NEGATIVE_INFINITY;
	}
}

/** `headwater tier restore`: a data directory from what a gateway has in an object store. */
import path from "node:path";
import type { Command } from "commander";
import type { RestoreProgress, RestoreReport } from "../../tiering/restore/restore.ts";
import { systemClock } from "../base/clock.ts";
import { NodeDisk } from "../base/disk.ts";
import { systemRandom } from "../base/random.ts";
import { UsageError } from "./failure.ts";
import { openStoreAt } from "./open-store-at.ts";
import { addConfigOptions, addExamples } from "./options.ts";
import { endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { ProgressBar } from "./progress-bar.ts";
import { formatBytes, formatCount, formatTime, plural } from "./quantities.ts";
import type { ConfigOptions } from "./read-config.ts";
import { escapeControls } from "./table.ts";
import { VERSION } from "./version.ts";

interface Options extends ConfigOptions {
	readonly from?: string;
	readonly gateway?: string;
	readonly force?: boolean;
	readonly json?: boolean;
}

const STEPS = { listing: "objects listed", reading: "bundles read", writing: "rows written" } as const;
const HOLES_SHOWN = 20;

export function addTierRestore(tier: Command): void {
	const command = addConfigOptions(tier.command("restore"))
		.description(
			"make a data directory from what a gateway has in an object store: for a new machine in place of a lost one",
		)
		.requiredOption("--from <url>", "the store: s3://bucket/prefix or file:///folder, reached as objectStore.* say")
		.requiredOption("--gateway <id>", "the gateway's name there; `headwater tier ls --from URL` lists those there are")
		.option("--force", "although the old gateway may still be running, or records are missing")
		.option("--json", "print what was restored as one JSON object");
	addExamples(
		command,
		"headwater tier restore --from s3://backups/hw --gateway gw-1 --data /var/lib/headwater",
		"headwater tier restore --from file:///mnt/usb/headwater --gateway gw-1 --data ./data --force",
	);
	command.action(async (options: Options) => {
		endWhenReaderIsGone();
		const { from = "", gateway = "", data, force = false, json = false } = options;
		if (data === undefined)
			throw new UsageError("say with --data where the gateway is to be: a folder that is empty or not there");
		const store = await openStoreAt(from, options);
		const bar = new ProgressBar(process.stderr.isTTY === true && !json);
		const progress = ({ step, done, total }: RestoreProgress) =>
			bar.show(
				total === undefined ? 0 : done,
				total ?? 1,
				total === undefined
					? `${formatCount(done)} ${STEPS[step]}`
					: `${formatCount(done)} of ${formatCount(total)} ${STEPS[step]}`,
			);
		let report: RestoreReport;
		try {
			const { restore } = await import("../../tiering/restore/restore.ts");
			report = await restore(
				{ store, gateway, dataFolder: path.resolve(data), force, writer: `headwater ${VERSION}`, progress },
				{ disk: new NodeDisk(), clock: systemClock, random: systemRandom },
			);
		} finally {
			bar.hide();
			await store.close();
		}
		if (json) await printObjects([{ dataDirectory: data, store: store.name, ...report }]);
		else await print(formatRestored(report, { data, from, gateway }));
	});
}

export function formatRestored(
	report: RestoreReport,
	{ data, from, gateway }: { readonly data: string; readonly from: string; readonly gateway: string },
): string {
	const { incarnation, bundles, bytes, topics, partitions, records, snapshotMs, holes, notes, strays } = report;
	const lines = [
		`restored ${plural(records, "record")} of ${plural(topics, "topic")} with ${plural(partitions, "partition")} to ${data}`,
		`from ${plural(bundles, "bundle")} of ${formatBytes(bytes)}; they stay where they are, and are read from there`,
		`settings, groups and retained messages are as of ${formatTime(snapshotMs)}`,
		`it is incarnation ${incarnation} of ${gateway}: an older one that still runs uploads nothing more`,
	];
	if (strays > 0) lines.push(`left out: ${plural(strays, "bundle")} of a gateway that had been replaced`);
	for (const { topic, partition, from: first, to } of holes.slice(0, HOLES_SHOWN))
		lines.push(`MISSING: ${escapeControls(topic)}-${partition}, offsets ${first} to ${to - 1}`);
	if (holes.length > HOLES_SHOWN) lines.push(`MISSING: ${plural(holes.length - HOLES_SHOWN, "further hole")}`);
	for (const note of notes) lines.push(`note: ${escapeControls(note)}`);
	lines.push(
		`start it with: headwater start --data ${data} --set objectStore.url=${from} --set gateway.id=${gateway}`,
		"(and what else of objectStore.* reached the store; better in a configuration file)",
	);
	return `${lines.join("\n")}\n`;
}

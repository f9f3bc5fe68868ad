/** `headwater dump FILE`: any of our files, bundles too, for people or as JSON. */
import type { Command } from "commander";
import { NodeDisk } from "../base/disk.ts";
import type { DumpItem } from "../log/dump.ts";
import { withBundle } from "./bundle-source.ts";
import { addExamples } from "./options.ts";
import { endWhenReaderIsGone, LineWriter } from "./output.ts";
import { toJsonBytes } from "./record-text.ts";
import { escapeControls } from "./table.ts";

const BUNDLE_SUFFIX = ".bundle";

export function addDump(program: Command): void {
	const command = program
		.command("dump <file>")
		.description(
			"show what is in a journal file, a segment (.log), an index (.index, .timeindex) or a bundle (.bundle)",
		)
		.option("-r, --records", "also the records in each batch of a segment or bundle")
		.option("--json", "one JSON object a line");
	addExamples(
		command,
		"headwater dump data/topics/telemetry-0/00000000000000000000.log --records",
		"headwater dump data/topics/telemetry-0/00000000000000000000.timeindex --json",
		"headwater dump 00000000000000000007-0badcafe.bundle",
	);
	command.action(async (file: string, options: { records?: boolean; json?: boolean }) => {
		endWhenReaderIsGone();
		const records = options.records ?? false;
		const writer = new LineWriter();
		const write = async (items: Iterable<DumpItem> | AsyncIterable<DumpItem>) => {
			for await (const item of items) await writer.line(options.json ? dumpJson(item) : dumpText(item));
		};
		try {
			if (file.endsWith(BUNDLE_SUFFIX)) {
				const { dumpBundle } = await import("../../tiering/bundle/dump.ts");
				await withBundle(file, {}, (source) => write(dumpBundle(source, { records })));
			} else {
				const { dumpFile } = await import("../log/dump.ts");
				await write(dumpFile(new NodeDisk(), file, { records }));
			}
		} finally {
			await writer.end();
		}
	});
}

export function dumpJson(item: DumpItem): string {
	return `${JSON.stringify(item, plain)}\n`;
}

/** The byte it begins at, what it is, and the rest as `name=value`. */
export function dumpText({ position, kind, ...rest }: DumpItem): string {
	const pairs = Object.entries(rest).map(([name, value]) => {
		const shown =
			typeof value === "string" && /^[\w./:+-]+$/.test(value) ? value : JSON.stringify({ value }, plain).slice(9, -1);
		return `${name}=${shown}`;
	});
	return `${String(position).padStart(10)}  ${kind.padEnd(6)}  ${escapeControls(pairs.join(" "))}\n`;
}

/** Bytes as consume --json shows them; numbers beyond what JSON holds as text. */
function plain(this: unknown, key: string, value: unknown): unknown {
	const raw = (this as Record<string, unknown>)[key];
	if (raw instanceof Uint8Array) return toJsonBytes(raw);
	return typeof value === "bigint" ? value.toString() : value;
}

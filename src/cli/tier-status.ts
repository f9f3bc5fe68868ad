/** `headwater tier status`: what a gateway has in its object store, what is still to go there, and what is in the way. */
import type { Command } from "commander";
import type { TierStatus } from "../native/client/tier-types.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { bold, coloursOn, endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatDuration, formatTime, plural } from "./quantities.ts";
import { escapeControls, formatPairs, formatTable } from "./table.ts";

const WATCH_INTERVAL_MS = 1000;
const NONE = "-";
/** Until it is known how much there is. */
export const BEGINNING = "looking at what is pending";

export function addTierStatus(tier: Command): void {
	const command = tier
		.command("status")
		.description("show what is in the object store, what is still to go there, and what is in the way")
		.option("--json", "print it as one JSON object")
		.option("-w, --watch", "again every second, until Ctrl-C");
	addExamples(
		command,
		"headwater tier status",
		"headwater tier status --watch",
		"headwater tier status --json | jq .error",
	);
	command.action(async (options: { json?: boolean; watch?: boolean }) => {
		endWhenReaderIsGone();
		await withGateway(gatewayAddress(command), async (client) => {
			if (options.watch) process.once("SIGINT", () => process.exit(0));
			const colours = coloursOn(process.stdout);
			for (;;) {
				const status = await client.tier.status();
				if (options.json) await printObjects([status]);
				else {
					const clear = options.watch && colours ? "\x1b[H\x1b[2J" : "";
					await print(`${clear}${formatTierStatus(status, Date.now(), colours)}${options.watch ? "\n" : ""}`);
				}
				if (!options.watch) return;
				await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
			}
		});
	});
}

export function formatTierStatus(status: TierStatus, nowMs: number, colours: boolean): string {
	const { store, gateway, incarnation, bundles, bytes, deleting, run, nextRunMs, lastRun, error } = status;
	const pairs: [string, string][] = [
		["store", bold(escapeControls(store), colours)],
		["gateway", `${gateway}, incarnation ${incarnation}`],
		["stored", bundles === 0 ? "nothing yet" : `${plural(bundles, "bundle")}, ${formatBytes(bytes)}`],
		["pending", pendingText(status, nowMs)],
	];
	if (run !== undefined) {
		pairs.push(["uploading", runText(run)]);
		if (run.waitsFor !== undefined) {
			const until = run.waitsUntilMs === undefined ? "" : `, until ${when(run.waitsUntilMs, nowMs)}`;
			pairs.push(["", `waits: ${escapeControls(run.waitsFor)}${until}`]);
		}
	}
	const last = lastRun === undefined ? "none since the start" : undefined;
	pairs.push(
		["last upload", last ?? `${when(lastRun!.endedMs, nowMs)}: ${uploadedText(lastRun!)}`],
		["next upload", nextRunMs === undefined ? "none by schedule" : when(nextRunMs, nowMs)],
		["uplink", uplinkText(status.uplink)],
		["read back", readsText(status.reads)],
	);
	if (deleting > 0) pairs.push(["to delete", plural(deleting, "object")]);
	if (error !== undefined)
		pairs.push(["ERROR", `${escapeControls(error.message)} (since ${when(error.sinceMs, nowMs)})`]);
	return `${formatPairs(pairs)}\n${topicsText(status, nowMs)}`;
}

/** How far an upload is: `bundle 3, 4.0 MiB of 10.0 MiB (40 %), 120.0 KiB/s, 50.0 s left`. */
export function runText(run: NonNullable<TierStatus["run"]>): string {
	const { bundles, doneBytes, totalBytes, bytesPerSecond } = run;
	if (totalBytes <= 0) return BEGINNING;
	const percent = Math.floor((Math.min(doneBytes, totalBytes) / totalBytes) * 100);
	const left =
		bytesPerSecond <= 0 ? "" : `, ${formatDuration(((totalBytes - doneBytes) / bytesPerSecond) * 1000)} left`;
	const rate = bytesPerSecond <= 0 ? "" : `, ${formatBytes(bytesPerSecond)}/s${left}`;
	return `bundle ${bundles + 1}, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)} (${percent} %)${rate}`;
}

export function uploadedText({ bundles, bytes }: { readonly bundles: number; readonly bytes: number }): string {
	if (bundles === 0) return "nothing";
	// What a restore needs besides records is uploaded when it has changed, without records too.
	const what = bytes === 0 ? "settings and groups alone" : `${formatBytes(bytes)} of record batches`;
	return `${plural(bundles, "bundle")}, ${what}`;
}

function pendingText({ topics }: TierStatus, nowMs: number): string {
	const records = topics.reduce((sum, each) => sum + each.pendingRecords, 0);
	if (records === 0) return "nothing";
	const bytes = topics.reduce((sum, each) => sum + each.pendingBytes, 0);
	const since = Math.min(...topics.map((each) => each.pendingSinceMs ?? Number.POSITIVE_INFINITY));
	const oldest = since === Number.POSITIVE_INFINITY ? "" : `, the oldest of ${when(since, nowMs)}`;
	return `${plural(records, "record")}, ${formatBytes(bytes)}${oldest}`;
}

function uplinkText({ bytesToday, bytesThisMonth, leftToday, leftThisMonth }: TierStatus["uplink"]): string {
	const left = (bytes: number | undefined) => (bytes === undefined ? "" : ` (${formatBytes(bytes)} left)`);
	return `${formatBytes(bytesToday)} today${left(leftToday)}, ${formatBytes(bytesThisMonth)} this month${left(leftThisMonth)}`;
}

function readsText({ gets, bytes, cacheHits, cacheMisses, cacheBytes, errors }: TierStatus["reads"]): string {
	const failed = errors === 0 ? "" : `, ${formatCount(errors)} failed`;
	return (
		`${plural(gets, "request")}, ${formatBytes(bytes)}${failed}; ` +
		`cache ${formatBytes(cacheBytes)}, ${plural(cacheHits, "hit")}, ${plural(cacheMisses, "miss", "misses")}`
	);
}

function topicsText({ topics }: TierStatus, nowMs: number): string {
	if (topics.length === 0)
		return "no topic is tiered; `headwater topic alter NAME --config remote.storage.enable=true` does that\n";
	const rows = [...topics]
		.sort((a, b) => (a.topic < b.topic ? -1 : 1))
		.map((each) => [
			each.topic,
			each.copies ? "yes" : "no",
			formatCount(each.tieredRecords),
			formatBytes(each.tieredBytes),
			formatCount(each.pendingRecords),
			formatBytes(each.pendingBytes),
			each.pendingSinceMs === undefined ? NONE : when(each.pendingSinceMs, nowMs),
		]);
	return formatTable(["TOPIC", "COPIES", "TIERED", "SIZE", "PENDING", "SIZE", "SINCE"], rows, [2, 3, 4, 5]);
}

/** `2026-05-01T12:00:00Z (5m ago)`, `(in 3h 2m)`. */
export function when(timeMs: number, nowMs: number): string {
	const apartMs = timeMs - nowMs;
	const apart = apartMs > 0 ? `in ${formatDuration(apartMs)}` : `${formatDuration(-apartMs)} ago`;
	return `${formatTime(timeMs).replace(/\.\d{3}Z$/, "Z")} (${apart})`;
}

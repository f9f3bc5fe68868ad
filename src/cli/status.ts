/** `headwater status`: what a running gateway is doing. */
import type { Command } from "commander";
import type { GatewayStatus } from "../native/client/types.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { coloursOn, endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatDuration, formatTime, plural } from "./quantities.ts";
import { escapeControls, formatPairs } from "./table.ts";

const WATCH_INTERVAL_MS = 1000;

export function addStatus(program: Command): void {
	const command = program
		.command("status")
		.description("show what a running gateway is doing")
		.option("--json", "print it as one JSON object")
		.option("-w, --watch", "again every second, with rates, until Ctrl-C");
	addExamples(
		command,
		"headwater status",
		"headwater status --watch",
		"headwater status --json | jq .produced.records",
	);
	command.action(async (options: { json?: boolean; watch?: boolean }) => {
		endWhenReaderIsGone();
		await withGateway(gatewayAddress(command), async (client) => {
			if (!options.watch) {
				const status = await client.status();
				await (options.json ? printObjects([status]) : print(formatStatus(status)));
				return;
			}
			let before: GatewayStatus | undefined;
			process.once("SIGINT", () => process.exit(0));
			for (;;) {
				const status = await client.status();
				if (options.json) await printObjects([status]);
				else await print(`${coloursOn(process.stdout) ? "\x1b[H\x1b[2J" : ""}${formatStatus(status, before)}\n`);
				before = status;
				await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
			}
		});
	});
}

/** Two lines, where the gateway has tiered storage: what is stored where, and what is pending or in the way. */
function tierLines(tier: GatewayStatus["tier"]): [string, string][] {
	if (tier === undefined) return [];
	const { store, bundles, bytes, pendingRecords, pendingBytes, nextRunMs, error } = tier;
	const stored = bundles === 0 ? "nothing yet" : `${plural(bundles, "bundle")}, ${formatBytes(bytes)}`;
	const pending =
		pendingRecords === 0 ? "nothing" : `${plural(pendingRecords, "record")}, ${formatBytes(pendingBytes)}`;
	const next = nextRunMs === undefined ? "" : `; next upload ${formatTime(nextRunMs)}`;
	return [
		["tiered", `${stored} in ${escapeControls(store)}`],
		["  pending", error === undefined ? `${pending}${next}` : `${pending}; ERROR: ${escapeControls(error.message)}`],
	];
}

/** One line, where a central cluster is configured: how it stands, what waits, and what is in the way. */
function upstreamLine(upstream: GatewayStatus["upstream"]): [string, string][] {
	if (upstream === undefined) return [];
	const { state, nextMs, lagRecords, lagBytes, quarantinedRecords, lostRecords, problem } = upstream;
	const parts = [
		nextMs === undefined ? state : `${state} until ${formatTime(nextMs)}`,
		lagRecords === 0 ? "nothing to send" : `${plural(lagRecords, "record")} to send, ${formatBytes(lagBytes)}`,
		...(quarantinedRecords === 0 ? [] : [`${formatCount(quarantinedRecords)} refused there`]),
		...(lostRecords === 0 ? [] : [`${formatCount(lostRecords)} lost before they were sent`]),
		...(problem === undefined ? [] : [`PROBLEM: ${escapeControls(problem.message)}`]),
	];
	return [["upstream", parts.join("; ")]];
}

/** With the status before, rates per second between the two. */
export function formatStatus(status: GatewayStatus, before?: GatewayStatus): string {
	const seconds = before === undefined ? 0 : (status.uptimeMs - before.uptimeMs) / 1000;
	const rate = (now: number, then: number | undefined, show: (value: number) => string) =>
		then === undefined || seconds <= 0 ? "" : ` (${show(Math.round((now - then) / seconds))}/s)`;
	const { memory, journal, produced } = status;
	const connections = Object.entries(status.connections).map(([door, count]) => `${door} ${formatCount(count)}`);
	return formatPairs([
		["gateway", `Headwater ${status.version}, process ${status.pid}, up ${formatDuration(status.uptimeMs)}`],
		...status.listeners.map(({ door, address }): [string, string] => [`  ${door}`, address]),
		["data", status.dataDirectory],
		["topics", `${formatCount(status.topics)} with ${formatCount(status.partitions)} partitions`],
		["connections", connections.join(", ") || "none"],
		[
			"produced",
			`${formatCount(produced.records)} records${rate(produced.records, before?.produced.records, formatCount)}, ` +
				`${formatBytes(produced.bytes)}${rate(produced.bytes, before?.produced.bytes, formatBytes)}`,
		],
		[
			"journal",
			`${formatCount(journal.commits)} commits${rate(journal.commits, before?.journal.commits, formatCount)}, ` +
				`${formatCount(journal.entries)} entries, ${formatBytes(journal.writtenBytes)} written`,
		],
		["memory", `${formatBytes(memory.residentBytes)} resident, ${formatBytes(memory.heapBytes)} heap`],
		["in flight", `${formatBytes(memory.inFlightBytes)} of ${formatBytes(memory.budgetBytes)}`],
		...tierLines(status.tier),
		...upstreamLine(status.upstream),
		["lost", status.losses.records === 0 ? "nothing" : `${formatCount(status.losses.records)} records`],
	]);
}

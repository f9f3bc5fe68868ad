/** `headwater upstream status`: what goes to the central cluster and comes from it, what waits, and what is in the way. */
import type { Command } from "commander";
import type { UplinkPeriod, UpstreamProblem, UpstreamStatus } from "../native/client/upstream-types.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { bold, coloursOn, endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatDuration, plural } from "./quantities.ts";
import { escapeControls, formatPairs } from "./table.ts";
import { when } from "./tier-status.ts";
import { downlinkTable, topicsTable } from "./upstream-tables.ts";
import { wrap } from "./wrap.ts";

const WATCH_INTERVAL_MS = 1000;

interface View {
	readonly nowMs: number;
	readonly colours: boolean;
	/** Of the terminal; undefined: lines as long as they are. */
	readonly columns: number | undefined;
	/** The status before, and how long ago, for rates. */
	readonly before?: { readonly status: UpstreamStatus; readonly ms: number } | undefined;
}

export function addUpstreamStatus(upstream: Command): void {
	const command = upstream
		.command("status")
		.description("show what is sent, what waits, what is in the way and what helps, and the link's budget")
		.option("--json", "print it as one JSON object")
		.option("-w, --watch", "again every second, with the rate of each topic, until Ctrl-C");
	addExamples(
		command,
		"headwater upstream status",
		"headwater upstream status --watch",
		"headwater upstream status --json | jq .problem",
	);
	command.action(async ({ json = false, watch = false }: { json?: boolean; watch?: boolean }) => {
		endWhenReaderIsGone();
		await withGateway(gatewayAddress(command), async (client) => {
			if (watch) process.once("SIGINT", () => process.exit(0));
			const colours = coloursOn(process.stdout);
			let before: { status: UpstreamStatus; atMs: number } | undefined;
			for (;;) {
				const status = await client.upstream.status();
				const atMs = performance.now();
				if (json) await printObjects([status]);
				else {
					const clear = watch && colours ? "\x1b[H\x1b[2J" : "";
					const then = before === undefined ? undefined : { status: before.status, ms: atMs - before.atMs };
					const view = { nowMs: Date.now(), colours, columns: process.stdout.columns, before: then };
					await print(`${clear}${formatUpstreamStatus(status, view)}${watch ? "\n" : ""}`);
				}
				if (!watch) return;
				before = { status, atMs };
				await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
			}
		});
	});
}

export function formatUpstreamStatus(status: UpstreamStatus, view: View): string {
	const { nowMs, colours, columns, before } = view;
	const pairs: [string, string][] = [
		["cluster", clusterText(status)],
		["mode", status.mode.replaceAll("-", " ")],
		["state", bold(stateText(status, nowMs), colours)],
		...problemPairs("", status.problem, nowMs),
		...[...status.topics, ...status.downlink].flatMap(({ topic, problem }) =>
			problemPairs(`${topic}: `, problem, nowMs),
		),
		["sent", sentText(status, nowMs)],
		["rate", rateText(status)],
		["to send", toSendText(status, nowMs)],
		...uplinkPairs(status.uplink, nowMs),
	];
	for (const warning of status.warnings) pairs.push(["note", escapeControls(warning)]);
	const tables = [topicsTable(status, nowMs, columns, before), downlinkTable(status.downlink, columns)];
	return [formatWrapped(pairs, columns), ...tables].filter((part) => part !== "").join("\n");
}

/** Values in one column, wrapped there; a command to be copied is let be. */
function formatWrapped(pairs: readonly (readonly [string, string])[], columns: number | undefined): string {
	const widest = Math.max(...pairs.map(([name]) => name.length)) + 2;
	return formatPairs(
		pairs.flatMap(([name, value]): [string, string][] => {
			const lines = columns === undefined || value.startsWith(DO) ? [value] : wrap(value, columns - widest);
			return lines.map((line, i) => [i === 0 ? name : "", line]);
		}),
	);
}

/** Before what helps. */
const DO = "-> ";

function problemPairs(where: string, problem: UpstreamProblem | undefined, nowMs: number): [string, string][] {
	if (problem === undefined) return [];
	const { message, sinceMs, action } = problem;
	const pairs: [string, string][] = [["PROBLEM", `${where}${escapeControls(message)}; since ${when(sinceMs, nowMs)}`]];
	if (action !== undefined) pairs.push(["", `${DO}${escapeControls(action)}`]);
	return pairs;
}

function clusterText({ servers, clusterId }: UpstreamStatus): string {
	const id = clusterId === undefined ? "" : `, id ${clusterId}`;
	return escapeControls(`${servers.join(", ")}${id}`);
}

function stateText({ state, sinceMs, nextMs, topics }: UpstreamStatus, nowMs: number): string {
	const next = (words: string): string => (nextMs === undefined ? "" : `; ${words} ${soon(nextMs, nowMs)}`);
	const since = ` since ${when(sinceMs, nowMs)}`;
	switch (state) {
		case "connecting":
			return `connecting${since}`;
		case "running":
			return topics.every(({ lagRecords }) => lagRecords === 0) ? "running, everything is sent" : "running";
		case "waiting":
			return `waiting for the link${since}${next("tries again")}`;
		case "budget":
			return `waiting for the link's budget${since}${next("goes on")}`;
		case "closed":
			return `waiting for upstream.window${since}${next("opens")}`;
		case "paused":
			return `paused${since}; \`headwater upstream resume\` goes on`;
		case "halted":
			return `HALTED${since}: a person has to decide`;
		case "stopped":
			return `stopped${since}`;
	}
}

function soon(timeMs: number, nowMs: number): string {
	return timeMs <= nowMs ? "now" : when(timeMs, nowMs);
}

function sentText({ total, lastSentMs }: UpstreamStatus, nowMs: number): string {
	const { records, bytes, transactions, wireSentBytes, wireReceivedBytes } = total;
	if (records === 0) return `nothing since the start; ${formatBytes(wireSentBytes + wireReceivedBytes)} on the link`;
	const last = lastSentMs === undefined ? "" : `; last ${when(lastSentMs, nowMs)}`;
	const counted = transactions === 0 ? "" : ` in ${plural(transactions, "transaction")}`;
	return (
		`${plural(records, "record")}, ${formatBytes(bytes)}${counted}; on the link ${formatBytes(wireSentBytes)} ` +
		`and ${formatBytes(wireReceivedBytes)} back${last}`
	);
}

function rateText({ rate }: UpstreamStatus): string {
	const { records, bytes, wireBytes } = rate;
	return `${formatCount(Math.round(records))} records/s, ${formatBytes(Math.round(bytes))}/s; on the link ${formatBytes(Math.round(wireBytes))}/s`;
}

function toSendText({ topics, rate, state }: UpstreamStatus, nowMs: number): string {
	const records = topics.reduce((sum, each) => sum + each.lagRecords, 0);
	if (records === 0) return "nothing";
	const bytes = topics.reduce((sum, each) => sum + each.lagBytes, 0);
	const oldestMs = Math.min(...topics.map((each) => each.oldestMs ?? Number.POSITIVE_INFINITY));
	const oldest = oldestMs === Number.POSITIVE_INFINITY ? "" : `, the oldest of ${when(oldestMs, nowMs)}`;
	// While it runs; what else it waits for has times of its own.
	const left = (records / rate.records) * 1000;
	const done = state === "running" && rate.records > 0 && left >= 2000 ? `; ${formatDuration(left)} at this rate` : "";
	return `${plural(records, "record")}, about ${formatBytes(bytes)}${oldest}${done}`;
}

function uplinkPairs({ day, month }: UpstreamStatus["uplink"], nowMs: number): [string, string][] {
	return [
		["uplink", periodText("today", day, nowMs)],
		["", periodText("this month", month, nowMs)],
	];
}

/** `3.0 MiB today of 10.0 MiB; at this rate the budget lasts until 2026-05-01T18:00:00Z (in 3h)`. */
function periodText(name: string, period: UplinkPeriod, nowMs: number): string {
	const { bytes, left, resetsMs, forecastBytes, exhaustedMs } = period;
	const used = `${formatBytes(bytes)} ${name}`;
	if (left === undefined) return `${used}, no limit; at this rate ${formatBytes(forecastBytes)} by its end`;
	const limit = `${used} of ${formatBytes(bytes + left)}`;
	if (left === 0) return `${limit}: used up; the next begins ${soon(resetsMs, nowMs)}`;
	if (exhaustedMs === undefined) return `${limit}; at this rate the budget lasts`;
	return `${limit}; at this rate the budget lasts until ${when(exhaustedMs, nowMs)}`;
}

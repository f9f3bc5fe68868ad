/** The tables of `headwater upstream status`: a line for each topic that goes up, and for each that comes down. */
import type { DownlinkTopicStatus, UpstreamStatus, UpstreamTopicStatus } from "../native/client/upstream-types.ts";
import { formatBytes, formatCount, formatDuration } from "./quantities.ts";
import { formatTable } from "./table.ts";

const NONE = "-";
/** A name is shortened to make room, but not below this. */
const NAME_LEAST = 16;

interface Column<T> {
	readonly head: string;
	cell(row: T): string;
	/** Shown only where a row has something to say. */
	readonly says?: (row: T) => boolean;
}

/** `before`: an earlier status and how long ago it was, for rates. */
export function topicsTable(
	{ topics }: UpstreamStatus,
	nowMs: number,
	columns: number | undefined,
	before?: { readonly status: UpstreamStatus; readonly ms: number },
): string {
	if (topics.length === 0) return "no topic goes to the central cluster: no topic fits upstream.topics yet\n";
	const then = new Map(before?.status.topics.map((each) => [each.topic, each.sentRecords]));
	const rate = ({ topic, sentRecords }: UpstreamTopicStatus): string => {
		const sent = then.get(topic);
		if (sent === undefined || before === undefined || before.ms <= 0) return NONE;
		return `${formatCount(Math.round((Math.max(0, sentRecords - sent) * 1000) / before.ms))}/s`;
	};
	const list: Column<UpstreamTopicStatus>[] = [
		{ head: "PRIORITY", cell: ({ priority }) => priority },
		{ head: "SENT", cell: ({ sentRecords }) => formatCount(sentRecords) },
		{ head: "LAG", cell: ({ lagRecords }) => formatCount(lagRecords) },
		{ head: "BYTES", cell: ({ lagBytes }) => formatBytes(lagBytes) },
		{
			head: "OLDEST",
			cell: ({ oldestMs }) => (oldestMs === undefined ? NONE : formatDuration(Math.max(0, nowMs - oldestMs))),
		},
		{ head: "RATE", cell: rate, says: (topic) => rate(topic) !== NONE },
	];
	return fitted("TOPIC -> THERE", topics, list, columns, restOf);
}

/** What most topics have nothing of. */
function restOf({ backfillRecords, quarantinedRecords, lostRecords }: UpstreamTopicStatus): string {
	return [
		...(backfillRecords === 0 ? [] : [`${formatCount(backfillRecords)} put off for newer ones`]),
		...(quarantinedRecords === 0 ? [] : [`${formatCount(quarantinedRecords)} refused there and kept here`]),
		...(lostRecords === 0 ? [] : [`${formatCount(lostRecords)} LOST before they were sent`]),
	].join(", ");
}

export function downlinkTable(topics: readonly DownlinkTopicStatus[], columns: number | undefined): string {
	if (topics.length === 0) return "";
	const list: Column<DownlinkTopicStatus>[] = [
		{ head: "RECEIVED", cell: ({ receivedRecords }) => formatCount(receivedRecords) },
		{ head: "NOT FOR HERE", cell: ({ filteredRecords }) => formatCount(filteredRecords) },
		{ head: "LAG", cell: ({ lag }) => (lag === undefined ? NONE : formatCount(lag)) },
	];
	return fitted("FROM THERE -> HERE", topics, list, columns);
}

/** By name; the names as long as the line leaves room for. `rest` stands below its row. */
function fitted<T extends { readonly topic: string; readonly to: string }>(
	head: string,
	rows: readonly T[],
	columns: readonly Column<T>[],
	width: number | undefined,
	rest: (row: T) => string = () => "",
): string {
	const shown = columns.filter(({ says }) => says === undefined || rows.some(says));
	const sorted = [...rows].sort((a, b) => (a.topic < b.topic ? -1 : 1));
	const cells = sorted.map((row) => shown.map(({ cell }) => cell(row)));
	const taken = shown.reduce(
		(sum, column, i) => sum + 2 + Math.max(column.head.length, ...cells.map((row) => row[i]!.length)),
		0,
	);
	const room = width === undefined ? Number.POSITIVE_INFINITY : Math.max(NAME_LEAST, width - taken);
	const names = sorted.map(({ topic, to }) => shortened(topic === to ? topic : `${topic} -> ${to}`, room));
	const table = formatTable(
		[shortened(head, room), ...shown.map((column) => column.head)],
		cells.map((row, i) => [names[i]!, ...row]),
		shown.flatMap(({ head: name }, i) => (name === "PRIORITY" ? [] : [i + 1])),
	);
	const [first, ...lines] = table.trimEnd().split("\n");
	return [first, ...lines.flatMap((line, i) => [line, ...(rest(sorted[i]!) === "" ? [] : [`  ${rest(sorted[i]!)}`])])]
		.map((line) => `${line}\n`)
		.join("");
}

/** The middle goes: names often differ at their ends. */
function shortened(name: string, room: number): string {
	if (name.length <= room) return name;
	const tail = Math.floor((room - 1) / 2);
	return `${name.slice(0, room - 1 - tail)}…${name.slice(name.length - tail)}`;
}

/** The demo's verdict as a person reads it: the four counts side by side, what was done to get there, one last line. */
import { columns, count, type Paint, time } from "../format.ts";
import { plural, times } from "./demo-screen.ts";
import { type DemoVerdict, PLACE_NAMES, type PlaceName } from "./demo-verdict.ts";

export function demoTable(verdict: DemoVerdict, paint: Paint): string {
	const lines = [...table(verdict, paint), "", ...facts(verdict)];
	if (verdict.examples.length > 0)
		lines.push("", "The first faults:", ...verdict.examples.map((example) => `  ${example}`));
	lines.push("", lastLine(verdict, paint));
	return `${lines.join("\n")}\n`;
}

function table(verdict: DemoVerdict, { bold }: Paint): string[] {
	const rows = [
		["counted at the far ends", "events", "lost", "duplicated", "out of order"],
		["acknowledged to sensors", count(verdict.acked), "", "", ""],
	];
	for (const name of Object.keys(PLACE_NAMES) as PlaceName[]) {
		const { events, lost, duplicated, outOfOrder } = verdict.places[name];
		rows.push([`in the ${PLACE_NAMES[name]}`, ...[events, lost, duplicated, outOfOrder].map(count)]);
	}
	const [head, ...body] = columns(rows);
	return [bold(head!), ...body];
}

function facts(verdict: DemoVerdict): string[] {
	const { kills, outage, sent, resent, sensorLinksCut, sensors, bundles, storedBytes, linkBytes } = verdict;
	const lines: string[] = [];
	if (kills.length > 0) {
		const back = kills.map(({ backMs }) => time(backMs)).join(", ");
		lines.push(`gateway killed with -9 ${times(kills.length)}, ready again after ${back}`);
	}
	if (outage) {
		const caught = outage.caughtUpMs === undefined ? "never caught up" : `caught up in ${time(outage.caughtUpMs)}`;
		lines.push(`link cut for ${time(outage.lastedMs)}: ${plural(outage.waited, "event")} waited, ${caught}`);
	}
	lines.push(
		`${plural(sensors, "sensor")} sent ${plural(sent, "event")}, ${count(resent)} again; ${plural(sensorLinksCut, "link")} of theirs broke too`,
		`${size(linkBytes)} over the link to the hub; ${size(storedBytes)} in ${plural(bundles, "bundle")}`,
		`seed ${verdict.seed}, ${time(verdict.elapsedMs)}${verdict.endedEarly ? ", ended early" : ""}`,
	);
	return lines;
}

function lastLine({ pass, reasons, acked }: DemoVerdict, { good, bad }: Paint): string {
	if (!pass) return bad(`verdict: FAIL  ${reasons.join("; ")}`);
	return good(`verdict: PASS  all ${count(acked)} events are in all three places, once and in order`);
}

function size(bytes: number): string {
	return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

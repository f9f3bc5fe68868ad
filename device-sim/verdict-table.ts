/** The verdict as a person reads it: a row for each kind of device, the faulty devices, latencies, one last line. */
import { columns, count, type Paint, time } from "./format.ts";
import type { LatencySummary } from "./histogram.ts";
import { addUp, type Counts, type Verdict } from "./verdict.ts";

/** As many devices stand in rows of their own, if the run has no more. */
const FEW_DEVICES = 12;
const MAX_FAULTY = 10;
const MAX_EXAMPLES = 8;
const HEAD = ["", "sent", "acked", "stored", "lost", "duplicated", "explained", "out of order", "misplaced"];

export function verdictTable(verdict: Verdict, paint: Paint): string {
	const lines = [...table(verdict, paint), "", ...latencies(verdict), "", ...facts(verdict)];
	if (verdict.examples.length > 0) {
		lines.push("", "The first faults:", ...verdict.examples.slice(0, MAX_EXAMPLES).map((example) => `  ${example}`));
	}
	lines.push("", verdictLine(verdict, paint));
	return `${lines.join("\n")}\n`;
}

/** `verdict: PASS ...` or `verdict: FAIL ...`. */
export function verdictLine(verdict: Verdict, paint: Paint): string {
	if (!verdict.pass) return paint.bad(`verdict: FAIL  ${verdict.reasons.join("; ")}`);
	const of = verdict.qos === 0 ? "confirmed" : "acknowledged";
	// Behind another broker it may not be, and no fault.
	const order = verdict.outOfOrder === 0 ? ", each device's in order" : "";
	const crashes = verdict.crashes > 0 ? ` across ${count(verdict.crashes)} kills of the gateway` : "";
	return paint.good(`verdict: PASS  all ${count(verdict.acked)} ${of} events are stored${order}${crashes}`);
}

function table(verdict: Verdict, paint: Paint): string[] {
	const { devices } = verdict;
	const few = devices.length <= FEW_DEVICES;
	const faulty = devices.filter((device) => device.faulty);
	const rows: string[][] = [HEAD];
	if (few) {
		for (const device of devices) rows.push(row(device.device, device));
	} else {
		for (const group of new Set(devices.map((device) => device.group))) {
			const members = devices.filter((device) => device.group === group);
			rows.push(row(`${count(members.length)} ${group}`, addUp(members)));
		}
		for (const device of faulty.slice(0, MAX_FAULTY)) rows.push(row(`  ${device.device}`, device));
	}
	rows.push(row("all", verdict));
	// The last column only where it says something: the table then fits 80 characters.
	const width = verdict.misplaced > 0 ? HEAD.length : HEAD.length - 1;
	const [head, ...body] = columns(rows.map((cells) => cells.slice(0, width)));
	const all = body.pop()!;
	const lines = [paint.bold(head!), ...body, paint.bold(all)];
	if (!few && faulty.length > MAX_FAULTY) lines.push(`(${faulty.length - MAX_FAULTY} more devices with faults)`);
	return lines;
}

function row(name: string, counts: Counts): string[] {
	const { sent, acked, stored, lost, duplicated, explained, outOfOrder, misplaced } = counts;
	return [name, ...[sent, acked, stored, lost, duplicated, explained, outOfOrder, misplaced].map(count)];
}

function latencies(verdict: Verdict): string[] {
	const line = (name: string, { count: events, p50Ms, p99Ms, maxMs }: LatencySummary) =>
		events === 0 ? [name, "-", "-", "-", "-"] : [name, count(events), time(p50Ms), time(p99Ms), time(maxMs)];
	const rows = [["latency", "events", "p50", "p99", "max"]];
	if (verdict.qos > 0) {
		const answer = verdict.qos === 1 ? "PUBACK" : "PUBREC";
		rows.push(line(`PUBLISH to ${answer}`, verdict.latency), line(`late: measured to ${answer}`, verdict.lateLatency));
	}
	if (verdict.crashes > 0) rows.push(line("kill -9 to ready again", verdict.recovery));
	return rows.length > 1 ? columns(rows) : ["latency: QoS 0 has no acknowledgement to measure"];
}

function facts(verdict: Verdict): string[] {
	const { drops, reconnects, resent, sessionsLost, unacknowledged, dropped, refused, crashes } = verdict;
	const facts = [
		`${count(drops)} links cut, ${count(reconnects)} reconnects, ${count(resent)} events sent again` +
			(crashes > 0 ? `, gateway killed ${count(crashes)} times` : ""),
	];
	if (sessionsLost > 0) facts.push(`${count(sessionsLost)} reconnects found no session at the gateway`);
	if (unacknowledged > 0) {
		facts.push(
			`${count(unacknowledged)} events without acknowledgement, ${count(dropped)} of them not stored: nothing promised`,
		);
	}
	if (refused > 0) facts.push(`${count(refused)} events refused by the gateway`);
	facts.push(
		`${count(verdict.recordsRead)} records read back, run ${verdict.run}, seed ${verdict.seed}, ${time(verdict.elapsedMs)}`,
	);
	return facts;
}

/**
 * The demo as it goes on: a picture that is drawn over on a terminal of 80 by 24 or more, and plain lines elsewhere, one for each
 * stage and one every two seconds.
 */
import { count, type Paint, time } from "../format.ts";
import { type Output, Panel } from "../panel.ts";
import { type Column, History } from "./history.ts";
import type { Stage } from "./stages.ts";

export interface DemoView {
	readonly seed: string;
	readonly sensors: number;
	/** Events per second of all sensors. */
	readonly rate: number;
	/** From the first event; 0 before it. */
	readonly elapsedMs: number;
	/** How long the sensors publish. */
	readonly durationMs: number;
	readonly stages: readonly Stage[];
	/** Events. */
	readonly acked: number;
	/** `stopped`: in good order, at the end. */
	readonly gateway: "up" | "down" | "stopped";
	readonly gatewayBytes: number | undefined;
	readonly kills: number;
	readonly linkUp: boolean;
	/** So far, of the outage that is or was. */
	readonly cutForMs: number;
	readonly hub: number;
	readonly bundles: number;
	readonly store: number;
}

const LABEL_CHARACTERS = 10;
const FIGURE_CHARACTERS = 25;
const TITLE_CHARACTERS = 34;
const NARROWEST_CHART = 10;
const WIDEST_CHART = 100;
/** Beside the time in which the sensors publish, there is room for what comes after. */
const AFTER = 1.12;
const STEPS = "▁▂▃▄▅▆▇█";
/** A rate as planned comes to about so much of a column's height; more is seen as more. */
const PLANNED_HEIGHT = 0.6;
const PLAIN_EVERY_MS = 2000;

export class DemoScreen {
	readonly #output: Output;
	readonly #paint: Paint;
	readonly #panel: Panel;
	readonly #history = new History();
	readonly #told = new Map<string, string>();
	#plainAtMs = PLAIN_EVERY_MS;
	#view: DemoView | undefined;

	constructor(output: Output, paint: Paint) {
		this.#output = output;
		this.#paint = paint;
		this.#panel = new Panel(output);
	}

	show(view: DemoView): void {
		this.#view = view;
		const { elapsedMs: atMs, acked, hub, store, kills, gateway, linkUp } = view;
		const gatewayUp = gateway !== "down";
		if (atMs > 0) this.#history.add({ atMs, acked, hub, store, kills, gatewayUp, linkUp });
		if (this.#output.isTTY) this.#panel.draw(this.#picture(view));
		else this.#plain(view);
	}

	/** Leaves the course of the run behind, without what was for the moment. */
	end(): void {
		const view = this.#view;
		if (!view || !this.#output.isTTY) return;
		this.#panel.draw([this.#head(view), "", ...this.#chart(view)]);
	}

	#picture(view: DemoView): string[] {
		const { dim } = this.#paint;
		const now = view.stages.findLast(({ beganMs }) => beganMs !== undefined) ?? view.stages[0]!;
		return [
			this.#head(view),
			"",
			...this.#diagram(view),
			"",
			...this.#chart(view),
			"",
			...view.stages.map((stage) => this.#stage(stage, view)).filter((line) => line !== undefined),
			"",
			...wrap(now.story, this.#width - 3).map((line) => dim(`  ${line}`)),
		];
	}

	get #width(): number {
		return (this.#output.columns ?? 80) - 1;
	}

	#head({ sensors, rate, seed, elapsedMs }: DemoView): string {
		const name = "Headwater demo";
		const what = `  ${count(sensors)} sensors, ${count(rate)} events/s, seed ${seed}`;
		const clock = seconds(elapsedMs);
		const space = " ".repeat(Math.max(1, this.#width - 3 - name.length - what.length - clock.length));
		return ` ${this.#paint.bold(name)}${what}${space}${clock}`;
	}

	#diagram({ gateway, linkUp }: DemoView): string[] {
		const { good, bad, bold, dim } = this.#paint;
		const name = gateway === "down" ? bad("killed!") : bold("gateway");
		const link = linkUp ? good("──── Kafka, exactly once ────▶") : bad("╌╌╌╌╌╌╌  link is cut  ╌╌╌╌╌╌╌ ");
		return [
			`  ${bold("sensors")} ${(gateway === "down" ? dim : good)("── MQTT, QoS 2 ──▶")} ${name} ${link} ${bold("hub")}`,
			`                              ${dim("└────────── bundles ──────────▶")} ${bold("object store")}`,
		];
	}

	#chart(view: DemoView): string[] {
		const { cool, good, bad, warm, dim } = this.#paint;
		const room = this.#width - LABEL_CHARACTERS - FIGURE_CHARACTERS - 3;
		const width = Math.max(NARROWEST_CHART, Math.min(WIDEST_CHART, room));
		const totalMs = Math.max(view.durationMs * AFTER, view.elapsedMs);
		const columns = this.#history.columns(width, totalMs);
		const most = (of: (column: Column) => number, least: number) => Math.max(least, ...columns.map(of));
		const fullRate = view.rate / PLANNED_HEIGHT;
		const fullStore = most(({ stored }) => stored, 1);
		const fullWaiting = most(({ waiting }) => waiting, view.rate * 2);
		const row = (label: string, paint: (text: string) => string, draw: (column: Column) => string, figure: string) => {
			const rest = dim("·".repeat(Math.max(0, width - columns.length)));
			return `  ${label.padEnd(LABEL_CHARACTERS)}${paint(columns.map(draw).join(""))}${rest}  ${figure}`;
		};
		const waiting = Math.max(0, view.acked - view.hub);
		const per = (rate: number) => `${count(rate)}/s`.padStart(7);
		const back = view.linkUp ? "up" : bad("cut");
		const cutFor = view.cutForMs > 0 ? `, ${view.linkUp ? "was cut " : ""}${seconds(view.cutForMs)}` : "";
		return [
			row(
				"sensors",
				cool,
				(at) => step(at.acked, fullRate),
				`${per(this.#history.rate("acked"))}  ${count(view.acked)} acked`,
			),
			row(
				"gateway",
				good,
				(at) => (at.killed ? bad("✖") : at.gatewayUp ? good("━") : bad("╌")),
				gatewayText(view, this.#paint),
			),
			row("link", good, (at) => (at.linkUp ? good("━") : bad("╌")), `${back}${cutFor}`),
			row("waiting", warm, (at) => step(at.waiting, fullWaiting), `${count(waiting)} events`),
			row("hub", cool, (at) => step(at.hub, fullRate), `${per(this.#history.rate("hub"))}  ${count(view.hub)}`),
			row(
				"store",
				cool,
				(at) => step(at.stored, fullStore),
				`${count(view.store)} in ${plural(view.bundles, "bundle")}`,
			),
			dim(`  ${" ".repeat(LABEL_CHARACTERS)}${axis(width, totalMs)}`),
		];
	}

	#stage(stage: Stage, view: DemoView): string | undefined {
		const { good, bold, dim } = this.#paint;
		const { title, plannedMs, beganMs, ended, result } = stage;
		// Shown by the chart itself.
		if (stage.name === "flow") return undefined;
		const atMs = beganMs ?? plannedMs;
		const when = (atMs === undefined ? "" : seconds(atMs)).padStart(8);
		if (ended) return `  ${good("✔")}${when}  ${title.padEnd(TITLE_CHARACTERS)} ${result}`;
		if (beganMs === undefined) return dim(`  ·${when}  ${title}`);
		return `  ${bold("▶")}${when}  ${bold(title.padEnd(TITLE_CHARACTERS))} ${dim(`${seconds(Math.max(0, view.elapsedMs - beganMs))} so far`)}`;
	}

	#plain(view: DemoView): void {
		for (const { name, title, beganMs, ended, result } of view.stages) {
			const said = ended ? `${title}: ${result === "" ? "done" : result}` : title;
			if (beganMs === undefined || this.#told.get(name) === said) continue;
			this.#told.set(name, said);
			this.#output.write(`${seconds(view.elapsedMs).padStart(8)}  ${said}\n`);
		}
		if (view.elapsedMs < this.#plainAtMs) return;
		this.#plainAtMs = view.elapsedMs + PLAIN_EVERY_MS;
		const parts = [
			`acked ${count(view.acked)} (${count(this.#history.rate("acked"))}/s)`,
			`gateway ${view.gateway}`,
			`link ${view.linkUp ? "up" : "cut"}`,
			`waiting ${count(Math.max(0, view.acked - view.hub))}`,
			`hub ${count(view.hub)} (${count(this.#history.rate("hub"))}/s)`,
			`store ${count(view.store)} in ${plural(view.bundles, "bundle")}`,
		];
		this.#output.write(`${seconds(view.elapsedMs).padStart(8)}  ${parts.join("  ")}\n`);
	}
}

function gatewayText({ gateway, gatewayBytes, kills }: DemoView, { bad }: Paint): string {
	const killed = kills === 0 ? "" : `, killed ${times(kills)}`;
	const memory = gateway === "up" && gatewayBytes !== undefined ? `, ${Math.round(gatewayBytes / 1e6)} MB` : "";
	return `${gateway === "down" ? bad(gateway) : gateway}${memory}${killed}`;
}

export const times = (number: number): string => ["never", "once", "twice"][number] ?? `${count(number)} times`;

export const plural = (number: number, one: string): string => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

/** 4.2 s; for a clock that goes on, always with one digit behind the point. */
const seconds = (ms: number): string => (ms < 100_000 ? `${(ms / 1000).toFixed(1)} s` : time(ms));

function step(value: number, full: number): string {
	if (value <= 0) return " ";
	return STEPS[Math.min(STEPS.length - 1, Math.floor((value / full) * STEPS.length))]!;
}

/** The times below a chart, five or so. */
function axis(width: number, totalMs: number): string {
	const stepMs = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600]
		.map((s) => s * 1000)
		.find((ms) => totalMs / ms <= 6);
	let line = "";
	for (let ms = 0; stepMs !== undefined && ms <= totalMs; ms += stepMs) {
		const mark = `${ms / 1000}${ms === 0 ? " s" : ""}`;
		const at = Math.floor((ms / totalMs) * width);
		if (at + mark.length <= width) line = line.padEnd(at) + mark;
	}
	return line;
}

/** By words, no line longer than `width`. */
function wrap(text: string, width: number): string[] {
	const lines = [""];
	for (const word of text.split(" ")) {
		const last = lines.length - 1;
		if (lines[last] !== "" && lines[last]!.length + 1 + word.length > width) lines.push(word);
		else lines[last] += lines[last] === "" ? word : ` ${word}`;
	}
	return lines;
}

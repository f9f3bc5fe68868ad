/** The run as it goes on: a panel that is drawn over on a terminal, one plain line every two seconds elsewhere. */
import type { Progress } from "./fleet.ts";
import { bar, count, type Paint, time } from "./format.ts";
import { type Output, Panel } from "./panel.ts";

const RATE_OVER_MS = 2000;
const PLAIN_EVERY_MS = 2000;
const BAR_CHARACTERS = 30;

export class Screen {
	readonly #output: Output;
	readonly #paint: Paint;
	readonly #drawn: Panel;
	#samples: { elapsedMs: number; acked: number }[] = [];
	#plainAtMs = 0;
	#lastPhase = "";

	constructor(output: Output, paint: Paint) {
		this.#output = output;
		this.#paint = paint;
		this.#drawn = new Panel(output);
	}

	show(progress: Progress): void {
		this.#samples.push({ elapsedMs: progress.elapsedMs, acked: progress.acked });
		while (this.#samples.length > 2 && progress.elapsedMs - this.#samples[0]!.elapsedMs > RATE_OVER_MS)
			this.#samples.shift();
		if (this.#output.isTTY) this.#drawn.draw(this.#panel(progress));
		else this.#plain(progress);
	}

	/** Takes the last panel away. */
	end(): void {
		this.#drawn.draw([]);
	}

	#rate(): number {
		const first = this.#samples[0]!;
		const last = this.#samples[this.#samples.length - 1]!;
		const span = last.elapsedMs - first.elapsedMs;
		return span > 0 ? ((last.acked - first.acked) * 1000) / span : 0;
	}

	#panel(progress: Progress): string[] {
		const { elapsedMs, durationMs, devices, connected, planned, sent, acked, backlog } = progress;
		const left = Math.max(0, durationMs - elapsedMs);
		const inTime =
			progress.phase === "running"
				? `${time(elapsedMs)} of ${time(durationMs)}, ${time(left)} left`
				: progress.phase === "draining"
					? `${time(elapsedMs)}, waiting for what is late`
					: `${count(progress.recordsRead)} records read back`;
		const row = (name: string, part: number, text: string) =>
			`  ${name.padEnd(10)} ${this.#paint.good(bar(part, BAR_CHARACTERS))}  ${text}`;
		const lines = [
			row(progress.phase, progress.phase === "running" ? elapsedMs / durationMs : 1, inTime),
			row(
				"connected",
				connected / devices,
				`${count(connected)} of ${count(devices)}   ${count(progress.drops)} drops, ${count(progress.reconnects)} reconnects`,
			),
			row("acked", acked / Math.max(1, planned), `${count(acked)} of ${count(sent)} sent, ${count(this.#rate())}/s`),
			row(
				"backlog",
				backlog / Math.max(1, sent + backlog - acked, planned / 10),
				`${count(backlog)} waiting, ${count(progress.inFlight)} in flight`,
			),
			`  ${"latency".padEnd(10)} p50 ${time(progress.p50Ms)}, p99 ${time(progress.p99Ms)}`,
		];
		if (progress.gatewayUp !== undefined) {
			const state = progress.gatewayUp ? this.#paint.good("up") : this.#paint.bad("down");
			const last =
				progress.lastRecoveryMs === undefined ? "" : `, back after ${time(progress.lastRecoveryMs)} last time`;
			lines.push(`  ${"gateway".padEnd(10)} ${state}, killed ${count(progress.crashes)} times${last}`);
		}
		if (progress.problem) lines.push(this.#paint.dim(`  ${"last cut".padEnd(10)} ${progress.problem}`));
		return lines;
	}

	#plain(progress: Progress): void {
		if (progress.phase === this.#lastPhase && progress.elapsedMs < this.#plainAtMs) return;
		this.#lastPhase = progress.phase;
		this.#plainAtMs = progress.elapsedMs + PLAIN_EVERY_MS;
		const parts = [
			`${(progress.elapsedMs / 1000).toFixed(1).padStart(6)} s`,
			progress.phase,
			`connected ${count(progress.connected)}/${count(progress.devices)}`,
			`sent ${count(progress.sent)}`,
			`acked ${count(progress.acked)} (${count(this.#rate())}/s)`,
			`backlog ${count(progress.backlog)}`,
			`drops ${count(progress.drops)}`,
		];
		if (progress.gatewayUp !== undefined) parts.push(`crashes ${count(progress.crashes)}`);
		if (progress.phase === "reading") parts.push(`read ${count(progress.recordsRead)}`);
		this.#output.write(`${parts.join("  ")}\n`);
	}
}

/** `headwater tier run`: uploads what is pending now, and shows how far it is. */
import type { Command } from "commander";
import type { Client } from "../native/client/client.ts";
import type { TierStatus } from "../native/client/tier-types.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { endWhenReaderIsGone, print, printObjects } from "./output.ts";
import { ProgressBar } from "./progress-bar.ts";
import { formatBytes, formatDuration } from "./quantities.ts";
import { escapeControls } from "./table.ts";
import { BEGINNING, runText, uploadedText } from "./tier-status.ts";

/** Between two looks at a terminal, and between two lines elsewhere. */
const LOOK_MS = 500;
const LINE_MS = 5000;

export function addTierRun(tier: Command): void {
	const command = tier
		.command("run")
		.description("upload what is pending now, whatever the schedule says, and wait for that")
		.option("--json", "one JSON object a line: how far it is, and a last one");
	addExamples(command, "headwater tier run", "headwater tier run --json");
	command.action(async (options: { json?: boolean }) => {
		endWhenReaderIsGone();
		await withGateway(gatewayAddress(command), (client) => run(client, options.json ?? false));
	});
}

async function run(client: Client, json: boolean): Promise<void> {
	const onTerminal = process.stderr.isTTY === true && !json;
	const bar = new ProgressBar(onTerminal);
	const before = (await client.tier.status()).lastRun;
	const watch = new AbortController();
	const left = () => {
		bar.hide();
		process.stderr.write("the upload goes on in the gateway; `headwater tier status` shows it\n");
		process.exit(130);
	};
	process.once("SIGINT", left);
	const showing = show(client, { bar, json, lineMs: onTerminal ? LOOK_MS : LINE_MS }, watch.signal);
	try {
		await client.tier.run();
	} finally {
		watch.abort();
		await showing;
		bar.hide();
		process.removeListener("SIGINT", left);
	}
	const { lastRun } = await client.tier.status();
	const uploaded = lastRun === undefined || lastRun.endedMs === before?.endedMs ? { bundles: 0, bytes: 0 } : lastRun;
	if (json) await printObjects([{ done: true, bundles: uploaded.bundles, bytes: uploaded.bytes }]);
	else await print(uploaded.bundles === 0 ? "nothing was pending\n" : `uploaded ${uploadedText(uploaded)}\n`);
}

/** Until `signal` says so; what cannot be asked is not shown. */
async function show(
	client: Client,
	{ bar, json, lineMs }: { readonly bar: ProgressBar; readonly json: boolean; readonly lineMs: number },
	signal: AbortSignal,
): Promise<void> {
	for (;;) {
		await new Promise<void>((resolve) => {
			const timer = setTimeout(resolve, lineMs);
			signal.addEventListener(
				"abort",
				() => {
					clearTimeout(timer);
					resolve();
				},
				{ once: true },
			);
		});
		if (signal.aborted) return;
		const progress = await client.tier.status().then(
			(status) => status.run,
			() => undefined,
		);
		if (progress === undefined || signal.aborted) continue;
		if (json) await printObjects([{ done: false, ...progress }]);
		else if (lineMs === LOOK_MS) bar.show(progress.doneBytes, progress.totalBytes || 1, barText(progress));
		else process.stderr.write(`${runText(progress)}${waitText(progress)}\n`);
	}
}

function barText(progress: NonNullable<TierStatus["run"]>): string {
	const { doneBytes, totalBytes, bytesPerSecond } = progress;
	if (totalBytes <= 0) return `${BEGINNING}${waitText(progress)}`;
	const rate = bytesPerSecond <= 0 ? "" : `, ${formatBytes(bytesPerSecond)}/s`;
	const leftMs = ((totalBytes - doneBytes) / bytesPerSecond) * 1000;
	const left = bytesPerSecond <= 0 ? "" : `, ${formatDuration(leftMs)} left`;
	return `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}${rate}${left}${waitText(progress)}`;
}

function waitText({ waitsFor }: NonNullable<TierStatus["run"]>): string {
	return waitsFor === undefined ? "" : `; waits: ${escapeControls(waitsFor)}`;
}

/**
 * The process of a load generator other than load.ts, so that what it costs is not the broker's. It is told what to do in its
 * one parameter, JSON, and talks over IPC to the benchmark that started it; by hand it prints its result:
 *
 *   node test/bench/worker.ts '{"kind":"fan","port":1883,"publishers":1,"subscribers":1000,"qos":0,...}'
 */
import { type CollectResult, type CollectSpec, runCollect } from "./collect-load.ts";
import { type DrainResult, type DrainSpec, runDrain } from "./drain-load.ts";
import { type FanResult, type FanSpec, runFan } from "./fan-load.ts";
import { type FillResult, type FillSpec, runFill } from "./fill-load.ts";
import { type HoldResult, type HoldSpec, runHold } from "./hold-load.ts";

export type WorkerSpec = FanSpec | FillSpec | HoldSpec | DrainSpec | CollectSpec;

export interface WorkerResults {
	readonly fan: FanResult;
	readonly fill: FillResult;
	readonly hold: HoldResult;
	readonly drain: DrainResult;
	readonly collect: CollectResult;
}

export type WorkerMark = "begin" | "end" | "connected" | "subscribed";
export type WorkerMessage = { readonly mark: WorkerMark } | { readonly result: WorkerResults[keyof WorkerResults] };

function run(
	spec: WorkerSpec,
	mark: (name: WorkerMark) => void,
	told: Promise<void>,
	failed: (error: Error) => void,
): Promise<WorkerResults[keyof WorkerResults]> {
	switch (spec.kind) {
		case "fan":
			return runFan(spec, mark, failed);
		case "fill":
			return runFill(spec, mark, failed);
		case "hold":
			return runHold(spec, mark, told, failed);
		case "drain":
			return runDrain(spec, mark, failed);
		case "collect":
			return runCollect(spec, mark, failed);
	}
}

if (import.meta.main) {
	const spec = JSON.parse(process.argv[2] as string) as WorkerSpec;
	const fail = (error: Error): never => {
		process.stderr.write(`${spec.kind}: ${error.message}\n`);
		process.exit(2);
	};
	const tell = (message: WorkerMessage): void => void process.send?.(message);
	// The benchmark that started it has ended.
	process.on("disconnect", () => process.exit(0));
	const told = new Promise<void>((resolve) => {
		if (process.send) process.once("message", () => resolve());
		else resolve();
	});
	const result = await run(spec, (mark) => tell({ mark }), told, fail).catch(fail);
	if (process.send) process.send({ result } satisfies WorkerMessage, () => process.exit(0));
	else process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

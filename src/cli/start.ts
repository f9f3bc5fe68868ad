/**
 * `headwater start`: runs the gateway in this process until Ctrl-C or SIGTERM, which end it cleanly
 * (a second one at once). Loads only what a gateway needs.
 */
import { Routes } from "../../bridge/mqtt/routes.ts";
import { StartError } from "../base/errors.ts";
import { createLogger } from "../base/json-logger.ts";
import type { Config } from "../config/keys.ts";
import { startGateway } from "../main.ts";
import { explainStart } from "./explain-start.ts";
import { fail } from "./failure.ts";
import { greeting } from "./greeting.ts";
import { type ConfigOptions, readConfig } from "./read-config.ts";
import { spareMemory } from "./spare-memory.ts";
import { VERSION } from "./version.ts";
import { readYamlElsewhere } from "./yaml-process.ts";

export async function start(options: ConfigOptions): Promise<void> {
	const script = process.argv[1] as string;
	const { config } = await readConfig(options, process.env, (text) => readYamlElsewhere(text, script));
	const logger = createLogger({
		level: config["log.level"],
		human: process.stderr.isTTY === true,
		colours: process.stderr.isTTY === true && !process.env.NO_COLOR,
		write: (line) => void process.stderr.write(line),
		now: () => Date.now(),
	});
	// A log reader or a terminal that has gone is no reason to end a gateway.
	for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
	let stopRequested = false;
	let stop: () => void = () => process.exit(0);
	const onSignal = (signal: NodeJS.Signals) => {
		if (stopRequested) process.exit(signal === "SIGINT" ? 130 : 143);
		stopRequested = true;
		stop();
	};
	process.on("SIGINT", onSignal);
	process.on("SIGTERM", onSignal);
	process.on("SIGHUP", (signal) => {
		// A terminal that closes; else what log rotation and service managers send to make other daemons read files again.
		if (process.stdin.isTTY === true) onSignal(signal);
		else logger.info("SIGHUP: there is nothing to load again; the gateway goes on");
	});

	const gateway = await startGateway(config, { logger }).catch((error: unknown) => {
		throw explainStart(error, config);
	});
	spareMemory();
	stop = () => {
		gateway.stop().then(() => process.exit(0), fail);
	};
	gateway.failed.then((error) => {
		fail(new StartError(`the gateway stopped, because its storage failed: ${error.message}`, { cause: error }));
	}, fail);
	process.stdout.write(
		greeting({
			version: VERSION,
			readyMs: performance.now(),
			dataDirectory: config["data.directory"],
			listeners: gateway.listeners,
			exampleTopic: exampleTopic(config),
			colours: process.stdout.isTTY === true && !process.env.NO_COLOR,
		}),
	);
}

/** Which topic the greeting's example reaches by the routes in force. */
function exampleTopic(config: Config): string | undefined {
	return new Routes(config.routes).route("sensors/site1/dev7/telemetry")?.topic;
}

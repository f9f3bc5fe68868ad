/**
 * `npm run sim`: a fleet from the command line. Progress goes to standard error, the verdict to standard output.
 * `demo` as the first argument is `npm run demo`.
 */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { joinPath, NodeDisk } from "../src/base/disk.ts";
import { systemRandom } from "../src/base/random.ts";
import { HeadwaterError } from "../src/native/client/client.ts";
import { demoMain } from "./demo/demo.ts";
import { type FleetOptions, runFleet } from "./fleet.ts";
import { count, type Paint, paint, time } from "./format.ts";
import { accepts, GatewayError, GatewayProcess, killGateways } from "./gateway-process.ts";
import { type Address, parseOptions, type SimOptions } from "./options.ts";
import { NativeReadBack } from "./read-back.ts";
import { Screen } from "./screen.ts";
import { SiteBrokerProcess } from "./site-broker-process.ts";
import type { Verdict } from "./verdict.ts";
import { verdictTable } from "./verdict-table.ts";

const COULD_NOT_RUN = 2;
const INTERRUPTED = 130;
const HOW_TO_START = "`npm start` starts a gateway, and --crash-every or --data one of the simulator's own.";

async function main(args: readonly string[]): Promise<number> {
	if (args[0] === "site-broker") {
		// The process that SiteBrokerProcess starts.
		const { runSiteBroker } = await import("./site-broker.ts");
		await runSiteBroker(args[1] ?? "", Number(args[2] ?? 0));
		return 0;
	}
	const options = args[0] === "demo" ? undefined : parseOptions(args);
	const stop = new AbortController();
	process.on("exit", killGateways);
	// A terminal that is closed, too: nothing that was started stays behind.
	for (const name of ["SIGTERM", "SIGHUP"] as const) process.on(name, () => process.exit(INTERRUPTED));
	process.on("SIGINT", () => {
		// The first ends the run early, the second at once.
		if (stop.signal.aborted) process.exit(INTERRUPTED);
		stop.abort();
	});
	try {
		return options === undefined ? await demoMain(args.slice(1), stop.signal) : await simulate(options, stop.signal);
	} catch (error) {
		process.stderr.write(`${options === undefined ? "demo" : "device-sim"}: ${explain(error, options)}\n`);
		return COULD_NOT_RUN;
	}
}

async function simulate(options: SimOptions, signal: AbortSignal): Promise<number> {
	const own =
		options.crashEvery !== undefined ||
		options.data !== undefined ||
		options.gatewayCommand !== undefined ||
		options.siteBroker;
	const temporary = own && options.data === undefined;
	const data = options.data ?? joinPath(tmpdir(), `headwater-sim-${randomBytes(4).toString("hex")}`);
	const command = options.gatewayCommand === undefined ? {} : { command: options.gatewayCommand };
	const seed = options.seed ?? String(systemRandom.u32());
	const site = options.siteBroker ? await SiteBrokerProcess.start({ seed, cutEveryMs: options.flaky }) : undefined;
	const settings = site === undefined ? {} : { arguments: ["--set", site.bridgeSetting] };
	const gateway = own ? await GatewayProcess.create({ dataDirectory: data, ...command, ...settings }) : undefined;
	let passed = false;
	try {
		await gateway?.start();
		await site?.bridged();
		const verdict = await run({ ...options, seed }, gateway, site, signal);
		passed = verdict.pass;
		return verdict.pass ? 0 : 1;
	} finally {
		await gateway?.stop();
		await site?.stop();
		if (temporary) {
			if (passed && !options.keep) new NodeDisk().removeDirectory(data);
			else process.stderr.write(`The gateway's data directory is kept: ${data}\n`);
		}
	}
}

async function run(
	options: SimOptions & { readonly seed: string },
	gateway: GatewayProcess | undefined,
	site: SiteBrokerProcess | undefined,
	signal: AbortSignal,
): Promise<Verdict> {
	const door: Address = gateway ? { host: gateway.host, port: gateway.mqttPort } : options.connect;
	const mqtt: Address = site ?? door;
	const native: Address = gateway ? { host: gateway.host, port: gateway.nativePort } : options.native;
	if (!(await accepts(mqtt.host, mqtt.port))) {
		throw new GatewayError(`no MQTT broker takes connections at --connect ${mqtt.host}:${mqtt.port}; ${HOW_TO_START}`);
	}
	const { seed } = options;
	const fleet: FleetOptions = {
		devices: options.devices,
		rate: options.rate,
		durationMs: options.duration,
		host: mqtt.host,
		mqttPort: mqtt.port,
		readBack: new NativeReadBack(native.host, native.port, options.topic),
		qos: options.qos,
		version: options.mqtt,
		profile: options.profile,
		window: options.window,
		flakyMs: options.flaky,
		offlineMs: options.offline,
		seed,
		topicTemplate: options.topicTemplate,
		drainMs: options.drain,
		signal,
		...(gateway ? { gateway } : {}),
		...(site ? { site } : {}),
		...(options.crashEvery === undefined ? {} : { crashEveryMs: options.crashEvery }),
	};
	const progress = paintFor(process.stderr);
	const screen = new Screen(process.stderr, progress);
	process.stderr.write(`${greeting(options, mqtt, seed, gateway, site, progress)}\n`);
	let verdict: Verdict;
	try {
		verdict = await runFleet(fleet, (now) => screen.show(now));
	} finally {
		screen.end();
	}
	process.stdout.write(
		options.json ? `${JSON.stringify(verdict)}\n` : `\n${verdictTable(verdict, paintFor(process.stdout))}`,
	);
	return verdict;
}

function greeting(
	options: SimOptions,
	mqtt: Address,
	seed: string,
	gateway: GatewayProcess | undefined,
	site: SiteBrokerProcess | undefined,
	{ bold }: Paint,
): string {
	const version = { 3: "3.1", 4: "3.1.1", 5: "5" }[options.mqtt];
	const links = options.flaky === 0 ? "steady links" : `links break about every ${time(options.flaky)}`;
	const lines = [
		`${bold("device-sim")}  ${count(options.devices)} devices (${options.profile}), ${options.rate} events/s each, for ${time(options.duration)}`,
		`  MQTT ${version}, QoS ${options.qos}, to ${mqtt.host}:${mqtt.port}; ${links}; seed ${seed}`,
	];
	if (site) lines.push("  a site's broker there (MQTT 3.1.1), and the gateway's bridge between; it breaks as often");
	if (gateway) {
		const crashes = options.crashEvery === undefined ? "" : `, killed with -9 about every ${time(options.crashEvery)}`;
		lines.push(`  a gateway of its own, data in ${gateway.dataDirectory}${crashes}`);
	}
	return lines.join("\n");
}

function paintFor(stream: NodeJS.WriteStream): Paint {
	return paint(stream.isTTY && process.env.NO_COLOR === undefined);
}

function explain(error: unknown, options: SimOptions | undefined): string {
	if (error instanceof GatewayError) return error.message;
	if (error instanceof HeadwaterError && options !== undefined) {
		const { host, port } = options.native;
		return `${error.message} (${error.code})\nEvents are read back over the native door, --native ${host}:${port}; ${HOW_TO_START}`;
	}
	return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

process.exitCode = await main(process.argv.slice(2));

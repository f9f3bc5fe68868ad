/** The simulator's command line: what may be said, the defaults, and errors that say what would be right. */
import { Command, InvalidArgumentError, Option } from "commander";
import type { MqttVersion, Qos } from "./mqtt-packets.ts";
import { PROFILE_NAMES, type ProfileName } from "./profiles.ts";

export interface Address {
	readonly host: string;
	readonly port: number;
}

export interface SimOptions {
	readonly devices: number;
	readonly rate: number;
	/** Milliseconds, as the other times below. */
	readonly duration: number;
	readonly connect: Address;
	readonly native: Address;
	readonly qos: Qos;
	readonly mqtt: MqttVersion;
	readonly profile: ProfileName | "mix";
	readonly window: number;
	readonly flaky: number;
	readonly offline: number;
	readonly drain: number;
	readonly seed: string | undefined;
	readonly json: boolean;
	readonly crashEvery: number | undefined;
	readonly gatewayCommand: string | undefined;
	readonly siteBroker: boolean;
	readonly data: string | undefined;
	readonly keep: boolean;
	readonly topicTemplate: string;
	readonly topic: string;
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const MAX_DEVICES = 50_000;

/** "20s", "1.5m", "300ms", or a number of seconds, as milliseconds. */
function duration(text: string): number {
	const found = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
	if (!found) throw new InvalidArgumentError('Say it as 20s, 1.5m, 300ms or 1h; "20" is 20 seconds.');
	return Number(found[1]) * UNIT_MS[found[2] ?? "s"]!;
}

function positiveDuration(text: string): number {
	const milliseconds = duration(text);
	if (milliseconds === 0) throw new InvalidArgumentError("It has to be more than 0.");
	return milliseconds;
}

function address(text: string): Address {
	const found = /^(?:(?<host>[^:[\]]+|\[[0-9a-fA-F:]+\]):)?(?<port>\d+)$/.exec(text)?.groups;
	const port = Number(found?.port);
	if (!found || port < 1 || port > 65_535)
		throw new InvalidArgumentError("Say it as HOST:PORT, such as 127.0.0.1:1883.");
	return { host: (found.host ?? "127.0.0.1").replace(/^\[|\]$/g, ""), port };
}

export function wholeNumber(low: number, high: number): (text: string) => number {
	return (text) => {
		const value = Number(text);
		if (/^\d+$/.test(text) && value >= low && value <= high) return value;
		throw new InvalidArgumentError(`A whole number from ${low} to ${high} is wanted.`);
	};
}

function rate(text: string): number {
	const value = Number(text);
	if (text.trim() !== "" && value > 0 && value <= 100_000) return value;
	throw new InvalidArgumentError("Events per second of each device: more than 0, at most 100000.");
}

function topicTemplate(text: string): string {
	if (text === "" || /[#+]/.test(text))
		throw new InvalidArgumentError("An MQTT topic without + and #, such as plant/{n}/{device}.");
	if (!text.includes("{device}"))
		throw new InvalidArgumentError("It has to hold {device}, so that every device has its own topic.");
	return text;
}

export function simCommand(): Command {
	const command = new Command("npm run sim --");
	command
		.description(
			"Simulates a fleet of devices over real MQTT connections, with links that break, then reads everything back\n" +
				"and gives a verdict. Exit code 0: it passes; 1: it does not; 2: it could not be run.",
		)
		.option("--devices <n>", "how many devices", wholeNumber(1, MAX_DEVICES), 200)
		.option("--rate <events/s>", "of each device", rate, 5)
		.addOption(new Option("--duration <time>", "how long they send").argParser(positiveDuration).default(20_000, "20s"))
		.addOption(
			new Option("--connect <host:port>", "the gateway's MQTT door")
				.argParser(address)
				.default({ host: "127.0.0.1", port: 1883 }, "127.0.0.1:1883"),
		)
		.addOption(
			new Option("--native <host:port>", "its native door, to read back")
				.argParser(address)
				.default({ host: "127.0.0.1", port: 9470 }, "127.0.0.1:9470"),
		)
		.addOption(new Option("--qos <0|1|2>", "MQTT quality of service").argParser(wholeNumber(0, 2)).default(1))
		.addOption(
			new Option("--mqtt <3|4|5>", "protocol level: MQTT 3.1, 3.1.1 or 5").argParser(wholeNumber(3, 5)).default(4),
		)
		.addOption(new Option("--profile <name>", "what they measure").choices(["mix", ...PROFILE_NAMES]).default("mix"))
		.option("--window <n>", "publishes unacknowledged at a time, per device", wholeNumber(1, 10_000), 20)
		.addOption(
			new Option("--flaky <time>", "mean time until a link breaks; 0: never")
				.argParser(duration)
				.default(15_000, "15s"),
		)
		.addOption(new Option("--offline <time>", "mean time until it is back").argParser(duration).default(1500, "1.5s"))
		.addOption(
			new Option("--drain <time>", "patience with what is late at the end").argParser(duration).default(30_000, "30s"),
		)
		.option("--seed <text>", "same seed, same events (default: a random one, which is shown)")
		.option(
			"--topic-template <topic>",
			"{n}: the site, 20 devices each; {device}: the device",
			topicTemplate,
			"sensors/site{n}/{device}/telemetry",
		)
		.option("--topic <name>", "where the gateway's routes store these events", "telemetry")
		.addOption(
			new Option("--crash-every <time>", "start a gateway and kill -9 it about that often").argParser(positiveDuration),
		)
		.option(
			"--data <directory>",
			"start a gateway on this data directory (default with --crash-every: a temporary one)",
		)
		.option("--gateway-command <command>", "start this one: a shell command with {data}, {mqtt} and {native} in it")
		.option(
			"--site-broker",
			"the devices are on a site's own MQTT broker, and a gateway is started with a bridge to it",
			false,
		)
		.option("--keep", "keep the temporary data directory (kept anyway when the verdict is FAIL)", false)
		.option("--json", "print the verdict as one JSON object", false)
		.allowExcessArguments(false);
	return command;
}

/** Exits, as commander does, for --help and for what cannot be understood. */
export function parseOptions(args: readonly string[]): SimOptions {
	const command = simCommand();
	// commander's own code for a wrong option is 1, which here means a failed verdict.
	command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
	const options = command.parse(args, { from: "user" }).opts<SimOptions>();
	if (options.siteBroker && options.gatewayCommand !== undefined) {
		command.error(
			"--site-broker starts this package's own gateway, which it can give a bridge: leave out --gateway-command",
		);
	}
	if (options.siteBroker && options.mqtt === 5) {
		command.error("--site-broker is a broker of MQTT 3.1.1: choose --mqtt 4");
	}
	return options;
}

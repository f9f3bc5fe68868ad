/**
 * The broker that Kafka's ecosystem is run against: our gateway. With INTEROP_KAFKA=apache it is an Apache Kafka
 * instead, which is how these tests themselves are shown to be right.
 */
import fs from "node:fs";
import path from "node:path";
import { type Gateway, run, startGateway, temporaryFolder } from "../../support/gateway.ts";

const kit = path.resolve(import.meta.dirname, "../kit/kafka");
export const APACHE = process.env.INTEROP_KAFKA === "apache";

/** One program of the kit to its end; fails, with what it said, unless it ends with 0. */
export async function kitProgram(name: string, ...parameters: string[]): Promise<string> {
	const { code, stdout, stderr } = await run(path.join(kit, name), parameters);
	if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}${stdout}`);
	return stdout;
}

export interface KafkaBroker {
	/** host:port for bootstrap.servers, the same over a restart. */
	readonly bootstrap: string;
	/** Our gateway with its other doors; not there where an Apache Kafka runs in its place. */
	readonly gateway: Gateway | undefined;
	/** kill -9, and start again over the same data. */
	crash(): Promise<void>;
	/** Ends it and removes its data. */
	close(): Promise<void>;
}

/** For a broker that is shown quick clients: no wait for more members, session time-outs of a second. */
const GROUP_SETTINGS = { "group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000" };

/** A real Apache Kafka on a free port, its data in a folder of its own. */
export async function startApacheKafka(settings: Readonly<Record<string, string>> = {}): Promise<KafkaBroker> {
	const folder = temporaryFolder("apache-kafka");
	const lines = {
		...GROUP_SETTINGS,
		// Created when first used; 50 each would take seconds.
		"offsets.topic.num.partitions": "3",
		"transaction.state.log.num.partitions": "3",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		...settings,
	};
	const sets = Object.entries(lines).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
	const up = async (port: string): Promise<string> => {
		const said = await kitProgram("kafka-up", "--auto-create", "--port", port, "--dir", folder, ...sets);
		return /KAFKA_BOOTSTRAP=(\S+)/.exec(said)?.[1] ?? "";
	};
	const bootstrap = await up("0");
	return {
		bootstrap,
		gateway: undefined,
		async crash() {
			await kitProgram("kafka-down", "--kill9", "--dir", folder);
			await up(bootstrap.slice(bootstrap.indexOf(":") + 1));
		},
		async close() {
			await kitProgram("kafka-down", "--kill9", "--dir", folder);
			fs.rmSync(folder, { recursive: true });
		},
	};
}

async function startOurs(settings: Readonly<Record<string, string>>): Promise<KafkaBroker> {
	const folder = temporaryFolder("kafka-door");
	const up = (listen: string): Promise<Gateway> =>
		startGateway({ dataDirectory: folder, settings: { ...GROUP_SETTINGS, ...settings, "kafka.listen": listen } });
	let gateway = await up("127.0.0.1:0");
	const bootstrap = `127.0.0.1:${gateway.kafkaPort}`;
	return {
		bootstrap,
		get gateway() {
			return gateway;
		},
		async crash() {
			await gateway.kill();
			gateway = await up(bootstrap);
		},
		async close() {
			await gateway.kill();
			fs.rmSync(folder, { recursive: true });
		},
	};
}

/** The broker under test. `settings` are keys that both know by the same name. */
export function startKafka(settings: Readonly<Record<string, string>> = {}): Promise<KafkaBroker> {
	return APACHE ? startApacheKafka(settings) : startOurs(settings);
}

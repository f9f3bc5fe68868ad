/**
 * `upstream-wire`: what an event of a simulated fleet costs on the link, both ways at the socket, beside the bytes that it took over
 * MQTT, and beside MirrorMaker 2, which stands where the gateway stands, reads the same events at the same time from the gateway's Kafka
 * door, and writes to the same cluster.
 */
import { type FleetOptions, runFleet } from "../../device-sim/fleet.ts";
import { NativeReadBack } from "../../device-sim/read-back.ts";
import type { Client } from "../../src/native/client/client.ts";
import { CountedLink } from "./counted-link.ts";
import type { BenchOptions } from "./driver.ts";
import { KafkaClient } from "./kafka-client.ts";
import { startMirrorMaker } from "./mirror-maker.ts";
import { memoryFigures } from "./process-figures.ts";
import { fixed, median, type Table } from "./report.ts";
import { startHeadwater } from "./targets.ts";
import { committedEnds, countCommitted } from "./upstream-reader.ts";
import { DEFAULT_PARTITIONS, sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

interface Case {
	readonly rate: number;
	/** Default: the gateway's. */
	readonly lingerMs?: number;
}

/** Few events a second make small transactions; what a longer wait for company is worth. */
const CASES: readonly Case[] = [{ rate: 10 }, { rate: 10, lingerMs: 60_000 }, { rate: 100 }, { rate: 1000 }];
const SECONDS = 60;
/** So that nothing counts that is done once, and transactions have the size that they settle at. */
const WARMUP_SECONDS = 20;
const QUICK_SECONDS = 6;
const QUICK_WARMUP_SECONDS = 2;
const PATIENCE_MS = 120_000;
const LOOK_MS = 200;
const TOPIC = "telemetry";

interface Run extends Case {
	readonly events: number;
	readonly mqttBytes: number;
	readonly upstreamBytes: number;
	readonly mirrorMakerBytes: number;
	readonly transactions: number;
	readonly mirrorMakerResidentBytes: number;
}

async function oneRun(options: BenchOptions, { rate, lingerMs }: Case): Promise<Run> {
	const central = await startCentral(options.workplace, 2);
	const [ours, theirs] = central.links as [CountedLink, CountedLink];
	const target = await startHeadwater(options.workplace, {
		settings: {
			"num.partitions": DEFAULT_PARTITIONS,
			...sending(ours.bootstrap, TOPIC),
			...(lingerMs === undefined ? {} : { "upstream.linger.ms": lingerMs }),
		},
	});
	const mqtt = await CountedLink.open(target.mqttPort);
	let stored = 0;
	/** A fleet of so many devices, each an event a second. */
	const publish = async (seconds: number, seed: string): Promise<number> => {
		const fleet: FleetOptions = {
			...{ devices: rate, rate: 1, durationMs: seconds * 1000, host: "127.0.0.1", mqttPort: mqtt.port },
			readBack: new NativeReadBack("127.0.0.1", target.nativePort as number, TOPIC),
			...{ qos: 1, version: 4, profile: "mix", window: 20, flakyMs: 0, offlineMs: 0, seed },
			topicTemplate: "sensors/site{n}/{device}/telemetry",
		};
		const verdict = await runFleet(fleet);
		if (!verdict.pass) throw new Error(`the fleet's verdict: ${verdict.reasons.join("; ")}`);
		stored += verdict.stored;
		return verdict.stored;
	};
	const mirrored = async (topic: string): Promise<void> => {
		const client = await KafkaClient.open(central.bootstrap);
		const deadline = performance.now() + PATIENCE_MS;
		for (;;) {
			const ends = (await committedEnds(client, topic, DEFAULT_PARTITIONS)) ?? [];
			const records = ends.reduce((sum, end) => sum + end, 0);
			if (records >= stored) break;
			if (performance.now() > deadline) throw new Error(`MirrorMaker 2 has ${records} of ${stored}`);
			await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
		}
		client.close();
	};
	const run = await withClient(target, async (client: Client): Promise<Run> => {
		await publish(options.quick ? QUICK_WARMUP_SECONDS : WARMUP_SECONDS, "warm-up");
		const mirrorMaker = startMirrorMaker(options.workplace, {
			from: `127.0.0.1:${target.kafkaPort}`,
			to: theirs.bootstrap,
			topics: TOPIC,
		});
		const topicThere = mirrorMaker.nameOf(TOPIC);
		await Promise.all([untilSent(client, stored, PATIENCE_MS), mirrored(topicThere)]);
		const before = { mqtt: mqtt.bytes, ours: ours.bytes, theirs: theirs.bytes };
		const { total } = await client.upstream.status();
		const events = await publish(options.quick ? QUICK_SECONDS : SECONDS, "counted");
		const mqttBytes = mqtt.bytes - before.mqtt;
		// Each until its own last event is there.
		const [after, mirrorMakerBytes] = await Promise.all([
			untilSent(client, stored, PATIENCE_MS).then((status) => ({ ...status.total, bytes: ours.bytes - before.ours })),
			mirrored(topicThere).then(() => theirs.bytes - before.theirs),
		]);
		const result = {
			rate,
			...(lingerMs === undefined ? {} : { lingerMs }),
			events,
			mqttBytes,
			upstreamBytes: after.bytes,
			mirrorMakerBytes,
			transactions: after.transactions - total.transactions,
			mirrorMakerResidentBytes: memoryFigures(mirrorMaker.pid).residentBytes,
		};
		await mirrorMaker.stop();
		return result;
	});
	const there = await countCommitted(central.bootstrap, TOPIC, DEFAULT_PARTITIONS);
	if (there !== stored) throw new Error(`${there} of ${stored} events are committed there`);
	await target.stop();
	mqtt.close();
	await central.stop();
	return run;
}

const nameOf = ({ rate, lingerMs }: Case): string =>
	lingerMs === undefined ? String(rate) : `${rate}, upstream.linger.ms ${lingerMs}`;

export async function upstreamWire(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? 2;
	const runs: Run[] = [];
	for (let round = 0; round < rounds; round += 1) {
		for (const each of CASES) {
			if (options.quick && each.lingerMs !== undefined) continue;
			options.progress(`round ${round + 1} of ${rounds}: ${nameOf(each)}`);
			runs.push(await oneRun(options, each));
		}
	}
	return {
		tables: [
			{
				title: "Bytes an event of a simulated fleet, both ways, at the socket",
				columns: [
					"events/s",
					"MQTT",
					"upstream",
					"goal",
					"MQTT / upstream",
					"MirrorMaker 2",
					"goal",
					"MirrorMaker 2 / upstream",
				],
				rows: CASES.map((each) => {
					const of = runs.filter(({ rate, lingerMs }) => rate === each.rate && lingerMs === each.lingerMs);
					const perEvent = (bytes: (run: Run) => number): number => median(of.map((run) => bytes(run) / run.events));
					const mqtt = perEvent((run) => run.mqttBytes);
					const ours = perEvent((run) => run.upstreamBytes);
					const theirs = perEvent((run) => run.mirrorMakerBytes);
					return [
						nameOf(each),
						fixed(mqtt, 1),
						fixed(ours, 1),
						`<= ${fixed(mqtt / 6, 1)}`,
						fixed(mqtt / ours, 2),
						fixed(theirs, 1),
						`<= ${fixed(theirs / 2, 1)}`,
						fixed(theirs / ours, 2),
					];
				}),
				notes: [
					`A device an event a second, of device-sim's four profiles in turn; QoS 1, PUBACKs and connecting included; ${options.quick ? QUICK_SECONDS : SECONDS} s, ${rounds} rounds, medians; default settings.`,
					"MirrorMaker 2 with its defaults beside the gateway, from its Kafka door: what passes between it and the central cluster.",
				],
			},
		],
		raw: runs,
	};
}

/**
 * A fleet publishes while its gateway and Kafka's broker are killed with -9 in the middle of transactions, and the link between
 * them is cut. At the end Kafka's consumers with read_committed get what the gateway stored: all of it, once, each key in its order.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { runFleet } from "../../../device-sim/fleet.ts";
import { freePorts } from "../../../device-sim/gateway-process.ts";
import { NativeReadBack } from "../../../device-sim/read-back.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Central, Operator } from "./central.ts";
import { Edge, perKey } from "./edge.ts";
import { Relay } from "./relay.ts";

const { kafka, kafkaClasses = "" } = inject("runtimes");
const SEED = process.env.UPSTREAM_SEED ?? "upstream";
const SECONDS = Number(process.env.UPSTREAM_SECONDS ?? 15);
const KINDS = ["gateway", "link", "broker", "link"] as const;
const PARTITIONS = 3;
const FLOWING_BYTES = 10_000;

describe.skipIf(!kafka)("a gateway and Apache Kafka, killed at random", () => {
	let central: Central;
	let operator: Operator;
	let relay: Relay;
	let edge: Edge;
	beforeAll(async () => {
		relay = await Relay.open();
		const [link] = (await freePorts(1)) as [number];
		relay.leadTo(link);
		// Most of the time a transaction is open then.
		relay.delayMs = 30;
		central = await Central.start({ listeners: [`LINK:PLAINTEXT:${link}:${relay.port}`] });
		operator = new Operator(central.bootstrap, kafkaClasses);
		// The partitions differ from the gateway's: keys must stay in order all the same.
		await operator.out("topics", `--create --topic telemetry --partitions ${PARTITIONS}`);
		edge = await Edge.start(relay.bootstrap, {
			"upstream.topics": ["telemetry", "alarms"],
			// Many small transactions: more moments to be killed in.
			"upstream.transaction.bytes": 65_536,
			"upstream.batch.bytes": 16_384,
			"upstream.linger.ms": 0,
			"upstream.request.timeout.ms": 1500,
			// Shorter than a broker takes to start: Kafka 4.3.1 takes a partition that has no leader just then for deleted, and completes a transaction
			// that has timed out without its markers there. What it leaves open has to be closed.
			"upstream.transaction.timeout.ms": 8_000,
		});
		await edge.create("telemetry", 5);
	});
	afterAll(async () => {
		await edge?.close();
		await operator?.close();
		await central?.close();
		await relay?.close();
	});

	it(`loses nothing and doubles nothing (UPSTREAM_SEED=${SEED})`, async () => {
		const random = new SimulatedRandom(SEED);
		const { process: gateway } = edge;
		const done = { gateway: 0, broker: 0, link: 0 };
		const trouble = async (stop: AbortSignal): Promise<void> => {
			const first = random.u32() % KINDS.length;
			// Each kind, however slow the machine is.
			for (let n = first; !stop.aborted || n < first + KINDS.length; n++) {
				// Nothing is to be had from killing who does nothing.
				const before = relay.up;
				while (!stop.aborted && relay.up - before < FLOWING_BYTES) await sleep(10);
				await sleep(random.fraction() * 300);
				const kind = KINDS[n % KINDS.length] as (typeof KINDS)[number];
				done[kind]++;
				if (kind === "gateway") {
					await gateway.kill();
					await gateway.start();
				} else if (kind === "broker") {
					await central.kill();
					await central.up();
					// Its pauses have grown while nobody answered: a person need not wait for the end of one.
					await edge.client.upstream.resume();
				} else {
					relay.cut();
					await sleep(random.fraction() * 1500);
					relay.restore();
				}
			}
		};
		const verdict = await runFleet({
			...{ devices: 20, rate: 40, durationMs: SECONDS * 1000, host: gateway.host, mqttPort: gateway.mqttPort },
			readBack: new NativeReadBack(gateway.host, gateway.nativePort, "telemetry"),
			...{ qos: 1, version: 5, profile: "mix", window: 20, flakyMs: 3000, offlineMs: 200, seed: SEED },
			topicTemplate: "sensors/site{n}/{device}/telemetry",
			...{ gateway, trouble },
		});
		expect(verdict.reasons).toEqual([]);
		await edge.untilSent("telemetry");
		const [here, there] = [await edge.stored("telemetry"), await operator.read("telemetry")];
		const aborted = await operator.countAborted("telemetry");
		console.log(
			`${here.length} records, ${aborted} more in aborted transactions; gateway killed ${done.gateway} times, Kafka ${done.broker} times, link cut ${done.link} times; seed ${SEED}`,
		);
		expect(here.length).toBeGreaterThan(SECONDS * 100);
		expect(there.length).toBe(here.length);
		expect(perKey(there)).toEqual(perKey(here));
		const lines = (await operator.console("telemetry", PARTITIONS)).map((line) => {
			const bar = line.indexOf("|");
			return { key: line.slice(0, bar), value: line.slice(bar + 1) };
		});
		expect(perKey(lines)).toEqual(perKey(here));
		// Whole: times and headers too.
		const whole = ({ key, value, timestamp, headers }: (typeof there)[number] | (typeof here)[number]): string =>
			JSON.stringify([key, value, timestamp, headers]);
		expect(there.map(whole).sort()).toEqual(here.map(whole).sort());
	});
});

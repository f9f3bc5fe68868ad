/** What one door stores the other reads: MQTT and Kafka over one log. */
import { connectAsync } from "mqtt";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MqttDoor } from "../../../bridge/mqtt/server.ts";
import { decodeRecords } from "../../../src/record/batch.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf, record } from "../../support/producer-batches.ts";
import { DEFAULTS } from "../mqtt/door.ts";
import { fetchFrom, produceTo } from "./records.ts";

let gateway: KafkaGateway;
let wire: KafkaWire;
let door: MqttDoor;
let client: Awaited<ReturnType<typeof connectAsync>>;

beforeEach(async () => {
	gateway = await KafkaGateway.start({ broker: { defaultPartitions: 1 } });
	door = new MqttDoor(gateway.broker, DEFAULTS);
	const address = await door.start();
	client = await connectAsync(`mqtt://${address}`, { protocolVersion: 5, clientId: "c" });
	wire = await gateway.connect();
});
afterEach(async () => {
	client.end(true);
	await door.stop();
	await gateway.stop();
});

it("what MQTT stored is fetched with its MQTT topic in the headers", async () => {
	await client.publishAsync("sensors/north/dev7/telemetry", "21.5", { qos: 1 });
	const [answer] = await fetchFrom(wire, "telemetry", [{ partition: 0, fetchOffset: 0 }]);
	const [found] = decodeRecords(answer?.records ?? Buffer.alloc(0));
	expect([String(found?.key), String(found?.value)]).toEqual(["dev7", "21.5"]);
	expect(found?.headers.map(({ key, value }) => [key, String(value)])).toEqual([
		["mqtt.topic", "sensors/north/dev7/telemetry"],
		["site", "north"],
	]);
});

it("what Kafka's producers stored goes to MQTT's subscribers, compressed or not", async () => {
	gateway.broker.topics.create({ name: "telemetry" });
	const received: string[] = [];
	client.on("message", (topic, payload) => received.push(`${topic} ${payload}`));
	await client.subscribeAsync("sensors/#", { qos: 1 });
	const headers = [{ key: "mqtt.topic", value: Buffer.from("sensors/s/dev9/telemetry") }];
	for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
		const records = [record(codec, { key: Buffer.from("dev9"), headers, timestamp: Date.now() })];
		const [answer] = await produceTo(wire, "telemetry", [[0, batchOf(records, { codec })]]);
		expect(answer?.errorCode).toBe(0);
	}
	while (received.length < 5) await new Promise((resolve) => setImmediate(resolve));
	expect(received).toEqual(
		["none", "gzip", "snappy", "lz4", "zstd"].map((codec) => `sensors/s/dev9/telemetry ${codec}`),
	);
});

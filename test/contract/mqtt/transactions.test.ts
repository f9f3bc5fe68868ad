/** What Kafka's transactions mean to MQTT subscribers: a transaction's events come with its commit, those of an aborted one never. */
import { connect, type MqttClient } from "mqtt";
import { describe, expect, it } from "vitest";
import type { Partition } from "../../../src/log/partition.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import type { TestDoor } from "./door.ts";
import { killed, open } from "./open-doors.ts";

const partition = (door: TestDoor, number = 0): Partition =>
	(door.broker.topics.get("mqtt") ?? door.broker.topics.create({ name: "mqtt", partitions: 1 })).partitions[
		number
	] as Partition;

interface Subscriber {
	readonly client: MqttClient;
	readonly seen: string[];
}

async function subscriber(
	door: TestDoor,
	filter = "w/#",
	more: { clientId?: string; clean?: boolean } = {},
): Promise<Subscriber> {
	const client = await door.client({ protocolVersion: 4, ...more });
	const seen: string[] = [];
	client.on("message", (_topic, payload) => seen.push(payload.toString()));
	await client.subscribeAsync(filter, { qos: 1 });
	return { client, seen };
}

/** What was published before it has come to every subscriber. */
async function publish(door: TestDoor, topic: string, value: string): Promise<void> {
	const publisher = await door.client();
	await publisher.publishAsync(topic, value, { qos: 1 });
	await publisher.endAsync();
}

/** Whoever would be given something now has been given it: what another topic got later has come. */
async function rest(door: TestDoor): Promise<void> {
	const probe = await subscriber(door, "sensors/a/b/telemetry");
	await publish(door, "sensors/a/b/telemetry", "here");
	await expect.poll(() => probe.seen).toContain("here");
	await probe.client.endAsync();
}

describe("an MQTT subscriber", () => {
	it("gets a transaction's events with its commit, in order with all others, and none of an aborted one", async () => {
		const door = await open();
		const to = partition(door);
		const live = await subscriber(door);
		const [first, second] = [new TransactionalWriter(door.broker, "a"), new TransactionalWriter(door.broker, "b")];
		await publish(door, "w/1", "before");
		await first.write(to, "w/1", "a1", "a2");
		await second.write(to, "w/1", "never 1");
		await publish(door, "w/1", "beside");
		await first.write(to, "w/1", "a3");
		await expect.poll(() => live.seen).toEqual(["before"]);
		await second.end("abort");
		await rest(door);
		expect(live.seen).toEqual(["before"]);
		await first.end("commit");
		await expect.poll(() => live.seen).toEqual(["before", "a1", "a2", "beside", "a3"]);
		await publish(door, "w/1", "after");
		await expect.poll(() => live.seen.at(-1)).toBe("after");
		expect(live.seen).toEqual(["before", "a1", "a2", "beside", "a3", "after"]);
	});

	it("that comes back after its session was behind gets the same, and so does a replay", async () => {
		const door = await open();
		const to = partition(door);
		const away = await subscriber(door, "w/#", { clientId: "kept", clean: false });
		await away.client.endAsync();
		const writer = new TransactionalWriter(door.broker, "a");
		const expected: string[] = [];
		for (let i = 0; i < 40; i++) {
			await writer.write(to, "w/1", `${i}`, `${i}+`);
			await writer.end(i % 3 === 0 ? "abort" : "commit");
			if (i % 3 !== 0) expected.push(`${i}`, `${i}+`);
		}
		await writer.write(to, "w/1", "open");
		const next = await killed(door);
		const back = connect(`mqtt://127.0.0.1:${next.port}`, { protocolVersion: 4, clientId: "kept", clean: false });
		const seen: string[] = [];
		back.on("message", (_topic, payload) => seen.push(payload.toString()));
		const replay = await subscriber(next, "$replay/-1h/w/#");
		await expect.poll(() => seen, { timeout: 5000 }).toEqual(expected);
		await expect.poll(() => replay.seen).toEqual(expected);
		// The transaction that was open when the gateway was killed is still: its time-out ends it, and nothing stalls.
		await publish(next, "w/1", "behind the open one");
		expect(seen).toEqual(expected);
		next.clock.advance(61_000);
		await expect.poll(() => seen).toEqual([...expected, "behind the open one"]);
		await expect.poll(() => replay.seen).toEqual([...expected, "behind the open one"]);
		await back.endAsync();
	});

	it("of a shared subscription gets them with the commit too, each once", async () => {
		const door = await open();
		const to = partition(door);
		const workers = [await subscriber(door, "$share/g/w/#"), await subscriber(door, "$share/g/w/#")];
		const all = () => workers.flatMap(({ seen }) => seen).sort();
		const [kept, lost] = [new TransactionalWriter(door.broker, "a"), new TransactionalWriter(door.broker, "b")];
		for (let i = 0; i < 20; i++) {
			await kept.write(to, `w/${i}`, `kept ${i}`);
			await lost.write(to, `w/${i}`, `lost ${i}`);
		}
		await rest(door);
		expect(all()).toEqual([]);
		await lost.end("abort");
		await kept.end("commit");
		const expected = Array.from({ length: 20 }, (_, i) => `kept ${i}`).sort();
		await expect.poll(all).toEqual(expected);
		await rest(door);
		expect(all()).toEqual(expected);
	});
});

/** MQTT.js, the client of web pages and of Node-RED, over TCP and WebSocket, in versions 3.1.1 and 5. */
import fs from "node:fs";
import { connect, connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { consumeAll, type Gateway, startGateway, temporaryFolder } from "../support/gateway.ts";

const COUNT = 60;
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000, interval: 20 });
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => String(from + n));

const folder = temporaryFolder("mqtt-js");
let gateway: Gateway;
const clients: MqttClient[] = [];
beforeAll(async () => {
	gateway = await startGateway({ dataDirectory: folder });
});
afterEach(() => {
	for (const client of clients.splice(0)) client.end(true);
});
afterAll(async () => {
	await gateway.kill();
	fs.rmSync(folder, { recursive: true });
});

interface Arrived {
	readonly topic: string;
	readonly payload: string;
	readonly packet: IPublishPacket;
}

function gather(client: MqttClient): Arrived[] {
	const arrived: Arrived[] = [];
	client.on("message", (topic, payload, packet) => arrived.push({ topic, payload: String(payload), packet }));
	return arrived;
}

describe.each(["TCP", "WebSocket"] as const)("over %s", (way) => {
	describe.each([4, 5] as const)("protocol level %d", (protocolVersion) => {
		const name = `${way}-${protocolVersion}`;
		const url = (): string =>
			way === "TCP" ? `mqtt://127.0.0.1:${gateway.mqttPort}` : `ws://127.0.0.1:${gateway.httpPort}/mqtt`;

		async function client(options: IClientOptions = {}): Promise<MqttClient> {
			const made = await connectAsync(url(), { protocolVersion, reconnectPeriod: 0, ...options });
			made.on("error", () => undefined);
			clients.push(made);
			return made;
		}

		it("publishes and receives at every QoS, and all of it is stored", async () => {
			const subscriber = await client();
			const arrived = gather(subscriber);
			await subscriber.subscribeAsync(`sensors/${name}/+/telemetry`, { qos: 2 });
			const publisher = await client();
			await Promise.all(
				numbers(0, COUNT).map((n) => {
					const qos = (Number(n) % 3) as 0 | 1 | 2;
					return publisher.publishAsync(`sensors/${name}/q${qos}/telemetry`, n, { qos });
				}),
			);
			await eventually(() => expect(arrived).toHaveLength(COUNT));
			for (const qos of [0, 1, 2]) {
				const expected = numbers(0, COUNT).filter((n) => Number(n) % 3 === qos);
				expect(arrived.filter(({ packet }) => packet.qos === qos).map(({ payload }) => payload)).toEqual(expected);
			}
			const stored = (await consumeAll(gateway, "telemetry")).filter(({ headers }) =>
				JSON.stringify(headers).includes(`sensors/${name}/`),
			);
			expect(stored).toHaveLength(COUNT);
		});

		it("publishes a will when a client breaks off, and none after DISCONNECT", async () => {
			const watcher = await client();
			const arrived = gather(watcher);
			await watcher.subscribeAsync(`wills/${name}/#`, { qos: 1 });
			const will = (last: string): IClientOptions => ({
				will: { topic: `wills/${name}/${last}`, payload: Buffer.from("gone"), qos: 1, retain: false },
			});
			await (await client(will("orderly"))).endAsync();
			(await client(will("broken"))).stream.destroy();
			await eventually(() => expect(arrived.map(({ topic }) => topic)).toEqual([`wills/${name}/broken`]));
		});

		it("continues a session: what came meanwhile arrives once, in order", async () => {
			const options: IClientOptions = {
				clientId: `kept-${name}`,
				clean: false,
				...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
			};
			const first = await client(options);
			await first.subscribeAsync(`kept/${name}/#`, { qos: 2 });
			await first.endAsync();
			const publisher = await client();
			for (const n of numbers(0, COUNT)) await publisher.publishAsync(`kept/${name}/x`, n, { qos: 1 });
			const second = connect(url(), { protocolVersion, reconnectPeriod: 0, ...options });
			clients.push(second);
			const arrived = gather(second);
			const present = await new Promise((resolve) => second.once("connect", (c) => resolve(c.sessionPresent)));
			expect(present).toBe(true);
			await eventually(() => expect(arrived.map(({ payload }) => payload)).toEqual(numbers(0, COUNT)));
		});

		it("takes and brings a payload of half a megabyte", async () => {
			const one = await client();
			const arrived = new Promise<Buffer>((resolve) => one.once("message", (_topic, payload) => resolve(payload)));
			await one.subscribeAsync(`large/${name}`, { qos: 1 });
			const payload = Buffer.from(Array.from({ length: 500_000 }, (_, i) => i * 31));
			await one.publishAsync(`large/${name}`, payload, { qos: 1 });
			expect((await arrived).equals(payload)).toBe(true);
		});
	});

	it("brings MQTT 5 properties as they were given, and tells the client its limits", async () => {
		const url = way === "TCP" ? `mqtt://127.0.0.1:${gateway.mqttPort}` : `ws://127.0.0.1:${gateway.httpPort}/mqtt`;
		const client = connect(url, { protocolVersion: 5, reconnectPeriod: 0 });
		clients.push(client);
		const limits = await new Promise((resolve) => client.once("connect", ({ properties }) => resolve(properties)));
		expect(limits).toMatchObject({ receiveMaximum: 1024, maximumPacketSize: 1_048_576 });
		const arrived = gather(client);
		await client.subscribeAsync(`properties/${way}`, { qos: 1, properties: { subscriptionIdentifier: 77 } });
		const properties = {
			payloadFormatIndicator: true,
			messageExpiryInterval: 1000,
			contentType: "application/json",
			responseTopic: "answers/here",
			correlationData: Buffer.from([0, 1, 255]),
			userProperties: { unit: ["C", "K"], site: "north" },
		};
		await client.publishAsync(`properties/${way}`, "{}", { qos: 1, properties });
		await eventually(() => expect(arrived).toHaveLength(1));
		const { messageExpiryInterval, ...others } = properties;
		expect(arrived[0]?.packet.properties).toMatchObject({ ...others, subscriptionIdentifier: 77 });
		const left = Number(arrived[0]?.packet.properties?.messageExpiryInterval);
		expect(left).toBeGreaterThan(messageExpiryInterval - 60);
		expect(left).toBeLessThanOrEqual(messageExpiryInterval);
	});
});

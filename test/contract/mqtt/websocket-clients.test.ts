/** The same behaviour over TCP and over WebSocket, with MQTT.js as the client of both. */
import { connect, connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocketDoor } from "./websocket-door.ts";

const eventually = (check: () => void | Promise<void>): Promise<void> =>
	vi.waitFor(check, { timeout: 10_000, interval: 5 });

/** The payload of the next event that comes. */
const payloadOf = (client: MqttClient): Promise<Buffer> =>
	new Promise((resolve) => client.once("message", (_topic, payload) => resolve(payload)));

describe.each(["mqtt", "ws"])("over %s", (scheme) => {
	let door: WebSocketDoor;
	let clients: MqttClient[];
	beforeEach(async () => {
		door = await WebSocketDoor.open();
		clients = [];
	});
	afterEach(async () => {
		for (const client of clients) client.end(true);
		await door.close();
	});

	async function client(options: IClientOptions = {}): Promise<MqttClient> {
		const url = scheme === "ws" ? door.url : `mqtt://127.0.0.1:${door.test.port}`;
		const made = await connectAsync(url, { reconnectPeriod: 0, keepalive: 0, ...options });
		made.on("error", () => {});
		clients.push(made);
		return made;
	}

	describe.each([4, 5] as const)("protocol level %d", (protocolVersion) => {
		it("publishes and receives at every QoS, in order", async () => {
			const subscriber = await client({ protocolVersion });
			const got: string[] = [];
			subscriber.on("message", (topic, payload, { qos }) => got.push(`${topic} ${payload} ${qos}`));
			await subscriber.subscribeAsync("a/+", { qos: 2 });
			const publisher = await client({ protocolVersion });
			const sent: string[] = [];
			for (let n = 0; n < 30; n++) {
				const qos = (n % 3) as 0 | 1 | 2;
				await publisher.publishAsync(`a/${qos}`, String(n), { qos });
				sent.push(`a/${qos} ${n} ${qos}`);
			}
			await eventually(() => expect(got).toHaveLength(30));
			for (const qos of [0, 1, 2]) {
				const of = (all: string[]): string[] => all.filter((each) => each.endsWith(` ${qos}`));
				expect(of(got)).toEqual(of(sent));
			}
			expect(await door.test.records("mqtt")).toHaveLength(30);
		});

		it("takes a payload of many frames' size", async () => {
			const subscriber = await client({ protocolVersion });
			const got = payloadOf(subscriber);
			await subscriber.subscribeAsync("large", { qos: 1 });
			const payload = Buffer.from(Array.from({ length: 90_000 }, (_, i) => i * 7));
			await subscriber.publishAsync("large", payload, { qos: 1 });
			expect(await got).toEqual(payload);
		});

		it("publishes the will of a client that breaks off", async () => {
			const watcher = await client({ protocolVersion });
			const got = payloadOf(watcher);
			await watcher.subscribeAsync("wills/#", { qos: 1 });
			const mortal = await client({
				protocolVersion,
				will: { topic: "wills/x", payload: Buffer.from("gone"), qos: 1, retain: false },
			});
			mortal.stream.destroy();
			expect(String(await got)).toBe("gone");
		});

		it("continues a session", async () => {
			const options: IClientOptions = {
				protocolVersion,
				clientId: "kept",
				clean: false,
				...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
			};
			const first = await client(options);
			await first.subscribeAsync("kept/#", { qos: 1 });
			await first.endAsync();
			await eventually(() => expect(door.test.door.engine.connections.size).toBe(0));
			const publisher = await client({ protocolVersion });
			for (let n = 0; n < 50; n++) await publisher.publishAsync("kept/x", String(n), { qos: 1 });
			const got: string[] = [];
			const url = scheme === "ws" ? door.url : `mqtt://127.0.0.1:${door.test.port}`;
			const second = connect(url, { reconnectPeriod: 0, keepalive: 0, ...options });
			clients.push(second);
			second.on("message", (_, payload) => got.push(String(payload)));
			const sessionPresent = await new Promise((resolve) => second.once("connect", (c) => resolve(c.sessionPresent)));
			expect(sessionPresent).toBe(true);
			await eventually(() => expect(got).toEqual(Array.from({ length: 50 }, (_, n) => String(n))));
		});

		it("a second connection of one client identifier takes over", async () => {
			const first = await client({ protocolVersion, clientId: "twin" });
			const closed = new Promise<void>((resolve) => first.once("close", () => resolve()));
			await client({ protocolVersion, clientId: "twin" });
			await closed;
			expect(door.test.door.stats()).toMatchObject({ connections: 1, takeOvers: 1 });
		});
	});
});

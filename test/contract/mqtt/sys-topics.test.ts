/** `$SYS` as clients see it: the values, who gets them when, and with which flags. */
import type { MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { connect, text as mqttText, packet, publish, TestDoor } from "./door.ts";

let test: TestDoor;
afterEach(() => test.close());

interface Told {
	readonly text: string;
	readonly retain: boolean;
	readonly qos: number;
}

/** The latest value of each topic that the client receives, and how many came. */
class Values {
	readonly latest = new Map<string, Told>();
	count = 0;
	#wake: (() => void) | undefined;

	constructor(client: MqttClient) {
		client.on("message", (topic, payload, { retain, qos }) => {
			this.latest.set(topic, { text: payload.toString(), retain, qos });
			this.count++;
			this.#wake?.();
		});
	}

	/** Waits until the topic has a value that fits. */
	async until(name: string, fits: (told: Told) => boolean): Promise<Told> {
		for (;;) {
			const told = this.latest.get(`$SYS/broker/${name}`);
			if (told !== undefined && fits(told)) return told;
			await new Promise<void>((resolve) => (this.#wake = resolve));
		}
	}

	text(name: string): string | undefined {
		return this.latest.get(`$SYS/broker/${name}`)?.text;
	}
}

/** One interval passes. */
function pass(): void {
	test.clock.advance(10_000);
}

describe("$SYS", () => {
	it.each([4, 5] as const)("tells a new subscriber of version %i all, and then what changes", async (version) => {
		test = await TestDoor.open();
		const client = await test.client({ protocolVersion: version });
		const values = new Values(client);
		await client.subscribeAsync("$SYS/#", { qos: 2 });
		expect(await values.until("headwater/stalled", () => true)).toEqual({ text: "0", retain: true, qos: 0 });
		expect(values.text("clients/connected")).toBe("1");
		expect(values.text("version")).toMatch(/^headwater \d/);
		const { count } = values;
		expect(count).toBe(values.latest.size);
		pass();
		expect(await values.until("uptime", ({ text }) => text === "10 seconds")).toMatchObject({ retain: false, qos: 0 });
		expect(values.latest.get("$SYS/broker/version")?.retain).toBe(true);
		expect(values.count).toBeLessThan(2 * count);
	});

	it("keeps RETAIN where the subscriber asks for it", async () => {
		test = await TestDoor.open();
		const client = await test.client({ protocolVersion: 5 });
		const values = new Values(client);
		await client.subscribeAsync("$SYS/broker/uptime", { qos: 0, rap: true });
		await values.until("uptime", () => true);
		pass();
		expect(await values.until("uptime", ({ text }) => text === "10 seconds")).toMatchObject({ retain: true });
	});

	it("is not for wildcards in the first level", async () => {
		test = await TestDoor.open();
		const [everything, system] = [await test.client(), await test.client()];
		const [none, some] = [new Values(everything), new Values(system)];
		await everything.subscribeAsync(["#", "+/broker/uptime"]);
		await system.subscribeAsync("$SYS/broker/uptime");
		await some.until("uptime", () => true);
		pass();
		await some.until("uptime", ({ text }) => text === "10 seconds");
		await everything.publishAsync("end", "", { qos: 1 });
		while (!none.latest.has("end")) await new Promise((resolve) => setImmediate(resolve));
		expect([...none.latest.keys()]).toEqual(["end"]);
	});

	it("takes nothing from clients", async () => {
		test = await TestDoor.open();
		const client = await test.client();
		const values = new Values(client);
		await client.subscribeAsync("$SYS/#");
		for (const qos of [0, 1, 2] as const)
			await client.publishAsync("$SYS/broker/uptime", "forged", { qos, retain: true });
		pass();
		await values.until("uptime", ({ text }) => text === "10 seconds");
		const later = await test.client();
		const seen = new Values(later);
		await later.subscribeAsync("$SYS/broker/uptime");
		expect((await seen.until("uptime", () => true)).text).toBe("10 seconds");
	});

	it("counts what went over the connections, to the byte", async () => {
		test = await TestDoor.open();
		const socket = await test.socket();
		let [received, sent] = [0, 0];
		const ask = async (...bytes: Buffer[]): Promise<Buffer> => {
			for (const each of bytes) received += each.length;
			socket.send(...bytes);
			const answer = await socket.packet();
			sent += answer.length;
			return answer;
		};
		await ask(connect("counter"));
		await ask(packet(0x82, 0, 1, mqttText("a/#"), 1));
		const [qos0, qos1] = [packet(0x30, mqttText("b"), Buffer.from("12345")), publish(0x32, "b", 2, "123")];
		await ask(qos0, qos1);
		// And one that comes back: PUBACK and PUBLISH, in either order.
		await ask(publish(0x32, "a/b", 3, "1234567"));
		sent += (await socket.packet()).length;
		const puback = Buffer.of(0x40, 2, 0, 1);
		received += puback.length;
		socket.send(puback);
		await ask(Buffer.of(0xc0, 0)); // PINGREQ: the PUBACK before it has been taken when it is answered

		expect(test.door.stats().traffic).toMatchObject({ packetsSent: 6, bytesSent: sent, packetsReceived: 7 });
		const watcher = await test.client({ clientId: "watcher" });
		const values = new Values(watcher);
		await watcher.subscribeAsync("$SYS/#");
		await values.until("headwater/stalled", () => true);
		// Beside the first client's: the watcher's CONNECT and SUBSCRIBE; and its CONNACK, whose successors are still to leave.
		const others = connect("watcher").length + packet(0x82, 0, 1, mqttText("$SYS/#"), 0).length;
		expect(values.text("bytes/received")).toBe(String(received + others));
		expect(values.text("messages/received")).toBe(String(7 + 2));
		expect(values.text("bytes/sent")).toBe(String(sent + 4));
		expect(values.text("publish/messages/received")).toBe("3");
		expect(values.text("publish/messages/sent")).toBe("1");
		expect(values.text("publish/bytes/received")).toBe("15");
		expect(values.text("publish/bytes/sent")).toBe("7");
		expect(values.text("store/messages/count")).toBe("3");
		expect(values.text("messages/stored")).toBe("3");
		expect(values.text("subscriptions/count")).toBe("2");
		expect(values.text("headwater/received-qos1")).toBe("2");
	});

	it("counts refusals and goodbyes as sent", async () => {
		test = await TestDoor.open();
		const socket = await test.socket();
		socket.send(connect("c", { level: 5 }));
		const first = await socket.packet();
		socket.send(Buffer.of(0xd0, 0)); // PINGRESP is not the client's to send
		const last = await socket.rest();
		expect(last[0]).toBe(0xe0);
		const bytes = first.length + last.length;
		expect(test.door.stats().traffic).toMatchObject({ packetsSent: 2, bytesSent: bytes, sockets: 1 });
	});

	it("counts sessions whose client is away", async () => {
		test = await TestDoor.open();
		const watcher = await test.client();
		const values = new Values(watcher);
		await watcher.subscribeAsync("$SYS/broker/clients/+");
		const away = await test.client({ clientId: "away", clean: false });
		await away.subscribeAsync("x", { qos: 1 });
		pass();
		await values.until("clients/connected", ({ text }) => text === "2");
		expect(values.text("clients/disconnected")).toBe("0");
		await away.endAsync();
		while (test.door.stats().connections > 1) await new Promise((resolve) => setImmediate(resolve));
		pass();
		await values.until("clients/disconnected", ({ text }) => text === "1");
		await values.until("clients/connected", ({ text }) => text === "1");
		expect(values.text("clients/total")).toBe("2");
		expect(values.text("clients/maximum")).toBe("2");
	});
});

/** The client against a real door: what a program is promised, over cut connections and restarts. */
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, type ConsumedRecord, connect, HeadwaterError } from "../../../src/native/client/client.ts";
import type { ConnectOptions } from "../../../src/native/client/types.ts";
import { NativeGateway, STATUS_PARTS } from "./native-gateway.ts";

let gateway: NativeGateway;
const clients: Client[] = [];
beforeEach(async () => {
	gateway = await NativeGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 1 });
});
afterEach(async () => {
	gateway.release();
	for (const client of clients.splice(0)) await client.close();
	await gateway.stop();
});

async function open(options: ConnectOptions = {}): Promise<Client> {
	const client = await connect({ port: gateway.port, ...options });
	clients.push(client);
	return client;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof HeadwaterError) return error.code;
		throw error;
	}
	return "no error";
}

const text = (record: ConsumedRecord): string => Buffer.from(record.value ?? []).toString();

async function take(stream: AsyncIterator<ConsumedRecord>, count: number): Promise<string[]> {
	const values: string[] = [];
	while (values.length < count) {
		const { done, value } = await stream.next();
		if (done) break;
		values.push(text(value));
	}
	return values;
}

async function all(stream: AsyncIterable<ConsumedRecord>): Promise<string[]> {
	const values: string[] = [];
	for await (const record of stream) values.push(text(record));
	return values;
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `${from + i}`);

/** Passes bytes on to the gateway until told to cut. */
class Relay {
	readonly sockets = new Set<Socket>();
	server!: Server;
	port = 0;
	/** Takes what the gateway sends and passes nothing on. */
	deaf = false;

	static async to(target: () => number): Promise<Relay> {
		const relay = new Relay();
		const { connect: open } = await import("node:net");
		relay.server = createServer((socket) => {
			const inner = open({ port: target(), host: "127.0.0.1" });
			for (const one of [socket, inner]) {
				relay.sockets.add(one);
				one.on("error", () => {});
				one.on("close", () => {
					relay.sockets.delete(one);
					socket.destroy();
					inner.destroy();
				});
			}
			socket.on("data", (chunk) => inner.write(chunk));
			inner.on("data", (chunk) => {
				if (!relay.deaf) socket.write(chunk);
			});
		});
		await new Promise<void>((resolve) => relay.server.listen(0, "127.0.0.1", resolve));
		relay.port = (relay.server.address() as { port: number }).port;
		return relay;
	}

	cut(): void {
		for (const socket of this.sockets) socket.destroy();
	}

	async close(): Promise<void> {
		this.cut();
		await new Promise((resolve) => this.server.close(resolve));
	}
}

describe("the client", () => {
	it("produces, fetches, lists offsets and tells the status", async () => {
		const client = await open();
		const results = await client.produce("t", [
			{ key: "k", value: "one", headers: [["h", "x"]], timestamp: 1000 },
			{ value: Buffer.from("two"), timestamp: 2000 },
			{ key: null, value: null },
		]);
		expect(results.map(({ partition, offset }) => [partition, offset])).toEqual([
			[0, 0],
			[0, 1],
			[0, 2],
		]);
		expect(results[0]?.timestamp).toBe(1000);
		const { records, highWatermark, nextOffset, logStartOffset } = await client.fetch("t", 0, 0);
		expect([records.length, highWatermark, nextOffset, logStartOffset]).toEqual([3, 3, 3, 0]);
		const first = records[0] as ConsumedRecord;
		expect({ ...first, key: String(first.key), value: text(first) }).toEqual({
			topic: "t",
			partition: 0,
			offset: 0,
			timestamp: 1000,
			key: "k",
			value: "one",
			headers: [["h", Buffer.from("x")]],
		});
		expect([records[2]?.key, records[2]?.value, records[2]?.timestamp]).toEqual([null, null, results[2]?.timestamp]);
		expect(await client.offsets("t", "earliest")).toEqual([{ partition: 0, offset: 0 }]);
		expect(await client.offsets("t", "latest")).toEqual([{ partition: 0, offset: 3 }]);
		expect(await client.offsets("t", { timestamp: 1500 })).toEqual([{ partition: 0, offset: 1 }]);
		expect(await client.status()).toEqual({
			...STATUS_PARTS,
			uptimeMs: 13,
			topics: 1,
			partitions: 1,
			connections: { mqtt: 3, native: 1 },
		});
	});

	it("makes, lists, describes, alters and deletes topics", async () => {
		const { topics } = await open();
		const made = await topics.create({ name: "new", partitions: 2, config: { "retention.ms": "1000" } });
		expect(made).toMatchObject({ name: "new", partitions: 2, config: { "retention.ms": "1000" } });
		expect(await codeOf(topics.create({ name: "new" }))).toBe("TOPIC_ALREADY_EXISTS");
		expect(await topics.create({ name: "new", ifNotExists: true })).toEqual(made);
		expect((await topics.list()).map(({ name }) => name)).toEqual(["new", "t"]);
		const altered = await topics.alter("new", {
			set: { "segment.bytes": "1048576" },
			unset: ["retention.ms"],
			partitions: 3,
		});
		expect([altered.partitions, altered.config]).toEqual([3, { "segment.bytes": "1048576" }]);
		const described = await topics.describe("new");
		expect(described.topic).toEqual(altered);
		expect(described.partitions.map(({ number }) => number)).toEqual([0, 1, 2]);
		expect(described.configs.find(({ name }) => name === "segment.bytes")).toMatchObject({
			value: "1048576",
			isDefault: false,
		});
		await topics.delete("new");
		expect(await codeOf(topics.describe("new"))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
	});

	it("says what to do when no gateway answers", async () => {
		await gateway.door.stop();
		const failure = connect({ port: gateway.port });
		await expect(failure).rejects.toThrow(
			`no gateway answers at 127.0.0.1:${gateway.port}: start one with \`headwater start\``,
		);
		expect(await codeOf(connect({ port: gateway.port }))).toBe("CONNECTION_LOST");
	});

	it("says so when what answers is no gateway", async () => {
		const other = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n"));
		await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
		const { port } = other.address() as { port: number };
		expect(await codeOf(connect({ port }))).toBe("PROTOCOL_ERROR");
		await new Promise((resolve) => other.close(resolve));
	});

	it("gives up when its time is over or its signal says so", async () => {
		const silent = createServer((socket) => socket.resume().on("error", () => {}));
		await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
		const { port } = silent.address() as { port: number };
		expect(await codeOf(connect({ port, timeoutMs: 20 }))).toBe("TIMEOUT");
		expect(await codeOf(connect({ port, signal: AbortSignal.abort() }))).toBe("ABORTED");
		const controller = new AbortController();
		const client = await open({ signal: controller.signal });
		const waiting = client.fetch("t", 0, 0, { waitMs: 60_000 });
		controller.abort();
		expect(await codeOf(waiting)).toBe("ABORTED");
		expect(await codeOf(client.status())).toBe("ABORTED");
		await new Promise((resolve) => silent.close(resolve));
	});

	it("waits for a record as long as it is told", async () => {
		const [reader, writer] = [await open(), await open()];
		const waiting = reader.fetch("t", 0, 0, { waitMs: 60_000 });
		await reader.status();
		await writer.produce("t", { value: "x" });
		expect((await waiting).records.map(text)).toEqual(["x"]);
		expect((await reader.fetch("t", 0, 1, { waitMs: 1 })).records).toEqual([]);
		expect(await codeOf(reader.fetch("t", 0, 2))).toBe("OFFSET_OUT_OF_RANGE");
	});

	it("keeps the order of produces that do not wait for each other, with a bounded window", async () => {
		const client = await open({ maxInFlight: 3 });
		const values = numbers(0, 100);
		const results = await Promise.all(values.map((value) => client.produce("t", { value })));
		expect(results.map(([result]) => result?.offset)).toEqual(values.map(Number));
		expect(await all(client.subscribe("t", { from: "earliest", until: "end" }))).toEqual(values);
	});

	it("refuses a request larger than the gateway takes, and goes on", async () => {
		const client = await open();
		expect(await codeOf(client.produce("t", { value: Buffer.alloc(9_000_000) }))).toBe("MESSAGE_TOO_LARGE");
		expect(await codeOf(client.produce("missing", { value: "x" }))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
		expect(await client.produce("t", { value: "x" })).toMatchObject([{ offset: 0 }]);
	});

	it("stores once what it sends again after a cut connection", async () => {
		const relay = await Relay.to(() => gateway.port);
		const client = await open({ port: relay.port });
		relay.deaf = true;
		gateway.hold();
		const promises = numbers(0, 10).map((value) => client.produce("t", { value }));
		const watcher = await open();
		await watcher.status();
		gateway.release();
		for await (const record of watcher.subscribe("t", { from: "earliest" })) if (record.offset === 9) break;
		relay.deaf = false;
		relay.cut();
		expect((await Promise.all(promises)).map(([result]) => result?.offset)).toEqual(numbers(0, 10).map(Number));
		expect(await all(watcher.subscribe("t", { from: "earliest", until: "end" }))).toEqual(numbers(0, 10));
		await relay.close();
	});

	it("stores once, and loses nothing, over kill -9 of the gateway", async () => {
		const client = await open();
		await client.produce("t", { value: "0" });
		gateway.hold();
		const promises = numbers(1, 30).map((value) => client.produce("t", { value }));
		await (await open()).status();
		await gateway.kill();
		await gateway.start();
		expect((await Promise.all(promises)).map(([result]) => result?.offset)).toEqual(numbers(1, 30).map(Number));
		expect(await all(client.subscribe("t", { from: "earliest", until: "end" }))).toEqual(numbers(0, 30));
	});

	it("ends with CONNECTION_LOST when it is not to connect again", async () => {
		const client = await open({ reconnect: false });
		const waiting = client.fetch("t", 0, 0, { waitMs: 60_000 });
		await client.status();
		await gateway.door.stop();
		await waiting;
		expect(await codeOf(client.produce("t", { value: "x" }))).toBe("CONNECTION_LOST");
	});

	it("is told when another takes over its client id", async () => {
		const older = await open({ clientId: "same" });
		const stream = older.subscribe("t", { from: "latest" });
		await open({ clientId: "same" });
		expect(await codeOf(stream.next())).toBe("INVALID_PRODUCER_EPOCH");
		expect(await codeOf(older.produce("t", { value: "x" }))).toBe("INVALID_PRODUCER_EPOCH");
	});

	it("waits at close for what was produced", async () => {
		const client = await open();
		const promise = client.produce("t", { value: "x" });
		await client.close();
		expect(await promise).toMatchObject([{ offset: 0 }]);
		expect(await codeOf(client.status())).toBe("CLOSED");
	});
});

describe("a subscription", () => {
	it("begins where it is told", async () => {
		const client = await open();
		for (const i of [0, 1, 2, 3]) await client.produce("t", { value: `${i}`, timestamp: 1000 + i });
		const from = (options: Parameters<Client["subscribe"]>[1]["from"]) =>
			all(client.subscribe("t", { from: options, until: "end" }));
		expect(await from("earliest")).toEqual(["0", "1", "2", "3"]);
		expect(await from("latest")).toEqual([]);
		expect(await from({ offset: 2 })).toEqual(["2", "3"]);
		expect(await from({ offset: 99 })).toEqual([]);
		expect(await from({ timestamp: 1003 })).toEqual(["3"]);
		expect(await from({ 0: 1 })).toEqual(["1", "2", "3"]);
		expect(await codeOf(from({ 0: 5 }))).toBe("OFFSET_OUT_OF_RANGE");
		expect(await codeOf(from({ 1: 0 }))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
		expect(await codeOf(all(client.subscribe("missing", { from: "earliest" })))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
	});

	it("begins with the call: what is produced afterwards is seen", async () => {
		const client = await open();
		const stream = client.subscribe("t", { from: "latest" });
		await client.produce("t", { value: "x" });
		expect(await take(stream, 1)).toEqual(["x"]);
	});

	it("has no gap and no duplicate when the gateway is restarted in the middle, and again", async () => {
		const [client, writer] = [await open(), await open()];
		const stream = client.subscribe("t", { from: "earliest", credits: 7 });
		const write = (from: number, to: number) =>
			Promise.all(numbers(from, to).map((value) => writer.produce("t", { value })));
		await write(0, 50);
		expect(await take(stream, 20)).toEqual(numbers(0, 20));
		await gateway.kill();
		await gateway.start();
		await write(50, 80);
		expect(await take(stream, 50)).toEqual(numbers(20, 70));
		await gateway.kill();
		await gateway.start();
		await write(80, 100);
		expect(await take(stream, 30)).toEqual(numbers(70, 100));
	});

	it("until the end keeps its end over a reconnect", async () => {
		const client = await open();
		await Promise.all(numbers(0, 30).map((value) => client.produce("t", { value })));
		const stream = client.subscribe("t", { from: "earliest", until: "end", credits: 4 });
		expect(await take(stream, 5)).toEqual(numbers(0, 5));
		await gateway.kill();
		await gateway.start();
		await client.produce("t", { value: "later" });
		expect(await all(stream)).toEqual(numbers(5, 30));
	});

	it("reads partitions that are added later", async () => {
		const client = await open();
		const stream = client.subscribe("t", { from: "latest" });
		await client.status();
		await client.topics.alter("t", { partitions: 2 });
		await client.produce("t", { value: "x" }, { partition: 1 });
		expect(await take(stream, 1)).toEqual(["x"]);
	});

	it("ends when its topic is deleted, when it is left, and when its signal says so", async () => {
		const client = await open();
		const stream = client.subscribe("t", { from: "earliest" });
		const controller = new AbortController();
		const aborted = client.subscribe("t", { from: "earliest", signal: controller.signal });
		controller.abort();
		expect(await codeOf(all(aborted))).toBe("ABORTED");
		await client.produce("t", { value: "x" });
		for await (const _ of client.subscribe("t", { from: "earliest" })) break;
		await client.status();
		expect(gateway.door.stats().subscriptions).toBe(1);
		expect(await take(stream, 1)).toEqual(["x"]);
		await client.topics.delete("t");
		expect(await codeOf(all(stream))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
		expect(gateway.door.stats().subscriptions).toBe(0);
	});
});

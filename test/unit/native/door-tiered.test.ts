/** The native door and its client where records have left the gateway's own files: the store is slow, away, and back again. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { BrokerError } from "../../../src/base/errors.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import { type Client, connect } from "../../../src/native/client/client.ts";
import { MESSAGE, POSITION } from "../../../src/native/codec/protocol.ts";
import { SimulatedTier } from "../../support/simulated-tier.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { groupsOf, type Message, NativeGateway, type NativePeer } from "./native-gateway.ts";

let gateway: NativeGateway;
let tier: SimulatedTier;
/** Of the gateway; moved by the test alone. */
let time: SimulatedClock;
let peer: NativePeer;
const clients: Client[] = [];

beforeEach(async () => {
	time = new SimulatedClock();
	const clock: Clock = {
		...systemClock,
		monotonic: () => time.monotonic(),
		after: (delayMs, task) => time.after(delayMs, task),
	};
	gateway = await NativeGateway.start({ clock });
	tier = new SimulatedTier(gateway.broker.log, clock);
	for (const name of ["far", "far2", "here"]) {
		gateway.broker.topics.create({ name, partitions: 2, config: { "remote.storage.enable": "true" } });
		for (const value of ["a", "b", "c"]) await stored(name, value);
	}
	for (const name of ["far", "far2"]) {
		await tier.copy(partition(name));
		tier.evict(partition(name), 2);
	}
	peer = await gateway.peer([]);
});
afterEach(async () => {
	await Promise.all(clients.splice(0).map((client) => client.close()));
	await gateway.stop();
});

const partition = (name: string, number = 0) => {
	const found = gateway.broker.topics.get(name)?.partitions[number];
	if (found === undefined) throw new Error(`no partition ${number} of ${name}`);
	return found;
};
async function stored(name: string, value: string, number = 0): Promise<void> {
	const writer = await gateway.peer([]);
	const [type] = await writer.request(MESSAGE.PRODUCE, 9, [[0, groupsOf(name, [value], number)]]);
	expect(type).toBe(MESSAGE.PRODUCE);
	writer.destroy();
}
async function client(timeoutMs = 10_000): Promise<Client> {
	const made = await connect({ port: gateway.port, timeoutMs });
	clients.push(made);
	return made;
}
/** Its type, its id, and the offsets of its records or its error. */
function seen([type, id, body]: Message): unknown[] {
	if (type === MESSAGE.ERROR || type === MESSAGE.END) return [type, id, body.get(1)];
	const records = body.get(type === MESSAGE.FETCH ? 0 : 1);
	return [type, id, Array.isArray(records) ? records.map(([offset]) => offset) : undefined];
}
const next = async (): Promise<unknown[]> => seen(await peer.message());
const fetchOf = (name: string, offset: number, id: number) =>
	peer.send(MESSAGE.FETCH, id, [
		[0, name],
		[1, 0],
		[2, offset],
	]);
const subscribe = (name: string, id: number, from: unknown[] = [POSITION.EARLIEST]) =>
	peer.send(MESSAGE.SUBSCRIBE, id, [
		[0, name],
		[1, from as number[]],
		[2, 100],
	]);
/** What comes before the answer to a ping. */
async function untilPing(): Promise<unknown[][]> {
	peer.send(MESSAGE.PING, 77, []);
	const messages: unknown[][] = [];
	for (;;) {
		const message = await next();
		if (message[0] === MESSAGE.PING) return messages;
		messages.push(message);
	}
}

describe("a fetch", () => {
	it("reads on from the store into the gateway's own files", async () => {
		fetchOf("far", 0, 1);
		expect(await next()).toEqual([MESSAGE.FETCH, 1, [0, 1]]);
		fetchOf("far", 2, 2);
		expect(await next()).toEqual([MESSAGE.FETCH, 2, [2]]);
	});

	it("is answered with a retriable error when the store takes too long, and holds up no other request meanwhile", async () => {
		tier.hold(partition("far"));
		for (let id = 1; id <= 10; id++) fetchOf("far", 0, id);
		fetchOf("here", 0, 20);
		fetchOf("far2", 2, 21);
		expect([await next(), await next()]).toEqual([
			[MESSAGE.FETCH, 20, [0, 1, 2]],
			[MESSAGE.FETCH, 21, [2]],
		]);
		await expect.poll(() => tier.waiting).toBe(4);
		await time.advance(1000);
		const refused: unknown[] = [];
		for (let i = 0; i < 10; i++) {
			const [type, id, code] = await next();
			expect([type, code]).toEqual([MESSAGE.ERROR, "OFFSET_NOT_AVAILABLE"]);
			refused.push(id);
		}
		expect(new Set(refused).size).toBe(10);
		tier.release();
		fetchOf("far", 0, 30);
		expect(await next()).toEqual([MESSAGE.FETCH, 30, [0, 1]]);
	});

	it("is made again by the client until it has its records", async () => {
		tier.fail(partition("far"));
		const fetching = (await client()).fetch("far", 0, 0);
		await expect.poll(() => tier.asked.length).toBeGreaterThan(1);
		tier.recover();
		expect((await fetching).records.map(({ offset }) => offset)).toEqual([0, 1]);
	});

	it("is given up by the client when its time is over, and it says why", async () => {
		tier.fail(partition("far"));
		await expect((await client(300)).fetch("far", 0, 0)).rejects.toMatchObject({ code: "KAFKA_STORAGE_ERROR" });
	});

	it("alone is made again: what changes something is not", async () => {
		const create = vi.spyOn(gateway.broker.topics, "create").mockImplementation(() => {
			throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full");
		});
		const creating = (await client(1000)).topics.create({ name: "new" });
		await expect(creating).rejects.toMatchObject({ code: "KAFKA_STORAGE_ERROR" });
		expect(create).toHaveBeenCalledTimes(1);
	});

	it("tells that retention or a deletion was quicker", async () => {
		tier.hold(partition("far"), partition("far2"));
		fetchOf("far", 0, 1);
		fetchOf("far2", 0, 2);
		await expect.poll(() => tier.waiting).toBe(2);
		deleteRecordsBefore(gateway.broker.log, partition("far"), 1);
		tier.fail(partition("far"));
		gateway.broker.topics.delete("far2");
		tier.release();
		expect([await next(), await next()]).toEqual([
			[MESSAGE.ERROR, 1, "OFFSET_OUT_OF_RANGE"],
			[MESSAGE.ERROR, 2, "UNKNOWN_TOPIC_OR_PARTITION"],
		]);
	});
});

describe("a subscription", () => {
	it("reads on from the store into what comes, in order, each once", async () => {
		const reader = await client();
		const records = reader.subscribe("far", { from: "earliest" });
		await stored("far", "d");
		const values: string[] = [];
		for await (const { value } of records) {
			values.push(String(value));
			if (values.length === 4) break;
		}
		expect(values).toEqual(["a", "b", "c", "d"]);
	});

	it("waits for a slow store, and its other partitions and other subscriptions do not", async () => {
		tier.hold(partition("far"));
		subscribe("far", 1);
		expect((await next())[0]).toBe(MESSAGE.SUBSCRIBE);
		await expect.poll(() => tier.waiting).toBe(1);
		await stored("far", "other", 1);
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [0]]);
		subscribe("here", 2);
		subscribe("far2", 3);
		const others: unknown[][] = [];
		while (others.length < 5) others.push(await next());
		expect(others.filter(([type]) => type === MESSAGE.RECORDS).sort()).toEqual([
			[MESSAGE.RECORDS, 2, [0, 1, 2]],
			[MESSAGE.RECORDS, 3, [0, 1]],
			[MESSAGE.RECORDS, 3, [2]],
		]);
		// It asks again, and again.
		for (let i = 0; i < 3; i++) {
			await time.advance(1000);
			await expect.poll(() => tier.waiting).toBe(1);
		}
		expect(await untilPing()).toEqual([]);
		tier.release();
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [0, 1]]);
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [2]]);
	});

	it("lives through an outage of the store, asks once a second, and passes over nothing", async () => {
		tier.fail(partition("far"));
		subscribe("far", 1);
		expect((await next())[0]).toBe(MESSAGE.SUBSCRIBE);
		await expect.poll(() => tier.asked.length).toBe(1);
		// A commit is no reason to ask again.
		await stored("far", "d");
		expect(await untilPing()).toEqual([]);
		expect(tier.asked.length).toBe(1);
		await time.advance(1000);
		await expect.poll(() => tier.asked.length).toBe(2);
		tier.recover();
		await time.advance(1000);
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [0, 1]]);
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [2, 3]]);
	});

	it("ends with the reason when what it waits for is deleted", async () => {
		tier.hold(partition("far"));
		subscribe("far", 1);
		expect((await next())[0]).toBe(MESSAGE.SUBSCRIBE);
		await expect.poll(() => tier.waiting).toBe(1);
		deleteRecordsBefore(gateway.broker.log, partition("far"), 2);
		tier.fail(partition("far"));
		tier.release();
		expect(await next()).toEqual([MESSAGE.END, 1, "OFFSET_OUT_OF_RANGE"]);
	});

	it("leaves no timer behind when it or its connection ends in an outage", async () => {
		const before = time.pending;
		const leaving = await gateway.peer([]);
		await expect.poll(() => time.pending).toBe(before + 1);
		tier.fail(partition("far"));
		leaving.send(MESSAGE.SUBSCRIBE, 1, [
			[0, "far"],
			[1, [POSITION.EARLIEST]],
			[2, 100],
		]);
		await expect.poll(() => time.pending).toBe(before + 2);
		leaving.destroy();
		await expect.poll(() => time.pending).toBe(before);
	});

	it("sees committed records only, on both sides of the local start", async () => {
		gateway.broker.topics.create({ name: "tx", partitions: 1, config: { "remote.storage.enable": "true" } });
		const writer = new TransactionalWriter(gateway.broker, "x");
		for (const [value, outcome] of [
			["no", "abort"],
			["yes", "commit"],
			["no more", "abort"],
			["and yes", "commit"],
		] as const) {
			await writer.write(partition("tx"), "k", value);
			await writer.end(outcome);
		}
		await tier.copy(partition("tx"));
		tier.evict(partition("tx"), 4);
		const values: string[] = [];
		for await (const { value } of (await client()).subscribe("tx", { from: "earliest", until: "end" }))
			values.push(String(value));
		expect(values).toEqual(["yes", "and yes"]);
	});
});

describe("a time", () => {
	it("is waited for, and the connection's other requests go on meanwhile", async () => {
		tier.hold(partition("far"));
		subscribe("far", 1, [POSITION.TIMESTAMP, 1]);
		await expect.poll(() => tier.waiting).toBe(1);
		await stored("here", "d");
		fetchOf("here", 3, 2);
		expect(await next()).toEqual([MESSAGE.FETCH, 2, [3]]);
		await time.advance(20_000);
		expect(await untilPing()).toEqual([]);
		tier.release();
		expect((await next()).slice(0, 2)).toEqual([MESSAGE.SUBSCRIBE, 1]);
		expect(await next()).toEqual([MESSAGE.RECORDS, 1, [0, 1]]);
	});

	it("is found when the store is back, unless its subscription was given up", async () => {
		tier.fail(partition("far"));
		subscribe("far", 1, [POSITION.TIMESTAMP, 1]);
		subscribe("far", 2, [POSITION.TIMESTAMP, 1]);
		expect(await untilPing()).toEqual([]);
		peer.send(MESSAGE.UNSUBSCRIBE, 3, [[0, 1]]);
		expect((await next())[0]).toBe(MESSAGE.UNSUBSCRIBE);
		tier.recover();
		await time.advance(1000);
		const answers = [await next(), await next(), await next(), await next()];
		expect(answers).toContainEqual([MESSAGE.ERROR, 1, "OFFSET_NOT_AVAILABLE"]);
		expect(answers).toContainEqual([MESSAGE.SUBSCRIBE, 2, undefined]);
		expect(answers.filter(([type]) => type === MESSAGE.RECORDS)).toEqual([
			[MESSAGE.RECORDS, 2, [0, 1]],
			[MESSAGE.RECORDS, 2, [2]],
		]);
	});

	it("of a topic that is deleted meanwhile is refused", async () => {
		tier.fail(partition("far"));
		subscribe("far", 1, [POSITION.TIMESTAMP, 1]);
		expect(await untilPing()).toEqual([]);
		gateway.broker.topics.delete("far");
		await time.advance(1000);
		expect(await next()).toEqual([MESSAGE.ERROR, 1, "UNKNOWN_TOPIC_OR_PARTITION"]);
	});

	it("is asked for again by the client", async () => {
		tier.fail(partition("far"));
		const asking = (await client()).offsets("far", { timestamp: 1 });
		await expect.poll(() => tier.asked.length).toBeGreaterThan(1);
		tier.recover();
		expect(await asking).toEqual([
			{ partition: 0, offset: 0 },
			{ partition: 1, offset: 0 },
		]);
	});
});

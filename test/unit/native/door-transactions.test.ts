/** What Kafka's transactions mean to readers at the native door: they stop before one that is open, and never see one that was aborted. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { type Fields, type Message, NativeGateway, type NativePeer } from "./native-gateway.ts";

let gateway: NativeGateway;
let peer: NativePeer;
beforeEach(async () => {
	gateway = await NativeGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 1 });
	peer = await gateway.peer([]);
});
afterEach(() => gateway.stop());

const partition = () => gateway.broker.topics.get("t")!.partitions[0]!;
const values = (message: Message, at: number): string[] =>
	(message[2].get(at) as [number, number, Buffer, Buffer][]).map(([, , , value]) => String(value));

it("a subscription gets a transaction's records with its commit, and goes on behind an aborted one", async () => {
	const fields: Fields = [
		[0, "t"],
		[1, [0]],
		[2, 100],
	];
	expect((await peer.request(MESSAGE.SUBSCRIBE, 50, fields))[0]).toBe(MESSAGE.SUBSCRIBE);
	const [kept, lost] = [new TransactionalWriter(gateway.broker, "a"), new TransactionalWriter(gateway.broker, "b")];
	await lost.write(partition(), "k", "never");
	await kept.write(partition(), "k", "1", "2");
	await kept.end("commit");
	expect((await peer.request(MESSAGE.PING, 77, []))[0]).toBe(MESSAGE.PING);
	await lost.end("abort");
	expect(values(await peer.message(), 1)).toEqual(["1", "2"]);
	await kept.write(partition(), "k", "3");
	await kept.end("commit");
	expect(values(await peer.message(), 1)).toEqual(["3"]);
});

it("a long poll waits for the end of the transaction that is in its way", async () => {
	const writer = new TransactionalWriter(gateway.broker, "a");
	await writer.write(partition(), "k", "1");
	peer.send(MESSAGE.FETCH, 5, [
		[0, "t"],
		[1, 0],
		[2, 0],
		[4, 60_000],
	]);
	expect((await peer.request(MESSAGE.PING, 77, []))[0]).toBe(MESSAGE.PING);
	await writer.end("commit");
	const answer = await peer.message();
	expect([answer[0], answer[1], values(answer, 0)]).toEqual([MESSAGE.FETCH, 5, ["1"]]);
	expect([answer[2].get(1), answer[2].get(3)]).toEqual([2, 2]);
});

it("a fetch passes over aborted records, though nothing is left of what it read", async () => {
	const writer = new TransactionalWriter(gateway.broker, "a");
	await writer.write(partition(), "k", "never");
	await writer.end("abort");
	const answer = await peer.request(MESSAGE.FETCH, 5, [
		[0, "t"],
		[1, 0],
		[2, 0],
	]);
	expect([values(answer, 0), answer[2].get(3)]).toEqual([[], 2]);
});

/** Upstream over the native door: what is asked of the gateway's UpstreamAdmin, and what client and peers get. */
import { afterEach, describe, expect, it } from "vitest";
import type { UpstreamStatus } from "../../../src/broker/upstream-admin.ts";
import { type Client, connect, HeadwaterError } from "../../../src/native/client/client.ts";
import type { UpstreamStatus as ClientStatus } from "../../../src/native/client/upstream-types.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { FakeUpstream, UPSTREAM_STATUS, UPSTREAM_TOPIC } from "../../support/fake-upstream.ts";
import { NativeGateway } from "./native-gateway.ts";

let gateway: NativeGateway;
let client: Client | undefined;
afterEach(async () => {
	await client?.close();
	await gateway.stop();
});

async function open(): Promise<[Client, FakeUpstream]> {
	const upstream = new FakeUpstream();
	gateway = await NativeGateway.start({ upstream });
	client = await connect({ port: gateway.port });
	return [client, upstream];
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
	const error = await promise.then(() => undefined).catch((caught: unknown) => caught);
	return error instanceof HeadwaterError ? error.code : String(error);
}

/** What programs see has the types that the gateway's has, all the way down, where undefined is not there. */
type Seen<T> = T extends readonly (infer E)[]
	? readonly Seen<E>[]
	: T extends object
		? { [K in keyof T]?: Seen<T[K]> | undefined }
		: T;
const SAME: (status: ClientStatus) => Seen<UpstreamStatus> = (status) => status;

const PROBLEM = { sinceMs: 9, message: "no link", action: undefined };

describe("upstream status", () => {
	it("comes as the gateway has it, without what is undefined", async () => {
		const [client, upstream] = await open();
		const status = await client.upstream.status();
		expect(SAME(status)).toEqual(JSON.parse(JSON.stringify(UPSTREAM_STATUS)));
		expect(status).not.toHaveProperty("problem");
		const downlink = [
			{ topic: "commands", to: "in", receivedRecords: 1, filteredRecords: 2, lag: undefined, problem: PROBLEM },
		];
		upstream.now = { ...UPSTREAM_STATUS, downlink, warnings: ["w"], problem: { ...PROBLEM, action: "wait" } };
		expect(await client.upstream.status()).toMatchObject({
			problem: { sinceMs: 9, message: "no link", action: "wait" },
			downlink: [{ topic: "commands", filteredRecords: 2 }],
			warnings: ["w"],
		});
	});

	it("is summed up in the status of the gateway", async () => {
		const [client, upstream] = await open();
		const lost = { ...UPSTREAM_TOPIC, quarantinedRecords: 2, lostRecords: 3, problem: PROBLEM };
		upstream.now = { ...UPSTREAM_STATUS, topics: [UPSTREAM_TOPIC, lost], nextMs: 5, state: "waiting" };
		expect((await client.status()).upstream).toEqual({
			servers: UPSTREAM_STATUS.servers,
			state: "waiting",
			nextMs: 5,
			lastSentMs: UPSTREAM_STATUS.lastSentMs,
			lagRecords: 2_468,
			lagBytes: 251_904,
			quarantinedRecords: 2,
			lostRecords: 3,
			problem: { sinceMs: 9, message: "no link" },
		});
		upstream.now = { ...upstream.now, problem: { ...PROBLEM, message: "the way's before a topic's" } };
		expect((await client.status()).upstream?.problem?.message).toBe("the way's before a topic's");
		upstream.isConfigured = false;
		expect(await client.status()).not.toHaveProperty("upstream");
	});
});

describe("pause, resume and reset", () => {
	it("are what the gateway is asked", async () => {
		const [client, upstream] = await open();
		await client.upstream.pause();
		await client.upstream.resume();
		const steps = [
			{ topic: "telemetry", partition: 0, from: 120, to: 100, againRecords: 20, skippedRecords: 0 },
			{ topic: "telemetry", partition: 1, from: null, to: 7, againRecords: 0, skippedRecords: 7 },
		];
		expect(await client.upstream.reset({ to: "progress" })).toEqual(steps);
		expect(await client.upstream.reset({ to: "latest", topic: "telemetry", execute: true })).toEqual(steps);
		expect(upstream.asked).toEqual([
			"pause",
			"resume",
			{ to: "progress", topic: undefined, dryRun: true },
			{ to: "latest", topic: "telemetry", dryRun: false },
		]);
	});

	it("fail with what the gateway says", async () => {
		const [client, upstream] = await open();
		upstream.refusal = "the central cluster does not answer";
		for (const asked of [client.upstream.pause(), client.upstream.resume(), client.upstream.reset({ to: "local" })])
			await expect(asked).rejects.toMatchObject({ code: "INVALID_REQUEST", message: upstream.refusal });
	});

	it("are refused where they say nothing that there is", async () => {
		const [, upstream] = await open();
		for (const [fields, why] of [
			[[], "key 0 (to): expected a value"],
			[[[0, 4]], "key 0 (to): the number 4 is not within 0 and 3"],
			[
				[
					[0, 0],
					[1, 5],
				],
				"key 1 (topic): expected text",
			],
		] as const) {
			const peer = await gateway.peer([]);
			const [type, , body] = await peer.request(MESSAGE.UPSTREAM_RESET, 6, fields as never);
			expect([type, body.get(1), body.get(2)]).toEqual([
				MESSAGE.ERROR,
				"INVALID_REQUEST",
				expect.stringContaining(why),
			]);
		}
		expect(upstream.asked).toEqual([]);
	});
});

describe("a gateway without a central cluster", () => {
	it("says so to each of the requests, and keeps the connection", async () => {
		gateway = await NativeGateway.start();
		client = await connect({ port: gateway.port });
		const { upstream } = client;
		for (const asked of [upstream.status(), upstream.pause(), upstream.resume(), upstream.reset({ to: "local" })])
			expect(await codeOf(asked)).toBe("INVALID_CONFIG");
		expect(await client.status()).not.toHaveProperty("upstream");
	});
});

import { describe, expect, it } from "vitest";
import {
	API_VERSIONS,
	type Api,
	FIND_COORDINATOR,
	LIST_OFFSETS,
	METADATA,
	PRODUCE,
	SASL_AUTHENTICATE,
	SASL_HANDSHAKE,
} from "../../../bridge/upstream/client/apis.ts";
import { Connection, type ConnectionOptions } from "../../../bridge/upstream/client/connection.ts";
import { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import type { SaslOptions } from "../../../bridge/upstream/client/sasl.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { ScramServer } from "../../support/scram-server.ts";
import { allVersions, ScriptedBrokers, type ScriptedConnection } from "../../support/scripted-brokers.ts";

const PLAIN: SaslOptions = { mechanism: "PLAIN", username: "gw", password: () => "secret" };
const BROKERS_ONLY = { topics: [] };

function world(options: Partial<ConnectionOptions> = {}) {
	const clock = new SimulatedClock();
	const brokers = new ScriptedBrokers();
	const broker = brokers.at("b1");
	const all: ConnectionOptions = {
		clientId: "gateway-1",
		softwareVersion: "1.2.3",
		dial: brokers.dial,
		sasl: undefined,
		clock,
		random: new SimulatedRandom(1),
		connectTimeoutMs: 10_000,
		requestTimeoutMs: 30_000,
		...options,
	};
	const open = (signal = new AbortController().signal): Promise<Connection> =>
		Connection.open(all, broker.address, signal);
	return { clock, broker, open };
}

/** An outcome that can be looked at when there is one. */
function watch<T>(promise: Promise<T>): { value?: T; error?: LinkError } {
	const outcome: { value?: T; error?: LinkError } = {};
	promise.then(
		(value) => {
			outcome.value = value;
		},
		(error) => {
			outcome.error = error;
		},
	);
	return outcome;
}

const ask = (connection: Connection, options: { signal?: AbortSignal; timeoutMs?: number } = {}) =>
	connection.request(METADATA, BROKERS_ONLY, { timeoutMs: 30_000, ...options });

const last = (list: readonly ScriptedConnection[]): ScriptedConnection => list.at(-1) as ScriptedConnection;

function frame(...bytes: number[]): Buffer {
	const size = Buffer.alloc(4);
	size.writeInt32BE(bytes.length);
	return Buffer.concat([size, Buffer.from(bytes)]);
}

describe("a connection to a broker", () => {
	it("asks what the broker knows, then says who it is in each request", async () => {
		const { broker, open } = world();
		broker.on(METADATA, () => ({ clusterId: "c" }));
		const connection = await open();
		expect(broker.requests[0]).toMatchObject({
			api: "ApiVersions",
			version: 4,
			value: { clientSoftwareName: "headwater", clientSoftwareVersion: "1.2.3" },
		});
		const { version, body } = await ask(connection);
		expect([version, body.clusterId]).toEqual([13, "c"]);
		expect([connection.isOpen, connection.inFlight]).toEqual([true, 0]);
		expect(connection.sentBytes).toBe(last(broker.connections).sentBytes);
		expect(connection.receivedBytes).toBeGreaterThan(0);
	});

	it("takes the highest version that both know, and no higher one than the caller wants", async () => {
		const { broker, open } = world();
		broker.on(API_VERSIONS, () => ({
			apiKeys: [
				{ apiKey: 0, minVersion: 3, maxVersion: 99 },
				{ apiKey: 3, minVersion: 0, maxVersion: 9 },
				{ apiKey: 2, minVersion: 98, maxVersion: 99 },
			],
		}));
		const connection = await open();
		expect(connection.versionOf(PRODUCE)).toBe(PRODUCE.request.maxVersion);
		expect(connection.versionOf(PRODUCE, 11)).toBe(11);
		expect(connection.versionOf(PRODUCE, 2)).toBeUndefined();
		expect(connection.versionOf(METADATA)).toBe(9);
		expect(connection.versionOf(LIST_OFFSETS)).toBeUndefined();
		expect(connection.versionOf(FIND_COORDINATOR)).toBeUndefined();
		const options = { timeoutMs: 1000 };
		await expect(connection.request(LIST_OFFSETS, {}, options)).rejects.toMatchObject({
			failure: "unsupported",
			lasting: true,
			maybeSent: false,
			message: expect.stringMatching(/^ListOffsets: b1:9092 knows versions 98 to 99, this gateway sends \d+ to \d+$/),
		});
		await expect(connection.request(FIND_COORDINATOR, {}, options)).rejects.toThrow(/does not know it/);
		await expect(connection.request(METADATA, {}, { ...options, atLeast: 10 })).rejects.toThrow(/versions 0 to 9/);
		expect(broker.requests).toHaveLength(1);
		expect(connection.isOpen).toBe(true);
	});

	it.each([
		["says which it knows", [{ apiKey: 18, minVersion: 0, maxVersion: 3 }], [4, 3]],
		["does not say which it knows", [], [4, 0]],
		["says what cannot be", [{ apiKey: 18, minVersion: 0, maxVersion: 9 }], [4, 3]],
	])("asks again where the broker does not know ApiVersions so new and %s", async (_what, apiKeys, versions) => {
		const { broker, open } = world();
		broker.on(API_VERSIONS, (request) => {
			if (request.version < 4) return { apiKeys: allVersions() };
			request.answer({ errorCode: 35, apiKeys }, 0);
			return undefined;
		});
		const connection = await open();
		expect(broker.requests.map(({ version }) => version)).toEqual(versions);
		expect(connection.versionOf(METADATA)).toBe(13);
	});

	it("gives up where ApiVersions is refused altogether", async () => {
		const { broker, open } = world();
		broker.on(API_VERSIONS, (request) => {
			request.answer({ errorCode: 35 }, 0);
			return undefined;
		});
		await expect(open()).rejects.toMatchObject({ failure: "unsupported", lasting: true });
		expect(broker.openConnections).toEqual([]);
	});

	it("has many requests under way and gives each its answer, in whatever order and pieces they come", async () => {
		const { broker, open } = world();
		const connection = await open();
		const asked = [1, 2, 3].map((n) => watch(ask(connection, { timeoutMs: n * 1000 })));
		await Promise.resolve();
		expect(connection.inFlight).toBe(3);
		const [first, second, third] = broker.requests.slice(1);
		third!.answer({ clusterId: "three" });
		const wire: Buffer[] = [];
		const { send } = first!.connection;
		first!.connection.send = (bytes) => void wire.push(bytes);
		first!.answer({ clusterId: "one" });
		second!.answer({ clusterId: "two" });
		for (const byte of Buffer.concat(wire)) send.call(first!.connection, Buffer.of(byte));
		await new Promise(setImmediate);
		expect(asked.map(({ value }) => value?.body.clusterId)).toEqual(["one", "two", "three"]);
		expect(connection.inFlight).toBe(0);
	});

	it("ends where an answer does not come in time: that request may have arrived, and so may the others", async () => {
		const { broker, open, clock } = world();
		const connection = await open();
		const impatient = watch(ask(connection, { timeoutMs: 1000 }));
		const patient = watch(ask(connection, { timeoutMs: 5000 }));
		await clock.advance(999);
		expect(impatient.error).toBeUndefined();
		await clock.advance(1);
		expect(impatient.error).toMatchObject({ failure: "timeout", maybeSent: true, lasting: false });
		expect(impatient.error?.message).toBe("b1:9092 has not answered Metadata within 1 s");
		expect(patient.error).toMatchObject({ failure: "lost", maybeSent: true });
		expect([connection.isOpen, broker.openConnections.length, clock.pending]).toEqual([false, 0, 0]);
		await expect(ask(connection)).rejects.toMatchObject({ failure: "lost", maybeSent: false });
	});

	it("waits on while the answer comes in slowly, and no longer", async () => {
		const { broker, open, clock } = world();
		const connection = await open();
		const asked = watch(ask(connection, { timeoutMs: 1000 }));
		await clock.settle();
		const wire = last(broker.connections);
		wire.send(Buffer.from([0, 0, 1, 0, 0, 0, 0, 1]));
		for (let i = 0; i < 10; i++) {
			await clock.advance(900);
			wire.send(Buffer.of(0));
		}
		expect(asked).toEqual({});
		await clock.advance(2000);
		expect(asked.error).toMatchObject({ failure: "timeout" });
	});

	it("waits on while a request goes out slowly, not for what others send", async () => {
		const { broker, open, clock } = world();
		const connection = await open();
		const wire = last(broker.connections);
		wire.unsentBytes = 50;
		const asked = watch(ask(connection, { timeoutMs: 1000 }));
		for (wire.unsentBytes = 20; wire.unsentBytes > 0; wire.unsentBytes--) await clock.advance(1000);
		expect(asked).toEqual({});
		void ask(connection).catch(() => {});
		await clock.advance(1000);
		void ask(connection).catch(() => {});
		await clock.advance(1000);
		expect(asked.error).toMatchObject({ failure: "timeout" });
	});

	it("tells what was under way that it may have arrived, and what comes later that it was not sent", async () => {
		const { broker, open } = world();
		const connection = await open();
		const asked = ask(connection);
		last(broker.connections).drop();
		await expect(asked).rejects.toMatchObject({
			failure: "lost",
			maybeSent: true,
			message: "b1:9092 closed the connection",
			action: expect.stringContaining("upstream.security.protocol"),
		});
		await expect(ask(connection)).rejects.toMatchObject({ failure: "lost", maybeSent: false });
	});

	it("says what TLS said, where that ends the connection", async () => {
		const { broker, open } = world();
		broker.on(API_VERSIONS, ({ connection }) => {
			connection.drop(new LinkError("tls", "no certificate", { lasting: true, action: "set it" }));
			return undefined;
		});
		await expect(open()).rejects.toMatchObject({ failure: "tls", lasting: true, action: "set it", maybeSent: false });
	});

	it.each<[string, number[] | Buffer, RegExp]>([
		["an answer to no request", frame(0, 0, 0, 9), /request 9, which is not under way/],
		["an answer without its number", frame(0, 0), /4 bytes are called for/],
		["an answer that is too short", frame(0, 0, 0, 1, 0, 0), /the answer to Metadata v13/],
		["an answer that goes on", Buffer.concat([frame(0, 0, 0, 1, 0, ...new Array(60).fill(0))]), /Metadata v13: byte/],
		["an answer of no bytes", frame(), /an answer of 0 bytes/],
		["an answer of too many bytes", Buffer.from([0x7f, 0xff, 0xff, 0xff]), /2147483647 bytes, where 1 to 67108864/],
	])("ends at %s", async (_what, bytes, why) => {
		const { broker, open } = world();
		const connection = await open();
		const asked = ask(connection);
		last(broker.connections).send(Buffer.from(bytes));
		await expect(asked).rejects.toMatchObject({ failure: "malformed", maybeSent: true, lasting: false });
		await expect(asked).rejects.toThrow(why);
		expect([connection.isOpen, broker.openConnections.length]).toEqual([false, 0]);
	});

	it.each([
		["an HTTP server", Buffer.from("HTTP/1.1 400 Bad Request\r\n"), /no Kafka broker/],
		["a TLS alert", Buffer.from([0x15, 3, 3, 0, 2, 2, 70]), /speaks TLS/],
		["somebody who says anything", frame(1, 2, 3, 4), /not Kafka's protocol/],
	])("knows %s for what it is", async (_what, bytes, why) => {
		const { broker, open } = world();
		broker.on(API_VERSIONS, ({ connection }) => {
			connection.send(Buffer.from(bytes));
			return undefined;
		});
		const opening = open();
		await expect(opening).rejects.toThrow(why);
		await expect(opening).rejects.toMatchObject({ failure: "malformed", lasting: true, maybeSent: false });
	});

	it("takes no byte more than an answer has", async () => {
		const { broker, open } = world();
		const connection = await open();
		const asked = ask(connection);
		await Promise.resolve();
		const wire = last(broker.connections);
		const { send } = wire;
		wire.send = (bytes) => {
			const longer = Buffer.concat([bytes, Buffer.of(0)]);
			longer.writeInt32BE(longer.length - 4);
			send.call(wire, longer);
		};
		broker.requests[1]!.answer({});
		await expect(asked).rejects.toMatchObject({ failure: "malformed", maybeSent: true });
		await expect(asked).rejects.toThrow(/1 bytes after the message/);
	});

	it("lets go of a request that nobody waits for, not of the connection", async () => {
		const { broker, open, clock } = world();
		const connection = await open();
		const stop = new AbortController();
		const asked = ask(connection, { signal: stop.signal, timeoutMs: 60_000 });
		stop.abort(new Error("enough"));
		await expect(asked).rejects.toThrow("enough");
		await expect(ask(connection, { signal: stop.signal })).rejects.toThrow("enough");
		expect(broker.asked).toEqual(["Metadata"]);
		broker.requests[1]!.answer({});
		expect([connection.isOpen, connection.inFlight, clock.pending]).toEqual([true, 0, 0]);
	});

	it("does not wait for a broker that does not answer at all", async () => {
		const { broker, open, clock } = world();
		broker.isDeaf = true;
		const opening = watch(open());
		await clock.advance(10_000);
		expect(opening.error).toMatchObject({ failure: "unreachable", maybeSent: false });
		expect(opening.error?.message).toBe("b1:9092 has not answered within 10 s");
		expect(clock.pending).toBe(0);
	});

	it("does not wait for a broker that takes connections and says nothing", async () => {
		const { broker, open, clock } = world();
		broker.on(API_VERSIONS, () => undefined);
		const opening = watch(open());
		await clock.advance(30_000);
		expect(opening.error).toMatchObject({ failure: "timeout", maybeSent: false });
		expect(opening.error?.wireBytes?.sent).toBeGreaterThan(0);
		expect(broker.openConnections).toEqual([]);
	});

	it.each(["dialling", "asking"])("ends with the signal while it is %s", async (when) => {
		const { broker, open, clock } = world();
		if (when === "dialling") broker.isDeaf = true;
		broker.on(API_VERSIONS, () => undefined);
		const stop = new AbortController();
		const opening = watch(open(stop.signal));
		await clock.settle();
		stop.abort(new Error("enough"));
		await clock.settle();
		expect(opening.error?.message).toBe("enough");
		expect([broker.openConnections.length, clock.pending]).toEqual([0, 0]);
	});

	it("closes when told to, and says so to who waits", async () => {
		const { broker, open, clock } = world();
		const connection = await open();
		const asked = ask(connection);
		connection.close();
		await expect(asked).rejects.toMatchObject({ failure: "lost", maybeSent: true });
		expect([broker.openConnections.length, clock.pending]).toEqual([0, 0]);
	});

	it("does not send what a version cannot say", async () => {
		const { open, clock } = world();
		const connection = await open();
		const api: Api<Fields, Fields> = METADATA as unknown as Api<Fields, Fields>;
		const value = { topics: [{ name: "x".repeat(40_000) }] } as unknown as Encodable<Fields>;
		await expect(connection.request(api, value, { timeoutMs: 1000 })).rejects.toThrow(RangeError);
		expect([connection.isOpen, connection.inFlight, clock.pending]).toEqual([true, 0, 0]);
	});
});

describe("a login", () => {
	const accept = (lifetimeMs = 0) => {
		const made = world({ sasl: PLAIN });
		made.broker
			.on(SASL_HANDSHAKE, () => ({ mechanisms: ["PLAIN"] }))
			.on(SASL_AUTHENTICATE, () => ({ sessionLifetimeMs: lifetimeMs }))
			.on(METADATA, () => ({}));
		return made;
	};

	it("comes before any request", async () => {
		const { broker, open, clock } = accept();
		await ask(await open());
		expect(broker.asked).toEqual(["SaslHandshake", "SaslAuthenticate", "Metadata"]);
		expect(broker.requests[1]).toMatchObject({ version: 1, value: { mechanism: "PLAIN" } });
		expect(broker.valuesOf(SASL_AUTHENTICATE)[0]?.authBytes.toString()).toBe("\0gw\0secret");
		await clock.advance(86_400_000);
		expect(broker.asked).toHaveLength(3);
	});

	it("by SCRAM proves both sides", async () => {
		const server = new ScramServer({ hash: "sha512", password: "secret" });
		const { broker, open } = world({ sasl: { ...PLAIN, mechanism: "SCRAM-SHA-512" } });
		let round = 0;
		broker
			.on(SASL_HANDSHAKE, ({ value }) => ({ errorCode: value.mechanism === "SCRAM-SHA-512" ? 0 : 33 }))
			.on(SASL_AUTHENTICATE, ({ value: { authBytes } }) => {
				const answer = round++ === 0 ? server.first(authBytes) : server.final(authBytes);
				return answer === undefined ? { errorCode: 58 } : { authBytes: answer };
			});
		expect((await open()).isOpen).toBe(true);
		expect([round, server.username]).toEqual([2, "gw"]);
	});

	it("that is refused says what to check, and lasts", async () => {
		const { broker, open } = world({ sasl: PLAIN });
		broker
			.on(SASL_HANDSHAKE, () => ({}))
			.on(SASL_AUTHENTICATE, () => ({ errorCode: 58, errorMessage: "bad password" }));
		await expect(open()).rejects.toMatchObject({
			failure: "login",
			lasting: true,
			maybeSent: false,
			message: 'b1:9092 refuses the login of "gw": bad password',
			action: expect.stringContaining("upstream.sasl.username"),
		});
		expect(broker.openConnections).toEqual([]);
	});

	it("that fails for another reason may go better later", async () => {
		const { broker, open } = world({ sasl: PLAIN });
		broker.on(SASL_HANDSHAKE, () => ({})).on(SASL_AUTHENTICATE, () => ({ errorCode: -1 }));
		await expect(open()).rejects.toMatchObject({ failure: "login", lasting: false });
	});

	it("by a mechanism that the broker has not names those it has", async () => {
		const { broker, open } = world({ sasl: PLAIN });
		broker.on(SASL_HANDSHAKE, () => ({ errorCode: 33, mechanisms: ["SCRAM-SHA-256", "GSSAPI"] }));
		await expect(open()).rejects.toThrow("b1:9092 does not offer PLAIN; it offers: SCRAM-SHA-256, GSSAPI");
	});

	it("where the broker wants none says so", async () => {
		const { broker, open } = world({ sasl: PLAIN });
		broker.on(SASL_HANDSHAKE, () => ({ errorCode: 34 }));
		await expect(open()).rejects.toMatchObject({
			failure: "login",
			lasting: true,
			action: expect.stringContaining("PLAINTEXT or SSL"),
		});
	});

	it("needs a broker that knows of logins", async () => {
		const { broker, open } = world({ sasl: PLAIN });
		broker.on(API_VERSIONS, () => ({ apiKeys: [{ apiKey: 17, minVersion: 0, maxVersion: 0 }] }));
		await expect(open()).rejects.toMatchObject({ failure: "unsupported" });
	});

	it("is made anew before it is too old, but only when there is something to send", async () => {
		const { broker, open, clock } = accept(100_000);
		const connection = await open();
		await clock.advance(84_000);
		await ask(connection);
		expect(broker.asked).toEqual(["SaslHandshake", "SaslAuthenticate", "Metadata"]);
		await clock.advance(400_000);
		expect(broker.asked).toHaveLength(3);
		await Promise.all([ask(connection), ask(connection)]);
		expect(broker.asked.slice(3)).toEqual(["SaslHandshake", "SaslAuthenticate", "Metadata", "Metadata"]);
		await ask(connection);
		expect(broker.asked.at(-2)).toBe("Metadata");
	});

	it("that is not answered the second time ends the connection; the request was not sent", async () => {
		const { broker, open, clock } = accept(100_000);
		const connection = await open();
		await clock.advance(96_000);
		broker.on(SASL_AUTHENTICATE, () => undefined);
		const asked = watch(ask(connection));
		await clock.advance(30_000);
		expect(asked.error).toMatchObject({ failure: "timeout", maybeSent: false });
		expect(broker.asked).not.toContain("Metadata");
	});

	it("that is refused the second time ends the connection; the request was not sent", async () => {
		const { broker, open, clock } = accept(100_000);
		const connection = await open();
		broker.on(METADATA, () => undefined);
		const poll = watch(ask(connection, { timeoutMs: 1_000_000 }));
		await clock.advance(96_000);
		broker.on(SASL_AUTHENTICATE, () => ({ errorCode: 58 }));
		const asked = [watch(ask(connection)), watch(ask(connection))];
		await clock.settle();
		for (const { error } of asked) expect(error).toMatchObject({ failure: "login", lasting: true, maybeSent: false });
		expect(poll.error).toMatchObject({ failure: "login", maybeSent: true });
		expect(broker.asked.filter((api) => api === "Metadata")).toHaveLength(1);
		expect([connection.isOpen, clock.pending]).toEqual([false, 0]);
	});
});

/** The Kafka door as a client meets it first: what is served, what is refused, and how. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { APIS } from "../../../src/kafka/api-table.ts";
import { findCoordinator } from "../../../src/kafka/handlers/10-find-coordinator.ts";
import { saslHandshake } from "../../../src/kafka/handlers/17-sasl-handshake.ts";
import { saslAuthenticate } from "../../../src/kafka/handlers/36-sasl-authenticate.ts";
import { describeCluster } from "../../../src/kafka/handlers/60-describe-cluster.ts";
import { MetadataRequest, MetadataResponse } from "../../../src/kafka/protocol/messages/03-metadata.ts";
import { ApiVersionsRequest, ApiVersionsResponse } from "../../../src/kafka/protocol/messages/18-api-versions.ts";
import { Reader } from "../../../src/kafka/protocol/reader.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";

const versions = { request: ApiVersionsRequest, response: ApiVersionsResponse };
const anyMetadata = { request: MetadataRequest, response: MetadataResponse };
const SOFTWARE = { clientSoftwareName: "a-test", clientSoftwareVersion: "1.2.3" };

let gateway: KafkaGateway;
beforeAll(async () => {
	gateway = await KafkaGateway.start();
});
afterAll(() => gateway.stop());

/** Key, version and correlation id, no client id, and then `rest`, behind its size. */
function bare(apiKey: number, version: number, rest = ""): Buffer {
	const body = Buffer.from(rest, "hex");
	const frame = Buffer.alloc(14);
	frame.writeInt32BE(10 + body.length, 0);
	frame.writeInt16BE(apiKey, 4);
	frame.writeInt16BE(version, 6);
	frame.writeInt32BE(7, 8);
	frame.writeInt16BE(-1, 12);
	return Buffer.concat([frame, body]);
}

describe("ApiVersions", () => {
	it.each([0, 1, 2, 3, 4])(
		"version %i lists every API with its versions, in the order of the keys",
		async (version) => {
			const wire = await gateway.connect();
			const answer = await wire.request(versions, version, SOFTWARE);
			expect(answer.errorCode).toBe(0);
			expect(answer.apiKeys).toEqual(
				APIS.map((api) => ({
					apiKey: api.request.apiKey,
					minVersion: api.advertisedFrom ?? api.versions[0],
					maxVersion: api.versions[1],
				})),
			);
			// Else librdkafka compresses nothing.
			expect(answer.apiKeys[0]).toEqual({ apiKey: 0, minVersion: 0, maxVersion: 11 });
			const keys = answer.apiKeys.map(({ apiKey }) => apiKey);
			expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b));
			expect(answer).toMatchObject({ supportedFeatures: [], finalizedFeatures: [], finalizedFeaturesEpoch: -1 });
		},
	);

	it.each([5, 9, 32_767, -1])(
		"version %i is answered as version 0 with error 35 and its own versions",
		async (version) => {
			const wire = await gateway.connect();
			// Tagged fields of the header, then what nobody can read.
			wire.raw(bare(18, version, "00ffffff"));
			expect((await wire.frame()).toString("hex")).toBe("00000007002300000001001200000004");
			expect((await wire.request(versions, 4, SOFTWARE)).errorCode).toBe(0);
		},
	);

	it.each([
		["", "1.0"],
		["a", ""],
		["-a", "1"],
		["a.", "1"],
		["a b", "1"],
		["a", "1_0"],
	])("refuses the software %j %j from version 3 on", async (clientSoftwareName, clientSoftwareVersion) => {
		const wire = await gateway.connect();
		const answer = await wire.request(versions, 3, { clientSoftwareName, clientSoftwareVersion });
		expect(answer).toMatchObject({ errorCode: ERROR_CODES.INVALID_REQUEST, apiKeys: [] });
	});

	it("serves only what the codec knows", () => {
		for (const { request, response, versions } of APIS) {
			expect([request.name, versions[0] >= request.minVersion, versions[1] <= request.maxVersion]).toEqual([
				request.name,
				true,
				true,
			]);
			expect(response.apiKey).toBe(request.apiKey);
		}
	});
});

describe("versions and keys", () => {
	it("answers 35 in its own shape where the version is known and not served", async () => {
		const wire = await gateway.connect();
		const answer = await wire.request(anyMetadata, 13, { topics: [{ name: "t" }] });
		expect(answer.topics).toMatchObject([{ errorCode: ERROR_CODES.UNSUPPORTED_VERSION, name: "t" }]);
		expect((await wire.request(anyMetadata, 12, { topics: [] })).errorCode).toBe(0);
	});

	it.each([
		["an unknown key", bare(999, 0)],
		["a negative key", bare(-1, 0)],
		["a key that Kafka has given up", bare(4, 0)],
		["an unknown version", bare(3, 99, "00")],
		["a negative version", bare(3, -1, "00")],
		["Produce in a version that is listed for librdkafka's sake only", bare(0, 2, "ffff0000000000000000")],
		["a header that ends too early", Buffer.from("0000000400030001", "hex")],
		["a body that ends too early", bare(3, 1, "00")],
		["an array of 2^31 - 1 elements", bare(3, 1, "7fffffff")],
		["an array in which more is claimed than there is", bare(3, 1, "000000020001")],
		["null where there is no null", bare(3, 0, "ffffffff")],
		["a frame of no bytes", Buffer.alloc(4)],
		["a frame of -1 bytes", Buffer.from("ffffffff", "hex")],
		["a frame of 2^31 - 1 bytes", Buffer.from("7fffffff", "hex")],
		["a frame of one byte more than is allowed", Buffer.from("01000001", "hex")],
		["another protocol", Buffer.from("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")],
	])("closes the connection at %s, and goes on serving others", async (_what, bytes) => {
		const [wire, other] = [await gateway.connect(), await gateway.connect()];
		wire.send(MetadataRequest, 1, { topics: [] });
		wire.raw(bytes);
		await wire.answer(MetadataResponse, 1);
		await expect(wire.frame()).rejects.toThrow("closed");
		await wire.closed;
		expect((await other.request(anyMetadata, 1, { topics: [] })).controllerId).toBe(1);
	});

	it("passes over tagged fields that it does not know, in the header and anywhere in a request", async () => {
		const wire = await gateway.connect();
		// Version 12 for a topic "t": tag 63 of 2 bytes, then tag 200 of none, in the header, the topic and the request.
		const tags = "023f02abcdc80100";
		const name = `${"00".repeat(16)}0274`;
		wire.raw(bare(3, 12, `${tags}02${name}${tags}0000${tags}`));
		const reader = new Reader(await wire.frame());
		expect([reader.int32(), reader.int8()]).toEqual([7, 0]);
		expect(MetadataResponse.decode(reader, 12).topics).toMatchObject([{ name: "t", errorCode: 3 }]);
	});

	it("passes over what stands behind a request, as Kafka does", async () => {
		const wire = await gateway.connect();
		wire.raw(bare(3, 1, "00000000aabb"));
		expect((await wire.frame()).readInt32BE(0)).toBe(7);
	});

	it("takes requests in pieces of any size", async () => {
		const wire = await gateway.connect();
		for (const byte of wire.encode(MetadataRequest, 12, { topics: [] })) wire.raw(Buffer.from([byte]));
		expect((await wire.answer(MetadataResponse, 12)).controllerId).toBe(1);
	});
});

describe("the cluster", () => {
	it("has one id for as long as the data directory lives", async () => {
		const own = await KafkaGateway.start();
		const wire = await own.connect();
		const { clusterId } = await wire.request(anyMetadata, 12, { topics: [] });
		expect(clusterId).toMatch(/^[A-Za-z0-9_-]{22}$/);
		expect(await wire.request(describeCluster, 0, {})).toMatchObject({ clusterId });
		await own.kill();
		await own.start();
		const again = await own.connect();
		expect((await again.request(anyMetadata, 12, { topics: [] })).clusterId).toBe(clusterId);
		await own.stop();
	});

	it.each([0, 1])("is described in version %i", async (version) => {
		const wire = await gateway.connect();
		const node = { brokerId: 1, host: "127.0.0.1", port: gateway.port, rack: null };
		expect(await wire.request(describeCluster, version, {})).toMatchObject({
			errorCode: 0,
			controllerId: 1,
			brokers: [node],
			clusterAuthorizedOperations: -2147483648,
		});
		// What Kafka 4.3.1 says where everybody may do all.
		const asked = await wire.request(describeCluster, version, { includeClusterAuthorizedOperations: true });
		expect(asked.clusterAuthorizedOperations).toBe(8096);
	});

	it("knows brokers only", async () => {
		const wire = await gateway.connect();
		const controllers = await wire.request(describeCluster, 1, { endpointType: 2 });
		expect(controllers).toMatchObject({ errorCode: 114, brokers: [] });
		expect((await wire.request(describeCluster, 1, { endpointType: 9 })).errorCode).toBe(115);
	});

	it("sends clients where it is told to, or where they came from", async () => {
		const advertised = { host: "gateway.example", port: 19_092 };
		for (const [kafka, host, port] of [
			[{ advertised }, "gateway.example", 19_092],
			[{ host: "0.0.0.0" }, "127.0.0.1", undefined],
			[{ host: "::" }, "127.0.0.1", undefined],
		] as const) {
			const own = await KafkaGateway.start({ kafka: { nodeId: 7, ...kafka } });
			const wire = await own.connect();
			const node = { nodeId: 7, host, port: port ?? own.port };
			expect((await wire.request(anyMetadata, 12, { topics: [] })).brokers).toMatchObject([node]);
			expect(await wire.request(findCoordinator, 2, { key: "g" })).toMatchObject(node);
			await own.stop();
		}
	});
});

describe("FindCoordinator", () => {
	it.each([0, 1, 2, 3])("version %i: this node, for groups and transactions", async (version) => {
		const wire = await gateway.connect();
		for (const keyType of version === 0 ? [0] : [0, 1]) {
			expect(await wire.request(findCoordinator, version, { key: "k", keyType })).toMatchObject({
				errorCode: 0,
				nodeId: 1,
				host: "127.0.0.1",
				port: gateway.port,
			});
		}
	});

	it.each([4, 5])("version %i: as many keys as are asked for", async (version) => {
		const wire = await gateway.connect();
		const here = { nodeId: 1, host: "127.0.0.1", port: gateway.port, errorCode: 0 };
		const answer = await wire.request(findCoordinator, version, { keyType: 1, coordinatorKeys: ["a", "", "a"] });
		expect(answer.coordinators).toMatchObject([
			{ key: "a", ...here },
			{ key: "", ...here },
			{ key: "a", ...here },
		]);
		expect((await wire.request(findCoordinator, version, {})).coordinators).toEqual([]);
	});

	it("refuses keys of other types", async () => {
		const wire = await gateway.connect();
		const nobody = { errorCode: ERROR_CODES.INVALID_REQUEST, nodeId: -1, host: "", port: -1 };
		for (const keyType of [2, 9, -1]) {
			expect(await wire.request(findCoordinator, 3, { key: "k", keyType })).toMatchObject(nobody);
			const many = await wire.request(findCoordinator, 4, { keyType, coordinatorKeys: ["k", "l"] });
			expect(many.coordinators).toMatchObject([
				{ key: "k", ...nobody },
				{ key: "l", ...nobody },
			]);
		}
	});
});

describe("SASL on a listener without it", () => {
	it("is refused as Kafka refuses it, and the connection goes on", async () => {
		const wire = await gateway.connect();
		for (const version of [0, 1]) {
			expect(await wire.request(saslHandshake, version, { mechanism: "PLAIN" })).toEqual({
				errorCode: ERROR_CODES.ILLEGAL_SASL_STATE,
				mechanisms: [],
			});
		}
		for (const version of [0, 1, 2]) {
			const answer = await wire.request(saslAuthenticate, version, { authBytes: Buffer.from("x") });
			expect(answer).toMatchObject({ errorCode: ERROR_CODES.ILLEGAL_SASL_STATE, sessionLifetimeMs: 0 });
		}
		expect((await wire.request(versions, 0, {})).errorCode).toBe(0);
	});
});

describe("connections", () => {
	it("are counted, and no more of them taken than are allowed", async () => {
		const own = await KafkaGateway.start({ kafka: { maxConnections: 2 } });
		const [one, two] = [await own.connect(), await own.connect()];
		await one.request(versions, 0, {});
		await two.request(versions, 0, {});
		await (await own.connect()).closed;
		expect(own.door.stats()).toMatchObject({
			connections: 2,
			connectionsAccepted: 2,
			connectionsRefused: 1,
			requests: 2,
		});
		one.socket.end();
		await one.closed;
		expect((await (await own.connect()).request(versions, 0, {})).errorCode).toBe(0);
		await own.stop();
	});

	it("are closed when the gateway stops", async () => {
		const own = await KafkaGateway.start();
		const wire = await own.connect();
		await wire.request(versions, 0, {});
		const stopped = own.stop();
		await wire.closed;
		await stopped;
	});
});

/**
 * What people get to see when a real S3 server refuses, or has what it should not: in the log, in `tier status`, from the commands.
 * Whatever it is, what is produced meanwhile is stored, and read.
 */
import { AssumeRoleProvider } from "minio/dist/esm/AssumeRoleProvider.mjs";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { connect } from "../../../src/native/client/client.ts";
import type { ObjectStore } from "../../../tiering/object-store.ts";
import { consumeAll } from "../../support/gateway.ts";
import { ACCESS_KEY, RealS3, SECRET_KEY } from "./server.ts";
import { eventually, objectsOf, startStore, storeSettings, TieredGateway } from "./tiered-gateway.ts";

const { s3Servers } = inject("runtimes");
const TOPIC = "kept";
const FIRST = /uploading to the object store fails/g;

for (const kind of ["minio", "versitygw"] as const) {
	describe.skipIf(!s3Servers.includes(kind))(`what ${kind} refuses`, () => {
		const server = new RealS3(kind);
		let store: ObjectStore;
		const gateways: TieredGateway[] = [];
		beforeAll(async () => {
			store = await startStore(server);
		});
		afterEach(async () => {
			for (const gateway of gateways.splice(0)) await gateway.remove();
		});
		afterAll(async () => {
			await store?.close();
			await server.remove();
		});

		/** With a topic that has something to upload. */
		async function begin(id: string, settings: Parameters<typeof storeSettings>[1] = {}): Promise<TieredGateway> {
			const tiered = await TieredGateway.start(id, storeSettings(server, settings));
			gateways.push(tiered);
			await tiered.out("topic", "create", TOPIC, "--partitions", "1");
			await produce(tiered, "first");
			return tiered;
		}
		const produce = (tiered: TieredGateway, value: string): Promise<string> =>
			tiered.out("produce", TOPIC, "--key", "k", "--value", value);
		const valuesOf = async (tiered: TieredGateway): Promise<(string | null)[]> =>
			(await consumeAll(tiered.gateway, TOPIC)).map(({ value }) => value);

		const WRONG: readonly [string, Record<string, string>, RegExp][] = [
			[
				"a wrong secret",
				{ "objectStore.secret.key": "not-the-secret" },
				/the secret key does not fit the access key interop \(from objectStore\.access\.key\)|the store refuses the access key interop/,
			],
			[
				"an access key that it does not know",
				{ "objectStore.access.key": "nobody" },
				/the store does not know the access key nobody \(from objectStore\.access\.key\)|the store refuses the access key nobody/,
			],
			[
				"a bucket that is not there",
				{ "objectStore.url": "s3://not-there/prefix" },
				/there is no bucket not-there: create it, or correct objectStore\.url/,
			],
		];
		for (const [index, [what, settings, message]] of WRONG.entries()) {
			it(`${what}: is told by commands, status and log; records are taken; set right, all of it is uploaded`, async () => {
				const tiered = await begin(`wrong-${index}`, settings);
				for (let i = 0; i < 3; i += 1) {
					const { code, stderr } = await tiered.ask("tier", "run");
					expect(code).toBe(1);
					expect(stderr).toMatch(message);
				}
				expect((await tiered.status()).error?.message).toMatch(message);
				expect(tiered.log.match(FIRST)).toHaveLength(1);
				expect(tiered.log).toMatch(message);
				const said = await tiered.ask("tier", "verify");
				expect([said.code, said.stdout]).toEqual([1, expect.stringMatching(message)]);
				expect(tiered.log).not.toContain("not-the-secret");
				await produce(tiered, "second");
				expect(await valuesOf(tiered)).toEqual(["first", "second"]);

				await tiered.gateway.stop();
				await tiered.start(storeSettings(server));
				await tiered.out("tier", "run");
				expect(await tiered.status()).not.toHaveProperty("error");
				expect((await tiered.status()).topics).toMatchObject([{ tieredRecords: 2, pendingRecords: 0 }]);
				await tiered.mustBeSound();
			});
		}

		it("a server that is not there: the upload waits and says for what; records are taken", async () => {
			const tiered = await begin("waiting", { "objectStore.endpoint": "http://127.0.0.1:1" });
			const asked = tiered.ask("tier", "run");
			await eventually(async () => {
				const { run, error } = await tiered.status();
				expect(run?.waitsFor).toMatch(/nothing listens at 127\.0\.0\.1:1/);
				expect(error?.message).toMatch(/nothing listens at 127\.0\.0\.1:1/);
			});
			await produce(tiered, "second");
			expect(await valuesOf(tiered)).toEqual(["first", "second"]);
			await tiered.gateway.stop();
			expect((await asked).code).not.toBe(0);
		});

		it("someone else's objects under the prefix: named by verify, never touched", async () => {
			const tiered = await begin("neighbour");
			await tiered.out("tier", "run");
			const foreign = [
				"readme.txt",
				"neighbour/notes.txt",
				"neighbour/0000000001/00000000000000000009-backup.bundle.old",
			];
			for (const key of foreign) await store.put(key, Buffer.from("not a gateway's"));
			const { code, stdout } = await tiered.ask("tier", "verify", "--json");
			expect(code).toBe(0);
			const found = stdout
				.trim()
				.split("\n")
				.map((line): Record<string, unknown> => JSON.parse(line));
			expect(found.slice(0, -1).map(({ kind: what, object }) => [what, object])).toEqual(
				foreign
					.slice(1)
					.toSorted()
					.map((key) => ["foreign", key]),
			);
			await tiered.out("topic", "delete", TOPIC);
			await tiered.out("topic", "create", TOPIC, "--partitions", "1");
			// What is to go waits for a snapshot that was taken behind it.
			for (const value of ["later", "still later"]) {
				await produce(tiered, value);
				await tiered.out("tier", "run");
			}
			await eventually(async () => expect((await tiered.status()).deleting).toBe(0));
			const keys = (await objectsOf(store)).map(({ key }) => key);
			for (const key of foreign) {
				expect(keys).toContain(key);
				await store.delete(key);
			}
		});

		it("another gateway of the same name: uploads nothing, says why, and takes records", async () => {
			const first = await begin("twin");
			await first.out("tier", "run");
			const second = await begin("twin");
			const { code, stderr } = await second.ask("tier", "run");
			expect(code).toBe(1);
			expect(stderr).toMatch(
				/incarnation 1 of gateway twin .* belongs to another data directory.*two gateways have one gateway\.id/s,
			);
			expect((await second.status()).error?.message).toMatch(/belongs to another data directory/);
			expect(await valuesOf(second)).toEqual(["first"]);
			await produce(first, "second");
			await first.out("tier", "run");
			await first.mustBeSound();
			const keys = (await store.list("twin/")).objects.map(({ key }) => key);
			expect(keys.filter((key) => key.endsWith(".bundle"))).toHaveLength(2);
		});

		it("an object that was damaged, or removed: is named by verify, status, log, and to who reads it; back again, it is read", async () => {
			const tiered = await TieredGateway.start("hurt", storeSettings(server), {
				"log.segment.bytes": 4096,
				"message.max.bytes": 4096,
				"mqtt.max.packet.bytes": 1024,
			});
			gateways.push(tiered);
			for (const topic of ["hurt", "whole"]) {
				await tiered.out("topic", "create", topic, "--partitions", "1");
				const client = await connect({ port: tiered.gateway.nativePort });
				const value = (n: number): string => `${topic} ${n} ${(Math.sin(n) * 1e15).toString(36)}`.padEnd(200, "-");
				for (let n = 0; n < 2000; n += 10)
					await client.produce(
						topic,
						Array.from({ length: 10 }, (_, i) => ({ key: "k", value: value(n + i) })),
					);
				await client.close();
				// Each has an object of its own.
				await tiered.moveToStore(topic);
			}
			const [{ object }] = (await tiered.out("tier", "ls", "hurt", "--json"))
				.split("\n")
				.slice(0, 1)
				.map((line): { object: string } => JSON.parse(line)) as [{ object: string }];
			const { sizeBytes } = (await store.head(object)) as { sizeBytes: number };
			const sound = await store.get(object, 0, sizeBytes);
			const flipped = Buffer.from(sound);
			flipped[1000] = (flipped[1000] ?? 0) ^ 1;
			const cases: readonly [string, string, () => Promise<unknown>][] = [
				["damage", "verify --deep", () => store.put(object, flipped)],
				["damage", "verify", () => store.put(object, sound.subarray(0, 500))],
				["hole", "verify", () => store.delete(object)],
			];
			for (const [finding, command, hurt] of cases) {
				await hurt();
				const { code, stdout } = await tiered.ask("tier", ...command.split(" "), "--json");
				expect([command, code, stdout]).toEqual([
					command,
					1,
					expect.stringContaining(`{"kind":"${finding}","object":"${object}"`),
				]);
				await tiered.restart();
				const client = await connect({ port: tiered.gateway.nativePort, timeoutMs: 3000 });
				await expect(client.fetch("hurt", 0, 0)).rejects.toThrow(object);
				await client.close();
				expect((await tiered.status()).error?.message).toContain(object);
				expect(tiered.log).toContain(object);
				expect(await consumeAll(tiered.gateway, "whole")).toHaveLength(2000);
			}
			await store.put(object, sound);
			await tiered.restart();
			expect((await consumeAll(tiered.gateway, "hurt")).map(({ offset }) => offset)).toEqual([...Array(2000).keys()]);
			await tiered.mustBeSound();
		});

		if (kind === "minio")
			it("deleting: what is to go is kept count of, with the reason; uploads go on; allowed, it goes", async () => {
				const policy = JSON.stringify({
					Version: "2012-10-17",
					Statement: [
						{ Effect: "Allow", Action: ["s3:*"], Resource: ["arn:aws:s3:::*"] },
						{ Effect: "Deny", Action: ["s3:DeleteObject"], Resource: ["arn:aws:s3:::*"] },
					],
				});
				const root = { accessKey: ACCESS_KEY, secretKey: SECRET_KEY, region: "us-east-1" };
				const role = new AssumeRoleProvider({ stsEndpoint: server.endpoint, ...root, policy });
				const temporary = await role.getCredentials();
				const tiered = await begin("keeper", {
					"objectStore.access.key": temporary.getAccessKey(),
					"objectStore.secret.key": temporary.getSecretKey(),
					"objectStore.session.token": temporary.getSessionToken() ?? "",
				});
				await tiered.out("tier", "run");
				await tiered.out("topic", "delete", TOPIC);
				await tiered.out("topic", "create", TOPIC, "--partitions", "1");
				for (const value of ["second", "third"]) {
					await produce(tiered, value);
					await tiered.out("tier", "run");
				}
				const reason = /the access key \w+ may not do this: .*s3:DeleteObject/;
				await eventually(async () => {
					const { deleting, error } = await tiered.status();
					expect(deleting).toBe(1);
					expect(error?.message).toMatch(reason);
				});
				await produce(tiered, "fourth");
				await tiered.out("tier", "run");
				expect((await tiered.status()).topics).toMatchObject([{ tieredRecords: 3, pendingRecords: 0 }]);
				expect(tiered.log.match(/objects cannot be removed from the object store/g)).toHaveLength(1);
				await tiered.mustBeSound();
				await tiered.gateway.stop();
				await tiered.start({ ...storeSettings(server), "objectStore.session.token": "" });
				await eventually(async () => expect((await tiered.status()).deleting).toBe(0));
				const keys = (await store.list("keeper/")).objects.map(({ key }) => key);
				expect(keys.filter((key) => key.endsWith(".bundle"))).toHaveLength(3);
			});
	});
}
